//! What every command begins and ends with: where the home is, opening the vault or finding its daemon, and letting
//! what waits go out before the end.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::Duration;

use emptyroom_node::api::{
    Answer, Call, ContactInfo, DeadmanInfo, Exit, Failure, ModeName, RelayInfo, SecretText,
    StatusInfo, VaultInfo,
};
use emptyroom_node::{Desktop, Session, WrongBefore};

use crate::args::{Command, Common};
use crate::command::desktop;
use crate::out::{self, Out};
use crate::secret::Source;
use crate::{home, signals, span, terminal, words};

/// How long the end of a command waits for what waits to go out.
const LEAVE_WAIT: Duration = Duration::from_secs(5);

/// The state of a contact whose link nobody took yet, as far as is known here.
const INVITED: &str = "invited";

/// The options of every command, checked.
pub(crate) struct Room {
    pub(crate) home: PathBuf,
    pub(crate) out: Out,
    pub(crate) pin: Source,
    /// Gone when the vault is open.
    pub(crate) desktop: Cell<Option<Desktop>>,
}

/// How far a flush came.
pub(crate) struct Flushed {
    pub(crate) unreachable: Vec<String>,
    pub(crate) timed_out: bool,
}

/// What may still wait at the end of a command about one contact.
pub(crate) struct After {
    /// Gone where the command ended it.
    pub(crate) contact: Option<ContactInfo>,
    /// The contact's relay; gone where nothing needs it any more.
    pub(crate) relay: Option<RelayInfo>,
    timed_out: bool,
}

impl After {
    /// Whether the relay may not have answered everything.
    pub(crate) fn is_silent(&self) -> bool {
        self.timed_out || self.relay.as_ref().is_some_and(|relay| !relay.up)
    }
}

impl Room {
    /// Finds the home; for a command that needs none it may be nowhere. For one that opens a vault, the process is begun that will listen to the desktop.
    ///
    /// # Errors
    /// When no option and no variable says where it is.
    pub(crate) fn new(common: Common, command: &Command) -> Result<Self, Failure> {
        let home = common.home.map_or_else(home::default, Ok);
        let home = match home {
            Err(_) if !command.needs_home() => PathBuf::new(),
            home => home?,
        };
        let desktop = command.opens().then(desktop::begin).flatten();
        Ok(Self {
            home,
            out: Out { json: common.json },
            pin: Source::new(common.pin_file, common.pin_fd),
            desktop: Cell::new(desktop),
        })
    }

    /// The daemon if one runs, else the vault, for which the PIN is asked.
    ///
    /// # Errors
    /// Each kind of trouble with a vault by its own name.
    // [SPEC 12.32]
    pub(crate) fn open(&self) -> Result<Session, Failure> {
        if let Some(session) = Session::of_daemon(&self.home)? {
            // The daemon has its own.
            drop(self.desktop());
            self.warn_of_vault(&session);
            return Ok(session);
        }
        let deadman = self.expect_vault()?;
        let pin = self.pin.read("PIN or passphrase: ", self.out)?;
        let session = Session::open(&self.home, &pin)?;
        self.opened(&session, deadman.as_ref());
        warn_of_phrase(emptyroom_node::is_recovery_phrase(&pin), self.out);
        warn_of_wrong(session.wrong_before(), self.out);
        Ok(session)
    }

    /// What tells when the vault is to be locked, for whoever opens it.
    pub(crate) fn desktop(&self) -> Option<Desktop> {
        self.desktop.take()
    }

    /// Whether there is a vault, before anybody is asked for a PIN. Gives its dead-man time, where one lies outside.
    ///
    /// # Errors
    /// When there is none, or its dead-man time was over.
    pub(crate) fn expect_vault(&self) -> Result<Option<DeadmanInfo>, Failure> {
        let deadman = Session::expect_vault(&self.home)?;
        self.warn_of(deadman.as_ref());
        Ok(deadman)
    }

    // [SPEC 11.83]
    pub(crate) fn warn_of(&self, deadman: Option<&DeadmanInfo>) {
        let Some(deadman) = deadman else { return };
        if deadman.unwritten {
            self.warn_of_unwritten();
        }
        if deadman.warned {
            let text = words::deadman(deadman.counted_s, deadman.left_s, deadman.destroyed_after_s);
            self.out.warn("deadman", &text);
        }
    }

