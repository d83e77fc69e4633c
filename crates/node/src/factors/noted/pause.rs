//! How long errands are left alone whose relays could not be asked: one that is gone for good must not take the time of every command.

use emptyroom_wire::time::HOUR_MS;

use super::bytes::Reader;

/// The pause after the second try in vain; each further one doubles it.
// [SPEC 11.122]
const FIRST_MS: u64 = 60_000;

/// The longest.
// [SPEC 11.122]
const MAX_MS: u64 = HOUR_MS;

/// Tries in vain, in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::factors) struct Pause {
    pub(in crate::factors) count: u8,
    /// When the last was, in unix milliseconds.
    pub(in crate::factors) last_ms: u64,
}

impl Pause {
    /// Whether it is not over. A clock that was set back ends it.
    pub(in crate::factors) fn lasts(self, now_ms: u64) -> bool {
        let passed_ms = now_ms.checked_sub(self.last_ms);
        passed_ms.is_some_and(|passed_ms| passed_ms < self.len_ms())
    }

    fn len_ms(self) -> u64 {
        // The first may have been of a moment.
        let Some(doubled) = u32::from(self.count).checked_sub(2) else {
            return 0;
        };
        let times = 2_u64.saturating_pow(doubled);
        FIRST_MS.saturating_mul(times).min(MAX_MS)
    }

    /// Another try in vain.
    pub(super) fn in_vain(&mut self, now_ms: u64) {
        self.count = self.count.saturating_add(1);
        self.last_ms = now_ms;
    }

    pub(super) fn put(self, out: &mut Vec<u8>) {
        if self != Self::default() {
            out.push(self.count);
            out.extend_from_slice(&self.last_ms.to_be_bytes());
        }
    }

    /// None where nothing follows.
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let mut read = || {
            Some(Self {
                count: reader.byte()?,
                last_ms: u64::from_be_bytes(reader.array()?),
            })
        };
        read().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // [SPEC 11.122]
    #[test]
    fn a_pause_grows_up_to_an_hour() {
        let now_ms = 1_800_000_000_000;
        let mut pause = Pause::default();
        assert!(!pause.lasts(now_ms));
        pause.in_vain(now_ms);
        assert!(!pause.lasts(now_ms), "one that is away for a moment");
        for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
            pause.in_vain(now_ms);
            let end_ms = now_ms + minutes * 60_000;
            assert!(pause.lasts(now_ms) && pause.lasts(end_ms - 1));
            assert!(!pause.lasts(end_ms), "{minutes}");
        }
        assert!(!pause.lasts(now_ms - 1), "the clock was set back");
        for _ in 0..300 {
            pause.in_vain(now_ms);
        }
        assert!(pause.lasts(now_ms + HOUR_MS - 1) && !pause.lasts(now_ms + HOUR_MS));
    }

    // [SPEC 11.122]
    #[test]
    fn a_pause_is_kept_and_none_takes_no_bytes() {
        let pause = Pause {
            count: 3,
            last_ms: 7,
        };
        let mut bytes = Vec::new();
        Pause::default().put(&mut bytes);
        assert!(bytes.is_empty());
        assert_eq!(Pause::read(&mut Reader(&bytes)), Pause::default());
        pause.put(&mut bytes);
        assert_eq!(Pause::read(&mut Reader(&bytes)), pause);
    }
}
