//! What is sent on a stream, and how much of it may wait.

use emptyroom_wire::op::{Answer, FromRelay, Refusal};
use emptyroom_wire::time::Now;

use super::Relay;
use super::job::Asker;
use crate::io::{ConnId, Output, Reason};
use crate::limits::{OFFENCES_MAX, UNSENT_MAX_BYTES, UNSENT_WHEN_CROWDED_BYTES};

impl Relay {
    /// Seals a message and hands it out. A connection that is gone gets nothing.
    pub(super) fn send(&mut self, now: Now, id: ConnId, message: &FromRelay) {
        let Some(stream) = self.conns.stream(id) else {
            return;
        };
        let sealed = message
            .encode()
            .ok()
            .and_then(|bytes| stream.ends.seal(now.mono, &bytes).ok());
        match sealed {
            Some(frame) => self.send_frame(now, id, frame),
            // A day old since the last look: messages always fit a frame.
            None => self.end(id, Reason::Age),
        }
    }

    /// Hands a frame out.
    pub(super) fn send_frame(&mut self, now: Now, id: ConnId, frame: Vec<u8>) {
        let crowded = self.unsent >= 2 * self.config.limits.unsent_total_max;
        let Some(conn) = self.conns.conn(id) else {
            return;
        };
        conn.add_unsent(now.mono, frame.len());
        self.unsent += frame.len();
        let unsent_max = if crowded {
            UNSENT_WHEN_CROWDED_BYTES
        } else {
            UNSENT_MAX_BYTES
        };
        let over = conn.unsent() > unsent_max;
        self.out.push_back(Output::Frame(id, frame));
        self.conns.hurry(id);
        // [SPEC 6.51]
        if over {
            self.end(id, Reason::Slow);
        }
    }

    /// Answers a request that was counted.
    pub(super) fn answer(&mut self, now: Now, asker: Asker, answer: Answer) {
        if let Some(stream) = self.conns.stream(asker.conn) {
            stream.requests = stream.requests.saturating_sub(1);
            self.send(now, asker.conn, &FromRelay::Answer(asker.id, answer));
        }
    }

    /// The same with a refusal.
    pub(super) fn refuse(&mut self, now: Now, asker: Asker, refusal: impl Into<Refusal>) {
        self.answer(now, asker, Answer::Refused(refusal.into()));
    }

    /// Counts a refused proof or code; too many of them end the stream.
    pub(super) fn offence(&mut self, id: ConnId) {
        // [SPEC 4.48]
        if let Some(stream) = self.conns.stream(id) {
            stream.offences += 1;
            if stream.offences >= OFFENCES_MAX {
                self.end(id, Reason::Abuse);
            }
        }
    }
}
