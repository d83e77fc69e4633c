//! One conversation: every decision about its logs, its group and its lines.
//!
//! The state is stored in one record, small parts of it change with every step. What a conversation *wants* is never
//! stored: after each input [`Conversation::drive`] looks at the state and at what the link has, and asks for what is
//! missing. So a crash, a lost link or a lost answer all lead to the same place: look again, ask again.
//!
//! Each file beside this one knows one thing: how a log is judged ([`track`]), how it is read ([`reading`]), how one sends
//! ([`sending`]), how an invite is made ([`inviting`]) and a group is entered ([`joining`]), how it is brought back
//! ([`recovery`], [`restarting`]), what receipts say ([`receipts`]), when lines end ([`timers`]).

mod channel;
mod claims;
mod copies;
mod group;
mod hashes;
mod inviting;
mod joining;
mod lines;
mod live;
mod orders;
mod origin;
mod queue;
mod reading;
mod receipts;
mod recovery;
mod restarting;
mod sending;
mod shown;
mod stage;
mod state;
mod talk;
mod telling;
mod timers;
mod track;
mod user;

use emptyroom_wire::log_keys::{self, LogAccess};
use emptyroom_wire::op::{Answer, Push, Refusal, RefusalCode};
use emptyroom_wire::relay_key::IdentityHash;
use emptyroom_wire::rng::CryptoRng;
use emptyroom_wire::time::Mono;

use crate::account::{AccountRoot, OwnKeys};
use crate::api::{Event, InviteFault, Name, RestartReason, Settings};
use crate::clock::Clock;
use crate::link::{Op, Role, Route};
use crate::mls::Group;
use crate::records::{self, RecordFault};
use crate::store::key::ConversationId;
use crate::store::{Store, Value};

use channel::Channel;
pub(crate) use channel::Port;
pub(crate) use inviting::{EXPIRES_MS, NewInvite};
pub(crate) use joining::NewJoin;
use live::{Live, Unsaved};
pub(crate) use orders::{Order, OrderedLog};
use origin::Origin;
use shown::Shown;
use stage::Staged;
pub(crate) use state::name_in;
use state::{MainLog, Phase, State};

/// Version of the state record.
const VERSION: u16 = 1;
/// How often a conversation can move on in one step: trouble, restart, its log.
const MOVES_PER_STEP: usize = 4;

/// What a step of a conversation may use.
pub(crate) struct Ctx<'a> {
    pub(crate) clock: &'a Clock,
    pub(crate) rng: &'a mut dyn CryptoRng,
    pub(crate) store: Store<'a>,
    pub(crate) port: Port<'a>,
    pub(crate) root: &'a AccountRoot,
    pub(crate) settings: &'a Settings,
    pub(crate) events: &'a mut Vec<Event>,
    /// Orders to destroy a log, to be kept until the relay confirms.
    pub(crate) destroys: &'a mut Vec<Order>,
}

/// One conversation.
pub(crate) struct Conversation {
    id: ConversationId,
    state: State,
    stage: Option<Staged>,
    restart_stage: Option<Staged>,
    shown: Shown,
    live: Live,
}

impl Conversation {
    fn assemble(id: ConversationId, state: State) -> Self {
        Self {
            id,
            state,
            stage: None,
            restart_stage: None,
            shown: Shown::default(),
            live: Live::new(id),
        }
    }

    /// The conversation whose state record this is.
    ///
    /// # Errors
    /// A record of it is damaged or from a later version. Where its state could be read, what the relay is to destroy comes along.
    // [SPEC 8.67]
    pub(crate) fn load(
        id: ConversationId,
        record: &[u8],
        store: &Store<'_>,
    ) -> Result<Self, Unusable> {
        let state: State = records::decode(VERSION, record)?;
        let mut conversation = Self::assemble(id, state);
        conversation.live.saved = Value::new(record.to_vec());
        match conversation.load_parts(store) {
            Ok(()) => Ok(conversation),
            Err(fault) => Err(Unusable {
                fault,
                left: Some(conversation.left_at_relay(store)),
            }),
        }
    }

