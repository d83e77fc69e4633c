//! The dead-man time of a vault that is locked: looked at by every start, before anybody is asked for a PIN.

use std::io::{self, ErrorKind};
use std::path::Path;

use emptyroom_vault::os::OsDirectory;
use emptyroom_vault::{Directory, OutsideFile, is_there};

use super::Look;
use crate::api::{DeadmanInfo, Exit, Failure, reason};
use crate::clock::Here;
use crate::home;
use crate::outside::{OF_DEADLINE, Outside};
use crate::switch::{Ordered, patiently};

/// Looks at the time, and destroys the vault where it is over. Gives what is set and left. A vault that is open is left to
/// whoever has it open.
///
/// # Errors
/// When the vault was destroyed, or could not be.
pub(crate) fn look(home: &Path, here: &Here) -> Result<Option<DeadmanInfo>, Failure> {
    let directory = OsDirectory::at(home);
    // [SPEC 11.112] Not for a moment's fault is an order passed over.
    let outside = patiently(|| Outside::read(&directory));
    // [SPEC 12.46] No lock is made where there is nothing to be looked at.
    if outside.is_ok_and(|outside| outside.is_some_and(|outside| outside.ordered.is_some())) {
        go_on(home, &directory)?;
    }
    look_at_time(home, here)
}

/// Ends a wipe by order that was cut off. Where nothing is left but to tell, a guard does.
// [SPEC 11.66]
fn go_on(home: &Path, directory: &OsDirectory) -> Result<(), Failure> {
    let failed = |why: &str| Err(Failure::wipe_failed(true, why, &[]));
    // [SPEC 11.112] Whoever only looks has the lock for a moment; whoever has the vault open watches himself.
    let lock = match patiently(|| directory.lock()) {
        Ok(lock) => lock,
        Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
        Err(e) => return failed(&reason(e.kind())),
    };
    match order_begun(directory) {
        Ok(Some(left)) if is_there(directory) => Err(left.finish(home, lock)),
        Err(e) if e.kind() != ErrorKind::InvalidData => failed(&unreadable(&e).text),
        _ => Ok(()),
    }
}

/// The same, but for an order: a guard carries that out itself.
///
/// # Errors
/// When the vault was destroyed, or could not be.
pub(crate) fn look_at_time(home: &Path, here: &Here) -> Result<Option<DeadmanInfo>, Failure> {
    let directory = OsDirectory::at(home);
    if found(&directory).deadline.is_none() {
        return Ok(None);
    }
    let Ok(lock) = directory.lock() else {
        return Ok(None);
    };
    let found = found(&directory);
    // What was ordered comes before it, and tells; and of a vault that is gone no time passes.
    let is_noted = found.ordered.is_some() || found.untold.is_some();
    let is_ordered = Ordered::left(&found).is_some() || is_noted && !is_there(&directory);
    let Some(mut deadline) = found.deadline.filter(|_| !is_ordered) else {
        return Ok(None);
    };
    let look = deadline.look(here);
    // What a clock has shown stays shown, and so does that the time is over, if what is done then is cut off. A disk that fails here
    // fails the opening, too.
    // [SPEC 11.81, 11.113]
    let _ = Outside::change(&directory, |outside| outside.deadline = Some(deadline));
    if look == Look::Over {
        // [SPEC 11.80] The lock is kept: nobody opens it in between.
        return Err(
            match home::wipe_held(home, lock, OutsideFile::Goes, &mut |_| {}) {
                Ok(left) => Failure::wiped(false, &left),
                Err((failure, left)) => Failure::wipe_failed(false, &failure.text, &left),
            },
        );
    }
    Ok(Some(deadline.info(here)))
}

/// An order that was begun. Whoever calls this has the lock: what lies there is what there is.
// [SPEC 11.112]
fn order_begun(directory: &OsDirectory) -> io::Result<Option<Ordered>> {
    let found = patiently(|| Outside::read(directory))?;
    Ok(found.as_ref().and_then(Ordered::left))
}

/// Damaged is as if there was nothing; the next opening tells.
fn found(directory: &OsDirectory) -> Outside {
    let found = Outside::read(directory).ok().flatten();
    found.unwrap_or_default()
}

/// What is set and left, without touching anything.
///
/// # Errors
/// When what lies there cannot be read.
pub(crate) fn show(home: &Path, here: &Here) -> Result<Option<DeadmanInfo>, Failure> {
    let outside = Outside::read(&OsDirectory::at(home)).map_err(|e| unreadable(&e))?;
    let outside = outside.unwrap_or_default();
    if outside.is_odd(OF_DEADLINE) {
        return Err(unreadable(&ErrorKind::InvalidData.into()));
    }
    let deadline = outside.deadline;
    Ok(deadline.map(|deadline| deadline.info(here)))
}

