//! The header's file: two copies, and never a moment without a whole one.

use std::io;

use super::{COPY_LEN, Header, HeaderFault};
use crate::directory::{Directory, File};
use crate::pair::Pair;
use crate::random::Random;

const NAME: &str = "header";
const NAME_NEW: &str = "header.new";
/// Both names that a header can have.
pub(crate) const NAMES: [&str; 2] = [NAME, NAME_NEW];
const OFFSETS: [u64; 2] = [0, 4096];

/// The open header file and what its good copy holds.
pub(crate) struct HeaderFile {
    file: Box<dyn File>,
    pair: Pair,
    /// Both copies are the same, durably.
    mirrored: bool,
    current: Header,
    /// The highest sequence that may have reached the disk.
    sequence: u64,
}

/// Why the header was not read.
pub(crate) enum HeaderOpenFault {
    Fault(HeaderFault),
    Io(io::Error),
}

impl HeaderFile {
    /// Whether there is one in `dir`.
    pub(crate) fn exists(dir: &dyn Directory) -> io::Result<bool> {
        match dir.open(NAME) {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Writes the first header. It appears whole, under its name, as the last step of a creation.
    pub(crate) fn create(dir: &dyn Directory, header: Header) -> io::Result<HeaderFile> {
        let file = dir.create(NAME_NEW)?;
        let image = header.encode();
        for offset in OFFSETS {
            file.write_at(offset, &image)?;
        }
        file.sync()?;
        dir.rename(NAME_NEW, NAME)?;
        dir.sync()?;
        Ok(HeaderFile {
            file,
            pair: Pair::new(OFFSETS, 0),
            mirrored: true,
            sequence: header.sequence,
            current: header,
        })
    }

    /// Reads both copies and takes the newer whole one.
    pub(crate) fn open(dir: &dyn Directory) -> Result<HeaderFile, HeaderOpenFault> {
        let file = dir.open(NAME).map_err(HeaderOpenFault::Io)?;
        // What is read from here on is durable: a process may have died before it synced.
        file.sync().map_err(HeaderOpenFault::Io)?;
        Self::read(file)
    }

    /// The same where it is to be destroyed: then it need not be durable, and a moment's fault is no reason to forget what it names.
    // [SPEC 11.110]
    pub(crate) fn open_to_destroy(dir: &dyn Directory) -> Result<HeaderFile, HeaderOpenFault> {
        let once = || {
            let file = dir.open(NAME).map_err(HeaderOpenFault::Io)?;
            // A fault that was kept for whoever syncs next is taken here, and not by what is written.
            let _ = file.sync();
            Self::read(file)
        };
        match once() {
            Err(HeaderOpenFault::Io(e)) if e.kind() != io::ErrorKind::NotFound => once(),
            found => found,
        }
    }

    fn read(file: Box<dyn File>) -> Result<HeaderFile, HeaderOpenFault> {
        let mut unread = None;
        let mut copies = [[0; COPY_LEN]; 2];
        let mut read = [Err(HeaderFault::Corrupt), Err(HeaderFault::Corrupt)];
        for ((offset, copy), read) in OFFSETS.into_iter().zip(&mut copies).zip(&mut read) {
            match file.read_at(offset, copy) {
                Ok(()) => *read = Header::decode(copy),
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {}
                // [SPEC 11.110] As damaged: at rest the other one is the same, and what is written over it heals the disk.
                Err(e) => unread = Some(e),
            }
        }
        let mirrored = unread.is_none() && copies[0] == copies[1];
        let (good, current) = choose(read).map_err(|fault| match (fault, unread) {
            (HeaderFault::Corrupt, Some(e)) => HeaderOpenFault::Io(e),
            (fault, _) => HeaderOpenFault::Fault(fault),
        })?;
        Ok(HeaderFile {
            file,
            pair: Pair::new(OFFSETS, good),
            mirrored,
            sequence: current.sequence,
            current,
        })
    }

    /// Overwrites a header that cannot be read or replaced, as far as the disk lets it.
    pub(crate) fn scrub(dir: &dyn Directory, random: &Random) -> io::Result<()> {
        let file = dir.open(NAME)?;
        let scrubbed = OFFSETS.map(|offset| {
            let written = file.write_at(offset, &random.array::<COPY_LEN>());
            written.and(file.sync())
        });
        scrubbed.into_iter().fold(Ok(()), io::Result::and)
    }

    pub(crate) fn current(&self) -> &Header {
        &self.current
    }

    /// Makes `header` the one that counts. `seal` is called with its sequence set, to seal the body.
    ///
    /// When this returns, no copy holds an older header any more.
    pub(crate) fn replace(
        &mut self,
        mut header: Header,
        seal: impl FnOnce(&mut Header),
    ) -> Result<(), ReplaceError> {
        // [SPEC 11.10]
        self.sequence += 1;
        header.sequence = self.sequence;
        seal(&mut header);
        let image = header.encode();
        self.mirrored = false;
        self.pair
            .write_other(&*self.file, &image)
            .and_then(|()| self.file.sync())
            .map_err(ReplaceError::NotReplaced)?;
        self.pair.promote();
        self.current = header;
        self.mirror().map_err(ReplaceError::OldRemains)
    }

    /// Overwrites what the other copy holds: an older header, or one whose writing failed.
    pub(crate) fn mirror(&mut self) -> io::Result<()> {
        if !self.mirrored {
            self.pair.write_other(&*self.file, &self.current.encode())?;
            self.file.sync()?;
            self.mirrored = true;
        }
        Ok(())
    }
}

/// What is on the disk after a header was not replaced as it should have been.
pub(crate) enum ReplaceError {
    /// The old header counts, unless the process dies now: then it may be the new one.
    NotReplaced(io::Error),
    /// The new header counts, but a copy of the old one may still be there.
    OldRemains(io::Error),
}

fn choose(
    [first, second]: [Result<Header, HeaderFault>; 2],
) -> Result<(usize, Header), HeaderFault> {
    match (first, second) {
        // [SPEC 11.9]
        (Err(HeaderFault::Newer(v)), _) | (_, Err(HeaderFault::Newer(v))) => {
            Err(HeaderFault::Newer(v))
        }
        (Ok(a), Ok(b)) if b.sequence > a.sequence => Ok((1, b)),
        (Ok(a), _) => Ok((0, a)),
        (_, Ok(b)) => Ok((1, b)),
        (Err(fault), Err(_)) => Err(fault),
    }
}
