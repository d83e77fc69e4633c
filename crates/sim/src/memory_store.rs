//! A relay's disk in memory, which loses and tears what a real one would when the power goes, and can be put back to yesterday.
//!
//! The rules of storage are the relay's own ([`Ledger`]); here are only rows, and all the ways in which a disk disappoints.

use std::collections::BTreeMap;

use emptyroom_relay::store::{Changes, LastingChange, Ledger, RowKey, Rows, StoreFailure};
use emptyroom_wire::rng::CryptoRng;
use emptyroom_wire::time::Day;

/// A store over a [`Disk`].
pub type MemoryStore = Ledger<Disk>;

/// Opens what is on a disk, as after a start of the relay.
#[must_use]
pub fn open(disk: Disk, rng: Box<dyn CryptoRng + Send>) -> MemoryStore {
    Ledger::new(disk, rng)
}

/// Rows, and what is to go wrong with them. A clone is an image of the disk.
#[derive(Clone, Default)]
pub struct Disk {
    entries: BTreeMap<(Day, RowKey), Vec<u8>>,
    lasting: BTreeMap<RowKey, (Day, Vec<u8>)>,
    power: Power,
    full: bool,
}

/// Where in a commit the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Power {
    /// Not at all.
    #[default]
    On,
    /// While entries are written: only those whose number in the commit has its bit set in this mask are on disk (all numbers modulo
    /// 64), in whatever order the disk liked.
    GoesAmongEntries(u64),
    /// Between entries and lasting rows.
    GoesBeforeLasting,
    /// When all is on disk, and nobody was told.
    GoesAfterLasting,
    /// It went.
    Off,
}

impl Disk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Disk {
        Disk::default()
    }

    /// The power goes in the next commit that changes something.
    pub fn cut_power(&mut self, power: Power) {
        self.power = power;
    }

    /// What is on the disk, with power again.
    #[must_use]
    pub fn after_power_cut(&self) -> Disk {
        Disk {
            power: Power::On,
            ..self.clone()
        }
    }

    /// No space for anything from now on, or space again.
    pub fn set_full(&mut self, full: bool) {
        self.full = full;
    }

    /// Every row that is on the disk, as its thief sees it.
    pub fn rows(&self) -> impl Iterator<Item = &[u8]> {
        let lasting = self.lasting.values().map(|(_, row)| row);
        self.entries.values().chain(lasting).map(Vec::as_slice)
    }

    /// Writes a row that no relay wrote.
    pub fn scribble(&mut self, row: &[u8]) {
        let key = RowKey([0; 32]);
        self.lasting.insert(key, (Day(u32::MAX), row.to_vec()));
    }

    /// A log's header goes, and nobody remembers it. False: there was none.
    pub fn lose(&mut self, log: &RowKey) -> bool {
        self.lasting.remove(log).is_some()
    }

    /// Everything that lasts, but the header of this log, is as it was before: what was appended since may be appended again.
    pub fn forget_nonces(&mut self, before: &Disk, log: &RowKey) {
        let header = self.lasting.get(log).cloned();
        self.lasting.clone_from(&before.lasting);
        if let Some(header) = header {
            self.lasting.insert(*log, header);
        }
    }

    fn put_entries(&mut self, changes: &mut Changes, mask: u64) {
        for (number, change) in changes.entries.drain(..).enumerate() {
            if mask & (1 << (number % 64)) == 0 {
                continue;
            }
            match change.row {
                Some(row) => self.entries.insert((change.day, change.key), row),
                None => self.entries.remove(&(change.day, change.key)),
            };
        }
    }

    fn put_lasting(&mut self, changes: Changes) {
        for change in changes.lasting {
            match change {
                LastingChange::Put { key, day, row } => {
                    self.lasting.insert(key, (day, row));
                }
                LastingChange::Move { key, day } => {
                    if let Some((at, _)) = self.lasting.get_mut(&key) {
                        *at = day;
                    }
                }
                LastingChange::Remove { key } => {
                    self.lasting.remove(&key);
                }
            }
        }
    }

    fn powered(&self) -> Result<(), StoreFailure> {
        match self.power {
            Power::Off => Err(StoreFailure::Broken("no power")),
            _ => Ok(()),
        }
    }
}

impl Rows for Disk {
    fn lasting(&mut self, key: &RowKey) -> Result<Option<Vec<u8>>, StoreFailure> {
        self.powered()?;
        Ok(self.lasting.get(key).map(|(_, row)| row.clone()))
    }

    fn entry(&mut self, day: Day, key: &RowKey) -> Result<Option<Vec<u8>>, StoreFailure> {
        self.powered()?;
        Ok(self.entries.get(&(day, *key)).cloned())
    }

    fn commit(&mut self, mut changes: Changes) -> Result<(), StoreFailure> {
        self.powered()?;
        if self.full {
            return Err(StoreFailure::Full);
        }
        let power = self.power;
        if power != Power::On {
            self.power = Power::Off;
        }
        match power {
            Power::GoesAmongEntries(mask) => self.put_entries(&mut changes, mask),
            Power::GoesBeforeLasting => self.put_entries(&mut changes, u64::MAX),
            Power::On | Power::GoesAfterLasting | Power::Off => {
                self.put_entries(&mut changes, u64::MAX);
                self.put_lasting(changes);
            }
        }
        self.powered()
    }

