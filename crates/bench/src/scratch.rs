//! A directory for one part's data.

use crate::Trouble;
use std::path::PathBuf;

/// A directory that goes when this value goes.
pub(crate) struct Scratch {
    pub(crate) path: PathBuf,
}

impl Scratch {
    pub(crate) fn new(part: &str) -> Result<Scratch, Trouble> {
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
