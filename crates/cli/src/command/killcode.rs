//! `emptyroom killcode`: a code by which this vault can be destroyed from anywhere.

use std::io::IsTerminal;

use clap::{Args, Subcommand};
use emptyroom_node::api::Failure;
use emptyroom_node::{Killcode as Code, Left, Wiped};
use serde_json::json;

use crate::command::panic::LEGAL_HOLD;
use crate::out::Out;
use crate::room::{self, Room};
use crate::{out, qr, secret, span};

const WATCH: &str = "the vault obeys while a daemon, `chat` or `receive --follow` has it open, and, while it is locked, as long as `emptyroom guard` runs; a device \
     that is off or without a network obeys when it is back";

/// A code by which this vault can be destroyed from anywhere
///
/// Whoever has the code enters it with `emptyroom wipe`, on any machine, without an account. docs/vault.md says what this
/// protects from, and what not.
#[derive(Args)]
#[command(
    arg_required_else_help = true,
    after_long_help = "\
Examples:
  emptyroom killcode create -      asks for the relay's address
  emptyroom killcode revoke
  emptyroom killcode receipts -    asks for the code"
)]
pub(crate) struct Killcode {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Create(Create),
    Revoke(Revoke),
    Receipts(Receipts),
}

/// Make a kill code
///
/// It is shown once, as twelve words with the relay's address, as a text and, on a terminal, as a QR code, and kept nowhere. Whoever
/// has it can destroy this vault; nobody else can, not even the relay. The present PIN is always asked for, also when a daemon
/// runs. A relay has to carry it: its address, with an access code where it asks for one.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom killcode create -
  emptyroom killcode create relay.example:443/abc… --json")]
struct Create {
    /// The relay's address; from standard input, or asked for, for `-`
    #[arg(value_name = "ADDRESS")]
    address: Option<String>,
}

/// The vault obeys its kill code no longer
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom killcode revoke")]
struct Revoke {}

/// What became of the orders that were given with a kill code
///
/// Needs no vault: it may be another machine.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom killcode receipts -
  emptyroom killcode receipts - --at relay.example:443/abc… < words")]
struct Receipts {
    /// The kill code, as text or as words; from standard input, or asked for, for `-`
    #[arg(value_name = "CODE")]
    code: Vec<String>,
    /// The relay's address, which belongs to words
    #[arg(long, value_name = "ADDRESS")]
    at: Option<String>,
}

impl Killcode {
    /// What became of an order can be seen from anywhere.
    // [SPEC 12.43]
    pub(crate) fn needs_home(&self) -> bool {
        !matches!(self.what, What::Receipts(_))
    }

    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        match self.what {
            What::Create(create) => create.run(room),
            What::Revoke(Revoke {}) => revoke(room),
            What::Receipts(Receipts { code, at }) => {
                let code = secret::kill_code(&code, room.out)?;
                let wiped = emptyroom_node::receipts(&code, at.as_deref())?;
                warn(room.out, wiped);
                room.out.result("receipts", &value(wiped), || {
                    Some(format!("orders: {}\n{}", wiped.orders, text(wiped)))
                })
            }
        }
    }
}

impl Create {
    fn run(self, room: &Room) -> Result<(), Failure> {
        // [SPEC 12.41]
        room.out.warn("legal_hold", LEGAL_HOLD);
        room::note(room.out, WATCH);
        let address = secret::line_or_ask(self.address.as_deref(), "relay address")?;
        let (session, secret) = room.open_with_pin_that_stays()?;
        let code = emptyroom_node::create(&session, secret, address.expose())?;
        // Shown whatever comes: the vault obeys it already.
        let shown = show(room, &code);
        session.close()?;
        shown
    }
}

fn show(room: &Room, code: &Code) -> Result<(), Failure> {
    let Code { text, words, at } = code;
    let value = json!({ "words": words.expose(), "at": at, "code": text.expose() });
    room.out.result("killcode", &value, || {
        Some(format!("{}\nat {at}\n{}", words.expose(), text.expose()))
    })?;
    if room.out.json {
        return Ok(());
    }
    if std::io::stdout().is_terminal()
        && let Some(lines) = qr::lines(&text.expose().to_uppercase(), out::columns())
    {
        out::picture(&lines);
    }
    out::note(
        "keep the words with the address, or the text, away from this device: whoever has them can destroy this vault from anywhere",
    );
    Ok(())
}

