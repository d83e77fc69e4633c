//! The drill passes where destroying works, and fails where it does not.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use emptyroom_vault::{
    DRILL_RECORDS, Directory, Drill, DrillError, File, Found, Ground, KdfParams, Way,
};

use crate::disk::Disk;
use crate::support::fresh_rng;

const WAYS: [Way; 4] = [
    Way::PanicPin,
    Way::WithoutSecret,
    Way::OpenPanic,
    Way::OpenWipe,
];

fn drilled(way: Way, directory: &dyn Fn() -> Box<dyn Directory>) -> Result<Found, DrillError> {
    let ground = Ground {
        directory,
        random: &fresh_rng,
    };
    let mut drill = Drill::prepare(&ground, KdfParams::minimum(), way)?;
    drill.destroy()?;
    drill.look()
}

// [SPEC 11.92]
#[test]
fn nothing_is_found_where_destroying_works() {
    for way in WAYS {
        let disk = Disk::new();
        let found = drilled(way, &|| disk.boxed()).unwrap();
        assert!(found.is_nothing(), "{way:?}: {found:?}");
    }
}

/// A vault that nobody destroys is found, whole.
// [SPEC 11.92]
#[test]
fn everything_is_found_where_nothing_was_destroyed() {
    for way in WAYS {
        let disk = Disk::new();
        let ground = Ground {
            directory: &|| disk.boxed(),
            random: &fresh_rng,
        };
        let drill = Drill::prepare(&ground, KdfParams::minimum(), way).unwrap();
        let found = drill.look().unwrap();
        assert!(found.headers > 0 && found.keys > DRILL_RECORDS, "{found:?}");
        assert_eq!(found.values, DRILL_RECORDS);
        assert_eq!(found.texts, 0, "nothing of it ever stands there in clear");
    }
}

/// A disk that says it wrote, and did not.
struct Losing {
    disk: Disk,
    /// The file whose writes are lost, once it is there.
    loses: &'static str,
    /// From now on, also of files that were opened before.
    begun: Arc<AtomicBool>,
}

struct LosingFile {
    file: Box<dyn File>,
    loses: bool,
    begun: Arc<AtomicBool>,
}

impl Losing {
    fn wrap(&self, file: Box<dyn File>, name: &str, new: bool) -> Box<dyn File> {
        let loses = !new && name.starts_with(self.loses);
        let begun = self.begun.clone();
        Box::new(LosingFile { file, loses, begun })
    }
}

impl Directory for Losing {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.disk.lock()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(self.wrap(self.disk.create(name)?, name, true))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(self.wrap(self.disk.open(name)?, name, false))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Directory::sync(&self.disk)
    }
}

impl File for LosingFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.loses && self.begun.load(Relaxed) {
            return Ok(());
        }
        self.file.write_at(offset, data)
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        self.file.reserve(len)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

/// The disk begins to lose writes when the vault is there: a real one destroyed on it would be no more destroyed.
// [SPEC 11.92]
#[test]
fn a_wipe_that_writes_nothing_is_found_out() {
    for (way, loses) in [
        (Way::PanicPin, "header"),
        (Way::PanicPin, "keys"),
        (Way::PanicPin, ""),
        (Way::WithoutSecret, "header"),
        (Way::WithoutSecret, "keys"),
        (Way::WithoutSecret, ""),
        (Way::OpenPanic, "header"),
        (Way::OpenPanic, "keys"),
        (Way::OpenPanic, ""),
        (Way::OpenWipe, "header"),
        (Way::OpenWipe, "keys"),
        (Way::OpenWipe, ""),
    ] {
        let what = format!("{way:?}, losing {loses:?}");
        let disk = Disk::new();
        let begun = Arc::new(AtomicBool::new(false));
        let directory = || -> Box<dyn Directory> {
            let (disk, begun) = (disk.clone(), begun.clone());
            Box::new(Losing { disk, loses, begun })
        };
        let ground = Ground {
            directory: &directory,
            random: &fresh_rng,
        };
        let mut drill = Drill::prepare(&ground, KdfParams::minimum(), way).unwrap();
        begun.store(true, Relaxed);
        drill.destroy().unwrap();
        begun.store(false, Relaxed);
        let found = drill.look().unwrap();
        assert!(!found.is_nothing(), "{what}: {found:?}");
        let headers = found.headers > 0;
        assert_eq!(headers, loses != "keys", "{what}: {found:?}");
        let keys = found.keys >= DRILL_RECORDS && found.values == DRILL_RECORDS;
        assert_eq!(keys, loses != "header", "{what}: {found:?}");
    }
}
