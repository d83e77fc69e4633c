//! One log as the present link has it: handle, view, what is under way. Nothing here is stored.

use emptyroom_wire::log_keys::LogAccess;
use emptyroom_wire::op::{
    AccessCode, Answer, Append, Handle, Open, OpenLog, OpenOutcome, Refusal, RefusalCode, Renew,
    RenewProof, Request, Trim, View,
};
use emptyroom_wire::proof::{self, Purpose, Scope, StreamBinding};
use emptyroom_wire::relay_key::{Head, IdentityHash};
use emptyroom_wire::time::Mono;

use super::claims::Claim;
use super::stage::Staged;
use crate::api::RelayTrouble;
use crate::link::{Op, Role, Route, Tag};
use crate::store::key::ConversationId;

// [SPEC 8.60]
const RETRY_MS_FIRST: u64 = 2_000;
const RETRY_MS_LAST: u64 = 600_000;

/// A conversation's way to its relay during one step.
pub(crate) struct Port<'a> {
    /// Requests can flow.
    pub(crate) up: bool,
    /// Which relay.
    pub(crate) relay: IdentityHash,
    /// Its host, for people.
    pub(crate) relay_name: String,
    /// What proofs are bound to; there is one when it is up.
    pub(crate) binding: Option<StreamBinding>,
    /// The relay's access code, where one was given.
    pub(crate) code: Option<AccessCode>,
    /// The newest key record verified.
    pub(crate) key_head: Option<Head>,
    /// Requests to be sent after this step.
    pub(crate) requests: &'a mut Vec<(Tag, Request)>,
    /// What the relay did wrong in this step.
    pub(crate) troubles: &'a mut Vec<RelayTrouble>,
    /// What the peer saw of the relay's keys.
    pub(crate) claims: &'a mut Vec<Head>,
}

/// The log of one role.
pub(crate) struct Channel {
    route: Route,
    state: State,
    appending: bool,
    proved: bool,
    trimming: bool,
    renewing: bool,
    failures: u32,
    retry_at: Option<Mono>,
    /// What the relay said of the log when it did not take an append.
    claim: Option<Claim>,
    /// It answered an append as no honest relay does, and has taken none since.
    doubted: bool,
}

enum State {
    Closed,
    Opening,
    Open(OpenState),
}

/// What is known of an open log.
#[derive(Clone, Copy)]
pub(crate) struct OpenState {
    handle: Handle,
    /// As it was when it was opened, or later as the relay said.
    pub(crate) view: View,
    /// The stored entries were all pushed.
    pub(crate) caught_up: bool,
}

impl Channel {
    pub(crate) fn new(conversation: ConversationId, role: Role) -> Self {
        Self {
            route: Route {
                conversation,
                role,
                channel: 0,
            },
            state: State::Closed,
            appending: false,
            proved: false,
            trimming: false,
            renewing: false,
            failures: 0,
            retry_at: None,
            claim: None,
            doubted: false,
        }
    }

    /// Whether an answer or push is for the present use.
    pub(crate) fn is_current(&self, route: &Route) -> bool {
        self.route == *route
    }

    /// The route of requests that are not about a handle.
    pub(crate) fn route(&self) -> Route {
        self.route
    }

    pub(crate) fn open_state(&self) -> Option<&OpenState> {
        match &self.state {
            State::Open(open) => Some(open),
            _ => None,
        }
    }

    pub(crate) fn is_caught_up(&self) -> bool {
        self.open_state().is_some_and(|open| open.caught_up)
    }

    pub(crate) fn is_appending(&self) -> bool {
        self.appending
    }

    /// Nothing may be tried before the time that the last refusal set.
    pub(crate) fn may_try(&self, now: Mono) -> bool {
        self.retry_at.is_none_or(|at| at <= now)
    }

    pub(crate) fn retry_at(&self) -> Option<Mono> {
        self.retry_at
    }

    /// Waits before the next attempt: what the relay asks for, or longer each time.
    pub(crate) fn wait(&mut self, now: Mono, retry_after_s: u32) {
        let own = RETRY_MS_FIRST
            .checked_shl(self.failures)
            .unwrap_or(RETRY_MS_LAST);
        let asked = u64::from(retry_after_s) * 1_000;
        self.failures = self.failures.saturating_add(1).min(16);
        self.retry_at = Some(now.plus_ms(own.max(asked).min(RETRY_MS_LAST)));
    }