    /// Opening begins the time anew, if that can be written.
    // [SPEC 11.83]
    pub(crate) fn warn_of_unwritten(&self) {
        self.out.warn("deadman_unwritten", words::DEADMAN_UNWRITTEN);
    }

    /// What an open vault knows of its time and of its factors. What stands in the way of asking is told by what is asked next.
    fn warn_of_vault(&self, session: &Session) {
        let Ok(status) = status(session) else {
            return;
        };
        self.warn_of(status.vault.deadman.as_ref());
        self.warn_of_factors(&status.vault);
        self.warn_of_alarms(&status);
    }

    /// Says which relays do not keep their share for as long as was just set; and that no relay keeps it for longer.
    // [SPEC 11.54]
    pub(crate) fn warn_of_leases(&self, session: &Session, is_set: bool) {
        let Ok(StatusInfo { vault, .. }) = status(session) else {
            return;
        };
        if is_set && matches!(vault.mode, ModeName::Relays | ModeName::TpmAndRelays) {
            self.out.warn(
                "relays_limits",
                "from the next opening on the relays' shares end some days after this time, also while the machine is off: then only the recovery words open this vault",
            );
        }
        self.warn_of_factors(&vault);
    }

    // [SPEC 11.53]
    fn warn_of_factors(&self, vault: &VaultInfo) {
        if let Some(not) = &vault.not_renewed {
            let text = format!(
                "what besides the PIN opens this vault could not be made anew since {}: {}; `emptyroom vault mode` says how many attempts are left",
                span::local(not.since),
                terminal::line(&not.text)
            );
            self.out.warn("not_renewed", &text);
        }
        if !vault.wrong_relays.is_empty() {
            let text = format!(
                "these relays answered wrongly when the vault was opened, and it opened without them: {}; name others with `emptyroom vault mode`",
                terminal::line(&vault.wrong_relays.join(" "))
            );
            self.out.warn("wrong_relays", &text);
        }
        if !vault.missing_relays.is_empty() {
            let text = format!(
                "these relays were chosen and have no share of this vault now: {}; what the others have opens it, and fewer of them may fail until these are back. Where \
                 one is gone for good, choose others: `emptyroom vault mode {} --relays FILE`",
                terminal::line(&vault.missing_relays.join(" ")),
                crate::command::vault::name(vault.mode)
            );
            self.out.warn("missing_relays", &text);
        }
        if !vault.old_shares.is_empty() {
            let text = format!(
                "copies of the disk from before still open with the PIN: these relays have not deleted their shares yet, which each opening tries: {}",
                terminal::line(&vault.old_shares.join(" "))
            );
            self.out.warn("old_shares", &text);
        }
    }

    /// The vault was opened: from now on the desktop may say that it is to be locked.
    // [SPEC 11.91]
    pub(crate) fn listen_for(&self, session: &Session) {
        if let Some(desktop) = self.desktop() {
            session.lock_by(desktop, signals::end_what_is_held_up);
        }
    }

    /// The vault was opened; `before` is what was found outside.
    fn opened(&self, session: &Session, before: Option<&DeadmanInfo>) {
        self.listen_for(session);
        self.warn_of_journey(before);
        self.warn_of_vault(session);
    }

    /// An opening ends a journey.
    // [SPEC 11.82]
    pub(crate) fn warn_of_journey(&self, before: Option<&DeadmanInfo>) {
        if before.is_some_and(|before| before.suspended) {
            self.out.warn("journey_over", words::JOURNEY_OVER);
        }
    }

    /// The daemon or the vault, and the PIN, which is asked for in any case.
    ///
    /// # Errors
    /// As [`Room::open`].
    pub(crate) fn open_with_pin(&self) -> Result<(Session, SecretText), Failure> {
        let daemon = Session::of_daemon(&self.home)?;
        let deadman = match &daemon {
            Some(session) => {
                drop(self.desktop());
                self.warn_of_vault(session);
                None
            }
            None => self.expect_vault()?,
        };
        let pin = self.pin.read("Present PIN or passphrase: ", self.out)?;
        if let Some(session) = daemon {
            return Ok((session, pin));
        }
        let session = Session::open(&self.home, &pin)?;
        self.opened(&session, deadman.as_ref());
        warn_of_wrong(session.wrong_before(), self.out);
        Ok((session, pin))
    }

