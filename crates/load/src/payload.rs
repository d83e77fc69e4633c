//! Payloads that say when they were due, so that a recipient knows how late they are.
//!
//! A payload is printable ASCII, so that it is the same bytes for every system; its text looks random, so that nothing
//! compresses it. Latency is counted from the scheduled moment, not from the one at which a busy generator got to it.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Hexadecimal digits of the moment at the start.
const STAMP_LEN: usize = 16;
/// Characters that need no escape anywhere.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The moment from which stamps count, the same for all threads.
fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// `len` bytes, at least 16, due at `due`; `seed` makes its text another.
#[must_use]
pub fn payload(len: usize, due: Instant, seed: u64) -> Vec<u8> {
    let due = due.saturating_duration_since(start()).as_nanos();
    let mut bytes = format!("{due:016x}").into_bytes();
    // SplitMix64: text that differs, not a secret.
    let mut state = seed;
    while bytes.len() < len {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let characters = mixed
            .to_le_bytes()
            .map(|byte| usize::from(byte) % ALPHABET.len());
        bytes.extend(characters.iter().filter_map(|at| ALPHABET.get(*at)));
    }
    bytes.truncate(len.max(STAMP_LEN));
    bytes
}

/// How late a payload is now; `None` for bytes that are none.
#[must_use]
pub fn lateness(payload: &[u8]) -> Option<Duration> {
    let stamp = std::str::from_utf8(payload.get(..STAMP_LEN)?).ok()?;
    let due = Duration::from_nanos(u64::from_str_radix(stamp, 16).ok()?);
    Some(start().elapsed().saturating_sub(due))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_tells_its_lateness() {
        start();
        let due = Instant::now();
        std::thread::sleep(Duration::from_millis(3));
        let bytes = payload(4_096, due, 7);
        assert_eq!(bytes.len(), 4_096);
        assert!(
            bytes
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
        );
        let late = lateness(&bytes).unwrap();
        assert!(late >= Duration::from_millis(3) && late <= due.elapsed());
        assert_ne!(payload(64, due, 1), payload(64, due, 2));
        assert_eq!(lateness(b"no stamp at all!"), None);
        assert_eq!(lateness(b"short"), None);
    }
}
