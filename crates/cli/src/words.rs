//! Events, states and refusals in words for people.

use emptyroom_node::api::{Event, Exit, Failure, Line, LineBody, MessageState};

use crate::{span, terminal};

/// A timer as it is typed.
pub(crate) fn timer(timer_s: Option<u64>) -> String {
    match timer_s {
        None => "off".to_owned(),
        Some(0) => "read".to_owned(),
        Some(seconds) => span::text(seconds),
    }
}

/// `state` or `state (why)`, without the underscores of JSON.
pub(crate) fn with_why(state: &str, why: Option<&str>) -> String {
    let plain = |word: &str| word.replace('_', " ");
    why.map_or_else(
        || plain(state),
        |why| format!("{} ({})", plain(state), plain(why)),
    )
}

/// A received message, as it is at `now_ms`; nothing for other events.
pub(crate) fn message(event: &Event, now_ms: u64) -> Option<String> {
    let Event::MessageReceived {
        conversation,
        text,
        timer_s,
        expires_at,
        ..
    } = event
    else {
        return None;
    };
    let name = terminal::line(conversation);
    let burns = match timer_s {
        None => String::new(),
        Some(0) => " [burns now]".to_owned(),
        Some(seconds) => {
            let left_s = |at: u64| at.saturating_sub(now_ms).div_ceil(1_000);
            match expires_at.map(left_s) {
                Some(left) if left != *seconds => format!(" [burns in {}]", span::left(left)),
                _ => format!(" [burns in {}]", span::text(*seconds)),
            }
        }
    };
    Some(format!("{name}: {}{burns}", terminal::block(text, 4)))
}

/// One line of a history.
pub(crate) fn history_line(name: &str, line: &Line) -> String {
    let name = terminal::line(name);
    let time = span::local(line.at);
    let id = line.id;
    match &line.body {
        LineBody::Received { text, timer_s, .. } => {
            let burns = timer_s.map_or(String::new(), |_| format!(" [timer {}]", timer(*timer_s)));
            format!("{id}  {time}  {name}: {}{burns}", terminal::block(text, 4))
        }
        LineBody::Sent {
            text,
            state,
            timer_s,
            ..
        } => {
            let burns = timer_s.map_or(String::new(), |_| format!(", timer {}", timer(*timer_s)));
            format!(
                "{id}  {time}  me: {} [{}{burns}]",
                terminal::block(text, 4),
                state_word(state)
            )
        }
        notice => format!(
            "{id}  {time}  * {}",
            notice_text(&name, notice).unwrap_or_default()
        ),
    }
}

/// How far a message came, in one or two words.
pub(crate) fn state_word(state: &MessageState) -> String {
    match state {
        MessageState::Queued => "queued".to_owned(),
        MessageState::Sent => "sent".to_owned(),
        MessageState::Delivered => "delivered".to_owned(),
        MessageState::Read => "read".to_owned(),
        MessageState::Failed { why } => format!("failed: {}", failed_why(why)),
    }
}

fn failed_why(why: &str) -> &str {
    match why {
        "ran_out" => "it left the relay before it was fetched",
        "conversation_over" => "the conversation is over",
        "relay_refused" => "the relay refuses it",
        other => other,
    }
}

/// What happened to a conversation; nothing for messages. `name` is safe for a terminal.
pub(crate) fn notice_text(name: &str, body: &LineBody) -> Option<String> {
    Some(match body {
        LineBody::Received { .. } | LineBody::Sent { .. } => return None,
        LineBody::Joined {} => format!("the conversation with {name} stands"),
        LineBody::TimerChanged { own, timer_s } => timer_changed(name, *own, *timer_s),
        LineBody::Gap { kind, entries } => gap(name, kind, *entries),
        LineBody::Restarted { own, why, unlinked } => restarted(name, *own, why, *unlinked),
    })
}

