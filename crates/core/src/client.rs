//! One account on one device: routes inputs to links and conversations, and their outputs out.
//!
//! One input is one step, one step is one transaction: whatever links and conversations change leaves in one
//! [`Output::Persist`], and everything else that the step gives waits until that is durable. So there is no moment at which
//! the world has seen something that this device could forget.

mod alarms;
mod commands;
mod damaged;
mod loading;
mod outputs;
mod relays;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use emptyroom_wire::relay_key::IdentityHash;
use emptyroom_wire::rng::CryptoRng;
use emptyroom_wire::time::{Mono, Now, Wall};
use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};

use crate::account::AccountRoot;
use crate::api::{CommandId, Event, Input, LinkId, Output, RelayTrouble, Settings, Ticket};
use crate::clock::{Clock, Mark};
use crate::conversation::{Conversation, Ctx, Port};
use crate::link::{LinkCtx, LinkOut, Tag};
use crate::records;
use crate::store::key::{self, ConversationId};
use crate::store::{Overlay, Records, Value};
use alarms::Alarms;
use damaged::{Damaged, Found};
pub use loading::LoadError;
use outputs::Outputs;
use relays::{PendingDestroy, Relay};

const VERSION: u16 = 1;

/// A client. One input, drain every output, next input.
pub struct Client {
    rng: Box<dyn CryptoRng + Send>,
    settings: Settings,
    clock: Clock,
    overlay: Overlay,
    outputs: Outputs,
    root: AccountRoot,
    global: Global,
    relays: BTreeMap<IdentityHash, Relay>,
    conversations: BTreeMap<ConversationId, Conversation>,
    /// Those that cannot be read.
    damaged: BTreeMap<ConversationId, Damaged>,
    destroys: BTreeMap<u64, PendingDestroy>,
    alarms: Alarms,
    wakes: BTreeMap<ConversationId, Mono>,
    flushes: Vec<CommandId>,
    next_link: u64,
    stopped: bool,
    step: Step,
}

/// What one step gathers.
#[derive(Default)]
struct Step {
    events: Vec<Event>,
    /// What relays did outside of any conversation, to be kept as alarms.
    troubles: Vec<(IdentityHash, RelayTrouble)>,
    out: Vec<Output>,
    links: VecDeque<(IdentityHash, LinkOut)>,
    relays_changed: BTreeSet<IdentityHash>,
    destroys_changed: BTreeSet<u64>,
    global_changed: bool,
}

/// What holds for the whole client.
#[derive(Clone, Default, TlsSize, TlsSerialize, TlsDeserializeBytes)]
struct Global {
    relay: Option<IdentityHash>,
    conversations_made: u32,
    destroys_made: u64,
    clock_mark_ms: u64,
}

impl Global {
    /// No number is given a second time, also if this record was lost: what bears it would be written over.
    // [SPEC 8.67]
    fn count(&mut self, found: &Found, destroys: &BTreeMap<u64, PendingDestroy>) {
        let ids = found.whole.keys().chain(found.damaged.keys());
        let highest = ids.map(|id| id.0).max().unwrap_or(0);
        self.conversations_made = self.conversations_made.max(highest);
        let ordered = destroys.keys().last().copied().unwrap_or(0);
        self.destroys_made = self.destroys_made.max(ordered);
    }
}

