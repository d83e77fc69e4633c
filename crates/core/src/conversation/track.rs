//! Where this device is in one log, and what it must find there.
//!
//! Everything that was read, and everything that was acknowledged, is kept as numbers and hashes. Whatever a relay shows
//! later must agree with it: here is the judge, without any idea what entries mean.

use emptyroom_wire::entry::{Aad, RunningHash};
use emptyroom_wire::log::LogId;
use emptyroom_wire::op::{Appended, EntryPush, View};
use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};

use crate::api::RelayTrouble;

/// Own entries that may be acknowledged and not read back yet.
// [SPEC 8.56]
pub(crate) const AHEAD_MAX: usize = 64;
/// Withdrawn entries that are known again.
// [SPEC 8.62]
const WITHDRAWN_MAX: usize = 16;

/// How far one log was read, and what was acknowledged beyond.
#[derive(Clone, Default, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct Track {
    next_seq: u64,
    slots: u64,
    hash: RunningHash,
    closed: u8,
    ahead: Vec<Ahead>,
    withdrawn: Vec<Withdrawn>,
}

/// An own entry that the relay acknowledged and that was not read back yet.
#[derive(Clone, Debug, TlsSize, TlsSerialize, TlsDeserializeBytes)]
struct Ahead {
    seq: u64,
    nonce: [u8; 16],
    hash: RunningHash,
}

/// An own entry that is not wanted any more, though the relay may have it.
#[derive(Clone, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
struct Withdrawn {
    nonce: [u8; 16],
    /// Over all of it, as if it were a log's first.
    print: RunningHash,
}

/// An entry that fits.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// Entries that are missing before it.
    pub(crate) gap: Option<Missing>,
    /// It is an own entry that was acknowledged before, or withdrawn.
    pub(crate) own: bool,
}

/// Entries that are not there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    /// The first of them.
    pub(crate) from: u64,
    /// How many.
    pub(crate) entries: u64,
    /// How many of them were commits.
    pub(crate) commits: u64,
}

impl Track {
    /// The number of the next entry to be read.
    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Commit slots before it.
    pub(crate) fn slots(&self) -> u64 {
        self.slots
    }

    /// The running hash before it.
    pub(crate) fn hash(&self) -> RunningHash {
        self.hash
    }

    /// The closing entry was read.
    pub(crate) fn closed(&self) -> bool {
        self.closed != 0
    }

    /// Where reading has come to, as a relay would say it.
    pub(crate) fn end(&self) -> View {
        View {
            first_seq: 0,
            next_seq: self.next_seq,
            slots: self.slots,
            running_hash: self.hash,
            closed: self.closed(),
        }
    }

    /// Everything acknowledged was read back.
    pub(crate) fn nothing_ahead(&self) -> bool {
        self.ahead.is_empty()
    }

    /// No more appends before some were read back.
    pub(crate) fn too_far_ahead(&self) -> bool {
        self.ahead.len() >= AHEAD_MAX
    }

    /// Judges what the log is like when it is opened. Nothing is missing yet: that shows with the entries.
    ///
    /// # Errors
    /// The relay's fault.
    // [SPEC 10.20]
    pub(crate) fn check_view(&self, view: &View) -> Result<(), RelayTrouble> {
        let (end, hash) = self.known_end();
        if view.first_seq > view.next_seq {
            return Err(RelayTrouble::WrongSequence);
        }
        if view.next_seq < end {
            return Err(RelayTrouble::RolledBack);
        }
        if view.next_seq == end && view.running_hash != hash {
            return Err(RelayTrouble::TwoHistories);
        }
        if view.slots < self.slots || (self.closed() && view.next_seq > self.next_seq) {
            return Err(RelayTrouble::TwoHistories);
        }
        Ok(())
    }

    /// Whether an append can be stale, by the view that says so: a slot was filled beyond what was read, or before.
    // [SPEC 8.48]
    pub(crate) fn may_be_stale(&self, expect_slots: u64, view: &View) -> bool {
        let moved = view.next_seq > self.next_seq || view.slots == self.slots;
        moved && view.slots != expect_slots
    }

