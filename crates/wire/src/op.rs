//! The relay protocol: what a client may ask, what a relay answers and pushes.
//!
//! One message per frame of a stream. `Debug` of these types names the operation and nothing else.

mod answer;
mod refusal;
mod request;
mod share;

pub use answer::{
    Answer, Appended, CastPush, EntryPush, FromRelay, KeyRecords, OpenOutcome, Opened, OpenedLog,
    Push, SharedPush, View,
};
pub use refusal::{Refusal, RefusalCode};
pub use request::{
    AccessCode, Append, Cast, Create, Destroy, First, FromClient, NewLog, Open, OpenLog, Renew,
    RenewProof, Request, Trim,
};
pub use share::{DeleteShare, EvaluateShare, Evaluated, PutShare, RenewShare, WipeShare};

use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};

/// Names an opened log on one stream; given by the relay, never used again on that stream.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, TlsSize, TlsSerialize, TlsDeserializeBytes,
)]
pub struct Handle(pub u32);