    /// The same for a command that gives no new PIN: where the recovery words opened the vault, one is due.
    ///
    /// # Errors
    /// As [`Room::open`].
    pub(crate) fn open_with_pin_that_stays(&self) -> Result<(Session, SecretText), Failure> {
        let (session, pin) = self.open_with_pin()?;
        let by_phrase = !session.is_daemon() && emptyroom_node::is_recovery_phrase(&pin);
        warn_of_phrase(by_phrase, self.out);
        Ok((session, pin))
    }

    /// Ends a command that may have left something to be sent: it goes out now if it can, else with the next command.
    ///
    /// # Errors
    /// When the vault cannot be closed cleanly.
    pub(crate) fn leave(&self, session: Session) -> Result<(), Failure> {
        if !session.is_daemon() && status(&session)?.waiting > 0 {
            flush(&session, LEAVE_WAIT)?;
        }
        session.close()
    }

    /// One call that gives nothing and means this device alone.
    ///
    /// # Errors
    /// What stood in the way.
    pub(crate) fn change_here(&self, call: Call) -> Result<(), Failure> {
        let session = self.open()?;
        session.call(call)?;
        self.leave(session)?;
        self.out.done()
    }

    /// Calls about a contact that give nothing, and are not done before the contact's relay knows it: what waits for it says
    /// `waits`. How other relays are does not matter, so a flush that was not done in time says nothing by itself.
    ///
    /// # Errors
    /// What stood in the way; [`Exit::Kept`] when the relay will be told later.
    // [SPEC 12.4, 12.19]
    pub(crate) fn change_at_relay(
        &self,
        name: &str,
        calls: impl IntoIterator<Item = Call>,
        waits: impl Fn(&After) -> bool,
    ) -> Result<(), Failure> {
        self.change_in(self.open()?, name, calls, waits)
    }

    /// The same in a session that is open.
    ///
    /// # Errors
    /// As before.
    pub(crate) fn change_in(
        &self,
        session: Session,
        name: &str,
        calls: impl IntoIterator<Item = Call>,
        waits: impl Fn(&After) -> bool,
    ) -> Result<(), Failure> {
        let before = contact(&session, name);
        for call in calls {
            session.call(call)?;
        }
        let relay = before?.relay;
        let flushed = flush(&session, LEAVE_WAIT)?;
        let known = status(&session)?.relays;
        let waits = waits(&After {
            contact: contact(&session, name).ok(),
            relay: known.into_iter().find(|known| known.relay == relay),
            timed_out: flushed.timed_out,
        });
        let impostor = impostor(&session, &relay);
        session.close()?;
        if waits {
            return Err(kept(
                "the change",
                &relay,
                Some(&flushed),
                impostor.as_deref(),
            ));
        }
        self.out.done()
    }
}

/// Lets go out and come in what can, for at most `wait`.
///
/// # Errors
/// When the vault was locked or cannot be written.
pub(crate) fn flush(session: &Session, wait: Duration) -> Result<Flushed, Failure> {
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    flushed(session.call(Call::Flush { wait_ms })?)
}

/// What a flush came to.
///
/// # Errors
/// When the answer is another one.
pub(crate) fn flushed(answer: Answer) -> Result<Flushed, Failure> {
    match answer {
        Answer::Flushed {
            unreachable,
            timed_out,
            ..
        } => Ok(Flushed {
            unreachable,
            timed_out,
        }),
        _ => Err(unexpected()),
    }
}

/// A link that was open may have been taken since: what its relay knows comes in first.
///
/// # Errors
/// When the vault was locked or cannot be written.
// [SPEC 12.37]
pub(crate) fn meet(session: &Session, name: &str) -> Result<(), Failure> {
    if contact(session, name).is_ok_and(|contact| contact.state == INVITED) {
        flush(session, LEAVE_WAIT)?;
    }
    Ok(())
}

/// Says that a new PIN is due, where the recovery words opened the vault.
// [SPEC 11.47]
pub(crate) fn warn_of_phrase(by_phrase: bool, out: Out) {
    if by_phrase {
        out.warn(
            "opened_by_phrase",
            "the recovery words opened this vault: set a new PIN with `emptyroom pin change`, which takes them as the present one",
        );
    }
}