    /// Takes an entry that the relay delivered.
    ///
    /// # Errors
    /// The relay's fault; nothing has changed.
    // [SPEC 10.21]
    pub(crate) fn accept(
        &mut self,
        entry: &EntryPush,
        log: LogId,
    ) -> Result<Accepted, RelayTrouble> {
        if entry.seq < self.next_seq || self.closed() || entry.seq == u64::MAX {
            return Err(RelayTrouble::WrongSequence);
        }
        let elsewhere = |own: &Ahead| own.nonce == entry.nonce && own.seq != entry.seq;
        if self.ahead.iter().any(elsewhere) {
            return Err(RelayTrouble::TwoHistories);
        }
        let gap = self.gap_before(entry)?;
        if let Some(before) = self
            .ahead
            .iter()
            .find(|own| own.seq.checked_add(1) == Some(entry.seq))
            && before.hash != entry.before
        {
            return Err(RelayTrouble::TwoHistories);
        }
        let hash = entry.before.next(entry.seq, &entry.aad(log), &entry.body);
        let own = self.ahead.iter().find(|own| own.seq == entry.seq);
        if own.is_some_and(|own| own.hash != hash || own.nonce != entry.nonce) {
            return Err(RelayTrouble::TwoHistories);
        }
        let own = own.is_some() || self.is_withdrawn(entry, log);
        self.ahead.retain(|own| own.seq > entry.seq);
        self.next_seq = entry.seq + 1;
        self.slots = entry.expect_slots.saturating_add(u64::from(entry.commit));
        self.hash = hash;
        self.closed = u8::from(entry.close);
        Ok(Accepted { gap, own })
    }

    /// Takes the end of the stored entries: what is missing there is not stored any more.
    ///
    /// # Errors
    /// The relay's fault.
    pub(crate) fn caught_up(
        &mut self,
        next_seq: u64,
        view: &View,
    ) -> Result<Option<Missing>, RelayTrouble> {
        if next_seq < self.next_seq {
            return Ok(None);
        }
        if next_seq == self.next_seq {
            let same_end = view.next_seq == next_seq;
            if same_end && (view.slots != self.slots || view.closed != self.closed()) {
                return Err(RelayTrouble::WrongSequence);
            }
            return Ok(None);
        }
        if view.next_seq != next_seq {
            return Err(RelayTrouble::WrongSequence);
        }
        let gap = Missing {
            from: self.next_seq,
            entries: next_seq - self.next_seq,
            commits: view.slots.saturating_sub(self.slots),
        };
        self.ahead.clear();
        self.next_seq = next_seq;
        self.slots = view.slots;
        self.hash = view.running_hash;
        self.closed = u8::from(view.closed);
        Ok(Some(gap))
    }

    /// Takes the acknowledgement of an own append that was not read back: it counts as seen.
    ///
    /// # Errors
    /// The relay's fault: the number or the hash cannot be.
    // [SPEC 10.22]
    pub(crate) fn acknowledged(
        &mut self,
        own: &OwnAppend<'_>,
        answer: &Appended,
    ) -> Result<Acknowledged, RelayTrouble> {
        if answer.seq < self.next_seq {
            return Ok(Acknowledged::Passed);
        }
        if let Some(known) = self.ahead.iter().find(|known| known.seq == answer.seq) {
            let same = known.nonce == own.nonce && known.hash == answer.running_hash;
            return if same {
                Ok(Acknowledged::Ahead)
            } else {
                Err(RelayTrouble::WrongSequence)
            };
        }
        if self.ahead.last().is_some_and(|last| last.seq > answer.seq) {
            return Err(RelayTrouble::WrongSequence);
        }
        if let Some(before) = self.hash_before(answer.seq)
            && before.next(answer.seq, own.aad, own.body) != answer.running_hash
        {
            return Err(RelayTrouble::TwoHistories);
        }
        self.ahead.push(Ahead {
            seq: answer.seq,
            nonce: own.nonce,
            hash: answer.running_hash,
        });
        Ok(Acknowledged::Ahead)
    }

    /// Gives up an own append of unknown fate: should the log have it after all, it is known again.
    // [SPEC 8.62]
    pub(crate) fn withdraw(&mut self, own: &OwnAppend<'_>) {
        if self.withdrawn.len() >= WITHDRAWN_MAX {
            self.withdrawn.remove(0);
        }
        self.withdrawn.push(Withdrawn {
            nonce: own.nonce,
            print: print(own.aad, own.body),
        });
    }

    fn is_withdrawn(&self, entry: &EntryPush, log: LogId) -> bool {
        self.withdrawn
            .iter()
            .any(|own| own.nonce == entry.nonce && own.print == print(&entry.aad(log), &entry.body))
    }

