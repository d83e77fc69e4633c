//! The chain of key records: what the relay has said about its stream keys, kept as long as it is served.
//!
//! One small file, written anew with every record: once an hour, some hundred kilobytes, two megabytes at most. A record
//! is durable before its key is used, so that a relay never shows a chain that it could forget.

use std::path::PathBuf;

use emptyroom_relay::kept_records;
use emptyroom_relay::store::StoreFailure;
use emptyroom_wire::codec;
use emptyroom_wire::relay_key::{IdentityHash, KeyRecord};
use emptyroom_wire::sign::VerifyKey;
use emptyroom_wire::time::{SECOND_MS, Wall};

use super::{DataDir, DataError, read_file, write_private};

const FILE: &str = "key-chain";
/// Format and version.
const MAGIC: &[u8; 8] = b"ERCHAIN1";
/// The records that are kept at most take two mebibytes.
const FILE_LEN_MAX: u64 = 16 << 20;
const LENGTH_BYTES: usize = 2;

/// The records on disk, oldest first.
pub struct Chain {
    path: PathBuf,
    records: Vec<KeyRecord>,
}

impl Chain {
    /// Reads the chain; an empty one if there is no file.
    ///
    /// # Errors
    /// The file cannot be read, or is not a chain signed by this identity.
    pub fn load(data: &DataDir, identity: &VerifyKey) -> Result<Self, DataError> {
        let path = data.join(FILE);
        let Some(bytes) = read_file(&path, FILE_LEN_MAX)? else {
            return Ok(Self {
                path,
                records: Vec::new(),
            });
        };
        match parse(&bytes, identity) {
            Ok(records) => Ok(Self { path, records }),
            Err(what) => Err(DataError::Damaged { path, what }),
        }
    }

    /// The records, oldest first.
    #[must_use]
    pub fn records(&self) -> &[KeyRecord] {
        &self.records
    }

    /// When the newest record was made: the last time that this relay is known to have run.
    #[must_use]
    pub fn last_ran(&self) -> Option<Wall> {
        let newest = self.records.last()?;
        Some(Wall(newest.number.saturating_mul(SECOND_MS)))
    }

    /// Makes a record durable, and drops those that are no longer served.
    ///
    /// # Errors
    /// [`StoreFailure::Full`]: the file is as it was. [`StoreFailure::Broken`]: nobody knows.
    pub fn append(&mut self, now: Wall, record: KeyRecord) -> Result<(), StoreFailure> {
        let mut records = self.records.clone();
        records.push(record);
        self.replace(now, &records)
    }

    /// Makes these durable, and no others, but for those that are no longer served.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub(crate) fn replace(&mut self, now: Wall, records: &[KeyRecord]) -> Result<(), StoreFailure> {
        // [SPEC 6.41] [SPEC 6.42]
        let records = kept_records(now, records).to_vec();
        let mut bytes = MAGIC.to_vec();
        for record in &records {
            let encoded =
                codec::encode(record).map_err(|_| StoreFailure::Broken("encoding a key record"))?;
            let length = u16::try_from(encoded.len())
                .map_err(|_| StoreFailure::Broken("encoding a key record"))?;
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(&encoded);
        }
        write_private(&self.path, &bytes).map_err(|e| e.failure("writing the key chain"))?;
        self.records = records;
        Ok(())
    }
}

/// Every record signed, and each naming the one before.
pub(crate) fn parse(bytes: &[u8], identity: &VerifyKey) -> Result<Vec<KeyRecord>, &'static str> {
    let relay = IdentityHash::of(identity);
    let mut rest = bytes
        .strip_prefix(MAGIC)
        .ok_or("not a key chain of this version")?;
    let mut records: Vec<KeyRecord> = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest
            .split_first_chunk::<LENGTH_BYTES>()
            .ok_or("cut short")?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (encoded, after) = after.split_at_checked(length).ok_or("cut short")?;
        let record: KeyRecord = codec::decode(encoded).map_err(|_| "a record cannot be read")?;
        record
            .verify(identity)
            .map_err(|_| "a record is not signed by this relay")?;
        if records
            .last()
            .is_some_and(|before| before.hash(&relay) != record.previous)
        {
            return Err("a record does not follow the one before");
        }
        records.push(record);
        rest = after;
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy;
    use crate::testing::scratch;
    use emptyroom_wire::relay_key::RelayIdentity;
    use emptyroom_wire::secret::Secret32;
    use emptyroom_wire::time::HOUR_MS;
    use std::fs;

    const START: Wall = Wall(1_800_000_000_000);

    fn identity(byte: u8) -> RelayIdentity {
        RelayIdentity::from_seed(&Secret32::new([byte; 32]))
    }

    fn grow(chain: &mut Chain, identity: &RelayIdentity, now: Wall) {
        let key = identity.next_stream_key(chain.records().last(), now, &mut entropy::generator());
        chain.append(now, key.signed().record.clone()).unwrap();
    }

    #[test]
    fn records_stay_for_thirty_days() {
        let dir = scratch("chain");
        let data = DataDir::open(dir.path()).unwrap();
        let identity = identity(1);
        let mut chain = Chain::load(&data, &identity.verify_key()).unwrap();
        assert!(chain.records().is_empty());
        for hours in [0, 1, 2, 721] {
            grow(&mut chain, &identity, START.plus_ms(hours * HOUR_MS));
        }
        assert_eq!(chain.records().len(), 3);
        let again = Chain::load(&data, &identity.verify_key()).unwrap();
        assert!(again.records() == chain.records());
        // Away for longer than that: the head is still there to be followed.
        grow(&mut chain, &identity, START.plus_ms(2_000 * HOUR_MS));
        let again = Chain::load(&data, &identity.verify_key()).unwrap();
        assert_eq!(again.records().len(), 1);
    }

    #[test]
    fn a_damaged_or_strange_chain_is_an_error() {
        let dir = scratch("chain-damaged");
        let data = DataDir::open(dir.path()).unwrap();
        let mine = identity(1);
        let mut chain = Chain::load(&data, &mine.verify_key()).unwrap();
        for hours in 0..3 {
            grow(&mut chain, &mine, START.plus_ms(hours * HOUR_MS));
        }
        assert!(matches!(
            Chain::load(&data, &identity(2).verify_key()),
            Err(DataError::Damaged { .. })
        ));
        let good = fs::read(data.join(FILE)).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(parse(&bad, &mine.verify_key()).is_err(), "byte {at}");
        }
        let record_len = (good.len() - MAGIC.len()) / 3;
        for len in 0..good.len() {
            let whole = len >= MAGIC.len() && (len - MAGIC.len()).is_multiple_of(record_len);
            assert_eq!(
                parse(&good[..len], &mine.verify_key()).is_ok(),
                whole,
                "length {len}"
            );
        }
    }
}
