//! Files of which only some are open at a time: a store of a hundred gigabytes has more than a process may have open.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FallocateFlags, fallocate};

use super::DiskFile;
use crate::data::is_without_descriptor;

/// So many files stay open. What is written to a file is synced before anything is done with another, so none is closed in between
/// and takes the news of a failed write with it.
// [SPEC 6.116]
const OPEN_MAX: usize = 128;
/// So many are not closed for others where the process may have no more: the journal is among them, and what is written just now.
const KEPT_OPEN: usize = 8;

/// The open files of a disk.
#[derive(Clone, Default)]
pub(super) struct OpenFiles(Arc<Mutex<Opened>>);

#[derive(Default)]
struct Opened {
    files: BTreeMap<u64, Used>,
    /// Grows with each use.
    now: u64,
    /// The number of the next file.
    next: u64,
}

struct Used {
    file: Arc<File>,
    last: u64,
}

/// A file of an [`super::OsDisk`]. It is opened again when it is used and was closed.
pub struct OsFile {
    path: PathBuf,
    number: u64,
    files: OpenFiles,
}

impl OpenFiles {
    fn opened(&self) -> MutexGuard<'_, Opened> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn create(&self, path: PathBuf) -> io::Result<OsFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        self.begin(path, &options)
    }

    pub(super) fn open(&self, path: PathBuf) -> io::Result<OsFile> {
        self.begin(path, &to_use())
    }

    fn begin(&self, path: PathBuf, options: &OpenOptions) -> io::Result<OsFile> {
        let mut opened = self.opened();
        let number = opened.next;
        opened.take(number, || options.open(&path))?;
        opened.next = number.saturating_add(1);
        drop(opened);
        Ok(OsFile {
            path,
            number,
            files: self.clone(),
        })
    }
}

fn to_use() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options
}

impl Opened {
    /// The file of this number, opened if it is not.
    fn take(&mut self, number: u64, open: impl Fn() -> io::Result<File>) -> io::Result<Arc<File>> {
        self.now = self.now.saturating_add(1);
        if let Some(used) = self.files.get_mut(&number) {
            used.last = self.now;
            return Ok(Arc::clone(&used.file));
        }
        self.close_above(OPEN_MAX - 1);
        let file = loop {
            match open() {
                // Others need descriptors as well.
                Err(error) if is_without_descriptor(&error) && self.close_above(KEPT_OPEN) => {}
                opened => break Arc::new(opened?),
            }
        };
        let used = Used {
            file: Arc::clone(&file),
            last: self.now,
        };
        self.files.insert(number, used);
        Ok(file)
    }

    /// Where more than so many are open, closes the one that was not used for longest.
    fn close_above(&mut self, count: usize) -> bool {
        let mut used = self.files.iter();
        let oldest = used.clone().min_by_key(|(_, used)| used.last);
        match oldest.map(|(number, _)| *number) {
            Some(number) if used.nth(count).is_some() => self.files.remove(&number).is_some(),
            _ => false,
        }
    }
}

impl OsFile {
    fn file(&self) -> io::Result<Arc<File>> {
        let mut opened = self.files.opened();
        opened.take(self.number, || to_use().open(&self.path))
    }
}

impl Drop for OsFile {
    fn drop(&mut self) {
        self.files.opened().files.remove(&self.number);
    }
}

impl DiskFile for OsFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file()?.metadata()?.len())
    }

    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file()?.read_exact_at(bytes, at)
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file()?.write_all_at(bytes, at)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file()?.set_len(len)
    }

    fn erase(&self, at: u64, len: u64) -> io::Result<()> {
        let file = self.file()?;
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match fallocate(&*file, hole, at, len) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::OPNOTSUPP) => write_zeros(&file, at, len),
            Err(error) => Err(error.into()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.file()?.sync_data()
    }
}

/// For file systems without holes: nothing is given back, but nothing is left either.
fn write_zeros(file: &File, at: u64, len: u64) -> io::Result<()> {
    const ZEROS: [u8; 16 * 1024] = [0; 16 * 1024];
    let end = at.saturating_add(len);
    let mut at = at;
    while at < end {
        let step = usize::try_from(end - at)
            .unwrap_or(ZEROS.len())
            .min(ZEROS.len());
        let zeros = ZEROS.get(..step).unwrap_or(&ZEROS);
        file.write_all_at(zeros, at)?;
        at = at.saturating_add(zeros.len() as u64);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segments::disk::{Disk, OsDisk};
    use crate::testing::scratch;

    // [SPEC 6.116]
    #[test]
    fn more_files_are_used_than_are_open() {
        let dir = scratch("open-files");
        let disk = OsDisk::new(dir.path()).unwrap();
        let files: Vec<OsFile> = (0..1_000_u64)
            .map(|n| disk.create(&n.to_string()).unwrap())
            .collect();
        for round in 0..3_u64 {
            for (n, file) in (0..).zip(&files) {
                assert_eq!(file.len().unwrap(), round * 8);
                file.write_at(round * 8, &u64::to_be_bytes(n)).unwrap();
                file.sync().unwrap();
            }
        }
        let open = |disk: &OsDisk| disk.files.opened().files.len();
        assert_eq!(open(&disk), OPEN_MAX);
        for (n, file) in (0..).zip(&files) {
            let mut bytes = [0; 8];
            file.read_at(16, &mut bytes).unwrap();
            assert_eq!(u64::from_be_bytes(bytes), n);
        }
        drop(files);
        assert_eq!(open(&disk), 0);
    }
}
