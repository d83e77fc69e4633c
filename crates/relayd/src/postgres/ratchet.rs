//! The keys under which all rows in databases are sealed once more: two ratchets in one file outside of them.
//!
//! What is in a database stays in it for a while when it is deleted, and longer in its journals, copies and backups. So every row is sealed under
//! a key that no database sees, and what makes its keys is overwritten:
//!
//! - *Entries* under the key of their last **day**. When the day is over, none of them opens any more, wherever copies lie.
//! - *Lasting rows* under the key of the **turn** of four days in which they were written. Those of the turn before are sealed anew; then its
//!   key goes, and with it all that was replaced or removed in that turn.
//!
//! Each ratchet is one secret, from which that of the next day or turn follows and not the other way round: all nodes of a relay that began
//! with the same file make the same keys, whatever day each has come to. A new node gets a copy of the file of any other.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use emptyroom_relay::store::{RowKey, StoreFailure};
use emptyroom_wire::derive::expand;
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::time::Day;
use rand_chacha::ChaCha20Rng;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::data::{DataError, read_small, sync_directory, write_private};
use crate::entropy;
use crate::seal::{self, Table, row_aad};

/// The file's name in a data directory.
pub const FILE: &str = "day-keys";
/// Format and version.
const MAGIC: &[u8; 8] = b"ERRATC01";
const CHECK_LEN: usize = 8;
const FILE_LEN: usize = MAGIC.len() + 2 * (4 + 32) + CHECK_LEN;
/// Days in a turn.
// [SPEC 6.206]
const TURN_DAYS: u32 = 4;
/// No clock is so far ahead: what is beyond is damage, and not walked to.
const STEPS_MAX: u32 = 1 << 16;

/// Four days, counted from 1970.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Turn(pub u32);

impl Turn {
    /// That of a day.
    #[must_use]
    pub fn of(day: Day) -> Self {
        Self(day.0 / TURN_DAYS)
    }

    /// The one before it.
    #[must_use]
    pub fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

/// One secret that goes forward.
struct Ratchet {
    at: u32,
    secret: Secret32,
    step: &'static str,
    key: &'static str,
    /// Keys that were made, of now and later.
    keys: BTreeMap<u32, Secret32>,
}

impl Ratchet {
    fn days(at: u32, secret: Secret32) -> Self {
        Self {
            at,
            secret,
            step: "emptyroom v1 day step",
            key: "emptyroom v1 day key",
            keys: BTreeMap::new(),
        }
    }

    fn turns(at: u32, secret: Secret32) -> Self {
        Self {
            at,
            secret,
            step: "emptyroom v1 turn step",
            key: "emptyroom v1 turn key",
            keys: BTreeMap::new(),
        }
    }

    /// The secret of a number; `None` if that is over, or never comes.
    // [SPEC 6.205]
    fn secret_at(&self, number: u32) -> Option<Secret32> {
        let steps = number.checked_sub(self.at)?;
        if steps > STEPS_MAX {
            return None;
        }
        let next = |secret: Secret32, _| expand(secret.expose(), self.step, &[]);
        Some((0..steps).fold(self.secret.duplicate(), next))
    }

    fn key(&mut self, number: u32) -> Option<&Secret32> {
        if !self.keys.contains_key(&number) {
            let secret = self.secret_at(number)?;
            let key = expand(secret.expose(), self.key, &[]);
            self.keys.insert(number, key);
        }
        self.keys.get(&number)
    }

    fn known(&self, number: u32) -> Option<&Secret32> {
        self.keys.get(&number)
    }

    fn advance(&mut self, to: u32) -> bool {
        match self.secret_at(to) {
            Some(secret) if to > self.at => {
                (self.at, self.secret) = (to, secret);
                self.keys = self.keys.split_off(&to);
                true
            }
            _ => false,
        }
    }
}

/// The keys of all days and turns that are not over, and their file.
pub struct DayKeys {
    path: PathBuf,
    days: Ratchet,
    turns: Ratchet,
    /// The file is behind.
    is_unsaved: bool,
    rng: ChaCha20Rng,
}

impl DayKeys {
    /// Reads the file of a data directory; `None` if it has none.
    ///
    /// # Errors
    /// It cannot be read, or is not whole.
    pub fn load(directory: &Path) -> Result<Option<Self>, DataError> {
        let path = directory.join(FILE);
        // Killed while it was written, this one never came into its place; it holds keys all the same.
        let unfinished = path.with_extension("new");
        if unfinished.exists() {
            remove(&unfinished)?;
        }
        let beside = beside(&path);
        // Whole, it is the later one: the file was being overwritten with it.
        if let Some(bytes) = read_small(&beside)? {
            if parse(&bytes).is_some() {
                overwrite(&path, &bytes).map_err(|e| DataError::io("overwrite", &path, e))?;
            }
            remove(&beside)?;
        }
        let Some(bytes) = read_small(&path)? else {
            return Ok(None);
        };
        let damaged = DataError::Damaged {
            path: path.clone(),
            what: "its checksum does not fit",
        };
        let ((day, days), (turn, turns)) = parse(&bytes).ok_or(damaged)?;
        Ok(Some(Self {
            path,
            days: Ratchet::days(day, days),
            turns: Ratchet::turns(turn, turns),
            is_unsaved: false,
            rng: entropy::generator(),
        }))
    }