    /// Something succeeded.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
        self.retry_at = None;
        self.claim = None;
        self.doubted = false;
    }

    /// The relay did not take an append, and said so of the log.
    pub(crate) fn claimed(&mut self, claim: Option<Claim>) {
        self.claim = claim;
    }

    pub(crate) fn take_claim(&mut self) -> Option<Claim> {
        self.claim.take()
    }

    /// The answer to an append was not true: only an append that is taken ends the growing delays.
    // [SPEC 8.65]
    pub(crate) fn doubt(&mut self, now: Mono) {
        self.doubted = true;
        self.wait(now, 0);
    }

    /// The link was lost: handles and requests are gone.
    pub(crate) fn lost(&mut self) {
        self.route.channel = self.route.channel.wrapping_add(1);
        self.state = State::Closed;
        self.appending = false;
        self.proved = false;
        self.trimming = false;
        self.renewing = false;
    }

    /// Leaves the log; the next use is another one.
    pub(crate) fn leave(&mut self, port: &mut Port<'_>) {
        if let State::Open(open) = &self.state
            && port.up
        {
            let request = Request::Leave(open.handle);
            port.requests
                .push((Tag::Conversation(self.route, Op::Leave), request));
        }
        self.lost();
    }

    /// Asks for the log, unless that was done.
    pub(crate) fn open(&mut self, port: &mut Port<'_>, access: &LogAccess, from: u64, now: Mono) {
        if !port.up || !self.may_try(now) || !matches!(self.state, State::Closed) {
            return;
        }
        let log = OpenLog {
            capability: access.capability.clone(),
            from,
            proof: None,
        };
        let request = Request::Open(Open { logs: vec![log] });
        port.requests
            .push((Tag::Conversation(self.route, Op::Open), request));
        self.state = State::Opening;
    }

    /// Takes the answer to an open.
    ///
    /// # Errors
    /// Why the relay refuses.
    pub(crate) fn opened(&mut self, answer: &Answer) -> Result<View, Refusal> {
        let refusal = match answer {
            Answer::Opened(opened) => match opened.logs.first() {
                Some(OpenOutcome::Open(log)) => {
                    self.state = State::Open(OpenState {
                        handle: log.handle,
                        view: log.view,
                        caught_up: false,
                    });
                    return Ok(log.view);
                }
                Some(OpenOutcome::Refused(refusal)) => *refusal,
                None => Refusal::now(RefusalCode::Malformed),
            },
            Answer::Refused(refusal) => *refusal,
            _ => Refusal::now(RefusalCode::Malformed),
        };
        self.state = State::Closed;
        Err(refusal)
    }

    /// It was read to its end. Not before does a log that is served wrong each time stop to be asked ever more seldom.
    // [SPEC 8.64]
    pub(crate) fn caught_up(&mut self) {
        if let State::Open(open) = &mut self.state {
            open.caught_up = true;
        }
        if !self.doubted {
            self.succeeded();
        }
    }

    /// The log went away while it was open.
    pub(crate) fn gone(&mut self) {
        self.lost();
    }

    /// Sends an append that is already to be durable. One at a time.
    pub(crate) fn append(&mut self, port: &mut Port<'_>, access: &LogAccess, staged: &Staged) {
        let (State::Open(open), Some(binding)) = (&self.state, &port.binding) else {
            return;
        };
        if self.appending {
            return;
        }
        let proof = (!self.proved).then(|| {
            let scope = Scope {
                relay: &port.relay,
                binding,
                log: access.log_id,
            };
            proof::sign(&access.append, Purpose::Append, scope)
        });
        let request = Request::Append(Append {
            handle: open.handle,
            expect_slots: staged.expect_slots,
            commit: staged.commit.0,
            close: staged.close.0,
            ttl: staged.ttl,
            nonce: staged.nonce,
            body: staged.body.as_slice().to_vec(),
            next: staged.next.clone(),
            proof,
        });
        port.requests
            .push((Tag::Conversation(self.route, Op::Append), request));
        self.appending = true;
        self.proved = true;
    }

    /// The answer to the append came. A proof that was refused is given again.
    pub(crate) fn appended(&mut self, answer: &Answer) {
        self.appending = false;
        if matches!(answer, Answer::Refused(_)) {
            self.proved = false;
        }
    }

    /// Removes what both sides have. One at a time.
    pub(crate) fn trim(&mut self, port: &mut Port<'_>, access: &LogAccess, up_to: u64) {
        let (State::Open(open), Some(owner)) = (&self.state, &access.owner) else {
            return;
        };
        if self.trimming || !port.up {
            return;
        }
        let request = Request::Trim(Trim {
            handle: open.handle,
            up_to,
            signature: proof::sign_trim(owner, &port.relay, access.log_id, up_to),
        });
        port.requests
            .push((Tag::Conversation(self.route, Op::Trim(up_to)), request));
        self.trimming = true;
    }

    pub(crate) fn trimmed(&mut self) {
        self.trimming = false;
    }

    /// Extends the log's life. One at a time.
    pub(crate) fn renew(&mut self, port: &mut Port<'_>, access: &LogAccess) {
        let (State::Open(open), Some(binding)) = (&self.state, &port.binding) else {
            return;
        };
        if self.renewing {
            return;
        }
        let scope = Scope {
            relay: &port.relay,
            binding,
            log: access.log_id,
        };
        let proof = proof::sign(&access.append, Purpose::Append, scope);
        let request = Request::Renew(Renew {
            handle: open.handle,
            proof: Some(RenewProof::Append(proof)),
        });
        port.requests
            .push((Tag::Conversation(self.route, Op::Renew), request));
        self.renewing = true;
    }

    pub(crate) fn renewed(&mut self) {
        self.renewing = false;
    }
}
