//! Random operations, in random batches, with crashes and days in between, against the model.

use std::sync::Arc;

use emptyroom_wire::entry::Ttl;
use emptyroom_wire::log::{Flags, Header};
use emptyroom_wire::time::DAY_MS;
use emptyroom_wire::wipe::OrderHash;

use super::Subject;
use super::driver::{Driver, first, header, place};
use super::model::Model;
use super::shares::{place_of, share_of};
use crate::store::{Append, NewEntry, NewPlace, ShareOp, StoreOp};

/// How many traces there are.
pub const TRACES: u64 = 24;
const BATCHES: u64 = 120;

pub(super) fn random_operations(subject: &mut dyn Subject) {
    // They share the store, not the logs: old ones lie around, and the clock goes back each time.
    for seed in 0..TRACES {
        trace(&mut *subject, seed);
    }
}

/// One trace of random operations, of [`TRACES`].
pub fn trace(subject: &mut dyn Subject, seed: u64) {
    let mut trace = Trace {
        dice: Dice(seed),
        headers: headers(seed),
        nonces: Vec::new(),
        shares: u8::try_from(seed * 4).expect("24 traces"),
    };
    let mut driver = Driver::new(subject);
    driver.now = driver.now.plus_ms(seed * 3 * DAY_MS);
    run(&mut driver, &mut trace, seed);
}

fn run(driver: &mut Driver<'_>, trace: &mut Trace, seed: u64) {
    let mut model = Model::default();
    for step in 0..BATCHES {
        let ops: Vec<StoreOp> = (0..=trace.dice.below(8))
            .map(|_| trace.op(&mut model, driver))
            .collect();
        let expected: Vec<_> = ops.iter().map(|op| model.apply(driver.now, op)).collect();
        let outcomes = driver.apply(ops);
        for (at, (got, wanted)) in outcomes.iter().zip(&expected).enumerate() {
            assert!(
                got == wanted,
                "seed {seed} batch {step} operation {at}: got {got:?}, wanted {wanted:?}"
            );
        }
        match trace.dice.below(20) {
            0..=3 => driver.subject.crash(),
            4 => driver.days_later([1, 1, 2, 8, 31, 200][trace.dice.pick(6)]),
            // A day may pass without anything being removed.
            5 => driver.now = driver.now.plus_ms(DAY_MS),
            _ => {}
        }
    }
}

fn headers(seed: u64) -> Vec<Header> {
    let mut salt = [0; 32];
    salt[..8].copy_from_slice(&seed.to_be_bytes());
    let flags = [
        Flags::NONE,
        Flags::RECOVERY,
        Flags::NONE,
        Flags::REFUSE_CLOSE,
        Flags::DROP_OLDEST,
    ];
    (0..)
        .zip(flags)
        .map(|(number, flags)| {
            salt[31] = number;
            Header {
                salt: emptyroom_wire::secret::Private(salt),
                ..header(0, flags)
            }
        })
        .collect()
}

struct Trace {
    dice: Dice,
    headers: Vec<Header>,
    /// Nonces used before, to be used again.
    nonces: Vec<[u8; 16]>,
    /// The number of its first share.
    shares: u8,
}

impl Trace {
    fn op(&mut self, model: &mut Model, driver: &mut Driver<'_>) -> StoreOp {
        let header = self.headers[self.dice.pick(self.headers.len())].clone();
        let at = place(&header);
        match self.dice.below(16) {
            0..=2 => StoreOp::Create(self.new_place(&header)),
            3 => StoreOp::Look { place: at },
            4 => StoreOp::Read {
                place: at,
                from: self.dice.below(20),
                bytes_max: 1 + self.dice.pick(300),
            },
            5 => StoreOp::Renew { place: at },
            6 if self.dice.below(2) == 0 => StoreOp::Trim {
                place: at,
                up_to: self.dice.below(30),
            },
            7 if self.dice.below(8) == 0 => StoreOp::Destroy { place: at },
            8 => self.share(),
            _ => StoreOp::Append(self.append(&header, model, driver)),
        }
    }

    fn share(&mut self) -> StoreOp {
        // Traces share the store: each has three shares of its own.
        let number = self.shares + u8::try_from(self.dice.below(3)).unwrap();
        let uses = 1 + u8::try_from(self.dice.below(3)).unwrap();
        let days = [1, 10, 100][self.dice.pick(3)];
        let op = match self.dice.below(16) {
            0..=4 => ShareOp::Put(share_of(number, uses, days)),
            5 => ShareOp::Put(share_of(number + 1, uses, days)),
            6 => ShareOp::Look,
            7 => ShareOp::Touch,
            8..=12 => ShareOp::Use,
            13..=14 => ShareOp::Renew(days),
            _ => ShareOp::Delete([None, Some(OrderHash([number; 32]))][self.dice.pick(2)]),
        };
        StoreOp::Share(place_of(number), op)
    }

    fn append(&mut self, header: &Header, model: &mut Model, driver: &mut Driver<'_>) -> Append {
        let at = place(header);
        // Mostly the right slots, so that logs grow.
        let look = model.apply(driver.now, &StoreOp::Look { place: at.clone() });
        let slots = match look {
            super::driver::Outcome::Looked(view) if self.dice.below(6) > 0 => view.slots,
            _ => self.dice.below(3),
        };
        let mut append = driver.message(&at, slots);
        let commit = self.dice.below(4) == 0;
        append.entry.aad.commit = commit;
        append.entry.aad.close = commit && self.dice.below(6) == 0;
        append.entry.aad.ttl = [Ttl::Day1, Ttl::Day7, Ttl::Day30, Ttl::Life][self.dice.pick(4)];
        if !self.nonces.is_empty() && self.dice.below(6) == 0 {
            append.entry.aad.nonce = self.nonces[self.dice.pick(self.nonces.len())];
        }
        self.nonces.push(append.entry.aad.nonce);
        append.entry.body = Arc::from(vec![7; self.dice.pick(3) * 50]);
        for _ in 0..self.dice.below(8).saturating_sub(5) {
            let next = self.headers[self.dice.pick(self.headers.len())].clone();
            append.next.push(self.new_place(&next));
        }
        append
    }

    fn new_place(&mut self, header: &Header) -> NewPlace {
        let number = u8::try_from(self.dice.below(2)).unwrap();
        let mut new = NewPlace::new(header, (number > 0).then(|| first(number)));
        if let Some(NewEntry { aad, .. }) = &mut new.first
            && self.dice.below(10) == 0
        {
            aad.ttl = Ttl::Life;
        }
        new
    }
}

/// A generator good enough to choose with (splitmix64).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    pub(super) fn pick(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }
}
