//! One sealed stream to one relay: dialling, greeting, opening, request ids, handles, dialling again.
//!
//! What requests mean is the conversations' matter. A link hands back each answer with the tag of its request, and each push
//! with the route that opened its handle. It keeps no request across a loss: whoever asked sees the loss and asks again.

mod backoff;
mod hosts;
mod keys;
mod session;

use emptyroom_wire::address::Host;
use emptyroom_wire::greeting::GreetingFault;
use emptyroom_wire::op::{Answer, Push, Request};
use emptyroom_wire::relay_key::{ChainStep, Head, IdentityHash, KeyChain, Trail};
use emptyroom_wire::rng::CryptoRng;
use emptyroom_wire::stream::{Opened, Opening, OpeningOutcome, RelayFault};
use emptyroom_wire::time::{Day, Mono, Now};

pub(crate) use backoff::below;
pub(crate) use hosts::{By, Hosts, Named};
pub(crate) use session::{LinkOp, Op, Role, Route, Session, Tag};

use crate::api::{Endpoint, LinkId, RelayTrouble};
use crate::store::key::ConversationId;
use backoff::{Backoff, Pages};

/// No greeting or answer to the opening in this time: try again.
const SETUP_MS_MAX: u64 = 30_000;
/// The same, and the time for connecting, where another host can be tried instead.
// [SPEC 7.12]
const ELSEWHERE_MS: u64 = 4_000;

/// What a link wants done, or tells.
pub(crate) enum LinkOut {
    Dial(LinkId, Endpoint),
    Frame(LinkId, Vec<u8>),
    Hangup(LinkId),
    Up,
    Lost { was_up: bool },
    Answer(Tag, Answer),
    Push(Route, Push),
    Trouble(RelayTrouble),
    UpdateNeeded,
    ChainChanged,
}

/// The one link to a relay.
pub(crate) struct Link {
    hosts: Hosts,
    chain: KeyChain,
    state: State,
    backoff: Backoff,
    wanted: bool,
    pages: Pages,
    /// From the key in use to a head above it.
    trail: Option<Trail>,
    /// Attempts that failed in a row; 0 while it is up.
    failures: u32,
    update_needed: bool,
    trouble: Option<RelayTrouble>,
}

enum State {
    Down {
        dial_at: Option<Mono>,
    },
    Dialling {
        id: LinkId,
        until: Option<Mono>,
    },
    Greeting {
        id: LinkId,
        spki_hash: Option<[u8; 32]>,
        until: Mono,
    },
    Opening {
        id: LinkId,
        opening: Option<Box<Opening>>,
        until: Mono,
    },
    Up(Box<Session>),
}

/// What every function of a link needs of its client.
pub(crate) struct LinkCtx<'a> {
    pub(crate) now: Now,
    pub(crate) today: Day,
    pub(crate) rng: &'a mut dyn CryptoRng,
    pub(crate) next_link: &'a mut u64,
    pub(crate) out: &'a mut Vec<LinkOut>,
}

impl Link {
    /// A link that is not needed yet.
    pub(crate) fn new(hosts: Vec<Named>, chain: KeyChain) -> Self {
        Self {
            hosts: Hosts::new(hosts),
            chain,
            state: State::Down { dial_at: None },
            backoff: Backoff::default(),
            wanted: false,
            pages: Pages::new(),
            trail: None,
            failures: 0,
            update_needed: false,
            trouble: None,
        }
    }

    /// The relay's name: the hash of its identity key.
    pub(crate) fn relay(&self) -> IdentityHash {
        self.chain.relay()
    }

    /// The host that people call it by.
    pub(crate) fn name(&self) -> String {
        self.hosts.name().map(Host::to_string).unwrap_or_default()
    }

    /// Where it is dialled.
    pub(crate) fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// Adds hosts that the link of a conversation names.
    pub(crate) fn add(&mut self, hosts: &[Host], by: ConversationId, rng: &mut dyn CryptoRng) {
        self.hosts.add(hosts, by, rng);
    }