/// Says what came before the right PIN, where somebody counts: it may have been somebody else.
// [SPEC 11.48]
pub(crate) fn warn_of_wrong(before: Option<WrongBefore>, out: Out) {
    let Some(before) = before else { return };
    let WrongBefore {
        wrong,
        left,
        unnoted,
    } = before;
    if wrong > 0 {
        out.warn(
            "wrong_pins",
            &format!(
                "before this PIN came {wrong} {}, wrong or cut off, and {left} more would have been answered; if it was not you, and the disk was not full, somebody had this machine",
                if wrong == 1 { "attempt" } else { "attempts" }
            ),
        );
    }
    // [SPEC 11.53]
    if let Some(why) = unnoted {
        out.warn("not_renewed", &not_renewed(&why, left.saturating_sub(1)));
    }
}

fn not_renewed(why: &Failure, left: u32) -> String {
    let hint = why.hint.as_ref().map(|hint| format!("; {hint}"));
    format!(
        "{}: nothing that opens the vault is made anew; the relays answer {left} attempts more, then only the recovery words open it{}",
        why.text,
        hint.unwrap_or_default()
    )
}

/// The state of everything.
///
/// # Errors
/// When the vault was locked or cannot be read.
pub(crate) fn status(session: &Session) -> Result<StatusInfo, Failure> {
    match session.call(Call::Status {})? {
        Answer::Status(status) => Ok(status),
        _ => Err(unexpected()),
    }
}

/// One contact.
///
/// # Errors
/// When there is none of this name.
pub(crate) fn contact(session: &Session, name: &str) -> Result<ContactInfo, Failure> {
    match session.call(Call::Contacts {})? {
        Answer::Contacts { contacts } => contacts
            .into_iter()
            .find(|contact| contact.name == name)
            .ok_or_else(|| {
                Failure::new(
                    Exit::Usage,
                    "unknown_name",
                    "there is no contact of this name",
                )
                .hint("`emptyroom contacts` lists the names")
            }),
        _ => Err(unexpected()),
    }
}

/// Who answers at a relay's address is not the relay, as far as this session found. What stands in the way of asking is no reason
/// to fail: something was stored before.
pub(crate) fn impostor(session: &Session, relay: &str) -> Option<String> {
    let relays = status(session).ok()?.relays;
    let found = relays.into_iter().find(|known| known.relay == relay);
    let trouble = found.filter(|known| !known.up)?.trouble;
    trouble.filter(|kind| matches!(kind.as_str(), "wrong_identity" | "wrong_certificate"))
}

/// The relay has it not, but it is kept. `impostor`: who answers in its place, see [`impostor`].
pub(crate) fn kept(
    what: &str,
    relay: &str,
    flushed: Option<&Flushed>,
    impostor: Option<&str>,
) -> Failure {
    if let Some(kind) = impostor {
        let why = words::relay_trouble(kind);
        let text =
            format!("whoever answers at {relay} {why}, and was sent nothing; {what} is kept");
        return Failure::new(Exit::Kept, "kept", text)
            .hint("compare the address with whoever runs the relay, or try from another network");
    }
    let away = flushed.is_some_and(|flushed| {
        !flushed.timed_out && flushed.unreachable.iter().any(|away| away == relay)
    });
    let why = if away {
        format!("{relay} cannot be reached")
    } else {
        format!("{relay} has not answered yet")
    };
    Failure::new(Exit::Kept, "kept", format!("{why}; {what} is kept"))
        .hint("it goes out with the next command, or by `emptyroom daemon`")
}

/// What happened was not written down; `why` is the name of the failure.
pub(crate) fn storage_failed(why: &str) -> Failure {
    let (text, hint) = match why {
        "vault_full" => (
            "the disk is full; nothing was lost",
            "make room, then run the command again",
        ),
        _ => (
            "the vault could not be read or written",
            "see to the disk, then run the command again",
        ),
    };
    Failure::new(Exit::Vault, why, text).hint(hint)
}

/// A daemon of another version, or a fault.
pub(crate) fn unexpected() -> Failure {
    Failure::fault("the answer does not fit the call")
}

/// A note for people only: with `--json` it would disturb nobody, but tell nobody either.
pub(crate) fn note(out: Out, text: &str) {
    if !out.json {
        out::note(text);
    }
}
