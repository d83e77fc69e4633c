//! The vault against plain SQLite: the same records, one after the other, in one run.
//!
//! SQLite is as durable here as the vault: WAL and synchronous FULL. It neither encrypts nor forgets; that is the point of
//! comparing.

use emptyroom_load::report::{Section, ratio, share, time};
use emptyroom_load::scratch::Scratch;
use emptyroom_load::{Trouble, cpu};
use emptyroom_vault::os::OsDirectory;
use emptyroom_vault::{Change, KdfParams, Passphrase, Vault};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use rusqlite::{Connection, params};
use std::path::Path;
use std::time::Duration;

/// Messages in the bulk part.
const MESSAGES: u32 = 100_000;
/// Messages of one bulk transaction.
const TOGETHER: u32 = 1_000;
/// Messages inserted, and deleted, one by one.
const SINGLES: u32 = 1_000;
/// Bytes of one record: a short message with its marks.
const RECORD_BYTES: usize = 180;
const SEED: [u8; 32] = [7; 32];
/// Stands in one message of a thousand.
const NEEDLE: &str = "larkin";

/// What both are asked to do.
trait Table {
    fn insert(&mut self, records: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), Trouble>;
    fn read_all(&self) -> Result<usize, Trouble>;
    fn search(&self) -> Result<usize, Trouble>;
    fn delete(&mut self, name: &[u8]) -> Result<(), Trouble>;
}

struct Costs {
    bulk: Duration,
    single: Duration,
    read: Duration,
    search: Duration,
    delete: Duration,
}

pub(crate) fn measure() -> Result<Section, Trouble> {
    let directory = Scratch::new("vault")?;
    let mut section = Section::new(
        "Vault",
        format!(
            "{MESSAGES} records of {RECORD_BYTES} bytes in the vault, and the same in plain SQLite (WAL, synchronous FULL). Bulk is {TOGETHER} records in \
             a transaction; single insert and delete are durable one by one, {SINGLES} of each. CPU time per record, or for all where it says so."
        ),
    );
    let secret = Passphrase::new(b"a passphrase for the bench".to_vec());
    let rng = || Box::new(ChaCha20Rng::from_seed(SEED));
    let place = OsDirectory::create(&directory.path.join("vault"))?;
    let vault = Vault::create(Box::new(place), &secret, KdfParams::minimum(), rng())?;
    let vault_costs = costs(&mut VaultTable(vault))?;
    let sqlite_costs = costs(&mut SqliteTable::new(&directory.path)?)?;
    let pairs = [
        (
            "insert, bulk",
            vault_costs.bulk,
            sqlite_costs.bulk,
            MESSAGES,
            "at most 3 times",
        ),
        (
            "insert, single",
            vault_costs.single,
            sqlite_costs.single,
            SINGLES,
            "vault under 2 ms",
        ),
        ("read", vault_costs.read, sqlite_costs.read, MESSAGES, ""),
        (
            "delete, single",
            vault_costs.delete,
            sqlite_costs.delete,
            SINGLES,
            "",
        ),
        (
            "search in all",
            vault_costs.search,
            sqlite_costs.search,
            1,
            "vault under 0.5 s",
        ),
    ];
    for (what, vault, sqlite, count, aim) in pairs {
        let value = format!(
            "vault {}, SQLite {}: {}",
            time(share(vault, count)),
            time(share(sqlite, count)),
            ratio(vault, sqlite)
        );
        section.aimed(what, value, aim);
    }
    Ok(section)
}

fn costs(table: &mut dyn Table) -> Result<Costs, Trouble> {
    let mut rng = ChaCha20Rng::from_seed(SEED);
    let mut bulk = Duration::ZERO;
    for start in (0..MESSAGES).step_by(usize::try_from(TOGETHER)?) {
        let records = (start..start + TOGETHER)
            .map(|number| record(number, &mut rng))
            .collect();
        let (time, result) = cpu::of(|| table.insert(records));
        result?;
        bulk += time;
    }
    let (read, count) = cpu::of(|| table.read_all());
    expect(count?, MESSAGES)?;
    let (search, found) = cpu::of(|| table.search());
    expect(found?, MESSAGES / 1_000)?;
    let mut single = Duration::ZERO;
    for number in MESSAGES..MESSAGES + SINGLES {
        let records = vec![record(number, &mut rng)];
        let (time, result) = cpu::of(|| table.insert(records));
        result?;
        single += time;
    }
    let mut delete = Duration::ZERO;
    for number in (0..SINGLES).map(|number| number * 97) {
        let (time, result) = cpu::of(|| table.delete(&name(number)));
        result?;
        delete += time;
    }
    expect(table.read_all()?, MESSAGES)?;
    Ok(Costs {
        bulk,
        single,
        read,
        search,
        delete,
    })
}

