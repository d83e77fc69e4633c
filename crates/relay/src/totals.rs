//! What the relay holds and what it did: sums over all clients, and nothing about any of them.

use emptyroom_wire::op::{Answer, FromRelay, OpenOutcome, Push, Refusal, RefusalCode};

use crate::io::Reason;

/// The codes of refusals with their names, in the order of [`Totals::refusals`]. *Used up* is not among them: only requests about
/// shares are refused so, and what these are answered is not counted.
// [SPEC 6.175]
pub const REFUSALS: [(RefusalCode, &str); 19] = [
    (RefusalCode::Unknown, "unknown"),
    (RefusalCode::Destroyed, "destroyed"),
    (RefusalCode::Closed, "closed"),
    (RefusalCode::Full, "full"),
    (RefusalCode::NotAllowed, "not_allowed"),
    (RefusalCode::BadProof, "bad_proof"),
    (RefusalCode::BadCode, "bad_code"),
    (RefusalCode::TooLarge, "too_large"),
    (RefusalCode::TooMany, "too_many"),
    (RefusalCode::Budget, "budget"),
    (RefusalCode::Busy, "busy"),
    (RefusalCode::StorageFull, "storage_full"),
    (RefusalCode::UpdateNeeded, "update_needed"),
    (RefusalCode::Malformed, "malformed"),
    (RefusalCode::Exists, "exists"),
    (RefusalCode::RefusedClose, "refused_close"),
    (RefusalCode::NonceReused, "nonce_reused"),
    (RefusalCode::Draining, "draining"),
    (RefusalCode::StoreFailed, "store_failed"),
];

/// The reasons of hang-ups with their names, in the order of [`Totals::hangups`].
pub const HANGUPS: [(Reason, &str); 10] = [
    (Reason::Malformed, "malformed"),
    (Reason::UpdateNeeded, "update_needed"),
    (Reason::NoOpening, "no_opening"),
    (Reason::Age, "age"),
    (Reason::Slow, "slow"),
    (Reason::Abuse, "abuse"),
    (Reason::Busy, "busy"),
    (Reason::StoreFailed, "store_failed"),
    (Reason::StoreWentBack, "store_went_back"),
    (Reason::Stopping, "stopping"),
];

/// Numbers of now, and numbers since the relay was made. Of the same size whatever clients do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections now.
    pub connections: usize,
    /// Those of them whose stream is open.
    pub streams: usize,
    /// Handles on all streams now.
    pub handles: usize,
    /// Logs on which there is a handle now.
    pub logs_open: usize,
    /// Bytes that wait to be sent now.
    pub unsent_bytes: usize,
    /// Requests that wait for the store now.
    pub queue_requests: usize,
    /// What they weigh, in bytes now.
    pub queue_bytes: usize,
    /// It is stopping.
    pub draining: bool,
    /// Streams that were opened.
    pub streams_opened: u64,
    /// Entries that were stored.
    pub entries_appended: u64,
    /// Entries that were handed out to readers.
    pub entries_pushed: u64,
    /// Casts that were handed out to readers.
    pub casts_pushed: u64,
    /// Refusals, by code; without those of requests about shares.
    pub refusals: [u64; REFUSALS.len()],
    /// Connections that the relay ended, by reason.
    pub hangups: [u64; HANGUPS.len()],
}

impl Totals {
    /// A message goes to one client. What goes to several is counted where it is handed out.
    pub(crate) fn sends(&mut self, message: &FromRelay) {
        match message {
            FromRelay::Push(_, Push::Entry(_)) => self.entries_pushed += 1,
            FromRelay::Answer(_, Answer::Refused(refusal)) => self.refuses(refusal),
            FromRelay::Answer(_, Answer::Opened(opened)) => {
                for outcome in &opened.logs {
                    if let OpenOutcome::Refused(refusal) = outcome {
                        self.refuses(refusal);
                    }
                }
            }
            FromRelay::Push(..) | FromRelay::Answer(..) => {}
        }
    }

    pub(crate) fn refuses(&mut self, refusal: &Refusal) {
        let at = REFUSALS.iter().position(|(code, _)| *code == refusal.code);
        if let Some(count) = at.and_then(|at| self.refusals.get_mut(at)) {
            *count += 1;
        }
    }

    /// A connection is ended.
    pub(crate) fn hangs_up(&mut self, reason: Reason) {
        let at = HANGUPS.iter().position(|(known, _)| *known == reason);
        if let Some(count) = at.and_then(|at| self.hangups.get_mut(at)) {
            *count += 1;
        }
    }
}