fn revoke(room: &Room) -> Result<(), Failure> {
    let (session, secret) = room.open_with_pin_that_stays()?;
    let removed = emptyroom_node::revoke(&session, secret)?;
    session.close()?;
    if !removed {
        room::note(
            room.out,
            "the relay could not be told: a switch that nobody reads stays there for some time",
        );
    }
    room.out.done()
}

/// What makes the rest doubtful.
// [SPEC 11.64, 11.66]
pub(super) fn warn(out: Out, wiped: Wiped) {
    if !wiped.relay_checked {
        out.warn(
            "relay_unchecked",
            "whoever answers at that host was believed: give --at the whole address that was shown with the words",
        );
    }
    if !wiped.clocks_agree {
        out.warn(
            "clocks_differ",
            "the clocks of the relay and of this machine are more than a day apart: the order may be over when the device reads it",
        );
    }
}

pub(super) fn value(wiped: Wiped) -> serde_json::Value {
    json!({
        "orders": wiped.orders,
        "device_at": wiped.device_at,
        "left": wiped.left.map(names),
        "until": wiped.until,
        "relay_checked": wiped.relay_checked,
        "clocks_agree": wiped.clocks_agree,
    })
}

pub(super) fn text(wiped: Wiped) -> String {
    match wiped.device_at {
        Some(at) => format!(
            "the device, or whoever has its files, says that the vault was destroyed at {}{}",
            span::local(at),
            wiped.left.map_or_else(not_said, left)
        ),
        None => "the device has given no receipt yet".to_owned(),
    }
}

/// What could not be destroyed elsewhere: its name for scripts, and for people with what that means.
const LEFT: [(Left, &str, &str); 4] = [
    (
        Left::TPM,
        "tpm",
        "not its key in the TPM: a copy of its disk from before opens with the PIN on the machine with that TPM",
    ),
    (
        Left::RELAYS,
        "relays",
        "not its shares at relays: a copy of its disk from before may open with the PIN until they end",
    ),
    (
        Left::UNKNOWN,
        "unknown",
        "nobody knows what of it is left in a TPM or at relays, where copies of its disk from before may open with the PIN",
    ),
    (Left::UNSEEN, "unseen", UNSEEN),
];

const UNSEEN: &str = "it was locked then: what only the open vault knew of, such as older shares or keys that could not be reached before, nobody has looked at";

// [SPEC 11.116]
fn names(left: Left) -> Vec<&'static str> {
    let there = LEFT.iter().filter(|(kind, ..)| left.has(*kind));
    there.map(|(_, name, _)| *name).collect()
}

fn left(left: Left) -> String {
    let there = LEFT.iter().filter(|(kind, ..)| left.has(*kind));
    let there: Vec<&str> = there.map(|(.., text)| *text).collect();
    match there.as_slice() {
        [] => ", and that nothing of it is left in a TPM or at relays".to_owned(),
        [UNSEEN] => format!(
            ", and that nothing of what its header named is left in a TPM or at relays; {UNSEEN}"
        ),
        there => format!(", but {}", there.join("; ")),
    }
}

fn not_said() -> String {
    "; it does not say what is left in a TPM or at relays".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That nothing is left is told from that nothing is known.
    // [SPEC 11.116]
    #[test]
    fn what_is_left_is_named() {
        let wiped = Wiped {
            orders: 1,
            device_at: Some(0),
            left: None,
            until: None,
            relay_checked: true,
            clocks_agree: true,
        };
        assert_eq!(value(wiped)["left"], json!(null));
        assert!(text(wiped).ends_with("it does not say what is left in a TPM or at relays"));
        let told = |left| {
            let wiped = Wiped {
                left: Some(left),
                ..wiped
            };
            (value(wiped)["left"].clone(), text(wiped))
        };
        let (names, text) = told(Left::default());
        assert_eq!(names, json!([]));
        assert!(text.ends_with("and that nothing of it is left in a TPM or at relays"));
        let (names, locked) = told(Left::UNSEEN);
        assert_eq!(names, json!(["unseen"]));
        assert!(!locked.contains("but not") && locked.contains("what its header named"));
        assert!(locked.contains("nobody has looked at"));
        let (names, text) = told(Left::TPM.and(Left::UNKNOWN));
        assert_eq!(names, json!(["tpm", "unknown"]));
        assert!(text.contains("but not its key in the TPM") && text.contains("nobody knows"));
        assert_eq!(told(Left::RELAYS).0, json!(["relays"]));
    }
}
