//! The chain of key records in a database: every node appends the records of its keys to it, and serves all of them.
//!
//! It has a connection of its own, to the first database of the list.

use emptyroom_relay::store::StoreFailure;
use emptyroom_wire::codec;
use emptyroom_wire::limits::KEY_RECORD_LIFE_MS;
use emptyroom_wire::relay_key::{IdentityHash, KeyRecord};
use emptyroom_wire::sign::VerifyKey;
use emptyroom_wire::time::{SECOND_MS, Wall};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Error, Row};

use super::address::Address;
use super::link::{Link, Phase, Session, failure};
use super::standing::{IS_AWAY, Standing};
use crate::chain::Appended;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS key_chain (
    number int8 PRIMARY KEY,
    previous bytea NOT NULL UNIQUE,
    hash bytea NOT NULL,
    record bytea NOT NULL)";
/// Of two that follow the same record the second fails, and one that follows another than the last is not written.
// [SPEC 6.231]
const APPEND: &str = "INSERT INTO key_chain (number, previous, hash, record)
    SELECT $1::int8, $2::bytea, $3::bytea, $4::bytea
    WHERE NOT EXISTS (SELECT 1 FROM key_chain WHERE number >= $1)
      AND (NOT EXISTS (SELECT 1 FROM key_chain)
        OR (SELECT hash FROM key_chain ORDER BY number DESC LIMIT 1) = $2)";
const AFTER: &str = "SELECT record FROM key_chain WHERE number > $1 ORDER BY number";
// [SPEC 6.41]
const PRUNE: &str = "DELETE FROM key_chain
    WHERE number < $1 AND number < (SELECT max(number) FROM key_chain)";

const STRANGE: StoreFailure =
    StoreFailure::Away("the chain of key records in the database is damaged");

/// The chain, as the database has it.
pub struct SharedChain {
    link: Link,
    identity: VerifyKey,
    /// Of the newest record that was read or appended.
    last_known: u64,
    /// Which of several databases are away.
    standing: Option<Standing>,
}

impl SharedChain {
    /// Connects, and makes the table where it is missing; with the records that a relay had before it had nodes, if the chain is
    /// empty. All that are kept come back, oldest first.
    ///
    /// # Errors
    /// The database cannot be reached, or holds something else.
    pub fn open(
        address: &Address,
        identity: VerifyKey,
        before: &[KeyRecord],
    ) -> Result<(Self, Vec<KeyRecord>), StoreFailure> {
        let mut chain = Self {
            link: Link::new(address)?,
            identity,
            last_known: 0,
            standing: None,
        };
        chain.run(async |session| session.client.batch_execute(TABLE).await)?;
        let mut records = chain.after(0)?;
        if records.is_empty() {
            for record in before {
                chain.insert(record)?;
            }
            records = chain.after(0)?;
        }
        Ok((chain, records))
    }

    /// The records that a database has, if it has a chain; nothing is changed there.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) fn look(
        address: &Address,
        identity: VerifyKey,
    ) -> Result<Vec<KeyRecord>, StoreFailure> {
        let mut chain = Self {
            link: Link::new(address)?,
            identity,
            last_known: 0,
            standing: None,
        };
        let rows =
            chain.run(
                async |session| match session.client.query(AFTER, &[&-1_i64]).await {
                    Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => {
                        Ok(Vec::new())
                    }
                    outcome => outcome,
                },
            )?;
        chain.read(rows)
    }

    /// From now on nothing waits for the database while it is known to be away.
    pub(crate) fn heed(&mut self, standing: Option<Standing>) {
        self.standing = standing.filter(|standing| standing.databases() > 1);
    }

    pub(crate) fn append(
        &mut self,
        now: Wall,
        record: &KeyRecord,
    ) -> Result<Appended, StoreFailure> {
        let known = self.last_known;
        let inserted = self.insert(record);
        // [SPEC 6.218]
        match (&self.standing, &inserted) {
            (Some(standing), Err(StoreFailure::Full)) => standing.notice_full(0, true),
            (Some(standing), Ok(true)) => standing.notice_full(0, false),
            _ => {}
        }
        if !inserted? {
            return Ok(Appended::Overtaken(self.after(known)?));
        }
        let oldest = now.0.saturating_sub(KEY_RECORD_LIFE_MS) / SECOND_MS;
        let oldest = signed(oldest)?;
        // What is left for longer does no harm: the next one removes it.
        let _ = self.run(async |session| session.client.execute(PRUNE, &[&oldest]).await);
        Ok(Appended::Last)
    }

    pub(crate) fn after(&mut self, number: u64) -> Result<Vec<KeyRecord>, StoreFailure> {
        let after = signed(number)?;
        let rows = self.run(async |session| session.client.query(AFTER, &[&after]).await)?;
        self.read(rows)
    }

    fn read(&mut self, rows: Vec<Row>) -> Result<Vec<KeyRecord>, StoreFailure> {
        let mut records = Vec::with_capacity(rows.len());
        for row in rows {
            let encoded: &[u8] = row.try_get(0).map_err(|_| STRANGE)?;
            let record: KeyRecord = codec::decode(encoded).map_err(|_| STRANGE)?;
            record.verify(&self.identity).map_err(|_| STRANGE)?;
            records.push(record);
        }
        if let Some(last) = records.last() {
            self.last_known = self.last_known.max(last.number);
        }
        Ok(records)
    }

    /// Whether it was appended: it followed the last one.
    fn insert(&mut self, record: &KeyRecord) -> Result<bool, StoreFailure> {
        let number = signed(record.number)?;
        let (previous, hash) = (
            record.previous.to_vec(),
            record.hash(&IdentityHash::of(&self.identity)).to_vec(),
        );
        let encoded = codec::encode(record).map_err(|_| STRANGE)?;
        let inserted = self.run(async |session| {
            let row: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
                [&number, &previous, &hash, &encoded];
            match session.client.execute(APPEND, &row).await {
                Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => Ok(0),
                outcome => outcome,
            }
        })?;
        if inserted == 1 {
            self.last_known = record.number;
        }
        Ok(inserted == 1)
    }

    /// One statement, which is a transaction: if it is not known what became of it, the chain says so when it is read next.
    fn run<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Session) -> Result<T, Error>,
    ) -> Result<T, StoreFailure> {
        // [SPEC 6.211]
        if self.standing.as_ref().is_some_and(|all| all.is_away(0)) {
            return Err(IS_AWAY);
        }
        self.link.connect()?;
        let outcome = self.link.run(Phase::Before, async |session| {
            let outcome = work(session).await;
            outcome.map_err(|error| failure(&error, Phase::Before))
        });
        outcome.map_err(|failure| match failure {
            StoreFailure::Conflict => StoreFailure::Away("the connection ended"),
            failure => failure,
        })
    }
}

/// Numbers are seconds since 1970.
fn signed(number: u64) -> Result<i64, StoreFailure> {
    i64::try_from(number).map_err(|_| STRANGE)
}
