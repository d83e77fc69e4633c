//! The four slots: which of them, if any, a secret opens.

use subtle::{ConditionallySelectable, ConstantTimeGreater, ConstantTimeLess};

use super::{Header, SLOT_LEN, SLOTS};
use crate::derive::{ABSENT, LABEL_HEADER, LABEL_PANIC, slot_key, subkey};
use crate::factors::{Answers, Factors, Share};
use crate::memory::{KEY_LEN, LockedBytes, LockedKey};
use crate::random::Random;
use crate::seal::{OVERHEAD, open_into, seal_into};

const PAYLOAD_LEN: usize = SLOT_LEN - OVERHEAD;
/// A slot that opens the vault: it holds the vault key.
const KIND_OPEN: u8 = 1;
/// A slot of the panic PIN: it holds the panic secret, which gives orders to destroy what is elsewhere.
const KIND_PANIC: u8 = 2;
/// A slot of the recovery phrase: it holds the vault key.
const KIND_RECOVERY: u8 = 3;
/// Kinds that are known. Lower ones count before higher ones.
const KIND_MAX: u8 = KIND_RECOVERY;

/// The keys that an opened slot gives.
pub(crate) struct Unlocked {
    /// `K`, from which everything but the record keys comes.
    pub(crate) vault: LockedKey,
    /// The key of the header's body.
    pub(crate) header: LockedKey,
}

impl Unlocked {
    pub(crate) fn new(vault: LockedKey) -> Self {
        Unlocked {
            header: subkey(&vault, LABEL_HEADER),
            vault,
        }
    }
}

/// What a secret opens.
pub(crate) enum Found {
    /// The vault; this is its key.
    Vault(LockedKey),
    /// The vault, by the recovery phrase; this is its key.
    Recovery(LockedKey),
    /// The slot of the panic PIN; this is the panic secret.
    Panic(LockedKey),
    /// None of the slots.
    Nothing,
}

/// What came of trying all slots, not looked at yet: taking memory for a key that only some secrets
/// give would show in the time.
pub(crate) struct Chosen(LockedBytes);

impl Chosen {
    pub(crate) fn found(&self) -> Found {
        let chosen = self
            .0
            .bytes()
            .get(KEY_LEN + PAYLOAD_LEN..)
            .unwrap_or_default();
        let (kind, content) = chosen.split_first().unwrap_or((&0, &[]));
        let key = || {
            LockedKey::new(|out| {
                for (out, byte) in out.iter_mut().zip(content) {
                    *out = *byte;
                }
            })
        };
        match *kind {
            KIND_OPEN => Found::Vault(key()),
            KIND_PANIC => Found::Panic(key()),
            KIND_RECOVERY => Found::Recovery(key()),
            _ => Found::Nothing,
        }
    }
}

/// Tries a stretched secret on all four slots, without factors and with what they answered.
///
/// Every slot is derived and opened whether or not an earlier one did, and which of them counts is
/// chosen without a branch. The memory for it is taken before: doing that in the loop would be most
/// of the time, and of its noise.
pub(crate) fn try_all(header: &Header, stretched: &LockedKey, answers: &Answers) -> Chosen {
    // [SPEC 11.7]
    // [SPEC 11.40]
    let mut memory = LockedBytes::zeroed(KEY_LEN + 2 * PAYLOAD_LEN);
    let (key, payloads) = memory
        .bytes_mut()
        .split_first_chunk_mut::<KEY_LEN>()
        .expect("made longer than a key");
    let (payload, chosen) = payloads.split_at_mut(PAYLOAD_LEN);
    let clear = header.clear();
    for (tpm, relays) in answers.ways(header.mode) {
        for ((index, slot), relays) in (0u8..).zip(&header.slots).zip(relays) {
            slot_key(stretched.expose(), tpm, relays, index, key);
            payload.fill(0);
            // What does not open leaves zeros, which are of no kind.
            let _ = open_into(key, &context(&clear, index), slot, payload);
            let better = rank(payload).ct_gt(&rank(chosen));
            for (chosen, byte) in chosen.iter_mut().zip(payload.iter()) {
                chosen.conditional_assign(byte, better);
            }
        }
    }
    Chosen(memory)
}

/// How much a payload counts: 0 if it is of no kind that is known.
fn rank(payload: &[u8]) -> u8 {
    // [SPEC 11.41]
    let kind = payload.first().copied().unwrap_or(0);
    let known = kind.ct_gt(&0) & kind.ct_lt(&(KIND_MAX + 1));
    u8::conditional_select(&0, &(KIND_MAX + 1).wrapping_sub(kind), known)
}

