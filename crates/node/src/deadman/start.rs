//! The dead-man time of a vault that is locked: looked at by every start, before anybody is asked for a PIN.

use std::io::ErrorKind;
use std::path::Path;

use emptyroom_vault::Directory;
use emptyroom_vault::os::OsDirectory;

use super::Look;
use crate::api::{DeadmanInfo, Exit, Failure};
use crate::clock::Here;
use crate::home;
use crate::outside::Outside;

/// Looks at the time, and destroys the vault where it is over. Gives what is left where a warning is due. One that is
/// open is left to whoever has it open.
///
/// # Errors
/// When the vault was destroyed, could not be, or is not to be opened before the clock is right.
pub(crate) fn look(home: &Path, here: &Here) -> Result<Option<DeadmanInfo>, Failure> {
    let directory = OsDirectory::at(home);
    let Ok(lock) = directory.lock() else {
        return Ok(None);
    };
    // Damaged is as if there was none; the next opening tells.
    let Ok(Some(outside)) = Outside::read(&directory) else {
        return Ok(None);
    };
    let Some(mut deadline) = outside.deadline else {
        return Ok(None);
    };
    let looked = deadline.look(here);
    if looked == Look::Over {
        // [SPEC 11.80] The lock is kept: nobody opens it in between.
        return Err(match home::wipe_held(home, lock) {
            Ok(()) => destroyed(),
            Err(failure) => not_destroyed(failure),
        });
    }
    // What a clock has shown stays shown. A disk that fails here fails the opening, too.
    let _ = Outside::change(&directory, |outside| outside.deadline = Some(deadline));
    match looked {
        Look::Left(_) => Ok((deadline.warnings(looked) > 0).then(|| deadline.info(here))),
        // [SPEC 11.81]
        Look::Doubt(_) | Look::Over => Err(Failure::new(
            Exit::Vault,
            "deadman_doubt",
            "by this machine's clock the dead-man time is over, but nothing else says so yet",
        )
        .hint("set the clock right; where it is right, the vault is destroyed when this machine has run for a day")),
    }
}

/// What is set and left, without touching anything.
///
/// # Errors
/// When what lies there cannot be read.
pub(crate) fn show(home: &Path, here: &Here) -> Result<Option<DeadmanInfo>, Failure> {
    let outside = Outside::read(&OsDirectory::at(home)).map_err(|e| {
        let why = match e.kind() {
            ErrorKind::InvalidData => "it is damaged".to_owned(),
            kind => crate::api::reason(kind),
        };
        Failure::new(
            Exit::Vault,
            "outside_unreadable",
            format!("the file `outside` cannot be read: {why}"),
        )
        .hint("`emptyroom status` tells, with the PIN, and puts it right")
    })?;
    let deadline = outside.and_then(|outside| outside.deadline);
    Ok(deadline.map(|deadline| deadline.info(here)))
}

/// What is left, where a warning is due.
pub(crate) fn warning(home: &Path, here: &Here) -> Option<DeadmanInfo> {
    let outside = Outside::read(&OsDirectory::at(home)).ok().flatten()?;
    let mut deadline = outside.deadline?;
    let looked = deadline.look(here);
    (deadline.warnings(looked) > 0).then(|| deadline.info(here))
}

/// The time was over.
pub(crate) fn destroyed() -> Failure {
    Failure::new(
        Exit::Vault,
        "vault_destroyed",
        "the dead-man time was over: the vault was destroyed",
    )
    .hint("make a new one with `emptyroom init`")
}

