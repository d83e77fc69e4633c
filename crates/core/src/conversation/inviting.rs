//! Inviting: a conversation with one member, and a link that one other can take.
//!
//! The inviter makes a group and its log 0 and waits there. The first valid join he reads is final; anything else in that
//! log is not his concern, unless it closes it.

use emptyroom_wire::address::Host;
use emptyroom_wire::entry::{self, Ttl};
use emptyroom_wire::link::{InviteBinding, InviteLink};
use emptyroom_wire::log_keys::{self, LogAccess};
use emptyroom_wire::op::{Answer, Create, Destroy, EntryPush, NewLog, RefusalCode, Request};
use emptyroom_wire::proof;
use emptyroom_wire::relay_key::IdentityHash;
use emptyroom_wire::rng;
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::sign::SignKey;
use emptyroom_wire::time::{DAY_MS, Wall};

use super::claims::Claim;
use super::lines::LineContent;
use super::live::Unsaved;
use super::orders::{Order, OrderedLog};
use super::origin::{Invite, Origin};
use super::stage::Staged;
use super::state::{LogKey, MainLog, Phase, Recovery, SecretPair, State};
use super::{Conversation, Ctx};
use crate::account::OwnKeys;
use crate::api::{Event, InviteFault, InviteInfo, InviteState, Name, RestartReason, Text};
use crate::genesis::{Binding, Genesis};
use crate::kind;
use crate::link::{Op, Role, Tag, below};
use crate::mls::{Admission, Group, Processed, Slot, Staged as StagedCommit};
use crate::position::Position;
use crate::store::key::ConversationId;
use crate::store::value::{Flag, StoredSecret, StoredText};

/// A link works this long unless said.
// [SPEC 8.40]
pub(crate) const EXPIRES_MS: u64 = 7 * DAY_MS;

/// What an invite is made from.
pub(crate) struct NewInvite<'a> {
    pub(crate) name: &'a Name,
    pub(crate) hosts: &'a [Host],
    pub(crate) expires_in_ms: u64,
}

impl Conversation {
    /// Makes a conversation with one member, and its link. Nothing only if the program has a bug.
    // [SPEC 8.40]
    pub(crate) fn invite(
        ctx: &mut Ctx<'_>,
        id: ConversationId,
        new: &NewInvite<'_>,
    ) -> Option<(Self, Text)> {
        let now = ctx.clock.now();
        let expires = now.plus_ms(new.expires_in_ms);
        let own = OwnKeys::generate(ctx.root, now.day(), ctx.rng);
        let group = Group::create(&own, ctx.rng).ok()?;
        let genesis = Genesis {
            group_info: group.group_info(&own).ok()?,
        };
        let secret: Secret32 = rng::secret(ctx.rng);
        let owner: Secret32 = rng::secret(ctx.rng);
        let (header, access) = log_keys::invite(&secret, SignKey::from_seed(&owner));
        let content = (kind::GENESIS, genesis.encode());
        let first = (content.0, content.1.as_slice());
        let first = Staged::first(
            &access.outer,
            access.log_id,
            life(new.expires_in_ms),
            first,
            ctx.rng,
        )?;
        let link = InviteLink {
            hosts: new.hosts.to_vec(),
            relay: ctx.port.relay,
            capability: access.capability.clone(),
            secret: secret.duplicate(),
            binding: InviteBinding(Binding::of(own.identity(), group.id()).0),
            expires,
        };
        let link = Text::new(link.to_text().ok()?);
        let key = LogKey::Invite(SecretPair {
            secret: StoredSecret(secret),
            other: StoredSecret(owner),
        });
        let main = MainLog::new(key, 0, 0, now.0);
        let state = State::fresh(new.name, ctx.port.relay, Phase::Invited, main, now.0);
        let mut conversation = Self::assemble(id, state);
        conversation.derive_access();
        ctx.store.put(id.own_keys(), own.record());
        conversation.live.own = Some(own);
        conversation.adopt_group(group);
        conversation.set_origin(
            ctx,
            Origin::Invite(Invite {
                link: StoredText::of(&link),
                log: NewLog {
                    header,
                    first: Some(first),
                },
                expires_ms: expires.0,
                open: Flag(false),
                told_ready: Flag(false),
            }),
        );
        Some((conversation, link))
    }

