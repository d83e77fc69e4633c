//! The oracle: a store as simple as it can be, in which everything is kept for ever and looked through.
//!
//! It shares no code with the ledger but the running hash. Budgets are not in it (see `budget`).

use std::collections::BTreeMap;
use std::sync::Arc;

use emptyroom_wire::entry::{Aad, RunningHash, Ttl};
use emptyroom_wire::log::Flags;
use emptyroom_wire::op::{RefusalCode, View};
use emptyroom_wire::time::Wall;

use super::driver::{Got, Outcome};
use super::shares::Shares;
use crate::store::{Append, NewEntry, NewPlace, RowKey, StoreOp};

#[derive(Default)]
pub(super) struct Model {
    logs: BTreeMap<RowKey, Log>,
    shares: Shares,
}

#[derive(Clone)]
enum Log {
    Live(Live),
    /// Destroyed, and until which day refused.
    Destroyed(u32),
}

#[derive(Clone)]
struct Live {
    flags: Flags,
    first: Option<(Aad, Arc<[u8]>)>,
    /// Everything that was ever appended.
    entries: Vec<Entry>,
    /// Everything below was trimmed or dropped.
    cut: u64,
    last_day: u32,
}

#[derive(Clone)]
struct Entry {
    aad: Aad,
    body: Arc<[u8]>,
    before: RunningHash,
    after: RunningHash,
    /// None: as long as its log.
    last_day: Option<u32>,
}

impl Model {
    pub(super) fn apply(&mut self, now: Wall, op: &StoreOp) -> Outcome {
        let today = now.day().0;
        self.logs.retain(|_, log| match log {
            Log::Live(live) => live.last_day >= today,
            Log::Destroyed(until) => *until >= today,
        });
        let outcome = match op {
            StoreOp::Create(new) => self.create(new, today),
            StoreOp::Look { place } => self
                .live(place.key())
                .map(|log| Outcome::Looked(log.view(today))),
            StoreOp::Read {
                place,
                from,
                bytes_max,
            } => self
                .live(place.key())
                .map(|log| log.read(*from, *bytes_max, today)),
            StoreOp::Append(append) => self.append(append, today),
            StoreOp::Renew { place } => self.live(place.key()).map(|log| {
                log.renew(today);
                Outcome::Done
            }),
            StoreOp::Trim { place, up_to } => self.live(place.key()).map(|log| {
                log.cut = log.cut.max((*up_to).min(log.next_seq()));
                Outcome::Done
            }),
            StoreOp::Destroy { place } => self.live(place.key()).map(|_| ()).map(|()| {
                self.logs.insert(place.key(), Log::Destroyed(today + 30));
                Outcome::Done
            }),
            StoreOp::Share(place, op) => Ok(self.shares.apply(today, place, op)),
        };
        outcome.unwrap_or_else(Outcome::Refused)
    }

    fn live(&mut self, key: RowKey) -> Result<&mut Live, RefusalCode> {
        match self.logs.get_mut(&key) {
            None => Err(RefusalCode::Unknown),
            Some(Log::Destroyed(_)) => Err(RefusalCode::Destroyed),
            Some(Log::Live(live)) => Ok(live),
        }
    }

    fn create(&mut self, new: &NewPlace, today: u32) -> Result<Outcome, RefusalCode> {
        match self.live(new.place.key()) {
            Err(RefusalCode::Unknown) => {
                let mut live = Live {
                    flags: new.rules.flags,
                    first: new
                        .first
                        .as_ref()
                        .map(|first| (first.aad.clone(), Arc::clone(&first.body))),
                    entries: Vec::new(),
                    cut: 0,
                    last_day: 0,
                };
                live.renew(today);
                if let Some(first) = &new.first {
                    live.write(first, today)?;
                }
                self.logs.insert(new.place.key(), Log::Live(live));
                Ok(Outcome::Created)
            }
            Err(code) => Err(code),
            Ok(live) if live.closed() => Err(RefusalCode::Closed),
            Ok(live) => {
                let first = new.first.as_ref().map(|first| (&first.aad, &first.body));
                let same = first == live.first.as_ref().map(|(aad, body)| (aad, body));
                if same {
                    Ok(Outcome::Created)
                } else {
                    Err(RefusalCode::Exists)
                }
            }
        }
    }