/// The stretched secrets besides the one that opens the vault. They lie in the header's body, so that
/// every change of secrets can make their slots anew.
#[derive(Default)]
pub(crate) struct Others {
    pub(crate) panic: Option<LockedKey>,
    pub(crate) recovery: Option<LockedKey>,
}

impl Others {
    /// The same once more.
    pub(crate) fn copy(&self) -> Self {
        Others {
            panic: self.panic.as_ref().map(LockedKey::copy),
            recovery: self.recovery.as_ref().map(LockedKey::copy),
        }
    }
}

/// Where the slots of the kinds 1, 2 and 3 come; the last place is for none.
pub(crate) type Places = [u8; SLOTS];

/// The four places in an order that is drawn.
pub(crate) fn draw_places(random: &Random) -> Places {
    let mut places = [0, 1, 2, 3];
    for (last, choices) in [(3, 4), (2, 3), (1, 2)] {
        places.swap(last, usize::from(random.below(choices)));
    }
    places
}

/// What the slots of a header are made from.
pub(crate) struct Wrapping<'a> {
    /// The stretched secret that opens.
    pub(crate) opens: &'a LockedKey,
    pub(crate) vault: &'a LockedKey,
    pub(crate) others: &'a Others,
    pub(crate) factors: &'a Factors,
}

impl Wrapping<'_> {
    /// Makes four new slots, of which one opens the vault, and others are for the other secrets there
    /// are; and names the factors, which the recovery phrase does without.
    pub(crate) fn seal_slots(&self, header: &mut Header, random: &Random, places: Places) {
        // [SPEC 11.6]
        header.slots = [(); SLOTS].map(|()| random.array());
        header.mode = self.factors.mode();
        header.fill_area(random, &self.factors.area);
        let both = |shares: Option<&'_ [Share; 2]>| match shares {
            Some([opens, panics]) => [**opens, **panics],
            None => [ABSENT; 2],
        };
        let [tpm_opens, tpm_panics] = both(self.factors.tpm.as_ref());
        let [relays_opens, relays_panics] = both(self.factors.relays.as_ref());
        let key = self.vault.expose().as_slice();
        let panic_secret = subkey(self.vault, LABEL_PANIC);
        let (panic, recovery) = (self.others.panic.as_ref(), self.others.recovery.as_ref());
        let used = [
            Some((
                KIND_OPEN,
                [self.opens.expose(), &tpm_opens, &relays_opens],
                key,
            )),
            panic.map(|panic| {
                let parts = [panic.expose(), &tpm_panics, &relays_panics];
                (KIND_PANIC, parts, panic_secret.expose().as_slice())
            }),
            // [SPEC 11.41]
            recovery.map(|phrase| (KIND_RECOVERY, [phrase.expose(), &ABSENT, &ABSENT], key)),
        ];
        for (place, slot) in places.into_iter().zip(used) {
            if let Some((kind, parts, content)) = slot {
                seal_slot(header, random, (place, kind), parts, content);
            }
        }
    }
}

fn seal_slot(
    header: &mut Header,
    random: &Random,
    (place, kind): (u8, u8),
    [stretched, tpm, relays]: [&[u8; KEY_LEN]; 3],
    content: &[u8],
) {
    let mut memory = LockedBytes::zeroed(KEY_LEN + PAYLOAD_LEN);
    let (key, payload) = memory
        .bytes_mut()
        .split_first_chunk_mut::<KEY_LEN>()
        .expect("made longer than a key");
    slot_key(stretched, tpm, relays, place, key);
    for (out, byte) in payload.iter_mut().zip([kind].iter().chain(content)) {
        *out = *byte;
    }
    let context = context(&header.clear(), place);
    if let Some(slot) = header.slots.get_mut(usize::from(place)) {
        seal_into(key, &context, random, payload, slot);
    }
}

