//! What is sent on a stream, and how much of it may wait.

use emptyroom_wire::op::{Answer, FromRelay, Handle, Refusal, SharedPush};
use emptyroom_wire::time::Now;

use super::Relay;
use super::job::Asker;
use crate::io::{ConnId, Output, Reason};
use crate::limits::{OFFENCES_MAX, UNSENT_MAX_BYTES};

impl Relay {
    /// Seals a message, hands it out, and counts it. A connection that is gone gets nothing.
    pub(super) fn send(&mut self, now: Now, id: ConnId, message: &FromRelay) {
        if self.conns.stream(id).is_some() {
            self.counted.sends(message);
        }
        self.send_uncounted(now, id, message);
    }

    fn send_uncounted(&mut self, now: Now, id: ConnId, message: &FromRelay) {
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

    /// The same with a push that others get as well. Whoever calls counts it.
    pub(super) fn push(&mut self, now: Now, (id, handle): (ConnId, Handle), push: &SharedPush) {
        let Some(stream) = self.conns.stream(id) else {
            return;
        };
        let message = [&SharedPush::head(handle), push.bytes()];
        let sealed = stream.ends.seal_parts(now.mono, &message);
        match sealed {
            Ok(frame) => self.send_frame(now, id, frame),
            Err(_) => self.end(id, Reason::Age),
        }
    }

    /// Hands a frame out.
    pub(super) fn send_frame(&mut self, now: Now, id: ConnId, frame: Vec<u8>) {
        let Some(conn) = self.conns.conn(id) else {
            return;
        };
        conn.add_unsent(now.mono, frame.len());
        self.unsent += frame.len();
        let over = conn.unsent() > UNSENT_MAX_BYTES;
        self.out.push_back(Output::Frame(id, frame));
        self.conns.hurry(id);
        // [SPEC 6.51]
        if over {
            self.end(id, Reason::Slow);
        }
        // Who takes least of what it asked for goes first: nobody else's entries wait for it.
        let unsent_max = self.config.limits.unsent_total_max.saturating_mul(2);
        while self.unsent >= unsent_max {
            let Some(heaviest) = self.conns.heaviest() else {
                return;
            };
            self.end(heaviest, Reason::Slow);
        }
    }

    /// Answers a request that was counted.
    pub(super) fn answer(&mut self, now: Now, asker: Asker, answer: Answer) {
        if let Some(stream) = self.conns.stream(asker.conn) {
            stream.requests = stream.requests.saturating_sub(1);
            let answer = FromRelay::Answer(asker.id, answer);
            // [SPEC 6.175]
            if asker.about_share {
                self.send_uncounted(now, asker.conn, &answer);
            } else {
                self.send(now, asker.conn, &answer);
            }
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
