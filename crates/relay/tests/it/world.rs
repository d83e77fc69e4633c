//! A relay with its store, and clients with real streams, in one thread.

use std::collections::{BTreeMap, VecDeque};

use emptyroom_relay::conformance::MemoryRows;
use emptyroom_relay::store::{Ledger, RowKey, Store, StoreFailure, StoreOp};
use emptyroom_relay::{Config, ConnId, Input, Output, Reason, Relay, Ticket};
use emptyroom_wire::entry::Ttl;
use emptyroom_wire::greeting::Terms;
use emptyroom_wire::log::{Capability, Flags, Header};
use emptyroom_wire::op::{
    Answer, Append, Create, EntryPush, First, FromClient, FromRelay, Handle, NewLog, Open, OpenLog,
    OpenOutcome, OpenedLog, Push, RefusalCode, Request,
};
use emptyroom_wire::proof::{self, Purpose, Scope, StreamBinding};
use emptyroom_wire::relay_key::{IdentityHash, KeyChain, KeyRecord, RelayIdentity};
use emptyroom_wire::secret::{Private, Secret32};
use emptyroom_wire::sign::{SignKey, Signature};
use emptyroom_wire::stream::{ClientStream, Opening, OpeningOutcome};
use emptyroom_wire::time::{DAY_MS, Mono, Now, Wall};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

pub(crate) struct World {
    pub(crate) relay: Relay,
    pub(crate) ledger: Ledger<MemoryRows>,
    pub(crate) now: Now,
    pub(crate) identity: IdentityHash,
    pub(crate) records: Vec<KeyRecord>,
    /// Batches wait until [`World::run_store`].
    pub(crate) hold_store: bool,
    pub(crate) at_store: Option<(Ticket, Vec<StoreOp>)>,
    /// Sizes of all batches so far.
    pub(crate) batches: Vec<usize>,
    /// The most bytes that one of them moved.
    pub(crate) moved_most: usize,
    /// Frames are taken by the sockets as soon as they are handed out.
    pub(crate) sockets_take: bool,
    pub(crate) hold_records: bool,
    pub(crate) held_record: Option<Ticket>,
    pub(crate) stopped: Option<Result<(), StoreFailure>>,
    /// What other nodes are told.
    pub(crate) news: Vec<(RowKey, Push)>,
    /// Logs of which news are wanted.
    pub(crate) watched: Vec<RowKey>,
    wires: BTreeMap<ConnId, VecDeque<Vec<u8>>>,
    pub(crate) unsent: BTreeMap<ConnId, usize>,
    pub(crate) hangups: BTreeMap<ConnId, Reason>,
    last_conn: u64,
    rng: ChaCha20Rng,
}

pub(crate) struct Client {
    pub(crate) conn: ConnId,
    pub(crate) stream: ClientStream,
    pub(crate) terms: Terms,
    pub(crate) answers: BTreeMap<u32, Answer>,
    pub(crate) pushes: Vec<(Handle, Push)>,
    last_id: u32,
}

impl World {
    pub(crate) fn new() -> World {
        World::with(Config::open())
    }

    pub(crate) fn with(config: Config) -> World {
        World::from(config, MemoryRows::default(), Vec::new(), 20_000 * DAY_MS)
    }

    /// A relay that starts on a disk.
    pub(crate) fn from(
        config: Config,
        rows: MemoryRows,
        records: Vec<KeyRecord>,
        wall_ms: u64,
    ) -> World {
        let now = Now {
            wall: Wall(wall_ms),
            mono: Mono(5_000),
        };
        let identity = RelayIdentity::from_seed(&Secret32::new([7; 32]));
        let hash = identity.hash();
        let rng = |number| Box::new(ChaCha20Rng::seed_from_u64(wall_ms + number));
        let mut world = World {
            relay: Relay::new(now, identity, records.clone(), config, rng(1)),
            ledger: Ledger::new(rows, rng(2)),
            now,
            identity: hash,
            records,
            hold_store: false,
            at_store: None,
            batches: Vec::new(),
            moved_most: 0,
            sockets_take: true,
            hold_records: false,
            held_record: None,
            stopped: None,
            news: Vec::new(),
            watched: Vec::new(),
            wires: BTreeMap::new(),
            unsent: BTreeMap::new(),
            hangups: BTreeMap::new(),
            last_conn: 0,
            rng: ChaCha20Rng::seed_from_u64(wall_ms + 3),
        };
        world.drain();
        world
    }

