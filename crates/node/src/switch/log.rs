//! What is asked of the relay of a switch.

use emptyroom_wire::entry::Ttl;
use emptyroom_wire::kill::{Said, Switch, Watched};
use emptyroom_wire::op::{
    Answer, Append, Destroy, Handle, Open, OpenLog, OpenOutcome, Opened, Refusal, Renew,
    RenewProof, Request,
};
use emptyroom_wire::proof::{self, Purpose, Scope};
use emptyroom_wire::rng::{self, CryptoRng};
use emptyroom_wire::sign::{SignKey, Signature};

use crate::carrier::Carrier;
use crate::errand::{Errand, NoRelay, Whom};
use crate::seed;

/// What a relay says: it is done, or why not.
type Outcome<T> = Result<Result<T, Refusal>, NoRelay>;

/// Opens the log from its first entry on.
pub(super) async fn open(errand: &mut Errand, switch: &Switch) -> Outcome<Handle> {
    let log = OpenLog {
        capability: switch.capability.clone(),
        from: 0,
        proof: Some(prove(errand, switch, &switch.read, Purpose::Read)),
    };
    match errand.ask(Request::Open(Open { logs: vec![log] })).await? {
        Answer::Opened(Opened { logs }) => match logs.into_iter().next() {
            Some(OpenOutcome::Open(opened)) => Ok(Ok(opened.handle)),
            Some(OpenOutcome::Refused(refusal)) => Ok(Err(refusal)),
            None => Err(NoRelay::Wrong),
        },
        Answer::Refused(refusal) => Ok(Err(refusal)),
        _ => Err(NoRelay::Wrong),
    }
}

/// Appends an entry.
pub(super) async fn append(
    errand: &mut Errand,
    switch: &Switch,
    handle: Handle,
    said: &Said,
    rng: &mut (dyn CryptoRng + Send),
) -> Outcome<()> {
    let nonce = rng::bytes(rng);
    let body = switch.seal(said, nonce, rng).map_err(|_| NoRelay::Wrong)?;
    let request = Request::Append(Append {
        handle,
        expect_slots: 0,
        commit: false,
        close: false,
        ttl: Ttl::Life,
        nonce,
        body,
        next: Vec::new(),
        proof: Some(prove(errand, switch, &switch.append, Purpose::Append)),
    });
    match errand.ask(request).await? {
        Answer::Appended(_) => Ok(Ok(())),
        Answer::Refused(refusal) => Ok(Err(refusal)),
        _ => Err(NoRelay::Wrong),
    }
}

/// Lets the log live on.
pub(super) async fn renew(errand: &mut Errand, switch: &Switch, handle: Handle) -> Outcome<()> {
    let proof = prove(errand, switch, &switch.append, Purpose::Append);
    let proof = Some(RenewProof::Append(proof));
    done(errand.ask(Request::Renew(Renew { handle, proof })).await?)
}

/// Destroys the log.
// [SPEC 11.69]
pub(crate) async fn destroy(carrier: &dyn Carrier, watched: &Watched, owner: &SignKey) -> bool {
    let Ok(mut rng) = seed::generator() else {
        return false;
    };
    let whom = Whom::Known(watched.relay);
    let Ok(mut errand) = Errand::dial(carrier, &watched.hosts, &whom, &mut rng).await else {
        return false;
    };
    let switch = watched.switch();
    let destroy = Request::Destroy(Destroy {
        signature: proof::sign_destroy(owner, &watched.relay, switch.id),
        capability: switch.capability,
    });
    matches!(errand.ask(destroy).await, Ok(Answer::Done))
}

fn done(answer: Answer) -> Outcome<()> {
    match answer {
        Answer::Done => Ok(Ok(())),
        Answer::Refused(refusal) => Ok(Err(refusal)),
        _ => Err(NoRelay::Wrong),
    }
}

fn prove(errand: &Errand, switch: &Switch, key: &SignKey, purpose: Purpose) -> Signature {
    let scope = Scope {
        relay: &errand.relay(),
        binding: &errand.binding(),
        log: switch.id,
    };
    proof::sign(key, purpose, scope)
}
