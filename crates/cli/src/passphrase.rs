//! A passphrase to propose, and what a chosen one is worth.

use std::num::NonZeroU32;

use emptyroom_node::api::{Failure, ModeName, SecretText};
use emptyroom_node::{Session, WORDS};

use crate::out::Out;
use crate::room;

/// How many words `init` proposes: six of 7,776 are 77 bits.
pub(crate) const WORDS_PROPOSED: usize = 6;

/// Six words, drawn evenly.
///
/// # Errors
/// When the system has no randomness to give.
pub(crate) fn propose() -> Result<SecretText, Failure> {
    let words: Vec<&str> = WORDS.lines().collect();
    let count = u32::try_from(words.len())
        .ok()
        .and_then(NonZeroU32::new)
        .ok_or_else(|| Failure::fault("no word list"))?;
    let mut chosen = Vec::with_capacity(WORDS_PROPOSED);
    for _ in 0..WORDS_PROPOSED {
        let at = emptyroom_node::number_below(count)
            .map_err(|_| Failure::fault("the operating system gives no random numbers"))?;
        chosen.push(*words.get(usize::try_from(at).unwrap_or(0)).unwrap_or(&""));
    }
    Ok(SecretText::new(chosen.join(" ")))
}

/// What a chosen secret is worth against somebody who has a copy of the disk and one processor core for each guess.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    /// Long enough that this program says nothing.
    Unknown,
    /// So many guesses at most: it is only figures, or very short.
    Guesses(u64),
}

/// From here on nothing is said: nine figures or fewer, or fewer than ten characters, are counted.
const CHARACTERS_COUNTED_BELOW: usize = 10;

/// What a secret is worth, counted from its length and its kinds of characters. Words and names are worth far less than
/// that, which no program can know; so what is counted is only what is surely too little.
pub(crate) fn worth(secret: &str) -> Worth {
    let length = u32::try_from(secret.chars().count()).unwrap_or(u32::MAX);
    let base: u64 = if secret.bytes().all(|b| b.is_ascii_digit()) {
        // 18 figures are 60 bits.
        if length >= 18 {
            return Worth::Unknown;
        }
        10
    } else if secret.bytes().all(|b| b.is_ascii_lowercase() || b == b' ') {
        27
    } else {
        95
    };
    if base != 10 && secret.chars().count() >= CHARACTERS_COUNTED_BELOW {
        return Worth::Unknown;
    }
    Worth::Guesses(base.checked_pow(length).unwrap_or(u64::MAX))
}

/// Roughly how long one guess takes on one processor core: about a second for 256 MiB and three passes (measured).
pub(crate) fn guess_ms(memory_kib: u32, passes: u32) -> u64 {
    const MEASURED_KIB: u64 = 3 * 256 * 1024;
    (u64::from(memory_kib) * u64::from(passes) * 1_000 / MEASURED_KIB).max(1)
}

/// The plain warning for a short PIN, with the time that guessing takes at `guess_ms` each; none where nothing can be said.
pub(crate) fn warning(secret: &str, guess_ms: u64) -> Option<String> {
    let Worth::Guesses(guesses) = worth(secret) else {
        return None;
    };
    let all_ms = guesses.saturating_mul(guess_ms.max(1));
    Some(format!(
        "this PIN is one of {guesses}: whoever copies this disk finds it in {} with a single processor core, and nothing \
         stops him until TPM or relays protect the vault (`emptyroom vault mode`); a passphrase of six words holds",
        span(all_ms)
    ))
}

/// Warns where a PIN is too short for what this vault makes guessing cost; not where a factor counts the guesses. `mode` is
/// what it will be, where that changes.
///
/// # Errors
/// When the vault was locked or cannot be read.
pub(crate) fn warn_of(
    session: &Session,
    secret: &SecretText,
    mode: Option<ModeName>,
    out: Out,
) -> Result<(), Failure> {
    let vault = room::status(session)?.vault;
    if mode.unwrap_or(vault.mode) != ModeName::Passphrase {
        return Ok(());
    }
    let guess_ms = guess_ms(vault.kdf_memory_kib, vault.kdf_passes);
    if let Some(warning) = warning(secret.expose(), guess_ms) {
        out.warn("short_pin", &warning);
    }
    Ok(())
}

fn span(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (number, unit) = match seconds {
        0..=119 => (seconds.max(1), "seconds"),
        120..=7_199 => (seconds / 60, "minutes"),
        7_200..=172_799 => (seconds / 3_600, "hours"),
        172_800..=63_071_999 => (seconds / 86_400, "days"),
        _ => (seconds / 31_536_000, "years"),
    };
    format!("{number} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_the_whole_list() {
        let mut words: Vec<&str> = WORDS.lines().collect();
        assert_eq!(words.len(), 7_776);
        assert!(words.iter().all(|w| (3..=9).contains(&w.len())
            && w.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')));
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), 7_776);
    }

    #[test]
    fn six_words_are_proposed_and_never_the_same() {
        let (one, other) = (propose().unwrap(), propose().unwrap());
        assert_eq!(one.expose().split(' ').count(), WORDS_PROPOSED);
        assert_ne!(one.expose(), other.expose());
        assert_eq!(worth(one.expose()), Worth::Unknown);
    }

    #[test]
    fn a_short_pin_is_told_its_worth() {
        assert_eq!(worth("1234"), Worth::Guesses(10_000));
        assert_eq!(worth("123456789012345678"), Worth::Unknown);
        assert_eq!(worth("abc"), Worth::Guesses(27 * 27 * 27));
        assert_eq!(worth("a long enough sentence"), Worth::Unknown);
        let warning = warning("123456", 1_000).unwrap();
        assert!(
            warning.contains("one of 1000000") && warning.contains("11 days"),
            "{warning}"
        );
    }
}
