//! What the store decided, turned into answers and pushes, in the order in which it decided.

use emptyroom_wire::op::{
    Answer, Appended, FromRelay, Handle, OpenOutcome, Opened, OpenedLog, Push, Refusal, RefusalCode,
};
use emptyroom_wire::proof::{self, Purpose as Proof, Scope};
use emptyroom_wire::sign::Signature;
use emptyroom_wire::time::Now;

use super::Relay;
use super::conn::{OpenLog, Reader};
use super::job::{Asker, Change, Opening, Purpose};
use super::readers::entry_push;
use crate::io::ConnId;
use crate::store::{Looked, Place, RowKey, StoreReply, StoredEntry};

impl Relay {
    pub(super) fn reply(&mut self, now: Now, purpose: Purpose, replies: Vec<StoreReply>) {
        let mut replies = replies.into_iter();
        match purpose {
            Purpose::Open(asker, openings) => {
                self.opened(now, asker, openings, replies.collect());
                self.nodes.opening_over();
            }
            Purpose::Create(asker) => {
                if let Some(reply) = replies.next() {
                    self.answer(now, asker, plain_answer(reply));
                }
            }
            Purpose::Append(asker, entry) => match replies.next() {
                Some(StoreReply::Appended(placed)) => {
                    self.counted.entries_appended += 1;
                    self.answer(
                        now,
                        asker,
                        Answer::Appended(Appended {
                            seq: placed.seq,
                            running_hash: placed.after,
                        }),
                    );
                    if !self.is_heard(entry.log) {
                        return;
                    }
                    let stored = StoredEntry {
                        seq: placed.seq,
                        before: placed.before,
                        aad: entry.aad,
                        body: entry.body,
                    };
                    let push = entry_push(stored);
                    self.tell(entry.log, || Push::Entry(push.clone()));
                    self.push_live(now, entry.log, push);
                }
                Some(reply) => self.answer(now, asker, plain_answer(reply)),
                None => {}
            },
            Purpose::DestroyLook(asker, place, signature) => {
                if let Some(reply) = replies.next() {
                    self.destroy(now, asker, &place, &signature, reply);
                }
            }
            Purpose::Change(asker, place, change) => {
                if let Some(reply) = replies.next() {
                    if change == Change::Destroy && matches!(reply, StoreReply::Done) {
                        let code = RefusalCode::Destroyed;
                        self.tell(place.key(), || Push::Gone(Refusal::now(code)));
                        self.push_gone(now, place.key(), code);
                    }
                    self.answer(now, asker, plain_answer(reply));
                }
            }
            Purpose::Share(asker, asked) => {
                if let Some(reply) = replies.next() {
                    self.share_reply(now, asker, *asked, reply);
                }
            }
            Purpose::CatchUp(conn, handle) => {
                if let Some(reply) = replies.next() {
                    self.caught(now, conn, handle, reply);
                }
            }
            Purpose::LookAgain(places, sweep) => {
                self.looked_again(now, places, replies.collect(), sweep);
            }
            Purpose::LookBack(place, end) => {
                if let Some(StoreReply::Looked(looked)) = replies.next()
                    && looked.view.next_seq < end
                {
                    self.log_went_back(place.key(), looked.view.next_seq);
                }
            }
        }
    }

    /// Refuses what was not done, and was not half done.
    pub(super) fn refuse_job(&mut self, now: Now, purpose: Purpose, refusal: Refusal) {
        match purpose {
            Purpose::Open(asker, openings) => {
                self.nodes.opening_over();
                if let Some(stream) = self.conns.stream(asker.conn) {
                    stream.handles_asked = stream.handles_asked.saturating_sub(openings.len());
                }
                self.refuse(now, asker, refusal);
            }
            Purpose::Create(asker)
            | Purpose::Append(asker, _)
            | Purpose::DestroyLook(asker, ..)
            | Purpose::Change(asker, ..)
            | Purpose::Share(asker, _) => self.refuse(now, asker, refusal),
            Purpose::CatchUp(conn, handle) => self.read_again(conn, handle),
            Purpose::LookAgain(_, sweep) => self.nodes.look_failed(now, sweep.is_some()),
            // Whoever suspects it finds it again.
            Purpose::LookBack(..) => {}
        }
    }

