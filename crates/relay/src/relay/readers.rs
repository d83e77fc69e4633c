//! Readers: which handles a log's entries go to, and how a handle gets from stored entries to live ones without a gap.
//!
//! A handle is either *behind*, with a cursor, or *live*. One that is behind gets nothing pushed; its entries are read from
//! the store. A read that reached the log's end makes it live at the very point of the store's order where it was decided: replies are handled
//! in that order, so the next append after the read is the first one pushed. A live handle on a connection that takes nothing
//! falls behind again, at the entry that it would have got: nothing piles up in memory, and nothing is lost. So does one that is
//! handed an entry beyond its next one, which another node of this relay can have appended ([`super::nodes`]).

use emptyroom_wire::op::{EntryPush, FromRelay, Handle, Push, RefusalCode, SharedPush};
use emptyroom_wire::time::{Mono, Now, SECOND_MS};

use super::conn::Reader;
use super::job::Purpose;
use super::queue::Job;
use super::{Mode, Relay};
use crate::io::{ConnId, Reason};
use crate::limits::{AWAY_RETRY_S, READ_BYTES, READ_BYTES_CROWDED, READS_MAX};
use crate::store::{Place, RowKey, StoreOp, StoreReply, StoredEntry};

/// Handles whose log could not be read for now.
#[derive(Default)]
pub(super) struct PutOff {
    readers: Vec<(ConnId, Handle)>,
    /// Until then.
    pub(super) at: Option<Mono>,
}

impl Relay {
    /// A handle that was just opened, while the log's next entry is `next_seq`.
    pub(super) fn begin_reading(&mut self, now: Now, conn: ConnId, handle: Handle, next_seq: u64) {
        let Some(stream) = self.conns.stream(conn) else {
            return;
        };
        let Some(log) = stream.logs.get_mut(handle) else {
            return;
        };
        match log.reader.cursor() {
            Some(from) if from < next_seq => {
                stream.behind.push_back(handle);
                self.read_on(conn);
            }
            // [SPEC 4.56]
            _ => self.go_live(now, conn, handle, next_seq),
        }
    }

    /// An entry became durable, here or by another node.
    pub(super) fn push_live(&mut self, now: Now, key: RowKey, entry: EntryPush) {
        // [SPEC 4.56]
        let readers = self.open_logs.readers(key);
        let (seq, close) = (entry.seq, entry.close);
        if readers.is_empty() {
            return;
        }
        self.nodes.heard_while_opening(key, seq.saturating_add(1));
        // Every entry encodes that came in by a frame.
        let Ok(push) = SharedPush::new(&Push::Entry(entry)) else {
            return;
        };
        for (conn, handle) in readers {
            let crowded = self.is_crowded();
            let Some(at) = self.conns.conn(conn) else {
                continue;
            };
            let wait = at.is_stuffed(crowded);
            let Some(stream) = at.stream() else {
                continue;
            };
            let Some(log) = stream.logs.get_mut(handle) else {
                continue;
            };
            log.closed |= close;
            let Some(next) = log.reader.next_live() else {
                self.nodes.heard_of(key, seq.saturating_add(1));
                continue;
            };
            if next > seq {
                continue;
            }
            // [SPEC 6.232]
            if wait || next < seq {
                log.reader = Reader::behind(next);
                stream.behind.push_back(handle);
                self.read_on(conn);
            } else {
                log.reader = Reader::live(seq.saturating_add(1));
                self.counted.entries_pushed += 1;
                self.push(now, (conn, handle), &push);
            }
        }
    }

    /// The log is known to have entries up to this number: live handles that lack some read them. Gives the furthest number that
    /// one of them expects.
    pub(super) fn read_up_to(&mut self, key: RowKey, next_seq: u64) -> u64 {
        let mut furthest = 0;
        // [SPEC 6.232]
        let readers = self.open_logs.readers(key);
        if !readers.is_empty() {
            self.nodes.heard_while_opening(key, next_seq);
        }
        for (conn, handle) in readers {
            let Some(stream) = self.conns.stream(conn) else {
                continue;
            };
            let Some(log) = stream.logs.get_mut(handle) else {
                continue;
            };
            match log.reader.next_live() {
                Some(next) if next < next_seq => {
                    log.reader = Reader::behind(next);
                    stream.behind.push_back(handle);
                    self.read_on(conn);
                }
                Some(next) => furthest = next.max(furthest),
                None => self.nodes.heard_of(key, next_seq),
            }
        }
        furthest
    }

