//! `emptyroom verify`: comparing keys.

use std::io::IsTerminal;

use clap::Args;
use emptyroom_node::api::{Answer, Call, Exit, Failure};
use emptyroom_node::is_same_code;
use serde_json::json;

use crate::room::{self, Room};
use crate::{out, qr, secret};

/// Compare keys with a contact
///
/// Both of you see the same sixty digits if nobody stands between you. Read them to each other where you know whom you hear or
/// see, then say so with --confirm. If they differ, do not talk: somebody else has taken the link.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom verify bob                  sixty digits, and on a terminal a QR code
  emptyroom verify bob --confirm        they were compared and are the same
  emptyroom verify bob --scanned -      the QR code from Bob's screen, as a scanner reads it")]
pub(crate) struct Verify {
    /// The contact
    name: String,
    /// The numbers were compared and are the same
    #[arg(long)]
    confirm: bool,
    /// The text of the other's QR code; `-` reads standard input, or asks for it
    ///
    /// Where it holds the same keys the contact is verified, as by --confirm.
    #[arg(long, value_name = "CODE", conflicts_with = "confirm")]
    scanned: Option<String>,
}

impl Verify {
    fn confirmed(&self, room: &Room) -> Result<(), Failure> {
        room::note(room.out, &format!("{} is verified", self.name));
        Ok(())
    }

    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        if self.confirm {
            let name = self.name.clone();
            room.change_here(Call::ConfirmVerified { name })?;
            return self.confirmed(room);
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
        let is_same = self.scanned.as_deref().map(|given| {
            let scanned = secret::line_or_ask(Some(given), "scanned code")?;
            is_same_code(&qr, scanned.expose())
        });
        let is_same = is_same.transpose();
        if let Ok(Some(true)) = is_same {
            let name = self.name.clone();
            session.call(Call::ConfirmVerified { name })?;
        }
        room.leave(session)?;
        match is_same? {
            Some(true) => {
                room.out.done()?;
                return self.confirmed(room);
            }
            Some(false) => return Err(differs(&self.name)),
            None => {}
        }
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

/// The keys are not those that the other one sees.
fn differs(name: &str) -> Failure {
    let text = format!("the code is not that of {name}'s keys as they are seen here");
    Failure::new(Exit::Refused, "keys_differ", text).hint(
        "look that it is the code of this conversation, fresh from the other's screen; if it is, somebody else has taken the link: do not talk",
    )
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
