//! `emptyroom vault mode`: what besides the PIN opens the vault.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use emptyroom_node::Session;
use emptyroom_node::api::{Answer, Call, Exit, Failure, ModeInfo, ModeName, SecretText, reason};
use serde_json::json;
use zeroize::Zeroizing;

use crate::out::Out;
use crate::room::{self, Room};
use crate::{failure, passphrase, prompt, span, terminal};

/// Show what besides the PIN opens the vault, and what could; or change it
///
/// A vault is opened by the PIN or passphrase alone, or by it and a key in this machine's TPM, which answers ten wrong PINs and
/// then no more, or by it and more than half of the relays that are named, which count as well, or by all of these. The TPM is
/// /dev/tpmrm0, or the device that $EMPTYROOM_TPM names. A change takes the present PIN, also when a daemon runs; the history is not encrypted
/// again. docs/vault.md says what each protects from, and what not.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom vault mode               what it is, what this machine has, what is recommended
  emptyroom vault mode --relays FILE
                                     the same, and whether these relays are reached and keep shares
  emptyroom vault mode tpm           from now on this machine's TPM is needed, too
  emptyroom vault mode relays --relays FILE
                                     from now on relays are needed, too
  emptyroom vault mode passphrase    from now on the PIN or passphrase alone")]
pub(super) struct Mode {
    /// From now on this besides the PIN
    mode: Option<ModeArgument>,
    /// The relays, one address a line; `-` reads standard input
    ///
    /// One to five, each run by somebody else. Three are the least that helps: of three one may be gone, of two none. Without this the
    /// relays that were chosen before.
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    relays: Option<PathBuf>,
    /// Do not ask, and also without recovery words
    #[arg(long, requires = "mode")]
    yes: bool,
    /// Forget what is still to be destroyed in another TPM than the one that is here: it was cleared since, so it is gone
    ///
    /// Only the owner can know that: to this program a TPM that was cleared is another one. What is in a TPM that was not cleared
    /// stays there. What the one that is here has it is made to destroy first.
    #[arg(long, conflicts_with_all = ["mode", "relays"])]
    forget_left: bool,
}

/// A mode as it is typed.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum ModeArgument {
    /// Nothing: the PIN or passphrase alone
    Passphrase,
    /// This machine's TPM
    Tpm,
    /// Relays
    Relays,
    /// This machine's TPM and relays
    TpmAndRelays,
}

impl From<ModeArgument> for ModeName {
    fn from(mode: ModeArgument) -> Self {
        match mode {
            ModeArgument::Passphrase => Self::Passphrase,
            ModeArgument::Tpm => Self::Tpm,
            ModeArgument::Relays => Self::Relays,
            ModeArgument::TpmAndRelays => Self::TpmAndRelays,
        }
    }
}

impl Mode {
    /// The file that the relays are read from.
    pub(super) fn file(&self) -> Option<&Path> {
        self.relays
            .as_deref()
            .filter(|file| *file != Path::new("-"))
    }

    pub(super) fn run(self, room: &Room) -> Result<(), Failure> {
        if self.forget_left {
            let (session, secret) = room.open_with_pin_that_stays()?;
            let Answer::Forgotten { forgotten } = session.call(Call::ForgetLeft { secret })? else {
                return Err(room::unexpected());
            };
            session.close()?;
            let text = || {
                let named = match &forgotten[..] {
                    [] => "nothing".to_owned(),
                    forgotten => forgotten.join(", "),
                };
                Some(terminal::line(&format!("forgotten: {named}")))
            };
            return room
                .out
                .result("forgotten", &json!({ "forgotten": forgotten }), text);
        }
        let relays = self.relays.as_deref();
        let relays = relays.map_or_else(|| Ok(Vec::new()), read)?;
        match self.mode {
            None => show(room, relays),
            Some(mode) => set(room, mode.into(), relays, self.yes),
        }
    }
}

/// The lines that are not empty.
fn read(file: &Path) -> Result<Vec<SecretText>, Failure> {
    let text = if file == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    let text = Zeroizing::new(text.map_err(|e| {
        let text = format!("the relays cannot be read: {}", reason(e.kind()));
        failure::usage(text, "check --relays")
    })?);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.map(|line| SecretText::new(line.to_owned())).collect())
}

