//! One client's vault as the simulator keeps it: records in a map, and the transactions that are not durable yet.

use std::collections::VecDeque;

use emptyroom_core::api::{Change, Ticket};
use emptyroom_core::{MemoryRecords, VALUE_LEN_MAX, Value};

/// Durable records. A clone is a copy of the vault.
#[derive(Clone, Default)]
pub struct Vault(MemoryRecords);

/// A vault, and what is on its way to it.
#[derive(Default)]
pub struct Disk {
    /// What is durable.
    pub vault: Vault,
    pending: VecDeque<(Ticket, Vec<Change>)>,
}

/// What a record of a conversation holds, by the letter in its key (core's `store::key`): the group's state.
const GROUP_LETTERS: &[u8] = b"mj";
/// Every conversation's keys begin with this letter and four bytes of number.
const CONVERSATION: u8 = b'c';
const LETTER_AT: usize = 5;

impl Disk {
    /// A transaction to be written.
    ///
    /// # Panics
    /// If a vault would not take a record for its length.
    pub fn write(&mut self, ticket: Ticket, changes: Vec<Change>) {
        let len = |change: &Change| change.value.as_ref().map_or(0, Vec::len);
        assert!(changes.iter().all(|change| len(change) <= VALUE_LEN_MAX));
        self.pending.push_back((ticket, changes));
    }

    /// The oldest transaction becomes durable.
    pub fn sync(&mut self) -> Option<Ticket> {
        let (ticket, changes) = self.pending.pop_front()?;
        self.vault.0.apply(&changes);
        Some(ticket)
    }

    /// The oldest transaction cannot be written, and so none of the later ones.
    pub fn fail(&mut self) -> Option<Ticket> {
        let (ticket, _) = self.pending.pop_front()?;
        self.pending.clear();
        Some(ticket)
    }

    /// The machine dies: so many of the pending transactions made it, the others never were.
    pub fn crash(&mut self, made_it: usize) {
        for (_, changes) in self.pending.drain(..).take(made_it) {
            self.vault.0.apply(&changes);
        }
        self.pending.clear();
    }

    /// Transactions that are not durable.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }
}

impl Vault {
    /// As a client reads it.
    #[must_use]
    pub fn records(&self) -> &MemoryRecords {
        &self.0
    }

    /// Loses the MLS state of all conversations.
    pub fn lose_groups(&mut self) -> usize {
        let before = self.0.0.len();
        self.0.0.retain(|key, _| {
            let letter = key.get(LETTER_AT).copied().unwrap_or(0);
            key.first() != Some(&CONVERSATION) || !GROUP_LETTERS.contains(&letter)
        });
        before - self.0.0.len()
    }

    /// Puts a record where no client would.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.0.0.insert(key.to_vec(), Value::new(value.to_vec()));
    }

    /// Whether any record holds these bytes.
    #[must_use]
    pub fn holds(&self, needle: &[u8]) -> bool {
        self.0.0.values().any(|value| contains(value, needle))
    }

    /// All values, for whoever owns the vault.
    pub fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.0.0.values().map(|value| value.as_slice())
    }

    /// The record under a key.
    #[must_use]
    pub fn record(&self, key: &[u8]) -> Option<(&[u8], &[u8])> {
        let (key, value) = self.0.0.get_key_value(key)?;
        Some((key, value))
    }

    /// Another part of the conversation that the record under `key` belongs to.
    #[must_use]
    pub fn of_conversation(&self, key: &[u8], letter: u8) -> Option<&[u8]> {
        let mut other = key.get(..LETTER_AT)?.to_vec();
        other.push(letter);
        self.0.0.get(&other).map(|value| value.as_slice())
    }

    /// The records under keys of a conversation's part, in order of their keys.
    pub fn parts(&self, letter: u8) -> impl Iterator<Item = (&[u8], &[u8])> {
        let fits = move |key: &[u8]| {
            key.first() == Some(&CONVERSATION) && key.get(LETTER_AT) == Some(&letter)
        };
        let found = self.0.0.iter().filter(move |(key, _)| fits(key));
        found.map(|(key, value)| (key.as_slice(), value.as_slice()))
    }
}

/// Whether `needle` is in `bytes`.
#[must_use]
pub fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}
