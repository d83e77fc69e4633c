//! Sharing and asking, against relays that are keys with a count.

use core::convert::Infallible;

use emptyroom_relay::conformance::MemoryRows;
use emptyroom_relay::store::{Ledger, ShareOp, SharePlace, ShareReply, Store, StoreOp, StoreReply};
use emptyroom_wire::op::Evaluated;
use emptyroom_wire::share::{Share, ShareId, ShareKey};
use emptyroom_wire::sign::VerifyKey;
use emptyroom_wire::time::{DAY_MS, Mono, Wall};
use rand_chacha::ChaCha20Rng;
use rand_core::{SeedableRng, TryCryptoRng, TryRng};
use serde_json::{Value, json};

use super::oprf::{Output, Question, evaluate, new_key};
use super::split::{blank, combine, share};
use super::unlock::{Area, Candidate, ENOUGH_MS, NoAnswer, TooFew, Unlock};
use super::{RELAYS_MAX, SLOTS, USES, needed};

mod refreshing;

/// Randomness that is written down: the bytes given, in order.
pub(super) struct Script(pub(super) Vec<u8>);

impl TryRng for Script {
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
        let rest = self.0.split_off(out.len());
        out.copy_from_slice(&self.0);
        self.0 = rest;
        Ok(())
    }
}

impl TryCryptoRng for Script {}

pub(super) fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn key(number: u8) -> ShareKey {
    let mut bytes = [0; 32];
    bytes[0] = number + 1;
    ShareKey::new(bytes).unwrap()
}

fn outputs(input: u8, relays: usize) -> Vec<Output> {
    let relays = (0..).take(relays);
    relays
        .map(|relay| evaluate(&key(relay), &[input; 32]))
        .collect()
}

/// The file is made again from fixed inputs and compared.
// [SPEC 11.50]
#[test]
fn vectors() {
    // Three coefficients of 64 bytes each.
    let script: Vec<u8> = (0..192).collect();
    let outputs = outputs(7, 5);
    let shared = share(2, 3, &outputs, &mut Script(script.clone()));
    let of = |relays: [u8; 3]| {
        let chosen = relays.map(|relay| (relay, &outputs[usize::from(relay)]));
        let secret = combine(2, &shared.masked, &chosen).unwrap();
        json!({ "relays": relays, "secret": hex(&*secret) })
    };
    let wrong = evaluate(&key(0), &[8; 32]);
    let chosen = [(0, &wrong), (1, &outputs[1]), (2, &outputs[2])];
    let wrong_secret = combine(2, &shared.masked, &chosen).unwrap();
    let made = json!({
        "keys": (0..5).map(|relay| format!("{:02x}{}", relay + 1, "00".repeat(31))).collect::<Vec<_>>(),
        "input": hex(&[7; 32]),
        "outputs": outputs.iter().map(|output| hex(output.expose())).collect::<Vec<_>>(),
        "slot": 2,
        "needed": 3,
        "randomness": hex(&script),
        "secret": hex(&*shared.secret),
        "masked": shared.masked.iter().map(|value| hex(value)).collect::<Vec<_>>(),
        "combined": [of([0, 1, 2]), of([4, 1, 3])],
        "wrong_input_at_relay_0": hex(&[8; 32]),
        "wrong_secret": hex(&*wrong_secret),
    });
    let kept = include_str!("../../../../spec/vectors/split.json");
    let kept: Value = serde_json::from_str(kept).unwrap();
    assert_eq!(kept, made, "{made:#}");
}

/// Every choice of enough relays gives the secret, and fewer say nothing.
// [SPEC 11.50] [SPEC 11.51]
#[test]
fn enough_relays_give_the_secret_and_fewer_do_not() {
    let mut rng = rng(1);
    for relays in 1..=RELAYS_MAX {
        let needed = needed(relays);
        let outputs = outputs(7, relays);
        let shared = share(1, needed, &outputs, &mut rng);
        assert_eq!(shared.masked.len(), relays);
        let wrong = super::oprf::evaluate(&key(99), &[7; 32]);
        for choice in 0..1_u32 << relays {
            let chosen: Vec<(u8, &Output)> = (0..)
                .zip(&outputs)
                .filter(|(relay, _)| choice & (1 << relay) != 0)
                .collect();
            let secret = combine(1, &shared.masked, &chosen).unwrap();
            assert_eq!(
                secret == shared.secret,
                chosen.len() >= needed,
                "{relays} {choice}"
            );
            // With one wrong answer among as many as are needed, some other secret comes out.
            if chosen.len() == needed {
                let mut bent = chosen.clone();
                bent[0].1 = &wrong;
                assert!(combine(1, &shared.masked, &bent).unwrap() != shared.secret);
                assert!(combine(0, &shared.masked, &chosen).unwrap() != shared.secret);
            }
        }
        // Twice the same relay, and one that is none, are no choice.
        assert!(combine(1, &shared.masked, &[(0, &outputs[0]), (0, &outputs[0])]).is_none());
        assert!(combine(1, &shared.masked, &[(99, &outputs[0])]).is_none());
    }
}

