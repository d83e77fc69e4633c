//! `emptyroom init`: a new vault and account.

use clap::{Args, ValueEnum};
use emptyroom_node::api::{Failure, SecretText};
use emptyroom_node::{Kdf, Session};

use crate::room::{self, Room};
use crate::{failure, passphrase, prompt, secret};

/// Make a new vault and account
///
/// The vault is one directory that holds everything: keys, contacts, messages. A passphrase of six words (77 bits) is
/// proposed; a PIN of your own is allowed, but whoever copies the disk can try out a short one. There is no account on any
/// server, and nobody can reset a forgotten passphrase. (The words are the EFF's long word list, © Electronic Frontier
/// Foundation, CC BY 3.0.)
///
/// Who only takes links needs no relay of his own. Who wants to make them gives the address line that the relay's operator
/// handed out; with `-` it is read from standard input or asked for, so that it stays out of the shell's history.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom init --relay -                    asks for the relay's address, proposes a passphrase
  emptyroom init                              no relay: to join with other people's links
  emptyroom init --pin-file pin < /dev/null   in a script")]
pub(crate) struct Init {
    /// The relay where your invites will be made; `-` reads or asks for it
    #[arg(long, value_name = "ADDRESS")]
    relay: Option<String>,
    /// What guessing one PIN costs; stored in the vault and shown by `status`
    #[arg(long, value_name = "COST", value_enum, default_value_t = Cost::Standard)]
    kdf: Cost,
}

/// So often a new PIN may be repeated.
const TRIES: usize = 3;

/// The cost of one guess.
#[derive(Clone, Copy, ValueEnum)]
enum Cost {
    /// 256 MiB of memory, about a second
    Standard,
    /// 64 MiB, about a quarter of a second, for small devices
    Small,
    /// The least there is, for tests and scripts: it protects nothing that can be guessed
    Minimum,
}

impl From<Cost> for Kdf {
    fn from(cost: Cost) -> Self {
        match cost {
            Cost::Standard => Self::Standard,
            Cost::Small => Self::Small,
            Cost::Minimum => Self::Minimum,
        }
    }
}

impl Init {
    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        let kdf = Kdf::from(self.kdf);
        // Asking for a passphrase first would promise what cannot be.
        Session::expect_no_vault(&room.home)?;
        let relay = match &self.relay {
            // Nor does anybody copy six words before a slip in the address is told.
            Some(given) if room.pin.is_prompt() => Some(address(given)?),
            _ => None,
        };
        let pin = choose(room)?;
        let (memory_kib, passes) = kdf.cost();
        if let Some(warning) =
            passphrase::warning(pin.expose(), passphrase::guess_ms(memory_kib, passes))
        {
            room.out.warn("short_pin", &warning);
        }
        if matches!(kdf, Kdf::Minimum) {
            room.out.warn(
                "kdf_minimum",
                "--kdf minimum: this PIN can be guessed at full speed; for tests and scripts only",
            );
        }
        let relay = match (relay, &self.relay) {
            (None, Some(given)) => Some(address(given)?),
            (relay, _) => relay,
        };
        let session = Session::create(&room.home, &pin, kdf, relay.as_ref())?;
        room.listen_for(&session);
        session.close()?;
        room::note(
            room.out,
            &format!("made a vault in {}", crate::home::shown(&room.home)),
        );
        room::note(
            room.out,
            if self.relay.is_some() {
                "next: `emptyroom invite NAME`, or `emptyroom join --as NAME` with a link you were given"
            } else {
                "next: `emptyroom join --as NAME` with a link you were given"
            },
        );
        room.out.done()
    }
}

/// The relay's address, checked.
fn address(given: &str) -> Result<SecretText, Failure> {
    let address = secret::line_or_ask(Some(given), "relay address")?;
    Session::check_relay(&address)?;
    Ok(address)
}

/// The PIN from where the options say, else proposed and asked for, twice.
fn choose(room: &Room) -> Result<SecretText, Failure> {
    if !room.pin.is_prompt() {
        return room.pin.read("", room.out);
    }
    let no_terminal = || {
        failure::usage(
            "there is no terminal to ask for a PIN",
            "give --pin-file or --pin-fd",
        )
    };
    let proposed = passphrase::propose()?;
    let prompt = format!(
        "A passphrase of six words, 77 bits:\n\n    {}\n\nEnter takes it; or type a PIN or passphrase of your own: ",
        proposed.expose()
    );
    let typed = prompt::hidden(&prompt)?.ok_or_else(no_terminal)?;
    let chosen = if typed.expose().is_empty() {
        proposed
    } else {
        typed
    };
    let mut prompt = "Once more, in full: ";
    for _ in 0..TRIES {
        let again = prompt::hidden(prompt)?.ok_or_else(no_terminal)?;
        if again.expose() == chosen.expose() {
            return Ok(chosen);
        }
        prompt = "That was not the same. Once more, in full: ";
    }
    Err(failure::usage(
        "the two are not the same",
        "run `emptyroom init` again; nothing was made, and other words will be proposed",
    ))
}
