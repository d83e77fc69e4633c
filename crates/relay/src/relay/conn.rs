//! One connection: how far its stream has come, what it has open, and what waits to be sent on it.
//!
//! A handle keeps the place of its log (row key, row secret, log id), which all handles on it share; no capability, no salt. Nothing here says whose connection it is.

use std::collections::VecDeque;

use emptyroom_wire::op::Handle;
use emptyroom_wire::stream::RelayStream;
use emptyroom_wire::time::{Mono, SECOND_MS};

use super::handles::Handles;
use crate::io::Reason;
use crate::limits::{
    CAST_PUSHES_PER_SECOND, OPENING_TIMEOUT_MS, SLOW_READER_MS, UNSENT_HIGH_BYTES,
    UNSENT_WHEN_CROWDED_BYTES,
};
use crate::store::Place;

pub(crate) struct Conn {
    pub(crate) phase: Phase,
    /// Bytes handed out that the shell has not sent.
    unsent: usize,
    /// When the shell last sent something, or began to have something to send.
    moved_at: Mono,
    /// When its opening must have come.
    opened_by: Mono,
}

pub(crate) enum Phase {
    /// Waits for the greeting, which waits for a stream key.
    New,
    /// Greeted; the next frame is the opening.
    Greeted {
        /// An opening named another key than the relay's, and was answered with that.
        shown_key: bool,
    },
    /// The stream stands.
    Open(Box<Stream>),
}

pub(crate) struct Stream {
    pub(crate) ends: RelayStream,
    pub(crate) logs: Handles,
    next_handle: u32,
    /// Handles asked for and not yet given.
    pub(crate) handles_asked: usize,
    /// Requests not yet answered.
    pub(crate) requests: usize,
    /// Refused codes and proofs so far.
    pub(crate) offences: u32,
    /// Handles that have stored entries to read, in turn.
    pub(crate) behind: VecDeque<Handle>,
    /// A read for one of them is under way.
    pub(crate) reading: bool,
    /// It waits for its turn to read.
    pub(crate) queued: bool,
    pub(crate) casts: Casts,
}

/// How many pushes the casts of one stream made in this second: one small frame in can be thousands out.
#[derive(Default)]
pub(crate) struct Casts {
    second: u64,
    pushes: usize,
}

/// A log that is open on one stream.
pub(crate) struct OpenLog {
    pub(crate) handle: Handle,
    pub(crate) place: Place,
    /// Appends are allowed without a further proof: the append key was proved on this handle, or there is none.
    pub(crate) may_append: bool,
    /// It takes no entries any more, and no casts.
    pub(crate) closed: bool,
    pub(crate) reader: Reader,
    /// [`emptyroom_wire::op::Push::CaughtUp`] was sent.
    pub(crate) told: bool,
}

/// What a handle is sent: stored entries from a number on, while live ones wait until it has those; or what is appended, in order.
/// Either way it knows the next number that it is to have. The highest bit, which no entry's number has, says that it is live.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reader(u64);

impl Reader {
    const LIVE: u64 = 1 << 63;

    /// Stored entries from this one on.
    pub(crate) fn behind(from: u64) -> Reader {
        Reader(from.min(Reader::LIVE - 1))
    }

    /// What is appended, from this one on.
    pub(crate) fn live(next: u64) -> Reader {
        Reader(next | Reader::LIVE)
    }

    /// The next stored entry that it is to have, unless it is live.
    pub(crate) fn cursor(self) -> Option<u64> {
        (self.0 & Reader::LIVE == 0).then_some(self.0)
    }

    /// The next entry that it is to have.
    pub(crate) fn next(self) -> u64 {
        self.0 & !Reader::LIVE
    }

    /// The next entry that it is to have, if it is live.
    pub(crate) fn next_live(self) -> Option<u64> {
        (self.0 & Reader::LIVE != 0).then_some(self.0 & !Reader::LIVE)
    }
}

impl Conn {
    pub(crate) fn new(now: Mono) -> Conn {
        Conn {
            phase: Phase::New,
            unsent: 0,
            moved_at: now,
            opened_by: now.plus_ms(OPENING_TIMEOUT_MS),
        }
    }

    /// Why it is to be ended now, if it is.
    pub(crate) fn overdue(&self, now: Mono) -> Option<Reason> {
        match &self.phase {
            // [SPEC 6.50]
            Phase::New | Phase::Greeted { .. } if now >= self.opened_by => Some(Reason::NoOpening),
            Phase::Open(stream) if now >= stream.ends.ends_at() => Some(Reason::Age),
            // [SPEC 6.51]
            _ if self.slow_at().is_some_and(|at| now >= at) => Some(Reason::Slow),
            _ => None,
        }
    }

    pub(crate) fn stream(&mut self) -> Option<&mut Stream> {
        match &mut self.phase {
            Phase::Open(stream) => Some(stream),
            Phase::New | Phase::Greeted { .. } => None,
        }
    }

    /// Bytes were handed out.
    pub(crate) fn add_unsent(&mut self, now: Mono, bytes: usize) {
        if self.unsent == 0 {
            self.moved_at = now;
        }
        self.unsent = self.unsent.saturating_add(bytes);
    }

    /// The shell sent bytes; how many of them were waited for.
    pub(crate) fn sent(&mut self, now: Mono, bytes: usize) -> usize {
        let sent = bytes.min(self.unsent);
        self.unsent -= sent;
        self.moved_at = now;
        sent
    }

    pub(crate) fn unsent(&self) -> usize {
        self.unsent
    }

    /// More than enough waits to be sent: nothing that can wait is added.
    pub(crate) fn is_stuffed(&self, crowded: bool) -> bool {
        // [SPEC 6.51]
        let enough = if crowded {
            UNSENT_WHEN_CROWDED_BYTES
        } else {
            UNSENT_HIGH_BYTES
        };
        self.unsent >= enough
    }

    /// When this connection must be looked at.
    pub(crate) fn wake_at(&self) -> Mono {
        let phase = match &self.phase {
            Phase::New | Phase::Greeted { .. } => self.opened_by,
            Phase::Open(stream) => stream.ends.wake_at(),
        };
        self.slow_at().map_or(phase, |slow| slow.min(phase))
    }

    fn slow_at(&self) -> Option<Mono> {
        (self.unsent > 0).then(|| self.moved_at.plus_ms(SLOW_READER_MS))
    }
}

impl Stream {
    pub(crate) fn new(ends: RelayStream) -> Stream {
        Stream {
            ends,
            logs: Handles::default(),
            next_handle: 0,
            handles_asked: 0,
            requests: 0,
            offences: 0,
            behind: VecDeque::new(),
            reading: false,
            queued: false,
            casts: Casts::default(),
        }
    }

    /// A handle that this stream has not had; none after four billion.
    pub(crate) fn take_handle(&mut self) -> Option<Handle> {
        let handle = Handle(self.next_handle);
        self.next_handle = self.next_handle.checked_add(1)?;
        Some(handle)
    }
}

impl Casts {
    /// Whether one more cast may go out now; it then counts for so many pushes.
    pub(crate) fn take(&mut self, now: Mono, pushes: usize) -> bool {
        // [SPEC 4.63]
        let second = now.0 / SECOND_MS;
        if second != self.second {
            *self = Casts { second, pushes: 0 };
        }
        let fits = self.pushes < CAST_PUSHES_PER_SECOND;
        if fits {
            self.pushes = self.pushes.saturating_add(pushes);
        }
        fits
    }
}
