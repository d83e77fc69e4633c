//! `emptyroom verify`: comparing keys.

use std::io::IsTerminal;

use clap::Args;
use emptyroom_node::api::{Answer, Call, Failure};
use serde_json::json;

use crate::room::{self, Room};
use crate::{out, qr};

/// Compare keys with a contact
///
/// Both of you see the same sixty digits if nobody stands between you. Read them to each other where you know whom you hear or
/// see, then say so with --confirm. If they differ, do not talk: somebody else has taken the link.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom verify bob                  sixty digits, and on a terminal a QR code
  emptyroom verify bob --confirm        they were compared and are the same")]
pub(crate) struct Verify {
    /// The contact
    name: String,
    /// The numbers were compared and are the same
    #[arg(long)]
    confirm: bool,
}

impl Verify {
    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        if self.confirm {
            let name = self.name.clone();
            room.change_here(Call::ConfirmVerified { name })?;
            room::note(room.out, &format!("{} is verified", self.name));
            return Ok(());
        }
        let session = room.open()?;
        room::meet(&session, &self.name)?;
        let call = Call::Fingerprint {
            name: self.name.clone(),
        };
        let Answer::Fingerprint {
            number,
            qr,
            verified,
        } = session.call(call)?
        else {
            return Err(room::unexpected());
        };
        room.leave(session)?;
        let value =
            json!({ "conversation": self.name, "number": number, "qr": qr, "verified": verified });
        room.out
            .result("fingerprint", &value, || Some(grouped(&number)))?;
        if room.out.json {
            return Ok(());
        }
        if std::io::stdout().is_terminal()
            && let Some(lines) = qr::lines(&qr, out::columns())
        {
            out::picture(&lines);
        }
        out::note(if verified {
            "verified before"
        } else {
            "not verified yet: compare, then run this again with --confirm"
        });
        Ok(())
    }
}

/// Twelve groups of five digits.
fn grouped(number: &str) -> String {
    let digits: Vec<char> = number.chars().collect();
    digits
        .chunks(5)
        .map(|group| group.iter().collect::<String>())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn digits_stand_in_groups_of_five() {
        assert_eq!(super::grouped("123456789012"), "12345 67890 12");
    }
}
