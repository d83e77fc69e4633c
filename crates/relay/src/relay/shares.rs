//! Requests about shares, and their answers.

use emptyroom_wire::op::{
    Answer, DeleteShare, EvaluateShare, Evaluated, PutShare, Refusal, RefusalCode, RenewShare,
};
use emptyroom_wire::share::{self, Element};
use emptyroom_wire::sign::{BadSignature, Signature, VerifyKey};
use emptyroom_wire::time::Now;

use super::Relay;
use super::job::{Asker, Purpose};
use super::queue::Job;
use super::replies::plain_answer;
use super::requests::{Denied, Next};
use crate::store::{ShareOp, SharePlace, ShareReply, StoreOp, StoreReply};

/// What is asked of one share.
pub(crate) struct Asked {
    place: SharePlace,
    what: What,
}

#[derive(Clone)]
enum What {
    Put,
    Evaluate(Element),
    /// Look whose share it is; then, if that one signed, the change.
    Look(Change, Signature),
    Change(Change),
}

/// What only the owner may do.
#[derive(Clone, Copy)]
enum Change {
    Renew { days: u16 },
    Delete,
}

impl Asked {
    /// Whether its operation changes something.
    pub(super) fn writes(&self) -> bool {
        !matches!(self.what, What::Look(..))
    }

    /// Whether it makes something that takes space.
    pub(super) fn adds(&self) -> bool {
        matches!(self.what, What::Put)
    }

    /// The job that asks the store for it; none for a put, whose share is gone with its operation.
    pub(super) fn job(self, asker: Asker) -> Option<Job<Purpose>> {
        let op = match &self.what {
            What::Put => return None,
            What::Evaluate(_) => ShareOp::Use,
            What::Look(..) => ShareOp::Look,
            What::Change(Change::Renew { days }) => ShareOp::Renew(*days),
            What::Change(Change::Delete) => ShareOp::Delete,
        };
        Some(job(asker, self, op))
    }
}

fn job(asker: Asker, asked: Asked, op: ShareOp) -> Job<Purpose> {
    Job {
        ops: vec![StoreOp::Share(asked.place.clone(), op)],
        purpose: Purpose::Share(asker, Box::new(asked)),
        bytes: 0,
        reads: 0,
    }
}

fn ask(asker: Asker, place: SharePlace, what: What) -> Result<Next, Denied> {
    let job = Asked { place, what }.job(asker);
    job.map(Next::Store).ok_or(RefusalCode::Malformed.into())
}

impl Relay {
    pub(super) fn put_share(&self, asker: Asker, put: PutShare) -> Result<Next, Denied> {
        // [SPEC 4.70]
        if !self.config.admits(put.code.as_ref()) {
            return Err(Denied::Offence(RefusalCode::BadCode));
        }
        // [SPEC 4.14]
        if !put.share.is_sound() {
            return Err(RefusalCode::Malformed.into());
        }
        let asked = Asked {
            place: SharePlace::of(&put.id),
            what: What::Put,
        };
        Ok(Next::Store(job(asker, asked, ShareOp::Put(put.share))))
    }

    pub(super) fn evaluate_share(asker: Asker, asked: &EvaluateShare) -> Result<Next, Denied> {
        let place = SharePlace::of(&asked.id);
        ask(asker, place, What::Evaluate(asked.element))
    }

    pub(super) fn renew_share(asker: Asker, renew: &RenewShare) -> Result<Next, Denied> {
        // [SPEC 4.14]
        if !share::are_days(renew.days) {
            return Err(RefusalCode::Malformed.into());
        }
        let change = Change::Renew { days: renew.days };
        let place = SharePlace::of(&renew.id);
        ask(asker, place, What::Look(change, renew.proof))
    }

    pub(super) fn delete_share(asker: Asker, delete: &DeleteShare) -> Result<Next, Denied> {
        let place = SharePlace::of(&delete.id);
        ask(asker, place, What::Look(Change::Delete, delete.signature))
    }

    /// What the store says of a share.
    pub(super) fn share_reply(&mut self, now: Now, asker: Asker, asked: Asked, reply: StoreReply) {
        match (asked.what, reply) {
            (What::Evaluate(element), StoreReply::Share(ShareReply::Used(key, uses_left))) => {
                let element = key.evaluate(&element);
                let evaluated = Evaluated { element, uses_left };
                self.answer(now, asker, Answer::Evaluated(evaluated));
            }
            (What::Look(change, signature), StoreReply::Share(ShareReply::Looked(owner))) => {
                self.change_share(now, asker, asked.place, (change, &owner, &signature));
            }
            // [SPEC 4.74]
            (What::Look(Change::Delete, _), StoreReply::Refused(refusal))
                if refusal.code == RefusalCode::Destroyed =>
            {
                self.answer(now, asker, Answer::Done);
            }
            (_, reply) => self.answer(now, asker, plain_answer(reply)),
        }
    }

    /// The share is there: its owner's word is what counts now.
    fn change_share(
        &mut self,
        now: Now,
        asker: Asker,
        place: SharePlace,
        (change, owner, signature): (Change, &VerifyKey, &Signature),
    ) {
        if self
            .owner_signed(asker, &place, (change, owner, signature))
            .is_err()
        {
            self.refuse(now, asker, Refusal::now(RefusalCode::BadProof));
            return self.offence(asker.conn);
        }
        let what = What::Change(change);
        if let Some(job) = (Asked { place, what }).job(asker) {
            self.queue_up(now, asker.conn, job);
        }
    }

    fn owner_signed(
        &mut self,
        asker: Asker,
        place: &SharePlace,
        (change, owner, signature): (Change, &VerifyKey, &Signature),
    ) -> Result<(), BadSignature> {
        let relay = self.identity_hash();
        match change {
            Change::Renew { days } => {
                let stream = self.conns.stream(asker.conn).ok_or(BadSignature)?;
                let binding = stream.ends.binding();
                share::verify_renew(owner, &relay, &binding, (place.name(), days), signature)
            }
            Change::Delete => share::verify_delete(owner, &relay, place.name(), signature),
        }
    }
}
