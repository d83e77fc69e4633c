//! When to dial again.
//!
//! Delays double with every attempt that led to nothing. Only a link that was useful for a while resets them: a relay that
//! accepts and drops at once gets no storm. After losing a useful link, clients spread over the time the relay asked for.

use emptyroom_wire::limits::KEY_RECORDS_PER_ANSWER_MAX;
use emptyroom_wire::rng::{self, CryptoRng};
use emptyroom_wire::time::Mono;

/// A link that lasted this long was useful.
// [SPEC 10.40]
pub(crate) const USEFUL_MS: u64 = 60_000;
const FIRST_MS: u64 = 1_000;
const LAST_MS: u64 = 300_000;
/// A relay may ask for a spread up to this.
const SPREAD_MS_MAX: u64 = 600_000;
/// Delay after a relay said that this program is too old.
const UPDATE_MS: u64 = 3_600_000;
// [SPEC 5.20]
const PAGES_MAX: u32 = 64;

/// How often in a row it led to nothing, and since when it is up.
#[derive(Default)]
pub(crate) struct Backoff {
    failures: u32,
    up_since: Option<Mono>,
    spread_ms: u64,
}

impl Backoff {
    /// The link stands; the relay asks for this spread when it is lost.
    pub(crate) fn up(&mut self, now: Mono, spread_s: u32) {
        self.up_since = Some(now);
        self.spread_ms = (u64::from(spread_s) * 1_000).min(SPREAD_MS_MAX);
    }

    /// The link, or the attempt, ended: the delay before the next one, where there are so many hosts to go to in turn. Those
    /// who lose one of several hosts spread over the others.
    pub(crate) fn ended(&mut self, now: Mono, hosts: usize, rng: &mut dyn CryptoRng) -> u64 {
        let hosts = u32::try_from(hosts).unwrap_or(1).max(1);
        let useful = self
            .up_since
            .take()
            .is_some_and(|since| now.ms_since(since) >= USEFUL_MS);
        if useful {
            self.failures = 0;
            // [SPEC 7.12]
            return below(rng, (self.spread_ms / u64::from(hosts)).max(FIRST_MS));
        }
        let base = FIRST_MS
            .checked_shl(self.failures / hosts)
            .unwrap_or(LAST_MS)
            .min(LAST_MS);
        self.failures = self.failures.saturating_add(1).min(20 * hosts);
        base / 2 + below(rng, base)
    }

    /// The relay speaks only other versions.
    pub(crate) fn update_needed(&mut self, rng: &mut dyn CryptoRng) -> u64 {
        self.up_since = None;
        UPDATE_MS / 2 + below(rng, UPDATE_MS)
    }
}

/// How many more answers with key records one link asks for: 30 days have 720 records. A relay that gives the same ones again
/// and again, or never comes to an end, is not followed for ever.
pub(crate) struct Pages(u32);

impl Pages {
    pub(crate) fn new() -> Self {
        Self(PAGES_MAX)
    }

    /// The number to ask from after an answer of so many records that ended with `last`; `used` is the record in use.
    pub(crate) fn next(&mut self, records: usize, last: Option<u64>, used: u64) -> Option<u64> {
        self.0 = self.0.saturating_sub(1);
        let full = records >= KEY_RECORDS_PER_ANSWER_MAX;
        last.filter(|last| full && *last < used && self.0 > 0)
    }
}

/// A random number below `limit` (0 for a limit of 0).
pub(crate) fn below(rng: &mut dyn CryptoRng, limit: u64) -> u64 {
    u64::from_be_bytes(rng::bytes(rng))
        .checked_rem(limit)
        .unwrap_or(0)
}

/// Puts them in a random order.
pub(crate) fn shuffle<T>(items: &mut [T], rng: &mut dyn CryptoRng) {
    for last in (1..items.len()).rev() {
        let up_to_last = u64::try_from(last + 1).unwrap_or(1);
        let other = usize::try_from(below(rng, up_to_last)).unwrap_or(last);
        items.swap(other, last);
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    // [SPEC 10.40]
    #[test]
    fn delays_grow_until_the_link_was_useful_for_a_while() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut backoff = Backoff::default();
        for attempt in 0..40u32 {
            let delay = backoff.ended(Mono(0), 1, &mut rng);
            let base = (1_000u64 << attempt.min(20)).min(LAST_MS);
            assert!(
                (base / 2..base / 2 + base).contains(&delay),
                "{attempt}: {delay}"
            );
        }
        // Up for a moment only: no reset.
        backoff.up(Mono(0), 30);
        assert!(backoff.ended(Mono(USEFUL_MS - 1), 1, &mut rng) >= LAST_MS / 2);
        backoff.up(Mono(0), 30);
        assert!(backoff.ended(Mono(USEFUL_MS), 1, &mut rng) < 30_000);
        assert!(backoff.ended(Mono(USEFUL_MS), 1, &mut rng) < 1_500);
    }

    // [SPEC 10.40]
    #[test]
    fn a_relay_cannot_ask_for_a_year() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut backoff = Backoff::default();
        backoff.up(Mono(0), u32::MAX);
        assert!(backoff.ended(Mono(USEFUL_MS), 1, &mut rng) < SPREAD_MS_MAX);
    }

    // [SPEC 7.12]
    #[test]
    fn who_can_go_elsewhere_waits_less() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        for _ in 0..100 {
            let mut backoff = Backoff::default();
            backoff.up(Mono(0), 12);
            assert!(backoff.ended(Mono(USEFUL_MS), 3, &mut rng) < 4_000);
            for _ in 0..3 {
                assert!(backoff.ended(Mono(USEFUL_MS), 3, &mut rng) < 1_500);
            }
            assert!(backoff.ended(Mono(USEFUL_MS), 3, &mut rng) >= 1_000);
        }
    }

    // [SPEC 7.11]
    #[test]
    fn every_order_comes_up() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut orders = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let mut hosts = [1, 2, 3];
            shuffle(&mut hosts, &mut rng);
            orders.insert(hosts);
        }
        assert_eq!(orders.len(), 6);
    }

    // [SPEC 5.20]
    #[test]
    fn key_records_that_never_end_are_not_followed_for_ever() {
        let mut pages = Pages::new();
        let mut asked = 0;
        while pages.next(KEY_RECORDS_PER_ANSWER_MAX, Some(1), u64::MAX) == Some(1) {
            asked += 1;
            assert!(asked < PAGES_MAX);
        }
        let mut pages = Pages::new();
        assert_eq!(pages.next(KEY_RECORDS_PER_ANSWER_MAX, Some(7), 9), Some(7));
        assert_eq!(pages.next(1, Some(8), 9), None);
        assert_eq!(pages.next(KEY_RECORDS_PER_ANSWER_MAX, Some(9), 9), None);
    }
}
