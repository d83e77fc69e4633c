//! The words that stand for enums of the core in JSON: part of the interface, so none of them ever changes its meaning.

use emptyroom_core::api::{
    AlarmKind, ContactState, Damage, FailedWhy, GapKind, GoneWhy, InviteFault, InviteState,
    JoinFault, PeerTrouble, RelayTrouble, RestartReason,
};

pub(super) fn invite_fault(fault: InviteFault) -> &'static str {
    match fault {
        InviteFault::BadCode => "bad_code",
        InviteFault::RelayFull => "relay_full",
        InviteFault::Refused => "refused",
        InviteFault::Expired => "expired",
        InviteFault::Cancelled => "cancelled",
        InviteFault::Spoiled => "spoiled",
        InviteFault::Lost => "lost",
    }
}

pub(super) fn join_fault(fault: JoinFault) -> &'static str {
    match fault {
        JoinFault::AlreadyUsed => "already_used",
        JoinFault::Gone => "gone",
        JoinFault::Unknown => "unknown",
        JoinFault::NotAsNamed => "not_as_named",
        JoinFault::InviterNotSeen => "inviter_not_seen",
        JoinFault::Refused => "refused",
    }
}

/// The state and, where it failed, why.
pub(super) fn invite_state(state: InviteState) -> (&'static str, Option<String>) {
    match state {
        InviteState::Waiting => ("waiting", None),
        InviteState::Open => ("open", None),
        InviteState::Failed(why) => ("failed", Some(invite_fault(why).to_owned())),
    }
}

/// The state and, where it failed, why.
pub(super) fn contact_state(state: ContactState) -> (&'static str, Option<String>) {
    match state {
        ContactState::Invited => ("invited", None),
        ContactState::Joining => ("joining", None),
        ContactState::InviteFailed(why) => ("invite_failed", Some(invite_fault(why).to_owned())),
        ContactState::JoinFailed(why) => ("join_failed", Some(join_fault(why).to_owned())),
        ContactState::Active => ("active", None),
        ContactState::Restarting => ("restarting", None),
        ContactState::RestartWaits => ("restart_waits", None),
        ContactState::Over => ("over", None),
        ContactState::Damaged(why) => ("damaged", Some(damage(why).to_owned())),
    }
}

pub(super) fn damage(why: Damage) -> &'static str {
    match why {
        Damage::Unreadable => "unreadable",
        Damage::NewerVersion => "newer_version",
    }
}

pub(super) fn failed_why(why: FailedWhy) -> &'static str {
    match why {
        FailedWhy::RanOut => "ran_out",
        FailedWhy::ConversationOver => "conversation_over",
        FailedWhy::RelayRefused => "relay_refused",
    }
}

pub(super) fn gone_why(why: GoneWhy) -> &'static str {
    match why {
        GoneWhy::Expired => "expired",
        GoneWhy::Deleted => "deleted",
    }
}

pub(super) fn gap_kind(kind: GapKind) -> &'static str {
    match kind {
        GapKind::Loss => "loss",
        GapKind::RanOutOrWithheld => "ran_out_or_withheld",
    }
}

pub(super) fn restart_reason(reason: RestartReason) -> &'static str {
    match reason {
        RestartReason::LogLost => "log_lost",
        RestartReason::RelayRolledBack => "relay_rolled_back",
        RestartReason::ClosedWithoutCommit => "closed_without_commit",
        RestartReason::CannotFollow => "cannot_follow",
        RestartReason::HistoriesDiffer => "histories_differ",
        RestartReason::StateLost => "state_lost",
        RestartReason::DeviceRestored => "device_restored",
        RestartReason::RestartFailed => "restart_failed",
        RestartReason::NotTaken => "not_taken",
        RestartReason::LogFull => "log_full",
    }
}

pub(super) fn relay_trouble(kind: RelayTrouble) -> &'static str {
    match kind {
        RelayTrouble::RolledBack => "rolled_back",
        RelayTrouble::TwoHistories => "two_histories",
        RelayTrouble::LogLost => "log_lost",
        RelayTrouble::Withheld => "withheld",
        RelayTrouble::WrongSequence => "wrong_sequence",
        RelayTrouble::ForeignEntry => "foreign_entry",
        RelayTrouble::KeyChain => "key_chain",
        RelayTrouble::WrongIdentity => "wrong_identity",
        RelayTrouble::WrongCertificate => "wrong_certificate",
        RelayTrouble::Malformed => "malformed",
        RelayTrouble::WrongAnswer => "wrong_answer",
    }
}

pub(super) fn alarm_kind(kind: AlarmKind) -> &'static str {
    match kind {
        AlarmKind::Relay(kind) => relay_trouble(kind),
        AlarmKind::ConversationOver => "conversation_over",
        AlarmKind::LogDestroyed => "log_destroyed",
    }
}

pub(super) fn peer_trouble(kind: PeerTrouble) -> &'static str {
    match kind {
        PeerTrouble::RubbishCommit => "rubbish_commit",
        PeerTrouble::RubbishMessage => "rubbish_message",
        PeerTrouble::RubbishRestart => "rubbish_restart",
        PeerTrouble::UnknownContent => "unknown_content",
        PeerTrouble::LogDestroyed => "log_destroyed",
    }
}