fn expect(found: usize, expected: u32) -> Result<(), Trouble> {
    if found == usize::try_from(expected)? {
        return Ok(());
    }
    Err(format!("{found} records, not {expected}").into())
}

fn name(number: u32) -> Vec<u8> {
    [b"m/".as_slice(), &number.to_be_bytes()].concat()
}

/// A record of random letters, with the needle in one of a thousand.
fn record(number: u32, rng: &mut ChaCha20Rng) -> (Vec<u8>, Vec<u8>) {
    let mut value = vec![0; RECORD_BYTES];
    rng.fill_bytes(&mut value);
    for byte in &mut value {
        *byte = b'A' + *byte % 26;
    }
    if number.is_multiple_of(1_000) {
        value.extend_from_slice(NEEDLE.as_bytes());
    }
    (name(number), value)
}

struct VaultTable(Vault);

impl VaultTable {
    /// Gives each record to `each`, page by page as a client does.
    fn scan(&self, mut each: impl FnMut(&[u8])) -> Result<(), Trouble> {
        const PAGE: usize = 1_000;
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.0.scan(b"m/", after.as_deref(), PAGE, false)?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            for (_, value) in &page {
                each(value);
            }
        }
    }
}

impl Table for VaultTable {
    fn insert(&mut self, records: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), Trouble> {
        let changes = records.into_iter().map(|(key, value)| Change {
            key,
            value: Some(value),
        });
        Ok(self.0.apply(changes.collect())?)
    }

    fn read_all(&self) -> Result<usize, Trouble> {
        let mut count = 0;
        self.scan(|_| count += 1)?;
        Ok(count)
    }

    fn search(&self) -> Result<usize, Trouble> {
        let mut count = 0;
        self.scan(|value| count += usize::from(contains(value, NEEDLE)))?;
        Ok(count)
    }

    fn delete(&mut self, name: &[u8]) -> Result<(), Trouble> {
        let change = Change {
            key: name.to_vec(),
            value: None,
        };
        Ok(self.0.apply(vec![change])?)
    }
}

/// As a client searches: text in text.
fn contains(value: &[u8], needle: &str) -> bool {
    std::str::from_utf8(value).is_ok_and(|text| text.contains(needle))
}

struct SqliteTable(Connection);

impl SqliteTable {
    fn new(directory: &Path) -> Result<SqliteTable, Trouble> {
        let connection = Connection::open(directory.join("plain.sqlite"))?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE message (name BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;",
        )?;
        Ok(SqliteTable(connection))
    }
}

impl Table for SqliteTable {
    fn insert(&mut self, records: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), Trouble> {
        let transaction = self.0.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO message VALUES (?1, ?2)")?;
            for (name, value) in records {
                insert.execute(params![name, value])?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn read_all(&self) -> Result<usize, Trouble> {
        let mut all = self.0.prepare_cached("SELECT value FROM message")?;
        let mut rows = all.query([])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            let value: Vec<u8> = row.get(0)?;
            count += usize::from(!value.is_empty());
        }
        Ok(count)
    }

    fn search(&self) -> Result<usize, Trouble> {
        let mut search = self
            .0
            .prepare_cached("SELECT count(*) FROM message WHERE instr(value, ?1) > 0")?;
        Ok(search.query_row([NEEDLE.as_bytes()], |row| row.get(0))?)
    }

    fn delete(&mut self, name: &[u8]) -> Result<(), Trouble> {
        let mut delete = self
            .0
            .prepare_cached("DELETE FROM message WHERE name = ?1")?;
        delete.execute([name])?;
        Ok(())
    }
}
