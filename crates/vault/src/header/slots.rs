//! The four slots: which of them, if any, a secret opens.

use subtle::{ConditionallySelectable, ConstantTimeGreater, ConstantTimeLess};

use super::{Header, SLOT_LEN, SLOTS};
use crate::derive::{ABSENT, LABEL_HEADER, slot_key, vault_subkey};
use crate::memory::{KEY_LEN, LockedBytes, LockedKey};
use crate::random::Random;
use crate::seal::{OVERHEAD, open_into, seal_into};

const PAYLOAD_LEN: usize = SLOT_LEN - OVERHEAD;
/// A slot that opens the vault: it holds the vault key.
const KIND_OPEN: u8 = 1;
/// A slot of the panic PIN: it holds nothing, as nothing of the vault is needed to destroy it.
const KIND_PANIC: u8 = 2;
/// Kinds that are known. Lower ones count before higher ones.
const KIND_MAX: u8 = KIND_PANIC;

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
            header: vault_subkey(&vault, LABEL_HEADER),
            vault,
        }
    }
}

/// What a secret opens.
pub(crate) enum Found {
    /// The vault; this is its key.
    Vault(LockedKey),
    /// The slot of the panic PIN.
    Panic,
    /// None of the slots.
    Nothing,
}

/// Tries a stretched secret on all four slots.
///
/// Every slot is derived and opened whether or not an earlier one did, and which of them counts is
/// chosen without a branch. The memory for it is taken before: doing that in the loop would be most
/// of the time, and of its noise.
pub(crate) fn try_all(header: &Header, stretched: &LockedKey) -> Found {
    // [SPEC 11.7]
    // [SPEC 11.40]
    let mut memory = LockedBytes::zeroed(KEY_LEN + 2 * PAYLOAD_LEN);
    let (key, payloads) = memory
        .bytes_mut()
        .split_first_chunk_mut::<KEY_LEN>()
        .expect("made longer than a key");
    let (payload, chosen) = payloads.split_at_mut(PAYLOAD_LEN);
    let clear = header.clear();
    for (index, slot) in (0u8..).zip(&header.slots) {
        slot_key(stretched, &ABSENT, &ABSENT, index, key);
        payload.fill(0);
        // What does not open leaves zeros, which are of no kind.
        let _ = open_into(key, &context(&clear, index), slot, payload);
        let better = rank(payload).ct_gt(&rank(chosen));
        for (chosen, byte) in chosen.iter_mut().zip(payload.iter()) {
            chosen.conditional_assign(byte, better);
        }
    }
    match chosen.split_first() {
        Some((&KIND_OPEN, rest)) => Found::Vault(LockedKey::new(|out| {
            for (out, byte) in out.iter_mut().zip(rest) {
                *out = *byte;
            }
        })),
        Some((&KIND_PANIC, _)) => Found::Panic,
        _ => Found::Nothing,
    }
}

/// How much a payload counts: 0 if it is of no kind that is known.
fn rank(payload: &[u8]) -> u8 {
    // [SPEC 11.41]
    let kind = payload.first().copied().unwrap_or(0);
    let known = kind.ct_gt(&0) & kind.ct_lt(&(KIND_MAX + 1));
    u8::conditional_select(&0, &(KIND_MAX + 1).wrapping_sub(kind), known)
}

/// Four new slots, of which one opens the vault and, if there is a panic PIN, another one is for that;
/// both at random places.
pub(crate) fn seal_slots(
    header: &mut Header,
    random: &Random,
    opens: &LockedKey,
    vault: &LockedKey,
    panic: Option<&LockedKey>,
) {
    // [SPEC 11.6]
    header.slots = [(); SLOTS].map(|()| random.array());
    let place = random.below(4);
    seal_slot(header, random, place, KIND_OPEN, opens, vault.expose());
    if let Some(panic) = panic {
        let place = (place + 1 + random.below(3)) % 4;
        seal_slot(header, random, place, KIND_PANIC, panic, &[]);
    }
}

fn seal_slot(
    header: &mut Header,
    random: &Random,
    place: u8,
    kind: u8,
    stretched: &LockedKey,
    content: &[u8],
) {
    let mut memory = LockedBytes::zeroed(KEY_LEN + PAYLOAD_LEN);
    let (key, payload) = memory
        .bytes_mut()
        .split_first_chunk_mut::<KEY_LEN>()
        .expect("made longer than a key");
    slot_key(stretched, &ABSENT, &ABSENT, place, key);
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
    use crate::seal::OPENINGS;

    fn key(byte: u8) -> LockedKey {
        LockedKey::new(|out| out.fill(byte))
    }

    fn random(seed: u64) -> Random {
        Random::new(Box::new(ChaCha20Rng::seed_from_u64(seed)))
    }

    /// What a secret opens, and how many openings that took.
    fn tried(header: &Header, secret: u8) -> (Found, usize) {
        let stretched = key(secret);
        OPENINGS.set(0);
        let found = try_all(header, &stretched);
        (found, OPENINGS.get())
    }

    // [SPEC 11.7]
    // [SPEC 11.40]
    #[test]
    fn every_secret_is_tried_on_every_slot() {
        for seed in 0..20 {
            let random = random(seed);
            let mut header = Header::new(&random, KdfParams::minimum());
            let panic = (seed % 2 == 0).then(|| key(2));
            seal_slots(&mut header, &random, &key(1), &key(9), panic.as_ref());
            let (found, openings) = tried(&header, 1);
            assert!(matches!(found, Found::Vault(k) if k.expose() == key(9).expose()));
            assert_eq!(openings, SLOTS);
            let (found, openings) = tried(&header, 2);
            assert_eq!(matches!(found, Found::Panic), panic.is_some());
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
            seal_slot(&mut header, &random, 2, kind, &key(1), &[9; KEY_LEN]);
            assert!(matches!(tried(&header, 1).0, Found::Nothing), "{kind}");
        }
    }

    // [SPEC 11.41]
    #[test]
    fn a_secret_of_two_kinds_opens() {
        let random = random(1);
        let mut header = Header::new(&random, KdfParams::minimum());
        for (first, second) in [(KIND_OPEN, KIND_PANIC), (KIND_PANIC, KIND_OPEN)] {
            seal_slot(&mut header, &random, 1, first, &key(1), &[9; KEY_LEN]);
            seal_slot(&mut header, &random, 3, second, &key(1), &[9; KEY_LEN]);
            assert!(matches!(tried(&header, 1).0, Found::Vault(_)));
        }
    }

    // [SPEC 11.43]
    #[test]
    fn all_slots_are_new_at_places_drawn_anew() {
        let random = random(1);
        let mut header = Header::new(&random, KdfParams::minimum());
        let mut places = [(false, false); SLOTS];
        for _ in 0..100 {
            let before = header.clone();
            seal_slots(&mut header, &random, &key(1), &key(9), Some(&key(2)));
            assert!(before.slots.iter().all(|old| !header.slots.contains(old)));
            for (index, (place, slot)) in places.iter_mut().zip(before.slots).enumerate() {
                let mut alone = before.clone();
                alone.slots = [[0; SLOT_LEN]; SLOTS];
                alone.slots[index] = slot;
                let opens = matches!(tried(&alone, 1).0, Found::Vault(_));
                let panics = matches!(tried(&alone, 2).0, Found::Panic);
                assert!(!(opens && panics));
                place.0 |= opens;
                place.1 |= panics;
            }
        }
        assert_eq!(places, [(true, true); SLOTS]);
    }
}