    pub(crate) fn input(&mut self, input: Input) {
        self.relay.handle(self.now, input);
        self.drain();
    }

    /// Carries out all outputs, and gives the relay what follows from them.
    fn drain(&mut self) {
        let mut inputs = VecDeque::new();
        loop {
            while let Some(output) = self.relay.poll() {
                assert!(self.stopped.is_none(), "something after the stop");
                inputs.extend(self.carry_out(output));
            }
            let Some(input) = inputs.pop_front() else {
                return;
            };
            self.relay.handle(self.now, input);
        }
    }

    fn carry_out(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::Frame(conn, frame) => {
                assert!(
                    !self.hangups.contains_key(&conn),
                    "a frame after the hang-up"
                );
                let len = frame.len();
                self.wires.entry(conn).or_default().push_back(frame);
                if self.sockets_take {
                    return Some(Input::Written(conn, len));
                }
                *self.unsent.entry(conn).or_default() += len;
            }
            Output::Hangup(conn, reason) => {
                assert!(self.hangups.insert(conn, reason).is_none(), "two hang-ups");
            }
            Output::Store(ticket, ops) => {
                assert!(self.at_store.is_none(), "two batches at the store");
                self.batches.push(ops.len());
                self.moved_most = self.moved_most.max(ops.iter().map(moved).sum());
                self.at_store = Some((ticket, ops));
                if !self.hold_store {
                    return self.decide();
                }
            }
            Output::PersistKeyRecord(ticket, record) => {
                self.records.push(record);
                if !self.hold_records {
                    return Some(Input::KeyRecordPersisted(ticket, Ok(())));
                }
                self.held_record = Some(ticket);
            }
            Output::Expire(ticket) => {
                return Some(Input::Expired(ticket, self.ledger.expire(self.now.wall)));
            }
            Output::ReadKeyRecords(ticket, after) => {
                let newer = |record: &&KeyRecord| record.number > after;
                let records = self.records.iter().filter(newer).cloned().collect();
                return Some(Input::KeyRecords(ticket, Ok(records)));
            }
            Output::News(log, news) => self.news.push((log, news)),
            Output::Watch(log) => self.watched.push(log),
            Output::Unwatch(log) => self.watched.retain(|watched| *watched != log),
            Output::Stopped(outcome) => self.stopped = Some(outcome),
        }
        None
    }

    fn decide(&mut self) -> Option<Input> {
        let (ticket, ops) = self.at_store.take()?;
        let replies = self.ledger.apply(self.now.wall, ops);
        Some(Input::Stored(ticket, replies))
    }

    /// Decides the batch that waits; a following one waits again.
    pub(crate) fn run_store(&mut self) {
        if let Some(input) = self.decide() {
            self.input(input);
        }
    }

    /// Lets the store decide everything from now on.
    pub(crate) fn release_store(&mut self) {
        self.hold_store = false;
        self.run_store();
    }

    /// Time goes by; the relay is woken when it wants to be.
    pub(crate) fn pass(&mut self, ms: u64) {
        let end = Now {
            wall: self.now.wall.plus_ms(ms),
            mono: self.now.mono.plus_ms(ms),
        };
        while let Some(at) = self.relay.wake_at().filter(|at| *at <= end.mono) {
            let step = at.ms_since(self.now.mono);
            self.now.mono = self.now.mono.plus_ms(step);
            self.now.wall = self.now.wall.plus_ms(step);
            self.input(Input::Tick);
        }
        self.now = end;
        self.input(Input::Tick);
    }

    /// Much time goes by at once, as if the machine had slept.
    pub(crate) fn jump(&mut self, ms: u64) {
        self.now = Now {
            wall: self.now.wall.plus_ms(ms),
            mono: self.now.mono.plus_ms(ms),
        };
        self.input(Input::Tick);
    }

    /// The socket of this connection takes everything that waits.
    pub(crate) fn take_all(&mut self, conn: ConnId) {
        while let Some(bytes) = self.unsent.remove(&conn) {
            self.input(Input::Written(conn, bytes));
        }
    }

    pub(crate) fn connect(&mut self) -> ConnId {
        self.last_conn += 1;
        let conn = ConnId(self.last_conn);
        self.input(Input::Connected(conn));
        conn
    }

    /// The next frame that a connection got.
    pub(crate) fn frame(&mut self, conn: ConnId) -> Option<Vec<u8>> {
        self.wires.get_mut(&conn)?.pop_front()
    }

    pub(crate) fn hangup(&self, conn: ConnId) -> Option<Reason> {
        self.hangups.get(&conn).copied()
    }

    pub(crate) fn client(&mut self) -> Client {
        let conn = self.connect();
        let chain = KeyChain::new(self.identity);
        let greeting = self.frame(conn).expect("a greeting");
        let (opening, frame) = Opening::start(&greeting, None, &chain, &mut self.rng).unwrap();
        self.input(Input::Frame(conn, frame));
        let answer = self.frame(conn).expect("an answer to the opening");
        match opening.answer(&answer, &chain, self.now.mono, &mut self.rng) {
            Ok(OpeningOutcome::Open(opened)) => Client {
                conn,
                stream: opened.stream,
                terms: opened.terms,
                answers: BTreeMap::new(),
                pushes: Vec::new(),
                last_id: 0,
            },
            _ => panic!("no stream"),
        }
    }

    /// Logs on the disk, as a thief sees it.
    pub(crate) fn disk(&mut self) -> MemoryRows {
        self.ledger.rows().clone()
    }
}

