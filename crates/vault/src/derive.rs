//! The vault's key derivations: HKDF-SHA256 with a label each, and Argon2id for the secret.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use crate::memory::{KEY_LEN, LockedKey};
use crate::secret::Passphrase;

pub(crate) const LABEL_SLOT: &str = "emptyroom v1 vault slot";
pub(crate) const LABEL_HEADER: &str = "emptyroom v1 vault header";
pub(crate) const LABEL_BLOCKS: &str = "emptyroom v1 vault blocks";
pub(crate) const LABEL_SECTORS: &str = "emptyroom v1 vault key sectors";
pub(crate) const LABEL_JOURNAL: &str = "emptyroom v1 vault journal";
pub(crate) const LABEL_AREA: &str = "emptyroom v1 vault area";
pub(crate) const LABEL_CHECK: &str = "emptyroom v1 vault check";
pub(crate) const LABEL_TPM: &str = "emptyroom v1 vault tpm input";
pub(crate) const LABEL_RELAYS: &str = "emptyroom v1 vault relays input";
pub(crate) const LABEL_PANIC: &str = "emptyroom v1 vault panic";

/// The share of a factor that this vault does not use.
pub(crate) const ABSENT: [u8; KEY_LEN] = [0; KEY_LEN];

/// Cost of Argon2id. It is stored in the header, so that a vault opens with what it was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfParams {
    /// Memory in KiB: at least 8 per lane, at most 2 GiB in all.
    pub memory_kib: u32,
    /// Passes over the memory: 1 to 64.
    pub passes: u32,
    /// Lanes: 1 to 16.
    pub lanes: u32,
}

impl KdfParams {
    /// Memory above this is refused: a damaged header must not exhaust the machine.
    pub const MEMORY_KIB_MAX: u32 = 2 * 1024 * 1024;
    /// More passes are refused.
    pub const PASSES_MAX: u32 = 64;
    /// More lanes are refused.
    pub const LANES_MAX: u32 = 16;

    /// For use: 256 MiB and three passes, measured at 0.9 to 1.0 s of one CPU.
    #[must_use]
    pub const fn recommended() -> Self {
        KdfParams {
            memory_kib: 256 * 1024,
            passes: 3,
            lanes: 1,
        }
    }

    /// For small devices: 64 MiB and three passes, measured at a quarter of a second.
    #[must_use]
    pub const fn small() -> Self {
        KdfParams {
            memory_kib: 64 * 1024,
            passes: 3,
            lanes: 1,
        }
    }

    /// The least the format allows, for tests: no protection for a secret that can be guessed.
    #[must_use]
    pub const fn minimum() -> Self {
        KdfParams {
            memory_kib: 8,
            passes: 1,
            lanes: 1,
        }
    }

    /// Whether the format allows these.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        // [SPEC 11.4]
        (1..=Self::LANES_MAX).contains(&self.lanes)
            && (1..=Self::PASSES_MAX).contains(&self.passes)
            && (8 * self.lanes..=Self::MEMORY_KIB_MAX).contains(&self.memory_kib)
    }
}

/// There is not enough memory for the key derivation, or its parameters are not allowed.
pub(crate) struct NotStretched;

/// `S`: the secret, stretched.
pub(crate) fn stretch(
    secret: &Passphrase,
    salt: &[u8; KEY_LEN],
    kdf: KdfParams,
) -> Result<LockedKey, NotStretched> {
    if !kdf.is_allowed() {
        return Err(NotStretched);
    }
    let params = Params::new(kdf.memory_kib, kdf.passes, kdf.lanes, Some(KEY_LEN))
        .map_err(|_| NotStretched)?;
    // Reserved by hand: a failing allocation is an error here, not the end of the process.
    let mut memory: Vec<Block> = Vec::new();
    memory
        .try_reserve_exact(params.block_count())
        .map_err(|_| NotStretched)?;
    memory.resize(params.block_count(), Block::default());
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut result = Ok(());
    let key = LockedKey::new(|out| {
        result = argon2.hash_password_into_with_memory(secret.expose(), salt, out, &mut memory);
    });
    memory.iter_mut().for_each(Zeroize::zeroize);
    result.map(|()| key).map_err(|_| NotStretched)
}

/// The key of slot `index`, from the stretched secret and the shares of TPM and relays.
pub(crate) fn slot_key(
    stretched: &[u8; KEY_LEN],
    tpm: &[u8; KEY_LEN],
    relays: &[u8; KEY_LEN],
    index: u8,
    out: &mut [u8; KEY_LEN],
) {
    // [SPEC 11.5]
    let mut material = Zeroizing::new([0u8; 3 * KEY_LEN]);
    let parts = [stretched, tpm, relays];
    for (out, part) in material.chunks_exact_mut(KEY_LEN).zip(parts) {
        out.copy_from_slice(part);
    }
    expand_into(material.as_slice(), LABEL_SLOT, &[index], out);
}

/// A key that depends on the vault key only, or on a stretched secret only.
pub(crate) fn subkey(key: &LockedKey, label: &'static str) -> LockedKey {
    expand(key.expose(), label, &[])
}

/// A key that dies with the root of the record keys.
pub(crate) fn root_subkey(vault: &LockedKey, root: &LockedKey, label: &'static str) -> LockedKey {
    let mut material = Zeroizing::new([0u8; 2 * KEY_LEN]);
    let parts = [vault.expose(), root.expose()];
    for (out, part) in material.chunks_exact_mut(KEY_LEN).zip(parts) {
        out.copy_from_slice(part);
    }
    expand(material.as_slice(), label, &[])
}

fn expand(secret: &[u8], label: &'static str, context: &[u8]) -> LockedKey {
    LockedKey::new(|out| expand_into(secret, label, context, out))
}

/// HKDF-SHA256 without salt; info = label length (one byte) ‖ label ‖ context.
fn expand_into(secret: &[u8], label: &'static str, context: &[u8], out: &mut [u8]) {
    // [SPEC 11.3]
    let label_len = u8::try_from(label.len()).expect("labels are short constants");
    Hkdf::<Sha256>::new(None, secret)
        .expand_multi_info(&[&[label_len], label.as_bytes(), context], out)
        .expect("32 bytes are within the limit of HKDF");
}