    pub(super) fn drive_invite(&mut self, ctx: &mut Ctx<'_>) {
        let Some(Origin::Invite(invite)) = &self.live.origin else {
            return self.fail_invite(ctx, InviteFault::Lost);
        };
        let over = self.invite_is_over(ctx);
        // Not before it is sure that nobody took it: the relay may have made the log, and only its answer was lost.
        if over && self.live.main.is_caught_up() {
            return self.fail_invite(ctx, InviteFault::Expired);
        }
        if !invite.open.0 && !over {
            let may =
                ctx.port.up && !self.live.creating && self.live.main.may_try(ctx.clock.mono());
            if may {
                let request = Request::Create(Create {
                    new: invite.log.clone(),
                    code: ctx.port.code.clone(),
                });
                let tag = Tag::Conversation(self.live.main.route(), Op::Create);
                ctx.port.requests.push((tag, request));
                self.live.creating = true;
            }
            return;
        }
        if let (Some(main), Some(access)) = (&self.state.main, &self.live.access) {
            self.live.main.open(
                &mut ctx.port,
                access,
                main.track.next_seq(),
                ctx.clock.mono(),
            );
        }
    }

    /// The link's time is over.
    fn invite_is_over(&self, ctx: &Ctx<'_>) -> bool {
        matches!(&self.live.origin, Some(Origin::Invite(invite)) if ctx.clock.now().0 >= invite.expires_ms)
    }

    /// The relay's word on the new log.
    // [SPEC 8.41]
    pub(super) fn created(&mut self, ctx: &mut Ctx<'_>, answer: &Answer) {
        self.live.creating = false;
        let refusal = match answer {
            Answer::Created => return self.invite_ready(ctx),
            // It was made before, and closed since: by whoever took the link, or by somebody who spoils it.
            Answer::Refused(refusal) if refusal.code == RefusalCode::Closed => {
                self.live.main.claimed(Claim::of(refusal.code));
                return self.invite_ready(ctx);
            }
            Answer::Refused(refusal) => *refusal,
            _ => return,
        };
        let why = match refusal.code {
            RefusalCode::BadCode => InviteFault::BadCode,
            RefusalCode::Budget | RefusalCode::StorageFull | RefusalCode::Full
                if refusal.retry_after_s == 0 =>
            {
                InviteFault::RelayFull
            }
            RefusalCode::Destroyed | RefusalCode::Exists => InviteFault::Lost,
            RefusalCode::TooLarge
            | RefusalCode::NotAllowed
            | RefusalCode::BadProof
            | RefusalCode::Malformed
            | RefusalCode::UpdateNeeded => InviteFault::Refused,
            _ => return self.refusal_waits(ctx, Role::Main, refusal),
        };
        self.fail_invite(ctx, why);
    }

    fn invite_ready(&mut self, ctx: &mut Ctx<'_>) {
        let Some(Origin::Invite(invite)) = &mut self.live.origin else {
            return;
        };
        invite.open = Flag(true);
        let told = std::mem::replace(&mut invite.told_ready, Flag(true));
        self.save_origin(ctx);
        if !told.0 {
            let conversation = self.name();
            ctx.events.push(Event::InviteReady { conversation });
        }
    }

