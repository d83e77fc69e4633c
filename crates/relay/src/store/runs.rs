//! Which entries a log still holds, and until when: runs of consecutive entries of one expiry day and one length.
//!
//! This is how an entry is found without knowing its day, and how a log's size is known without reading it.

use emptyroom_wire::time::Day;
use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};

/// Where an entry's row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shelf {
    /// With those that expire with this day.
    Day(Day),
    /// With the lasting rows, as long as its log.
    Life,
}

impl Shelf {
    /// The day number that stands for [`Shelf::Life`]; no wall clock reaches it.
    const LIFE: u32 = u32::MAX;

    fn number(self) -> u32 {
        match self {
            Shelf::Day(day) => day.0,
            Shelf::Life => Self::LIFE,
        }
    }

    fn of(number: u32) -> Shelf {
        match number {
            Self::LIFE => Shelf::Life,
            day => Shelf::Day(Day(day)),
        }
    }
}

/// An entry that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) seq: u64,
    pub(crate) shelf: Shelf,
    /// Bytes of its body.
    pub(crate) len: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
struct Run {
    first: u64,
    count: u32,
    /// Its last day; [`Shelf::LIFE`] for the log's.
    day: u32,
    /// Bytes of each entry.
    len: u32,
}

impl Run {
    fn end(&self) -> u64 {
        self.first.saturating_add(u64::from(self.count))
    }

    fn bytes(&self) -> u64 {
        u64::from(self.count).saturating_mul(u64::from(self.len))
    }
}

/// A log's runs, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct Runs(Vec<Run>);

impl Runs {
    /// Adds an entry after all others.
    pub(crate) fn push(&mut self, seq: u64, shelf: Shelf, len: u32) {
        let day = shelf.number();
        match self.0.last_mut() {
            Some(run) if run.end() == seq && run.day == day && run.len == len => run.count += 1,
            _ => self.0.push(Run {
                first: seq,
                count: 1,
                day,
                len,
            }),
        }
    }

    /// Forgets what has run out before `today`; its rows go with their day.
    pub(crate) fn forget_expired(&mut self, today: Day) {
        self.0.retain(|run| run.day >= today.0);
    }

    /// The lowest sequence number held.
    pub(crate) fn first(&self) -> Option<u64> {
        self.0.first().map(|run| run.first)
    }

    /// How many entries are held.
    pub(crate) fn count(&self) -> u64 {
        self.0.iter().map(|run| u64::from(run.count)).sum()
    }

    /// How many bytes of entries are held.
    pub(crate) fn bytes(&self) -> u64 {
        self.0
            .iter()
            .fold(0, |sum, run| sum.saturating_add(run.bytes()))
    }

    /// The entries held from `from` on, in order.
    pub(crate) fn held_from(&self, from: u64) -> impl Iterator<Item = Held> + '_ {
        let start = self.0.partition_point(|run| run.end() <= from);
        let runs = self.0.get(start..).unwrap_or_default();
        runs.iter().flat_map(move |run| {
            let (shelf, len) = (Shelf::of(run.day), run.len);
            (run.first.max(from)..run.end()).map(move |seq| Held { seq, shelf, len })
        })
    }

    /// Takes away all entries below `up_to` and names them.
    pub(crate) fn cut_below(&mut self, up_to: u64) -> Vec<Held> {
        let cut = self
            .held_from(0)
            .take_while(|held| held.seq < up_to)
            .collect();
        self.0.retain_mut(|run| {
            let below = up_to.clamp(run.first, run.end()) - run.first;
            run.first += below;
            run.count = u32::try_from(u64::from(run.count) - below).unwrap_or(0);
            run.count > 0
        });
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seqs(runs: &Runs, from: u64) -> Vec<u64> {
        runs.held_from(from).map(|held| held.seq).collect()
    }

    #[test]
    fn runs_join_and_are_found() {
        let mut runs = Runs::default();
        for seq in 0..3 {
            runs.push(seq, Shelf::Day(Day(9)), 4096);
        }
        runs.push(3, Shelf::Day(Day(2)), 4096);
        runs.push(4, Shelf::Day(Day(9)), 4096);
        runs.push(5, Shelf::Life, 16384);
        assert_eq!(runs.0.len(), 4);
        assert_eq!((runs.count(), runs.bytes()), (6, 5 * 4096 + 16384));
        assert_eq!(seqs(&runs, 2), [2, 3, 4, 5]);
        runs.forget_expired(Day(3));
        assert_eq!(seqs(&runs, 0), [0, 1, 2, 4, 5]);
        assert_eq!(seqs(&runs, 3), [4, 5]);
        runs.forget_expired(Day(10));
        assert_eq!(seqs(&runs, 0), [5]);
    }

    #[test]
    fn cutting_keeps_what_lies_above() {
        let mut runs = Runs::default();
        for seq in 0..10 {
            runs.push(seq, Shelf::Day(Day(9)), 10);
        }
        let cut = runs.cut_below(4);
        assert_eq!(cut.len(), 4);
        assert_eq!((runs.first(), runs.count(), runs.bytes()), (Some(4), 6, 60));
        assert!(runs.cut_below(4).is_empty());
        assert_eq!(runs.cut_below(u64::MAX).len(), 6);
        assert_eq!(runs.first(), None);
    }
}
