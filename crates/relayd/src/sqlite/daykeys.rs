//! One random key per expiry day. Every row is sealed once more under the key of its day; when the day is
//! over its key is overwritten and removed, and nothing of that day opens any more, wherever copies of the
//! rows may have stayed.
//!
//! (Flash may keep the overwritten sector for a while. Until then a thief of the device still needs the
//! capability of each log.)

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use emptyroom_relay::store::{RowKey, StoreFailure};
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::time::Day;
use rand_chacha::ChaCha20Rng;
use zeroize::Zeroizing;

use crate::data::{io_failure, read_small, sync_directory, write_private};
use crate::entropy;
use crate::seal::{self, Table, row_aad};

/// Format and version of a key file.
const MAGIC: &[u8; 8] = b"ERDAYK01";
const KEY_LEN: usize = 32;
const FILE_LEN: usize = MAGIC.len() + KEY_LEN;
const NO_KEY: StoreFailure = StoreFailure::Broken("a day without its key");

/// The keys of all days that are not over.
pub(super) struct DayKeys {
    directory: PathBuf,
    keys: BTreeMap<Day, Secret32>,
    rng: ChaCha20Rng,
}

impl DayKeys {
    /// Reads all keys of a directory. An overwritten file is what a kill in the middle of [`Self::destroy`]
    /// leaves, and is removed; any other that holds no key is damage, and stays.
    pub(super) fn open(directory: &Path) -> Result<Self, StoreFailure> {
        let mut keys = Self {
            directory: directory.to_owned(),
            keys: BTreeMap::new(),
            rng: entropy::generator(),
        };
        for day in days_of_files(directory, ".new")? {
            // Killed while it was written: nothing was sealed under it.
            destroy_file(&directory.join(format!("day-{}.new", day.0)))?;
        }
        for day in days_of_files(directory, ".key")? {
            let bytes = read_small(&keys.path(day)).map_err(|e| e.failure("reading a day key"))?;
            let bytes = bytes.unwrap_or_default();
            // [SPEC 6.65]
            match parse(&bytes) {
                Some(key) => {
                    keys.keys.insert(day, key);
                }
                None if *bytes == [0; FILE_LEN] => keys.destroy(day)?,
                None => return Err(StoreFailure::Broken("a day key is damaged")),
            }
        }
        Ok(keys)
    }

    pub(super) fn contains(&self, day: Day) -> bool {
        self.keys.contains_key(&day)
    }

    /// The days before `today` that still have a key.
    pub(super) fn over(&self, today: Day) -> Vec<Day> {
        self.keys.range(..today).map(|(day, _)| *day).collect()
    }

    /// Makes a day's key durable before anything is sealed under it.
    pub(super) fn make(&mut self, day: Day) -> Result<(), StoreFailure> {
        if self.contains(day) {
            return Ok(());
        }
        let mut key = Secret32::zero();
        entropy::fill(key.expose_mut());
        let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_LEN));
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(key.expose());
        write_private(&self.path(day), &bytes).map_err(|e| e.failure("writing a day key"))?;
        self.keys.insert(day, key);
        Ok(())
    }

    /// Overwrites a day's key, syncs, removes it.
    // [SPEC 6.65]
    pub(super) fn destroy(&mut self, day: Day) -> Result<(), StoreFailure> {
        destroy_file(&self.path(day))?;
        self.keys.remove(&day);
        Ok(())
    }

    /// Seals a row under its day's key, which must have been made.
    pub(super) fn seal(
        &mut self,
        (table, day): (Table, Day),
        key: &RowKey,
        row: &[u8],
    ) -> Result<Vec<u8>, StoreFailure> {
        let day_key = self.keys.get(&day).ok_or(NO_KEY)?;
        seal::seal(day_key, &row_aad(table, day, key), row, &mut self.rng)
    }

    /// Opens a row.
    pub(super) fn open_row(
        &self,
        (table, day): (Table, Day),
        key: &RowKey,
        sealed: &[u8],
    ) -> Result<Vec<u8>, StoreFailure> {
        let day_key = self.keys.get(&day).ok_or(NO_KEY)?;
        seal::open(day_key, &row_aad(table, day, key), sealed.to_vec()).ok_or(StoreFailure::Broken(
            "a row that does not open under its day's key",
        ))
    }

    fn path(&self, day: Day) -> PathBuf {
        self.directory.join(format!("day-{}.key", day.0))
    }
}

fn parse(bytes: &[u8]) -> Option<Secret32> {
    Secret32::from_slice(bytes.strip_prefix(MAGIC)?)
}

