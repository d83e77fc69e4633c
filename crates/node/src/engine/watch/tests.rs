//! A real vault on a real disk, by clocks that the test turns.

mod end;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use emptyroom_vault::os::OsDirectory;
use emptyroom_vault::{Directory, File, KdfParams, Passphrase};
use emptyroom_wire::time::DAY_MS;

use super::*;
use crate::deadman::start::show;
use crate::deadman::tests::Machine;
use crate::home as homes;
use crate::home::{Kdf, create_vault};
use crate::seed;

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("emptyroom-node-{}-{name}", std::process::id()))
}

fn home(name: &str) -> (PathBuf, SecretText, Vault) {
    let home = path(name);
    let pin = SecretText::new("a pin of this test".to_owned());
    let vault = create_vault(&home, &pin, Kdf::Minimum).unwrap();
    (home, pin, vault)
}

fn here() -> Here {
    Machine::new().here()
}

fn later(here: &Here, ms: u64) -> Here {
    let mut here = *here;
    here.now.wall.0 += ms;
    here.now.mono.0 += ms;
    here.running_ms += ms;
    here.synchronised = here.synchronised.map(|_| here.now.wall);
    here
}

fn left_h(home: &Path, here: &Here) -> u64 {
    show(home, here).unwrap().unwrap().left_s / 3_600
}

/// As `deadman TIME` does.
fn set(watch: &mut Watch, vault: &mut Vault, days: u32, here: &Here) -> Result<(), WriteError> {
    let before = watch.deadline.map(|deadline| deadline.fixed());
    watch.change(vault, Some(Fixed::new(days, 0, before)), here)
}

// [SPEC 11.80, 11.81, 11.83]
#[test]
fn time_goes_on_while_the_vault_is_open_and_is_written_down_by_the_hour() {
    let (home, _, mut vault) = home("by-the-hour");
    let opened = here();
    let mut watch = Watch::begin(&mut vault, &opened).unwrap();
    let much_later = later(&opened, 900 * DAY_MS);
    assert_eq!(watch.look(&mut vault, &much_later), None);
    set(&mut watch, &mut vault, 10, &opened).unwrap();
    // What was written down holds where the machine starts anew and the clock is lost.
    let anew = Here {
        boot: Some([9; 16]),
        synchronised: None,
        ..opened
    };
    let mut due = Vec::new();
    for hours in 1..=240 {
        let then = later(&opened, hours * HOUR_MS);
        due.extend(watch.look(&mut vault, &then).map(|due| (hours, due)));
        if hours < 240 {
            assert_eq!(left_h(&home, &anew), 240 - hours);
            let next = later(&then, HOUR_MS / 2);
            assert_eq!(watch.look(&mut vault, &next), None);
            assert_eq!(left_h(&home, &anew), 240 - hours, "not so often");
        }
    }
    let given = [120, 192, 228].map(|hours| (hours, Due::Warning));
    assert_eq!(due[..3], given);
    assert_eq!(due[3..], [(240, Due::End)]);
    drop(vault);
    std::fs::remove_dir_all(&home).unwrap();
}

/// What is sealed in the vault is whole: a record that is not understood asks for another program, not for another vault.
// [SPEC 11.114]
#[test]
fn a_time_that_a_later_version_set_is_not_taken_for_damage() {
    let (home, _, mut vault) = home("newer-time");
    let newer = vec![9; 100];
    let change = Change {
        key: RECORD.to_vec(),
        value: Some(newer),
    };
    vault.apply(vec![change]).unwrap();
    let refused = Watch::begin(&mut vault, &here()).err().unwrap();
    assert_eq!(refused.error, "vault_newer");
    drop(vault);
    std::fs::remove_dir_all(&home).unwrap();
}

/// What has passed is written down when the vault is locked, too.
// [SPEC 11.81]
#[test]
fn locking_writes_down_what_has_passed() {
    let (home, _, mut vault) = home("locking");
    let opened = here();
    let mut watch = Watch::begin(&mut vault, &opened).unwrap();
    watch.close(&vault, &opened);
    assert!(!home.join("outside").exists(), "where none is set, nothing");
    set(&mut watch, &mut vault, 10, &opened).unwrap();
    watch.close(&vault, &later(&opened, HOUR_MS));
    let anew = Here {
        boot: Some([9; 16]),
        synchronised: None,
        ..opened
    };
    assert_eq!(left_h(&home, &anew), 239);
    drop(vault);
    std::fs::remove_dir_all(&home).unwrap();
}

