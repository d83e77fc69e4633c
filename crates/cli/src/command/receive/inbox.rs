//! Showing what was not shown: from the records, in their order, and marked only after it was written.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use emptyroom_node::Session;
use emptyroom_node::api::{Answer, Call, Event, Failure, Unread};

use crate::out::{self, Out};
use crate::{room, words};

/// Lines fetched at once.
const PAGE_LEN: usize = 100;

/// Shows unread lines.
pub(crate) struct Inbox {
    out: Out,
    /// Only this contact's.
    name: Option<String>,
}

impl Inbox {
    pub(crate) fn new(out: Out) -> Self {
        Self { out, name: None }
    }

    /// Only one contact's lines.
    pub(crate) fn of(out: Out, name: &str) -> Self {
        Self {
            out,
            name: Some(name.to_owned()),
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
                self.print(unread)?;
                shown += 1;
            }
            for (name, up_to) in up_to {
                session.call(Call::Shown { name, up_to })?;
            }
        }
    }

    fn print(&self, unread: Unread) -> Result<(), Failure> {
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
        if self.out.event(&event)? {
            return Ok(());
        }
        match (words::message(&event), words::event(&event)) {
            (Some(text), _) => out::line(&text),
            (None, Some(text)) => {
                out::note(&text);
                Ok(())
            }
            (None, None) => Ok(()),
        }
    }
}

pub(crate) fn now_ms() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}
