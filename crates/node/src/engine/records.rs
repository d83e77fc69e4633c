//! The vault as the client reads it. A record that cannot be read is not a record that is missing: the first failure is
//! kept, and the engine stops on it.

use std::cell::RefCell;

use emptyroom_core::{Records, Value};
use emptyroom_vault::{ReadError, Vault};

use super::own::read_failure;
use crate::api::Failure;

// Whatever the client wants stored, the vault takes.
const _: () = assert!(emptyroom_core::VALUE_LEN_MAX <= emptyroom_vault::VALUE_LEN_MAX);

pub(super) struct Stored<'a> {
    vault: &'a Vault,
    failed: RefCell<Option<ReadError>>,
}

impl<'a> Stored<'a> {
    pub(super) fn new(vault: &'a Vault) -> Self {
        Self {
            vault,
            failed: RefCell::new(None),
        }
    }

    /// What went wrong since then, if something did.
    pub(super) fn failure(&self) -> Option<Failure> {
        self.failed.borrow().map(read_failure)
    }

    fn keep<T: Default>(&self, outcome: Result<T, ReadError>) -> T {
        outcome.unwrap_or_else(|error| {
            self.failed.borrow_mut().get_or_insert(error);
            T::default()
        })
    }
}

impl Records for Stored<'_> {
    fn get(&self, key: &[u8]) -> Option<Value> {
        self.keep(self.vault.get(key))
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Vec<(Vec<u8>, Value)> {
        self.keep(self.vault.scan(prefix, after, limit, reverse))
    }
}
