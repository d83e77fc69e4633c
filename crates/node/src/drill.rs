//! The drill: a throw-away vault in the home is destroyed in each way and searched for, so that a wipe which has stopped
//! working is noticed before it is needed.
//!
//! It is a vault of its own and not a copy of the real one: a copy would double what must be forgotten. It lies in the
//! home, so on the same file system and the same disk.

mod elsewhere;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use emptyroom_vault::os::OsDirectory;
use emptyroom_vault::{
    DRILL_RECORDS, Directory, Drill, DrillError, Found, Ground, KdfParams, Mode, Way,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, Rng, SeedableRng};

use crate::api::{DrillStep, Exit, Failure, reason};
use crate::outside::Outside;
use crate::seed;
use crate::switch::Ordered;
pub(crate) use elsewhere::InUse;

/// The directory in the home, while a drill runs.
const DIRECTORY_NAME: &str = "drill";

/// All ways, with their names in the interface and for people.
const WAYS: [(Way, &str, &str); 4] = [
    (Way::PanicPin, "panic_pin", "by a panic PIN"),
    (Way::WithoutSecret, "without_pin", "without a PIN"),
    (Way::OpenPanic, "open_panic", "by `panic` while it was open"),
    (Way::OpenWipe, "open_order", "by an order while it was open"),
];

/// The same for what is elsewhere.
const WAYS_ELSEWHERE: [(Way, &str, &str); 2] = [
    (Way::PanicPin, "copy_after_panic_pin", "by a panic PIN"),
    (Way::WithoutSecret, "copy_after_wipe", "without a PIN"),
];

/// How a drill ended.
pub(crate) enum Outcome {
    /// Destroying works.
    Passed(Vec<DrillStep>),
    /// It does not, or nobody can tell.
    Failed(Failure),
    /// It did not begin.
    NotBegun(Failure),
}

/// Runs the drill in a home; trying one secret costs what it costs for the real vault. Takes as long as opening a vault
/// twenty times.
pub(crate) fn run(home: &Path, kdf: KdfParams, in_use: &InUse<'_>) -> Outcome {
    let mut steps = match run_on(home, kdf, &|path| Box::new(OsDirectory::at(path))) {
        Outcome::Passed(steps) => steps,
        stopped => return stopped,
    };
    for (way, name, words) in WAYS_ELSEWHERE {
        if in_use.mode == Mode::Passphrase {
            break;
        }
        match elsewhere::step(home, kdf, way, in_use) {
            Ok(times) => steps.push(times.step(name, 0)),
            Err(stopped) => return stopped.outcome(words),
        }
    }
    Outcome::Passed(steps)
}

type Opens<'a> = &'a dyn Fn(&Path) -> Box<dyn Directory>;

fn run_on(home: &Path, kdf: KdfParams, opens: Opens<'_>) -> Outcome {
    let mut steps = Vec::new();
    for (way, name, words) in WAYS {
        match step(home, kdf, opens, way) {
            Ok((times, found)) if found.is_nothing() => {
                steps.push(times.step(name, DRILL_RECORDS));
            }
            Ok((_, found)) => return Outcome::Failed(found_failure(words, found)),
            Err(stopped) => return stopped.outcome(words),
        }
    }
    Outcome::Passed(steps)
}

enum Stopped {
    Before(Failure),
    By(DrillError),
    /// By what is elsewhere.
    Elsewhere(String),
}

impl Stopped {
    fn outcome(self, words: &str) -> Outcome {
        let why = match self {
            Self::Before(failure) => return Outcome::NotBegun(failure),
            Self::By(error) => error.to_string(),
            Self::Elsewhere(why) => why,
        };
        Outcome::Failed(failed(format!(
            "the drill failed: destroying a vault {words}: {why}"
        )))
    }
}

/// How long each part of a way took.
struct Times {
    prepared: Duration,
    destroyed: Duration,
    searched: Duration,
}

impl Times {
    fn step(&self, way: &str, records: usize) -> DrillStep {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        DrillStep {
            way: way.to_owned(),
            records,
            found: 0,
            prepared_ms: ms(self.prepared),
            destroyed_ms: ms(self.destroyed),
            searched_ms: ms(self.searched),
        }
    }
}