/// A clock that jumps, be it called right, is told, and destroys nothing for a day; setting the time anew sets it back.
// [SPEC 11.80, 11.83]
#[test]
fn an_open_vault_outlives_a_clock_that_jumps() {
    let (home, _, mut vault) = home("jumps");
    let mut machine = Machine::new();
    let mut watch = Watch::begin(&mut vault, &machine.here()).unwrap();
    set(&mut watch, &mut vault, 14, &machine.here()).unwrap();
    machine.is_set(47_000 * DAY_MS);
    let mut told = 0;
    for _ in 0..24 {
        match watch.look(&mut vault, &machine.here()) {
            Some(Due::Warning) => told += 1,
            other => assert_eq!(other, None),
        }
        machine.runs(HOUR_MS);
    }
    assert_eq!(told, 4, "when it is due, and every six hours");
    let news = watch.news(&machine.here());
    assert!(
        matches!(
            news[..],
            [Event::Deadman {
                left_s: 0,
                destroyed_after_s: 0,
                ..
            }]
        ),
        "{}",
        news.len()
    );
    set(&mut watch, &mut vault, 14, &machine.here()).unwrap();
    assert!(watch.news(&machine.here()).is_empty());
    assert_eq!(watch.look(&mut vault, &machine.here()), None);
    drop(vault);
    std::fs::remove_dir_all(&home).unwrap();
}

/// A disk on which files of these names run full when it is said so.
struct Full {
    disk: OsDirectory,
    names: Vec<&'static str>,
    is_full: Arc<AtomicBool>,
}

struct FullFile {
    file: Box<dyn File>,
    is_full: Option<Arc<AtomicBool>>,
}

impl Full {
    fn wrap(&self, name: &str, file: Box<dyn File>) -> Box<dyn File> {
        let fails = self.names.contains(&name);
        let is_full = fails.then(|| self.is_full.clone());
        Box::new(FullFile { file, is_full })
    }
}

impl Directory for Full {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.disk.lock()
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.disk.create(name).map(|file| self.wrap(name, file))
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.disk.open(name).map(|file| self.wrap(name, file))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn sync(&self) -> io::Result<()> {
        self.disk.sync()
    }
}

