//! Commands: checked, carried out by whom they concern, answered once what they changed is durable.

use emptyroom_wire::address::RelayAddress;
use emptyroom_wire::limits::INVITE_LIFE_MAX_MS;
use emptyroom_wire::link::InviteLink;
use emptyroom_wire::time::MINUTE_MS;

use super::{CONVERSATIONS_MAX, Client};
use crate::api::{
    Command, CommandId, LineId, Name, Output, Refused, RelayStatus, Reply, Status, Text,
};
use crate::conversation::{Conversation, Ctx, EXPIRES_MS, NewInvite, NewJoin};
use crate::store::Records;
use crate::store::key::ConversationId;

type Outcome = Result<Reply, Refused>;

impl Client {
    /// Carries a command out. Its reply waits, like everything, until the step is durable.
    pub(super) fn command(&mut self, id: CommandId, command: Command, records: &dyn Records) {
        if matches!(
            command,
            Command::Flush | Command::Send { .. } | Command::Invite { .. } | Command::Join { .. }
        ) {
            self.hurry();
        }
        let outcome = match command {
            Command::Flush => return self.flushes.push(id),
            Command::SetRelay { address } => self.set_relay(&address),
            Command::Invite {
                name,
                expires_in_ms,
            } => self.invite(records, &name, expires_in_ms),
            Command::CancelInvite { name } => self.cancel_invite(records, &name),
            Command::Invites => Ok(Reply::Invites(
                self.conversations
                    .values()
                    .filter_map(Conversation::invite_info)
                    .collect(),
            )),
            Command::Join { link, name } => self.join(records, &link, &name),
            Command::Contacts => Ok(self.contacts()),
            Command::Rename { from, to } => self.rename(records, &from, &to),
            Command::Forget { name } => self.forget(records, &name),
            Command::Status => Ok(Reply::Status(self.status())),
            Command::AlarmsTold { until } => {
                self.alarms.told(until);
                Ok(Reply::Done)
            }
            other => self.in_conversation(records, other),
        };
        self.step.out.push(Output::Reply(id, outcome));
    }

    /// Commands to one conversation.
    fn in_conversation(&mut self, records: &dyn Records, command: Command) -> Outcome {
        match command {
            Command::Send {
                to,
                text,
                burn,
                life,
            } => self.at(records, &to, |conversation, ctx| {
                conversation
                    .send(ctx, &text, burn, life)
                    .map(|id| Reply::Queued { id })
            }),
            Command::Unread { name, limit } => self.unread(records, name.as_ref(), limit),
            Command::Read { name, up_to } => self.at(records, &name, |conversation, ctx| {
                conversation.read(ctx, up_to);
                Ok(Reply::Done)
            }),
            Command::History {
                name,
                before,
                limit,
            } => self.history(records, &name, before, limit),
            Command::Delete { name, id } => self.at(records, &name, |conversation, ctx| {
                let deleted = conversation.delete(ctx, id);
                deleted
                    .map(|may_have_left| Reply::Deleted { may_have_left })
                    .ok_or(Refused::UnknownLine)
            }),
            Command::SetTimer { name, burn } => self.at(records, &name, |conversation, ctx| {
                conversation.set_timer(ctx, burn).map(|()| Reply::Done)
            }),
            Command::SetReceipts {
                name,
                delivered,
                read,
            } => self.at(records, &name, |conversation, _| {
                conversation.set_receipts(delivered, read);
                Ok(Reply::Done)
            }),
            Command::Fingerprint { name } => self.at(records, &name, |conversation, ctx| {
                conversation
                    .fingerprint(ctx)
                    .map(Reply::Fingerprint)
                    .ok_or(Refused::NotJoined)
            }),
            Command::ConfirmVerified { name } => self.at(records, &name, |conversation, _| {
                conversation
                    .confirm_verified()
                    .then_some(Reply::Done)
                    .ok_or(Refused::NotJoined)
            }),
            Command::Block { name, on } => self.at(records, &name, |conversation, _| {
                conversation.block(on);
                Ok(Reply::Done)
            }),
            Command::AllowRestart { name } => self.at(records, &name, |conversation, _| {
                let waited = conversation.allow_restart();
                waited.then_some(Reply::Done).ok_or(Refused::NothingWaits)
            }),
            // The others are answered by the client itself.
            _ => Ok(Reply::Done),
        }
    }