fn step(
    home: &Path,
    kdf: KdfParams,
    opens: Opens<'_>,
    way: Way,
) -> Result<(Times, Found), Stopped> {
    let place = Place::make(home).map_err(|e| Stopped::Before(in_the_way(&e)))?;
    let generator = seed::generator().map_err(|_| {
        Stopped::Before(Failure::fault(
            "the operating system gives no random numbers",
        ))
    })?;
    let generator = std::cell::RefCell::new(generator);
    let random = || -> Box<dyn CryptoRng + Send> {
        let mut seed = zeroize::Zeroizing::new([0; 32]);
        generator.borrow_mut().fill_bytes(seed.as_mut());
        Box::new(ChaCha20Rng::from_seed(*seed))
    };
    let ground = Ground {
        directory: &|| opens(&place.0),
        random: &random,
    };
    let mut last = Instant::now();
    let mut lap = || {
        let lap = last.elapsed();
        last = Instant::now();
        lap
    };
    let mut drill = Drill::prepare(&ground, kdf, way).map_err(|error| match error {
        // [SPEC 11.92]
        error if error.is_full() => Stopped::Before(not_begun_by(error)),
        error => Stopped::By(error),
    })?;
    let order = Order::begin(way, &place)?;
    let prepared = lap();
    drill.destroy().map_err(Stopped::By)?;
    order.end(&place)?;
    let destroyed = lap();
    let found = drill.look().map_err(Stopped::By)?;
    let searched = lap();
    let times = Times {
        prepared,
        destroyed,
        searched,
    };
    Ok((times, found))
}

/// What an order does besides: it is noted before, and when it was carried out that is what lies there.
struct Order(Option<Ordered>);

impl Order {
    fn begin(way: Way, place: &Place) -> Result<Self, Stopped> {
        if way != Way::OpenWipe {
            return Ok(Self(None));
        }
        let ordered = Ordered::of_a_drill().map_err(Stopped::Before)?;
        let noted = ordered.note(&OsDirectory::at(&place.0));
        noted.map_err(|e| Stopped::Before(in_the_way(&e)))?;
        Ok(Self(Some(ordered)))
    }

    // [SPEC 11.67, 11.92]
    fn end(self, place: &Place) -> Result<(), Stopped> {
        let Some(ordered) = self.0 else {
            return Ok(());
        };
        let noted = |is: &dyn Fn(&Outside) -> bool| {
            let left = Outside::read(&OsDirectory::at(&place.0));
            left.is_ok_and(|left| left.is_some_and(|left| is(&left)))
        };
        let is_begun = noted(&|left| Ordered::left(left).is_some());
        ordered.done(&place.0, None);
        if is_begun && noted(&|left| ordered.is_done(left)) {
            return Ok(());
        }
        let text = "the order was not there any more when it was to be told";
        Err(Stopped::Elsewhere(text.to_owned()))
    }
}

/// Removes what a drill left that was cut off: the files of a vault, and no others.
///
/// # Errors
/// When there is anything else, or the disk fails.
// [SPEC 11.92]
pub(crate) fn clear(home: &Path) -> io::Result<()> {
    clear_at(&home.join(DIRECTORY_NAME))
}

fn clear_at(path: &Path) -> io::Result<()> {
    let absent = |e: &io::Error| e.kind() == io::ErrorKind::NotFound;
    match std::fs::symlink_metadata(path) {
        Err(e) if absent(&e) => return Ok(()),
        Err(e) => return Err(e),
        // Nor what a link leads to.
        Ok(found) if !found.is_dir() => return Err(io::ErrorKind::NotADirectory.into()),
        Ok(_) => {}
    }
    for name in emptyroom_vault::file_names() {
        match std::fs::remove_file(path.join(name)) {
            Err(e) if !absent(&e) => return Err(e),
            _ => {}
        }
    }
    std::fs::remove_dir(path)
}

/// The directory of a drill; it goes with it.
struct Place(PathBuf);

impl Place {
    fn make(home: &Path) -> io::Result<Self> {
        clear(home)?;
        let path = home.join(DIRECTORY_NAME);
        OsDirectory::create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = clear_at(&self.0);
    }
}

