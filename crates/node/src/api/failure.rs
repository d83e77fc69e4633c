//! Why a call did not do what was asked: what a script branches on, what happened, and what to do about it.

use std::io::ErrorKind;

use emptyroom_wire::kill::Left;
use serde::{Deserialize, Serialize};

/// The exit code of a command, by what the caller can do about it.
// [SPEC 12.4]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Exit {
    /// 1: a fault of this program or its machine, nothing that another argument would cure.
    Fault,
    /// 2: wrong use: an argument, a name, a text that cannot be meant.
    Usage,
    /// 3: kept, and tried again with the next command or by the daemon.
    Kept,
    /// 4: refused, by the relay, the peer or a rule; trying again gives the same.
    Refused,
    /// 5: the vault: wrong PIN, missing, damaged, locked, in use, full, destroyed.
    Vault,
}

impl From<Exit> for u8 {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Fault => 1,
            Exit::Usage => 2,
            Exit::Kept => 3,
            Exit::Refused => 4,
            Exit::Vault => 5,
        }
    }
}

impl TryFrom<u8> for Exit {
    type Error = &'static str;

    fn try_from(code: u8) -> Result<Self, Self::Error> {
        Ok(match code {
            1 => Self::Fault,
            2 => Self::Usage,
            3 => Self::Kept,
            4 => Self::Refused,
            5 => Self::Vault,
            _ => return Err("exit code is not one of 1 to 5"),
        })
    }
}

/// What happened and what to do: the one error type above the node.
///
/// `text` is lower case, without full stop and without secrets; it may name what the caller himself typed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A stable name, in snake case.
    pub error: String,
    /// The exit code of a command that ends so.
    pub exit: Exit,
    /// What happened.
    pub text: String,
    /// What to do about it, where there is something to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(exit: Exit, error: &str, text: impl Into<String>) -> Self {
        Self {
            error: error.to_owned(),
            exit,
            text: text.into(),
            hint: None,
        }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A fault of this program or machine.
    pub fn fault(text: impl Into<String>) -> Self {
        Self::new(Exit::Fault, "fault", text)
    }

    /// The vault is, or has just been, locked.
    // [SPEC 12.31]
    pub fn locked() -> Self {
        Self::new(Exit::Vault, "vault_locked", "the vault is locked")
            .hint("run the command in a terminal and enter the PIN, give --pin-file, or start `emptyroom daemon`")
    }

    /// The dead-man time was over, or an order to wipe came, and the vault is gone; what of it is left elsewhere, in words.
    // [SPEC 12.46]
    pub fn wiped(ordered: bool, left: &[String]) -> Self {
        let text = format!("{}: the vault was destroyed", why_wiped(ordered));
        let wiped = |text: &str| Self::new(Exit::Vault, "vault_destroyed", text);
        if left.is_empty() {
            return wiped(&text).hint("make a new one with `emptyroom init`");
        }
        wiped(&format!("{text}, but {}", remains(left))).hint(remove(left))
    }

    /// The vault was destroyed, but not this, in words, which is elsewhere. Whether an empty vault is left that remembers it.
    // [SPEC 12.44]
    pub(crate) fn left_behind(left: &[String], is_remembered: bool) -> Self {
        let text = format!("the vault was destroyed, but {}", remains(left));
        let failure = Self::new(Exit::Vault, "left_behind", text);
        if is_remembered {
            let open = "open what is left with the panic PIN when TPM and relays can be reached: that removes it, or, where relays were tried in vain before, an opening an hour after the last try. Do not run `emptyroom panic` before";
            return failure.hint(format!("{open}; or {}", remove(left)));
        }
        failure.hint(remove(left))
    }

    /// The same failure of a wipe, with what it left elsewhere: whoever runs it again finds nothing that still says it.
    // [SPEC 12.44]
    #[must_use]
    pub(crate) fn and_left(mut self, left: &[String]) -> Self {
        if left.is_empty() {
            return self;
        }
        self.text = format!("{}; and {}", self.text, remains(left));
        let hint = self.hint.take().map(|hint| format!("{hint}; "));
        self.hint(format!("{}{}", hint.unwrap_or_default(), remove(left)))
    }

    /// The dead-man time was over, or an order to wipe came, but something stood in the way.
    // [SPEC 12.46]
    pub fn wipe_failed(ordered: bool, why: &str, left: &[String]) -> Self {
        let text = format!(
            "{}, but the vault could not be destroyed whole: {why}",
            why_wiped(ordered)
        );
        Self::new(Exit::Vault, "wipe_failed", text)
            .hint("see to the disk; the next start tries again")
            .and_left(left)
    }
}

