//! `emptyroom-relay address`: the line that users need.

use std::path::PathBuf;

use zeroize::Zeroizing;

use super::Failure;
use crate::console;
use crate::data;

/// Print the relay's address with its access code, as of the last start.
///
/// Whoever has the whole line can make logs on this relay; whoever has it without `?code=…` can use the
/// logs that others made. Give it to your users by a way that you trust: it also pins the relay's identity.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  emptyroom-relay address --data /var/lib/emptyroom-relay")]
pub(super) struct Arguments {
    /// The data directory; a relay may be running on it.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Print one JSON object instead: {"v":1,"address":"…"}.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let address = data::address::load(&arguments.data)?;
    let line = Zeroizing::new(address.with_code());
    if arguments.json {
        console::result(&serde_json::json!({ "v": 1, "address": line.as_str() }).to_string())?;
    } else {
        console::result(&line)?;
    }
    Ok(())
}