    /// New ones, durable before anything is sealed under them.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn make(directory: &Path, today: Day) -> Result<Self, DataError> {
        let random = || {
            let mut secret = Secret32::zero();
            entropy::fill(secret.expose_mut());
            secret
        };
        let keys = Self {
            path: directory.join(FILE),
            days: Ratchet::days(today.0, random()),
            turns: Ratchet::turns(Turn::of(today).before().0, random()),
            is_unsaved: false,
            rng: entropy::generator(),
        };
        write_private(&keys.path, &keys.bytes())?;
        Ok(keys)
    }

    /// The first day that is not over.
    #[must_use]
    pub fn day(&self) -> Day {
        Day(self.days.at)
    }

    /// Where what expires with a day is kept: with that day, or the first that is not over. A clock that was set back far writes what would be
    /// over already; it goes with the first day that ends.
    #[must_use]
    pub fn kept_with(&self, day: Day) -> Day {
        day.max(self.day())
    }

    /// The oldest turn of which rows open.
    #[must_use]
    pub fn turn(&self) -> Turn {
        Turn(self.turns.at)
    }

    /// From now on nothing opens that was sealed for days before `day` and in turns before `turn`; neither goes back.
    ///
    /// # Errors
    /// The file cannot be written. In memory, and in the file once it can, the keys are gone.
    // [SPEC 6.205]
    pub fn advance(&mut self, day: Day, turn: Turn) -> Result<(), DataError> {
        self.is_unsaved |= self.days.advance(day.0);
        self.is_unsaved |= self.turns.advance(turn.0);
        if !self.is_unsaved {
            return Ok(());
        }
        let bytes = self.bytes();
        let beside = beside(&self.path);
        write_private(&beside, &bytes)?;
        overwrite(&self.path, &bytes).map_err(|e| DataError::io("overwrite", &self.path, e))?;
        remove(&beside)?;
        self.is_unsaved = false;
        Ok(())
    }

    /// What shows that another node's keys are the same, on a day that is not over.
    // [SPEC 6.203]
    #[must_use]
    pub fn check_at(&self, day: Day) -> Option<[u8; 32]> {
        let days = self.days.secret_at(day.0)?;
        let turns = self.turns.secret_at(Turn::of(day).0)?;
        let both = Zeroizing::new([*days.expose(), *turns.expose()].concat());
        Some(*expand(&both, "emptyroom v1 keys check", &[]).expose())
    }

    /// Seals an entry for its last day; `None` if that is over.
    pub(super) fn seal_entry(&mut self, day: Day, key: &RowKey, row: &[u8]) -> Option<Vec<u8>> {
        let aad = row_aad(Table::Entries, day, key);
        seal::seal(self.days.key(day.0)?, &aad, row, &mut self.rng).ok()
    }

    /// Opens an entry; `None` if its day is over.
    ///
    /// # Errors
    /// It was not sealed so.
    pub fn open_entry(
        &mut self,
        day: Day,
        key: &RowKey,
        sealed: Vec<u8>,
    ) -> Result<Option<Vec<u8>>, StoreFailure> {
        let aad = row_aad(Table::Entries, day, key);
        let damaged = StoreFailure::Broken("an entry that does not open under its day's key");
        match self.days.key(day.0) {
            Some(at) => seal::open(at, &aad, sealed).map(Some).ok_or(damaged),
            None => Ok(None),
        }
    }

    /// Makes the key of a turn, so that rows can be sealed under it.
    pub(super) fn take_turn(&mut self, turn: Turn) -> Option<Turn> {
        // A clock that was set back does not bring back a turn.
        let turn = turn.max(self.turn());
        self.turns.key(turn.0).map(|_| turn)
    }

    /// Seals a lasting row in a turn.
    pub(super) fn seal_lasting(&mut self, turn: Turn, key: &RowKey, row: &[u8]) -> Option<Vec<u8>> {
        let aad = row_aad(Table::Lasting, Day(turn.0), key);
        seal::seal(self.turns.known(turn.0)?, &aad, row, &mut self.rng).ok()
    }