    fn append(&mut self, append: &Append, today: u32) -> Result<Outcome, RefusalCode> {
        let key = append.place.key();
        let log = self.live(key)?;
        let nonce = append.entry.aad.nonce;
        let seen = log
            .entries
            .iter()
            .zip(0..)
            .find(|(entry, _)| entry.aad.nonce == nonce);
        if let Some((entry, seq)) = seen {
            let same = entry.aad == append.entry.aad && entry.body == append.entry.body;
            return if same {
                Ok(Outcome::Already(seq, entry.after))
            } else {
                Err(RefusalCode::NonceReused)
            };
        }
        if log.closed() {
            return Err(RefusalCode::Closed);
        }
        if log.slots() != append.entry.aad.expect_slots {
            return Ok(Outcome::Stale(log.view(today)));
        }
        let before = self.logs.clone();
        let outcome = self.append_all(append, today);
        if outcome.is_err() {
            self.logs = before;
        }
        outcome
    }

    fn append_all(&mut self, append: &Append, today: u32) -> Result<Outcome, RefusalCode> {
        let key = append.place.key();
        let outcome = self.live(key)?.write(&append.entry, today)?;
        let mut keys: Vec<RowKey> = append.next.iter().map(|new| new.place.key()).collect();
        keys.push(key);
        keys.sort_unstable();
        keys.dedup();
        if keys.len() <= append.next.len() {
            return Err(RefusalCode::Malformed);
        }
        for new in &append.next {
            self.create(new, today)?;
        }
        Ok(outcome)
    }
}

impl Live {
    fn next_seq(&self) -> u64 {
        self.entries.len() as u64
    }

    fn slots(&self) -> u64 {
        self.entries.iter().filter(|entry| entry.aad.commit).count() as u64
    }

    fn closed(&self) -> bool {
        self.entries.iter().any(|entry| entry.aad.close)
    }

    fn hash(&self) -> RunningHash {
        self.entries
            .last()
            .map_or_else(RunningHash::default, |entry| entry.after)
    }

    fn renew(&mut self, today: u32) {
        let days = if self.flags.has(Flags::RECOVERY_LIFE) {
            400
        } else {
            180
        };
        self.last_day = self.last_day.max((today + days).div_ceil(8) * 8);
    }

    fn held(&self, today: u32) -> Vec<(u64, &Entry)> {
        let all = (0..).zip(&self.entries);
        all.filter(|(seq, entry)| *seq >= self.cut && entry.last_day.is_none_or(|day| day >= today))
            .collect()
    }

    fn view(&self, today: u32) -> View {
        let held = self.held(today);
        View {
            first_seq: held.first().map_or(self.next_seq(), |(seq, _)| *seq),
            next_seq: self.next_seq(),
            slots: self.slots(),
            running_hash: self.hash(),
            closed: self.closed(),
        }
    }

    fn read(&self, from: u64, bytes_max: usize, today: u32) -> Outcome {
        let (mut got, mut bytes) = (Vec::new(), 0);
        for (seq, entry) in self.held(today) {
            if seq < from {
                continue;
            }
            if bytes >= bytes_max && !got.is_empty() {
                return Outcome::Read(got, seq, false);
            }
            bytes += entry.body.len();
            got.push(Got {
                seq,
                before: entry.before,
                aad: entry.aad.clone(),
                body: Arc::clone(&entry.body),
            });
        }
        Outcome::Read(got, self.next_seq(), true)
    }

    fn write(&mut self, entry: &NewEntry, today: u32) -> Result<Outcome, RefusalCode> {
        let NewEntry { aad, body } = entry;
        if aad.close && self.flags.has(Flags::REFUSE_CLOSE) {
            return Err(RefusalCode::RefusedClose);
        }
        let last_day = match aad.ttl {
            Ttl::Day1 => Some(today + 1),
            Ttl::Day7 => Some(today + 7),
            Ttl::Day30 => Some(today + 30),
            Ttl::Life if self.flags.has(Flags::RECOVERY_LIFE) => None,
            Ttl::Life => return Err(RefusalCode::NotAllowed),
        };
        if self.flags.has(Flags::DROP_OLDEST) {
            while self.held(today).len() >= 64 {
                self.cut = self.held(today)[0].0 + 1;
            }
        }
        let (seq, before) = (self.next_seq(), self.hash());
        let after = before.next(seq, aad, body);
        self.entries.push(Entry {
            aad: aad.clone(),
            body: Arc::clone(body),
            before,
            after,
            last_day,
        });
        self.renew(today);
        Ok(Outcome::Appended(seq, before, after))
    }
}