fn context(clear: &[u8], index: u8) -> Vec<u8> {
    let mut context = clear.to_vec();
    context.push(index);
    context
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;
    use crate::derive::KdfParams;
    use crate::factors::Mode;
    use crate::seal::OPENINGS;

    fn key(byte: u8) -> LockedKey {
        LockedKey::new(|out| out.fill(byte))
    }

    fn random(seed: u64) -> Random {
        Random::new(Box::new(ChaCha20Rng::seed_from_u64(seed)))
    }

    /// A header whose key is 9, which 1 opens.
    fn seal(header: &mut Header, random: &Random, others: &Others, factors: &Factors) {
        let slots = Wrapping {
            opens: &key(1),
            vault: &key(9),
            others,
            factors,
        };
        slots.seal_slots(header, random, draw_places(random));
    }

    /// What a secret opens, and how many openings that took.
    fn tried(header: &Header, secret: u8) -> (Found, usize) {
        let stretched = key(secret);
        OPENINGS.set(0);
        let chosen = try_all(header, &stretched, &Answers::default());
        let openings = OPENINGS.get();
        (chosen.found(), openings)
    }

    // [SPEC 11.7]
    // [SPEC 11.40]
    #[test]
    fn every_secret_is_tried_on_every_slot() {
        for seed in 0..20 {
            let random = random(seed);
            let mut header = Header::new(&random, KdfParams::minimum());
            let others = Others {
                panic: (seed % 2 == 0).then(|| key(2)),
                recovery: (seed % 3 == 0).then(|| key(4)),
            };
            seal(&mut header, &random, &others, &Factors::default());
            let (found, openings) = tried(&header, 1);
            assert!(matches!(found, Found::Vault(k) if k.expose() == key(9).expose()));
            assert_eq!(openings, SLOTS);
            let (found, openings) = tried(&header, 2);
            assert_eq!(matches!(found, Found::Panic(_)), others.panic.is_some());
            assert_eq!(openings, SLOTS);
            let (found, openings) = tried(&header, 4);
            let recovered = matches!(found, Found::Recovery(k) if k.expose() == key(9).expose());
            assert_eq!(recovered, others.recovery.is_some());
            assert_eq!(openings, SLOTS);
            let (found, openings) = tried(&header, 3);
            assert!(matches!(found, Found::Nothing));
            assert_eq!(openings, SLOTS);
        }
    }

    // [SPEC 11.41]
    #[test]
    fn a_kind_that_is_not_known_is_no_slot() {
        let random = random(1);
        let mut header = Header::new(&random, KdfParams::minimum());
        for kind in [0, KIND_MAX + 1, 128, 255] {
            let one = key(1);
            let opens = [one.expose(), &ABSENT, &ABSENT];
            seal_slot(&mut header, &random, (2, kind), opens, &[9; KEY_LEN]);
            assert!(matches!(tried(&header, 1).0, Found::Nothing), "{kind}");
        }
    }

    // [SPEC 11.41]
    #[test]
    fn a_secret_of_two_kinds_opens() {
        let random = random(1);
        let mut header = Header::new(&random, KdfParams::minimum());
        for order in [[1, 2, 3], [3, 2, 1], [2, 1, 3]] {
            for (place, kind) in (0..).zip(order) {
                let one = key(1);
                let opens = [one.expose(), &ABSENT, &ABSENT];
                seal_slot(&mut header, &random, (place, kind), opens, &[9; KEY_LEN]);
            }
            assert!(matches!(tried(&header, 1).0, Found::Vault(_)));
        }
        header.slots[1] = [0; SLOT_LEN];
        assert!(matches!(tried(&header, 1).0, Found::Panic(_)));
    }

    // [SPEC 11.43]
    #[test]
    fn all_slots_are_new_at_places_drawn_anew() {
        let random = random(1);
        let mut header = Header::new(&random, KdfParams::minimum());
        let mut places = [(false, false, false); SLOTS];
        for _ in 0..100 {
            let before = header.clone();
            let others = Others {
                panic: Some(key(2)),
                recovery: Some(key(4)),
            };
            seal(&mut header, &random, &others, &Factors::default());
            assert!(before.slots.iter().all(|old| !header.slots.contains(old)));
            for (index, (place, slot)) in places.iter_mut().zip(before.slots).enumerate() {
                let mut alone = before.clone();
                alone.slots = [[0; SLOT_LEN]; SLOTS];
                alone.slots[index] = slot;
                let opens = matches!(tried(&alone, 1).0, Found::Vault(_));
                let panics = matches!(tried(&alone, 2).0, Found::Panic(_));
                let recovers = matches!(tried(&alone, 4).0, Found::Recovery(_));
                assert!(u8::from(opens) + u8::from(panics) + u8::from(recovers) <= 1);
                place.0 |= opens;
                place.1 |= panics;
                place.2 |= recovers;
            }
        }
        assert_eq!(places, [(true, true, true); SLOTS]);
    }

    /// With a factor nothing but the recovery phrase opens without its share, and each secret with its own
    /// share alone; all slots are tried both ways.
    // [SPEC 11.5]
    // [SPEC 11.40]
    // [SPEC 11.41]
    #[test]
    fn a_factor_is_needed_for_all_but_the_recovery_phrase() {
        let share = |byte| Share::new([byte; KEY_LEN]);
        for seed in 0..20 {
            let random = random(seed);
            let mut header = Header::new(&random, KdfParams::minimum());
            let others = Others {
                panic: Some(key(2)),
                recovery: Some(key(4)),
            };
            let factors = Factors {
                area: vec![5; 100],
                tpm: Some([share(11), share(12)]),
                relays: None,
            };
            seal(&mut header, &random, &others, &factors);
            assert_eq!(header.mode, Mode::Tpm);
            assert_eq!(header.area[..100], [5; 100]);
            let tried = |secret, tpm: Option<u8>| {
                let answers = Answers {
                    tpm: tpm.map(share),
                    relays: Vec::new(),
                };
                OPENINGS.set(0);
                let found = try_all(&header, &key(secret), &answers).found();
                let ways = 1 + usize::from(tpm.is_some());
                assert_eq!(OPENINGS.get(), ways * SLOTS);
                found
            };
            assert!(matches!(tried(1, Some(11)), Found::Vault(_)));
            assert!(matches!(tried(2, Some(12)), Found::Panic(_)));
            for tpm in [None, Some(11), Some(12)] {
                assert!(matches!(tried(4, tpm), Found::Recovery(_)));
                assert!(matches!(tried(3, tpm), Found::Nothing));
            }
            for (secret, tpm) in [(1, None), (1, Some(12)), (2, None), (2, Some(11))] {
                assert!(matches!(tried(secret, tpm), Found::Nothing));
            }
            let mut claims_none = header.clone();
            claims_none.mode = Mode::Passphrase;
            let opened = try_all(&claims_none, &key(4), &Answers::default()).found();
            assert!(
                matches!(opened, Found::Nothing),
                "slots are bound to the mode"
            );
        }
    }

    /// Shares of relays are a slot's own: each set of them is tried with each slot's, and the TPM's besides.
    // [SPEC 11.5]
    // [SPEC 11.40]
    // [SPEC 11.49]
    #[test]
    fn relays_give_each_slot_its_own() {
        let share = |byte| Share::new([byte; KEY_LEN]);
        for with_tpm in [false, true] {
            let random = random(3);
            let mut header = Header::new(&random, KdfParams::minimum());
            let others = Others {
                panic: Some(key(2)),
                recovery: Some(key(4)),
            };
            let factors = Factors {
                area: Vec::new(),
                tpm: with_tpm.then(|| [share(11), share(12)]),
                relays: Some([share(21), share(22)]),
            };
            let places = draw_places(&random);
            let slots = Wrapping {
                opens: &key(1),
                vault: &key(9),
                others: &others,
                factors: &factors,
            };
            slots.seal_slots(&mut header, &random, places);
            let set = |byte| {
                let [opens, panics] = [places[0], places[1]].map(usize::from);
                let mut set = [0, 1, 2, 3].map(|_| share(99));
                set[opens] = share(byte);
                set[panics] = share(byte + 1);
                set
            };
            let tried = |secret, tpm: Option<u8>, relays: Vec<[Share; SLOTS]>| {
                let tpm = tpm.map(share);
                let answers = Answers { tpm, relays };
                let whole = answers.are_whole(header.mode);
                OPENINGS.set(0);
                let found = try_all(&header, &key(secret), &answers).found();
                let sets = if whole { answers.relays.len() } else { 0 };
                assert_eq!(OPENINGS.get(), (1 + sets) * SLOTS);
                (found, whole)
            };
            let tpm = with_tpm.then_some(11);
            let (found, whole) = tried(1, tpm, vec![set(70), set(21), set(80)]);
            assert!(matches!(found, Found::Vault(_)) && whole);
            let (found, _) = tried(2, with_tpm.then_some(12), vec![set(21)]);
            let secret = subkey(&key(9), LABEL_PANIC);
            assert!(matches!(found, Found::Panic(x) if x.expose() == secret.expose()));
            let (found, whole) = tried(1, tpm, vec![set(70)]);
            assert!(matches!(found, Found::Nothing) && whole);
            let (found, whole) = tried(1, tpm, Vec::new());
            assert!(matches!(found, Found::Nothing) && !whole);
            let (found, _) = tried(4, None, Vec::new());
            assert!(matches!(found, Found::Recovery(_)));
            if with_tpm {
                let (found, whole) = tried(1, None, vec![set(21)]);
                assert!(matches!(found, Found::Nothing) && !whole);
                let (found, _) = tried(1, Some(12), vec![set(21)]);
                assert!(matches!(found, Found::Nothing));
            }
        }
    }
}
