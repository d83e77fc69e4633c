//! Requests: what can be refused at once is, the rest becomes a job for the store.

use std::sync::Arc;

use emptyroom_wire::codec::TooLong;
use emptyroom_wire::entry::{Aad, is_class_len, next_hash};
use emptyroom_wire::op::{
    Answer, Append, Cast, CastPush, Create, FromClient, Handle, NewLog, Open, Push, Refusal,
    RefusalCode, Renew, RenewProof, Request, SharedPush, Trim,
};
use emptyroom_wire::proof::{self, Purpose as Proof, Scope};
use emptyroom_wire::sign::{Signature, VerifyKey};
use emptyroom_wire::time::Now;

use super::conn::{OpenLog, Stream};
use super::handles::Reader;
use super::job::{Asker, Change, Entry, Opening, Purpose};
use super::queue::Job;
use super::{Mode, Relay};
use crate::io::ConnId;
use crate::limits::{AWAY_RETRY_S, BUSY_RETRY_S, FULL_RETRY_S, HANDLES_FEW, HANDLES_FREE_PART};
use crate::store::{self, NewEntry, NewPlace, Place, RowKey, StoreOp};

/// Why a request goes no further.
pub(super) enum Denied {
    Refused(Refusal),
    /// Refused, and counted against the stream.
    Offence(RefusalCode),
}

impl From<RefusalCode> for Denied {
    fn from(code: RefusalCode) -> Denied {
        Denied::Refused(Refusal::now(code))
    }
}

fn is_about_share(request: &Request) -> bool {
    match request {
        Request::SharePut(_)
        | Request::ShareEvaluate(_)
        | Request::ShareRenew(_)
        | Request::ShareDelete(_)
        | Request::ShareWipe(_) => true,
        Request::Ping
        | Request::Create(_)
        | Request::Open(_)
        | Request::Append(_)
        | Request::Renew(_)
        | Request::Trim(_)
        | Request::Destroy(_)
        | Request::Leave(_)
        | Request::Cast(_)
        | Request::KeyRecords(_) => false,
    }
}

/// What a request leads to.
pub(super) enum Next {
    Answer(Answer),
    Store(Job<Purpose>),
    /// A cast that was passed on.
    Nothing,
    /// The answer comes later.
    Later,
}

impl Relay {
    pub(super) fn request(&mut self, now: Now, conn: ConnId, message: FromClient) {
        let FromClient { id, request } = message;
        let asker = Asker {
            conn,
            id,
            about_share: is_about_share(&request),
        };
        let requests_max = self.config.limits.requests_max;
        let Some(stream) = self.conns.stream(asker.conn) else {
            return;
        };
        stream.requests += 1;
        // [SPEC 4.47]
        let next = if stream.requests > requests_max {
            Err(RefusalCode::TooMany.into())
        } else if self.mode == Mode::Draining {
            // [SPEC 6.54]
            let retry_after_s = self.config.reconnect_spread_s(self.streams_most);
            Err(Denied::Refused(Refusal::later(
                RefusalCode::Draining,
                retry_after_s,
            )))
        } else {
            self.dispatch(now, asker, request)
        };
        match next {
            Ok(Next::Store(job)) => self.queue_up(now, asker.conn, job),
            Ok(Next::Answer(answer)) => self.answer(now, asker, answer),
            Ok(Next::Later) => {}
            Ok(Next::Nothing) => {
                if let Some(stream) = self.conns.stream(asker.conn) {
                    stream.requests -= 1;
                }
            }
            Err(Denied::Refused(refusal)) => self.refuse(now, asker, refusal),
            Err(Denied::Offence(code)) => {
                self.refuse(now, asker, Refusal::now(code));
                self.offence(asker.conn);
            }
        }
    }