fn destroy_file(path: &Path) -> Result<(), StoreFailure> {
    overwrite(path).map_err(|e| io_failure(&e, "overwriting a day key"))?;
    sync_directory(path).map_err(|e| e.failure("sync of the store's directory"))
}

fn overwrite(path: &Path) -> io::Result<()> {
    let mut file = match OpenOptions::new().write(true).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    file.write_all(&[0; FILE_LEN])?;
    file.sync_all()?;
    drop(file);
    fs::remove_file(path)
}

/// The days that have a file `day-N` with this ending.
pub(super) fn days_of_files(directory: &Path, ending: &str) -> Result<Vec<Day>, StoreFailure> {
    let broken = |e: io::Error| io_failure(&e, "listing the store's directory");
    let mut days = Vec::new();
    for file in fs::read_dir(directory).map_err(broken)? {
        let name = file.map_err(broken)?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix("day-")?.strip_suffix(ending));
        if let Some(day) = number.and_then(|number| number.parse().ok()) {
            days.push(Day(day));
        }
    }
    Ok(days)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scratch;

    const AT: (Table, Day) = (Table::Entries, Day(20_000));
    const KEY: RowKey = RowKey([7; 32]);

    #[test]
    fn rows_open_only_where_they_were_sealed() {
        let dir = scratch("daykeys");
        let mut keys = DayKeys::open(dir.path()).unwrap();
        for day in [20_000, 20_001] {
            keys.make(Day(day)).unwrap();
        }
        let sealed = keys.seal(AT, &KEY, b"row").unwrap();
        assert_eq!(keys.open_row(AT, &KEY, &sealed).unwrap(), b"row");
        assert_ne!(keys.seal(AT, &KEY, b"row").unwrap(), sealed);
        assert!(
            keys.open_row((Table::Lasting, AT.1), &KEY, &sealed)
                .is_err()
        );
        assert!(keys.open_row((AT.0, Day(20_001)), &KEY, &sealed).is_err());
        assert!(keys.open_row(AT, &RowKey([8; 32]), &sealed).is_err());
        for at in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert!(keys.open_row(AT, &KEY, &bad).is_err());
            assert!(keys.open_row(AT, &KEY, &sealed[..at]).is_err());
        }
        let again = DayKeys::open(dir.path()).unwrap();
        assert_eq!(again.open_row(AT, &KEY, &sealed).unwrap(), b"row");
    }

    // [SPEC 6.65]
    #[test]
    fn destroyed_key_is_overwritten_before_it_is_removed() {
        let dir = scratch("daykeys-destroy");
        let mut keys = DayKeys::open(dir.path()).unwrap();
        keys.make(AT.1).unwrap();
        let path = keys.path(AT.1);
        // A second name for the same file shows what was written into it.
        let witness = dir.path().join("witness");
        fs::hard_link(&path, &witness).unwrap();
        let sealed = keys.seal(AT, &KEY, b"row").unwrap();
        keys.destroy(AT.1).unwrap();
        assert!(!path.exists());
        assert_eq!(fs::read(&witness).unwrap(), vec![0; FILE_LEN]);
        assert!(keys.open_row(AT, &KEY, &sealed).is_err());
        // Killed between overwriting and removing, or while a key was written: the next start removes it.
        let unfinished = dir.path().join("day-20007.new");
        fs::write(&unfinished, MAGIC).unwrap();
        fs::rename(&witness, &path).unwrap();
        assert!(!DayKeys::open(dir.path()).unwrap().contains(AT.1));
        assert!(!path.exists() && !unfinished.exists());
    }

    // [SPEC 6.65]
    #[test]
    fn a_damaged_key_is_an_error_and_stays_as_it_is() {
        let dir = scratch("daykeys-damaged");
        let mut keys = DayKeys::open(dir.path()).unwrap();
        keys.make(AT.1).unwrap();
        let path = keys.path(AT.1);
        let good = fs::read(&path).unwrap();
        let mut bad = vec![Vec::new(), good[..20].to_vec(), [&good[..], &[0]].concat()];
        bad.push([&[0; 8], &good[8..]].concat());
        for bad in bad {
            fs::write(&path, &bad).unwrap();
            let opened = DayKeys::open(dir.path());
            assert!(matches!(opened, Err(StoreFailure::Broken(_))));
            assert_eq!(fs::read(&path).unwrap(), bad);
        }
        fs::write(&path, &good).unwrap();
        assert!(DayKeys::open(dir.path()).unwrap().contains(AT.1));
    }
}