impl FullFile {
    fn room(&self) -> io::Result<()> {
        let full = self.is_full.as_ref();
        if full.is_some_and(|full| full.load(Ordering::Relaxed)) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl File for FullFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, out)
    }
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.room()?;
        self.file.write_at(offset, data)
    }
    fn reserve(&self, len: u64) -> io::Result<()> {
        self.room()?;
        self.file.reserve(len)
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

/// Whatever part of the disk is full: no opening is forgotten, no alarm given, and what was not done is told.
// [SPEC 11.61, 11.80]
#[test]
fn a_full_disk_forgets_no_opening_and_gives_no_alarm() {
    for names in [vec!["records"], vec!["outside"], vec!["records", "outside"]] {
        let home = path("full");
        let is_full = Arc::new(AtomicBool::new(false));
        let disk = |disk| {
            Box::new(Full {
                disk,
                names: names.clone(),
                is_full: is_full.clone(),
            })
        };
        let pin = Passphrase::new(b"a pin of this test".to_vec());
        let random = || Box::new(seed::generator().unwrap());
        let directory = disk(OsDirectory::create(&home).unwrap());
        let mut vault = Vault::create(directory, &pin, KdfParams::minimum(), random()).unwrap();
        let first = here();
        let mut watch = Watch::begin(&mut vault, &first).unwrap();
        set(&mut watch, &mut vault, 10, &first).unwrap();
        // Nothing changes that cannot be written down.
        is_full.store(true, Ordering::Relaxed);
        let refused = set(&mut watch, &mut vault, 365, &first);
        assert_eq!(refused, Err(WriteError::Full), "{names:?}");
        assert_eq!(left_h(&home, &first), 240);
        drop(vault);

        // It is seen for nine days.
        let mut outside = Outside::read(&OsDirectory::at(&home)).unwrap().unwrap();
        let deadline = outside.deadline.as_mut().unwrap();
        for hours in 0..=9 * 24 {
            deadline.look(&later(&first, hours * HOUR_MS));
        }
        is_full.store(false, Ordering::Relaxed);
        let seen = outside.deadline;
        Outside::change(&OsDirectory::at(&home), |outside| outside.deadline = seen).unwrap();
        let again = later(&first, 9 * DAY_MS);
        let mut vault = Vault::open(disk(OsDirectory::at(&home)), &pin, random()).unwrap();
        is_full.store(true, Ordering::Relaxed);
        let mut watch = Watch::begin(&mut vault, &again).unwrap();
        assert_eq!(watch.info(&again).unwrap().left_s, 10 * 86_400);
        let is_unwritten = names != ["records"];
        assert_eq!(watch.is_unwritten(), is_unwritten);
        assert_eq!(watch.info(&again).unwrap().unwritten, is_unwritten);
        let told = watch.news(&again);
        assert_eq!(told.len(), usize::from(is_unwritten));
        assert!(
            told.iter()
                .all(|event| *event == Event::DeadmanUnwritten {})
        );
        let left = if is_unwritten { 24 } else { 240 };
        assert_eq!(left_h(&home, &again), left, "{names:?}");
        is_full.store(names == ["records"], Ordering::Relaxed);
        let hour = later(&again, HOUR_MS);
        watch.look(&mut vault, &hour);
        assert_eq!(left_h(&home, &hour), 239);
        assert!(!watch.is_unwritten());
        drop(vault);

        is_full.store(false, Ordering::Relaxed);
        let mut vault = Vault::open(disk(OsDirectory::at(&home)), &pin, random()).unwrap();
        let watch = Watch::begin(&mut vault, &hour).unwrap();
        assert_eq!(watch.info(&hour).unwrap().changed_at, None, "{names:?}");
        drop(vault);
        std::fs::remove_dir_all(&home).unwrap();
    }
}

/// Whatever lies in its place keeps nobody out, and is told.
// [SPEC 11.61, 11.83]
#[test]
fn a_directory_in_the_place_of_what_lies_outside_keeps_nobody_out() {
    let (home, pin, mut vault) = home("in-its-place");
    let first = here();
    let mut watch = Watch::begin(&mut vault, &first).unwrap();
    set(&mut watch, &mut vault, 10, &first).unwrap();
    drop(vault);
    std::fs::remove_file(home.join("outside")).unwrap();
    std::fs::create_dir(home.join("outside")).unwrap();
    let mut vault = homes::open_vault(&home, &pin).unwrap().vault;
    let mut watch = Watch::begin(&mut vault, &first).unwrap();
    let info = watch.info(&first).unwrap();
    assert!(info.changed_at.is_some() && info.unwritten, "{info:?}");
    assert!(watch.news(&first) == [Event::DeadmanUnwritten {}]);
    std::fs::remove_dir(home.join("outside")).unwrap();
    watch.look(&mut vault, &first);
    assert!(watch.news(&first).is_empty());
    assert_eq!(left_h(&home, &first), 240);
    drop(vault);
    std::fs::remove_dir_all(&home).unwrap();
}

/// The next opening ends a journey, and what was set is still the vault's own then.
// [SPEC 11.61, 11.82]
#[test]
fn opening_ends_a_journey() {
    let (home, pin, mut vault) = home("journey");
    let first = here();
    let mut watch = Watch::begin(&mut vault, &first).unwrap();
    set(&mut watch, &mut vault, 10, &first).unwrap();
    let before = watch.deadline.map(|deadline| deadline.fixed());
    let journey = Fixed::new(10, 60, before);
    watch.change(&mut vault, Some(journey), &first).unwrap();
    assert_eq!(left_h(&home, &first), 60 * 24);
    drop(vault);
    for _ in 0..2 {
        let mut vault = homes::open_vault(&home, &pin).unwrap().vault;
        let watch = Watch::begin(&mut vault, &first).unwrap();
        let info = watch.info(&first).unwrap();
        assert_eq!((info.suspended, info.changed_at), (false, None));
        assert_eq!(left_h(&home, &first), 240);
    }
    std::fs::remove_dir_all(&home).unwrap();
}

/// What is switched off is off in both places, or told as still on.
// [SPEC 11.61, 11.80]
#[test]
fn switching_off_is_whole_or_told() {
    let home = path("off");
    let is_full = Arc::new(AtomicBool::new(false));
    let disk = || Full {
        disk: OsDirectory::at(&home),
        names: vec!["records"],
        is_full: is_full.clone(),
    };
    let pin = Passphrase::new(b"a pin of this test".to_vec());
    let random = || Box::new(seed::generator().unwrap());
    OsDirectory::create(&home).unwrap();
    let mut vault = Vault::create(Box::new(disk()), &pin, KdfParams::minimum(), random()).unwrap();
    let first = here();
    let mut watch = Watch::begin(&mut vault, &first).unwrap();
    set(&mut watch, &mut vault, 10, &first).unwrap();
    // Cut off in the middle, it is still on, and the next opening says that something happened.
    std::fs::remove_file(home.join("outside")).unwrap();
    drop(vault);
    let mut vault = Vault::open(Box::new(disk()), &pin, random()).unwrap();
    let mut watch = Watch::begin(&mut vault, &first).unwrap();
    assert!(watch.info(&first).unwrap().changed_at.is_some());
    assert_eq!(left_h(&home, &first), 240);
    // A directory in the file's place cannot be removed: still on, and told.
    std::fs::remove_file(home.join("outside")).unwrap();
    std::fs::create_dir(home.join("outside")).unwrap();
    assert!(watch.change(&mut vault, None, &first).is_err());
    assert!(watch.info(&first).is_some());
    std::fs::remove_dir(home.join("outside")).unwrap();
    watch.look(&mut vault, &first);
    assert_eq!(left_h(&home, &first), 240);
    watch.change(&mut vault, None, &first).unwrap();
    assert!(!home.join("outside").exists());
    drop(vault);
    let mut vault = Vault::open(Box::new(disk()), &pin, random()).unwrap();
    let watch = Watch::begin(&mut vault, &first).unwrap();
    assert!(watch.info(&first).is_none());
    std::fs::remove_dir_all(&home).unwrap();
}
