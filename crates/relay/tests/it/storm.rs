//! Many clients at random: appends, opens, leaving, vanishing, sockets that take nothing, batches in any rhythm, little memory.
//! Whatever happens, each handle gets its log's entries once and in order, and what was acknowledged is where it was said to be.

use std::collections::BTreeMap;

use emptyroom_relay::{Config, Input, Limits};
use emptyroom_wire::op::{Answer, Append, Handle, OpenOutcome, Push, Request};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use crate::world::{Client, Log, World, body, open};

const SEEDS: u64 = 40;
const STEPS: u64 = 800;

struct Storm {
    world: World,
    logs: Vec<Log>,
    clients: Vec<Guest>,
    /// Clients that vanished; what they got counts as well.
    past: Vec<Guest>,
    rng: ChaCha20Rng,
    number: u32,
}

struct Guest {
    client: Client,
    /// Opens and appends that were asked for: id, log, from or number.
    opens: BTreeMap<u32, (usize, u64)>,
    appends: BTreeMap<u32, (usize, u32)>,
    /// Open handles: log, first entry wanted; false once left.
    handles: BTreeMap<Handle, (usize, u64, bool)>,
}

impl Guest {
    fn new(world: &mut World) -> Guest {
        Guest {
            client: world.client(),
            opens: BTreeMap::new(),
            appends: BTreeMap::new(),
            handles: BTreeMap::new(),
        }
    }

    /// Takes what came, and notes which handles it got.
    fn receive(&mut self, world: &mut World) {
        self.client.receive(world);
        for (id, (log, from)) in &self.opens {
            if let Some(Answer::Opened(opened)) = self.client.answers.get(id)
                && let OpenOutcome::Open(opened) = &opened.logs[0]
            {
                let from = (*from).min(opened.view.next_seq);
                self.handles
                    .entry(opened.handle)
                    .or_insert((*log, from, true));
            }
        }
    }
}