/// What has passed of the dead-man time, and what comes of it.
// [SPEC 11.83]
pub(crate) fn deadman(counted_s: u64, left_s: u64, destroyed_after_s: u64) -> String {
    let counted = span::left(counted_s);
    let after = span::left(destroyed_after_s);
    let when = match left_s {
        0 => "has passed".to_owned(),
        left_s => format!("passes in {}", span::left(left_s)),
    };
    format!(
        "the dead-man time {when} ({counted} since the vault was opened were counted): the vault is destroyed when this program has seen it unopened for {after} more. \
         The PIN opens it and sets the time back; while a daemon runs, `emptyroom deadman 14d` does"
    )
}

/// The vault has seen a later time than the device's clock shows.
// [SPEC 9.37]
pub(crate) fn clock_ahead(ahead_s: u64) -> String {
    format!(
        "this vault was open when the clock was {} later than it is now. If it is wrong now, set it. If it was wrong then, timers ended early then, and the times that \
         are shown and told to others stay so much too late",
        span::left(ahead_s)
    )
}

/// An opening could not be written down.
// [SPEC 11.83]
pub(crate) const DEADMAN_UNWRITTEN: &str = "that the vault was opened could not be written down, so its dead-man time goes on as if it was not: \
     see to the disk and to the file `outside` in the home, and open the vault again";

/// An opening ended a journey.
// [SPEC 11.82]
pub(crate) const JOURNEY_OVER: &str = "the vault was opened, which ends the longer dead-man time of a journey: from now on it is as it was before";

/// The relay has no such switch.
// [SPEC 11.69]
pub(crate) fn switch_gone(relay: &str) -> String {
    format!(
        "{relay} says that it has no switch of this vault's kill code, so nothing can be ordered by it: make a new one with `emptyroom killcode revoke` and \
         `emptyroom killcode create`"
    )
}

/// Somebody fills the switch.
// [SPEC 11.95]
pub(crate) fn switch_filled(relay: &str) -> String {
    format!(
        "somebody who has, or had, this device's files fills the switch of this vault's kill code at {relay}: when it is full nothing can be ordered by it; make a \
         new one with `emptyroom killcode revoke` and `emptyroom killcode create`"
    )
}

/// An event in words; nothing for messages and for what only programs need.
pub(crate) fn event(event: &Event) -> Option<String> {
    let safe = |text: &String| terminal::line(text);
    Some(match event {
        Event::Missed {} => {
            "too much happened at once: some news is not shown here; `emptyroom history` has all"
                .to_owned()
        }
        Event::Deadman {
            counted_s,
            left_s,
            destroyed_after_s,
        } => deadman(*counted_s, *left_s, *destroyed_after_s),
        Event::DeadmanUnwritten {} => DEADMAN_UNWRITTEN.to_owned(),
        Event::WrongPins {} => {
            "a wrong PIN was given ten times for changes of what opens the vault: it is locked"
                .to_owned()
        }
        Event::SwitchGone { relay } => switch_gone(&safe(relay)),
        Event::SwitchFilled { relay } => switch_filled(&safe(relay)),
        Event::MessageReceived { .. }
        | Event::Locked {}
        | Event::Wiped { .. }
        | Event::WipeFailed { .. }
        | Event::StorageFailed { .. } => return None,
        Event::MessageState {
            conversation,
            id,
            state,
        } => {
            format!("{} {id}: {}", safe(conversation), state_word(state))
        }
        Event::MessageGone {
            conversation,
            id,
            why,
        } => format!("{} {id}: {}", safe(conversation), gone(why)),
        Event::InviteReady { conversation } => {
            format!("the link for {} works now", safe(conversation))
        }
        Event::InviteFailed { conversation, why } => {
            format!(
                "the link for {} does not work: {}",
                safe(conversation),
                invite_fault(why)
            )
        }
        Event::Joined { conversation } => {
            format!("the conversation with {} stands", safe(conversation))
        }
        Event::JoinFailed { conversation, why } => {
            format!(
                "the link of {} cannot be taken: {}",
                safe(conversation),
                join_fault(why)
            )
        }
        Event::TimerChanged {
            conversation,
            own,
            timer_s,
            ..
        } => timer_changed(&safe(conversation), *own, *timer_s),
        Event::Gap {
            conversation,
            kind,
            entries,
            ..
        } => gap(&safe(conversation), kind, *entries),
        Event::Restarted {
            conversation,
            own,
            why,
            unlinked,
            ..
        } => restarted(&safe(conversation), *own, why, *unlinked),
        Event::RestartWaits { conversation, why } => format!(
            "{}: needs an eleventh restart in a day ({}); `emptyroom allow-restart` if you want that",
            safe(conversation),
            restart_why(why)
        ),
        Event::ConversationOver { conversation } => {
            format!(
                "{}: the relay lost this conversation for good; a new link is needed",
                safe(conversation)
            )
        }
        Event::RelayTrouble {
            relay,
            conversation,
            kind,
        } => {
            let at = conversation.as_ref().map_or(String::new(), |name| {
                format!(", seen in the conversation with {}", safe(name))
            });
            format!("the relay {} {}{at}", safe(relay), relay_trouble(kind))
        }
        Event::PeerTrouble { conversation, kind } if kind == "log_destroyed" => {
            log_destroyed(&safe(conversation), "its relay")
        }
        Event::PeerTrouble { conversation, kind } => {
            format!(
                "{}: the other side's program sent {}; it was not used",
                safe(conversation),
                peer_trouble(kind)
            )
        }
        Event::Connection { relay, up: true } => format!("connected to {}", safe(relay)),
        Event::Connection { relay, up: false } => format!("no connection to {}", safe(relay)),
        Event::UpdateNeeded { relay } => format!(
            "the relay {} needs a newer version of this program",
            safe(relay)
        ),
    })
}