    fn load_parts(&mut self, store: &Store<'_>) -> Result<(), RecordFault> {
        let id = self.id;
        let staged = |key: Vec<u8>| store.get(&key).map(|record| Staged::read(&record));
        self.stage = staged(id.stage()).transpose()?;
        self.restart_stage = staged(id.restart_stage()).transpose()?;
        self.live.origin = Origin::load(store, id)?;
        self.check_keys(store)?;
        self.shown = Shown::load(store, id);
        self.live.staged_line_gone = self.staged_line_is_gone(store);
        self.live.group_missing = store.get(&id.group()).is_none();
        self.derive_access();
        Ok(())
    }

    fn left_at_relay(&self, store: &Store<'_>) -> LeftAtRelay {
        let relay = self.relay();
        LeftAtRelay {
            relay,
            orders: self.destroy_orders(&relay),
            is_all: self.stage.is_some() || store.get(&self.id.stage()).is_none(),
        }
    }

    /// Its keys must be whole. A group need not be, as a restart makes another (10.1); but not over one of a later version.
    fn check_keys(&self, store: &Store<'_>) -> Result<(), RecordFault> {
        match store.get(&self.id.own_keys()) {
            Some(record) => OwnKeys::check(&record)?,
            None if self.has_failed() => {}
            None => return Err(RecordFault::Malformed),
        }
        let groups = [self.id.group(), self.id.message_keys(), self.id.candidate()];
        let mut groups = groups.iter().filter_map(|key| store.get(key));
        groups.try_for_each(|record| Group::check_version(&record))
    }

    /// Ends a step: what changed becomes part of its transaction.
    pub(crate) fn save(&mut self, store: &mut Store<'_>) {
        let record = Value::new(records::encode(VERSION, &self.state));
        if record != self.live.saved {
            self.live.saved.clone_from(&record);
            store.put(self.id.head(), record);
        }
        let unsaved = std::mem::replace(&mut self.live.unsaved, Unsaved::Nothing);
        match (&self.live.group, unsaved) {
            (Some(group), Unsaved::Whole) => store.put(self.id.group(), group.snapshot()),
            (Some(group), Unsaved::Keys) => store.put(self.id.message_keys(), group.message_keys()),
            _ => {}
        }
    }

    pub(crate) fn id(&self) -> ConversationId {
        self.id
    }

    pub(crate) fn name(&self) -> Name {
        let text = self.state.profile.name.text();
        Name::parse(text.expose()).unwrap_or_else(|_| Name::unnamed())
    }

    pub(crate) fn relay(&self) -> IdentityHash {
        self.state.profile.relay
    }

    /// It is the maker of the log that a link names.
    pub(crate) fn made(&self, capability: &emptyroom_wire::log::Capability) -> bool {
        let access = self
            .live
            .access
            .as_ref()
            .filter(|_| self.state.phase == Phase::Invited);
        access.is_some_and(|access| access.capability == *capability)
    }

