//! `emptyroom history`: a conversation as it is stored here.

use clap::Args;
use emptyroom_node::Session;
use emptyroom_node::api::{Answer, Call, Failure, Line, LineBody};
use serde::Serialize;

use crate::room::{self, Room};
use crate::{out, span, words};

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
    #[arg(long, value_name = "N", value_parser = span::number)]
    last: Option<u64>,
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
        let last = self.last.and_then(|last| usize::try_from(last).ok());
        let last = last.unwrap_or(usize::MAX);
        let lines = lines(&session, &self.name, last)?;
        for line in &lines {
            let value = InConversation {
                conversation: &self.name,
                line,
            };
            if room.out.json {
                room.out.result("line", &value, || None)?;
            } else {
                out::text(&words::history_line(&self.name, line))?;
            }
        }
        if !mark(&session, &self.name, &lines)? && lines.iter().any(is_unread) {
            room::note(
                room.out,
                "older messages were not shown yet, so these do not count as shown; `emptyroom receive` shows all",
            );
        }
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

/// These lines were shown. Says whether one of them had not been before, and is marked now.
///
/// Marking means every line up to the last one. So where an older message was not shown yet, nothing is marked: it could
/// burn unseen.
///
/// # Errors
/// When the vault was locked or cannot be written.
// [SPEC 12.7]
pub(crate) fn mark(session: &Session, name: &str, lines: &[Line]) -> Result<bool, Failure> {
    let unread = oldest_unread(session, name)?;
    // Notices count, too: else `receive` shows them again.
    if !unread
        .iter()
        .any(|one| lines.iter().any(|line| line.id == one.id))
    {
        return Ok(false);
    }
    let Some(up_to) = shown_up_to(lines, &unread) else {
        return Ok(false);
    };
    session.call(Call::Shown {
        name: name.to_owned(),
        up_to,
    })?;
    Ok(true)
}

/// The oldest lines of a contact that were not shown.
fn oldest_unread(session: &Session, name: &str) -> Result<Vec<Line>, Failure> {
    let call = Call::Unread {
        name: Some(name.to_owned()),
        limit: PAGE_LEN,
    };
    match session.call(call)? {
        Answer::Unread { lines } => Ok(lines.into_iter().map(|unread| unread.line).collect()),
        _ => Err(room::unexpected()),
    }
}

/// How far everything was shown, if these lines were; nothing where a message older than they are was not.
fn shown_up_to(lines: &[Line], oldest_unread: &[Line]) -> Option<u64> {
    let (first, last) = (lines.first()?, lines.last()?);
    let hidden = |line: &Line| is_unread(line) && line.id < first.id;
    // A full page of notices may have messages behind it.
    let reaches = |line: &Line| line.id >= first.id;
    let whole = oldest_unread.len() < PAGE_LEN || oldest_unread.last().is_some_and(reaches);
    (whole && !oldest_unread.iter().any(hidden)).then_some(last.id)
}

/// A message that was received and not shown.
pub(crate) fn is_unread(line: &Line) -> bool {
    matches!(line.body, LineBody::Received { read: false, .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unread(id: u64) -> Line {
        let body = LineBody::Received {
            text: "t".to_owned(),
            sent_at: 0,
            read: false,
            timer_s: Some(0),
            expires_at: None,
        };
        Line { id, at: 0, body }
    }

    fn notice(id: u64) -> Line {
        let body = LineBody::Joined {};
        Line { id, at: 0, body }
    }

    // [SPEC 12.7]
    #[test]
    fn no_message_burns_that_was_not_shown() {
        let shown = [unread(8), unread(9)];
        assert_eq!(shown_up_to(&shown, &shown), Some(9));
        assert_eq!(
            shown_up_to(&shown, &[unread(7), unread(8), unread(9)]),
            None
        );
        assert_eq!(
            shown_up_to(&shown, &[notice(1), unread(8), unread(9)]),
            Some(9)
        );
        let notices: Vec<Line> = (1..=100).map(notice).collect();
        assert_eq!(shown_up_to(&[unread(200)], &notices), None);
        assert_eq!(shown_up_to(&[], &[]), None);
    }
}
