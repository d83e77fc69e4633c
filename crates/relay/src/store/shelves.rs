//! The rows a batch has seen and changed, over the rows that are on disk.

use std::collections::BTreeMap;

use emptyroom_wire::codec;
use emptyroom_wire::rng::CryptoRng;
use emptyroom_wire::time::Day;
use tls_codec::{DeserializeBytes, Serialize};
use zeroize::Zeroizing;

use super::rowseal::{Content, Padding, RowSeal};
use super::runs::Shelf;
use super::{Changes, EntryChange, Expected, LastingChange, RowKey, Rows, StoreFailure};

/// A batch's view of the rows: what it wrote itself, else what is there.
pub(crate) struct Shelves<'a, R> {
    rows: &'a mut R,
    rng: &'a mut dyn CryptoRng,
    entries: BTreeMap<(Day, RowKey), Option<Vec<u8>>>,
    lasting: BTreeMap<RowKey, Lasting>,
}

/// Where an entry's row goes.
pub(crate) struct EntryAt {
    pub(crate) shelf: Shelf,
    /// The last day of its log.
    pub(crate) life: Day,
    pub(crate) key: RowKey,
}

enum Lasting {
    Put(Day, Vec<u8>),
    Move(Day),
    Remove,
}

impl<'a, R: Rows> Shelves<'a, R> {
    pub(crate) fn new(rows: &'a mut R, rng: &'a mut dyn CryptoRng) -> Self {
        Shelves {
            rows,
            rng,
            entries: BTreeMap::new(),
            lasting: BTreeMap::new(),
        }
    }

    /// Says what will be looked up.
    pub(crate) fn expect(&mut self, expected: &Expected) -> Result<(), StoreFailure> {
        self.rows.expect(expected)
    }

    /// As [`Rows::is_elsewhere`].
    pub(crate) fn is_elsewhere(&self, key: &RowKey) -> bool {
        self.rows.is_elsewhere(key)
    }

    pub(crate) fn rng(&mut self) -> &mut dyn CryptoRng {
        self.rng
    }

    /// A lasting row, opened and decoded.
    pub(crate) fn load<T: DeserializeBytes>(
        &mut self,
        key: &RowKey,
        seal: &RowSeal,
    ) -> Result<Option<T>, StoreFailure> {
        let Some(content) = self.content(Shelf::Life, key, seal)? else {
            return Ok(None);
        };
        codec::decode(&content)
            .map(Some)
            .map_err(|_| StoreFailure::Broken("a row does not decode"))
    }

    /// Writes a lasting row.
    pub(crate) fn save<T: Serialize>(
        &mut self,
        key: RowKey,
        seal: &RowSeal,
        day: Day,
        value: &T,
    ) -> Result<(), StoreFailure> {
        let content = codec::encode(value)
            .map(Zeroizing::new)
            .map_err(|_| StoreFailure::Broken("a row does not encode"))?;
        let row = seal.seal(&key, &[&content], Padding::Block, self.rng)?;
        self.lasting.insert(key, Lasting::Put(day, row));
        Ok(())
    }

    /// The content of an entry's row.
    pub(crate) fn content(
        &mut self,
        shelf: Shelf,
        key: &RowKey,
        seal: &RowSeal,
    ) -> Result<Option<Content>, StoreFailure> {
        let row = match shelf {
            Shelf::Day(day) => match self.entries.get(&(day, *key)) {
                Some(changed) => changed.clone(),
                None => self.rows.entry(day, key)?,
            },
            Shelf::Life => match self.lasting.get(key) {
                Some(Lasting::Put(_, row)) => Some(row.clone()),
                Some(Lasting::Remove) => None,
                Some(Lasting::Move(_)) | None => self.rows.lasting(key)?,
            },
        };
        row.map(|row| seal.open(key, row)).transpose()
    }

    /// Writes an entry's row.
    pub(crate) fn put_entry(
        &mut self,
        at: EntryAt,
        seal: &RowSeal,
        content: &[&[u8]],
    ) -> Result<(), StoreFailure> {
        let padding = match at.shelf {
            Shelf::Day(_) => Padding::Exact,
            Shelf::Life => Padding::Block,
        };
        let row = seal.seal(&at.key, content, padding, self.rng)?;
        match at.shelf {
            Shelf::Day(day) => {
                self.entries.insert((day, at.key), Some(row));
            }
            Shelf::Life => {
                self.lasting.insert(at.key, Lasting::Put(at.life, row));
            }
        }
        Ok(())
    }

    /// Removes a row, if it is there.
    pub(crate) fn remove(&mut self, shelf: Shelf, key: RowKey) {
        match shelf {
            Shelf::Day(day) => {
                self.entries.insert((day, key), None);
            }
            Shelf::Life => {
                self.lasting.insert(key, Lasting::Remove);
            }
        }
    }

    /// Gives a lasting row another last day, if it is there.
    pub(crate) fn move_to(&mut self, key: RowKey, day: Day) {
        match self.lasting.get_mut(&key) {
            Some(Lasting::Put(at, _) | Lasting::Move(at)) => *at = day,
            Some(Lasting::Remove) => {}
            None => {
                self.lasting.insert(key, Lasting::Move(day));
            }
        }
    }

    pub(crate) fn into_changes(self) -> Changes {
        let entries = self.entries.into_iter();
        let lasting = self.lasting.into_iter();
        Changes {
            entries: entries
                .map(|((day, key), row)| EntryChange { day, key, row })
                .collect(),
            lasting: lasting
                .map(|(key, change)| match change {
                    Lasting::Put(day, row) => LastingChange::Put { key, day, row },
                    Lasting::Move(day) => LastingChange::Move { key, day },
                    Lasting::Remove => LastingChange::Remove { key },
                })
                .collect(),
        }
    }
}
