//! A real vault on a real disk, by clocks that the test turns.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use emptyroom_vault::os::OsDirectory;
use emptyroom_vault::{Directory, File, KdfParams, Passphrase};
use emptyroom_wire::time::DAY_MS;
use tokio::sync::mpsc;

use super::*;
use crate::api::Call;
use crate::deadman::start::show;
use crate::deadman::tests::here;
use crate::engine::{Links, Message, Watcher};
use crate::home::{Kdf, create_vault, holds_vault};
use crate::seed;
use crate::session::{direct, runtime};

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("emptyroom-node-{}-{name}", std::process::id()))
}

fn home(name: &str) -> (PathBuf, SecretText, Vault) {
    let home = path(name);
    let pin = SecretText::new("a pin of this test".to_owned());
    let vault = create_vault(&home, &pin, Kdf::Minimum).unwrap();
    (home, pin, vault)
}

fn later(here: &Here, ms: u64) -> Here {
    let mut here = *here;
    here.now.wall.0 += ms;
    here.now.mono.0 += ms;
    here
}

fn left_h(home: &Path, here: &Here) -> u64 {
    show(home, here).unwrap().unwrap().left_s / 3_600
}

/// As `deadman TIME` does.
fn set(watch: &mut Watch, vault: &mut Vault, days: u32, here: &Here) -> Result<(), WriteError> {
    let count = watch.deadline.map_or(1, |deadline| deadline.count() + 1);
    let deadline = Deadline::new(days, count, here, &watch.key);
    watch.change(vault, deadline, here)
}

// [SPEC 11.80, 11.81, 11.83]
#[test]
fn time_goes_on_while_the_vault_is_open_and_is_written_down_by_the_hour() {
    let (home, _, mut vault) = home("by-the-hour");
    let opened = here(0, 1);
    let mut watch = Watch::begin(&mut vault, &opened).unwrap();
    let much_later = later(&opened, 900 * DAY_MS);
    assert_eq!(watch.look(&mut vault, &much_later), None);
    set(&mut watch, &mut vault, 10, &opened).unwrap();
    // What was written down holds where the clock is set back and the machine starts anew.
    let mut set_back = here(0, 0);
    set_back.now.wall.0 -= 5 * DAY_MS;
    set_back.boot = Some([9; 16]);
    let mut due = Vec::new();
    for hours in 1..=240 {
        let then = later(&opened, hours * HOUR_MS);
        due.extend(watch.look(&mut vault, &then).map(|due| (hours, due)));
        if hours < 240 {
            assert_eq!(left_h(&home, &set_back), 240 - hours);
            let next = later(&then, HOUR_MS / 2);
            assert_eq!(watch.look(&mut vault, &next), None);
            assert_eq!(left_h(&home, &set_back), 240 - hours, "not so often");
        }
    }
    let hours: Vec<_> = due.iter().map(|(hours, _)| *hours).collect();
    assert_eq!(hours, [120, 192, 228, 240]);
    assert_eq!(due[2].1, Due::Warning(12 * HOUR_MS));
    assert_eq!(due[3].1, Due::End);
    drop(vault);
    std::fs::remove_dir_all(&home).unwrap();
}

/// While it is open only running time ends it: no clock that jumps does.
// [SPEC 11.81]
#[test]
fn an_open_vault_outlives_a_clock_that_jumps() {
    let (home, _, mut vault) = home("jumps");
    let opened = here(0, 1);
    let mut watch = Watch::begin(&mut vault, &opened).unwrap();
    set(&mut watch, &mut vault, 14, &opened).unwrap();
    for hours in 1..=48 {
        let mut jumped = later(&opened, hours * HOUR_MS);
        jumped.now.wall.0 += 26_000 * DAY_MS;
        assert_eq!(watch.look(&mut vault, &jumped), None, "{hours}");
    }
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
        let first = here(0, 1);
        let mut watch = Watch::begin(&mut vault, &first).unwrap();
        set(&mut watch, &mut vault, 10, &first).unwrap();
        // Nothing changes that cannot be written down.
        is_full.store(true, Ordering::Relaxed);
        let refused = set(&mut watch, &mut vault, 365, &first);
        assert_eq!(refused, Err(WriteError::Full), "{names:?}");
        assert_eq!(left_h(&home, &first), 240);
        drop(vault);

        let again = later(&first, 9 * DAY_MS);
        is_full.store(false, Ordering::Relaxed);
        let mut vault = Vault::open(disk(OsDirectory::at(&home)), &pin, random()).unwrap();
        is_full.store(true, Ordering::Relaxed);
        let mut watch = Watch::begin(&mut vault, &again).unwrap();
        assert_eq!(watch.info(&again).unwrap().left_s, 10 * 86_400);
        if names == ["records"] {
            // As long as what lies outside can be written, the opening counts at once.
            assert_eq!(left_h(&home, &again), 240);
        } else {
            assert_eq!(left_h(&home, &again), 24, "{names:?}: not written yet");
        }
        is_full.store(names == ["records"], Ordering::Relaxed);
        let hour = later(&again, HOUR_MS);
        watch.look(&mut vault, &hour);
        assert_eq!(left_h(&home, &hour), 239);
        drop(vault);

        is_full.store(false, Ordering::Relaxed);
        let mut vault = Vault::open(disk(OsDirectory::at(&home)), &pin, random()).unwrap();
        let watch = Watch::begin(&mut vault, &hour).unwrap();
        assert_eq!(watch.info(&hour).unwrap().changed_at, None, "{names:?}");
        drop(vault);
        std::fs::remove_dir_all(&home).unwrap();
    }
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
    let first = here(0, 1);
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

