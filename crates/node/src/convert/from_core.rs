//! What the core says, as the interface says it.

use emptyroom_core::api::{self as core, Damage, Name, Refused, Reply, Side};

use super::{timer_s, words};
use crate::api::{
    AlarmInfo, Answer, ContactInfo, DamagedInfo, Event, Exit, Failure, InviteInfo, Line, LineBody,
    MessageState, RelayInfo, StatusInfo, Unread, VaultInfo,
};

/// A reply; `vault` is what only the shell knows for `status`.
pub(crate) fn answer(
    reply: Reply,
    vault: impl FnOnce() -> Result<VaultInfo, Failure>,
) -> Result<Answer, Failure> {
    Ok(match reply {
        Reply::Done => Answer::Done {},
        Reply::Deleted { may_have_left } => Answer::Deleted { may_have_left },
        Reply::Invited { link, expires_at } => Answer::Invited {
            link: link.expose().to_owned(),
            expires_at: expires_at.0,
        },
        Reply::Joining => Answer::Joining {},
        Reply::Queued { id } => Answer::Queued { id: id.0 },
        Reply::Invites(invites) => Answer::Invites {
            invites: invites.into_iter().map(invite).collect(),
        },
        Reply::Contacts(contacts) => Answer::Contacts {
            contacts: contacts.into_iter().map(contact).collect(),
        },
        Reply::Unread(lines) => Answer::Unread {
            lines: lines
                .into_iter()
                .map(|(name, l)| Unread {
                    conversation: name.as_str().to_owned(),
                    line: line(l),
                })
                .collect(),
        },
        Reply::History(lines) => Answer::History {
            lines: lines.into_iter().map(line).collect(),
        },
        Reply::Fingerprint(print) => Answer::Fingerprint {
            number: print.digits,
            qr: print.qr,
            verified: print.verified,
        },
        Reply::Status(status) => Answer::Status(StatusInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            daemon: false,
            sandbox: emptyroom_sandbox::in_force().name().to_owned(),
            desktop: crate::desktop::is_heard(),
            vault: vault()?,
            relay: status.relay,
            relays: status.relays.into_iter().map(relay).collect(),
            conversations: status.conversations,
            waiting: status.waiting,
            restarts_waiting: status.restarts_waiting.iter().map(text).collect(),
            damaged: status
                .damaged
                .iter()
                .map(|(name, why)| DamagedInfo {
                    conversation: text(name),
                    why: words::damage(*why).to_owned(),
                })
                .collect(),
            clock_ahead_s: status.clock_ahead_ms.map(|ms| ms / 1_000),
            alarms: status.alarms.into_iter().map(alarm).collect(),
        }),
        Reply::Flushed {
            waiting,
            unreachable,
        } => Answer::Flushed {
            waiting,
            unreachable,
            timed_out: false,
        },
    })
}

fn text(name: &Name) -> String {
    name.as_str().to_owned()
}

fn invite(info: core::InviteInfo) -> InviteInfo {
    let (state, why) = words::invite_state(info.state);
    InviteInfo {
        name: text(&info.name),
        state: state.to_owned(),
        why,
        expires_at: info.expires_at.0,
        link: info.link.map(|link| link.expose().to_owned()),
    }
}

fn contact(contact: core::Contact) -> ContactInfo {
    let (state, why) = words::contact_state(contact.state);
    let is_damaged = matches!(contact.state, core::ContactState::Damaged(_));
    ContactInfo {
        name: text(&contact.name),
        state: state.to_owned(),
        why,
        verified: contact.verified,
        blocked: contact.blocked,
        timer_s: timer_s(contact.burn),
        receipts_delivered: contact.receipts_delivered,
        receipts_read: contact.receipts_read,
        unread: contact.unread,
        waiting: contact.waiting,
        relay: contact.relay,
        all_logs_known: is_damaged.then_some(contact.all_logs_known),
    }
}

fn alarm(alarm: core::Alarm) -> AlarmInfo {
    AlarmInfo {
        relay: alarm.relay,
        conversation: alarm.conversation.as_ref().map(text),
        kind: words::alarm_kind(alarm.kind).to_owned(),
        at: alarm.at.0,
        told: alarm.told,
    }
}

