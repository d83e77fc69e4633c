//! What whoever administers this machine forbids: one word pair a line, in a file that only he writes.

use std::io::ErrorKind;
use std::path::Path;

use crate::api::{Exit, Failure, reason};

const PATH: &str = "/etc/emptyroom/policy";
const FORBID_PANIC: &str = "forbid panic";
const FORBID_KILLCODE: &str = "forbid killcode";
const FORBID_DEADMAN: &str = "forbid deadman";

/// Whether a panic PIN may be set and a vault be destroyed by command.
///
/// # Errors
/// When the policy forbids it, or is there and cannot be read.
pub(crate) fn allows_panic() -> Result<(), Failure> {
    // [SPEC 12.41]
    allows(Path::new(PATH), FORBID_PANIC)
}

/// Whether a vault may be made to destroy itself.
///
/// # Errors
/// As [`allows_panic`].
pub(crate) fn allows_deadman() -> Result<(), Failure> {
    // [SPEC 12.41]
    allows(Path::new(PATH), FORBID_DEADMAN)
}

/// Whether a vault may obey a kill code.
///
/// # Errors
/// As [`allows_panic`].
pub(crate) fn allows_killcode() -> Result<(), Failure> {
    // [SPEC 12.41]
    allows(Path::new(PATH), FORBID_KILLCODE)
}

fn allows(path: &Path, forbidden: &str) -> Result<(), Failure> {
    let refused = |text: String| {
        Failure::new(Exit::Refused, "policy_forbids", text)
            .hint("ask whoever administers this machine")
    };
    match std::fs::read_to_string(path) {
        Ok(text) if text.lines().any(|line| line.trim() == forbidden) => Err(refused(format!(
            "the policy of this machine, {}, forbids it",
            path.display()
        ))),
        Ok(_) => Ok(()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(refused(format!(
            "the policy of this machine, {}, cannot be read: {}",
            path.display(),
            reason(e.kind())
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // [SPEC 12.41]
    #[test]
    fn a_line_forbids_and_what_cannot_be_read_does_too() {
        let path = std::env::temp_dir().join(format!("emptyroom-policy-{}", std::process::id()));
        assert!(allows(&path, FORBID_PANIC).is_ok());
        std::fs::write(&path, "# forbid panic, perhaps\nforbid panics\n").unwrap();
        assert!(allows(&path, FORBID_PANIC).is_ok());
        std::fs::write(&path, "forbid killcode\n  forbid panic \n").unwrap();
        let refused = allows(&path, FORBID_PANIC).unwrap_err();
        assert_eq!(
            (refused.exit, &*refused.error),
            (Exit::Refused, "policy_forbids")
        );
        assert!(allows(&path, FORBID_DEADMAN).is_ok());
        assert!(allows(&path, FORBID_KILLCODE).is_err());
        std::fs::write(&path, "forbid deadman\n").unwrap();
        assert!(allows(&path, FORBID_DEADMAN).is_err());
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(allows(&path, FORBID_PANIC).is_err());
        std::fs::remove_file(&path).unwrap();
    }
}
