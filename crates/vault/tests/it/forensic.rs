//! Deleted is gone: whoever has the vault key and everything that the disk ever held, but not the
//! roots that were overwritten, finds no deleted or replaced value and opens no sealed one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use emptyroom_vault::os::OsDirectory;
use emptyroom_vault::{Directory, KdfParams, Vault, wipe};

use crate::disk::{Disk, Recorded};
use crate::machine;
use crate::reader::{self, BLOCK_SEALED, DATA_START, Key, SECTOR, Seized};
use crate::support::{Changes, SECRET, delete, fresh_rng, panic_pin, put, secret};

const MARKED: usize = 200;
const MARKER: &[u8] = b"MARKER-of-a-message-that-expired";

/// A value with the marker in it.
fn marked(n: usize) -> Vec<u8> {
    let mut value = MARKER.to_vec();
    value.extend(format!("-{n:04}").bytes());
    value.extend(vec![b'.'; n % 90]);
    value
}

/// The rows that somebody kept, by name: every version that a name ever had.
type Kept = BTreeSet<(Vec<u8>, Vec<u8>)>;

/// Writes marked messages among others and a state that is replaced all the time, keeps their sealed
/// rows, then deletes the messages one by one and in batches.
fn life(dir: impl Fn() -> Box<dyn Directory>, file: impl Fn(&str) -> Vec<u8>) -> (Vault, Kept) {
    let mut vault = Vault::create(dir(), &secret(), KdfParams::minimum(), fresh_rng()).unwrap();
    let mut kept = Kept::new();
    let mut keep = |names: &dyn Fn(&[u8]) -> bool| {
        let seized = reader::seize(&file, SECRET).unwrap();
        for (name, row) in seized.rows {
            if names(&name) {
                kept.insert((name, row));
            }
        }
    };
    for n in 0..MARKED {
        vault
            .apply(vec![
                put(&format!("message/{n:04}"), &marked(n)),
                put(&format!("other/{n:04}"), b"stays"),
                put("state", &marked(n)),
            ])
            .unwrap();
        if n % 20 == 19 {
            keep(&|name| !name.starts_with(b"other"));
        }
    }
    vault.apply(vec![put("state", b"the last one")]).unwrap();
    for n in 0..40 {
        vault
            .apply(vec![delete(&format!("message/{n:04}"))])
            .unwrap();
    }
    for batch in [40..120, 120..MARKED] {
        let batch = batch.map(|n| delete(&format!("message/{n:04}")));
        vault.apply(batch.collect()).unwrap();
    }
    assert!(kept.len() >= MARKED);
    (vault, kept)
}

fn count(haystack: &[u8], needle: &[u8]) -> usize {
    haystack
        .windows(needle.len())
        .filter(|window| *window == needle)
        .count()
}

fn opened(kept: &Kept, keys: &BTreeSet<Key>) -> usize {
    // Every kept row against every key: that nothing opens must not hang on slot or generation.
    kept.iter()
        .filter(|(name, row)| {
            keys.iter()
                .any(|key| reader::open_row(name, row, key).is_some())
        })
        .count()
}

/// Keys in whatever opens as a sector under this root: sectors and journal images alike.
fn keys_in(chunk: &[u8], key: &Key, sectors: u32, keys: &mut BTreeSet<Key>) {
    for number in 0..sectors {
        if let Some(plain) = reader::open_sealed(key, &number.to_be_bytes(), chunk) {
            keys.extend(reader::keys_of(&plain).into_iter().map(|(_, key)| key));
        }
    }
}

