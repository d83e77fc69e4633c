//! The client's contract with its shell: inputs go in, outputs come out, nothing else happens.
//!
//! A shell gives one [`Input`] to `Client::handle`, carries out every [`Output`] that `Client::poll` returns, in order,
//! and calls again at `Client::wake_at`. It decides nothing: no retries, no delays, no ordering. Outputs that must wait
//! for durability are held back by the client itself until [`Input::Persisted`], so a shell never has to wait for one.

mod command;
mod event;
mod line;
mod value;

pub use command::{
    Alarm, AlarmKind, Command, Contact, ContactState, Damage, Fingerprint, InviteInfo, InviteState,
    Refused, RelayStatus, Reply, Status,
};
pub use event::{Event, GoneWhy, InviteFault, JoinFault, PeerTrouble, RelayTrouble, RestartReason};
pub use line::{FailedWhy, GapKind, Line, LineBody, MessageState, Notice, Side};
pub use value::{Burn, BurnOutOfRange, LineId, Name, NameFault, RelayLife, Text};

/// Chosen by the shell for each command; the reply carries it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommandId(pub u64);

/// One attempt to reach a relay, chosen by the client in [`Output::Dial`] and never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// One transaction handed out for storing. Tickets rise; the shell stores them in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Where a relay listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// A name or an address, without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// One record to write, or to delete together with its key. Holds secrets: zeroized when dropped.
#[derive(Clone, PartialEq, Eq, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
pub struct Change {
    /// The record's key, at most 128 bytes. Opaque to the shell.
    pub key: Vec<u8>,
    /// The new value, at most 1 MiB; nothing = the record is deleted and its key destroyed.
    pub value: Option<Vec<u8>>,
}

/// Everything that can happen to a client.
pub enum Input {
    /// The user wants something. Answered by exactly one [`Output::Reply`], unless the process ends first.
    Command(CommandId, Command),
    /// The carrier that [`Output::Dial`] asked for stands. With TLS: the SHA-256 of the certificate's SPKI.
    LinkUp(LinkId, Option<[u8; 32]>),
    /// One frame came, without its length prefix. The first one is the relay's greeting.
    Frame(LinkId, Vec<u8>),
    /// The carrier ended or could not be made. After [`Output::Hangup`] it may be told or not.
    LinkDown(LinkId),
    /// The transaction is durable, and so are all before it.
    Persisted(Ticket),
    /// The transaction could not be stored. The client says [`Event::StorageFailed`], refuses everything from then on and must be
    /// loaded again from the records: as after a crash, nothing that waited for this ticket has left.
    PersistFailed(Ticket),
    /// The time that `wake_at` named has come (any other time does no harm).
    Tick,
}

/// Everything a client asks of its shell.
pub enum Output {
    /// Store these changes in one durable transaction, then say [`Input::Persisted`]. Several may be on their way.
    Persist(Ticket, Vec<Change>),
    /// Connect to this place and say [`Input::LinkUp`], or [`Input::LinkDown`] if it cannot be done. Whether it is the relay that an
    /// address names is checked by the client, from its greeting.
    Dial(LinkId, Endpoint),
    /// Send one frame; the carrier adds its length prefix.
    Frame(LinkId, Vec<u8>),
    /// Close the carrier.
    Hangup(LinkId),
    /// Something the user may want to know. Events are hints: what must not be lost is in the records.
    Event(Event),
    /// The answer to a command.
    Reply(CommandId, Result<Reply, Refused>),
}

/// Values a shell may choose; the defaults are the specified ones.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Receipts wait a random time up to this, so that they tell no exact moment and several become one.
    pub receipt_delay_ms_max: u64,
    /// How one device's logs are spread over sealed streams.
    pub streams: StreamPolicy,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            receipt_delay_ms_max: 4_000,
            streams: StreamPolicy::OnePerRelay,
        }
    }
}

/// How logs are spread over streams. Nothing above the link depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamPolicy {
    /// All logs of a relay over one stream: the direct carrier's policy.
    OnePerRelay,
}