fn set(room: &Room, mode: ModeName, relays: Vec<SecretText>, sure: bool) -> Result<(), Failure> {
    let (session, secret) = room.open_with_pin_that_stays()?;
    if (1..3).contains(&relays.len()) {
        room.out.warn("relays_limits", FEW_RELAYS);
    }
    check_ready(&session, mode, sure, room.out)?;
    passphrase::warn_of(&session, &secret, Some(mode), room.out)?;
    session.call(Call::SetMode {
        secret,
        mode,
        relays,
    })?;
    changed(session, room.out);
    room.out.done()
}

/// What there is, and what could be.
fn look(session: &Session) -> Result<Answer, Failure> {
    session.call(Call::VaultMode { relays: Vec::new() })
}

/// The end of every command that has changed what opens the vault: the change was made, so what fails from here on is a warning.
// [SPEC 12.50]
pub(crate) fn changed(session: Session, out: Out) {
    match look(&session) {
        Ok(Answer::VaultMode { left, .. }) if !left.is_empty() => {
            let text = format!(
                "the change was made; what it replaced could not be destroyed, and is when the vault is opened and it can be reached: {}",
                terminal::line(&left.join(", "))
            );
            out.warn("left_behind", &text);
        }
        _ => {}
    }
    if let Err(failure) = session.close() {
        let text = format!(
            "the change was made; then, as the vault was closed: {}",
            failure.text
        );
        out.warn("not_closed", &text);
    }
}

/// Says what a mode costs before it is there, and refuses it where there is no TPM for it, or nothing could open the vault any more.
// [SPEC 12.50]
pub(crate) fn check_ready(
    session: &Session,
    mode: ModeName,
    sure: bool,
    out: Out,
) -> Result<(), Failure> {
    if mode == ModeName::Passphrase {
        return Ok(());
    }
    let Answer::VaultMode {
        mode: now,
        recovery,
        modes,
        ..
    } = look(session)?
    else {
        return Err(room::unexpected());
    };
    let asks_tpm = |mode| matches!(mode, ModeName::Tpm | ModeName::TpmAndRelays);
    let tpm = modes.iter().find(|info| info.mode == ModeName::Tpm);
    if let Some(why) = tpm.and_then(|info| info.why_not.as_ref())
        && asks_tpm(mode)
        && !asks_tpm(now)
    {
        let hint = "nothing was changed; `emptyroom vault mode` says what this machine has";
        return Err(Failure::new(Exit::Vault, "vault_tpm_absent", why.clone()).hint(hint));
    }
    if asks_tpm(mode) {
        out.warn("tpm_limits", TPM_LIMITS);
    }
    if matches!(mode, ModeName::Relays | ModeName::TpmAndRelays) {
        out.warn("relays_limits", RELAYS_LIMITS);
    }
    if recovery {
        return if sure { Ok(()) } else { ask(mode) };
    }
    if !sure {
        let hint = "make some first: `emptyroom vault recovery new`; or give `vault mode` --yes";
        return Err(Failure::new(Exit::Usage, "no_recovery", NO_RECOVERY).hint(hint));
    }
    out.warn("no_recovery", NO_RECOVERY);
    Ok(())
}

/// Asks once on a terminal. Where there is none, who gave the command has read what it says.
fn ask(mode: ModeName) -> Result<(), Failure> {
    let word = name(mode);
    let typed = prompt::hidden(&format!("Type \"{word}\" to go on: "))?;
    if typed.is_none_or(|typed| typed.expose() == word) {
        return Ok(());
    }
    let hint = format!("type \"{word}\", or give --yes");
    Err(failure::usage("nothing was changed", hint))
}

const NO_RECOVERY: &str = "no recovery words are set: when the TPM is cleared or breaks, half of the relays are gone, or ten PINs were wrong, nothing opens this vault any more";

const FEW_RELAYS: &str = "with fewer than three relays none may fail: when one is gone, only the recovery words open this vault";

const RELAYS_LIMITS: &str = "without a network, or while half of the relays cannot be reached, only the recovery words open this vault, and a panic PIN does nothing; backups of \
     this vault open by the recovery words alone, once it was opened again; a copy that is opened or destroyed anywhere ends the vault that it was copied from; the relays' shares end 400 days \
     after the last opening, and where a dead-man time is set, with it";

