//! The changes of what opens the vault. Each takes the present secret: whoever finds an open daemon must not be able to lock
//! its owner out, or to make it weaker.

use emptyroom_core::api::Refused;
use emptyroom_vault::{Passphrase, Rewrapping, SecretError, Vault};
use emptyroom_wire::address::RelayAddress;

use super::own::{check_new, folded, passphrase, pins_too_close, secret_failure, too_close};
use crate::api::{Answer, Call, Exit, Failure, ModeName, SecretText};
use crate::convert::refused;
use crate::factors::{Access, To, Ways, change, tidy};
use crate::{phrase, policy};

/// Does what one of these calls asks for.
// [SPEC 12.33]
// [SPEC 12.40]
pub(super) fn change(access: &dyn Access, call: Call) -> Result<Answer, Failure> {
    match call {
        Call::ChangeSecret { old, new, mode } => change_secret(access, &old, &new, mode)?,
        Call::SetMode {
            secret,
            mode,
            relays,
        } => {
            let secret = passphrase(&secret);
            let to = To {
                mode: Some(mode.mode()),
                relays: addresses(&relays)?,
            };
            rewrap(access, to, move |vault| vault.with_same(&secret))?;
        }
        Call::SetPanic { secret, panic } => set_panic(access, &secret, &panic)?,
        Call::UnsetPanic { secret } => {
            let secret = passphrase(&secret);
            rewrap(access, To::default(), move |vault| {
                vault.without_panic(&secret)
            })?;
        }
        Call::SetRecovery {
            secret,
            words: Some(words),
        } => set_recovery(access, &secret, &words)?,
        Call::SetRecovery {
            secret,
            words: None,
        } => {
            let secret = passphrase(&secret);
            rewrap(access, To::default(), move |vault| {
                vault.without_recovery(&secret)
            })?;
        }
        Call::ForgetLeft { secret } => {
            let secret = passphrase(&secret);
            change::with(access, move |vault| {
                let present = vault.expect_present(&secret);
                present.map_err(|error| secret_failure(error, vault))
            })?;
            let forgotten = tidy::forget_places(access, &Ways::of_machine()?)?;
            return Ok(Answer::Forgotten { forgotten });
        }
        _ => return Err(Failure::fault("this call changes no secret")),
    }
    Ok(Answer::Done {})
}

fn change_secret(
    access: &dyn Access,
    old: &SecretText,
    new: &SecretText,
    mode: Option<ModeName>,
) -> Result<(), Failure> {
    check_new(new)?;
    let (old, new) = (passphrase(old), passphrase(new));
    let to = To {
        mode: mode.map(ModeName::mode),
        relays: Vec::new(),
    };
    rewrap(access, to, move |vault| vault.with_secret(&old, &new))
}

fn set_panic(access: &dyn Access, secret: &SecretText, panic: &SecretText) -> Result<(), Failure> {
    policy::allows_panic()?;
    check_new(panic)?;
    // [SPEC 12.45]
    if too_close(&folded(secret), &folded(panic)) {
        return Err(pins_too_close());
    }
    let (secret, panic) = (passphrase(secret), passphrase(panic));
    rewrap(access, To::default(), move |vault| {
        vault.with_panic(&secret, &panic)
    })
}

fn set_recovery(
    access: &dyn Access,
    secret: &SecretText,
    words: &SecretText,
) -> Result<(), Failure> {
    let phrase = phrase::read(words.expose()).map_err(|_| {
        let text =
            "these are no recovery words: twelve of the list, of which the last fit the others";
        Failure::new(Exit::Usage, "usage", text)
    })?;
    let (secret, phrase) = (passphrase(secret), Passphrase::new(phrase.to_vec()));
    rewrap(access, To::default(), move |vault| {
        vault.with_recovery(&secret, &phrase)
    })
}

/// Relays as they are typed.
pub(super) fn addresses(relays: &[SecretText]) -> Result<Vec<RelayAddress>, Failure> {
    let parsed = relays.iter().map(|relay| {
        RelayAddress::parse(relay.expose())
            .map_err(|fault| refused(Refused::BadAddress(fault.to_string())))
    });
    parsed.collect()
}

fn rewrap(
    access: &dyn Access,
    to: To,
    begin: impl FnOnce(&Vault) -> Result<Rewrapping, SecretError> + Send + 'static,
) -> Result<(), Failure> {
    change::rewrap(access, &Ways::of_machine()?, to, move |vault| {
        begin(vault).map_err(|error| secret_failure(error, vault))
    })
}
