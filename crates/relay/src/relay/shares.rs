//! Requests about shares, and their answers.

use emptyroom_wire::op::{
    Answer, DeleteShare, EvaluateShare, Evaluated, PutShare, Refusal, RefusalCode, RenewShare,
    WipeShare,
};
use emptyroom_wire::share::{self, Element};
use emptyroom_wire::sign::{BadSignature, Signature, VerifyKey};
use emptyroom_wire::time::Now;
use emptyroom_wire::wipe::{self, OrderHash, WipeOrder, WipePolicy};

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

enum What {
    Put,
    Evaluate(Element),
    /// Look whose share it is; then, if that one signed, the change.
    Look(Claim),
    Change(Change),
}

/// What only some may do, and by what they say that they may.
enum Claim {
    Renew { days: u16, proof: Signature },
    Delete(Signature),
    Wipe(WipeOrder),
}

impl Claim {
    /// Whether it is an order that nobody signed: whoever gives it wants to know whether the share would answer.
    // [SPEC 4.80]
    fn is_nobodys(&self) -> bool {
        matches!(self, Claim::Wipe(order) if order.signatures.is_empty())
    }
}

/// The same when it was found that they may.
enum Change {
    Renew { days: u16 },
    Delete,
    Wipe(OrderHash),
}

/// Why they may not.
enum Unfounded {
    /// Nobody may.
    NotAllowed,
    BadProof,
}

impl From<BadSignature> for Unfounded {
    fn from(_: BadSignature) -> Unfounded {
        Unfounded::BadProof
    }
}

impl Asked {
    /// Whether its operation changes something.
    pub(super) fn writes(&self) -> bool {
        match &self.what {
            What::Look(claim) => claim.is_nobodys(),
            What::Put | What::Evaluate(_) | What::Change(_) => true,
        }
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
            What::Look(claim) if claim.is_nobodys() => ShareOp::Touch,
            What::Look(_) => ShareOp::Look,
            What::Change(Change::Renew { days }) => ShareOp::Renew(*days),
            What::Change(Change::Delete) => ShareOp::Delete(None),
            What::Change(Change::Wipe(order)) => ShareOp::Delete(Some(*order)),
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
        let claim = Claim::Renew {
            days: renew.days,
            proof: renew.proof,
        };
        ask(asker, SharePlace::of(&renew.id), What::Look(claim))
    }

    pub(super) fn delete_share(asker: Asker, delete: &DeleteShare) -> Result<Next, Denied> {
        let claim = Claim::Delete(delete.signature);
        ask(asker, SharePlace::of(&delete.id), What::Look(claim))
    }

    pub(super) fn wipe_share(asker: Asker, wipe: WipeShare) -> Result<Next, Denied> {
        let claim = Claim::Wipe(wipe.order);
        ask(asker, SharePlace::of(&wipe.id), What::Look(claim))
    }

    /// What the store says of a share.
    pub(super) fn share_reply(&mut self, now: Now, asker: Asker, asked: Asked, reply: StoreReply) {
        match (asked.what, reply) {
            (What::Evaluate(element), StoreReply::Share(ShareReply::Used(key, uses_left))) => {
                let element = key.evaluate(&element);
                let evaluated = Evaluated { element, uses_left };
                self.answer(now, asker, Answer::Evaluated(evaluated));
            }
            (What::Look(claim), StoreReply::Share(ShareReply::Looked(owner, policy))) => {
                match self.founded(now, asker, &asked.place, (claim, &owner, policy.as_ref())) {
                    Ok(change) => self.change_share(now, asker, asked.place, change),
                    Err(Unfounded::NotAllowed) => {
                        self.refuse(now, asker, Refusal::now(RefusalCode::NotAllowed));
                    }
                    Err(Unfounded::BadProof) => {
                        self.refuse(now, asker, Refusal::now(RefusalCode::BadProof));
                        self.offence(asker.conn);
                    }
                }
            }
            (What::Look(claim), StoreReply::Share(ShareReply::Gone(by))) => match claim {
                // [SPEC 4.74]
                Claim::Delete(_) => self.answer(now, asker, Answer::Done),
                // [SPEC 4.76]
                Claim::Wipe(order) if by == Some(order.body.hash()) => {
                    self.answer_wiped(now, asker, &asked.place, &order.body.hash());
                }
                Claim::Renew { .. } | Claim::Wipe(_) => {
                    self.refuse(now, asker, Refusal::now(RefusalCode::Destroyed));
                }
            },
            (What::Change(Change::Wipe(order)), StoreReply::Done) => {
                self.answer_wiped(now, asker, &asked.place, &order);
            }
            (_, reply) => self.answer(now, asker, plain_answer(reply)),
        }
    }

    fn answer_wiped(&mut self, now: Now, asker: Asker, place: &SharePlace, order: &OrderHash) {
        let receipt = self.keys.identity().wiped(place.name(), order);
        self.answer(now, asker, Answer::Wiped(receipt));
    }

    fn change_share(&mut self, now: Now, asker: Asker, place: SharePlace, change: Change) {
        let what = What::Change(change);
        if let Some(job) = (Asked { place, what }).job(asker) {
            self.queue_up(now, asker.conn, job);
        }
    }

    /// Whether they may, now that it is known whose share it is.
    fn founded(
        &mut self,
        now: Now,
        asker: Asker,
        place: &SharePlace,
        (claim, owner, policy): (Claim, &VerifyKey, Option<&WipePolicy>),
    ) -> Result<Change, Unfounded> {
        let relay = self.identity_hash();
        match claim {
            Claim::Renew { days, proof } => {
                let stream = self.conns.stream(asker.conn).ok_or(BadSignature)?;
                let binding = stream.ends.binding();
                let what = (place.name(), days);
                share::verify_renew(owner, &relay, &binding, what, &proof)?;
                Ok(Change::Renew { days })
            }
            Claim::Delete(signature) => {
                share::verify_delete(owner, &relay, place.name(), &signature)?;
                Ok(Change::Delete)
            }
            // [SPEC 4.75]
            Claim::Wipe(order) => {
                let policy = policy.ok_or(Unfounded::NotAllowed)?;
                wipe::judge(&order, policy, now.wall).map_err(|_| Unfounded::BadProof)?;
                Ok(Change::Wipe(order.body.hash()))
            }
        }
    }
}