    /// Forgets the hosts that only links of such conversations named. False: there are none.
    pub(crate) fn forget_hosts(&mut self, is_gone: impl Fn(ConversationId) -> bool) -> bool {
        self.hosts.forget(is_gone)
    }

    /// Somebody noticed that the relay makes trouble.
    pub(crate) fn note_trouble(&mut self, kind: RelayTrouble) {
        self.trouble = Some(kind);
    }

    /// Puts hosts first that the user named.
    pub(crate) fn prefer(&mut self, hosts: &[Host], rng: &mut dyn CryptoRng) {
        self.hosts.prefer(hosts, rng);
    }

    /// What is known of its keys.
    pub(crate) fn chain(&self) -> &KeyChain {
        &self.chain
    }

    /// Requests can flow.
    pub(crate) fn session(&mut self) -> Option<&mut Session> {
        match &mut self.state {
            State::Up(session) => Some(session),
            _ => None,
        }
    }

    /// Requests can flow.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    /// The last attempt failed, and none is under way that could still succeed.
    pub(crate) fn unreachable(&self) -> bool {
        self.failures > 0 && matches!(self.state, State::Down { .. })
    }

    /// The relay speaks only other versions.
    pub(crate) fn needs_update(&self) -> bool {
        self.update_needed
    }

    /// The last trouble it made.
    pub(crate) fn trouble(&self) -> Option<RelayTrouble> {
        self.trouble
    }

    /// The id of the carrier in use.
    pub(crate) fn carrier(&self) -> Option<LinkId> {
        match &self.state {
            State::Down { .. } => None,
            State::Dialling { id, .. } | State::Greeting { id, .. } | State::Opening { id, .. } => {
                Some(*id)
            }
            State::Up(session) => Some(session.id()),
        }
    }

    /// Whether anybody needs this relay now.
    pub(crate) fn want(&mut self, wanted: bool, ctx: &mut LinkCtx<'_>) {
        if wanted == self.wanted {
            return;
        }
        self.wanted = wanted;
        if wanted {
            if let State::Down { dial_at } = &mut self.state {
                dial_at.get_or_insert(ctx.now.mono);
            }
        } else if let Some(id) = self.carrier() {
            ctx.out.push(LinkOut::Hangup(id));
            let was_up = self.is_up();
            self.state = State::Down { dial_at: None };
            ctx.out.push(LinkOut::Lost { was_up });
        }
    }

    /// A user waits: dial now, whatever the backoff says.
    pub(crate) fn hurry(&mut self, now: Mono) {
        if let State::Down { dial_at: Some(at) } = &mut self.state {
            *at = now;
            self.failures = 0;
        }
    }

    /// Does what is due by now.
    pub(crate) fn tick(&mut self, ctx: &mut LinkCtx<'_>) {
        let now = ctx.now.mono;
        let over = match &mut self.state {
            State::Down { dial_at: Some(at) } if self.wanted && *at <= now => {
                self.dial(ctx);
                false
            }
            State::Dialling { until, .. } => until.is_some_and(|until| until <= now),
            State::Greeting { until, .. } | State::Opening { until, .. } => *until <= now,
            State::Up(session) => !session.tick(now, ctx.out),
            State::Down { .. } => false,
        };
        if over {
            self.hang_up(ctx);
        }
    }

    /// When [`Link::tick`] is due.
    pub(crate) fn wake_at(&self) -> Option<Mono> {
        match &self.state {
            State::Down { dial_at } => dial_at.filter(|_| self.wanted),
            State::Dialling { until, .. } => *until,
            State::Greeting { until, .. } | State::Opening { until, .. } => Some(*until),
            State::Up(session) => Some(session.wake_at()),
        }
    }

    /// The carrier stands.
    pub(crate) fn carrier_up(&mut self, spki_hash: Option<[u8; 32]>, ctx: &mut LinkCtx<'_>) {
        if let State::Dialling { id, .. } = self.state {
            let patience_ms = if self.goes_elsewhere() {
                ELSEWHERE_MS
            } else {
                SETUP_MS_MAX
            };
            let until = ctx.now.mono.plus_ms(patience_ms);
            self.state = State::Greeting {
                id,
                spki_hash,
                until,
            };
        }
    }

