//! The four things the TPM makes for us: their public areas, their names, and what may use them.

use sha2::{Digest, Sha256};

use crate::command::Command;
use crate::session::HASH_LEN;
use crate::wire::{Malformed, Reader, Writer};

const ALG_HMAC: u16 = 0x0005;
pub(crate) const ALG_AES: u16 = 0x0006;
const ALG_KEYEDHASH: u16 = 0x0008;
pub(crate) const ALG_SHA256: u16 = 0x000B;
const ALG_NULL: u16 = 0x0010;
const ALG_ECC: u16 = 0x0023;
pub(crate) const ALG_CFB: u16 = 0x0043;
const CURVE_P256: u16 = 0x0003;
pub(crate) const AES_BITS: u16 = 128;

/// `TPMA_OBJECT`.
mod object_is {
    pub(super) const FIXED_TPM: u32 = 1 << 1;
    pub(super) const FIXED_PARENT: u32 = 1 << 4;
    pub(super) const MADE_BY_TPM: u32 = 1 << 5;
    pub(super) const USED_BY_PASSWORD: u32 = 1 << 6;
    pub(super) const ADMIN_BY_POLICY: u32 = 1 << 7;
    /// Wrong passwords do not count towards the lockout, and the lockout does not stop it.
    pub(super) const NO_LOCKOUT: u32 = 1 << 10;
    pub(super) const RESTRICTED: u32 = 1 << 16;
    pub(super) const DECRYPTS: u32 = 1 << 17;
    pub(super) const SIGNS: u32 = 1 << 18;
}

/// `TPMA_NV`.
mod index_is {
    pub(super) const WRITTEN_BY_POLICY: u32 = 1 << 3;
    pub(super) const PIN_PASS: u32 = 9 << 4;
    pub(super) const READ_BY_OWNER: u32 = 1 << 17;
    /// Without it the index cannot authorize anything (`TPM2` part 1, 37.2.8).
    pub(super) const READ_BY_PASSWORD: u32 = 1 << 18;
    pub(super) const NO_LOCKOUT: u32 = 1 << 25;
    pub(super) const WRITTEN: u32 = 1 << 29;
}

/// Count and limit, four bytes each (`TPMS_NV_PIN_COUNTER_PARAMETERS`).
pub(crate) const INDEX_LEN: u16 = 8;
/// A handle's name: the hash algorithm and SHA-256 of the public area.
pub(crate) const NAME_LEN: usize = 2 + HASH_LEN;

pub(crate) type Name = [u8; NAME_LEN];
pub(crate) type Policy = [u8; HASH_LEN];

/// The name of what has this public area (`TPM2` part 1, 16).
pub(crate) fn name(public: &[u8]) -> Name {
    let mut name = [0; NAME_LEN];
    let (algorithm, hash) = name.split_at_mut(2);
    algorithm.copy_from_slice(&ALG_SHA256.to_be_bytes());
    hash.copy_from_slice(&Sha256::digest(public));
    name
}

/// The primary: a storage key of the owner, the same whenever it is made, until the TPM is cleared.
pub(crate) fn primary_template() -> Vec<u8> {
    // [SPEC 11.31]
    let attributes = object_is::FIXED_TPM
        | object_is::FIXED_PARENT
        | object_is::MADE_BY_TPM
        | object_is::USED_BY_PASSWORD
        | object_is::NO_LOCKOUT
        | object_is::RESTRICTED
        | object_is::DECRYPTS;
    let mut public = Writer::new();
    public
        .u16(ALG_ECC)
        .u16(ALG_SHA256)
        .u32(attributes)
        .sized(&[]);
    public.u16(ALG_AES).u16(AES_BITS).u16(ALG_CFB);
    public.u16(ALG_NULL).u16(CURVE_P256).u16(ALG_NULL);
    public.sized(&[0; HASH_LEN]).sized(&[0; HASH_LEN]);
    public.finish().to_vec()
}

