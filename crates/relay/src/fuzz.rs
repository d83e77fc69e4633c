//! One function per way in: any bytes go in, nothing may panic, and the relay goes on for everybody else.
//!
//! The corpus lies in `fuzz-corpus/NAME`; it is replayed and mutated by the tests, and `cargo fuzz` starts from it. Keys and randomness are
//! fixed, so that inputs found once stay inputs.

// Not part of any program: what does not hold here must be seen.
#![allow(clippy::panic)]

use core::convert::Infallible;
use std::collections::VecDeque;

use emptyroom_wire::op::{FromClient, Request};
use emptyroom_wire::relay_key::{KeyChain, RelayIdentity};
use emptyroom_wire::rng::CryptoRng;
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::stream::{ClientStream, Opening, OpeningOutcome};
use emptyroom_wire::time::{DAY_MS, Mono, Now, Wall};
use rand_core::{TryCryptoRng, TryRng};

use crate::conformance::MemoryRows;
use crate::store::{Ledger, Store, decode_rows};
use crate::{Config, ConnId, Input, Output, Relay};

/// A way in: its name (that of its corpus) and function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target, for replaying and mutating corpora.
pub const TARGETS: [Target; 3] = [
    ("relay_frames", fuzz_relay_frames),
    ("relay_messages", fuzz_relay_messages),
    ("relay_rows", fuzz_relay_rows),
];

/// Frames of a client that has no stream yet: each is a length (two bytes) and that many bytes.
pub fn fuzz_relay_frames(data: &[u8]) {
    let mut room = Room::new();
    for frame in pieces(data) {
        let conn = room.connect();
        room.input(Input::Frame(conn, frame.to_vec()));
        room.input(Input::Frame(conn, frame.to_vec()));
    }
    room.lives_on();
}

/// Messages on a stream, sealed as they must be: what a hostile client with a good library sends.
pub fn fuzz_relay_messages(data: &[u8]) {
    let mut room = Room::new();
    let (conn, mut stream) = room.open();
    for message in pieces(data).filter(|message| !message.is_empty()) {
        let Ok(frame) = stream.seal(room.now.mono, message) else {
            return;
        };
        room.input(Input::Frame(conn, frame));
    }
    room.lives_on();
}

/// The contents of rows, as if somebody could write them.
pub fn fuzz_relay_rows(data: &[u8]) {
    decode_rows(data);
}

/// A length of two bytes before each piece; what is cut short at the end is a piece as it is.
fn pieces(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || {
        let (len, rest) = data.split_first_chunk()?;
        let len = usize::from(u16::from_be_bytes(*len)).min(rest.len());
        let (piece, rest) = rest.split_at_checked(len)?;
        data = rest;
        Some(piece)
    })
}

/// A relay with its store.
struct Room {
    relay: Relay,
    ledger: Ledger<MemoryRows>,
    now: Now,
    chain: KeyChain,
    conns: u64,
    /// The last frame handed out, and whom for.
    last: Option<(ConnId, Vec<u8>)>,
}

impl Room {
    fn new() -> Room {
        let now = Now {
            wall: Wall(20_000 * DAY_MS),
            mono: Mono(0),
        };
        let identity = RelayIdentity::from_seed(&Secret32::new([7; 32]));
        let chain = KeyChain::new(identity.hash());
        let mut room = Room {
            relay: Relay::new(now, identity, Vec::new(), Config::open(), fixed(1)),
            ledger: Ledger::new(MemoryRows::default(), fixed(2)),
            now,
            chain,
            conns: 0,
            last: None,
        };
        room.input(Input::Tick);
        room
    }

    fn input(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.relay.handle(self.now, input);
            while let Some(output) = self.relay.poll() {
                inputs.extend(self.carry_out(output));
            }
        }
    }

    fn carry_out(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::Frame(conn, frame) => {
                let len = frame.len();
                self.last = Some((conn, frame));
                Some(Input::Written(conn, len))
            }
            Output::Store(ticket, ops) => {
                let replies = self.ledger.apply(self.now.wall, ops);
                Some(Input::Stored(ticket, replies))
            }
            Output::PersistKeyRecord(ticket, _) => Some(Input::KeyRecordPersisted(ticket, Ok(()))),
            Output::Expire(ticket) => Some(Input::Expired(ticket, Ok(()))),
            Output::Hangup(..)
            | Output::ReadKeyRecords(..)
            | Output::News(..)
            | Output::Watch(_)
            | Output::Unwatch(_) => None,
            Output::Stopped(_) => panic!("a client stopped the relay"),
        }
    }

    fn connect(&mut self) -> ConnId {
        self.conns += 1;
        let conn = ConnId(self.conns);
        self.input(Input::Connected(conn));
        conn
    }

    fn open(&mut self) -> (ConnId, ClientStream) {
        let conn = self.connect();
        let mut rng = fixed(3);
        let (_, greeting) = self.last.take().expect("a greeting");
        let (opening, frame) = Opening::start(&greeting, None, &self.chain, &mut *rng)
            .unwrap_or_else(|fault| panic!("{fault}"));
        self.input(Input::Frame(conn, frame));
        let (_, answer) = self.last.take().expect("an answer");
        match opening.answer(&answer, &self.chain, self.now.mono, &mut *rng) {
            Ok(OpeningOutcome::Open(opened)) => (conn, opened.stream),
            _ => panic!("no stream"),
        }
    }

    /// Somebody else is served as if nothing had been.
    fn lives_on(&mut self) {
        let (conn, mut stream) = self.open();
        let ping = FromClient {
            id: 1,
            request: Request::Ping,
        };
        let bytes = ping.encode().expect("a ping is short");
        let frame = stream.seal(self.now.mono, &bytes).expect("a new stream");
        self.input(Input::Frame(conn, frame));
        let (to, frame) = self.last.take().expect("an answer");
        assert_eq!(to, conn, "an answer to whoever asked");
        assert!(stream.open(self.now.mono, &frame).is_ok(), "it opens");
    }
}

/// Numbers that look random and are the same each time.
struct Fixed(u64);

fn fixed(seed: u64) -> Box<dyn CryptoRng + Send> {
    Box::new(Fixed(seed))
}

impl TryRng for Fixed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for byte in out {
            self.0 = self
                .0
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(0x1405_7b7e_f767_814f);
            *byte = self.0.to_be_bytes()[0];
        }
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}
