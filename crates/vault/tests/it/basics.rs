//! What a vault does when nothing goes wrong, and how it says no.

use crate::disk::Disk;
use crate::support::{create, delete, open, put, value};

#[test]
fn records_are_there_after_reopening() {
    let disk = Disk::new();
    let mut vault = create(&disk).unwrap();
    vault
        .apply(vec![put("a", b"one"), put("b", b"two")])
        .unwrap();
    assert_eq!(value(&vault, "a"), Some(b"one".to_vec()));
    vault.apply(vec![put("a", b"three"), delete("b")]).unwrap();
    vault.lock().unwrap();
    let mut vault = open(&disk).unwrap();
    assert_eq!(value(&vault, "a"), Some(b"three".to_vec()));
    assert_eq!(value(&vault, "b"), None);
    vault.apply(vec![delete("a")]).unwrap();
    assert_eq!(value(&vault, "a"), None);
    drop(vault);
    let vault = open(&disk).unwrap();
    assert_eq!(value(&vault, "a"), None);
}