    /// The store lost entries that it had acknowledged: whoever was sent some comes again, and is shown where the log ends now.
    pub(super) fn log_went_back(&mut self, key: RowKey, next_seq: u64) {
        // [SPEC 6.233]
        self.nodes.forget(key);
        for (conn, handle) in self.open_logs.readers(key) {
            let stream = self.conns.stream(conn);
            let log = stream.and_then(|stream| stream.logs.get(handle));
            if log.is_some_and(|log| log.reader.next() > next_seq) {
                self.end(conn, Reason::StoreWentBack);
            }
        }
    }

    /// The store read for a handle that is behind.
    pub(super) fn caught(&mut self, now: Now, conn: ConnId, handle: Handle, reply: StoreReply) {
        self.reads -= 1;
        let Some(stream) = self.conns.stream(conn) else {
            return;
        };
        stream.reading = false;
        match reply {
            StoreReply::Read(batch) if stream.logs.contains(handle) => {
                if let Some(log) = stream.logs.get_mut(handle) {
                    log.closed |= batch.entries.iter().any(|entry| entry.aad.close);
                }
                for entry in batch.entries {
                    let push = Push::Entry(entry_push(entry));
                    self.send(now, conn, &FromRelay::Push(handle, push));
                }
                if batch.end {
                    self.go_live(now, conn, handle, batch.cursor);
                } else {
                    self.stay_behind(conn, handle, batch.cursor);
                }
            }
            // [SPEC 6.211]
            StoreReply::Refused(refusal)
                if matches!(
                    refusal.code,
                    RefusalCode::StoreFailed | RefusalCode::StorageFull
                ) =>
            {
                self.put_off.readers.push((conn, handle));
                let retry_at = now.mono.plus_ms(u64::from(AWAY_RETRY_S) * SECOND_MS);
                self.put_off.at.get_or_insert(retry_at);
            }
            // The log went in between: expired, or destroyed by a request whose answer comes later.
            StoreReply::Refused(refusal) => {
                if let Some(log) = stream.logs.remove(handle) {
                    self.close_log(log.place.key(), (conn, handle));
                    self.send(now, conn, &FromRelay::Push(handle, Push::Gone(refusal)));
                }
            }
            _ => {}
        }
        self.read_on(conn);
    }

    /// The read for this handle was not done.
    pub(super) fn read_again(&mut self, conn: ConnId, handle: Handle) {
        self.reads -= 1;
        if let Some(stream) = self.conns.stream(conn) {
            stream.reading = false;
            stream.behind.push_back(handle);
            self.read_on(conn);
        }
    }

    /// Lets those read whose part of the store was away.
    pub(super) fn take_up(&mut self, now: Now) {
        if self.put_off.at.is_none_or(|at| at > now.mono) {
            return;
        }
        for (conn, handle) in std::mem::take(&mut self.put_off).readers {
            if let Some(stream) = self.conns.stream(conn) {
                stream.behind.push_back(handle);
                self.read_on(conn);
            }
        }
    }

    /// The same read, for a handle whose read was not done, unless nobody wants it any more.
    pub(super) fn same_read(&mut self, conn: ConnId, handle: Handle) -> Option<Job<Purpose>> {
        let bytes_max = self.read_bytes();
        let log = self.conns.stream(conn)?.logs.get(handle)?;
        let from = log.reader.cursor()?;
        Some(read(log.place.clone(), from, bytes_max, (conn, handle)))
    }

    /// How much is read at a time.
    fn read_bytes(&self) -> usize {
        if self.is_crowded() {
            READ_BYTES_CROWDED
        } else {
            READ_BYTES
        }
    }

    /// The shell sent something on.
    pub(super) fn written(&mut self, now: Now, conn: ConnId, bytes: usize) {
        if let Some(at) = self.conns.conn(conn) {
            self.unsent -= at.sent(now.mono, bytes);
            self.read_on(conn);
        }
    }

