//! Destroying a vault without its secret.

use std::io;

use emptyroom_vault::{Directory, File, OpenError, WipeError, wipe};

use crate::disk::{Disk, Loss};
use crate::reader;
use crate::support::{Changes, SECRET, create, fresh_rng, open, open_with, with_panic_pin};

fn wiped(disk: &Disk) -> Result<(), WipeError> {
    wipe(disk.boxed(), fresh_rng(), &mut |_| {})
}

// [SPEC 11.59]
#[test]
fn nothing_is_left_of_a_vault() {
    let disk = with_panic_pin();
    assert_eq!(wiped(&disk), Ok(()));
    assert!(disk.names().is_empty(), "{:?}", disk.names());
    assert_eq!(open(&disk).err(), Some(OpenError::Missing));
    assert_eq!(wiped(&disk), Err(WipeError::Missing));
    // A new one can be made.
    create(&disk).unwrap().lock().unwrap();
    let vault = open(&disk).unwrap();
    assert_eq!(wiped(&disk), Err(WipeError::InUse));
    drop(vault);
    assert!(open(&disk).is_ok(), "one that is in use is left alone");
}

// [SPEC 11.59]
#[test]
fn a_kill_at_any_step_brings_nothing_back_and_it_can_be_done_again() {
    let start = with_panic_pin();
    let mut kills = 0;
    let mut gone_at = None;
    for point in 0.. {
        let disk = start.fork();
        disk.crash_after(point);
        let done = wiped(&disk).is_ok();
        for loss in [
            Loss::All,
            Loss::Nothing,
            Loss::Torn,
            Loss::Random(point),
            Loss::Random(point + 1_000),
            Loss::Random(point + 2_000),
        ] {
            kills += 1;
            let what = format!("killed at {point}, {loss:?}");
            let after = disk.after_crash(loss);
            match open(&after.fork()) {
                Ok(_) => assert_eq!(gone_at, None, "{what}"),
                Err(OpenError::WrongSecret | OpenError::Missing) => {
                    if loss == Loss::All {
                        gone_at.get_or_insert(point);
                    }
                    let by_panic = open_with(&after.fork(), crate::support::PANIC).err();
                    assert!(
                        matches!(by_panic, Some(OpenError::WrongSecret | OpenError::Missing)),
                        "{what}: {by_panic:?}"
                    );
                }
                Err(e) => panic!("{what}: {e}"),
            }
            assert!(
                matches!(wiped(&after), Ok(()) | Err(WipeError::Missing)),
                "{what}"
            );
            assert!(after.names().is_empty(), "{what}");
        }
        if done {
            break;
        }
    }
    assert!(kills >= 100, "{kills} kills");
    assert_eq!(gone_at, Some(3), "the sync of the header's first copy");
}

// [SPEC 11.59]
#[test]
fn a_fault_keeps_no_later_step_from_being_done() {
    let start = with_panic_pin();
    let mut made_good = 0;
    for step in 2.. {
        let disk = start.fork();
        disk.fail_step(step, io::ErrorKind::Other);
        let outcome = wiped(&disk);
        let reached = disk.steps() >= start.steps() + step;
        if outcome.is_ok() {
            assert!(disk.names().is_empty(), "{step}");
            made_good += usize::from(reached);
        }
        disk.fail_nothing();
        assert!(open(&disk).is_err(), "{step}");
        if disk.names().iter().any(|name| name == "header") {
            let header = disk.bytes("header");
            assert!(reader::newest_header(&header, SECRET).is_none(), "{step}");
        }
        assert!(matches!(wiped(&disk), Ok(()) | Err(WipeError::Missing)));
        assert!(disk.names().is_empty());
        if !reached {
            assert_eq!(outcome, Ok(()));
            break;
        }
    }
    assert_eq!(
        made_good, 6,
        "the first writes and syncs of what is overwritten twice"
    );
}

/// One that cannot be read can be destroyed.
// [SPEC 11.59]
#[test]
fn damage_does_not_save_a_vault() {
    let start = with_panic_pin();
    let damages: [fn(&mut Vec<u8>); 3] = [
        |bytes| bytes.fill(7),
        |bytes| bytes.truncate(100),
        |bytes| bytes[17] = 9,
    ];
    for damage in damages {
        let disk = start.fork();
        disk.change("header", damage);
        assert_eq!(wiped(&disk), Ok(()));
        assert!(disk.names().is_empty());
    }
    for name in ["header", "keys.1", "journal", "records"] {
        let disk = start.fork();
        disk.remove(name);
        assert_eq!(wiped(&disk), Ok(()), "{name}");
        assert!(disk.names().is_empty(), "{name}");
    }
}

// [SPEC 11.59]
#[test]
fn the_command_without_a_panic_pin_leaves_nothing() {
    let disk = Disk::new();
    let vault = create(&disk).unwrap();
    assert!(vault.panicked().unwrap().is_none());
    assert!(disk.names().is_empty());
}

/// A directory whose files may not be read.
struct Unreadable(Box<dyn Directory>);

impl Directory for Unreadable {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.0.lock()
    }

    fn create(&self, _name: &str) -> io::Result<Box<dyn File>> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn open(&self, _name: &str) -> io::Result<Box<dyn File>> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
}

/// Nobody is told that there is nothing, or that it is destroyed, where nothing could be touched.
// [SPEC 11.59]
#[test]
fn files_that_cannot_be_opened_are_not_taken_for_none() {
    let disk = Disk::new();
    create(&disk).unwrap().lock().unwrap();
    let outcome = wipe(Box::new(Unreadable(disk.boxed())), fresh_rng(), &mut |_| {});
    assert_eq!(outcome, Err(WipeError::Io(io::ErrorKind::PermissionDenied)));
    open(&disk).unwrap();
}