fn relay(relay: core::RelayStatus) -> RelayInfo {
    RelayInfo {
        relay: relay.relay,
        up: relay.up,
        orders_waiting: relay.orders_waiting,
        update_needed: relay.update_needed,
        trouble: relay
            .trouble
            .map(|kind| words::relay_trouble(kind).to_owned()),
    }
}

fn message_state(state: core::MessageState) -> MessageState {
    match state {
        core::MessageState::Queued => MessageState::Queued,
        core::MessageState::Sent => MessageState::Sent,
        core::MessageState::Delivered => MessageState::Delivered,
        core::MessageState::Read => MessageState::Read,
        core::MessageState::Failed(why) => MessageState::Failed {
            why: words::failed_why(why).to_owned(),
        },
    }
}

fn line(line: core::Line) -> Line {
    let body = match line.body {
        core::LineBody::Received {
            text,
            sent_at,
            burn,
            read,
            expires_at,
        } => LineBody::Received {
            text: text.expose().to_owned(),
            sent_at: sent_at.0,
            read,
            timer_s: timer_s(burn),
            expires_at: expires_at.map(|at| at.0),
        },
        core::LineBody::Sent {
            text,
            burn,
            state,
            expires_at,
        } => LineBody::Sent {
            text: text.expose().to_owned(),
            state: message_state(state),
            timer_s: timer_s(burn),
            expires_at: expires_at.map(|at| at.0),
        },
        core::LineBody::Notice(notice) => self::notice(notice),
    };
    Line {
        id: line.id.0,
        at: line.at.0,
        body,
    }
}

fn notice(notice: core::Notice) -> LineBody {
    match notice {
        core::Notice::Joined => LineBody::Joined {},
        core::Notice::TimerChanged { by, burn } => LineBody::TimerChanged {
            own: by == Side::Me,
            timer_s: timer_s(burn),
        },
        core::Notice::Gap { kind, entries } => LineBody::Gap {
            kind: words::gap_kind(kind).to_owned(),
            entries,
        },
        core::Notice::Restarted {
            by,
            reason,
            unlinked,
        } => LineBody::Restarted {
            own: by == Side::Me,
            why: words::restart_reason(reason).to_owned(),
            unlinked,
        },
    }
}

/// An event; nothing for those that only repeat another one.
pub(crate) fn event(event: core::Event) -> Option<Event> {
    use core::Event as From;
    Some(match event {
        From::Connection { relay, up } => Event::Connection { relay, up },
        From::UpdateNeeded { relay } => Event::UpdateNeeded { relay },
        From::InviteReady { conversation } => Event::InviteReady {
            conversation: text(&conversation),
        },
        From::InviteFailed { conversation, why } => Event::InviteFailed {
            conversation: text(&conversation),
            why: words::invite_fault(why).to_owned(),
        },
        From::Joined { conversation } => Event::Joined {
            conversation: text(&conversation),
        },
        From::JoinFailed { conversation, why } => Event::JoinFailed {
            conversation: text(&conversation),
            why: words::join_fault(why).to_owned(),
        },
        // Told by `joined` already.
        From::Noticed {
            line:
                core::Line {
                    body: core::LineBody::Notice(core::Notice::Joined),
                    ..
                },
            ..
        } => return None,
        From::MessageReceived {
            conversation,
            line: l,
        }
        | From::Noticed {
            conversation,
            line: l,
        } => {
            return Event::of_line(&text(&conversation), line(l));
        }
        From::MessageState {
            conversation,
            id,
            state,
        } => Event::MessageState {
            conversation: text(&conversation),
            id: id.0,
            state: message_state(state),
        },
        From::MessageGone {
            conversation,
            id,
            why,
        } => Event::MessageGone {
            conversation: text(&conversation),
            id: id.0,
            why: words::gone_why(why).to_owned(),
        },
        From::TimerChanged {
            conversation,
            id,
            by,
            burn,
        } => Event::TimerChanged {
            conversation: text(&conversation),
            id: id.0,
            own: by == Side::Me,
            timer_s: timer_s(burn),
        },
        From::RestartWaits {
            conversation,
            reason,
        } => Event::RestartWaits {
            conversation: text(&conversation),
            why: words::restart_reason(reason).to_owned(),
        },
        From::ConversationOver { conversation } => Event::ConversationOver {
            conversation: text(&conversation),
        },
        From::RelayTrouble {
            relay,
            conversation,
            kind,
        } => Event::RelayTrouble {
            relay,
            conversation: conversation.as_ref().map(text),
            kind: words::relay_trouble(kind).to_owned(),
        },
        From::PeerTrouble { conversation, kind } => Event::PeerTrouble {
            conversation: text(&conversation),
            kind: words::peer_trouble(kind).to_owned(),
        },
        From::StorageFailed => Event::StorageFailed {
            why: "vault_write".to_owned(),
        },
    })
}

