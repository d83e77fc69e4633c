//! Where links lead, so that what was reached by one stays reachable.

use std::fs::File;
use std::path::{Path, PathBuf};

/// Files of a directory that are tried.
const FILES_TRIED_MAX: usize = 16;
/// Links that are followed one after the other, as many as the kernel follows.
const LINKS_MAX: usize = 40;

/// The entries of a directory that are links, as what they lead to: whoever put them there wanted them followed. One that is made
/// later is not. What they lead to is not all there is; nor, but for a server, whose user may have no other place, the user's home.
pub(crate) fn linked(directory: &Path, serves: bool) -> Vec<PathBuf> {
    let Ok(entries) = directory.read_dir() else {
        return Vec::new();
    };
    let home = home().filter(|_| !serves);
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()))
        .filter_map(|entry| entry.path().canonicalize().ok())
        .filter(|target| is_narrow(target, home.as_deref()))
        .collect()
}

/// A file of a directory that can be written, if it has one.
pub(crate) fn a_file(directory: &Path) -> Option<PathBuf> {
    let entries = directory.read_dir().ok()?.filter_map(Result::ok);
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let mut files = files.map(|entry| entry.path()).take(FILES_TRIED_MAX);
    files.find(|path| File::options().write(true).open(path).is_ok())
}

/// The directory to which a link leads in the end, since what manages such a file puts a new one in its place; or the next one
/// above that is there, where it does not exist yet. Nothing where the file is no link, or that would be all there is, or
/// somebody's home.
pub(crate) fn way_to(link: &Path) -> Option<PathBuf> {
    let mut at = link.to_owned();
    for _ in 0..LINKS_MAX {
        let Ok(target) = at.read_link() else { break };
        at = at.parent()?.join(target);
    }
    if at == link {
        return None;
    }
    let there = at
        .parent()?
        .ancestors()
        .find_map(|d| d.canonicalize().ok())?;
    is_narrow(&there, home().as_deref()).then_some(there)
}

/// Whether a directory is neither the root nor a home, nor above one.
pub(crate) fn is_narrow(directory: &Path, home: Option<&Path>) -> bool {
    directory.parent().is_some() && home.is_none_or(|home| !home.starts_with(directory))
}

/// The user's, as far as is known.
pub(crate) fn home() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty())?;
    PathBuf::from(home).canonicalize().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_is_followed_to_what_is_there() {
        let stage = std::env::temp_dir().join(format!("emptyroom-places-{}", std::process::id()));
        fs::create_dir_all(stage.join("run/there")).unwrap();
        let stage = stage.canonicalize().unwrap();
        symlink("run/there/file", stage.join("dangling")).unwrap();
        symlink("run/later/below/file", stage.join("far")).unwrap();
        symlink("far", stage.join("twice")).unwrap();
        symlink("/nowhere", stage.join("root")).unwrap();
        symlink("loop", stage.join("loop")).unwrap();
        fs::write(stage.join("file"), b"").unwrap();
        let way = |name: &str| way_to(&stage.join(name));
        assert_eq!(way("dangling"), Some(stage.join("run/there")));
        assert_eq!(way("far"), Some(stage.join("run")));
        assert_eq!(way("twice"), Some(stage.join("run")));
        assert_eq!(way("root"), None);
        assert_eq!(way("loop"), None);
        assert_eq!(way("file"), None);
        assert_eq!(way("missing"), None);

        symlink("run/there", stage.join("other")).unwrap();
        for serves in [false, true] {
            assert_eq!(linked(&stage, serves), [stage.join("run/there")]);
        }
        fs::remove_dir_all(&stage).unwrap();
    }

    #[test]
    fn the_root_and_homes_are_too_wide() {
        let home = Path::new("/people/ada");
        assert!(is_narrow(Path::new("/run"), Some(home)));
        assert!(is_narrow(Path::new("/people/ada/config"), Some(home)));
        for wide in ["/", "/people", "/people/ada"] {
            assert!(!is_narrow(Path::new(wide), Some(home)), "{wide}");
        }
        assert!(is_narrow(Path::new("/run"), None));
    }
}