impl Client {
    /// Sends a request; the id under which its answer will come.
    pub(crate) fn send(&mut self, world: &mut World, request: Request) -> u32 {
        self.last_id += 1;
        let message = FromClient {
            id: self.last_id,
            request,
        };
        let bytes = message.encode().unwrap();
        self.send_bytes(world, &bytes);
        self.last_id
    }

    pub(crate) fn send_bytes(&mut self, world: &mut World, bytes: &[u8]) {
        let frame = self.stream.seal(world.now.mono, bytes).unwrap();
        world.input(Input::Frame(self.conn, frame));
    }

    /// Takes what came.
    pub(crate) fn receive(&mut self, world: &mut World) {
        while let Some(frame) = world.frame(self.conn) {
            let Some(message) = self.stream.open(world.now.mono, &frame).unwrap() else {
                continue;
            };
            match FromRelay::decode(&message).unwrap() {
                FromRelay::Answer(id, answer) => {
                    assert!(self.answers.insert(id, answer).is_none(), "two answers");
                }
                FromRelay::Push(handle, push) => self.pushes.push((handle, push)),
            }
        }
    }

    pub(crate) fn ask(&mut self, world: &mut World, request: Request) -> Answer {
        let id = self.send(world, request);
        self.receive(world);
        self.answers.remove(&id).expect("an answer")
    }

    /// The code with which a request is refused.
    pub(crate) fn refused(&mut self, world: &mut World, request: Request) -> RefusalCode {
        match self.ask(world, request) {
            Answer::Refused(refusal) => refusal.code,
            other => panic!("not refused but {other:?}"),
        }
    }

    pub(crate) fn create(&mut self, world: &mut World, log: &Log) {
        let answer = self.ask(world, create(log, None));
        assert_eq!(answer, Answer::Created);
    }

    pub(crate) fn open(&mut self, world: &mut World, log: &Log, from: u64) -> OpenedLog {
        let proof = log
            .read
            .as_ref()
            .map(|key| self.prove(world, key, Purpose::Read, log));
        match self.ask(world, open(log, from, proof)) {
            Answer::Opened(opened) => match &opened.logs[0] {
                OpenOutcome::Open(log) => log.clone(),
                OpenOutcome::Refused(refusal) => panic!("{refusal}"),
            },
            other => panic!("not opened but {other:?}"),
        }
    }

    pub(crate) fn prove(
        &self,
        world: &World,
        key: &SignKey,
        purpose: Purpose,
        log: &Log,
    ) -> Signature {
        let binding = self.stream.binding();
        prove(world, &binding, key, purpose, log)
    }