    /// The carrier ended, or could not be made.
    pub(crate) fn carrier_down(&mut self, ctx: &mut LinkCtx<'_>) {
        self.ended(ctx, None);
    }

    /// A frame came.
    pub(crate) fn frame(&mut self, frame: &[u8], ctx: &mut LinkCtx<'_>) {
        match &mut self.state {
            State::Greeting {
                id,
                spki_hash,
                until,
            } => match Opening::start(frame, spki_hash.as_ref(), &self.chain, ctx.rng) {
                Ok((opening, answer)) => {
                    ctx.out.push(LinkOut::Frame(*id, answer));
                    let opening = Some(Box::new(opening));
                    self.state = State::Opening {
                        id: *id,
                        opening,
                        until: *until,
                    };
                }
                Err(fault) => self.refused(&fault, ctx),
            },
            State::Opening { id, opening, .. } => {
                let id = *id;
                let Some(waiting) = opening.take() else {
                    return;
                };
                match waiting.answer(frame, &self.chain, ctx.now.mono, ctx.rng) {
                    Ok(OpeningOutcome::Open(opened)) => self.opened(id, opened, ctx),
                    Ok(OpeningOutcome::Again(again, frame)) => {
                        *opening = Some(Box::new(again));
                        ctx.out.push(LinkOut::Frame(id, frame));
                    }
                    Err(fault) => self.refused(&fault, ctx),
                }
            }
            State::Up(session) => match session.frame(ctx.now.mono, frame, ctx.out) {
                Ok(Some(records)) => self.key_records(&records, ctx),
                // They were refused: without them nobody knows whether the key is the relay's.
                // [SPEC 5.21]
                Ok(None) if self.trail.is_some() && !session.asks_for_key_records() => {
                    self.hang_up(ctx);
                }
                Ok(None) => {}
                Err(trouble) => {
                    self.trouble = Some(trouble);
                    ctx.out.push(LinkOut::Trouble(trouble));
                    self.hang_up(ctx);
                }
            },
            State::Down { .. } | State::Dialling { .. } => {}
        }
    }

    /// Sends a request; it is answered, or the link is lost.
    pub(crate) fn request(
        &mut self,
        now: Mono,
        tag: Tag,
        request: Request,
        out: &mut Vec<LinkOut>,
    ) {
        if let State::Up(session) = &mut self.state {
            session.request(now, tag, request, out);
        }
    }

    /// A peer said which key record it saw.
    pub(crate) fn claim(&mut self, claim: Head, out: &mut Vec<LinkOut>) {
        let fault = self.chain.claim(claim);
        out.push(LinkOut::ChainChanged);
        self.chain_faults(fault, out);
    }

    /// Closes the carrier and tries again later.
    pub(crate) fn hang_up(&mut self, ctx: &mut LinkCtx<'_>) {
        if let Some(id) = self.carrier() {
            ctx.out.push(LinkOut::Hangup(id));
        }
        self.ended(ctx, None);
    }

    fn dial(&mut self, ctx: &mut LinkCtx<'_>) {
        let Some(host) = self.hosts.take_next() else {
            self.state = State::Down { dial_at: None };
            return;
        };
        *ctx.next_link += 1;
        let id = LinkId(*ctx.next_link);
        let endpoint = Endpoint {
            host: host.name().to_owned(),
            port: host.port(),
        };
        ctx.out.push(LinkOut::Dial(id, endpoint));
        let elsewhere = self.goes_elsewhere();
        let until = elsewhere.then(|| ctx.now.mono.plus_ms(ELSEWHERE_MS));
        self.state = State::Dialling { id, until };
    }