/// One relay's answer tests no guess: whatever was typed, what comes out is as good a value as any.
// [SPEC 11.50]
#[test]
fn every_answer_gives_a_secret() {
    let mut rng = rng(2);
    let shared = share(0, 2, &outputs(7, 3), &mut rng);
    let empty = blank(3, &mut rng);
    for guess in 0..250 {
        let outputs = outputs(guess, 2);
        let chosen = [(0, &outputs[0]), (1, &outputs[1])];
        for masked in [&shared.masked, &empty] {
            let secret = combine(0, masked, &chosen).unwrap();
            assert_eq!(
                secret == shared.secret,
                guess == 7 && *masked == shared.masked
            );
        }
    }
    // What is no scalar at all was never written by us.
    assert!(combine(0, &[[0xff; 32]], &[(0, &outputs(7, 1)[0])]).is_none());
}

/// A relay's store with one share.
struct Stored {
    store: Ledger<MemoryRows>,
    place: SharePlace,
    left: u8,
}

impl Stored {
    fn new(relay: u8) -> Stored {
        let place = SharePlace::of(&ShareId::new([relay; 32]));
        let mut stored = Stored {
            store: Ledger::new(MemoryRows::default(), Box::new(rng(relay.into()))),
            place,
            left: USES,
        };
        let put = ShareOp::Put(Share {
            owner: VerifyKey([1; 32]),
            key: key(relay),
            uses: USES,
            days: 400,
            policy: None,
        });
        assert!(matches!(stored.apply(put), StoreReply::Done));
        stored
    }

    fn apply(&mut self, op: ShareOp) -> StoreReply {
        let now = Wall(20_000 * DAY_MS);
        let ops = vec![StoreOp::Share(self.place.clone(), op)];
        self.store.apply(now, ops).unwrap().remove(0)
    }

    /// Asks it, as the relay is asked.
    fn ask(&mut self, input: u8, rng: &mut ChaCha20Rng) -> Option<Output> {
        let question = Question::new(&[input; 32], rng);
        match self.apply(ShareOp::Use) {
            StoreReply::Share(ShareReply::Used(key, left)) => {
                self.left = left;
                Some(question.finish(&key.evaluate(&question.element())))
            }
            _ => None,
        }
    }
}

/// What somebody gets who has all the device's files, from relays that count: he asks those that have most left.
// [SPEC 11.51]
#[test]
fn so_many_guesses_and_no_more() {
    let mut rng = rng(4);
    for (relays, guesses) in [(1, 10), (2, 10), (3, 15), (4, 13), (5, 16)] {
        let needed = needed(relays);
        let shared = share(0, needed, &outputs(0, relays), &mut rng);
        let mut stored: Vec<Stored> = (0..).take(relays).map(Stored::new).collect();
        let mut found = Vec::new();
        // The right one is zero: he comes to it last, and would go on for ever.
        for guess in (0..=guesses).rev() {
            let mut order: Vec<usize> = (0..relays).collect();
            order.sort_by_key(|relay| core::cmp::Reverse(stored[*relay].left));
            let asked = order.iter().take(needed).map(|relay| {
                let output = stored[*relay].ask(guess, &mut rng)?;
                Some((u8::try_from(*relay).unwrap(), output))
            });
            let Some(asked) = asked.collect::<Option<Vec<(u8, Output)>>>() else {
                break;
            };
            let chosen: Vec<(u8, &Output)> = asked
                .iter()
                .map(|(relay, output)| (*relay, output))
                .collect();
            found.push(combine(0, &shared.masked, &chosen).unwrap() == shared.secret);
        }
        assert_eq!(found, vec![false; guesses.into()], "{relays} relays");
    }
}

/// Relays, and an area whose slot 3 the right input opens.
struct World {
    keys: Vec<ShareKey>,
    uses: u8,
    secret: [u8; 32],
    unlock: Unlock,
}

impl World {
    fn new(relays: usize, typed: u8) -> World {
        let mut rng = rng(relays as u64);
        let keys: Vec<ShareKey> = (0..relays).map(|_| new_key(&mut rng)).collect();
        let needed = needed(relays);
        let outputs: Vec<Output> = keys.iter().map(|key| evaluate(key, &[7; 32])).collect();
        let shared = share(3, needed, &outputs, &mut rng);
        let mut blanks = || blank(relays, &mut rng);
        let masked = [blanks(), blanks(), blanks(), shared.masked];
        let ids = (1..).take(relays).map(|number| ShareId::new([number; 32]));
        let area = Area::new(needed, ids.collect(), masked).unwrap();
        World {
            keys,
            uses: USES,
            secret: *shared.secret,
            unlock: Unlock::new(area, &[typed; 32], Mono(1_000), &mut rng),
        }
    }