    /// Opens a lasting row; `None` if its turn is over.
    ///
    /// # Errors
    /// It was not sealed so.
    // [SPEC 6.205]
    pub fn open_lasting(
        &mut self,
        turn: Turn,
        key: &RowKey,
        sealed: Vec<u8>,
    ) -> Result<Option<Vec<u8>>, StoreFailure> {
        if turn < self.turn() {
            return Ok(None);
        }
        let aad = row_aad(Table::Lasting, Day(turn.0), key);
        let damaged = StoreFailure::Broken("a row that does not open under the key of its turn");
        let at = self.turns.key(turn.0).ok_or(damaged)?;
        seal::open(at, &aad, sealed).map(Some).ok_or(damaged)
    }

    fn bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_LEN));
        bytes.extend_from_slice(MAGIC);
        for ratchet in [&self.days, &self.turns] {
            bytes.extend_from_slice(&ratchet.at.to_be_bytes());
            bytes.extend_from_slice(ratchet.secret.expose());
        }
        let check = checksum(&bytes);
        bytes.extend_from_slice(&check);
        bytes
    }
}

type Place = (u32, Secret32);

fn parse(bytes: &[u8]) -> Option<(Place, Place)> {
    let (body, check) = bytes.split_last_chunk::<CHECK_LEN>()?;
    if *check != checksum(body) {
        return None;
    }
    let (days, turns) = body.strip_prefix(MAGIC)?.split_at_checked(4 + 32)?;
    Some((place(days)?, place(turns)?))
}

fn place(bytes: &[u8]) -> Option<Place> {
    let (at, secret) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*at), Secret32::from_slice(secret)?))
}

fn checksum(bytes: &[u8]) -> [u8; CHECK_LEN] {
    let mut check = [0; CHECK_LEN];
    for (to, from) in check.iter_mut().zip(Sha256::digest(bytes)) {
        *to = from;
    }
    check
}

fn beside(path: &Path) -> PathBuf {
    path.with_extension("later")
}

