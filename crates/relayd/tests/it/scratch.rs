//! Directories that go away with the test.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        Self::below(&std::env::temp_dir(), name)
    }

    /// Where syncing costs nothing, if there is such a place: for tests of what is decided, not of the disk.
    pub fn in_memory(name: &str) -> Self {
        let shared_memory = Path::new("/dev/shm");
        if shared_memory.is_dir() {
            Self::below(shared_memory, name)
        } else {
            Self::new(name)
        }
    }

    fn below(parent: &Path, name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!(
            "emptyroom-relay-{}-{number}-{name}",
            std::process::id()
        ));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Removes what processes left in memory that have ended: nothing of a process that is killed is dropped, nor what lives as long as it.
pub fn remove_leftovers() {
    for entry in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix("emptyroom-relay-");
        let process = process.and_then(|rest| rest.split('-').next());
        if let Some(process) = process.filter(|id| id.parse::<u32>().is_ok())
            && Path::new("/proc/self").exists()
            && !Path::new("/proc").join(process).exists()
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// All files below a directory, without sockets.
pub fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for file in fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found
}

/// How often bytes stand in any file below a directory.
pub fn count_below(directory: &Path, bytes: &[u8]) -> usize {
    let count = |path: &PathBuf| {
        let file = match fs::read(path) {
            // A running relay may have removed it since it was listed.
            Err(e) if e.kind() == ErrorKind::NotFound => return 0,
            file => file.unwrap(),
        };
        file.windows(bytes.len())
            .filter(|window| *window == bytes)
            .count()
    };
    files_below(directory).iter().map(count).sum()
}
