//! Where OpenMLS keeps one group: an ordered map in memory, written out and read back as one record.
//!
//! OpenMLS stores at every step through a trait with sixty methods. Here a step changes this map only; the caller takes
//! [`Store::snapshot`] afterwards and makes it durable together with whatever else the step gave (plaintext, position), in
//! one transaction. One store holds one group, so the group id is no part of its keys.
//!
//! Not stored: the group's configuration (it is the program's, see [`super::config`]), free-standing proposals, key
//! packages, pre-shared keys and signature keys: this protocol has none of them, and writing one is an error.

mod methods;

use std::cell::RefCell;
use std::collections::BTreeMap;

use openmls_traits::storage::{CURRENT_VERSION, Entity};
use serde::Serialize;
use tls_codec::{
    DeserializeBytes as _, Serialize as _, TlsDeserializeBytes, TlsSerialize, TlsSize,
};
use zeroize::Zeroizing;

/// What a group's state consists of. The numbers are part of the record's format.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Part {
    Tree = 1,
    InterimTranscriptHash = 2,
    GroupContext = 3,
    ConfirmationTag = 4,
    GroupState = 5,
    MessageSecrets = 6,
    ResumptionPsks = 7,
    OwnLeafIndex = 8,
    EpochSecrets = 9,
    OwnLeafNodes = 10,
    EncryptionKeyPair = 11,
    EpochKeyPairs = 12,
}

/// Why the store could not answer: always a fault of this program or of the record it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StoreFault {
    /// OpenMLS asked to store something that this protocol does not have.
    Unsupported,
    /// A value could not be encoded or decoded.
    Codec,
}

impl std::fmt::Display for StoreFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unsupported => "the group uses a part of mls that this protocol does not have",
            Self::Codec => "a stored value of the group has another form",
        })
    }
}

impl std::error::Error for StoreFault {}

/// One value of the record.
#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
struct Item {
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Drop for Item {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.value);
    }
}

/// The map. Values are erased when they are replaced.
#[derive(Default)]
pub(super) struct Store {
    values: RefCell<BTreeMap<Vec<u8>, Zeroizing<Vec<u8>>>>,
}

impl Store {
    /// All values as one record.
    pub(super) fn snapshot(&self) -> Zeroizing<Vec<u8>> {
        let values = self.values.borrow();
        let size: usize = values.iter().map(|(k, v)| k.len() + v.len() + 8).sum();
        let mut out = Zeroizing::new(Vec::with_capacity(size));
        for (key, value) in values.iter() {
            // A Vec never refuses bytes, and no value reaches the length that the encoding cannot express (1 GiB).
            let written = tls_codec::VLByteSlice(key)
                .tls_serialize(&mut *out)
                .and_then(|_| tls_codec::VLByteSlice(value).tls_serialize(&mut *out));
            debug_assert!(written.is_ok());
        }
        out
    }

    /// The one value that a message changes.
    pub(super) fn message_keys(&self) -> Zeroizing<Vec<u8>> {
        let values = self.values.borrow();
        let keys = values.get(part(Part::MessageSecrets).as_slice());
        keys.cloned().unwrap_or_default()
    }

    /// Puts back what [`Store::message_keys`] gave.
    pub(super) fn set_message_keys(&self, keys: &[u8]) {
        let keys = Zeroizing::new(keys.to_vec());
        self.values
            .borrow_mut()
            .insert(part(Part::MessageSecrets), keys);
    }

    /// Reads what [`Store::snapshot`] wrote.
    pub(super) fn restore(mut record: &[u8]) -> Result<Self, StoreFault> {
        let mut values = BTreeMap::new();
        while !record.is_empty() {
            let (mut item, rest) =
                Item::tls_deserialize_bytes(record).map_err(|_| StoreFault::Codec)?;
            values.insert(
                std::mem::take(&mut item.key),
                Zeroizing::new(std::mem::take(&mut item.value)),
            );
            record = rest;
        }
        Ok(Self {
            values: RefCell::new(values),
        })
    }

    fn write(&self, key: Vec<u8>, value: &impl Serialize) -> Result<(), StoreFault> {
        let value = postcard::to_allocvec(value).map_err(|_| StoreFault::Codec)?;
        self.values.borrow_mut().insert(key, Zeroizing::new(value));
        Ok(())
    }

    fn read<V: Entity<CURRENT_VERSION>>(&self, key: &[u8]) -> Result<Option<V>, StoreFault> {
        let values = self.values.borrow();
        let Some(value) = values.get(key) else {
            return Ok(None);
        };
        postcard::from_bytes(value)
            .map(Some)
            .map_err(|_| StoreFault::Codec)
    }

    fn delete(&self, key: &[u8]) {
        self.values.borrow_mut().remove(key);
    }
}

fn part(part: Part) -> Vec<u8> {
    vec![part as u8]
}
