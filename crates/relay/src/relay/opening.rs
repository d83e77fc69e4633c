//! From a connection to a stream: greeting, opening, terms; and what ends one on the way.

use emptyroom_wire::greeting::Greeting;
use emptyroom_wire::limits::HANDSHAKE_FRAME_LEN_MAX;
use emptyroom_wire::op::{Answer, FromClient, FromRelay, Refusal, RefusalCode};
use emptyroom_wire::stream::{OpeningFault, RelayStream, refuse_opening, unknown_key_answer};
use emptyroom_wire::time::Now;

use super::conn::{Conn, Phase, Stream};
use super::{Mode, Relay};
use crate::io::{ConnId, Reason};

impl Relay {
    pub(super) fn connected(&mut self, now: Now, id: ConnId) {
        // [SPEC 6.53]
        if self.mode == Mode::Draining {
            self.hang_up(id, Reason::Stopping);
        } else if self.conns.len() >= self.config.limits.streams_max {
            self.hang_up(id, Reason::Busy);
        } else {
            self.conns.insert(id, Conn::new(now.mono));
            self.greet(now, id);
        }
    }

    /// Makes the greeting anew, after the key turned: one signature for all who come within the hour. Then greets everybody who
    /// came before there was a key.
    pub(super) fn key_turned(&mut self, now: Now) {
        let spki_hash = self.config.spki_hash.as_ref();
        let key = self.keys.current();
        self.greeting = key.map(|key| Greeting::new(self.keys.identity(), key, spki_hash).encode());
        for id in self.conns.ids() {
            if matches!(self.conns.conn(id), Some(conn) if matches!(conn.phase, Phase::New)) {
                self.greet(now, id);
            }
        }
    }

    fn greet(&mut self, now: Now, id: ConnId) {
        let (Some(greeting), Some(conn)) = (&self.greeting, self.conns.conn(id)) else {
            return;
        };
        conn.phase = Phase::Greeted { shown_key: false };
        let greeting = greeting.clone();
        self.send_frame(now, id, greeting);
    }

    pub(super) fn frame(&mut self, now: Now, id: ConnId, mut frame: Vec<u8>) {
        let Some(conn) = self.conns.conn(id) else {
            return;
        };
        match &mut conn.phase {
            Phase::New => self.end(id, Reason::Malformed),
            Phase::Greeted { .. } => self.open_stream(now, id, &frame),
            Phase::Open(stream) => match stream.ends.open_in_place(now.mono, &mut frame) {
                Ok(Some(message)) => self.message(now, id, message),
                Ok(None) => {}
                Err(_) => self.refuse_stream(now, id, 0, RefusalCode::Malformed),
            },
        }
    }

    fn open_stream(&mut self, now: Now, id: ConnId, opening: &[u8]) {
        let Some(key) = self.keys.current() else {
            return;
        };
        // [SPEC 6.50]
        if opening.len() > HANDSHAKE_FRAME_LEN_MAX {
            return self.end(id, Reason::Malformed);
        }
        let streams = self.streams_most.max(self.counted.streams + 1);
        let terms = self.config.terms(now.wall, streams);
        let accepted = RelayStream::accept(
            opening,
            key,
            &self.keys.hash(),
            (&terms, now.mono),
            &mut *self.rng,
        );
        match accepted {
            Ok((ends, answer)) => {
                if let Some(conn) = self.conns.conn(id) {
                    self.counted.streams += 1;
                    self.streams_most = self.streams_most.max(self.counted.streams);
                    self.counted.streams_opened += 1;
                    conn.phase = Phase::Open(Box::new(Stream::new(ends)));
                }
                self.send_frame(now, id, answer);
            }
            // The client may try again once with the key that it is shown, in the time it has for its opening.
            Err(OpeningFault::UnknownKey) => {
                let answer = unknown_key_answer(key);
                self.show_key(now, id, answer);
            }
            // [SPEC 4.40]
            Err(OpeningFault::Version) => {
                let refusal = Refusal::now(RefusalCode::UpdateNeeded);
                self.counted.refuses(&refusal);
                let answer = refuse_opening(refusal);
                self.send_frame(now, id, answer);
                self.end(id, Reason::UpdateNeeded);
            }
            Err(OpeningFault::Malformed(_)) => self.end(id, Reason::Malformed),
        }
    }

    /// Shows the current key to whoever used another, once on a connection.
    fn show_key(&mut self, now: Now, id: ConnId, answer: Vec<u8>) {
        let Some(conn) = self.conns.conn(id) else {
            return;
        };
        // [SPEC 6.56]
        if matches!(conn.phase, Phase::Greeted { shown_key: true }) {
            return self.end(id, Reason::Abuse);
        }
        conn.phase = Phase::Greeted { shown_key: true };
        self.send_frame(now, id, answer);
    }

    fn message(&mut self, now: Now, id: ConnId, message: &[u8]) {
        match FromClient::decode(message) {
            Ok(message) => self.request(now, id, message),
            // [SPEC 4.41]
            Err(_) => {
                let request_id = message
                    .first_chunk()
                    .map_or(0, |id| u32::from_be_bytes(*id));
                self.refuse_stream(now, id, request_id, RefusalCode::Malformed);
            }
        }
    }

    /// Ends a stream with a refusal: after a frame that was not understood nothing on it can be trusted to be in order.
    fn refuse_stream(&mut self, now: Now, id: ConnId, request_id: u32, code: RefusalCode) {
        // [SPEC 4.41]
        let answer = Answer::Refused(Refusal::now(code));
        self.send(now, id, &FromRelay::Answer(request_id, answer));
        self.end(id, Reason::Malformed);
    }
}
