//! The recovery phrase: sixteen random bytes as twelve words.
//!
//! Twelve words of a list of 7,776 hold 155 bits: 128 of them are the secret, 24 a check, so that a word that was
//! copied wrongly is noticed before anything is tried.

use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use crate::api::{Failure, SecretText};

/// The EFF's long list (see words/README.md): 7,776 words, one a line.
pub const WORDS: &str = include_str!("../words/eff_large.txt");

const BASE: u32 = 7_776;
/// How many words a phrase has.
const WORDS_LEN: usize = 12;
/// Bytes of the secret, and of its check.
const SECRET_LEN: usize = 16;
const CHECK_LEN: usize = 3;
/// What the words are for: the same bytes have other words for each.
#[derive(Clone, Copy)]
pub(crate) enum Use {
    /// A recovery phrase.
    Recovery,
    /// A kill code.
    KillCode,
}

impl Use {
    fn label(self) -> &'static str {
        match self {
            Self::Recovery => "emptyroom v1 recovery phrase check",
            Self::KillCode => "emptyroom v1 kill code check",
        }
    }
}

/// What a phrase stands for; this is what is stretched.
pub(crate) type Secret = Zeroizing<[u8; SECRET_LEN]>;

/// Why a text is no recovery phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPhrase {
    /// It has not twelve words, or most are of no list: it was not meant to be one.
    Other,
    /// This word, counted from 1, is not in the list.
    Unknown(usize),
    /// All words are in the list, but one is wrong or two are swapped.
    Check,
}

/// A new phrase.
pub(crate) fn generate(rng: &mut dyn CryptoRng) -> (Secret, SecretText) {
    let mut secret = Secret::default();
    rng.fill_bytes(secret.as_mut_slice());
    let words = words_of(&secret, Use::Recovery);
    (secret, words)
}

/// New recovery words.
///
/// # Errors
/// When the operating system gives no randomness.
pub fn new_recovery_words() -> Result<SecretText, Failure> {
    let (_, words) = generate(&mut crate::seed::generator()?);
    Ok(words)
}

/// Whether a text is a recovery phrase.
pub fn is_recovery_phrase(text: &SecretText) -> bool {
    read(text.expose()).is_ok()
}

/// What a phrase stands for.
// [SPEC 11.47]
pub(crate) fn read(text: &str) -> Result<Secret, NoPhrase> {
    read_as(text, Use::Recovery)
}

/// What words for this use stand for.
// [SPEC 11.47, 11.64]
pub(crate) fn read_as(text: &str, purpose: Use) -> Result<Secret, NoPhrase> {
    if text.split_whitespace().count() != WORDS_LEN {
        return Err(NoPhrase::Other);
    }
    let mut number = Zeroizing::new([0_u8; SECRET_LEN + CHECK_LEN]);
    let mut unknown = None;
    let mut unknown_count = 0;
    let mut fits = true;
    for (place, word) in (1..).zip(text.split_whitespace()) {
        let Some(digit) = WORDS
            .lines()
            .position(|known| known.eq_ignore_ascii_case(word))
        else {
            unknown.get_or_insert(place);
            unknown_count += 1;
            continue;
        };
        let mut carry = u32::try_from(digit).unwrap_or(0);
        for byte in number.iter_mut().rev() {
            let next = u32::from(*byte) * BASE + carry;
            let [high @ .., low] = next.to_be_bytes();
            *byte = low;
            carry = u32::from_be_bytes([0, high[0], high[1], high[2]]);
        }
        fits &= carry == 0;
    }
    match unknown {
        Some(place) if unknown_count * 2 < WORDS_LEN => return Err(NoPhrase::Unknown(place)),
        Some(_) => return Err(NoPhrase::Other),
        None => {}
    }
    let mut secret = Secret::default();
    let (found, check_found) = number.split_at(SECRET_LEN);
    secret.copy_from_slice(found);
    if fits && check(&secret, purpose) == check_found {
        Ok(secret)
    } else {
        Err(NoPhrase::Check)
    }
}

/// The words for a secret.
pub(crate) fn words_of(secret: &Secret, purpose: Use) -> SecretText {
    let mut number = Zeroizing::new([0_u8; SECRET_LEN + CHECK_LEN]);
    let bytes = secret.iter().copied().chain(check(secret, purpose));
    for (out, byte) in number.iter_mut().zip(bytes) {
        *out = byte;
    }
    let mut digits = Zeroizing::new([0_u32; WORDS_LEN]);
    for digit in digits.iter_mut().rev() {
        for byte in number.iter_mut() {
            let next = *digit * 256 + u32::from(*byte);
            *byte = u8::try_from(next / BASE).unwrap_or(u8::MAX);
            *digit = next % BASE;
        }
    }
    // Never moved while it grows.
    let mut text = String::with_capacity(WORDS_LEN * 10);
    for digit in digits.iter() {
        let word = usize::try_from(*digit).ok();
        let word = word.and_then(|digit| WORDS.lines().nth(digit));
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(word.unwrap_or_default());
    }
    SecretText::new(text)
}

fn check(secret: &Secret, purpose: Use) -> [u8; CHECK_LEN] {
    let label = purpose.label();
    let label_len = u8::try_from(label.len()).unwrap_or(u8::MAX);
    let hash = Sha256::new()
        .chain_update([label_len])
        .chain_update(label)
        .chain_update(secret.as_slice())
        .finalize();
    let mut whole: [u8; 32] = hash.into();
    let [a, b, c, ..] = whole;
    whole.zeroize();
    [a, b, c]
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len() / 2)
            .map(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).unwrap())
            .collect()
    }

    // [SPEC 11.47, 11.64]
    #[test]
    fn phrases_are_as_the_vectors_say() {
        let vectors = include_str!("../../../spec/vectors/recovery.json");
        let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
        for (name, purpose) in [("phrases", Use::Recovery), ("kill_codes", Use::KillCode)] {
            for vector in vectors[name].as_array().unwrap() {
                let mut secret = Secret::default();
                secret.copy_from_slice(&hex(vector["z"].as_str().unwrap()));
                let words = vector["words"].as_str().unwrap();
                assert_eq!(words_of(&secret, purpose).expose(), words);
                assert_eq!(read_as(words, purpose), Ok(secret));
            }
        }
        let code = vectors["kill_codes"][0]["words"].as_str().unwrap();
        assert_eq!(read(code), Err(NoPhrase::Check), "a code is no phrase");
    }

    // [SPEC 11.47]
    #[test]
    fn what_was_copied_wrongly_is_noticed() {
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        for _ in 0..50 {
            let (secret, text) = generate(&mut rng);
            let text = text.expose();
            assert_eq!(read(text), Ok(secret.clone()));
            let loud = format!("  {}\n", text.to_uppercase().replace(' ', "  "));
            assert_eq!(read(&loud), Ok(secret));
            let mut words: Vec<&str> = text.split(' ').collect();
            words.swap(3, 4);
            if words[3] != words[4] {
                assert_eq!(read(&words.join(" ")), Err(NoPhrase::Check));
            }
            words[6] = "blurb-no-word";
            assert_eq!(read(&words.join(" ")), Err(NoPhrase::Unknown(7)));
            words.pop();
            assert_eq!(read(&words.join(" ")), Err(NoPhrase::Other));
        }
        let zoom = ["zoom"; WORDS_LEN].join(" ");
        assert_eq!(read(&zoom), Err(NoPhrase::Check), "above what fits");
        let other = ["these", "are", "not"].repeat(4).join(" ");
        assert!(read(&other).is_err());
    }
}
