//! On what the vault lies: whether overwriting there overwrites, as far as the system says.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Where the kernel tells of devices.
const SYS_BLOCK: &str = "/sys/dev/block";

/// The place of a vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Storage {
    pub(crate) kind: Kind,
    pub(crate) medium: Medium,
}

/// What the file system does with a block that is written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is overwritten where it lies.
    InPlace,
    /// It is written elsewhere, and the old one stays until its space is used again.
    CopyOnWrite,
    /// Whatever another machine does.
    Network,
    /// There is no disk.
    Memory,
    /// Not known here.
    Unknown,
}

/// What is below the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    /// It wears, so it writes elsewhere by itself.
    Flash,
    /// It says that it rotates. Virtual disks say so, too, whatever they lie on.
    Rotating,
    /// Nothing that says so.
    Unknown,
}

impl Storage {
    /// Asks the system about a directory.
    pub(crate) fn of(home: &Path) -> Self {
        // A number of 32 bits, whatever type it has on which machine.
        #[allow(clippy::cast_sign_loss)]
        let kind =
            rustix::fs::statfs(home).map_or(Kind::Unknown, |found| kind(found.f_type as u64));
        let device = fs::metadata(home).map(|found| found.dev());
        Self {
            kind,
            medium: device.map_or(Medium::Unknown, |device| {
                medium(Path::new(SYS_BLOCK), device)
            }),
        }
    }
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::InPlace => "in_place",
            Self::CopyOnWrite => "copy_on_write",
            Self::Network => "network",
            Self::Memory => "memory",
            Self::Unknown => "unknown",
        }
    }
}

impl Medium {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Flash => "flash",
            Self::Rotating => "rotating",
            Self::Unknown => "unknown",
        }
    }
}

/// By the numbers of the kernel's `magic.h` and of the file systems themselves.
// [SPEC 11.93]
fn kind(magic: u64) -> Kind {
    match magic & 0xffff_ffff {
        // ext2 to ext4, xfs, jfs, reiserfs, vfat, exfat, ntfs3, hfsplus
        0xef53 | 0x5846_5342 | 0x3153_464a | 0x5265_4973 | 0x4d44 | 0x2011_bab0 | 0x7366_746e
        | 0x482b => Kind::InPlace,
        // btrfs, zfs, bcachefs, f2fs, nilfs, ubifs, jffs2
        0x9123_683e | 0x2fc1_2fc1 | 0xca45_1a4e | 0xf2f5_2010 | 0x3434 | 0x2405_1905 | 0x72b6 => {
            Kind::CopyOnWrite
        }
        // nfs, smb, cifs, smb2, fuse and virtiofs, 9p, ceph, afs (twice), coda, ncp
        0x6969 | 0x517b | 0xff53_4d42 | 0xfe53_4d42 | 0x6573_5546 | 0x0102_1997 | 0x00c3_6400
        | 0x5346_414f | 0x6b41_4653 | 0x7375_7245 | 0x564c => Kind::Network,
        // tmpfs, ramfs
        0x0102_1994 | 0x8584_58f6 => Kind::Memory,
        _ => Kind::Unknown,
    }
}

/// A partition has what it says beside it, in its disk's directory.
// [SPEC 11.93]
fn medium(sys_block: &Path, device: u64) -> Medium {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let entry = sys_block.join(format!("{major}:{minor}"));
    // The entry is a link: `..` is to be that of what it leads to.
    let told = entry.canonicalize().ok().and_then(|entry| {
        let of_disk = entry.parent()?.join("queue/rotational");
        [entry.join("queue/rotational"), of_disk]
            .iter()
            .find_map(|path| fs::read_to_string(path).ok())
    });
    match told.as_deref().map(str::trim) {
        Some("0") => Medium::Flash,
        Some("1") => Medium::Rotating,
        _ => Medium::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // [SPEC 11.93]
    #[test]
    fn file_systems_are_known_by_their_numbers() {
        for (magic, known) in [
            (0xef53, Kind::InPlace),
            (0x5846_5342, Kind::InPlace),
            (0x9123_683e, Kind::CopyOnWrite),
            (0x2fc1_2fc1, Kind::CopyOnWrite),
            (0x6969, Kind::Network),
            (0x6573_5546, Kind::Network),
            (0x0102_1994, Kind::Memory),
            // overlayfs: it depends on what is below.
            (0x794c_7630, Kind::Unknown),
            // Where the kernel's type is signed, as an `i32` that became wider.
            (0xffff_ffff_9123_683e, Kind::CopyOnWrite),
        ] {
            assert_eq!(kind(magic), known, "{magic:x}");
        }
    }

    // [SPEC 11.93]
    #[test]
    fn a_partition_is_on_what_its_disk_says() {
        let sys =
            std::env::temp_dir().join(format!("emptyroom-node-{}-storage", std::process::id()));
        for (disk, says) in [("flash", "0\n"), ("plates", "1\n")] {
            fs::create_dir_all(sys.join(disk).join("queue")).unwrap();
            fs::create_dir_all(sys.join(disk).join("part")).unwrap();
            fs::write(sys.join(disk).join("queue/rotational"), says).unwrap();
        }
        let links = sys.join("block");
        fs::create_dir_all(&links).unwrap();
        for (number, to) in [
            ("8:0", "flash"),
            ("8:1", "flash/part"),
            ("8:17", "plates/part"),
        ] {
            std::os::unix::fs::symlink(sys.join(to), links.join(number)).unwrap();
        }
        let of = |major, minor| medium(&links, rustix::fs::makedev(major, minor));
        assert_eq!(of(8, 0), Medium::Flash);
        assert_eq!(of(8, 1), Medium::Flash);
        assert_eq!(of(8, 17), Medium::Rotating);
        assert_eq!(of(0, 42), Medium::Unknown);
        fs::remove_dir_all(&sys).unwrap();
    }

    // [SPEC 11.93]
    #[test]
    fn memory_is_told_from_a_disk() {
        let shared = Path::new("/dev/shm");
        if shared.is_dir() {
            assert_eq!(Storage::of(shared).kind, Kind::Memory);
            assert_eq!(Storage::of(shared).medium, Medium::Unknown);
        }
    }
}