fn why_wiped(ordered: bool) -> &'static str {
    if ordered {
        "an order to wipe came"
    } else {
        "the dead-man time was over"
    }
}

/// Why it matters that something of a destroyed vault is left elsewhere.
fn remains(left: &[String]) -> String {
    format!(
        "not {}, which could not be reached: a copy of the disk from before still opens with it, with its PIN, where a TPM has it on the machine with that TPM",
        left.join(", ")
    )
}

/// What to do about it.
fn remove(left: &[String]) -> String {
    let kinds = left_kinds(left);
    let at_relays = kinds.has(Left::RELAYS);
    let hints = [
        (kinds.has(Left::TPM) || !at_relays, REMOVE),
        (at_relays, SHARES),
    ];
    let hints: Vec<&str> = hints
        .iter()
        .filter(|(is, _)| *is)
        .map(|(_, hint)| *hint)
        .collect();
    hints.join("; ")
}

/// What kinds of things these are, in words, which could not be destroyed.
// [SPEC 11.116]
pub(crate) fn left_kinds(left: &[String]) -> Left {
    let kind = |left: &String| match left {
        left if left.ends_with(IN_TPM) => Left::TPM,
        left if left.contains(AT_RELAYS) => Left::RELAYS,
        _ => Left::UNKNOWN,
    };
    left.iter().map(kind).fold(Left::default(), Left::and)
}

/// The same kinds in words, where nobody knows any more what it was.
pub(crate) fn left_words(left: Left) -> Vec<String> {
    let left = left.known();
    let words = [
        (Left::TPM, format!("a key {IN_TPM}")),
        (Left::RELAYS, format!("its shares {AT_RELAYS}")),
        (
            Left::UNKNOWN,
            "what its damaged header or record named".to_owned(),
        ),
    ];
    let words = words.into_iter().filter(|(kind, _)| left.has(*kind));
    words.map(|(_, words)| words).collect()
}

const IN_TPM: &str = "of the TPM";
const AT_RELAYS: &str = "at the relays";

const REMOVE: &str = "when the TPM can be reached, remove it by its number (`tpm2_nvundefine 0x...`; `tpm2_getcap handles-nv-index` lists what is there). Clearing the TPM ends it, too, and \
     everything else that is tied to it: other vaults, the encryption of disks";

const SHARES: &str = "shares end with their time; whoever runs the relays can remove them only with all else that they keep";

/// What stood in the way of a file, for people; the system's own words may name it.
pub fn reason(kind: ErrorKind) -> String {
    match kind {
        ErrorKind::NotFound => "there is no such file or directory".to_owned(),
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
            "another file is in the way".to_owned()
        }
        kind => kind.to_string(),
    }
}

impl Failure {
    /// The daemon takes no further program.
    // [SPEC 12.24]
    pub(crate) fn busy() -> Self {
        let text = "the daemon serves as many programs as it can";
        Self::new(Exit::Vault, "daemon_busy", text).hint(
            "end one of them, like a `chat` or a `receive --follow`, then run the command again",
        )
    }

    /// The daemon took a call and gives no answer.
    // [SPEC 12.34]
    pub(crate) fn silent(pid: i32) -> Self {
        let text = format!("the daemon (process {pid}) does not answer");
        Self::new(Exit::Fault, "daemon_silent", text).hint(format!(
            "if it stays so, end it with `kill -9 {pid}`, which loses nothing that was confirmed; then run the command again"
        ))
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}