    pub(crate) fn append_proof(&self, world: &World, log: &Log) -> Signature {
        self.prove(world, &log.append, Purpose::Append, log)
    }

    /// An append with the right proof.
    pub(crate) fn message(&self, world: &World, log: &Log, handle: Handle, number: u32) -> Append {
        Append {
            proof: Some(self.append_proof(world, log)),
            ..message(handle, number)
        }
    }

    /// The entries pushed so far, in order.
    pub(crate) fn entries(&self, handle: Handle) -> Vec<&EntryPush> {
        let pushes = self.pushes.iter().filter(|(at, _)| *at == handle);
        pushes
            .filter_map(|(_, push)| match push {
                Push::Entry(entry) => Some(entry),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn seqs(&self, handle: Handle) -> Vec<u64> {
        self.entries(handle).iter().map(|entry| entry.seq).collect()
    }
}

/// Bytes of entries that an operation writes, or may read.
fn moved(op: &StoreOp) -> usize {
    match op {
        StoreOp::Append(append) => append.entry.body.len(),
        StoreOp::Read { bytes_max, .. } => *bytes_max,
        _ => 0,
    }
}

/// A log with the keys to everything.
pub(crate) struct Log {
    pub(crate) header: Header,
    pub(crate) append: SignKey,
    pub(crate) read: Option<SignKey>,
    pub(crate) owner: SignKey,
}

impl Log {
    pub(crate) fn new(number: u8) -> Log {
        Log::with(number, Flags::NONE)
    }

    pub(crate) fn with(number: u8, flags: Flags) -> Log {
        let key = |role| SignKey::from_seed(&Secret32::new([number ^ role; 32]));
        let (append, owner) = (key(0x55), key(0xaa));
        Log {
            header: Header {
                salt: Private([number; 32]),
                append_key: Some(append.verify_key()),
                read_key: None,
                owner_key: Some(owner.verify_key()),
                flags,
            },
            append,
            read: None,
            owner,
        }
    }

    pub(crate) fn with_reader(number: u8) -> Log {
        let mut log = Log::new(number);
        let key = SignKey::from_seed(&Secret32::new([number ^ 0x33; 32]));
        log.header.read_key = Some(key.verify_key());
        log.read = Some(key);
        log
    }

    pub(crate) fn capability(&self) -> Capability {
        self.header.capability()
    }

    pub(crate) fn new_log(&self, first: Option<First>) -> NewLog {
        NewLog {
            header: self.header.clone(),
            first,
        }
    }
}

pub(crate) fn prove(
    world: &World,
    binding: &StreamBinding,
    key: &SignKey,
    purpose: Purpose,
    log: &Log,
) -> Signature {
    let scope = Scope {
        relay: &world.identity,
        binding,
        log: log.capability().log_id(),
    };
    proof::sign(key, purpose, scope)
}

pub(crate) fn create(log: &Log, first: Option<First>) -> Request {
    Request::Create(Create {
        new: log.new_log(first),
        code: None,
    })
}

pub(crate) fn open(log: &Log, from: u64, proof: Option<Signature>) -> Request {
    let capability = log.capability();
    Request::Open(Open {
        logs: vec![OpenLog {
            capability,
            from,
            proof,
        }],
    })
}

/// A message of the smallest class, without proof, to a log without commits.
pub(crate) fn message(handle: Handle, number: u32) -> Append {
    let mut nonce = [0; 16];
    nonce[..4].copy_from_slice(&number.to_be_bytes());
    Append {
        handle,
        expect_slots: 0,
        commit: false,
        close: false,
        ttl: Ttl::Day30,
        nonce,
        body: body(number, 4 << 10),
        next: Vec::new(),
        proof: None,
    }
}

pub(crate) fn body(number: u32, len: usize) -> Vec<u8> {
    let mut body = vec![0x5a; len];
    body[..4].copy_from_slice(&number.to_be_bytes());
    body
}

pub(crate) fn first(number: u8) -> First {
    First {
        ttl: Ttl::Day30,
        nonce: [number; 16],
        body: body(number.into(), 4 << 10),
    }
}
