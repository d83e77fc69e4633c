//! Files of a backup, as they are copied and taken away again.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::data::DataError;

const PIECE: usize = 64 * 1024;

/// Shares the blocks where the file system can, so that nobody waits; else reads and writes, and leaves out what is zero.
pub(super) fn copy_file(from: &Path, to: &Path, stop: &AtomicBool) -> Result<(), DataError> {
    let refused = |e| DataError::io("copy", from, e);
    let source = File::open(from).map_err(refused)?;
    let made = |e| DataError::io("make", to, e);
    not_stopped(stop).map_err(refused)?;
    let target = private(to).map_err(made)?;
    if rustix::fs::ioctl_ficlone(&target, &source).is_ok() {
        return Ok(());
    }
    copy_bytes(source, target, stop).map_err(refused)
}

pub(super) fn not_stopped(stop: &AtomicBool) -> io::Result<()> {
    if stop.load(Ordering::Relaxed) {
        return Err(io::Error::other("it was stopped by a signal"));
    }
    Ok(())
}

fn private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

fn copy_bytes(mut from: File, mut to: File, stop: &AtomicBool) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    let mut len = 0_u64;
    loop {
        not_stopped(stop)?;
        let read = from.read(&mut piece)?;
        let bytes = piece.get(..read).unwrap_or_default();
        if bytes.is_empty() {
            return to.set_len(len);
        }
        len += u64::try_from(read).unwrap_or(0);
        if bytes.iter().all(|byte| *byte == 0) {
            to.seek(SeekFrom::Start(len))?;
        } else {
            to.write_all(bytes)?;
        }
    }
}

/// Removes a directory; what is secret in it is overwritten first, as far as the file system does that in its place.
// [SPEC 6.135]
pub(super) fn wipe(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            wipe(&path)?;
            continue;
        }
        let secret = path.extension().is_some_and(|ending| ending == "key")
            || path.file_name().is_some_and(|name| name == "access-code");
        if secret {
            // It goes even if this fails.
            let _ = overwrite(&path);
        }
        fs::remove_file(&path)?;
    }
    fs::remove_dir(directory)
}

fn overwrite(path: &Path) -> io::Result<()> {
    let mut file = File::options().write(true).open(path)?;
    let len = file.metadata()?.len();
    io::copy(&mut io::repeat(0).take(len), &mut file)?;
    file.sync_all()
}