    fn answer(&mut self, relay: usize) {
        let asked = &self.unlock.requests()[relay];
        assert!(asked.id == ShareId::new([u8::try_from(relay).unwrap() + 1; 32]));
        let evaluated = Evaluated {
            element: self.keys[relay].evaluate(&asked.element),
            uses_left: self.uses - 1,
        };
        self.unlock.heard(relay, Ok(evaluated));
    }

    /// How many more tries the relays that answered allow together.
    fn tries_left(&self) -> usize {
        let left = self.unlock.heard_from();
        let left: usize = left.map(|(.., left)| usize::from(left)).sum();
        left / needed(self.keys.len())
    }

    fn opens(&self) -> usize {
        let candidates = self.unlock.candidates().unwrap();
        let right = |candidate: &&Candidate| {
            let right = candidate.iter().map(|secret| **secret == self.secret);
            let right: Vec<bool> = right.collect();
            assert!(!right[..SLOTS - 1].contains(&true));
            right[SLOTS - 1]
        };
        candidates.iter().filter(right).count()
    }
}

#[test]
fn all_are_asked_and_waited_for() {
    let mut world = World::new(5, 7);
    assert_eq!(world.unlock.requests().len(), 5);
    assert_eq!(world.unlock.wake_at(), Mono(1_000 + ENOUGH_MS));
    for relay in [4, 0] {
        world.answer(relay);
    }
    let few = TooFew::Needed {
        needed: 3,
        answered: 2,
    };
    assert_eq!(world.unlock.candidates().err(), Some(few));
    assert!(!world.unlock.is_over(Mono(15_000)));
    world.answer(2);
    // The one that is slow may be the one that answers rightly.
    assert!(!world.unlock.is_over(Mono(15_999)) && world.unlock.is_over(Mono(16_000)));
    assert_eq!(world.opens(), 1);
    // Three answered, each allows nine more: of three each.
    assert_eq!(world.tries_left(), 9);
    for relay in [1, 3] {
        world.answer(relay);
    }
    assert!(world.unlock.is_over(Mono(2_100)));
    assert_eq!(world.unlock.candidates().unwrap().len(), 10);
    assert_eq!(world.opens(), 10);
    assert_eq!(world.tries_left(), 15);
}

#[test]
fn a_wrong_secret_and_wrong_relays_open_nothing_or_are_outvoted() {
    let mut world = World::new(5, 8);
    (0..5).for_each(|relay| world.answer(relay));
    assert_eq!(world.opens(), 0);
    // Two of five answer with another key, one of them twice.
    let mut world = World::new(5, 7);
    for relay in [1, 3] {
        world.keys[relay] = key(99);
    }
    (0..5).for_each(|relay| world.answer(relay));
    (0..5).for_each(|relay| world.answer(relay));
    assert_eq!(world.opens(), 1);
    // Of one relay, that one is needed.
    let mut world = World::new(1, 7);
    world.answer(0);
    assert!(world.unlock.is_over(Mono(1_100)));
    assert_eq!(world.opens(), 1);
}

#[test]
fn too_few_answers_say_nothing_of_the_secret() {
    let mut world = World::new(3, 7);
    world.unlock.heard(0, Err(NoAnswer::Gone));
    world.unlock.heard(9, Err(NoAnswer::Gone));
    world.answer(1);
    world.unlock.heard(2, Err(NoAnswer::NotNow));
    assert!(world.unlock.is_over(Mono(1_200)));
    let few = TooFew::Needed {
        needed: 2,
        answered: 1,
    };
    assert_eq!(world.unlock.candidates().err(), Some(few));
    let mut world = World::new(3, 7);
    for relay in [0, 1] {
        world.unlock.heard(relay, Err(NoAnswer::Gone));
    }
    world.answer(2);
    assert_eq!(world.unlock.candidates().err(), Some(TooFew::Gone));
    // Nobody answers at all.
    let world = World::new(3, 7);
    assert!(world.unlock.is_over(Mono(1_000 + ENOUGH_MS)));
    let few = TooFew::Needed {
        needed: 2,
        answered: 0,
    };
    assert_eq!(world.unlock.candidates().err(), Some(few));
}

#[test]
fn relays_learn_nothing_from_what_they_are_asked() {
    let mut rng = rng(3);
    let mut seen: Vec<[u8; 32]> = (0..20)
        .map(|_| Question::new(&[7; 32], &mut rng).element().to_bytes())
        .collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 20);
}

#[test]
fn an_area_fits_itself() {
    let ids = |count: u8| {
        (0..count)
            .map(|number| ShareId::new([number; 32]))
            .collect::<Vec<_>>()
    };
    let masked = |count| core::array::from_fn(|_| vec![[1; 32]; count]);
    assert!(Area::new(3, ids(5), masked(5)).is_some());
    for (needed, count, values) in [(0, 3, 3), (4, 3, 3), (2, 3, 2), (4, 6, 6), (1, 0, 0)] {
        assert!(Area::new(needed, ids(count), masked(values)).is_none());
    }
}
