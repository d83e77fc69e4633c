//! A directory that keeps what is in files at the moment when their space is given back: from then on
//! no name leads there, and it lies on the disk as it is.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::directory::{Directory, File};

/// The contents of files when they were given up.
#[derive(Clone, Default)]
pub(super) struct GivenUp(Arc<Mutex<Vec<Vec<u8>>>>);

impl GivenUp {
    pub(super) fn contents(&self) -> Vec<Vec<u8>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn keep(&self, file: &dyn File) -> io::Result<()> {
        let bytes = read(file)?;
        let mut contents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        contents.push(bytes);
        Ok(())
    }
}

/// The whole of a file, from the disk if the system does that.
pub(super) fn read(file: &dyn File) -> io::Result<Vec<u8>> {
    file.forget_cached();
    let len = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; len];
    file.read_at(0, &mut bytes)?;
    Ok(bytes)
}

/// The directory, watched.
pub(super) struct Witness {
    pub(super) watched: Box<dyn Directory>,
    pub(super) given_up: GivenUp,
}

struct WitnessFile {
    watched: Box<dyn File>,
    given_up: GivenUp,
}

impl Witness {
    fn gives_up(&self, name: &str) -> io::Result<()> {
        match self.watched.open(name) {
            Ok(file) => self.given_up.keep(&*file),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
        }
    }

    fn file(&self, watched: Box<dyn File>) -> Box<dyn File> {
        Box::new(WitnessFile {
            watched,
            given_up: self.given_up.clone(),
        })
    }
}

impl Directory for Witness {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.watched.lock()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.gives_up(name)?;
        Ok(self.file(self.watched.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(self.file(self.watched.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.gives_up(to)?;
        self.watched.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.gives_up(name)?;
        self.watched.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.watched.sync()
    }
}

impl File for WitnessFile {
    fn len(&self) -> io::Result<u64> {
        self.watched.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.watched.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.watched.write_at(offset, data)
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        self.watched.reserve(len)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.given_up.keep(&*self.watched)?;
        self.watched.truncate(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.watched.sync()
    }
}