const TPM_LIMITS: &str = "backups of this vault open by the recovery words alone, once it was opened again; a copy that is opened on this machine ends the \
     vault that it was copied from; while the TPM cannot be asked, a panic PIN does nothing";

fn show(room: &Room, relays: Vec<SecretText>) -> Result<(), Failure> {
    let session = room.open()?;
    let shown = told(room, &session, relays);
    session.close()?;
    shown
}

fn told(room: &Room, session: &Session, relays: Vec<SecretText>) -> Result<(), Failure> {
    let Answer::VaultMode {
        mode,
        recovery,
        attempts_left,
        relays,
        needed,
        left,
        refreshed_at,
        recommended,
        modes,
    } = session.call(Call::VaultMode { relays })?
    else {
        return Err(room::unexpected());
    };
    let value = json!({
        "mode": mode,
        "recovery": recovery,
        "attempts_left": attempts_left,
        "relays": relays,
        "needed": needed,
        "left": left,
        "refreshed_at": refreshed_at,
        "recommended": recommended,
        "modes": modes,
    });
    room.out.result("vault_mode", &value, || {
        let mut lines: Vec<String> = modes
            .iter()
            .map(|info| line(info, mode, recommended))
            .collect();
        if !relays.is_empty() {
            let relays: Vec<String> = relays.iter().map(|relay| terminal::line(relay)).collect();
            lines.push(format!("relays, of which {needed} are needed: {}", relays.join(" ")));
        }
        if let Some(left) = attempts_left {
            lines.push(format!("attempts left: {left}"));
        }
        if let Some(at) = refreshed_at {
            lines.push(format!("made anew: {}", span::local(at)));
        }
        if !left.is_empty() {
            lines.push(format!("still to be destroyed, at the next opening: {}", terminal::line(&left.join(", "))));
        }
        let words = match (recovery, mode) {
            (true, _) => "set",
            (false, ModeName::Passphrase) => {
                "none: make some before you choose another mode (`emptyroom vault recovery new`)"
            }
            (false, _) => {
                "none: nothing opens this vault when the TPM or the relays are gone; make some (`emptyroom vault recovery new`)"
            }
        };
        lines.push(format!(
            "recovery words (on paper they open it when the PIN is forgotten, or the TPM or relays are gone, also every copy of the disk): {words}"
        ));
        Some(lines.join("\n"))
    })
}

fn line(info: &ModeInfo, now: ModeName, recommended: ModeName) -> String {
    let marks: Vec<&str> = [
        (info.mode == now, "now"),
        (info.mode == recommended, "recommended"),
    ]
    .into_iter()
    .filter_map(|(is, mark)| is.then_some(mark))
    .collect();
    let marks = match marks.join(", ") {
        marks if marks.is_empty() => marks,
        marks => format!(" ({marks})"),
    };
    let why_not = info.why_not.as_ref();
    let why_not = why_not.map_or_else(String::new, |why| format!("; not here: {why}"));
    format!(
        "{}{marks}: {}{why_not}",
        name(info.mode),
        what_for(info.mode)
    )
}

/// As it is typed.
pub(crate) fn name(mode: ModeName) -> &'static str {
    match mode {
        ModeName::Passphrase => "passphrase",
        ModeName::Tpm => "tpm",
        ModeName::Relays => "relays",
        ModeName::TpmAndRelays => "tpm-and-relays",
    }
}

/// What it protects from, and what it costs.
fn what_for(mode: ModeName) -> &'static str {
    match mode {
        ModeName::Passphrase => {
            "holds as long as nobody guesses it, for which a copy of the disk can be tried for ever; costs six words of typing"
        }
        ModeName::Tpm => {
            "a copied disk is worthless without this machine, and ten wrong PINs end it, so a short PIN does; whoever breaks into the TPM \
             can guess; when the TPM is cleared or breaks only recovery words open it"
        }
        ModeName::Relays => {
            "a copied disk allows 16 guesses in all with five relays, 15 with three; costs a connection to more than half of them for each opening; \
             so many relays together, with a copy of the disk, can guess"
        }
        ModeName::TpmAndRelays => {
            "both: who guesses needs this machine, ten tries and the relays; costs what both cost"
        }
    }
}