pub(crate) fn unreadable(why: &io::Error) -> Failure {
    let (why, hint) = match why.kind() {
        ErrorKind::InvalidData => (
            "it is damaged".to_owned(),
            "`emptyroom status` tells, with the PIN, and puts it right",
        ),
        kind => (reason(kind), "see to the disk, and to who owns the file"),
    };
    Failure::new(
        Exit::Vault,
        "outside_unreadable",
        format!("the file `outside` cannot be read: {why}"),
    )
    .hint(hint)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use emptyroom_wire::address::Host;
    use emptyroom_wire::kill::KillCode;
    use emptyroom_wire::relay_key::IdentityHash;
    use emptyroom_wire::time::{DAY_MS, HOUR_MS};
    use rustix::fs::{CWD, RenameFlags, renameat_with};

    use super::*;
    use crate::api::SecretText;
    use crate::deadman::Deadline;
    use crate::deadman::tests::{Machine, begun};
    use crate::home::{Kdf, create_vault, holds_vault};
    use crate::switch::tests::{give_back, order, take_away};

    fn home(name: &str) -> PathBuf {
        let home =
            std::env::temp_dir().join(format!("emptyroom-node-{}-{name}", std::process::id()));
        let pin = SecretText::new("a pin of this test".to_owned());
        drop(create_vault(&home, &pin, Kdf::Minimum).unwrap());
        home
    }

    fn put(home: &Path, deadline: Option<Deadline>) {
        let directory = OsDirectory::at(home);
        Outside::change(&directory, |outside| outside.deadline = deadline).unwrap();
    }

    /// What stands in a vault's directory, without those that a lock leaves.
    fn names(home: &Path) -> Vec<std::ffi::OsString> {
        let entries = std::fs::read_dir(home).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    }

    // [SPEC 11.80, 11.81, 11.83]
    #[test]
    fn a_start_keeps_what_it_saw_and_destroys_when_it_has_seen_it_for_a_day() {
        let home = home("over");
        let mut machine = Machine::new();
        assert_eq!(look(&home, &machine.here()), Ok(None));
        put(&home, Some(begun(14, &machine)));
        let days = |here| look(&home, &here).map(|info| info.unwrap().left_s.div_ceil(86_400));
        assert_eq!(days(machine.here()), Ok(14));
        machine.is_off(13 * DAY_MS);
        assert_eq!(days(machine.here()), Ok(1));
        machine.is_off(10 * DAY_MS);
        for _ in 0..24 {
            assert_eq!(days(machine.here()), Ok(0));
            assert!(holds_vault(&home));
            machine.runs(HOUR_MS);
        }
        let over = look(&home, &machine.here()).unwrap_err();
        assert_eq!((over.exit, &*over.error), (Exit::Vault, "vault_destroyed"));
        assert_eq!(names(&home), ["lock"]);
        assert_eq!(look(&home, &machine.here()), Ok(None));
        std::fs::remove_dir_all(&home).unwrap();
    }

    /// One whose time is over at the next look.
    fn over(home: &Path) -> Machine {
        let mut machine = Machine::new();
        let mut deadline = begun(1, &machine);
        for _ in 0..24 {
            deadline.look(&machine.here());
            machine.runs(HOUR_MS);
        }
        put(home, Some(deadline));
        machine
    }

    /// Whoever has the lock watches.
    // [SPEC 11.80]
    #[test]
    fn an_open_vault_is_left_to_its_holder_and_a_cut_off_wipe_is_done_again() {
        let home = home("again");
        let here = over(&home).here();
        let lock = OsDirectory::at(&home).lock().unwrap();
        assert_eq!(look(&home, &here), Ok(None));
        drop(lock);
        std::fs::remove_file(home.join("header")).unwrap();
        assert!(look(&home, &here).is_err_and(|f| f.error == "vault_destroyed"));
        assert_eq!(names(&home), ["lock"]);
        std::fs::remove_dir_all(&home).unwrap();
    }

    /// Whoever looks has the lock for a moment: that keeps nobody out.
    // [SPEC 12.30]
    #[test]
    fn a_vault_that_is_looked_at_is_waited_for() {
        let home = home("patience");
        let lock = OsDirectory::at(&home).lock().unwrap();
        let looking = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(50));
            drop(lock);
        });
        let pin = SecretText::new("a pin of this test".to_owned());
        let vault = home::open_vault(&home, &pin);
        assert!(vault.is_ok());
        looking.join().unwrap();
        let in_use = home::open_vault(&home, &pin).err().unwrap();
        assert_eq!(in_use.error, "vault_in_use");
        drop(vault);
        assert!(!home::is_open(&home));
        std::fs::remove_dir_all(&home).unwrap();
    }

    /// It cannot be read for a moment: what it names is not given up for that.
    // [SPEC 11.110]
    #[test]
    fn a_header_that_cannot_be_read_for_a_moment_is_waited_for() {
        let home = home("moment");
        let here = over(&home).here();
        let (header, kept) = (home.join("header"), home.join("kept"));
        std::fs::rename(&header, &kept).unwrap();
        std::fs::create_dir(&header).unwrap();
        let given_back = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(50));
            // At once: there is no moment in which nothing lies there.
            renameat_with(CWD, &kept, CWD, &header, RenameFlags::EXCHANGE).unwrap();
            std::fs::remove_dir(&kept).unwrap();
        });
        let over = look(&home, &here).unwrap_err();
        given_back.join().unwrap();
        assert_eq!(over, Failure::wiped(false, &[]));
        assert_eq!(names(&home), ["lock"]);
        std::fs::remove_dir_all(&home).unwrap();
    }

    /// It cannot be read in the very moment in which the lock is there.
    // [SPEC 11.112]
    #[test]
    fn an_order_that_cannot_be_read_for_a_moment_is_waited_for() {
        let home = home("begun-moment");
        let code = KillCode::new([1; 16]);
        let ordered = Ordered {
            watched: code.watched(
                Host::parse("relay.invalid:443").into_iter().collect(),
                IdentityHash([3; 32]),
            ),
            order: order(&code),
        };
        let directory = OsDirectory::at(&home);
        ordered.note(&directory).unwrap();
        take_away(&home);
        let again = home.clone();
        let given_back = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(50));
            give_back(&again);
        });
        let found = order_begun(&directory);
        given_back.join().unwrap();
        let found = found.unwrap();
        assert!(found.is_some_and(|found| found.order == ordered.order));
        std::fs::remove_dir_all(&home).unwrap();
    }

    /// Whoever looks has the lock for a moment: the start does not pass over the order for that.
    // [SPEC 11.112]
    #[test]
    fn an_order_is_not_passed_over_for_whoever_looks() {
        let home = home("begun-looked-at");
        let code = KillCode::new([1; 16]);
        let hosts = Host::parse("relay.invalid:443").into_iter().collect();
        let ordered = Ordered {
            watched: code.watched(hosts, IdentityHash([3; 32])),
            order: order(&code),
        };
        let directory = OsDirectory::at(&home);
        ordered.note(&directory).unwrap();
        let lock = directory.lock().unwrap();
        // Whoever has it for longer has the vault open.
        assert_eq!(go_on(&home, &directory), Ok(()));
        assert!(holds_vault(&home));
        drop(lock);
        assert!(go_on(&home, &directory).is_err_and(|f| f.error == "vault_destroyed"));
        std::fs::remove_dir_all(&home).unwrap();
    }

    /// Nobody can say any more what it had elsewhere.
    // [SPEC 11.110]
    #[test]
    fn what_a_damaged_header_named_is_told_as_left() {
        let home = home("damaged");
        let here = over(&home).here();
        std::fs::write(home.join("header"), [7; 8_192]).unwrap();
        let over = look(&home, &here).unwrap_err();
        assert_eq!(over.error, "vault_destroyed");
        assert!(over.text.contains("its damaged header"), "{}", over.text);
        std::fs::remove_dir_all(&home).unwrap();
    }

    /// What could not be destroyed is not told as destroyed, and the next start goes on with it.
    // [SPEC 11.80, 11.113]
    #[test]
    fn a_wipe_that_fails_is_told_as_failed() {
        let home = home("fails");
        let mut machine = over(&home);
        // A directory in a file's place.
        std::fs::remove_file(home.join("records")).unwrap();
        std::fs::create_dir(home.join("records")).unwrap();
        let failed = look(&home, &machine.here()).unwrap_err();
        assert_eq!((failed.exit, &*failed.error), (Exit::Vault, "wipe_failed"));
        assert!(
            home.join("outside").exists(),
            "what orders it is still there"
        );
        std::fs::remove_dir(home.join("records")).unwrap();
        // The machine was started anew, and its clock says nothing.
        machine.is_off(1);
        let done = look(&home, &machine.here()).unwrap_err();
        assert_eq!(done.error, "vault_destroyed");
        std::fs::remove_dir_all(&home).unwrap();
    }
}
