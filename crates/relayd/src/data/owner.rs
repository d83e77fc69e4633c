//! Whose the files of a data directory are: root may have worked there for a service.

use std::fs::File;
use std::io;

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, chownat, fstat, open, openat,
};
use rustix::io::Errno;

use super::{DataDir, DataError};
use crate::medium::Kind;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);
/// Whatever it is, and without reading it.
const THIS: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What lies deeper is not ours.
const LEVELS_MAX: u32 = 8;

/// Gives everything in a data directory to whoever owns that. Its owner may change it meanwhile, and must not lead root elsewhere: so each file
/// is opened first, and no link followed but those to a whole store, which must be his.
///
/// # Errors
/// What the system refused.
pub(crate) fn give_to_owner(data: &DataDir) -> Result<(), DataError> {
    let path = data.join("");
    let given = give_all(&path);
    given.map_err(|e| DataError::io("give to its owner", &path, io::Error::from(e)))
}

fn give_all(path: &std::path::Path) -> Result<(), Errno> {
    let top = open(path, DIRECTORY, Mode::empty())?;
    let owner = fstat(&top)?;
    give_below(&top.into(), &owner, LEVELS_MAX)?;
    let top = open(path, DIRECTORY, Mode::empty())?;
    for kind in [Kind::Sqlite, Kind::Segments] {
        let name = kind.directory();
        let link = openat(&top, name, THIS, Mode::empty()).and_then(fstat);
        if link.is_ok_and(|found| is(&found, FileType::Symlink))
            && let Ok(linked) = openat(&top, name, DIRECTORY, Mode::empty())
            && fstat(&linked)?.st_uid == owner.st_uid
        {
            give_below(&linked.into(), &owner, LEVELS_MAX)?;
        }
    }
    Ok(())
}

fn give_below(directory: &File, owner: &Stat, levels: u32) -> Result<(), Errno> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if [c".", c".."].contains(&name) {
            continue;
        }
        let this = match openat(directory, name, THIS, Mode::empty()) {
            // It may have gone.
            Err(Errno::NOENT) => continue,
            this => this?,
        };
        let found = fstat(&this)?;
        let is_directory = is(&found, FileType::Directory);
        let is_owners = (found.st_uid, found.st_gid) == (owner.st_uid, owner.st_gid);
        // Under another name it may be somebody else's.
        if !is_owners && (is_directory || found.st_nlink == 1) {
            let (user, group) = (Uid::from_raw(owner.st_uid), Gid::from_raw(owner.st_gid));
            chownat(&this, c"", Some(user), Some(group), AtFlags::EMPTY_PATH)?;
        }
        if is_directory && levels > 0 {
            let below = openat(&this, c".", DIRECTORY, Mode::empty())?;
            give_below(&below.into(), owner, levels - 1)?;
        }
    }
    Ok(())
}

fn is(found: &Stat, kind: FileType) -> bool {
    FileType::from_raw_mode(found.st_mode) == kind
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, chown, symlink};
    use std::path::Path;

    use super::*;
    use crate::testing::scratch;

    const OWNER: u32 = 61_234;

    // [SPEC 6.219]
    #[test]
    fn what_root_made_is_the_owners_and_nothing_elsewhere_is() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = scratch("owner");
        let place = |name: &str| dir.path().join(name);
        let data = DataDir::open(&place("data")).unwrap();
        for made in ["data/segments", "data/segments/quarantine", "disk", "etc"] {
            fs::create_dir(place(made)).unwrap();
        }
        let made = [
            "data/lock",
            "data/exported",
            "data/segments",
            "data/segments/day",
            "data/segments/quarantine",
            "data/segments/quarantine/key",
        ];
        for file in made
            .iter()
            .chain(&["disk/rows", "etc/passwd", "etc/shadow"])
        {
            if !place(file).is_dir() {
                fs::write(place(file), file).unwrap();
            }
        }
        symlink(place("etc"), place("data/elsewhere")).unwrap();
        symlink(place("disk"), place("data/store")).unwrap();
        fs::hard_link(place("etc/shadow"), place("data/shadow")).unwrap();
        chown(place("data"), Some(OWNER), Some(OWNER)).unwrap();
        give_to_owner(&data).unwrap();
        let owner = |path: &Path| fs::symlink_metadata(path).unwrap().uid();
        for file in made {
            assert_eq!(owner(&place(file)), OWNER, "{file}");
        }
        // A disk of his that the store lies on, and not of somebody else.
        for file in ["etc", "etc/passwd", "etc/shadow", "disk", "disk/rows"] {
            assert_eq!(owner(&place(file)), 0, "{file}");
        }
        chown(place("disk"), Some(OWNER), Some(OWNER)).unwrap();
        give_to_owner(&data).unwrap();
        assert_eq!(owner(&place("disk/rows")), OWNER);
    }
}