    fn expire(&mut self, today: Day) -> Result<(), StoreFailure> {
        self.powered()?;
        self.entries.retain(|(day, _), _| *day >= today);
        self.lasting.retain(|_, (day, _)| *day >= today);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use emptyroom_relay::conformance::{self, Subject};
    use emptyroom_relay::store::{Append, NewEntry, NewPlace, Place, Store, StoreOp, StoreReply};
    use emptyroom_wire::entry::{Aad, Ttl};
    use emptyroom_wire::log::{Flags, Header};
    use emptyroom_wire::op::View;
    use emptyroom_wire::secret::Private;
    use emptyroom_wire::time::{DAY_MS, Wall};
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    const NOW: Wall = Wall(20_000 * DAY_MS);

    struct InMemory {
        store: MemoryStore,
        openings: u64,
    }

    impl InMemory {
        fn new(disk: Disk, openings: u64) -> InMemory {
            let rng = Box::new(ChaCha20Rng::seed_from_u64(openings));
            InMemory {
                store: open(disk, rng),
                openings,
            }
        }
    }

    impl Subject for InMemory {
        fn store(&mut self) -> &mut dyn Store {
            &mut self.store
        }

        fn crash(&mut self) {
            let disk = self.store.rows().after_power_cut();
            *self = InMemory::new(disk, self.openings + 1);
        }
    }

    #[test]
    fn conformance() {
        conformance::run(&mut || Box::new(InMemory::new(Disk::new(), 0)));
    }

    fn header(number: u8) -> Header {
        Header {
            salt: Private([number; 32]),
            append_key: None,
            read_key: None,
            owner_key: None,
            flags: Flags::NONE,
        }
    }

    fn append(place: &Place, number: u8, next: Vec<NewPlace>) -> StoreOp {
        StoreOp::Append(Append {
            place: place.clone(),
            entry: NewEntry {
                aad: Aad {
                    log_id: place.log_id(),
                    expect_slots: u64::from(number),
                    commit: true,
                    close: false,
                    ttl: Ttl::Day30,
                    nonce: [number; 16],
                    next_hash: [0; 32],
                },
                body: Arc::from(vec![number; 64]),
            },
            next,
        })
    }

    fn view(subject: &mut InMemory, place: &Place) -> Option<View> {
        let place = place.clone();
        let replies = subject.store.apply(NOW, vec![StoreOp::Look { place }]);
        match replies.unwrap().remove(0) {
            StoreReply::Looked(looked) => Some(looked.view),
            _ => None,
        }
    }

    /// Wherever the power goes, an append and the log it makes are there together or not at all, what was acknowledged
    /// before is there, and everything goes on afterwards.
    #[test]
    fn power_goes_anywhere() {
        let mut cuts: Vec<Power> = (0..16).map(Power::GoesAmongEntries).collect();
        cuts.extend([Power::GoesBeforeLasting, Power::GoesAfterLasting]);
        for cut in cuts {
            let mut subject = InMemory::new(Disk::new(), 0);
            let (old, new) = (NewPlace::new(&header(1), None), header(2));
            let place = old.place.clone();
            let new_place = Place::of(&new.capability());
            let first = append(&place, 0, vec![]);
            subject
                .store
                .apply(NOW, vec![StoreOp::Create(old), first])
                .unwrap();

            subject.store.rows().cut_power(cut);
            let next = emptyroom_wire::op::First {
                ttl: Ttl::Day30,
                nonce: [9; 16],
                body: vec![9; 64],
            };
            let next = vec![NewPlace::new(&new, Some(next))];
            let ops = vec![append(&place, 1, next), append(&place, 2, vec![])];
            assert!(subject.store.apply(NOW, ops).is_err());
            // It stays broken until it is opened again.
            subject.store.rows().cut_power(Power::On);
            assert!(subject.store.expire(NOW).is_err());
            subject.crash();

            let seqs = view(&mut subject, &place).unwrap().next_seq;
            let made = view(&mut subject, &new_place).is_some();
            let all = cut == Power::GoesAfterLasting;
            assert_eq!((seqs, made), if all { (3, true) } else { (1, false) });
            let slots = u8::try_from(seqs).unwrap();
            let replies = subject
                .store
                .apply(NOW, vec![append(&place, slots, vec![])]);
            assert!(matches!(replies.unwrap()[..], [StoreReply::Appended(_)]));
            let read = StoreOp::Read {
                place,
                from: 0,
                bytes_max: usize::MAX,
            };
            let replies = subject.store.apply(NOW, vec![read]).unwrap();
            let [StoreReply::Read(batch)] = &replies[..] else {
                panic!("not read");
            };
            assert_eq!(batch.entries.len(), usize::from(slots) + 1);
        }
    }

    #[test]
    fn a_full_disk_changes_nothing() {
        let mut subject = InMemory::new(Disk::new(), 0);
        let old = NewPlace::new(&header(1), None);
        let place = old.place.clone();
        subject
            .store
            .apply(NOW, vec![StoreOp::Create(old)])
            .unwrap();
        subject.store.rows().set_full(true);
        let failed = subject.store.apply(NOW, vec![append(&place, 0, vec![])]);
        assert!(matches!(failed, Err(StoreFailure::Full)));
        assert_eq!(view(&mut subject, &place).unwrap().next_seq, 0);
        subject.store.rows().set_full(false);
        let replies = subject.store.apply(NOW, vec![append(&place, 0, vec![])]);
        assert!(matches!(replies.unwrap()[..], [StoreReply::Appended(_)]));
    }
}
