//! The disk's own limit: one file, written and synced in the batches that a relay made, by nobody else.

use crate::Trouble;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Entries in a second that the disk under `directory` takes, each batch of `batch` entries written at the end of a file and made
/// durable by one `fdatasync`.
///
/// # Errors
/// When it cannot be written.
pub fn entries_per_second(
    directory: &Path,
    entry_len: usize,
    batch: usize,
    lasts: Duration,
) -> Result<f64, Trouble> {
    let path = directory.join("limit");
    let mut file = File::create(&path)?;
    // Bytes that no file system leaves out.
    let bytes = crate::payload::payload(entry_len * batch.max(1), Instant::now(), 5);
    let start = Instant::now();
    let mut batches = 0_u32;
    while start.elapsed() < lasts {
        file.write_all(&bytes)?;
        file.sync_data()?;
        batches += 1;
    }
    let took = start.elapsed().as_secs_f64();
    drop(file);
    std::fs::remove_file(path)?;
    Ok(f64::from(batches) * batch.max(1) as f64 / took)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_disk_takes_something_and_keeps_nothing() {
        let scratch = Scratch::new("disk").unwrap();
        let lasts = Duration::from_millis(20);
        let rate = entries_per_second(&scratch.path, 4_096, 4, lasts).unwrap();
        assert!(rate >= 4.0);
        assert_eq!(std::fs::read_dir(&scratch.path).unwrap().count(), 0);
    }
}
