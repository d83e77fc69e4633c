//! The real directory: modes, locks, durability across instances.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use emptyroom_vault::os::OsDirectory;
use emptyroom_vault::{CreateError, KdfParams, OpenError, Vault};

use crate::support::{delete, fresh_rng, put, secret, value};

struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Home {
        let path =
            std::env::temp_dir().join(format!("emptyroom-vault-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Home(path)
    }

    fn open(&self) -> Result<Vault, OpenError> {
        Vault::open(Box::new(OsDirectory::at(&self.0)), &secret(), fresh_rng())
    }

    fn create(&self) -> Result<Vault, CreateError> {
        let dir = OsDirectory::create(&self.0).unwrap();
        Vault::create(Box::new(dir), &secret(), KdfParams::minimum(), fresh_rng())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_vault_on_a_real_disk() {
    let home = Home::new("real");
    assert_eq!(home.open().err(), Some(OpenError::Missing));
    assert!(!home.0.exists(), "looking makes no directory");
    let mut vault = home.create().unwrap();
    let many = (0..1000u32).map(|n| put(&format!("k{n}"), &[n as u8; 200]));
    vault.apply(many.collect()).unwrap();
    vault.apply(vec![delete("k5")]).unwrap();
    vault.lock().unwrap();
    let vault = home.open().unwrap();
    assert_eq!(value(&vault, "k5"), None);
    assert_eq!(value(&vault, "k6"), Some(vec![6; 200]));
    assert_eq!(vault.status().unwrap().records, 999);
}

// [SPEC 11.1]
#[test]
fn a_second_opening_is_refused() {
    let home = Home::new("lock");
    let vault = home.create().unwrap();
    assert_eq!(home.open().err(), Some(OpenError::InUse));
    assert_eq!(home.create().err(), Some(CreateError::InUse));
    drop(vault);
    home.open().unwrap();
}

#[test]
fn a_home_is_made_with_the_directories_above_it() {
    let home = Home::new("above");
    let deep = home.0.join("a/b/c");
    for _ in 0..2 {
        OsDirectory::create(&deep).unwrap();
        assert!(deep.is_dir());
    }
    assert!(OsDirectory::create(&deep.join("../d")).is_ok());
}

#[test]
fn only_the_owner_reads_the_files() {
    let home = Home::new("modes");
    drop(home.create().unwrap());
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&home.0) & 0o777, 0o700);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&home.0).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(mode(&entry.path()) & 0o777, 0o600);
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    let expected = ["header", "journal", "keys.0", "keys.1", "lock", "records"];
    assert_eq!(names, expected, "nothing else is in the directory");
}
