//! What whoever administers this machine forbids: `forbid` and what, a line each, in a file that only he writes.

use std::io::ErrorKind;
use std::path::Path;

use crate::api::{Exit, Failure, reason};

const PATH: &str = "/etc/emptyroom/policy";
const PANIC: &str = "panic";
const KILLCODE: &str = "killcode";
const DEADMAN: &str = "deadman";

/// Whether a panic PIN may be set and a vault be destroyed by command.
///
/// # Errors
/// When the policy forbids it, or is there and cannot be read.
pub(crate) fn allows_panic() -> Result<(), Failure> {
    // [SPEC 12.41]
    allows(Path::new(PATH), PANIC)
}

/// Whether a vault may be made to destroy itself.
///
/// # Errors
/// As [`allows_panic`].
pub(crate) fn allows_deadman() -> Result<(), Failure> {
    // [SPEC 12.41]
    allows(Path::new(PATH), DEADMAN)
}

/// Whether a vault may obey a kill code.
///
/// # Errors
/// As [`allows_panic`].
pub(crate) fn allows_killcode() -> Result<(), Failure> {
    // [SPEC 12.41]
    allows(Path::new(PATH), KILLCODE)
}

fn allows(path: &Path, forbidden: &str) -> Result<(), Failure> {
    let refused = |text: String| {
        Failure::new(Exit::Refused, "policy_forbids", text)
            .hint("ask whoever administers this machine")
    };
    let policy = path.display();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => {
            let why = reason(e.kind());
            return Err(refused(format!(
                "the policy of this machine, {policy}, cannot be read: {why}"
            )));
        }
    };
    for (line, number) in text.lines().zip(1..) {
        match forbids(line) {
            None => {
                return Err(refused(format!(
                    "line {number} of the policy of this machine, {policy}, is not understood"
                )));
            }
            Some(words) if words.iter().any(|word| word == forbidden) => {
                return Err(refused(format!(
                    "the policy of this machine, {policy}, forbids it"
                )));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// What a line forbids; nothing for one that is not understood, which may be a slip in a word that was to forbid something.
fn forbids(line: &str) -> Option<Vec<String>> {
    let line = line.split('#').next().unwrap_or_default();
    let mut words = line.split_whitespace().map(str::to_lowercase);
    let Some(first) = words.next() else {
        return Some(Vec::new());
    };
    let words: Vec<String> = words.collect();
    let known = |word: &String| [PANIC, KILLCODE, DEADMAN].contains(&word.as_str());
    (first == "forbid" && !words.is_empty() && words.iter().all(known)).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    // [SPEC 12.41]
    #[test]
    fn a_line_forbids_and_what_cannot_be_read_does_too() {
        let path = std::env::temp_dir().join(format!("emptyroom-policy-{}", std::process::id()));
        assert!(allows(&path, PANIC).is_ok());
        std::fs::write(&path, "# forbid panic, perhaps\n\n").unwrap();
        assert!(allows(&path, PANIC).is_ok());
        std::fs::write(&path, "FORBID  panic deadman # by the house\n").unwrap();
        assert!(allows(&path, PANIC).is_err() && allows(&path, DEADMAN).is_err());
        assert!(allows(&path, KILLCODE).is_ok());
        for slip in ["forbid panics", "panic", "forbid", "forbid panic, deadman"] {
            std::fs::write(&path, slip).unwrap();
            assert!(allows(&path, KILLCODE).is_err(), "{slip}");
        }
        std::fs::write(&path, "forbid killcode\n  forbid panic \n").unwrap();
        let refused = allows(&path, PANIC).unwrap_err();
        assert_eq!(
            (refused.exit, &*refused.error),
            (Exit::Refused, "policy_forbids")
        );
        assert!(allows(&path, DEADMAN).is_ok());
        assert!(allows(&path, KILLCODE).is_err());
        std::fs::write(&path, "forbid deadman\n").unwrap();
        assert!(allows(&path, DEADMAN).is_err());
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(allows(&path, PANIC).is_err());
        std::fs::remove_file(&path).unwrap();
    }
}
