//! The project's files as the checks see them: paths, Rust sources, other texts.

use crate::source::Source;
use std::fs;
use std::path::{Path, PathBuf};

/// Directories that hold nothing of ours.
const SKIPPED: &[&str] = &["target", ".git", "artifacts", "coverage"];

/// Everything under one root.
pub(crate) struct Tree {
    pub(crate) root: PathBuf,
    /// Paths from the root with `/`, in order.
    pub(crate) files: Vec<String>,
    pub(crate) sources: Vec<Source>,
}

/// One thing that a check has to say.
#[derive(Debug)]
pub(crate) struct Finding {
    /// Where: `path:line`, a crate, or a clause.
    pub(crate) place: String,
    /// What is wrong and what would be right.
    pub(crate) text: String,
    /// Whether the check fails by it.
    pub(crate) fails: bool,
}

impl Finding {
    pub(crate) fn fail(place: impl Into<String>, text: impl Into<String>) -> Finding {
        Finding {
            place: place.into(),
            text: text.into(),
            fails: true,
        }
    }

    pub(crate) fn note(place: impl Into<String>, text: impl Into<String>) -> Finding {
        Finding {
            fails: false,
            ..Finding::fail(place, text)
        }
    }
}

/// The workspace's root: where this program's own crate lies.
pub(crate) fn root() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    own.parent().map_or_else(|| own.clone(), Path::to_path_buf)
}

impl Tree {
    /// Reads the tree under `root`.
    ///
    /// # Errors
    /// When a file or directory cannot be read.
    pub(crate) fn read(root: &Path) -> Result<Tree, String> {
        let mut files = Vec::new();
        walk(root, root, &mut files)?;
        files.sort();
        let mut sources = Vec::new();
        for path in files.iter().filter(|path| path.ends_with(".rs")) {
            let text = fs::read_to_string(root.join(path)).map_err(|e| format!("{path}: {e}"))?;
            sources.push(Source::new(path.clone(), text));
        }
        mark_test_modules(&mut sources);
        Ok(Tree {
            root: root.to_path_buf(),
            files,
            sources,
        })
    }

    /// A file as text; `None` where it is not text or not there.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        String::from_utf8(fs::read(self.root.join(path)).ok()?).ok()
    }
}

fn walk(root: &Path, directory: &Path, files: &mut Vec<String>) -> Result<(), String> {
    let named = |e: std::io::Error| format!("{}: {e}", directory.display());
    for entry in fs::read_dir(directory).map_err(named)? {
        let entry = entry.map_err(named)?;
        let path = entry.path();
        let kind = entry.file_type().map_err(named)?;
        if kind.is_dir() {
            let name = entry.file_name();
            if !SKIPPED.iter().any(|skipped| name == *skipped) {
                walk(root, &path, files)?;
            }
        } else if kind.is_file() {
            let relative = path.strip_prefix(root).unwrap_or(&path);
            let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
            files.push(parts.join("/"));
        }
    }
    Ok(())
}

/// Marks files that are only there under `#[cfg(test)] mod name;`, and what lies below them.
fn mark_test_modules(sources: &mut [Source]) {
    let modules: Vec<String> = sources.iter().flat_map(Source::test_modules).collect();
    for source in sources {
        let stem = source.path.strip_suffix(".rs").unwrap_or(&source.path);
        let is_test = modules.iter().any(|module| {
            stem == module
                || stem
                    .strip_prefix(module.as_str())
                    .is_some_and(|rest| rest.starts_with('/'))
        });
        source.is_test |= is_test;
    }
}

/// A tree in a temporary directory, for the tests of the checks.
#[cfg(test)]
pub(crate) mod testing {
    use super::Tree;
    use std::sync::atomic::{AtomicU32, Ordering};

    pub(crate) struct Temporary(std::path::PathBuf);

    impl Temporary {
        pub(crate) fn new(files: &[(&str, &str)]) -> Temporary {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("emptyroom-xtask-{}-{number}", std::process::id());
            let root = std::env::temp_dir().join(name);
            for (path, text) in files {
                let path = root.join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            Temporary(root)
        }

        pub(crate) fn tree(&self) -> Tree {
            Tree::read(&self.0).unwrap()
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}