fn in_the_way(error: &io::Error) -> Failure {
    if let io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded = error.kind() {
        return full();
    }
    let why = format!(
        "the directory `{DIRECTORY_NAME}` in the home: {}",
        reason(error.kind())
    );
    not_begun(&why).hint("it is made for a drill and goes with it: move away what is there, or see to the disk, then run it again")
}

fn not_begun(why: &str) -> Failure {
    Failure::new(
        Exit::Vault,
        "vault_write",
        format!("the drill could not begin: {why}"),
    )
    .hint("see to the disk, then run it again")
}

fn not_begun_by(error: impl Into<DrillError>) -> Failure {
    let error = error.into();
    if error.is_full() {
        return full();
    }
    not_begun(&error.to_string())
}

// [SPEC 11.92]
fn full() -> Failure {
    let text = "the drill could not begin: the disk is full";
    Failure::new(Exit::Vault, "vault_full", text).hint(
        "make room for a vault of a few MiB beside the real one, then run it again; if a drill ended before, that still counts",
    )
}

fn failed(text: String) -> Failure {
    Failure::new(Exit::Fault, "drill_failed", text).hint(
        "do not rely on destroying this vault: see what `emptyroom status` says of its storage, and report it",
    )
}

fn found_failure(way: &str, found: Found) -> Failure {
    let Found {
        texts,
        headers,
        keys,
        values,
    } = found;
    failed(format!(
        "the drill failed: of a vault that was destroyed {way} there were left {headers} headers that its PIN opens, {keys} record keys, {values} of {DRILL_RECORDS} messages that open, {texts} in clear"
    ))
}

#[cfg(test)]
mod tests {
    use emptyroom_vault::File;

    use super::*;

    fn home(name: &str) -> PathBuf {
        let home =
            std::env::temp_dir().join(format!("emptyroom-node-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&home).unwrap();
        home
    }

    fn run_here(home: &Path) -> Outcome {
        run_on(home, KdfParams::minimum(), &|path| {
            Box::new(OsDirectory::at(path))
        })
    }

    // [SPEC 11.92]
    #[test]
    fn a_drill_passes_and_leaves_nothing() {
        let home = home("drill");
        // One was cut off before.
        std::fs::create_dir(home.join("drill")).unwrap();
        for name in ["header", "records", "lock"] {
            std::fs::write(home.join("drill").join(name), b"left over").unwrap();
        }
        let Outcome::Passed(steps) = run_here(&home) else {
            panic!("it passes");
        };
        let ways: Vec<_> = steps.iter().map(|step| step.way.as_str()).collect();
        assert_eq!(
            ways,
            ["panic_pin", "without_pin", "open_panic", "open_order"]
        );
        assert_eq!(std::fs::read_dir(&home).unwrap().count(), 0);
        std::fs::remove_dir_all(&home).unwrap();
    }

    // [SPEC 11.92]
    #[test]
    fn an_order_that_is_lost_fails_the_drill() {
        let home = home("drill-order");
        let place = Place::make(&home).unwrap();
        for is_lost in [false, true] {
            let Ok(order) = Order::begin(Way::OpenWipe, &place) else {
                panic!("it is written down");
            };
            if is_lost {
                std::fs::remove_file(place.0.join("outside")).unwrap();
            }
            assert_eq!(order.end(&place).is_err(), is_lost);
        }
        drop(place);
        std::fs::remove_dir_all(&home).unwrap();
    }

    // [SPEC 11.92]
    #[test]
    fn one_that_cannot_begin_says_so() {
        let home = home("drill-nowhere");
        std::fs::write(home.join("drill"), b"a file is in the way").unwrap();
        let Outcome::NotBegun(failure) = run_here(&home) else {
            panic!("it cannot begin");
        };
        assert_eq!(failure.error, "vault_write");
        std::fs::remove_dir_all(&home).unwrap();
    }

    /// It says what to do, and is not taken for one that failed.
    // [SPEC 11.92]
    #[test]
    fn one_without_room_says_what_to_do() {
        struct Full(OsDirectory);

        impl Directory for Full {
            fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
                self.0.lock()
            }

            fn create(&self, _name: &str) -> io::Result<Box<dyn File>> {
                Err(io::ErrorKind::StorageFull.into())
            }

            fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
                self.0.open(name)
            }

            fn rename(&self, from: &str, to: &str) -> io::Result<()> {
                self.0.rename(from, to)
            }

            fn remove(&self, name: &str) -> io::Result<()> {
                self.0.remove(name)
            }

            fn sync(&self) -> io::Result<()> {
                Directory::sync(&self.0)
            }
        }

        let home = home("drill-full");
        let opens = |path: &Path| -> Box<dyn Directory> { Box::new(Full(OsDirectory::at(path))) };
        let Outcome::NotBegun(failure) = run_on(&home, KdfParams::minimum(), &opens) else {
            panic!("it cannot begin");
        };
        assert_eq!(failure.error, "vault_full");
        assert!(failure.hint.unwrap().starts_with("make room"));
        assert_eq!(in_the_way(&io::ErrorKind::StorageFull.into()), full());
        std::fs::remove_dir_all(&home).unwrap();
    }