/// The same for every version of every sector that was ever written.
pub fn keys_ever(
    recorded: &[Recorded],
    header: &reader::OpenedHeader,
    root: &Key,
) -> BTreeSet<Key> {
    let key = reader::sector_key(&header.vault, root);
    let mut keys = BTreeSet::new();
    for write in recorded.iter().filter(|write| write.name != "records") {
        for (index, chunk) in write.bytes.chunks_exact(SECTOR).enumerate() {
            let at = write.offset as u32 / 4096 + index as u32;
            if write.name == "journal" {
                keys_in(chunk, &key, header.sectors, &mut keys);
            } else if let Some(plain) = reader::open_sealed(&key, &at.to_be_bytes(), chunk) {
                keys.extend(reader::keys_of(&plain).into_iter().map(|(_, key)| key));
            }
        }
    }
    keys
}

/// Every version of every block of the table that opens.
pub fn opened_blocks(recorded: &[Recorded], key: &Key) -> Vec<Vec<u8>> {
    let mut blocks = Vec::new();
    for write in recorded.iter().filter(|write| write.name == "records") {
        if (write.offset as usize) < DATA_START {
            continue;
        }
        let first = (write.offset as usize - DATA_START) / BLOCK_SEALED + 1;
        for (index, sealed) in write.bytes.chunks_exact(BLOCK_SEALED).enumerate() {
            let number = (first + index) as u64;
            blocks.push(reader::open_sealed(key, &number.to_be_bytes(), sealed).unwrap());
        }
    }
    blocks
}

/// What may be rows with values of this length, carved out of a block of the table: slot and
/// generation are small, and a nonce follows.
pub fn rows_in(block: &[u8], value_len: usize) -> Vec<Vec<u8>> {
    let zeros = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == 0).count();
    block
        .windows(8 + 40 + value_len)
        .filter(|row| zeros(&row[..2]) == 2 && zeros(&row[4..7]) == 3 && zeros(&row[8..32]) < 4)
        .map(<[u8]>::to_vec)
        .collect()
}

fn living_keys(seized: &Seized) -> BTreeSet<Key> {
    seized.keys.iter().map(|(_, key)| *key).collect()
}

// [SPEC 11.14]
// [SPEC 11.18]
#[test]
fn nothing_is_left_in_the_files() {
    let disk = Disk::new();
    let (vault, kept) = life(|| disk.boxed(), |name| disk.bytes(name));
    let look = |when: &str| {
        let seized = reader::seize(|name| disk.bytes(name), SECRET).unwrap();
        for name in disk.names() {
            assert_eq!(count(&disk.bytes(&name), MARKER), 0, "{when}: {name}");
        }
        assert_eq!(count(&seized.database, MARKER), 0, "{when}");
        assert_eq!(opened(&kept, &living_keys(&seized)), 0, "{when}");
        assert_eq!(seized.values().len(), MARKED + 1, "{when}");
    };
    look("still open");
    vault.lock().unwrap();
    look("locked");
}

#[test]
fn nothing_is_left_on_a_medium_that_never_forgets() {
    let disk = Disk::new();
    disk.record();
    let (vault, kept) = life(|| disk.boxed(), |name| disk.bytes(name));
    let header = reader::newest_header(&disk.bytes("header"), SECRET).unwrap();
    // This is what rotation is for, and it shows that the search finds what there is.
    let found = opened(&kept, &keys_ever(&disk.recorded(), &header, &header.root));
    assert!(found >= MARKED / 2, "before the rotation {found} open");
    vault.lock().unwrap();
    let old_root = header.root;
    let header = reader::newest_header(&disk.bytes("header"), SECRET).unwrap();
    let recorded = disk.recorded();
    assert!(opened(&kept, &keys_ever(&recorded, &header, &old_root)) > 0);
    // The old roots are withheld: their place can forget.
    let keys = keys_ever(&recorded, &header, &header.root);
    assert_eq!(opened(&kept, &keys), 0);
    let blocks = opened_blocks(&recorded, &reader::block_key(&header.vault));
    assert!(blocks.len() > 1000);
    for block in &blocks {
        assert_eq!(count(block, MARKER), 0);
    }
    for write in &recorded {
        assert_eq!(count(&write.bytes, MARKER), 0);
    }
}

