//! What most tests start from.

use emptyroom_wire::entry::{Aad, OuterKey, Ttl};
use emptyroom_wire::greeting::{Greeting, Terms};
use emptyroom_wire::log::LogId;
use emptyroom_wire::relay_key::{KeyChain, RelayIdentity, StreamKey};
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::stream::{ClientStream, Opened, Opening, OpeningOutcome, RelayStream};
use emptyroom_wire::time::{Mono, Wall};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

pub const SPKI: [u8; 32] = [9; 32];
pub const START: Wall = Wall(1_800_000_000_000);

pub fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

pub fn secret(byte: u8) -> Secret32 {
    Secret32::new([byte; 32])
}

pub fn outer(byte: u8) -> OuterKey {
    OuterKey::new(secret(byte))
}

pub fn aad() -> Aad {
    Aad {
        log_id: LogId([1; 32]),
        expect_slots: 2,
        commit: false,
        close: false,
        ttl: Ttl::Day30,
        nonce: [4; 16],
        next_hash: [0; 32],
    }
}

pub fn terms() -> Terms {
    Terms {
        time_ms: START.0,
        reconnect_spread_s: 30,
        entry_len_max: 4 << 20,
        handles_max: 1_000,
        requests_max: 64,
        code_needed: true,
    }
}

/// A relay with one stream key, and its greeting.
pub struct Relay {
    pub identity: RelayIdentity,
    pub key: StreamKey,
}

impl Relay {
    pub fn new(seed: u8) -> Self {
        let identity = RelayIdentity::from_seed(&secret(seed));
        let key = identity.next_stream_key(None, START, &mut rng(u64::from(seed)));
        Relay { identity, key }
    }

    pub fn next_key(&self, now: Wall) -> StreamKey {
        let previous = &self.key.signed().record;
        self.identity
            .next_stream_key(Some(previous), now, &mut rng(now.0))
    }

    pub fn greeting(&self) -> Vec<u8> {
        Greeting::new(&self.identity, &self.key, Some(&SPKI)).encode()
    }

    pub fn chain(&self) -> KeyChain {
        KeyChain::new(self.identity.hash())
    }

    pub fn start(&self, seed: u64) -> (Opening, Vec<u8>) {
        Opening::start(&self.greeting(), Some(&SPKI), &self.chain(), &mut rng(seed)).unwrap()
    }

    pub fn accept(&self, opening: &[u8], now: Mono, seed: u64) -> (RelayStream, Vec<u8>) {
        let hash = self.identity.hash();
        RelayStream::accept(opening, &self.key, &hash, (&terms(), now), &mut rng(seed)).unwrap()
    }

    pub fn finish(&self, opening: Opening, answer: &[u8], now: Mono) -> Opened {
        match opening
            .answer(answer, &self.chain(), now, &mut rng(99))
            .unwrap()
        {
            OpeningOutcome::Open(opened) => opened,
            OpeningOutcome::Again(..) => panic!("the relay holds the key"),
        }
    }

    /// Both ends of a stream that was opened at `now`.
    pub fn streams(&self, now: Mono) -> (ClientStream, RelayStream) {
        let (opening, frame) = self.start(1);
        let (relay, answer) = self.accept(&frame, now, 2);
        (self.finish(opening, &answer, now).stream, relay)
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
    digits
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

pub fn unhex32(text: &str) -> [u8; 32] {
    unhex(text).try_into().unwrap()
}