    /// What is somebody's own is not removed, nor is what a link leads to.
    // [SPEC 11.92]
    #[test]
    fn nothing_is_removed_that_no_drill_made() {
        let home = home("drill-of-somebody");
        let (drill, other) = (home.join("drill"), home.join("other"));
        std::fs::create_dir_all(&other).unwrap();
        std::fs::write(other.join("header"), b"a vault").unwrap();
        std::os::unix::fs::symlink(&other, &drill).unwrap();
        let stopped = run_here(&home);
        assert!(matches!(stopped, Outcome::NotBegun(_)));
        assert!(other.join("header").exists());
        std::fs::remove_file(&drill).unwrap();
        std::fs::create_dir(&drill).unwrap();
        std::fs::write(drill.join("plans"), b"for the fire brigade").unwrap();
        let stopped = run_here(&home);
        assert!(matches!(stopped, Outcome::NotBegun(_)));
        assert!(drill.join("plans").exists());
        std::fs::remove_dir_all(&home).unwrap();
    }

    /// A disk that loses what is written over what it has.
    struct Losing(OsDirectory);

    struct LosingFile(Box<dyn File>);

    impl Directory for Losing {
        fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
            self.0.lock()
        }

        fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
            self.0.create(name)
        }

        fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
            let file = self.0.open(name)?;
            Ok(Box::new(LosingFile(file)))
        }

        fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            self.0.rename(from, to)
        }

        fn remove(&self, name: &str) -> io::Result<()> {
            self.0.remove(name)
        }

        fn sync(&self) -> io::Result<()> {
            Directory::sync(&self.0)
        }
    }

    impl File for LosingFile {
        fn len(&self) -> io::Result<u64> {
            self.0.len()
        }

        fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.0.read_at(offset, out)
        }

        fn write_at(&self, _offset: u64, _data: &[u8]) -> io::Result<()> {
            Ok(())
        }

        fn reserve(&self, len: u64) -> io::Result<()> {
            self.0.reserve(len)
        }

        fn truncate(&self, len: u64) -> io::Result<()> {
            self.0.truncate(len)
        }

        fn sync(&self) -> io::Result<()> {
            self.0.sync()
        }
    }

    /// The fifth time that the directory is opened is the one that destroys: before it, the vault is made, opened, and searched twice, for
    /// its header and for the rest.
    // [SPEC 11.92]
    #[test]
    fn a_wipe_that_does_not_reach_the_disk_fails_the_drill() {
        let home = home("drill-broken");
        let opened = std::cell::Cell::new(0);
        let opens = |path: &Path| -> Box<dyn Directory> {
            opened.set(opened.get() + 1);
            let directory = OsDirectory::at(path);
            if opened.get() == 5 {
                Box::new(Losing(directory))
            } else {
                Box::new(directory)
            }
        };
        let Outcome::Failed(failure) = run_on(&home, KdfParams::minimum(), &opens) else {
            panic!("nothing was destroyed");
        };
        assert_eq!(
            (failure.error.as_str(), failure.exit),
            ("drill_failed", Exit::Fault)
        );
        assert!(failure.text.contains("2 headers"), "{}", failure.text);
        assert!(
            failure.text.contains("200 of 200 messages"),
            "{}",
            failure.text
        );
        assert_eq!(std::fs::read_dir(&home).unwrap().count(), 0);
        std::fs::remove_dir_all(&home).unwrap();
    }
}
