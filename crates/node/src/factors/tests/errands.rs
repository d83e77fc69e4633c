//! What is noted to be destroyed is struck when it is, and not before; and its record stays readable.

use emptyroom_wire::time::DAY_MS;

use super::*;
use crate::factors::noted::{Delete, NOTED_ERRANDS_MAX};

fn vault() -> Vault {
    open(&made(), SECRET, &at(PathBuf::from("/nowhere"))).unwrap()
}

fn delete(n: u16) -> Delete {
    let mut id = [0; 32];
    id[..2].copy_from_slice(&n.to_be_bytes());
    let at = At {
        hosts: vec![host("127.0.0.1:1")],
        relay: IdentityHash([1; 32]),
        id: ShareId::new(id),
        head: None,
    };
    super::super::relays::order(&[2; 32], &at)
}

/// One relay that is gone for good does not keep the rest noted.
// [SPEC 11.121]
#[test]
fn each_is_struck_as_it_is_done() {
    let Some(swtpm) = software("each_is_struck_as_it_is_done") else {
        return;
    };
    let (ways, mut vault) = (at(swtpm.socket()), vault());
    let mut noted = Noted::default();
    let places = vec![Place::from_number(0x0180_0007).unwrap()];
    let deletes = vec![delete(1)];
    assert!(noted.add_errands(Errands { places, deletes }));
    noted.write(&mut vault).unwrap();
    let here = Here(RefCell::new(vault));
    tidy::errands(&here, &ways).unwrap();
    let left = Noted::read(&here.0.borrow()).unwrap();
    assert!(left.errands.places.is_empty());
    assert_eq!(left.errands.deletes.len(), 1);
    assert_eq!(left.errands_ms, noted.errands_ms);
}

/// However many there were, their record can be read again; and they end with the leases, by a clock that is right.
// [SPEC 11.121]
#[test]
fn the_newest_of_many_are_noted() {
    let mut noted = Noted::default();
    for n in 0..600 {
        let deletes = vec![delete(n)];
        let places = vec![Place::from_number(0x0180_0000 + u32::from(n)).unwrap()];
        assert!(noted.add_errands(Errands { places, deletes }));
    }
    assert!(!noted.add_errands(Errands {
        places: Vec::new(),
        deletes: vec![delete(599)],
    }));
    let mut vault = vault();
    noted.write(&mut vault).unwrap();
    let read = Noted::read(&vault).unwrap();
    assert!(read.errands == noted.errands);
    assert_eq!(read.errands.deletes.len(), NOTED_ERRANDS_MAX);
    assert!(read.errands.deletes.last() == Some(&delete(599)));
    let end_ms = noted.errands_ms + 800 * DAY_MS;
    assert!(!read.are_errands_over(Some(end_ms)) && read.are_errands_over(Some(end_ms + 1)));
    assert!(!read.are_errands_over(None));
    // A clock that was not set yet says nothing of when they were noted.
    let early = Noted {
        errands_ms: 1_000,
        ..noted
    };
    assert!(!early.are_errands_over(Some(end_ms + 1)));
}

/// What opens the vault can be changed whatever became of the record.
// [SPEC 11.121]
#[test]
fn a_damaged_record_keeps_no_change_from_being_made() {
    let mut vault = vault();
    let record = Change {
        key: b"nf".to_vec(),
        value: Some(vec![0xff]),
    };
    vault.apply(vec![record]).unwrap();
    assert!(Noted::read(&vault).is_err());
    let nowhere = at(PathBuf::from("/nowhere"));
    let (vault, set) = set_mode(vault, &nowhere, Mode::Passphrase);
    set.unwrap();
    assert!(Noted::read(&vault).is_ok());
}