/// In place, so that what stood there is no more.
fn overwrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn remove(path: &Path) -> Result<(), DataError> {
    overwrite(path, &[0; FILE_LEN]).map_err(|e| DataError::io("overwrite", path, e))?;
    fs::remove_file(path).map_err(|e| DataError::io("remove", path, e))?;
    sync_directory(path)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::postgres::homes::Homes;
    use crate::testing::scratch;

    const KEY: RowKey = RowKey([7; 32]);
    const TODAY: Day = Day(20_000);

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    // [SPEC 6.203] [SPEC 6.205] [SPEC 6.209]
    #[test]
    fn vectors() {
        let mut days = Ratchet::days(20_000, Secret32::new([0x11; 32]));
        let mut turns = Ratchet::turns(4_999, Secret32::new([0x22; 32]));
        let made = |ratchet: &mut Ratchet, numbers: [u32; 3]| {
            numbers.map(|number| {
                let secret = hex(ratchet.secret_at(number).unwrap().expose());
                let key = hex(ratchet.key(number).unwrap().expose());
                json!({ "number": number, "secret": secret, "key": key })
            })
        };
        let keys = DayKeys {
            path: PathBuf::new(),
            days: Ratchet::days(20_000, Secret32::new([0x11; 32])),
            turns: Ratchet::turns(4_999, Secret32::new([0x22; 32])),
            is_unsaved: false,
            rng: entropy::generator(),
        };
        let homes = Homes::new(&Secret32::new([1; 32]), 3);
        let of = [0_u8, 1, 2].map(|byte| {
            let key = RowKey([byte; 32]);
            json!({ "row_key": hex(&key.0), "home": homes.of(&key) })
        });
        let shards: Secret32 = expand(&[1; 32], "emptyroom v1 shards", &[]);
        let made = json!({
            "homes": {
                "seed": hex(&[1; 32]),
                "databases": homes.shards(),
                "secret": hex(shards.expose()),
                "of": of,
            },
            "days": made(&mut days, [20_000, 20_001, 20_030]),
            "turns": made(&mut turns, [4_999, 5_000, 5_001]),
            "check": { "day": 20_004, "is": hex(&keys.check_at(Day(20_004)).unwrap()) },
        });
        let file = include_str!("../../../../spec/vectors/daykeys.json");
        let kept: Value = serde_json::from_str(file).unwrap();
        assert_eq!(kept, made, "{made:#}");
    }

    // [SPEC 6.205]
    #[test]
    fn nodes_make_the_same_keys_and_nothing_comes_back() {
        let (here, there) = (scratch("ratchet"), scratch("ratchet-copy"));
        let mut one = DayKeys::make(here.path(), TODAY).unwrap();
        fs::copy(here.path().join(FILE), there.path().join(FILE)).unwrap();
        let mut other = DayKeys::load(there.path()).unwrap().unwrap();
        let turn = one.take_turn(Turn::of(TODAY)).unwrap();
        let (soon, late) = (Day(TODAY.0 + 1), Day(TODAY.0 + 30));
        let sealed = [soon, late].map(|day| one.seal_entry(day, &KEY, b"entry").unwrap());
        let lasting = one.seal_lasting(turn, &KEY, b"lasting").unwrap();
        // The other is days ahead.
        other
            .advance(Day(TODAY.0 + 2), Turn::of(TODAY).before())
            .unwrap();
        let mut open = |day, at: usize| other.open_entry(day, &KEY, sealed[at].clone()).unwrap();
        assert_eq!(open(soon, 0), None);
        assert_eq!(open(late, 1).unwrap(), b"entry");
        assert_eq!(
            other.open_lasting(turn, &KEY, lasting.clone()).unwrap(),
            Some(b"lasting".to_vec())
        );
        assert_eq!(one.check_at(late), other.check_at(late));
        // What it holds on its disk and in memory does not lead back.
        drop(other);
        let mut other = DayKeys::load(there.path()).unwrap().unwrap();
        assert_eq!(other.day(), Day(TODAY.0 + 2));
        assert!(other.seal_entry(soon, &KEY, b"x").is_none());
        other.advance(Day(0), Turn(0)).unwrap();
        assert_eq!(other.day(), Day(TODAY.0 + 2));
        other.advance(late, Turn(turn.0 + 1)).unwrap();
        assert_eq!(other.open_lasting(turn, &KEY, lasting).unwrap(), None);
        assert_ne!(one.check_at(soon), None);
        // Other keys are seen to be others.
        let another = DayKeys::make(there.path(), TODAY).unwrap();
        assert_ne!(one.check_at(late), another.check_at(late));
    }

    // [SPEC 6.205]
    #[test]
    fn the_file_is_overwritten_in_place_and_survives_a_kill() {
        let dir = scratch("ratchet-kill");
        let mut keys = DayKeys::make(dir.path(), TODAY).unwrap();
        let path = dir.path().join(FILE);
        let old = fs::read(&path).unwrap();
        // A second name for the same file shows what was written into it.
        let witness = dir.path().join("witness");
        fs::hard_link(&path, &witness).unwrap();
        keys.advance(Day(TODAY.0 + 1), keys.turn()).unwrap();
        let new = fs::read(&path).unwrap();
        assert_eq!(fs::read(&witness).unwrap(), new);
        assert_ne!(new, old);
        assert!(!beside(&path).exists());
        // Killed before, in the middle of and after overwriting.
        for (file, later) in [
            (old.clone(), new[..30].to_vec()),
            (old.clone(), new.clone()),
            ([&new[..30], &old[30..]].concat(), new.clone()),
            (new.clone(), vec![0; FILE_LEN]),
        ] {
            let want = if later == new { &new } else { &file };
            fs::write(&path, &file).unwrap();
            fs::write(beside(&path), &later).unwrap();
            assert!(DayKeys::load(dir.path()).unwrap().is_some());
            assert_eq!(fs::read(&path).unwrap(), *want);
            assert!(!beside(&path).exists());
        }
        // Killed while a file was written that never came into its place.
        let unfinished = path.with_extension("new");
        fs::write(&unfinished, &old).unwrap();
        fs::remove_file(&witness).unwrap();
        fs::hard_link(&unfinished, &witness).unwrap();
        assert!(DayKeys::load(dir.path()).unwrap().is_some());
        assert!(!unfinished.exists());
        assert_eq!(fs::read(&witness).unwrap(), vec![0; FILE_LEN]);
        // What could not be written is written with the next call, also where nothing is over then.
        let mut keys = DayKeys::load(dir.path()).unwrap().unwrap();
        fs::create_dir(&unfinished).unwrap();
        let later = Day(TODAY.0 + 2);
        assert!(keys.advance(later, keys.turn()).is_err());
        fs::remove_dir(&unfinished).unwrap();
        keys.advance(later, keys.turn()).unwrap();
        assert_eq!(DayKeys::load(dir.path()).unwrap().unwrap().day(), later);
        fs::write(&path, &new[..50]).unwrap();
        assert!(DayKeys::load(dir.path()).is_err());
        fs::remove_file(&path).unwrap();
        assert!(DayKeys::load(dir.path()).unwrap().is_none());
    }
}