impl Client {
    /// A client over what was stored; over no records at all a fresh account, whose first
    /// [`Output::Persist`] holds its root.
    ///
    /// # Errors
    /// The records come from a later version, or are damaged.
    pub fn load(
        now: Now,
        mut rng: Box<dyn CryptoRng + Send>,
        records: &dyn Records,
        settings: Settings,
    ) -> Result<Self, LoadError> {
        let mut overlay = Overlay::default();
        let mut store = overlay.over(records);
        let mut global: Global = match store.get(key::SETTINGS) {
            Some(record) => records::decode(VERSION, &record)?,
            None => Global::default(),
        };
        let reached = Wall(global.clock_mark_ms);
        let device = match store.get(key::DEVICE_CLOCK) {
            Some(record) => Wall(records::decode(VERSION, &record)?),
            None => reached,
        };
        let root = loading::root(&mut store, &mut *rng)?;
        let found = Found::load(&store)?;
        let relays = relays::load(&store)?;
        let destroys = relays::load_destroys(&store)?;
        global.count(&found, &destroys);
        let alarms = Alarms::load(&store)?;
        let mut client = Self {
            rng,
            settings,
            clock: Clock::start(now, Mark { reached, device }),
            overlay,
            outputs: Outputs::default(),
            root,
            global,
            relays,
            wakes: found.whole.keys().map(|id| (*id, now.mono)).collect(),
            conversations: found.whole,
            damaged: found.damaged,
            destroys,
            alarms,
            flushes: Vec::new(),
            next_link: 0,
            stopped: false,
            step: Step::default(),
        };
        client.forget_relays();
        client.tick(records);
        client.finish(records);
        Ok(client)
    }

    /// Takes one input. Outputs come from [`Client::poll`].
    pub fn handle(&mut self, now: Now, input: Input, records: &dyn Records) {
        self.clock.advance(now);
        if self.stopped {
            if let Input::Command(id, _) = input {
                self.outputs.refuse(id);
            }
            return;
        }
        match input {
            Input::Command(id, command) => self.command(id, command, records),
            Input::LinkUp(link, spki_hash) => {
                self.with_carrier(link, |relay, ctx| relay.link.carrier_up(spki_hash, ctx));
            }
            Input::Frame(link, frame) => {
                self.with_carrier(link, |relay, ctx| relay.link.frame(&frame, ctx))
            }
            Input::LinkDown(link) => {
                self.with_carrier(link, |relay, ctx| relay.link.carrier_down(ctx))
            }
            Input::Persisted(ticket) => {
                self.overlay.durable(ticket);
                self.outputs.durable(ticket);
                return;
            }
            Input::PersistFailed(_) => return self.stop(),
            Input::Tick => {}
        }
        self.tick(records);
        self.finish(records);
    }