    /// Lets those read whose turn it is, as far as there is room.
    pub(super) fn start_reads(&mut self, now: Now) {
        while self.reads < READS_MAX {
            let Some(conn) = self.waiting_readers.pop_front() else {
                return;
            };
            self.start_read(now, conn);
        }
    }

    /// So much waits on all connections that those for which much waits get no more.
    pub(super) fn is_crowded(&self) -> bool {
        self.unsent >= self.config.limits.unsent_total_max
    }

    /// Queues a connection for reading, if it has a handle that is behind, no read under way, and can take more. What keeps it from
    /// it now comes here again when it changes.
    fn read_on(&mut self, conn: ConnId) {
        let crowded = self.is_crowded();
        let at = self.conns.conn(conn);
        let Some(at) = at.filter(|at| !at.is_stuffed(crowded)) else {
            return;
        };
        if let Some(stream) = at.stream()
            && !(stream.reading || stream.queued || stream.behind.is_empty())
        {
            stream.queued = true;
            self.waiting_readers.push_back(conn);
        }
    }

    /// Reads for the next handle of a connection that is behind.
    fn start_read(&mut self, now: Now, conn: ConnId) {
        if self.mode == Mode::Draining {
            return;
        }
        let (crowded, bytes_max) = (self.is_crowded(), self.read_bytes());
        let Some(at) = self.conns.conn(conn) else {
            return;
        };
        let stuffed = at.is_stuffed(crowded);
        let Some(stream) = at.stream() else {
            return;
        };
        stream.queued = false;
        // It comes here again when it has taken some.
        if stuffed {
            return;
        }
        while let Some(handle) = stream.behind.pop_front() {
            let Some(log) = stream.logs.get(handle) else {
                continue;
            };
            let Some(from) = log.reader.cursor() else {
                continue;
            };
            let job = read(log.place.clone(), from, bytes_max, (conn, handle));
            stream.reading = true;
            self.reads += 1;
            return self.queue_up(now, conn, job);
        }
    }

    fn stay_behind(&mut self, conn: ConnId, handle: Handle, cursor: u64) {
        if let Some(stream) = self.conns.stream(conn)
            && let Some(log) = stream.logs.get_mut(handle)
        {
            log.reader = Reader::behind(cursor);
            stream.behind.push_back(handle);
        }
    }

    fn go_live(&mut self, now: Now, conn: ConnId, handle: Handle, next_seq: u64) {
        if let Some(stream) = self.conns.stream(conn)
            && let Some(log) = stream.logs.get_mut(handle)
        {
            // What came after the read was decided was not pushed: the handle was behind.
            // [SPEC 6.232]
            if let Some(end) = self.nodes.knows_more(log.place.key(), next_seq) {
                let place = log.place.clone();
                log.reader = Reader::behind(next_seq);
                stream.behind.push_back(handle);
                self.read_on(conn);
                return self.look_back(now, place, end);
            }
            log.reader = Reader::live(next_seq);
            let told = std::mem::replace(&mut log.told, true);
            if !told {
                self.send(
                    now,
                    conn,
                    &FromRelay::Push(handle, Push::CaughtUp(next_seq)),
                );
            }
        }
    }
}

fn read(place: Place, from: u64, bytes_max: usize, reader: (ConnId, Handle)) -> Job<Purpose> {
    let (conn, handle) = reader;
    Job {
        ops: vec![StoreOp::Read {
            place,
            from,
            bytes_max,
        }],
        purpose: Purpose::CatchUp(conn, handle),
        bytes: 0,
        reads: bytes_max,
    }
}

pub(super) fn entry_push(entry: StoredEntry) -> EntryPush {
    let StoredEntry {
        seq,
        before,
        aad,
        body,
    } = entry;
    EntryPush {
        seq,
        before,
        expect_slots: aad.expect_slots,
        commit: aad.commit,
        close: aad.close,
        ttl: aad.ttl,
        nonce: aad.nonce,
        next_hash: aad.next_hash,
        body: body.to_vec(),
    }
}
