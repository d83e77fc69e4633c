//! The kinds of entries: the byte inside the sealed entry that says how its content is read.

/// An MLSMessage: an application message ([`crate::content`]) or a commit.
pub const MLS: u8 = 1;
/// The first entry of log 0 ([`crate::genesis`]).
pub const GENESIS: u8 = 2;
/// A restart, in a recovery log ([`crate::restart`]).
pub const RESTART: u8 = 3;
/// "Look into the recovery log", in a conversation's log. Empty and unsigned: a hint, no order.
pub const LOOK: u8 = 4;