    fn dispatch(&mut self, now: Now, asker: Asker, request: Request) -> Result<Next, Denied> {
        match request {
            Request::Ping => Ok(Next::Answer(Answer::Done)),
            Request::Create(create) => self.create(asker, create),
            Request::Open(open) => self.open(asker, open),
            Request::Append(append) => self.append(asker, append),
            Request::Renew(renew) => self.renew(asker, &renew),
            Request::Trim(trim) => self.trim(asker, &trim),
            Request::Destroy(destroy) => {
                let place = Place::of(&destroy.capability);
                Ok(Next::Store(look_to_destroy(
                    asker,
                    place,
                    destroy.signature,
                )))
            }
            Request::Leave(handle) => self.leave(asker, handle),
            Request::Cast(cast) => self.cast(now, asker, cast),
            Request::KeyRecords(after) => Ok(self.key_records(asker, after)),
            Request::SharePut(put) => self.put_share(asker, put),
            Request::ShareEvaluate(evaluate) => Relay::evaluate_share(asker, &evaluate),
            Request::ShareRenew(renew) => Relay::renew_share(asker, &renew),
            Request::ShareDelete(delete) => Relay::delete_share(asker, &delete),
            Request::ShareWipe(wipe) => Relay::wipe_share(asker, wipe),
        }
    }

    fn create(&mut self, asker: Asker, create: Create) -> Result<Next, Denied> {
        // [SPEC 4.44]
        if !self.config.admits(create.code.as_ref()) {
            return Err(Denied::Offence(RefusalCode::BadCode));
        }
        let new = self.new_place(create.new)?;
        Ok(Next::Store(Job {
            bytes: bytes_of(&new),
            reads: 0,
            ops: vec![StoreOp::Create(new)],
            purpose: Purpose::Create(asker),
        }))
    }

    fn open(&mut self, asker: Asker, open: Open) -> Result<Next, Denied> {
        let handles_max = self.config.limits.handles_max;
        // [SPEC 4.46]
        if self.open_logs.handles() + open.logs.len() > self.config.limits.handles_total_max {
            return Err(Denied::Refused(busy()));
        }
        let free = self.config.limits.handles_total_max - self.open_logs.handles();
        let stream = self.stream(asker)?;
        // [SPEC 4.46]
        let asked = open.logs.len();
        let had = stream.logs.len() + stream.handles_asked;
        if had + asked > handles_max {
            return Err(RefusalCode::TooMany.into());
        }
        // [SPEC 6.146]
        if had + asked > (free / HANDLES_FREE_PART).max(HANDLES_FEW) {
            return Err(Denied::Refused(busy()));
        }
        stream.handles_asked += asked;
        self.nodes.opening_begins();
        let openings = open.logs.into_iter().map(|log| Opening {
            place: Place::of(&log.capability),
            from: log.from,
            proof: log.proof,
        });
        Ok(Next::Store(look_at(asker, openings.collect())))
    }

    fn append(&mut self, asker: Asker, append: Append) -> Result<Next, Denied> {
        self.check_body(append.body.len())?;
        // [SPEC 4.49]
        if append.close && !append.commit {
            return Err(RefusalCode::Malformed.into());
        }
        let place = self.prove_append(asker, append.handle, append.proof.as_ref())?;
        let next_hash = next_hash(&append.next).map_err(|_| RefusalCode::Malformed)?;
        let mut next = Vec::with_capacity(append.next.len());
        for new in append.next {
            next.push(self.new_place(new)?);
        }
        let aad = Aad {
            log_id: place.log_id(),
            expect_slots: append.expect_slots,
            commit: append.commit,
            close: append.close,
            ttl: append.ttl,
            nonce: append.nonce,
            next_hash,
        };
        let body: Arc<[u8]> = Arc::from(append.body);
        let bytes = body.len() + next.iter().map(bytes_of).sum::<usize>();
        let entry = Entry {
            log: place.key(),
            aad: aad.clone(),
            body: Arc::clone(&body),
        };
        Ok(Next::Store(Job {
            ops: vec![StoreOp::Append(store::Append {
                place,
                entry: NewEntry { aad, body },
                next,
            })],
            purpose: Purpose::Append(asker, entry),
            bytes,
            reads: 0,
        }))
    }

