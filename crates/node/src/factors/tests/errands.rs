//! What is noted to be destroyed is struck when it is, and not before; and its record stays readable.

use std::sync::atomic::{AtomicU32, Ordering};

use emptyroom_wire::time::DAY_MS;

use super::*;
use crate::carrier::{Carrier, DialFault, Dialled, Target};
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

fn errands(places: Vec<Place>, deletes: Vec<Delete>) -> Errands {
    Errands {
        places,
        deletes,
        ..Errands::default()
    }
}

/// A road on which no relay can be reached any more, and how often one was looked for.
#[derive(Default)]
struct Nowhere(AtomicU32);

impl Carrier for Nowhere {
    fn dial(&self, _: Target) -> Dialled<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready(Err(DialFault::Unreachable)))
    }
}

fn nowhere() -> (Arc<Nowhere>, Ways) {
    let carrier = Arc::new(Nowhere::default());
    let ways = Ways {
        carrier: carrier.clone(),
        ..at(PathBuf::from("/nowhere"))
    };
    (carrier, ways)
}

/// A relay that is gone for good is tried less and less often, wherever its errand is.
// [SPEC 11.122]
#[test]
fn errands_in_vain_are_given_a_pause() {
    for is_in_header in [true, false] {
        let here = Here(RefCell::new(vault()));
        let read = || match is_in_header {
            true => Errands::decode(here.0.borrow().errands()).unwrap(),
            false => Noted::read(&here.0.borrow()).unwrap().errands,
        };
        let write = |errands: Errands| {
            let vault = &mut here.0.borrow_mut();
            if is_in_header {
                vault.set_errands(errands.encode()).unwrap();
                return;
            }
            let noted = Noted {
                errands,
                ..Noted::read(vault).unwrap()
            };
            noted.write(vault).unwrap();
        };
        write(errands(Vec::new(), vec![delete(1)]));
        let (carrier, ways) = nowhere();
        let tried = || {
            let before = carrier.0.load(Ordering::Relaxed);
            tidy::errands(&here, &ways).unwrap();
            carrier.0.load(Ordering::Relaxed) > before
        };
        assert!(tried() && tried());
        assert_eq!((read().pause.count, read().deletes.len()), (2, 1));
        // Nothing waits, and nothing is written.
        let before = read();
        for _ in 0..3 {
            assert!(!tried());
        }
        assert!(read() == before);
        let at = |last_ms: u64| {
            let mut errands = read();
            errands.pause.last_ms = last_ms;
            write(errands);
        };
        let now_ms = crate::clock::now().wall.0;
        at(now_ms - 61_000);
        assert!(tried() && read().pause.count == 3 && !tried());
        // A clock that was set back ends it.
        at(now_ms + DAY_MS);
        assert!(tried() && read().pause.count == 4);
        // Whoever destroys this vault tries all, and so does what it leaves.
        assert!(tidy::all(&here.0.borrow()).pause == Pause::default());
    }
}

/// What is done of them is not asked for again while a relay is waited for.
// [SPEC 11.57, 11.122]
#[test]
fn each_in_the_header_is_struck_as_it_is_done() {
    let Some(swtpm) = software("each_in_the_header_is_struck_as_it_is_done") else {
        return;
    };
    let (ways, mut vault) = (at(swtpm.socket()), vault());
    let places = vec![Place::from_number(0x0180_0007).unwrap()];
    let all = errands(places, vec![delete(1)]);
    vault.set_errands(all.encode()).unwrap();
    let here = Here(RefCell::new(vault));
    tidy::errands(&here, &ways).unwrap();
    let left = Errands::decode(here.0.borrow().errands()).unwrap();
    assert!(left.places.is_empty());
    assert_eq!((left.deletes.len(), left.pause.count), (1, 1));
}

/// One that comes is tried at once, whatever others wait for.
// [SPEC 11.122]
#[test]
fn a_new_errand_ends_the_pause() {
    let mut noted = Noted::default();
    noted.add_errands(errands(Vec::new(), vec![delete(1)]));
    for _ in 0..3 {
        noted.errands.tried(&Errands::default(), Some(7));
    }
    assert!(noted.errands.pause.lasts(8));
    noted.add_errands(errands(Vec::new(), vec![delete(1)]));
    assert!(noted.errands.pause.lasts(8), "it was there before");
    noted.add_errands(errands(Vec::new(), vec![delete(2)]));
    assert!(!noted.errands.pause.lasts(8));
    for _ in 0..3 {
        noted.errands.tried(&Errands::default(), Some(7));
    }
    let done = errands(Vec::new(), vec![delete(2)]);
    noted.errands.tried(&done, Some(7));
    assert!(!noted.errands.pause.lasts(8), "one answers again");
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
    assert!(noted.add_errands(errands(places, deletes)));
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
        assert!(noted.add_errands(errands(places, deletes)));
    }
    assert!(!noted.add_errands(errands(Vec::new(), vec![delete(599)])));
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