    /// The relay does not have the invite's log. Lost before it was taken, it is simply made again.
    pub(super) fn invite_gone(&mut self, ctx: &mut Ctx<'_>, code: RefusalCode) {
        // Closed and gone, it can be neither read nor made again.
        // [SPEC 8.66]
        let closed = self.live.main.take_claim().is_some();
        if closed || code == RefusalCode::Destroyed {
            return self.fail_invite(ctx, InviteFault::Lost);
        }
        if self.invite_is_over(ctx) {
            return self.fail_invite(ctx, InviteFault::Expired);
        }
        if let Some(main) = &mut self.state.main {
            main.track = super::track::Track::default();
        }
        if let Some(Origin::Invite(invite)) = &mut self.live.origin {
            invite.open = Flag(false);
            self.save_origin(ctx);
        }
        self.live.main.wait(ctx.clock.mono(), 0);
    }

    /// An entry of a log 0 that this device made, for an invite or for a restart.
    // [SPEC 8.42]
    pub(super) fn read_as_maker(&mut self, ctx: &mut Ctx<'_>, entry: &EntryPush) {
        self.read_join(ctx, entry);
        if !entry.close {
            return;
        }
        match self.state.phase {
            Phase::Invited => self.fail_invite(ctx, InviteFault::Spoiled),
            Phase::Alone => self.trouble(ctx, RestartReason::ClosedWithoutCommit),
            _ => {}
        }
    }

    fn read_join(&mut self, ctx: &mut Ctx<'_>, entry: &EntryPush) {
        let Some(access) = &self.live.access else {
            return;
        };
        let Ok((kind::MLS, content)) =
            entry::open(&access.outer, &entry.aad(access.log_id), &entry.body)
        else {
            return;
        };
        let slot = Slot {
            commit: entry.commit,
            close: entry.close,
        };
        let returning = self
            .peer()
            .map(|peer| peer.identity())
            .into_iter()
            .collect();
        let admission = match self.state.phase {
            Phase::Invited => Admission::Invited,
            _ => Admission::Returning(&returning),
        };
        let Some((_, group)) = self.own_and_group(ctx) else {
            return;
        };
        if let Processed::Commit(commit) = group.process(&content, slot, admission)
            && commit.joined()
        {
            self.peer_joined(ctx, commit);
        }
    }

    /// The other side is in the group: generation 1 begins.
    fn peer_joined(&mut self, ctx: &mut Ctx<'_>, commit: StagedCommit) {
        let (by, shown) = (commit.by().bytes().to_vec(), commit.note().shown);
        let Some((_, group)) = self.own_and_group(ctx) else {
            return;
        };
        let secret = commit.generation_secret(group, 1);
        let (Ok(secret), Ok(())) = (secret, group.merge(commit)) else {
            return;
        };
        self.group_changed();
        self.state.peer = Some(by.into());
        let invited = self.state.phase == Phase::Invited;
        self.begin_generation_one(ctx, &secret, self.state.main.as_ref().map(MainLog::point));
        if let Some(main) = &mut self.state.main {
            main.peer_seen = Flag(true);
        }
        // The one automatic message: the joiner learns that he is seen.
        // [SPEC 9.21]
        self.state.sending.seen_due = Flag(true);
        if invited {
            self.clear_origin(ctx);
            self.conversation_stands(ctx);
        } else {
            // An inviter whom this device had not read before shows himself so as well.
            // [SPEC 8.54]
            self.inviter_is_here(ctx);
            self.send_again(ctx, shown.unwrap_or_default());
        }
    }

