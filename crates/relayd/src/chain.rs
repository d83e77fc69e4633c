//! Where the chain of key records is kept: in a file of this relay, or in a database, where all its nodes append theirs.

use emptyroom_relay::store::StoreFailure;
use emptyroom_wire::relay_key::KeyRecord;
use emptyroom_wire::time::{SECOND_MS, Wall};

use crate::data::chain::Chain;
use crate::postgres::chain::SharedChain;

/// What became of a record.
pub(crate) enum Appended {
    /// It is the chain's last one.
    Last,
    /// It is not in the chain: another node's stands where it was to stand. The records after the last one known here.
    Overtaken(Vec<KeyRecord>),
}

/// The chain.
pub(crate) enum KeptChain {
    Own(Chain),
    Shared(Box<SharedChain>),
}

impl KeptChain {
    /// Makes a record durable, if it follows the last one.
    pub(crate) fn append(
        &mut self,
        now: Wall,
        record: KeyRecord,
    ) -> Result<Appended, StoreFailure> {
        match self {
            Self::Own(chain) => chain.append(now, record).map(|()| Appended::Last),
            Self::Shared(chain) => chain.append(now, &record),
        }
    }

    /// The records after the one with this number, oldest first.
    pub(crate) fn after(&mut self, number: u64) -> Result<Vec<KeyRecord>, StoreFailure> {
        match self {
            Self::Own(chain) => {
                let records = chain.records().iter();
                let newer = records.filter(|record| record.number > number);
                Ok(newer.cloned().collect())
            }
            Self::Shared(chain) => chain.after(number),
        }
    }

    /// When the newest of these records was made: the last time that this relay is known to have run.
    pub(crate) fn last_ran(records: &[KeyRecord]) -> Option<Wall> {
        let newest = records.last()?;
        Some(Wall(newest.number.saturating_mul(SECOND_MS)))
    }
}