    /// Its logs.
    pub(crate) fn logs(&self) -> Logs<'_> {
        let main = self.state.main.as_ref();
        let recovery = self.state.recovery.as_ref();
        Logs {
            main: main.map(|main| &main.key),
            point: main.map(MainLog::point),
            recovery: recovery.map(|recovery| &recovery.secret.0),
        }
    }

    /// It never stood and never will.
    pub(crate) fn has_failed(&self) -> bool {
        self.state.phase.failed()
    }

    /// Nobody is to be reached by it.
    pub(crate) fn is_gone(&self) -> bool {
        self.has_failed() || self.state.profile.blocked.0
    }

    /// It has something to do at its relay, now or later.
    pub(crate) fn needs_relay(&self) -> bool {
        !self.state.profile.blocked.0 && !self.state.phase.failed()
    }

    /// The link to the relay stands: everything is asked anew.
    pub(crate) fn link_up(&mut self, ctx: &mut Ctx<'_>) {
        self.link_lost();
        self.drive(ctx);
    }

    /// The link was lost.
    pub(crate) fn link_lost(&mut self) {
        self.live.main.lost();
        self.live.recovery.lost();
        self.live.former.lost();
        if self.state.phase == Phase::Invited {
            self.live.main.claimed(None);
        }
        self.live.creating = false;
        self.live.read_first = 0;
        self.live.read_first_by = None;
        self.live.join_repeated = false;
        self.live.recovery_made = false;
        self.live.told.clear();
    }

    /// Looks at everything and asks for what is missing.
    pub(crate) fn drive(&mut self, ctx: &mut Ctx<'_>) {
        self.expire_lines(ctx);
        self.check_stage(ctx);
        if self.state.profile.blocked.0 {
            self.live.main.leave(&mut ctx.port);
            self.live.recovery.leave(&mut ctx.port);
            self.live.former.leave(&mut ctx.port);
            return;
        }
        self.check_group(ctx);
        self.drive_origin(ctx);
        for _ in 0..MOVES_PER_STEP {
            self.live.moved = false;
            self.drive_logs(ctx);
            if !self.live.moved {
                return;
            }
        }
    }

    fn drive_logs(&mut self, ctx: &mut Ctx<'_>) {
        self.check_relay_in_time(ctx);
        match self.state.phase {
            Phase::Invited => self.drive_invite(ctx),
            Phase::InviteFailed(_) | Phase::JoinFailed(_) => self.live.main.leave(&mut ctx.port),
            Phase::Taking | Phase::Entering => self.drive_joining(ctx),
            Phase::Member => self.drive_member(ctx),
            Phase::Alone => self.drive_alone(ctx),
            Phase::Trouble(_) => {}
        }
        self.drive_recovery(ctx);
        self.drive_former(ctx);
    }

    /// A device that lost its group notices before anybody writes to it.
    // [SPEC 10.1]
    fn check_group(&mut self, ctx: &mut Ctx<'_>) {
        if !std::mem::take(&mut self.live.group_missing) {
            return;
        }
        match self.state.phase {
            Phase::Member | Phase::Alone => self.trouble(ctx, RestartReason::StateLost),
            Phase::Invited => self.fail_invite(ctx, InviteFault::Lost),
            _ => {}
        }
    }

    /// An answer came.
    pub(crate) fn answer(&mut self, ctx: &mut Ctx<'_>, route: &Route, op: Op, answer: &Answer) {
        let channel = self.channel(route.role);
        if !channel.is_current(route) {
            self.leave_stray(ctx, op, answer);
            return;
        }
        match (route.role, op) {
            (Role::Main, Op::Create) => self.created(ctx, answer),
            (Role::Main, Op::Open) => self.main_opened(ctx, answer),
            (Role::Main, Op::Append) => self.main_appended(ctx, answer),
            (Role::Main, Op::Trim(up_to)) => self.trimmed(up_to, answer),
            (Role::Main, Op::Renew) => self.live.main.renewed(),
            (Role::Recovery, Op::Open) => self.recovery_opened(ctx, answer),
            (Role::Recovery, Op::Append) => self.recovery_appended(ctx, answer),
            (Role::Recovery, Op::Renew) => self.live.recovery.renewed(),
            (Role::Former, Op::Open) => self.former_opened(ctx, answer),
            (Role::Former, Op::Append) => self.former_appended(ctx, answer),
            _ => {}
        }
        self.drive(ctx);
    }

    /// A push came.
    pub(crate) fn push(&mut self, ctx: &mut Ctx<'_>, route: &Route, push: &Push) {
        if !self.channel(route.role).is_current(route) {
            return;
        }
        match (route.role, push) {
            (_, Push::Cast(_)) | (Role::Former, _) => {}
            (Role::Main, Push::Entry(entry)) => self.main_entry(ctx, entry),
            (Role::Main, Push::CaughtUp(next_seq)) => self.main_caught_up(ctx, *next_seq),
            (Role::Main, Push::Gone(refusal)) => {
                self.live.main.gone();
                self.main_refused(ctx, *refusal);
            }
            (Role::Recovery, Push::Entry(entry)) => self.recovery_entry(ctx, entry),
            (Role::Recovery, Push::CaughtUp(next_seq)) => self.recovery_caught_up(ctx, *next_seq),
            (Role::Recovery, Push::Gone(refusal)) => {
                self.live.recovery.gone();
                self.recovery_refused(ctx, *refusal);
            }
        }
        self.drive(ctx);
    }

    /// When something is due without an input.
    pub(crate) fn wake_at(&mut self, clock: &Clock, store: &Store<'_>) -> Option<Mono> {
        let live = [
            self.live.main.retry_at(),
            self.live.recovery.retry_at(),
            self.live.former.retry_at(),
            self.live.read_first_by,
        ];
        let live = live.into_iter().flatten().filter(|at| *at > clock.mono());
        // What was due before was done, or waits for something else than time.
        let stored = self
            .due_times(store)
            .into_iter()
            .filter(|at| *at > clock.now());
        let stored = stored.map(|at| clock.mono_at(at));
        live.chain(stored).min()
    }

    fn channel(&self, role: Role) -> &Channel {
        match role {
            Role::Main => &self.live.main,
            Role::Recovery => &self.live.recovery,
            Role::Former => &self.live.former,
        }
    }

    fn channel_mut(&mut self, role: Role) -> &mut Channel {
        match role {
            Role::Main => &mut self.live.main,
            Role::Recovery => &mut self.live.recovery,
            Role::Former => &mut self.live.former,
        }
    }

    /// A log was opened for a use that is over: its handle is given back.
    fn leave_stray(&mut self, ctx: &mut Ctx<'_>, op: Op, answer: &Answer) {
        let mut stray = Channel::new(self.id, Role::Former);
        if op == Op::Open && stray.opened(answer).is_ok() {
            stray.leave(&mut ctx.port);
        }
    }

    fn derive_access(&mut self) {
        self.live.access = self.state.main.as_ref().map(|main| main.key.access());
        let recovery = self.state.recovery.as_ref();
        self.live.recovery_access =
            recovery.map(|recovery| log_keys::recovery(&recovery.secret.0).1);
    }

    /// Moves into another log.
    fn set_main(&mut self, ctx: &mut Ctx<'_>, main: MainLog) {
        hashes::clear(&mut ctx.store, self.id);
        copies::clear(&mut ctx.store, self.id);
        self.live.copies = None;
        self.live.main.leave(&mut ctx.port);
        self.live.main.succeeded();
        self.live.access = Some(main.key.access());
        self.live.genesis = None;
        self.live.probing = false;
        self.live.full = false;
        self.live.read_first = 0;
        self.live.read_first_by = None;
        self.live.moved = true;
        self.state.main = Some(main);
        // Keys of a log that was left go with it; only a restart keeps them, for one hint.
        if let Some(recovery) = &mut self.state.recovery {
            recovery.former = None;
        }
    }

    fn refusal_waits(&mut self, ctx: &Ctx<'_>, role: Role, refusal: Refusal) {
        let now = ctx.clock.mono();
        self.channel_mut(role).wait(now, refusal.retry_after_s);
    }
}

/// A conversation that cannot be used.
pub(crate) struct Unusable {
    pub(crate) fault: RecordFault,
    /// If its state could be read.
    pub(crate) left: Option<LeftAtRelay>,
}

impl From<RecordFault> for Unusable {
    fn from(fault: RecordFault) -> Self {
        Self { fault, left: None }
    }
}

/// What a conversation has at its relay, and how to have it destroyed.
pub(crate) struct LeftAtRelay {
    pub(crate) relay: IdentityHash,
    pub(crate) orders: Vec<Order>,
    /// Nothing else is there: what it was about to append, which may have made a log, could be read.
    pub(crate) is_all: bool,
}

/// The logs of a conversation, as its state has them.
pub(crate) struct Logs<'a> {
    pub(crate) main: Option<&'a state::LogKey>,
    pub(crate) point: Option<crate::position::LogPoint>,
    pub(crate) recovery: Option<&'a emptyroom_wire::secret::Secret32>,
}

/// Capability and keys of a log.
pub(crate) fn access(key: &state::LogKey) -> LogAccess {
    key.access()
}

/// The log is not there: asking again changes nothing.
fn is_gone(code: RefusalCode) -> bool {
    matches!(code, RefusalCode::Unknown | RefusalCode::Destroyed)
}