    fn renew(&mut self, asker: Asker, renew: &Renew) -> Result<Next, Denied> {
        // [SPEC 4.57]
        let place = match &renew.proof {
            None => self.prove_append(asker, renew.handle, None)?,
            Some(RenewProof::Append(proof)) => {
                self.prove_append(asker, renew.handle, Some(proof))?
            }
            Some(RenewProof::Owner(proof)) => {
                let log = self.log(asker, renew.handle)?;
                let place = log.place.clone();
                let key = self.open_logs.owner_key(place.key());
                let key = key.ok_or(RefusalCode::NotAllowed)?;
                self.check_proof(asker, &key, Proof::Renew, (&place, proof))?;
                place
            }
        };
        Ok(Next::Store(Change::Renew.job(asker, place)))
    }

    fn trim(&mut self, asker: Asker, trim: &Trim) -> Result<Next, Denied> {
        // [SPEC 4.58]
        let relay = self.keys.hash();
        let log = self.log(asker, trim.handle)?;
        let place = log.place.clone();
        let key = self.open_logs.owner_key(place.key());
        let key = key.ok_or(RefusalCode::NotAllowed)?;
        proof::verify_trim(&key, &relay, place.log_id(), trim.up_to, &trim.signature)
            .map_err(|_| Denied::Offence(RefusalCode::BadProof))?;
        let trim = Change::Trim { up_to: trim.up_to };
        Ok(Next::Store(trim.job(asker, place)))
    }

    fn leave(&mut self, asker: Asker, handle: Handle) -> Result<Next, Denied> {
        let log = self.stream(asker)?.logs.remove(handle);
        let log = log.ok_or(RefusalCode::Unknown)?;
        self.close_log(log.place.key(), (asker.conn, handle));
        Ok(Next::Answer(Answer::Done))
    }

    fn cast(&mut self, now: Now, asker: Asker, cast: Cast) -> Result<Next, Denied> {
        // [SPEC 4.60]
        let log = self.log(asker, cast.handle)?;
        if !log.may_append {
            return Err(Denied::Offence(RefusalCode::BadProof));
        }
        // [SPEC 4.63]
        if log.closed {
            return Err(RefusalCode::Closed.into());
        }
        let key: RowKey = log.place.key();
        let mut others = self.open_logs.readers(key);
        others.retain(|other| *other != (asker.conn, cast.handle));
        if !self.stream(asker)?.casts.take(now.mono, others.len()) {
            return Err(Denied::Refused(busy()));
        }
        let cast = CastPush { bytes: cast.bytes };
        self.tell(key, || Push::Cast(cast.clone()));
        self.push_cast(now, cast, others)
            .map_err(|_| RefusalCode::Malformed)?;
        Ok(Next::Nothing)
    }

    /// Hands a cast to all of these that can take it now.
    pub(super) fn push_cast(
        &mut self,
        now: Now,
        cast: CastPush,
        to: Vec<Reader>,
    ) -> Result<(), TooLong> {
        let push = SharedPush::new(&Push::Cast(cast))?;
        let crowded = self.is_crowded();
        for (conn, handle) in to {
            let conn_at = self.conns.conn(conn);
            if conn_at.is_some_and(|at| !at.is_stuffed(crowded)) {
                self.counted.casts_pushed += 1;
                self.push(now, (conn, handle), &push);
            }
        }
        Ok(())
    }