impl Storm {
    fn new(seed: u64) -> Storm {
        // So little that readers have to wait for each other.
        let limits = Limits {
            unsent_total_max: 200_000,
            ..Limits::default()
        };
        let mut world = World::with(Config {
            limits,
            ..Config::open()
        });
        let logs: Vec<Log> = (1..4)
            .map(|number| {
                let mut log = Log::new(number);
                log.header.append_key = None;
                log
            })
            .collect();
        let mut first = Guest::new(&mut world);
        for log in &logs {
            first.client.create(&mut world, log);
        }
        world.hold_store = true;
        world.sockets_take = false;
        Storm {
            world,
            logs,
            clients: vec![first],
            past: Vec::new(),
            rng: ChaCha20Rng::seed_from_u64(seed),
            number: 0,
        }
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.rng.next_u64() % (end as u64)).unwrap()
    }

    fn step(&mut self) {
        let at = self.below(self.clients.len());
        match self.below(40) {
            0..=15 => self.append(at),
            16..=18 => {
                let (log, from) = (self.below(self.logs.len()), self.below(30) as u64);
                let guest = &mut self.clients[at];
                let id = guest
                    .client
                    .send(&mut self.world, open(&self.logs[log], from, None));
                guest.opens.insert(id, (log, from));
            }
            19 => self.leave(at),
            20..=28 => self.world.run_store(),
            29..=38 => {
                let conn = self.clients[at].client.conn;
                self.world.take_all(conn);
                self.clients[at].receive(&mut self.world);
            }
            _ => self.come_or_go(at),
        }
        // Whom the relay ended is gone.
        let ended = |guest: &Guest| self.world.hangup(guest.client.conn).is_some();
        if let Some(at) = self.clients.iter().position(ended) {
            self.vanish(at);
        }
    }

    fn append(&mut self, at: usize) {
        let log = self.below(self.logs.len());
        let len = [4 << 10, 4 << 10, 4 << 10, 16 << 10, 64 << 10][self.below(5)];
        let guest = &mut self.clients[at];
        let open = guest
            .handles
            .iter()
            .find(|(_, (of, _, open))| *of == log && *open);
        let Some((handle, _)) = open else {
            return;
        };
        self.number += 1;
        let append = Append {
            body: body(self.number, len),
            ..crate::world::message(*handle, self.number)
        };
        let id = guest.client.send(&mut self.world, Request::Append(append));
        guest.appends.insert(id, (log, self.number));
    }

    fn leave(&mut self, at: usize) {
        let guest = &mut self.clients[at];
        let open = guest.handles.iter_mut().find(|(_, (_, _, open))| *open);
        if let Some((handle, state)) = open {
            state.2 = false;
            let handle = *handle;
            guest.client.send(&mut self.world, Request::Leave(handle));
        }
    }

    fn come_or_go(&mut self, at: usize) {
        if self.clients.len() < 6 {
            // A stream is opened with sockets that take.
            self.world.sockets_take = true;
            let guest = Guest::new(&mut self.world);
            self.world.sockets_take = false;
            self.clients.push(guest);
        } else {
            let conn = self.clients[at].client.conn;
            self.world.input(Input::Disconnected(conn));
            self.vanish(at);
        }
    }

    fn vanish(&mut self, at: usize) {
        let mut guest = self.clients.remove(at);
        guest.receive(&mut self.world);
        self.past.push(guest);
        if self.clients.is_empty() {
            self.come_or_go(0);
        }
    }

    /// Everything comes to rest.
    fn finish(&mut self) {
        self.world.release_store();
        for _ in 0..2_000 {
            for guest in &mut self.clients {
                let conn = guest.client.conn;
                self.world.take_all(conn);
                guest.receive(&mut self.world);
            }
        }
    }

    fn check(&mut self, seed: u64) {
        let mut truth: BTreeMap<(usize, u64), u32> = BTreeMap::new();
        let all = || self.clients.iter().chain(&self.past);
        for guest in all() {
            for (id, (log, number)) in &guest.appends {
                if let Some(Answer::Appended(appended)) = guest.client.answers.get(id) {
                    let old = truth.insert((*log, appended.seq), *number);
                    assert_eq!(old, None, "seed {seed}: one place for two entries");
                }
            }
        }
        let ends: Vec<u64> = (0..self.logs.len())
            .map(|log| {
                let entries = all().flat_map(|guest| {
                    let handles = guest.handles.iter().filter(move |(_, (of, ..))| *of == log);
                    handles.flat_map(|(handle, _)| guest.client.seqs(*handle))
                });
                entries.max().map_or(0, |seq| seq + 1)
            })
            .collect();
        for guest in all() {
            for (handle, (log, from, _)) in &guest.handles {
                let entries = guest.client.entries(*handle);
                for (entry, seq) in entries.iter().zip(*from..) {
                    assert_eq!(entry.seq, seq, "seed {seed}: a gap or a repetition");
                    let number = u32::from_be_bytes(*entry.body.first_chunk().unwrap());
                    let known = *truth.entry((*log, seq)).or_insert(number);
                    assert_eq!(known, number, "seed {seed}: two entries for one place");
                }
                let told = guest
                    .client
                    .pushes
                    .iter()
                    .filter(|(at, push)| at == handle && matches!(push, Push::CaughtUp(_)));
                assert!(told.count() <= 1, "seed {seed}: caught up twice");
            }
        }
        for guest in &self.clients {
            let ended = self.world.hangup(guest.client.conn).is_some();
            for (handle, (log, from, open)) in &guest.handles {
                if *open && !ended {
                    let count = guest.client.entries(*handle).len() as u64;
                    assert_eq!(
                        from + count,
                        ends[*log].max(*from),
                        "seed {seed}: not everything came"
                    );
                }
            }
        }
    }
}

// [SPEC 4.56]
#[test]
fn everybody_gets_everything_in_order() {
    let (mut entries, mut ended) = (0, 0);
    for seed in 0..SEEDS {
        let mut storm = Storm::new(seed);
        for _ in 0..STEPS {
            storm.step();
        }
        storm.finish();
        storm.check(seed);
        entries += storm.number;
        ended += storm.world.hangups.len();
    }
    assert!(entries > 1_000, "something happened: {entries}");
    assert!(ended > 0, "and some were crowded out");
}