    /// Moves from log 0 into generation 1. `S_1` of the first group also gives the recovery log, for ever.
    pub(super) fn begin_generation_one(
        &mut self,
        ctx: &mut Ctx<'_>,
        secret: &Secret32,
        before: Option<crate::position::LogPoint>,
    ) {
        let now_ms = ctx.clock.now().0;
        let restart = self.state.main.as_ref().map_or(0, |main| main.restart);
        let mut main = MainLog::new(LogKey::generation(secret), restart, 1, now_ms);
        main.before = before;
        self.set_main(ctx, main);
        if self.state.recovery.is_none() {
            let next_look = now_ms.saturating_add(DAY_MS / 2 + below(ctx.rng, DAY_MS));
            let recovery = Recovery::new(secret, next_look, now_ms);
            self.live.recovery_access = Some(log_keys::recovery(secret).1);
            self.state.recovery = Some(recovery);
        }
        if let Some(recovery) = &mut self.state.recovery {
            recovery.peer_shown = Position::default();
            recovery.lost_since_ms = 0;
            recovery.told_over = Flag(false);
        }
        self.state.phase = Phase::Member;
        self.leaf_updated(ctx);
    }

    pub(super) fn conversation_stands(&mut self, ctx: &mut Ctx<'_>) {
        let line = self.notice(ctx, LineContent::Joined);
        let conversation = self.name();
        ctx.events.push(Event::Joined {
            conversation: conversation.clone(),
        });
        ctx.events.push(Event::Noticed { conversation, line });
    }

    /// Makes the link useless. False: it was taken, or has failed.
    pub(crate) fn cancel_invite(&mut self, ctx: &mut Ctx<'_>) -> bool {
        let open = self.state.phase == Phase::Invited;
        if open {
            self.fail_invite(ctx, InviteFault::Cancelled);
        }
        open
    }

    /// The order that makes the link useless, if it can still be taken.
    pub(crate) fn destroy_order(&self, ctx: &Ctx<'_>) -> Option<Destroy> {
        let access = self
            .live
            .access
            .as_ref()
            .filter(|_| self.state.phase == Phase::Invited)?;
        destroy(access, &ctx.port.relay)
    }

    pub(super) fn fail_invite(&mut self, ctx: &mut Ctx<'_>, why: InviteFault) {
        let order = self.destroy_order(ctx);
        ctx.destroys.extend(order.map(|destroy| Order {
            destroy,
            log: OrderedLog::Ending,
        }));
        self.live.main.leave(&mut ctx.port);
        self.state.phase = Phase::invite_failed(why);
        self.state.main = None;
        self.live.access = None;
        self.live.group = None;
        self.live.unsaved = Unsaved::Nothing;
        self.live.own = None;
        ctx.store.delete(&self.id.group());
        ctx.store.delete(&self.id.own_keys());
        if let Some(Origin::Invite(invite)) = &mut self.live.origin {
            invite.link = StoredText::of(&"".into());
            invite.log.first = None;
            self.save_origin(ctx);
        }
        let conversation = self.name();
        ctx.events.push(Event::InviteFailed { conversation, why });
    }

    /// How the invite stands, if that is what this is.
    pub(crate) fn invite_info(&self) -> Option<InviteInfo> {
        let Some(Origin::Invite(invite)) = &self.live.origin else {
            return None;
        };
        let state = match self.state.phase {
            Phase::Invited if invite.open.0 => InviteState::Open,
            Phase::Invited => InviteState::Waiting,
            Phase::InviteFailed(code) => InviteState::Failed(Phase::invite_fault(code)),
            _ => return None,
        };
        Some(InviteInfo {
            name: self.name(),
            state,
            expires_at: Wall(invite.expires_ms),
            link: (self.state.phase == Phase::Invited).then(|| invite.link.text()),
        })
    }
}

/// The order to destroy a log, by who owns it.
pub(super) fn destroy(access: &LogAccess, relay: &IdentityHash) -> Option<Destroy> {
    let owner = access.owner.as_ref()?;
    Some(Destroy {
        capability: access.capability.clone(),
        signature: proof::sign_destroy(owner, relay, access.log_id),
    })
}

/// How long the relay must keep the first entry.
fn life(expires_in_ms: u64) -> Ttl {
    match expires_in_ms {
        ms if ms <= DAY_MS => Ttl::Day1,
        ms if ms <= EXPIRES_MS => Ttl::Day7,
        _ => Ttl::Day30,
    }
}
