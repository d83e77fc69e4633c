//! What the engine answers itself: the vault's PIN and state.

use emptyroom_vault::{Mode, Passphrase, ReadError, SecretError, Vault, WriteError};

use super::Engine;
use crate::api::{Answer, Exit, Failure, SecretText, VaultInfo};

impl Engine {
    /// The old secret is asked for again: whoever finds an open daemon must not be able to lock its owner out.
    // [SPEC 12.33]
    pub(super) fn change_secret(
        &mut self,
        old: &SecretText,
        new: &SecretText,
    ) -> Result<Answer, Failure> {
        if new.expose().is_empty() {
            return Err(Failure::new(Exit::Usage, "usage", "the new PIN is empty"));
        }
        self.vault
            .change_secret(&passphrase(old), &passphrase(new))
            .map_err(secret_failure)?;
        Ok(Answer::Done {})
    }
}

/// The secret in the vault's own type.
pub(crate) fn passphrase(secret: &SecretText) -> Passphrase {
    Passphrase::new(secret.expose().as_bytes().to_vec())
}

/// What `status` says of the vault.
pub(super) fn vault_info(vault: &Vault) -> Result<VaultInfo, Failure> {
    let status = vault.status().map_err(read_failure)?;
    Ok(VaultInfo {
        mode: match status.mode {
            Mode::PassphraseOnly => "passphrase".to_owned(),
        },
        kdf_memory_kib: status.kdf.memory_kib,
        kdf_passes: status.kdf.passes,
        records: status.records,
        memory_locked: status.memory_locked,
    })
}

pub(crate) fn wrong_secret() -> Failure {
    Failure::new(Exit::Vault, "vault_wrong_secret", "wrong PIN or passphrase").hint("try again")
}

/// The secrets stay as they were, or which of them counts is in doubt.
fn secret_failure(error: SecretError) -> Failure {
    match error {
        SecretError::WrongSecret => wrong_secret(),
        SecretError::Same => pins_too_close(),
        SecretError::Write(error) => write_failure(error),
    }
}

/// A PIN that is mistyped must not destroy anything.
fn pins_too_close() -> Failure {
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
        WriteError::TooLong | WriteError::Io(_) => {
            Failure::new(Exit::Vault, "vault_write", error.to_string())
                .hint("see to the disk, then run the command again")
        }
    }
}