/// The time was over, and something stood in the way.
pub(crate) fn not_destroyed(failure: Failure) -> Failure {
    Failure::new(
        Exit::Vault,
        "wipe_failed",
        format!(
            "the dead-man time is over, but the vault could not be destroyed whole: {}",
            failure.text
        ),
    )
    .hint("see to the disk; the next start tries again")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use emptyroom_wire::time::DAY_MS;

    use super::*;
    use crate::api::SecretText;
    use crate::deadman::Deadline;
    use crate::deadman::tests::{KEY, here};
    use crate::home::{Kdf, create_vault, holds_vault, open_vault_at};

    fn home(name: &str) -> (PathBuf, SecretText) {
        let home =
            std::env::temp_dir().join(format!("emptyroom-node-{}-{name}", std::process::id()));
        (home, SecretText::new("a pin of this test".to_owned()))
    }

    fn put(home: &Path, deadline: Option<Deadline>) {
        let directory = OsDirectory::at(home);
        Outside::change(&directory, |outside| outside.deadline = deadline).unwrap();
    }

    // [SPEC 11.80, 11.81, 11.83]
    #[test]
    fn a_start_destroys_what_is_over_and_keeps_what_it_saw() {
        let (home, pin) = home("over");
        drop(create_vault(&home, &pin, Kdf::Minimum).unwrap());
        assert_eq!(
            look(&home, &here(1, 1)).map(|left| left.is_some()),
            Ok(false)
        );
        put(&home, Deadline::new(14, 1, &here(100, 1), &KEY.into()));
        let looked = |here| look(&home, &here).map(|left| left.map(|info| info.left_s / 86_400));
        assert_eq!(looked(here(101, DAY_MS)), Ok(None));
        assert_eq!(looked(here(107, 7 * DAY_MS + 1)), Ok(Some(7)));
        // Started anew, with the clock set back.
        let anew = |day, up_ms| Here {
            boot: Some([9; 16]),
            ..here(day, up_ms)
        };
        assert_eq!(looked(anew(90, 5)), Ok(Some(7)));
        let doubted = looked(anew(500, 6)).unwrap_err();
        assert_eq!(doubted.error, "deadman_doubt");
        let doubted = open_vault_at(&home, &pin, &anew(500, 7)).err().unwrap();
        assert_eq!(doubted.error, "deadman_doubt");
        assert!(holds_vault(&home));
        let over = looked(anew(90, 8 * DAY_MS)).unwrap_err();
        assert_eq!((over.exit, &*over.error), (Exit::Vault, "vault_destroyed"));
        assert!(!holds_vault(&home));
        assert_eq!(looked(anew(90, 8 * DAY_MS)), Ok(None));
        std::fs::remove_dir_all(&home).unwrap();
    }

    /// Whoever has the lock watches.
    // [SPEC 11.80]
    #[test]
    fn an_open_vault_is_left_to_its_holder_and_a_cut_off_wipe_is_done_again() {
        let (home, pin) = home("again");
        let vault = create_vault(&home, &pin, Kdf::Minimum).unwrap();
        put(&home, Deadline::new(1, 1, &here(1, 1), &KEY.into()));
        let over = here(3, 3 * DAY_MS);
        assert!(look(&home, &over).is_ok_and(|left| left.is_none()));
        drop(vault);
        std::fs::remove_file(home.join("header")).unwrap();
        assert!(look(&home, &over).is_err_and(|f| f.error == "vault_destroyed"));
        let names: Vec<_> = std::fs::read_dir(&home).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
        std::fs::remove_dir_all(&home).unwrap();
    }

    /// What could not be destroyed is not told as destroyed, and the next start goes on with it.
    // [SPEC 11.80]
    #[test]
    fn a_wipe_that_fails_is_told_as_failed() {
        let (home, pin) = home("fails");
        drop(create_vault(&home, &pin, Kdf::Minimum).unwrap());
        put(&home, Deadline::new(1, 1, &here(1, 1), &KEY.into()));
        let over = here(3, 3 * DAY_MS);
        // A directory in a file's place.
        std::fs::remove_file(home.join("records")).unwrap();
        std::fs::create_dir(home.join("records")).unwrap();
        let failed = look(&home, &over).unwrap_err();
        assert_eq!((failed.exit, &*failed.error), (Exit::Vault, "wipe_failed"));
        assert!(
            home.join("outside").exists(),
            "what orders it is still there"
        );
        std::fs::remove_dir(home.join("records")).unwrap();
        let done = look(&home, &over).unwrap_err();
        assert_eq!(done.error, "vault_destroyed");
        std::fs::remove_dir_all(&home).unwrap();
    }
}
