//! `emptyroom history`: a conversation as it is stored here.

use clap::Args;
use emptyroom_node::Session;
use emptyroom_node::api::{Answer, Call, Failure, Line, LineBody};
use serde::Serialize;

use crate::room::{self, Room};
use crate::words;

/// Lines fetched at once.
const PAGE_LEN: usize = 100;

/// Print a conversation
///
/// Oldest first: number, time, who, text; for your own messages how far they came. What was not shown before counts as shown
/// now: burn timers start.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom history bob
  emptyroom history bob --last 20
  emptyroom history bob --json | jq -r 'select(.line == \"received\") | .text'")]
pub(crate) struct History {
    /// The contact
    name: String,
    /// Only the last N lines
    #[arg(long, value_name = "N")]
    last: Option<usize>,
}

#[derive(Serialize)]
struct InConversation<'a> {
    conversation: &'a str,
    #[serde(flatten)]
    line: &'a Line,
}

impl History {
    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        let session = room.open()?;
        let lines = lines(&session, &self.name, self.last.unwrap_or(usize::MAX))?;
        for line in &lines {
            let value = InConversation {
                conversation: &self.name,
                line,
            };
            room.out.result("line", &value, || {
                Some(words::history_line(&self.name, line))
            })?;
        }
        mark(&session, &self.name, &lines)?;
        room.leave(session)
    }
}

/// The last lines of a conversation, oldest first.
///
/// # Errors
/// When there is no such contact.
pub(crate) fn lines(session: &Session, name: &str, len_max: usize) -> Result<Vec<Line>, Failure> {
    let mut newest_first: Vec<Line> = Vec::new();
    loop {
        let limit = PAGE_LEN.min(len_max.saturating_sub(newest_first.len()));
        if limit == 0 {
            break;
        }
        let before = newest_first.last().map(|line| line.id);
        let call = Call::History {
            name: name.to_owned(),
            before,
            limit,
        };
        let Answer::History { lines } = session.call(call)? else {
            return Err(room::unexpected());
        };
        let len = lines.len();
        newest_first.extend(lines.into_iter().rev());
        if len < limit {
            break;
        }
    }
    newest_first.reverse();
    Ok(newest_first)
}

/// These lines were shown. Says whether one of them had not been before.
///
/// # Errors
/// When the vault was locked or cannot be written.
pub(crate) fn mark(session: &Session, name: &str, lines: &[Line]) -> Result<bool, Failure> {
    let unread = lines
        .iter()
        .any(|line| matches!(line.body, LineBody::Received { read: false, .. }));
    match lines.last() {
        Some(last) if unread => session
            .call(Call::Shown {
                name: name.to_owned(),
                up_to: last.id,
            })
            .map(|_| true),
        _ => Ok(false),
    }
}