fn gone(why: &str) -> &'static str {
    if why == "expired" { "burnt" } else { "deleted" }
}

fn timer_changed(name: &str, own: bool, timer_s: Option<u64>) -> String {
    let who = if own { "you" } else { name };
    match timer_s {
        None => format!("{who} turned the timer off: new messages stay"),
        Some(0) => format!("{who} set the timer: new messages burn as soon as they are read"),
        Some(seconds) => format!(
            "{who} set the timer: new messages live {}",
            span::text(seconds)
        ),
    }
}

fn gap(name: &str, kind: &str, entries: u64) -> String {
    let entries_text = if entries == 1 {
        "1 entry".to_owned()
    } else {
        format!("up to {entries} entries")
    };
    match kind {
        "loss" => format!("{name}: {entries_text} missing: the relay lost or withheld them"),
        _ => format!(
            "{name}: {entries_text} missing: their time was over, or the relay withheld them"
        ),
    }
}

fn restarted(name: &str, own: bool, why: &str, unlinked: bool) -> String {
    let who = if own { "this device" } else { name };
    let unlinked = if unlinked {
        "; another restart before it was hidden from one of you"
    } else {
        ""
    };
    format!(
        "{who} restarted the encryption of the conversation with {name}: {}{unlinked}",
        restart_why(why)
    )
}

fn restart_why(why: &str) -> &str {
    match why {
        "log_lost" => "its log is not at the relay any more",
        "relay_rolled_back" => "the relay went back to an older state",
        "closed_without_commit" => "its log was closed without a reason",
        "cannot_follow" => "a change could not be followed",
        "histories_differ" => "the two sides were shown different histories",
        "state_lost" => "a device lost its keys",
        "device_restored" => "a device was restored from a backup",
        "restart_failed" => "an earlier restart could not be joined",
        "not_taken" => "an earlier restart was not taken in time",
        "log_full" => "its log is full",
        other => other,
    }
}

