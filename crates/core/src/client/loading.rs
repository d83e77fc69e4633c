//! A client from its records, or why not.

use emptyroom_wire::rng::CryptoRng;
use emptyroom_wire::secret::Secret32;

use super::VERSION;
use crate::account::AccountRoot;
use crate::records::{self, RecordFault};
use crate::store::key;
use crate::store::{Store, Value};

/// Why stored records cannot be used. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// Written by a later version of this program.
    Newer,
    /// A record is not what was written.
    Damaged,
}

/// The account's root; a fresh one over no records at all.
pub(super) fn root(
    store: &mut Store<'_>,
    rng: &mut dyn CryptoRng,
) -> Result<AccountRoot, LoadError> {
    match store.get(key::ACCOUNT) {
        Some(record) => {
            let secret: [u8; 32] = records::decode(VERSION, &record)?;
            Ok(AccountRoot::from_secret(Secret32::new(secret)))
        }
        None if store.scan(&[], None, 1, false).is_empty() => {
            let root = AccountRoot::generate(rng);
            let record = records::encode(VERSION, root.secret().expose());
            store.put(key::ACCOUNT.to_vec(), Value::new(record));
            Ok(root)
        }
        None => Err(LoadError::Damaged),
    }
}

impl From<RecordFault> for LoadError {
    fn from(fault: RecordFault) -> Self {
        match fault {
            RecordFault::Newer { .. } => Self::Newer,
            RecordFault::Malformed => Self::Damaged,
        }
    }
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Newer => "the records were written by a later version of this program",
            Self::Damaged => "a record is not what was written",
        })
    }
}

impl std::error::Error for LoadError {}
