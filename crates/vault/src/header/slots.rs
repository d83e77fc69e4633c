//! The four slots: which of them, if any, a secret opens.

use zeroize::Zeroizing;

use super::{Header, SLOT_LEN, SLOTS};
use crate::derive::{ABSENT, LABEL_HEADER, NotStretched, slot_key, stretch, vault_subkey};
use crate::memory::{KEY_LEN, LockedKey};
use crate::random::Random;
use crate::seal::{OVERHEAD, open_into, seal_into};
use crate::secret::Passphrase;

const PAYLOAD_LEN: usize = SLOT_LEN - OVERHEAD;
/// A slot that opens the vault. Other kinds come with the panic PIN.
const KIND_OPEN: u8 = 1;

/// The keys that an opened slot gives.
pub(crate) struct Unlocked {
    /// `K`, from which everything but the record keys comes.
    pub(crate) vault: LockedKey,
    /// The key of the header's body.
    pub(crate) header: LockedKey,
}

/// Tries a secret on all four slots.
///
/// Every slot is derived and opened whether or not an earlier one did: a right secret, a wrong one
/// and a panic PIN, once there is one, take the same steps.
pub(crate) fn unlock(
    header: &Header,
    secret: &Passphrase,
) -> Result<Option<Unlocked>, NotStretched> {
    // [SPEC 11.7]
    let stretched = stretch(secret, &header.salt, header.kdf)?;
    let clear = header.clear();
    let mut found = Zeroizing::new([0u8; PAYLOAD_LEN]);
    let mut opened = false;
    for (index, slot) in (0u8..).zip(&header.slots) {
        let key = slot_key(&stretched, &ABSENT, &ABSENT, index);
        let mut payload = Zeroizing::new([0u8; PAYLOAD_LEN]);
        if open_into(
            key.expose(),
            &context(&clear, index),
            slot,
            payload.as_mut_slice(),
        )
        .is_ok()
        {
            *found = *payload;
            opened = true;
        }
    }
    let [kind, rest @ ..] = &*found;
    let Some(key) = rest.first_chunk::<KEY_LEN>() else {
        return Ok(None);
    };
    let vault = LockedKey::new(|out| out.copy_from_slice(key));
    let header = vault_subkey(&vault, LABEL_HEADER);
    Ok((opened && *kind == KIND_OPEN).then_some(Unlocked { vault, header }))
}

/// Four new slots under a new salt, of which one, at a random place, opens with `secret`.
pub(crate) fn new_slots(
    header: &mut Header,
    random: &Random,
    secret: &Passphrase,
    vault: &LockedKey,
) -> Result<(), NotStretched> {
    // [SPEC 11.6]
    header.salt = random.array();
    header.slots = [(); SLOTS].map(|()| random.array());
    let stretched = stretch(secret, &header.salt, header.kdf)?;
    let index = random.below(4);
    let mut payload = Zeroizing::new([0u8; PAYLOAD_LEN]);
    let fields = [KIND_OPEN];
    for (out, byte) in payload.iter_mut().zip(fields.iter().chain(vault.expose())) {
        *out = *byte;
    }
    let key = slot_key(&stretched, &ABSENT, &ABSENT, index);
    let context = context(&header.clear(), index);
    if let Some(slot) = header.slots.get_mut(usize::from(index)) {
        seal_into(key.expose(), &context, random, payload.as_slice(), slot);
    }
    Ok(())
}

fn context(clear: &[u8], index: u8) -> Vec<u8> {
    let mut context = clear.to_vec();
    context.push(index);
    context
}