    /// The next output to carry out.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.poll()
    }

    /// The relays that are connected now, as events name them. Their events may still wait for what is to be stored.
    pub fn relays_up(&self) -> impl Iterator<Item = String> {
        let up = self.relays.values().filter(|relay| relay.link.is_up());
        up.map(|relay| relay.link.name())
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn wake_at(&self) -> Option<Mono> {
        if self.stopped {
            return None;
        }
        let links = self
            .relays
            .values()
            .filter_map(|relay| relay.link.wake_at());
        let destroys = self
            .destroys
            .values()
            .filter_map(|destroy| destroy.retry_at);
        let damaged = self.damaged_end_at().map(|at| self.clock.mono_at(at));
        links
            .chain(damaged)
            .chain(self.wakes.values().copied())
            .chain(destroys)
            .min()
    }

    /// Does what is due by now.
    fn tick(&mut self, records: &dyn Records) {
        let now = self.clock.mono();
        self.expire_damaged(records);
        self.carry(records);
        let due: Vec<ConversationId> = self
            .wakes
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.with_conversation(records, id, |conversation, ctx| conversation.drive(ctx));
        }
        self.drive_destroys();
        self.want_links();
        self.carry(records);
    }

    /// Takes what links gave until nothing is left: each answer may lead to requests.
    fn carry(&mut self, records: &dyn Records) {
        while let Some((relay, out)) = self.step.links.pop_front() {
            match out {
                LinkOut::Dial(id, endpoint) => self.step.out.push(Output::Dial(id, endpoint)),
                LinkOut::Frame(id, frame) => self.step.out.push(Output::Frame(id, frame)),
                LinkOut::Hangup(id) => self.step.out.push(Output::Hangup(id)),
                LinkOut::Up => self.link_changed(records, relay, true),
                LinkOut::Lost { was_up } => {
                    if was_up {
                        self.link_changed(records, relay, false);
                    }
                }
                LinkOut::Answer(Tag::Conversation(route, op), answer) => {
                    self.with_conversation(records, route.conversation, |conversation, ctx| {
                        conversation.answer(ctx, &route, op, &answer);
                    });
                }
                LinkOut::Answer(Tag::Destroy(number), answer) => self.destroyed(number, &answer),
                LinkOut::Answer(Tag::Link(_), _) => {}
                LinkOut::Push(route, push) => {
                    self.with_conversation(records, route.conversation, |conversation, ctx| {
                        conversation.push(ctx, &route, &push);
                    });
                }
                LinkOut::Trouble(kind) => self.relay_event(relay, kind),
                LinkOut::UpdateNeeded => {
                    let relay = self.relay_name(&relay);
                    self.step.events.push(Event::UpdateNeeded { relay });
                }
                LinkOut::ChainChanged => {
                    self.step.relays_changed.insert(relay);
                }
            }
        }
    }

    fn link_changed(&mut self, records: &dyn Records, relay: IdentityHash, up: bool) {
        if !self.relays.contains_key(&relay) {
            // It was forgotten, and its link ended with that.
            return;
        }
        let name = self.relay_name(&relay);
        self.step.events.push(Event::Connection { relay: name, up });
        let here: Vec<ConversationId> = self
            .conversations
            .iter()
            .filter(|(_, conversation)| conversation.relay() == relay)
            .map(|(id, _)| *id)
            .collect();
        for id in here {
            self.with_conversation(records, id, |conversation, ctx| {
                if up {
                    conversation.link_up(ctx);
                } else {
                    conversation.link_lost();
                }
            });
        }
        for destroy in self
            .destroys
            .values_mut()
            .filter(|destroy| destroy.relay == relay)
        {
            destroy.under_way = false;
            destroy.retry_at = None;
        }
    }

    fn relay_event(&mut self, relay: IdentityHash, kind: RelayTrouble) {
        self.step.troubles.push((relay, kind));
        let relay = self.relay_name(&relay);
        self.step.events.push(Event::RelayTrouble {
            relay,
            conversation: None,
            kind,
        });
    }

    /// Lets a conversation act; its requests go out over its link.
    fn with_conversation<R>(
        &mut self,
        records: &dyn Records,
        id: ConversationId,
        act: impl FnOnce(&mut Conversation, &mut Ctx<'_>) -> R,
    ) -> Option<R> {
        let mut conversation = self.conversations.remove(&id)?;
        let result = self.with_ctx(records, conversation.relay(), |ctx| {
            let result = act(&mut conversation, ctx);
            conversation.save(&mut ctx.store);
            let wake = conversation.wake_at(ctx.clock, &ctx.store);
            (result, wake)
        });
        let (result, wake) = result;
        match wake {
            Some(at) => self.wakes.insert(id, at),
            None => self.wakes.remove(&id),
        };
        self.conversations.insert(id, conversation);
        Some(result)
    }

    /// Makes what a conversation at this relay needs, and takes what it wants done.
    fn with_ctx<R>(
        &mut self,
        records: &dyn Records,
        relay: IdentityHash,
        act: impl FnOnce(&mut Ctx<'_>) -> R,
    ) -> R {
        let mut requests = Vec::new();
        let mut claims = Vec::new();
        let mut troubles = Vec::new();
        let mut destroys = Vec::new();
        let known = self.relays.get_mut(&relay);
        let link = known.map(|known| (known.code.clone(), &mut known.link));
        let (code, link) = link.map_or((None, None), |(code, link)| (code, Some(link)));
        let port = Port {
            up: link.as_ref().is_some_and(|link| link.is_up()),
            relay,
            relay_name: link.as_ref().map(|link| link.name()).unwrap_or_default(),
            code,
            key_head: link.as_ref().and_then(|link| link.chain().head()),
            binding: link
                .and_then(|link| link.session())
                .map(|session| session.binding()),
            requests: &mut requests,
            claims: &mut claims,
            troubles: &mut troubles,
        };
        let mut ctx = Ctx {
            clock: &self.clock,
            rng: &mut *self.rng,
            store: self.overlay.over(records),
            port,
            root: &self.root,
            settings: &self.settings,
            events: &mut self.step.events,
            destroys: &mut destroys,
        };
        let result = act(&mut ctx);
        let mut out = Vec::new();
        if let Some(known) = self.relays.get_mut(&relay) {
            for (tag, request) in requests {
                known
                    .link
                    .request(self.clock.mono(), tag, request, &mut out);
            }
            if let Some(kind) = troubles.pop() {
                known.link.note_trouble(kind);
            }
            for claim in claims {
                known.link.claim(claim, &mut out);
            }
        }
        self.step
            .links
            .extend(out.into_iter().map(|out| (relay, out)));
        for order in destroys {
            self.keep_destroy(relay, order);
        }
        result
    }

    fn with_carrier(&mut self, carrier: LinkId, act: impl FnOnce(&mut Relay, &mut LinkCtx<'_>)) {
        let relay = self
            .relays
            .iter()
            .find(|(_, relay)| relay.link.carrier() == Some(carrier));
        if let Some(relay) = relay.map(|(relay, _)| *relay) {
            self.with_link(relay, act);
        }
    }

    fn with_link(&mut self, relay: IdentityHash, act: impl FnOnce(&mut Relay, &mut LinkCtx<'_>)) {
        let mut out = Vec::new();
        if let Some(known) = self.relays.get_mut(&relay) {
            let mut ctx = LinkCtx {
                now: Now {
                    wall: self.clock.now(),
                    mono: self.clock.mono(),
                },
                today: self.clock.now().day(),
                rng: &mut *self.rng,
                next_link: &mut self.next_link,
                out: &mut out,
            };
            act(known, &mut ctx);
        }
        self.step
            .links
            .extend(out.into_iter().map(|out| (relay, out)));
    }

    /// Ends the step: one transaction, and everything else behind it.
    // [SPEC 8.49]
    fn finish(&mut self, records: &dyn Records) {
        self.answer_flushes();
        self.keep_alarms();
        let mark = self.clock.mark_due();
        let relays = std::mem::take(&mut self.step.relays_changed);
        let mut store = self.overlay.over(records);
        if let Some(mark) = mark {
            self.global.clock_mark_ms = mark.reached.0;
            // The mark travels with what is stored anyway; alone it is worth a write only while timers may run.
            self.step.global_changed = true;
            let device = Value::new(records::encode(VERSION, &mark.device.0));
            store.put(key::DEVICE_CLOCK.to_vec(), device);
        }
        for identity in relays {
            match self.relays.get_mut(&identity).map(Relay::unsaved) {
                Some(Some(record)) => store.put(key::relay(&identity), record),
                Some(None) => {}
                None => store.delete(&key::relay(&identity)),
            }
        }
        let changed = std::mem::take(&mut self.step.destroys_changed);
        Self::save_destroys(changed, &self.destroys, &mut store);
        if let Some(record) = self.alarms.unsaved() {
            store.put(key::ALARMS.to_vec(), record);
        }
        if std::mem::take(&mut self.step.global_changed) {
            let record = records::encode(VERSION, &self.global);
            store.put(key::SETTINGS.to_vec(), Value::new(record));
        }
        if let Some((ticket, changes)) = self.overlay.finish() {
            self.outputs.persist(ticket, changes);
        }
        let needed: Ticket = self.overlay.last_ticket();
        let events = std::mem::take(&mut self.step.events)
            .into_iter()
            .map(Output::Event);
        let out = std::mem::take(&mut self.step.out);
        for output in out.into_iter().chain(events) {
            self.outputs.push(needed, output);
        }
    }

    /// Records cannot be written: nothing that waited leaves, and nothing else happens.
    fn stop(&mut self) {
        self.stopped = true;
        let carriers = self
            .relays
            .values()
            .filter_map(|relay| relay.link.carrier())
            .collect();
        self.outputs.stop(carriers);
    }

    fn relay_name(&self, relay: &IdentityHash) -> String {
        self.relays
            .get(relay)
            .map(|relay| relay.link.name())
            .unwrap_or_default()
    }
}

/// Conversations on one device.
const CONVERSATIONS_MAX: usize = 1_000;