/// A vault with a panic PIN, and marked messages in it when it is locked: with its keys, and the rows
/// of those messages.
fn doomed(
    dir: impl Fn() -> Box<dyn Directory>,
    file: impl Fn(&str) -> Vec<u8>,
) -> (reader::OpenedHeader, Kept) {
    let mut vault = Vault::create(dir(), &secret(), KdfParams::minimum(), fresh_rng()).unwrap();
    vault.set_panic(&secret(), &panic_pin()).unwrap();
    for n in 0..MARKED {
        let message = put(&format!("message/{n:04}"), &marked(n));
        vault.apply(vec![message]).unwrap();
    }
    vault.lock().unwrap();
    let seized = reader::seize(&file, SECRET).unwrap();
    let header = reader::newest_header(&file("header"), SECRET).unwrap();
    (header, seized.rows.into_iter().collect())
}

/// The record keys of a vault that whoever knows its key and its root finds in these bytes.
fn keys_found(bytes: &[u8], header: &reader::OpenedHeader) -> BTreeSet<Key> {
    let key = reader::sector_key(&header.vault, &header.root);
    let mut keys = BTreeSet::new();
    for chunk in bytes.chunks_exact(SECTOR) {
        if chunk.iter().any(|byte| *byte != 0) {
            keys_in(chunk, &key, header.sectors, &mut keys);
        }
    }
    keys
}

/// Even with the old vault's key and root, which no longer exist.
// [SPEC 11.56]
// [SPEC 11.58]
#[test]
fn nothing_is_left_in_the_files_after_a_panic() {
    let disk = Disk::new();
    let (header, kept) = doomed(|| disk.boxed(), |name| disk.bytes(name));
    let keys = |disk: &Disk| -> BTreeSet<Key> {
        let files = disk.names().into_iter().map(|name| disk.bytes(&name));
        files
            .flat_map(|bytes| keys_found(&bytes, &header))
            .collect()
    };
    assert_eq!(opened(&kept, &keys(&disk)), MARKED, "the search finds them");
    let vault = Vault::open(disk.boxed(), &panic_pin(), fresh_rng()).unwrap();
    let look = |when: &str| {
        for name in disk.names() {
            let bytes = disk.bytes(&name);
            assert_eq!(count(&bytes, MARKER), 0, "{when}: {name}");
        }
        assert_eq!(keys(&disk).len(), 0, "{when}");
        assert!(reader::newest_header(&disk.bytes("header"), SECRET).is_none());
    };
    look("still open");
    vault.lock().unwrap();
    look("locked");
}

// [SPEC 11.56]
// [SPEC 11.58]
// [SPEC 11.59]
#[test]
fn nothing_is_left_in_the_raw_image_after_a_panic_or_a_wipe() {
    for by_pin in [true, false] {
        let Some(mount) = machine::as_root(Mount::new("emptyroom-vault-panic")) else {
            return;
        };
        let home = mount.path().join("vault");
        let dir = || -> Box<dyn Directory> { Box::new(OsDirectory::create(&home).unwrap()) };
        let (header, kept) = doomed(dir, |name| std::fs::read(home.join(name)).unwrap());
        let raw = mount.raw();
        let found = opened(&kept, &keys_found(&raw, &header));
        assert_eq!(found, MARKED, "the search finds them");
        if by_pin {
            let vault = Vault::open(dir(), &panic_pin(), fresh_rng()).unwrap();
            vault.lock().unwrap();
        } else {
            wipe(dir(), fresh_rng(), &mut |_| {}).unwrap();
        }
        let raw = mount.raw();
        assert_eq!(count(&raw, MARKER), 0);
        assert_eq!(keys_found(&raw, &header).len(), 0);
        // Nor does the PIN open a header, wherever the file system may have one.
        for block in raw.chunks_exact(4096) {
            let is_header = block.starts_with(b"emptyroom vault\0");
            assert!(!is_header || reader::open_header(block, SECRET).is_none());
        }
    }
}

/// A small file system in a file, mounted; unmounted when dropped.
struct Mount {
    base: PathBuf,
    is_mounted: bool,
}