    /// The place of an open log, if appends to it are allowed by this proof or one before.
    fn prove_append(
        &mut self,
        asker: Asker,
        handle: Handle,
        proof: Option<&Signature>,
    ) -> Result<Place, Denied> {
        // [SPEC 4.45]
        let log = self.log(asker, handle)?;
        let place = log.place.clone();
        if log.may_append {
            return Ok(place);
        }
        // A handle that has to prove something is on a log with an append key.
        let key = self.open_logs.append_key(place.key());
        let key = key.ok_or(RefusalCode::BadProof)?;
        let proof = proof.ok_or(Denied::Offence(RefusalCode::BadProof))?;
        self.check_proof(asker, &key, Proof::Append, (&place, proof))?;
        self.log(asker, handle)?.may_append = true;
        Ok(place)
    }

    /// Checks a proof that is bound to the asker's stream.
    fn check_proof(
        &mut self,
        asker: Asker,
        key: &VerifyKey,
        purpose: Proof,
        (place, proof): (&Place, &Signature),
    ) -> Result<(), Denied> {
        let relay = self.keys.hash();
        let binding = self.stream(asker)?.ends.binding();
        let scope = Scope {
            relay: &relay,
            binding: &binding,
            log: place.log_id(),
        };
        proof::verify(key, purpose, scope, proof)
            .map_err(|_| Denied::Offence(RefusalCode::BadProof))
    }

    fn new_place(&self, new: NewLog) -> Result<NewPlace, Denied> {
        if let Some(first) = &new.first {
            self.check_body(first.body.len())?;
        }
        Ok(NewPlace::new(&new.header, new.first))
    }

    fn check_body(&self, len: usize) -> Result<(), Denied> {
        // [SPEC 4.43]
        if !is_class_len(len) {
            return Err(RefusalCode::Malformed.into());
        }
        if len > self.config.limits.entry_len_max {
            return Err(RefusalCode::TooLarge.into());
        }
        Ok(())
    }

    fn stream(&mut self, asker: Asker) -> Result<&mut Stream, Denied> {
        let stream = self.conns.stream(asker.conn);
        stream.ok_or(RefusalCode::Unknown.into())
    }

    fn log(&mut self, asker: Asker, handle: Handle) -> Result<&mut OpenLog, Denied> {
        let log = self.stream(asker)?.logs.get_mut(handle);
        log.ok_or(RefusalCode::Unknown.into())
    }

    /// Lets a job wait for the store. Whatever has no room then is refused, and what writes where nothing is written any more.
    pub(super) fn queue_up(&mut self, now: Now, conn: ConnId, job: Job<Purpose>) {
        // [SPEC 6.5]
        if self.failure.is_some() && job.writes() {
            return self.refuse_job(now, job.purpose, store_failed());
        }
        // [SPEC 6.52]
        for purpose in self.queue.push(conn, job) {
            self.refuse_job(now, purpose, busy());
        }
    }
}

/// The looks with which logs are opened.
pub(super) fn look_at(asker: Asker, openings: Vec<Opening>) -> Job<Purpose> {
    let look = |opening: &Opening| StoreOp::Look {
        place: opening.place.clone(),
    };
    Job {
        ops: openings.iter().map(look).collect(),
        purpose: Purpose::Open(asker, openings),
        bytes: 0,
        reads: 0,
    }
}

pub(super) fn store_failed() -> Refusal {
    Refusal::later(RefusalCode::StoreFailed, FULL_RETRY_S)
}

/// The store may be back soon.
pub(super) fn store_away() -> Refusal {
    Refusal::later(RefusalCode::StoreFailed, AWAY_RETRY_S)
}

pub(super) fn busy() -> Refusal {
    Refusal::later(RefusalCode::Busy, BUSY_RETRY_S)
}

pub(super) fn look_to_destroy(asker: Asker, place: Place, signature: Signature) -> Job<Purpose> {
    Job {
        ops: vec![StoreOp::Look {
            place: place.clone(),
        }],
        purpose: Purpose::DestroyLook(asker, place, signature),
        bytes: 0,
        reads: 0,
    }
}

fn bytes_of(new: &NewPlace) -> usize {
    new.first.as_ref().map_or(0, |first| first.body.len())
}
