//! Showing what was not shown: from the records, in their order, and marked only after it was written.
//!
//! Another reader at the same daemon may be quicker and mark a line first. It is shown then when its event comes, so that
//! each of them shows all that is new; but from the records, too: an event may have waited for longer than its line lived.

use std::collections::{BTreeMap, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

use emptyroom_node::Session;
use emptyroom_node::api::{Answer, Call, Event, Failure, Unread};

use crate::out::{self, Out};
use crate::{room, words};

/// Lines fetched at once.
const PAGE_LEN: usize = 100;

/// Lines that are kept in mind until their events come; more do not wait anywhere.
const PRINTED_MAX: usize = 4_096;

/// Shows unread lines.
pub(crate) struct Inbox {
    out: Out,
    /// Only this contact's.
    name: Option<String>,
    /// Lines that were printed and whose events may still come.
    printed: VecDeque<LineOf>,
}

/// Which line an event tells of: its contact and number, which the first of a conversation has none.
type LineOf = (String, Option<u64>);

impl Inbox {
    pub(crate) fn new(out: Out) -> Self {
        Self {
            out,
            name: None,
            printed: VecDeque::new(),
        }
    }

    /// Only one contact's lines.
    pub(crate) fn of(out: Out, name: &str) -> Self {
        Self {
            name: Some(name.to_owned()),
            ..Self::new(out)
        }
    }

    /// Shows everything that was not shown, and says how many lines that were.
    ///
    /// # Errors
    /// When nobody reads standard output any more, or the vault was locked.
    pub(crate) fn show(&mut self, session: &Session) -> Result<usize, Failure> {
        let mut shown = 0;
        let mut last_first = None;
        loop {
            let call = Call::Unread {
                name: self.name.clone(),
                limit: PAGE_LEN,
            };
            let Answer::Unread { lines } = session.call(call)? else {
                return Err(room::unexpected());
            };
            let first = lines
                .first()
                .map(|unread| (unread.conversation.clone(), unread.line.id));
            if first.is_none() || first == last_first {
                return Ok(shown);
            }
            last_first = first;
            let mut up_to = BTreeMap::new();
            for unread in lines {
                up_to.insert(unread.conversation.clone(), unread.line.id);
                self.print_unread(unread)?;
                shown += 1;
            }
            for (name, up_to) in up_to {
                session.call(Call::Shown { name, up_to })?;
            }
        }
    }

    /// Whether an event is told by showing the line that it is about.
    pub(crate) fn tells(&self, event: &Event) -> bool {
        line_of(event).is_some()
    }

    /// Shows what an event may have brought, and says how many lines that were.
    ///
    /// # Errors
    /// As [`Inbox::show`].
    // [SPEC 12.16]
    pub(crate) fn heard(&mut self, session: &Session, event: &Event) -> Result<usize, Failure> {
        let line = line_of(event);
        if line.is_none() && !matches!(event, Event::Missed {}) {
            return Ok(0);
        }
        let shown = self.show(session)?;
        let Some(line) = line.filter(|(of, _)| self.name.as_ref().is_none_or(|name| name == of))
        else {
            return Ok(shown);
        };
        if let Some(at) = self.printed.iter().position(|printed| *printed == line) {
            self.printed.remove(at);
            return Ok(shown);
        }
        let Some(event) = as_it_is_now(session, event, line)? else {
            return Ok(shown);
        };
        self.print(&event)?;
        Ok(shown + 1)
    }

    fn print_unread(&mut self, unread: Unread) -> Result<(), Failure> {
        let Some(mut event) = Event::of_line(&unread.conversation, unread.line) else {
            return Ok(());
        };
        if let Event::MessageReceived {
            timer_s: Some(timer_s),
            expires_at,
            ..
        } = &mut event
        {
            // Its timer starts as soon as it is marked, which is the next thing that happens.
            expires_at.get_or_insert(now_ms().saturating_add(timer_s.saturating_mul(1_000)));
        }
        if let Some(line) = line_of(&event) {
            self.printed.push_back(line);
            if self.printed.len() > PRINTED_MAX {
                self.printed.pop_front();
            }
        }
        self.print(&event)
    }

    fn print(&self, event: &Event) -> Result<(), Failure> {
        if self.out.event(event)? {
            return Ok(());
        }
        match (words::message(event, now_ms()), words::event(event)) {
            (Some(text), _) => out::text(&text),
            (None, Some(text)) => {
                out::note(&text);
                Ok(())
            }
            (None, None) => Ok(()),
        }
    }
}

/// The event of a line as its record has it now; nothing where that is gone. The first line of a conversation has no number
/// and no text.
///
/// # Errors
/// When the vault was locked or cannot be read.
// [SPEC 12.16]
fn as_it_is_now(
    session: &Session,
    event: &Event,
    (name, id): LineOf,
) -> Result<Option<Event>, Failure> {
    let Some(id) = id else {
        return Ok(Some(event.clone()));
    };
    let call = Call::History {
        name: name.clone(),
        before: Some(id.saturating_add(1)),
        limit: 1,
    };
    match session.call(call) {
        Ok(Answer::History { lines }) => Ok(lines
            .into_iter()
            .find(|line| line.id == id)
            .and_then(|line| Event::of_line(&name, line))),
        Ok(_) => Err(room::unexpected()),
        // The contact was forgotten or renamed in the meantime.
        Err(failure) if failure.error == "unknown_name" => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The line that an event tells of; events of own messages are no lines here.
fn line_of(event: &Event) -> Option<LineOf> {
    match event {
        Event::MessageReceived {
            conversation, id, ..
        }
        | Event::TimerChanged {
            conversation, id, ..
        }
        | Event::Gap {
            conversation, id, ..
        }
        | Event::Restarted {
            conversation, id, ..
        } => Some((conversation.clone(), Some(*id))),
        Event::Joined { conversation } => Some((conversation.clone(), None)),
        _ => None,
    }
}

pub(crate) fn now_ms() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}