/// An engine over a vault, and what its watchers are told.
struct Running {
    engine: Engine,
    sender: mpsc::Sender<Message>,
    receiver: mpsc::Receiver<Message>,
    runtime: tokio::runtime::Runtime,
}

impl Running {
    fn over(vault: Vault, home: &Path) -> Self {
        let runtime = runtime().unwrap();
        let (sender, receiver) = mpsc::channel(4);
        let carrier = Arc::new(direct().unwrap());
        let links = Links::new(carrier, runtime.handle().clone(), sender.clone());
        Self {
            engine: Engine::new(vault, home, links, sender.clone()).unwrap(),
            sender,
            receiver,
            runtime,
        }
    }
}

fn watcher() -> (Watcher, Arc<Mutex<Vec<Event>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let hears = told.clone();
    let watcher = Box::new(move |event: &Event| {
        hears.lock().unwrap().push(event.clone());
        true
    });
    (watcher, told)
}

fn lefts_h(told: &Mutex<Vec<Event>>) -> Vec<Option<u64>> {
    let told = told.lock().unwrap();
    let left = |event: &Event| match event {
        Event::Deadman { left_s } => Some(left_s.div_ceil(3_600)),
        _ => None,
    };
    told.iter().map(left).collect()
}

/// Also one that has a panic PIN: nobody has entered it.
// [SPEC 11.80, 11.83]
#[test]
fn an_open_vault_is_destroyed_when_its_time_is_over() {
    let (home, pin, mut vault) = home("open-and-over");
    let panic = SecretText::new("another pin".to_owned());
    let change = vault.with_panic(&passphrase(&pin), &passphrase(&panic));
    vault
        .rewrap(change.unwrap(), &emptyroom_vault::Factors::default())
        .unwrap();
    let Running {
        mut engine,
        sender,
        receiver,
        runtime,
    } = Running::over(vault, &home);
    let (first, told) = watcher();
    engine.take(Message::Watch(first));
    let unset = engine.suspend_deadman(&pin, 3).err().unwrap();
    assert_eq!(unset.error, "deadman_off");
    assert!(engine.set_deadman(&pin, Some(0)).is_err());
    assert!(engine.set_deadman(&pin, Some(1)).is_ok());
    let now = clock::here();
    engine.watch_time(&later(&now, DAY_MS - HOUR_MS));
    // Who comes later hears of it, too.
    let (second, told_later) = watcher();
    engine.take(Message::Watch(second));
    assert_eq!(lefts_h(&told_later).len(), 1);
    engine.watch_time(&later(&now, DAY_MS + HOUR_MS));
    let (answered, answer) = std::sync::mpsc::channel();
    let answerer = Box::new(move |outcome| answered.send(outcome).unwrap());
    let late = Message::Call(Call::Status {}, answerer);
    assert!(sender.try_send(late).is_ok());
    let why = runtime.block_on(engine.run(receiver)).unwrap();
    assert_eq!(why.error, "vault_destroyed");
    let refused = answer.recv().unwrap().err().unwrap();
    assert_eq!(refused.error, "vault_destroyed");
    assert!(!holds_vault(&home));
    assert_eq!(lefts_h(&told), [Some(1), Some(0), None]);
    assert!(told.lock().unwrap().last() == Some(&Event::Locked {}));
    std::fs::remove_dir_all(&home).unwrap();
}

// [SPEC 11.80]
#[test]
fn an_open_vault_that_cannot_be_destroyed_whole_is_told_so() {
    let (home, pin, vault) = home("open-and-fails");
    let mut running = Running::over(vault, &home);
    let (first, told) = watcher();
    running.engine.take(Message::Watch(first));
    assert!(running.engine.set_deadman(&pin, Some(1)).is_ok());
    running
        .engine
        .watch_time(&later(&clock::here(), DAY_MS + HOUR_MS));
    std::fs::remove_file(home.join("records")).unwrap();
    std::fs::create_dir(home.join("records")).unwrap();
    let ended = running
        .runtime
        .block_on(running.engine.run(running.receiver));
    assert_eq!(ended.unwrap().error, "wipe_failed");
    assert!(matches!(
        &told.lock().unwrap()[..],
        [Event::WipeFailed { .. }, Event::Locked {}]
    ));
    assert!(home.join("outside").exists(), "the next start goes on");
    std::fs::remove_dir_all(&home).unwrap();
}
