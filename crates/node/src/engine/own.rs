//! What the engine answers itself: the vault's state; and what its troubles are in words.

use std::path::Path;

use emptyroom_vault::{Passphrase, ReadError, SecretError, Vault, WriteError};

use zeroize::Zeroizing;

use super::drilling;
use crate::api::{DeadmanInfo, Exit, Failure, KillcodeInfo, ModeName, SecretText, VaultInfo};
use crate::storage::Storage;
use crate::{factors, phrase};

/// Whether this may be a PIN: it is not empty, and no recovery phrase.
pub(crate) fn check_new(secret: &SecretText) -> Result<(), Failure> {
    if secret.expose().is_empty() {
        return Err(Failure::new(Exit::Usage, "usage", "the new PIN is empty"));
    }
    // [SPEC 11.47]
    if phrase::is_recovery_phrase(secret) {
        let text = "this is a recovery phrase, and no PIN";
        return Err(Failure::new(Exit::Refused, "secret_is_phrase", text)
            .hint("choose other words, or fewer"));
    }
    Ok(())
}

/// Whether one is what the other becomes by a slip: the same, read backwards, one character more,
/// less or another, or two neighbours swapped.
pub(super) fn too_close(one: &str, other: &str) -> bool {
    if one.chars().rev().eq(other.chars()) {
        return true;
    }
    // What is left between what both begin with and what both end with.
    let before = common(one.chars(), other.chars());
    let rest = || (one.chars().skip(before), other.chars().skip(before));
    let (one_len, other_len) = (rest().0.count(), rest().1.count());
    let backwards = |text: &'_ str, len: usize| text.chars().rev().take(len).collect::<Vec<_>>();
    let (one, other) = (
        Zeroizing::new(backwards(one, one_len)),
        Zeroizing::new(backwards(other, other_len)),
    );
    let after = common(one.iter().copied(), other.iter().copied());
    match (one.get(after..), other.get(after..)) {
        (Some([a, b]), Some([c, d])) => a == d && b == c,
        (Some(one), Some(other)) => one.len() <= 1 && other.len() <= 1,
        _ => false,
    }
}

/// As it is with Caps Lock and without: whichever is on is a slip, too.
pub(super) fn folded(secret: &SecretText) -> Zeroizing<String> {
    Zeroizing::new(secret.expose().to_lowercase())
}

fn common(one: impl Iterator<Item = char>, other: impl Iterator<Item = char>) -> usize {
    one.zip(other).take_while(|(a, b)| a == b).count()
}

/// The secret in the vault's own type; of a recovery phrase what it stands for.
pub(crate) fn passphrase(secret: &SecretText) -> Passphrase {
    // [SPEC 11.47]
    match phrase::read(secret.expose()) {
        Ok(phrase) => Passphrase::new(phrase.to_vec()),
        Err(_) => Passphrase::new(secret.expose().as_bytes().to_vec()),
    }
}

/// What lies outside of the vault, for `status`.
pub(super) struct OutsideInfo {
    pub(super) deadman: Option<DeadmanInfo>,
    pub(super) killcode: Option<KillcodeInfo>,
}

/// What `status` says of the vault.
pub(super) fn vault_info(
    vault: &Vault,
    home: &Path,
    outside: OutsideInfo,
) -> Result<VaultInfo, Failure> {
    let status = vault.status().map_err(read_failure)?;
    let storage = Storage::of(home);
    let told = factors::told(vault);
    Ok(VaultInfo {
        mode: ModeName::of(status.mode),
        kdf_memory_kib: status.kdf.memory_kib,
        kdf_passes: status.kdf.passes,
        records: status.records,
        memory_locked: status.memory_locked,
        storage: storage.kind.name().to_owned(),
        medium: storage.medium.name().to_owned(),
        last_drill: drilling::last(vault)?,
        not_renewed: told.not_renewed,
        wrong_relays: told.wrong_relays,
        missing_relays: told.missing_relays,
        old_shares: told.old_shares,
        deadman: outside.deadman,
        killcode: outside.killcode,
    })
}

pub(crate) fn wrong_secret() -> Failure {
    Failure::new(Exit::Vault, "vault_wrong_secret", "wrong PIN or passphrase").hint("try again")
}

/// The secrets stay as they were, or which of them counts is in doubt.
pub(super) fn secret_failure(error: SecretError, vault: &Vault) -> Failure {
    match error {
        SecretError::WrongSecret if !vault.knows_secret() => wrong_secret()
            .hint("the recovery words opened this vault: set a new PIN with `emptyroom pin change` and them first"),
        SecretError::WrongSecret => wrong_secret(),
        SecretError::Same => pins_too_close(),
        SecretError::Write(error) => write_failure(error),
    }
}

/// A PIN that is mistyped must not destroy anything.
pub(super) fn pins_too_close() -> Failure {
    Failure::new(
        Exit::Refused,
        "pins_too_close",
        "the PIN and the panic PIN are the same or too much alike",
    )
    .hint("choose one that differs in at least two characters and is not the other read backwards")
}

/// Reading failed.
pub(crate) fn read_failure(error: ReadError) -> Failure {
    match error {
        ReadError::Corrupt(_) => Failure::new(Exit::Vault, "vault_corrupt", error.to_string())
            .hint("restore the vault from a backup, or begin a new one"),
        ReadError::Io(_) => {
            Failure::new(Exit::Vault, "vault_read", error.to_string()).hint("see to the disk")
        }
    }
}

/// Writing failed.
pub(crate) fn write_failure(error: WriteError) -> Failure {
    match error {
        WriteError::Full => Failure::new(
            Exit::Vault,
            "vault_full",
            "the disk is full; nothing was lost",
        )
        .hint("make room, then run the command again"),
        WriteError::Corrupt(_) => Failure::new(Exit::Vault, "vault_corrupt", error.to_string())
            .hint("restore the vault from a backup, or begin a new one"),
        WriteError::TooLong => Failure::new(Exit::Vault, "vault_write", error.to_string())
            .hint("nothing was written; this is a fault of the program: report it"),
        WriteError::Io(_) => Failure::new(Exit::Vault, "vault_write", error.to_string())
            .hint("see to the disk, then run the command again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // [SPEC 12.45]
    #[test]
    fn with_caps_lock_it_is_the_same() {
        let folded = |text: &str| folded(&SecretText::new(text.to_owned()));
        assert!(too_close(&folded("Quiet Room"), &folded("qUIET rOOM")));
        assert!(!too_close(&folded("Quiet Room"), &folded("other room")));
    }

    // [SPEC 12.45]
    #[test]
    fn a_slip_is_too_close() {
        for (pin, panic) in [
            ("1234", "1234"),
            ("1234", "4321"),
            ("1234", "1235"),
            ("1234", "123"),
            ("1234", "12345"),
            ("1234", "01234"),
            ("1234", "1324"),
            ("1111", "111"),
            ("grün", "grun"),
            ("a quiet room", "a quiet rom"),
        ] {
            assert!(too_close(pin, panic), "{pin} {panic}");
            assert!(too_close(panic, pin), "{panic} {pin}");
        }
        for (pin, panic) in [
            ("1234", "1256"),
            ("1234", "12"),
            ("1234", "123456"),
            ("1234", "3412"),
            ("1234", "5678"),
            ("a quiet room", "a quick broom"),
        ] {
            assert!(!too_close(pin, panic), "{pin} {panic}");
        }
    }
}