    /// There are other hosts, and two rounds over all have not failed yet: it is quicker to try the next one than to wait.
    fn goes_elsewhere(&self) -> bool {
        let hosts = self.hosts.len();
        hosts > 1 && usize::try_from(self.failures).is_ok_and(|failures| failures < 2 * hosts)
    }

    fn opened(&mut self, id: LinkId, opened: Opened, ctx: &mut LinkCtx<'_>) {
        self.backoff
            .up(ctx.now.mono, opened.terms.reconnect_spread_s);
        self.failures = 0;
        self.update_needed = false;
        // Whoever answered in the relay's place is gone.
        if matches!(
            self.trouble,
            Some(RelayTrouble::WrongIdentity | RelayTrouble::WrongCertificate)
        ) {
            self.trouble = None;
        }
        self.hosts.answers();
        self.pages = Pages::new();
        self.trail = None;
        let step = opened.step;
        let record = opened.signed.record.clone();
        let mut session = Session::new(id, opened, ctx.now.mono);
        match step {
            ChainStep::Same => {}
            ChainStep::Ahead { after } | ChainStep::Below { after } => {
                if matches!(step, ChainStep::Below { .. }) {
                    self.trail = self.chain.trail(&record);
                }
                session.request(
                    ctx.now.mono,
                    Tag::Link(LinkOp::KeyRecords),
                    Request::KeyRecords(after),
                    ctx.out,
                );
            }
            ChainStep::First | ChainStep::Linked | ChainStep::Conflict => {
                let faults = self.chain.walk(session.identity(), &[record], ctx.today);
                ctx.out.push(LinkOut::ChainChanged);
                self.chain_faults(faults, ctx.out);
            }
        }
        self.state = State::Up(Box::new(session));
        ctx.out.push(LinkOut::Up);
    }

    /// The relay, or somebody between, does not give a stream.
    fn refused(&mut self, fault: &RelayFault, ctx: &mut LinkCtx<'_>) {
        let trouble = match fault {
            RelayFault::Greeting(
                GreetingFault::UpdateNeeded { .. } | GreetingFault::RelayTooOld { .. },
            ) => {
                self.update_needed = true;
                ctx.out.push(LinkOut::UpdateNeeded);
                None
            }
            RelayFault::Greeting(GreetingFault::WrongIdentity) => Some(RelayTrouble::WrongIdentity),
            RelayFault::Greeting(GreetingFault::WrongCertificate) => {
                Some(RelayTrouble::WrongCertificate)
            }
            RelayFault::Greeting(GreetingFault::BadStreamKey)
            | RelayFault::BadStreamKey
            | RelayFault::NotTheRelay
            | RelayFault::VersionChanged => Some(RelayTrouble::WrongIdentity),
            RelayFault::KeyBelow | RelayFault::KeyUnknown => Some(RelayTrouble::KeyChain),
            RelayFault::Greeting(GreetingFault::Malformed(_)) | RelayFault::Malformed(_) => {
                Some(RelayTrouble::Malformed)
            }
            RelayFault::Refused(_) => None,
        };
        if let Some(trouble) = trouble {
            self.trouble = Some(trouble);
            ctx.out.push(LinkOut::Trouble(trouble));
        }
        if let Some(id) = self.carrier() {
            ctx.out.push(LinkOut::Hangup(id));
        }
        let wait = self
            .update_needed
            .then(|| self.backoff.update_needed(ctx.rng));
        self.ended(ctx, wait);
    }

    fn ended(&mut self, ctx: &mut LinkCtx<'_>, wait: Option<u64>) {
        if matches!(self.state, State::Down { .. }) {
            return;
        }
        let was_up = self.is_up();
        if was_up {
            self.hosts.lost();
        }
        let nodes = self.hosts.named_len();
        let delay = wait.unwrap_or_else(|| self.backoff.ended(ctx.now.mono, nodes, ctx.rng));
        self.failures = self.failures.saturating_add(1);
        let dial_at = self.wanted.then(|| ctx.now.mono.plus_ms(delay));
        self.state = State::Down { dial_at };
        ctx.out.push(LinkOut::Lost { was_up });
    }
}