    /// The end of what this device has seen: read, or acknowledged.
    fn known_end(&self) -> (u64, RunningHash) {
        self.ahead
            .last()
            .map_or((self.next_seq, self.hash), |last| {
                (last.seq.saturating_add(1), last.hash)
            })
    }

    fn hash_before(&self, seq: u64) -> Option<RunningHash> {
        if seq == self.next_seq {
            return Some(self.hash);
        }
        let before = self
            .ahead
            .iter()
            .find(|own| own.seq.checked_add(1) == Some(seq));
        before.map(|own| own.hash)
    }

    fn gap_before(&self, entry: &EntryPush) -> Result<Option<Missing>, RelayTrouble> {
        if entry.seq == self.next_seq {
            if entry.before != self.hash {
                return Err(RelayTrouble::TwoHistories);
            }
            if entry.expect_slots != self.slots {
                return Err(RelayTrouble::WrongSequence);
            }
            return Ok(None);
        }
        let entries = entry.seq - self.next_seq;
        let commits = entry.expect_slots.checked_sub(self.slots);
        let commits = commits
            .filter(|commits| *commits <= entries)
            .ok_or(RelayTrouble::WrongSequence)?;
        Ok(Some(Missing {
            from: self.next_seq,
            entries,
            commits,
        }))
    }
}

/// An append of this device, as it was sent.
pub(crate) struct OwnAppend<'a> {
    /// Its nonce.
    pub(crate) nonce: [u8; 16],
    /// Its AAD.
    pub(crate) aad: &'a Aad,
    /// Its bytes.
    pub(crate) body: &'a [u8],
}

/// Where an acknowledged append is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Acknowledged {
    /// At a place that was passed without reading it: it proves nothing.
    // [SPEC 8.61]
    Passed,
    /// It will be read back.
    Ahead,
}

fn print(aad: &Aad, body: &[u8]) -> RunningHash {
    RunningHash::default().next(0, aad, body)
}

#[cfg(test)]
mod tests {
    use emptyroom_wire::entry::Ttl;

    use super::*;

    fn entry(seq: u64, before: RunningHash, body: &[u8]) -> EntryPush {
        EntryPush {
            seq,
            before,
            expect_slots: 0,
            commit: false,
            close: false,
            ttl: Ttl::Day30,
            nonce: [4; 16],
            next_hash: [0; 32],
            body: body.to_vec(),
        }
    }

    // [SPEC 8.62]
    #[test]
    fn what_was_withdrawn_is_known_again_and_nothing_else_under_its_nonce() {
        let log = LogId([1; 32]);
        let withdrawn = entry(0, RunningHash::default(), b"withdrawn");
        let own = |track: &mut Track, nonce| {
            let aad = Aad {
                nonce,
                ..withdrawn.aad(log)
            };
            track.withdraw(&OwnAppend {
                nonce,
                aad: &aad,
                body: &withdrawn.body,
            });
        };
        let mut track = Track::default();
        own(&mut track, withdrawn.nonce);
        let other = entry(0, RunningHash::default(), b"another's");
        assert!(!track.accept(&other, log).expect("it fits").own);
        let again = entry(1, track.hash(), b"withdrawn");
        assert!(track.accept(&again, log).expect("it fits").own);
        for n in 0..WITHDRAWN_MAX {
            own(&mut track, [u8::try_from(n).expect("small") + 100; 16]);
        }
        let later = entry(2, track.hash(), b"withdrawn");
        assert!(!track.accept(&later, log).expect("it fits").own);
    }

    // [SPEC 10.21]
    #[test]
    fn what_was_acknowledged_stands_under_no_other_number() {
        let log = LogId([1; 32]);
        let own = entry(1, RunningHash::default(), b"own");
        let aad = own.aad(log);
        let append = OwnAppend {
            nonce: own.nonce,
            aad: &aad,
            body: &own.body,
        };
        let mut track = Track::default();
        let answer = Appended {
            seq: 1,
            running_hash: RunningHash([9; 32]),
        };
        assert_eq!(
            track.acknowledged(&append, &answer),
            Ok(Acknowledged::Ahead)
        );
        let early = entry(0, RunningHash::default(), b"own");
        assert_eq!(track.accept(&early, log), Err(RelayTrouble::TwoHistories));
        let other = EntryPush {
            nonce: [5; 16],
            ..early
        };
        assert!(track.accept(&other, log).is_ok());
    }
}