    fn opened(&mut self, now: Now, asker: Asker, openings: Vec<Opening>, replies: Vec<StoreReply>) {
        let Some(stream) = self.conns.stream(asker.conn) else {
            return;
        };
        stream.handles_asked = stream.handles_asked.saturating_sub(openings.len());
        stream.logs.reserve(openings.len());
        let mut logs = Vec::with_capacity(openings.len());
        let mut begun = Vec::new();
        let mut offences = 0;
        for (opening, reply) in openings.into_iter().zip(replies) {
            logs.push(match self.open_one(asker.conn, &opening, reply) {
                Ok(opened) => {
                    begun.push((opened.handle, opened.view.next_seq));
                    OpenOutcome::Open(opened)
                }
                Err(refusal) => {
                    offences += u32::from(refusal.code == RefusalCode::BadProof);
                    OpenOutcome::Refused(refusal)
                }
            });
        }
        self.answer(now, asker, Answer::Opened(Opened { logs }));
        for (handle, next_seq) in begun {
            self.begin_reading(now, asker.conn, handle, next_seq);
        }
        // One batch of openings counts once: a client with a wrong idea of the stream errs in all of them.
        if offences > 0 {
            self.offence(asker.conn);
        }
    }

    fn open_one(
        &mut self,
        conn: ConnId,
        opening: &Opening,
        reply: StoreReply,
    ) -> Result<OpenedLog, Refusal> {
        let Looked { rules, view } = match reply {
            StoreReply::Looked(looked) => looked,
            StoreReply::Refused(refusal) => return Err(refusal),
            _ => return Err(Refusal::now(RefusalCode::StoreFailed)),
        };
        let relay = self.keys.hash();
        let unknown = Refusal::now(RefusalCode::Unknown);
        let stream = self.conns.stream(conn).ok_or(unknown)?;
        // [SPEC 4.55]
        if let Some(key) = &rules.read_key {
            let bad = Refusal::now(RefusalCode::BadProof);
            let signature = opening.proof.as_ref().ok_or(bad)?;
            let binding = stream.ends.binding();
            let scope = Scope {
                relay: &relay,
                binding: &binding,
                log: opening.place.log_id(),
            };
            proof::verify(key, Proof::Read, scope, signature).map_err(|_| bad)?;
        }
        // Others may have got theirs since this was asked.
        // [SPEC 4.46]
        if self.open_logs.handles() >= self.config.limits.handles_total_max {
            return Err(super::requests::busy());
        }
        let too_many = Refusal::now(RefusalCode::TooMany);
        let stream = self.conns.stream(conn).ok_or(unknown)?;
        let handle = stream.take_handle().ok_or(too_many)?;
        let place = opening.place.clone();
        let place = self
            .open_log(place, &rules, (conn, handle))
            .ok_or(too_many)?;
        let stream = self.conns.stream(conn).ok_or(unknown)?;
        let log = OpenLog {
            handle,
            place,
            may_append: rules.append_key.is_none(),
            closed: view.closed,
            reader: Reader::behind(opening.from),
            told: false,
        };
        stream.logs.push(log);
        Ok(OpenedLog { handle, view })
    }

    fn destroy(
        &mut self,
        now: Now,
        asker: Asker,
        place: &Place,
        signature: &Signature,
        reply: StoreReply,
    ) {
        // [SPEC 4.59]
        let owner_key = match reply {
            StoreReply::Looked(looked) => looked.rules.owner_key,
            reply => return self.answer(now, asker, plain_answer(reply)),
        };
        let Some(key) = owner_key else {
            return self.refuse(now, asker, Refusal::now(RefusalCode::NotAllowed));
        };
        let relay = self.keys.hash();
        if proof::verify_destroy(&key, &relay, place.log_id(), signature).is_err() {
            self.refuse(now, asker, Refusal::now(RefusalCode::BadProof));
            return self.offence(asker.conn);
        }
        let job = Change::Destroy.job(asker, place.clone());
        self.queue_up(now, asker.conn, job);
    }

    /// Tells the readers of a log that it is gone, and forgets their handles.
    pub(super) fn push_gone(&mut self, now: Now, log: RowKey, code: RefusalCode) {
        let readers: Vec<(ConnId, Handle)> = self.open_logs.readers(log);
        for (conn, handle) in readers {
            self.close_log(log, (conn, handle));
            if let Some(stream) = self.conns.stream(conn) {
                stream.logs.remove(handle);
            }
            let gone = Push::Gone(Refusal::now(code));
            self.send(now, conn, &FromRelay::Push(handle, gone));
        }
    }
}

/// The answer to a request that needs nothing but the store's word.
pub(super) fn plain_answer(reply: StoreReply) -> Answer {
    match reply {
        StoreReply::Created => Answer::Created,
        StoreReply::Already(appended) => Answer::Appended(appended),
        StoreReply::Stale(view) => Answer::Stale(view),
        StoreReply::Done => Answer::Done,
        StoreReply::Refused(refusal) => Answer::Refused(refusal),
        // Not an answer to any operation that leads here.
        StoreReply::Appended(_)
        | StoreReply::Looked(_)
        | StoreReply::Read(_)
        | StoreReply::Share(_)
        // Not answered at all: see `away`.
        | StoreReply::Lost => Answer::Refused(Refusal::now(RefusalCode::StoreFailed)),
    }
}