/// The point of a primary's public area.
pub(crate) fn primary_point(public: &[u8]) -> Result<([u8; HASH_LEN], [u8; HASH_LEN]), Malformed> {
    let template = primary_template();
    let fixed_len = template.len() - 2 * (2 + HASH_LEN);
    let mut reader = Reader::new(public);
    if Some(reader.take(fixed_len)?) != template.get(..fixed_len) {
        return Err(Malformed);
    }
    let point = (*reader.sized_array()?, *reader.sized_array()?);
    reader.end()?;
    Ok(point)
}

/// The gate: a key that is never used; knowing its password, `W`, opens the index for writing.
pub(crate) fn gate_template() -> Vec<u8> {
    keyed_hash(object_is::USED_BY_PASSWORD, &[])
}

/// The key that answers `H`. Only `policy` can use it.
pub(crate) fn key_template(policy: &Policy) -> Vec<u8> {
    keyed_hash(object_is::ADMIN_BY_POLICY, policy)
}

fn keyed_hash(used: u32, policy: &[u8]) -> Vec<u8> {
    // [SPEC 11.31]
    let attributes = object_is::FIXED_TPM
        | object_is::FIXED_PARENT
        | object_is::MADE_BY_TPM
        | object_is::NO_LOCKOUT
        | object_is::SIGNS
        | used;
    let mut public = Writer::new();
    public
        .u16(ALG_KEYEDHASH)
        .u16(ALG_SHA256)
        .u32(attributes)
        .sized(policy);
    public.u16(ALG_HMAC).u16(ALG_SHA256);
    public.sized(&[]);
    public.finish().to_vec()
}

/// Whether `public` is what the TPM makes of `template`, whose own unique value is empty.
pub(crate) fn is_made_of(public: &[u8], template: &[u8]) -> bool {
    let fixed_len = template.len() - 2;
    let unique = public.get(fixed_len..).unwrap_or_default();
    let mut unique = Reader::new(unique);
    public.get(..fixed_len) == template.get(..fixed_len)
        && unique.sized_array::<HASH_LEN>().is_ok()
        && unique.end().is_ok()
}

/// Public area of the index at `handle` that `gate` guards, before or after it was first written.
pub(crate) fn index_public(handle: u32, gate: &Name, written: bool) -> Vec<u8> {
    // [SPEC 11.31]
    let attributes = index_attributes() | if written { index_is::WRITTEN } else { 0 };
    let mut public = Writer::new();
    public.u32(handle).u16(ALG_SHA256).u32(attributes);
    public.sized(&secret_policy(gate, Command::NvWrite));
    public.u16(INDEX_LEN);
    public.finish().to_vec()
}

fn index_attributes() -> u32 {
    index_is::WRITTEN_BY_POLICY
        | index_is::PIN_PASS
        | index_is::READ_BY_OWNER
        | index_is::READ_BY_PASSWORD
        | index_is::NO_LOCKOUT
}

/// Whether the public area of the index at `handle` looks like one of ours, of whatever enrolment.
pub(crate) fn is_index_of_ours(public: &[u8], handle: u32) -> bool {
    let mut reader = Reader::new(public);
    let mut looks = || {
        let same = reader.u32()? == handle
            && reader.u16()? == ALG_SHA256
            && reader.u32()? & !index_is::WRITTEN == index_attributes()
            && reader.sized(HASH_LEN)?.len() == HASH_LEN
            && reader.u16()? == INDEX_LEN;
        Ok::<_, Malformed>(same)
    };
    looks().unwrap_or(false)
}

/// The policy "whoever can use `entity`, and for `command` only" (`TPM2` part 3, 23.4 and 23.11).
///
/// Without the command, one use of the key could start a sequence whose saved state answers any
/// number of guesses.
pub(crate) fn secret_policy(entity: &Name, command: Command) -> Policy {
    // [SPEC 11.31]
    let step = |old: &Policy, command: Command, value: &[u8]| -> Policy {
        let hash = Sha256::new()
            .chain_update(old)
            .chain_update(command.code().to_be_bytes());
        hash.chain_update(value).finalize().into()
    };
    let by_secret = step(&[0; HASH_LEN], Command::PolicySecret, entity);
    // A second round for the reference, which is empty.
    let by_secret: Policy = Sha256::digest(by_secret).into();
    step(
        &by_secret,
        Command::PolicyCommandCode,
        &command.code().to_be_bytes(),
    )
}