/// Why a command was not carried out, in words a user can act on.
pub(crate) fn refused(refused: Refused) -> Failure {
    let failure = |exit, error, text: &str| Failure::new(exit, error, text);
    match refused {
        Refused::UnknownName => failure(Exit::Usage, "unknown_name", "there is no contact of this name")
            .hint("`emptyroom contacts` lists the names"),
        Refused::NameTaken => failure(Exit::Usage, "name_taken", "there is a contact of this name")
            .hint("choose another name, or `emptyroom rename` the other one"),
        Refused::NoRelay => failure(Exit::Usage, "no_relay", "there is no relay to make invites at")
            .hint("set one with `emptyroom relay -`, which asks for the address"),
        Refused::BadAddress(fault) => Failure::new(Exit::Usage, "bad_address", fault)
            .hint("copy the whole line; nothing of it may be missing"),
        Refused::NotJoined => failure(Exit::Refused, "not_joined", "this conversation does not stand yet")
            .hint("`emptyroom receive` fetches whether the link was taken; `emptyroom contacts` shows how it stands"),
        Refused::LinkFailed => failure(Exit::Refused, "not_joined", "this conversation never stood: its link has failed")
            .hint("`emptyroom contacts` says why; `emptyroom forget` and a new link are what helps"),
        Refused::ConversationOver => failure(Exit::Refused, "conversation_over", "the relay lost this conversation for good")
            .hint("invite this contact again under another name; the history stays until `emptyroom forget`"),
        Refused::Damaged(Damage::Unreadable) => failure(Exit::Vault, "conversation_damaged", "what the vault has of this conversation is damaged")
            .hint("`emptyroom forget NAME` removes it; then meet again by a new link"),
        Refused::Damaged(Damage::NewerVersion) => failure(Exit::Vault, "conversation_damaged", "what the vault has of this conversation was written by a newer version")
            .hint("update this program; or `emptyroom forget NAME` removes it, and you meet again by a new link"),
        Refused::Blocked => {
            failure(Exit::Refused, "blocked", "this contact is blocked").hint("`emptyroom block NAME --off` ends that")
        }
        Refused::BadText => failure(Exit::Usage, "bad_text", "a message has from 1 byte to 16 KiB of text"),
        Refused::UnknownLine => failure(Exit::Usage, "unknown_line", "there is no such line in this conversation")
            .hint("`emptyroom history NAME` shows the numbers"),
        Refused::NoOpenInvite => failure(Exit::Refused, "no_open_invite", "this invite was taken or has failed")
            .hint("`emptyroom forget NAME` removes the contact"),
        Refused::BadExpiry => failure(Exit::Usage, "bad_expiry", "a link lives from one minute to thirty days"),
        Refused::QueueFull => failure(Exit::Refused, "queue_full", "too many messages wait for the relay")
            .hint("wait until it can be reached; `emptyroom status` shows it"),
        Refused::TooMany => failure(Exit::Refused, "too_many", "there are too many conversations")
            .hint("`emptyroom forget NAME` makes room"),
        Refused::OwnLink => failure(Exit::Usage, "own_link", "this link was made here: it is for somebody else"),
        Refused::LinkExpired => failure(Exit::Refused, "link_expired", "this link has expired")
            .hint("ask the inviter for a new link; if this one is new, the clock of one of the two devices is wrong"),
        Refused::NothingWaits => failure(Exit::Refused, "nothing_waits", "no restart of this conversation waits for leave"),
        Refused::StorageFailed => {
            failure(Exit::Vault, "vault_write", "the vault could not be written; nothing was lost that was confirmed")
                .hint("see to the disk (is it full?), then run the command again")
        }
    }
}