    fn at(
        &mut self,
        records: &dyn Records,
        name: &Name,
        act: impl FnOnce(&mut Conversation, &mut Ctx<'_>) -> Outcome,
    ) -> Outcome {
        let id = self.usable(name)?;
        self.with_conversation(records, id, |conversation, ctx| {
            conversation.expire_lines(ctx);
            let outcome = act(conversation, ctx);
            conversation.drive(ctx);
            outcome
        })
        .unwrap_or(Err(Refused::UnknownName))
    }

    pub(super) fn named(&self, name: &Name) -> Option<ConversationId> {
        let found = self
            .conversations
            .iter()
            .find(|(_, conversation)| conversation.name() == *name);
        found.map(|(id, _)| *id)
    }

    fn set_relay(&mut self, address: &Text) -> Outcome {
        let address = RelayAddress::parse(address.expose())
            .map_err(|fault| Refused::BadAddress(fault.to_string()))?;
        self.global.relay = Some(address.identity);
        self.prefer_relay(address);
        self.step.global_changed = true;
        self.forget_relays();
        Ok(Reply::Done)
    }

    fn new_conversation(&mut self, name: &Name) -> Result<ConversationId, Refused> {
        if self.is_taken(name) {
            return Err(Refused::NameTaken);
        }
        if self.conversations.len() + self.damaged.len() >= CONVERSATIONS_MAX {
            return Err(Refused::TooMany);
        }
        let number = self
            .global
            .conversations_made
            .checked_add(1)
            .ok_or(Refused::TooMany)?;
        self.global.conversations_made = number;
        self.step.global_changed = true;
        Ok(ConversationId(number))
    }

    fn invite(
        &mut self,
        records: &dyn Records,
        name: &Name,
        expires_in_ms: Option<u64>,
    ) -> Outcome {
        let expires_in_ms = expires_in_ms.unwrap_or(EXPIRES_MS);
        // [SPEC 8.40]
        if !(MINUTE_MS..=INVITE_LIFE_MAX_MS).contains(&expires_in_ms) {
            return Err(Refused::BadExpiry);
        }
        let relay = self.global.relay.ok_or(Refused::NoRelay)?;
        let hosts = self
            .relays
            .get(&relay)
            .map(|relay| relay.link.hosts().named())
            .ok_or(Refused::NoRelay)?;
        let id = self.new_conversation(name)?;
        let expires_at = self.clock.now().plus_ms(expires_in_ms);
        let new = NewInvite {
            name,
            hosts: &hosts,
            expires_in_ms,
        };
        let made = self.with_ctx(records, relay, |ctx| Conversation::invite(ctx, id, &new));
        let Some((conversation, link)) = made else {
            return Err(Refused::StorageFailed);
        };
        self.begin(records, conversation);
        Ok(Reply::Invited { link, expires_at })
    }

    fn join(&mut self, records: &dyn Records, link: &Text, name: &Name) -> Outcome {
        let link = InviteLink::parse(link.expose())
            .map_err(|fault| Refused::BadAddress(fault.to_string()))?;
        let own = self
            .conversations
            .values()
            .any(|conversation| conversation.made(&link.capability));
        if own {
            return Err(Refused::OwnLink);
        }
        // [SPEC 8.63]
        if link.expires <= self.clock.device() {
            return Err(Refused::LinkExpired);
        }
        let id = self.new_conversation(name)?;
        self.add_hosts(link.relay, &link.hosts, id);
        let new = NewJoin { name, link: &link };
        let conversation = self.with_ctx(records, link.relay, |ctx| {
            Conversation::take_link(ctx, id, &new)
        });
        self.begin(records, conversation);
        Ok(Reply::Joining)
    }

    fn begin(&mut self, records: &dyn Records, conversation: Conversation) {
        let id = conversation.id();
        self.conversations.insert(id, conversation);
        self.with_conversation(records, id, |conversation, ctx| conversation.drive(ctx));
        self.want_links();
    }

    fn cancel_invite(&mut self, records: &dyn Records, name: &Name) -> Outcome {
        self.at(records, name, |conversation, ctx| {
            conversation
                .cancel_invite(ctx)
                .then_some(Reply::Done)
                .ok_or(Refused::NoOpenInvite)
        })
    }

    fn contacts(&self) -> Reply {
        let contact = |conversation: &Conversation| {
            conversation.contact(self.relay_name(&conversation.relay()))
        };
        let whole = self.conversations.values().map(contact);
        Reply::Contacts(whole.chain(self.damaged_contacts()).collect())
    }

    fn rename(&mut self, records: &dyn Records, from: &Name, to: &Name) -> Outcome {
        if from != to && self.is_taken(to) {
            return Err(Refused::NameTaken);
        }
        self.at(records, from, |conversation, _| {
            conversation.rename(to);
            Ok(Reply::Done)
        })
    }

    fn forget(&mut self, records: &dyn Records, name: &Name) -> Outcome {
        if self.forget_damaged(records, name) {
            self.forget_relays();
            return Ok(Reply::Done);
        }
        let id = self.usable(name)?;
        if let Some(conversation) = self.conversations.remove(&id) {
            self.wakes.remove(&id);
            self.with_ctx(records, conversation.relay(), |ctx| {
                conversation.forget(ctx)
            });
        }
        self.forget_relays();
        Ok(Reply::Done)
    }

    fn unread(&mut self, records: &dyn Records, name: Option<&Name>, limit: usize) -> Outcome {
        let limit = limit.min(Command::LINES_MAX);
        let ids: Vec<ConversationId> = match name {
            Some(name) => vec![self.usable(name)?],
            None => self.conversations.keys().copied().collect(),
        };
        let mut unread = Vec::new();
        for id in ids {
            let left = limit.saturating_sub(unread.len());
            let lines = self.with_conversation(records, id, |conversation, ctx| {
                conversation.expire_lines(ctx);
                let name = conversation.name();
                let lines = conversation.unread(&ctx.store, left);
                conversation.drive(ctx);
                lines
                    .into_iter()
                    .map(|line| (name.clone(), line))
                    .collect::<Vec<_>>()
            });
            unread.extend(lines.unwrap_or_default());
            if unread.len() >= limit {
                break;
            }
        }
        Ok(Reply::Unread(unread))
    }

    fn history(
        &mut self,
        records: &dyn Records,
        name: &Name,
        before: Option<LineId>,
        limit: usize,
    ) -> Outcome {
        let limit = limit.min(Command::LINES_MAX);
        self.at(records, name, |conversation, ctx| {
            Ok(Reply::History(
                conversation.history_lines(&ctx.store, before, limit),
            ))
        })
    }

    fn status(&self) -> Status {
        let orders = |relay| {
            let orders = self.destroys.values();
            orders.filter(|order| order.relay == relay).count()
        };
        let relays = self.relays.iter().map(|(identity, relay)| RelayStatus {
            relay: relay.link.name(),
            up: relay.link.is_up(),
            orders_waiting: orders(*identity),
            update_needed: relay.link.needs_update(),
            trouble: relay.link.trouble(),
        });
        let waits = |conversation: &&Conversation| conversation.restart_waits_for_user();
        Status {
            relay: self.global.relay.map(|relay| self.relay_name(&relay)),
            relays: relays.collect(),
            conversations: self.conversations.len() + self.damaged.len(),
            waiting: self.waiting(),
            restarts_waiting: self
                .conversations
                .values()
                .filter(waits)
                .map(Conversation::name)
                .collect(),
            damaged: self
                .damaged
                .values()
                .map(|damaged| (damaged.name.clone(), damaged.why))
                .collect(),
            clock_ahead_ms: self.clock.ahead_ms(),
            alarms: self.alarms(),
        }
    }

    fn waiting(&self) -> usize {
        self.conversations.values().map(Conversation::waiting).sum()
    }

    /// A user waits: links are dialled at once.
    fn hurry(&mut self) {
        let now = self.clock.mono();
        for relay in self.relays.values_mut() {
            relay.link.hurry(now);
        }
    }

    /// Answers every flush for which nothing is left to be done, or nobody can be reached.
    pub(super) fn answer_flushes(&mut self) {
        if self.flushes.is_empty() {
            return;
        }
        let now = self.clock.mono();
        let unreachable =
            |relay: &super::Relay| relay.link.unreachable() || relay.link.needs_update();
        let settled = self.conversations.values().all(|conversation| {
            conversation.is_settled(now)
                || self
                    .relays
                    .get(&conversation.relay())
                    .is_none_or(unreachable)
        });
        let destroyed = self.destroys.values().all(|destroy| {
            destroy.retry_at.is_some_and(|at| at > now)
                || self.relays.get(&destroy.relay).is_none_or(unreachable)
        });
        if !settled || !destroyed {
            return;
        }
        let away = self.relays.values().filter(|relay| unreachable(relay));
        let reply = Reply::Flushed {
            waiting: self.waiting(),
            unreachable: away.map(|relay| relay.link.name()).collect(),
        };
        for id in std::mem::take(&mut self.flushes) {
            self.step.out.push(Output::Reply(id, Ok(reply.clone())));
        }
    }
}
