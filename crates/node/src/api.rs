//! What a program asks of a [`Session`](crate::Session), and what it gets: the client's interface of chapter 12.
//!
//! The same types are the arguments of the commands, the lines of `--json` and the parameters of the daemon's JSON-RPC,
//! so that there is one place where a name or a unit is decided. Times are unix milliseconds and end in `_at`, spans are
//! seconds and end in `_s`; a timer is `null` for none and 0 for burn-on-read. Nothing of the core's types shows here.

mod answer;
mod call;
mod event;
mod failure;
mod line;

pub use answer::{
    AlarmInfo, Answer, ContactInfo, DamagedInfo, DeadmanInfo, DrillInfo, DrillStep, InviteInfo,
    KillcodeInfo, ModeInfo, ModeName, NotRenewed, RelayInfo, StatusInfo, VaultInfo,
};
pub use call::{Call, SecretText};
pub use event::{Event, EventLine};
pub use failure::{Exit, Failure, reason};
pub(crate) use failure::{left_kinds, left_words};
pub use line::{Line, LineBody, MessageState, Unread};

/// The version that every JSON object of the interface carries as `"v"`.
// [SPEC 12.2]
pub const INTERFACE_VERSION: u32 = 1;

/// The longest text of one message, in bytes of UTF-8.
pub const TEXT_BYTES_MAX: usize = emptyroom_core::api::Command::TEXT_BYTES_MAX;
