//! All connections, and when each must be looked at.

use std::collections::{BTreeMap, BTreeSet};

use emptyroom_wire::time::Mono;

use super::conn::{Conn, Stream};
use crate::io::ConnId;

#[derive(Default)]
pub(crate) struct Conns {
    all: BTreeMap<ConnId, Timed>,
    deadlines: BTreeSet<(Mono, ConnId)>,
}

struct Timed {
    conn: Conn,
    /// As it stands in `deadlines`. May be too early, never too late.
    deadline: Mono,
}

impl Conns {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn ids(&self) -> Vec<ConnId> {
        self.all.keys().copied().collect()
    }

    pub(crate) fn insert(&mut self, id: ConnId, conn: Conn) {
        let deadline = conn.wake_at();
        self.deadlines.insert((deadline, id));
        self.all.insert(id, Timed { conn, deadline });
    }

    pub(crate) fn contains(&self, id: ConnId) -> bool {
        self.all.contains_key(&id)
    }

    pub(crate) fn conn(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.all.get_mut(&id).map(|timed| &mut timed.conn)
    }

    pub(crate) fn stream(&mut self, id: ConnId) -> Option<&mut Stream> {
        self.conn(id)?.stream()
    }

    /// The connection for which most waits to be sent.
    pub(crate) fn heaviest(&self) -> Option<ConnId> {
        let waiting = self.all.iter().filter(|(_, at)| at.conn.unsent() > 0);
        let heaviest = waiting.max_by_key(|(_, at)| at.conn.unsent());
        heaviest.map(|(id, _)| *id)
    }

    pub(crate) fn remove(&mut self, id: ConnId) -> Option<Conn> {
        let timed = self.all.remove(&id)?;
        self.deadlines.remove(&(timed.deadline, id));
        Some(timed.conn)
    }

    /// To be called when a connection may have to be looked at earlier than before.
    pub(crate) fn hurry(&mut self, id: ConnId) {
        let earlier = |timed: &&mut Timed| timed.conn.wake_at() < timed.deadline;
        if let Some(timed) = self.all.get_mut(&id).filter(earlier) {
            self.deadlines.remove(&(timed.deadline, id));
            timed.deadline = timed.conn.wake_at();
            self.deadlines.insert((timed.deadline, id));
        }
    }

    /// A connection whose deadline has come; its next deadline is set.
    pub(crate) fn due(&mut self, now: Mono) -> Option<ConnId> {
        loop {
            let (deadline, id) = *self.deadlines.first().filter(|(at, _)| *at <= now)?;
            self.deadlines.remove(&(deadline, id));
            let timed = self.all.get_mut(&id)?;
            timed.deadline = timed.conn.wake_at().max(Mono(now.0.saturating_add(1)));
            self.deadlines.insert((timed.deadline, id));
            if timed.conn.wake_at() <= now {
                return Some(id);
            }
        }
    }

    pub(crate) fn wake_at(&self) -> Option<Mono> {
        self.deadlines.first().map(|(at, _)| *at)
    }
}