/// What a relay did, as the rest of a sentence that begins with it.
pub(crate) fn relay_trouble(kind: &str) -> &str {
    match kind {
        "rolled_back" => "went back to an older state: it lost what it had confirmed",
        // Where it says so, a contact who means ill can bring it about as well.
        "two_histories" => "showed two different histories, or a contact makes it look so",
        // Of a log that was destroyed the relay knows nothing after 30 days.
        // [SPEC 10.26]
        "log_lost" => {
            "lost a log that it should have, or the other side had it destroyed more than 30 days ago"
        }
        "withheld" => "left out entries that it should have",
        "wrong_sequence" => "gave numbers that do not fit together",
        "foreign_entry" => "delivered an entry of another log, or a contact wrote rubbish",
        "key_chain" => {
            "has keys that do not form one chain (restored, or two-faced), or a contact says so"
        }
        "wrong_identity" => "is not the one that the address names",
        "wrong_certificate" => "shows a certificate that it did not sign",
        "malformed" => "sent what no relay of this version sends",
        "wrong_answer" => "gave an answer that does not fit the question",
        other => other,
    }
}

/// The log was destroyed. The name, and what the relay is called, are safe for a terminal.
// [SPEC 10.26]
pub(crate) fn log_destroyed(name: &str, relay: &str) -> String {
    format!(
        "{name}: the log of this conversation at {relay} was destroyed, as whoever has either vault, or an old copy of it, can order: the other side may have forgotten you, this vault may come from an older copy, or the relay only says so. \
         What you send waits until the other side takes the conversation up again"
    )
}

fn peer_trouble(kind: &str) -> &str {
    match kind {
        "rubbish_commit" => "a change that is not valid",
        "rubbish_message" => "a message that is not valid",
        "rubbish_restart" => "a restart that is not valid",
        "unknown_content" => "something that this version does not know",
        other => other,
    }
}

fn invite_fault(why: &str) -> &str {
    match why {
        "bad_code" => "the relay wants an access code, or another one",
        "relay_full" => "the relay is full",
        "refused" => "the relay refuses it",
        "expired" => "nobody took it in time",
        "cancelled" => "it was cancelled",
        "spoiled" => "somebody spoiled it",
        "lost" => "the relay lost it",
        other => other,
    }
}

fn join_fault(why: &str) -> &str {
    match why {
        "already_used" => "this link was already used",
        "gone" => "this link was cancelled or has expired",
        "unknown" => "the relay does not know this link",
        "not_as_named" => "what lies behind this link is not what it names",
        "inviter_not_seen" => "the inviter did not appear in seven days",
        "refused" => "the relay refuses it",
        other => other,
    }
}

/// The invite cannot work.
pub(crate) fn invite_refused(why: &str) -> Failure {
    let failure = Failure::new(Exit::Refused, &format!("invite_{why}"), invite_fault(why));
    match why {
        "bad_code" => failure.hint("set the address with its code: `emptyroom relay -`"),
        "relay_full" => failure.hint("ask the relay's operator, or use another relay"),
        _ => failure,
    }
}

/// The link cannot be taken.
pub(crate) fn join_refused(why: &str) -> Failure {
    let failure = Failure::new(Exit::Refused, &format!("join_{why}"), join_fault(why));
    match why {
        "already_used" => failure.hint(
            "if it was not you, somebody else has it: tell the inviter, and ask for a new link",
        ),
        "not_as_named" => failure.hint("do not use this link; ask for a new one, by another way"),
        _ => failure.hint("ask the inviter for a new link"),
    }
}

/// The message will not arrive.
pub(crate) fn send_failed(why: &str) -> Failure {
    Failure::new(
        Exit::Refused,
        &format!("send_{why}"),
        format!("the message will not arrive: {}", failed_why(why)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    // [SPEC 12.16]
    #[test]
    fn what_burns_already_is_shown_with_what_is_left() {
        let burns = |expires_at| {
            let received = Event::MessageReceived {
                conversation: "ben".to_owned(),
                id: 1,
                text: "hi".to_owned(),
                sent_at: 1,
                received_at: 1,
                timer_s: Some(3_600),
                expires_at,
            };
            message(&received, 5_000)
        };
        assert_eq!(burns(None).as_deref(), Some("ben: hi [burns in 1h]"));
        assert_eq!(
            burns(Some(3_605_000)).as_deref(),
            Some("ben: hi [burns in 1h]")
        );
        assert_eq!(
            burns(Some(14_001)).as_deref(),
            Some("ben: hi [burns in 10s]")
        );
    }
}