impl Mount {
    fn new(name: &str) -> Result<Mount, String> {
        let base = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(base.join("mnt")).map_err(|e| e.to_string())?;
        let mut mount = Mount {
            base,
            is_mounted: false,
        };
        let image = mount.image();
        let file = std::fs::File::create(&image).map_err(|e| e.to_string())?;
        file.set_len(24 * 1024 * 1024).map_err(|e| e.to_string())?;
        run("mkfs.ext4", &["-q", "-b", "4096", &text(&image)])?;
        run(
            "mount",
            &["-o", "loop", &text(&image), &text(&mount.path())],
        )?;
        mount.is_mounted = true;
        Ok(mount)
    }

    fn image(&self) -> PathBuf {
        self.base.join("image")
    }

    fn path(&self) -> PathBuf {
        self.base.join("mnt")
    }

    /// The raw image, with everything that was written on it.
    fn raw(&self) -> Vec<u8> {
        self.unmount().unwrap();
        let raw = std::fs::read(self.image()).unwrap();
        run(
            "mount",
            &["-o", "loop", &text(&self.image()), &text(&self.path())],
        )
        .unwrap();
        raw
    }

    /// A program that another test begins has what is open here open, too, until it runs.
    fn unmount(&self) -> Result<(), String> {
        let since = Instant::now();
        loop {
            let outcome = run("umount", &[&text(&self.path())]);
            if outcome.is_ok() || since.elapsed() > Duration::from_secs(10) {
                return outcome;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.is_mounted {
            let _ = self.unmount();
        }
        let _ = std::fs::remove_dir_all(&self.base);
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/sbin:/usr/sbin";
    machine::succeeds(Command::new(program).args(arguments).env("PATH", path))
}

#[test]
fn nothing_is_left_in_the_raw_image() {
    let Some(mount) = machine::as_root(Mount::new("emptyroom-vault-image")) else {
        return;
    };
    let home = mount.path().join("vault");
    let (vault, kept) = life(
        || Box::new(OsDirectory::create(&home).unwrap()),
        |name| std::fs::read(home.join(name)).unwrap(),
    );
    let locked = vault.lock();
    locked.unwrap();
    let raw = mount.raw();
    let read = |name: &str| std::fs::read(home.join(name)).unwrap();
    let header = reader::newest_header(&read("header"), SECRET).unwrap();
    assert_eq!(count(&raw, MARKER), 0);

    // Sectors of key files and journal lie on blocks of the file system.
    let key = reader::sector_key(&header.vault, &header.root);
    let mut keys = BTreeSet::new();
    for chunk in raw.chunks_exact(SECTOR) {
        if chunk.iter().any(|byte| *byte != 0) {
            keys_in(chunk, &key, header.sectors, &mut keys);
        }
    }
    assert!(keys.len() >= 448, "the search finds the present keys");
    assert_eq!(opened(&kept, &keys), 0);

    // Blocks of the table lie at any multiple of eight, which says what number they can have.
    let key = reader::block_key(&header.vault);
    let blocks = (read("records").len() - DATA_START) / BLOCK_SEALED;
    let mut found: BTreeMap<u64, usize> = BTreeMap::new();
    for base in (0..raw.len() - 2 * BLOCK_SEALED).step_by(SECTOR) {
        if raw[base..base + 2 * SECTOR].iter().all(|byte| *byte == 0) {
            continue;
        }
        for number in 1..=blocks {
            let at = base + (number - 1) * BLOCK_SEALED % SECTOR;
            let sealed = &raw[at..at + BLOCK_SEALED];
            let Some(block) = reader::open_sealed(&key, &(number as u64).to_be_bytes(), sealed)
            else {
                continue;
            };
            *found.entry(number as u64).or_default() += 1;
            assert_eq!(count(&block, MARKER), 0);
        }
    }
    assert!(found.len() > 10, "the search finds blocks: {}", found.len());
}
