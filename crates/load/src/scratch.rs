//! A directory for one part's data.

use crate::Trouble;
use std::path::PathBuf;

/// A directory that goes when this value goes.
pub struct Scratch {
    /// Where it is.
    pub path: PathBuf,
}

impl Scratch {
    /// An empty one.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(part: &str) -> Result<Scratch, Trouble> {
        let path =
            std::env::temp_dir().join(format!("emptyroom-bench-{part}-{}", std::process::id()));
        std::fs::create_dir(&path)?;
        Ok(Scratch { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
