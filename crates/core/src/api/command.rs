//! Commands, their replies and refusals.

use emptyroom_wire::time::Wall;

use super::{Burn, JoinFault, Line, LineId, Name, RelayLife, Text};

/// What a user can want.
pub enum Command {
    /// Make new invites at this relay from now on. The address may carry the relay's access code.
    SetRelay {
        /// The address as text.
        address: Text,
    },
    /// Make a link for one person. Replied with [`Reply::Invited`] once it is durable here; [`super::Event::InviteReady`] or
    /// [`super::Event::InviteFailed`] says what the relay thinks of it.
    Invite {
        /// What that person will be called.
        name: Name,
        /// How long the link works; seven days unless said.
        expires_in_ms: Option<u64>,
    },
    /// Make a link useless that nobody took yet.
    CancelInvite {
        /// The contact's name.
        name: Name,
    },
    /// List the links that nobody took yet, and those that failed.
    Invites,
    /// Take a link. Replied with [`Reply::Joining`] once it is durable here; [`super::Event::Joined`] or
    /// [`super::Event::JoinFailed`] follows.
    Join {
        /// The link as text.
        link: Text,
        /// What the inviter will be called.
        name: Name,
    },
    /// List all contacts.
    Contacts,
    /// Call a contact something else.
    Rename {
        /// Its name now.
        from: Name,
        /// Its new name.
        to: Name,
    },
    /// Destroy everything this device knows about a contact, and the conversation's log at the relay. An open invite is cancelled.
    Forget {
        /// The contact's name.
        name: Name,
    },
    /// Send a text of at most [`Command::TEXT_BYTES_MAX`] bytes. Replied with [`Reply::Queued`] once it is durable here.
    Send {
        /// The contact's name.
        to: Name,
        /// The text.
        text: Text,
        /// Its timer; nothing = the conversation's.
        burn: Option<Burn>,
        /// How long the relay may keep its copy.
        life: RelayLife,
    },
    /// Received messages and notices that were not marked as read yet, oldest first.
    Unread {
        /// Only of this contact.
        name: Option<Name>,
        /// At most so many lines (and never more than [`Command::LINES_MAX`]).
        limit: usize,
    },
    /// The user saw everything up to this line: timers start, burn-on-read burns, a receipt goes out if allowed.
    Read {
        /// The contact's name.
        name: Name,
        /// The last line seen.
        up_to: LineId,
    },
    /// Lines of a conversation, oldest first.
    History {
        /// The contact's name.
        name: Name,
        /// Only lines before this one; nothing = the newest.
        before: Option<LineId>,
        /// At most so many (and never more than [`Command::LINES_MAX`]).
        limit: usize,
    },
    /// Delete a line on this device, with its key.
    Delete {
        /// The contact's name.
        name: Name,
        /// The line.
        id: LineId,
    },
    /// Set the conversation's timer for both sides, from the next message on.
    SetTimer {
        /// The contact's name.
        name: Name,
        /// The timer.
        burn: Burn,
    },
    /// Choose which receipts this device sends in a conversation.
    SetReceipts {
        /// The contact's name.
        name: Name,
        /// Say what arrived.
        delivered: bool,
        /// Say what was read.
        read: bool,
    },
    /// What to compare with the contact.
    Fingerprint {
        /// The contact's name.
        name: Name,
    },
    /// The user compared and it was equal.
    ConfirmVerified {
        /// The contact's name.
        name: Name,
    },
    /// Read nothing from and send nothing to a contact, without telling; or again.
    Block {
        /// The contact's name.
        name: Name,
        /// Block or unblock.
        on: bool,
    },
    /// Allow one more restart after ten in a day.
    AllowRestart {
        /// The contact's name.
        name: Name,
    },
    /// How things are.
    Status,
    /// The user has seen the alarms of [`Reply::Status`].
    AlarmsTold {
        /// The latest [`Alarm::at`] of those he has seen: what came meanwhile was not told.
        until: Wall,
    },
    /// Replied with [`Reply::Flushed`] when nothing is left that could be sent or fetched now, or when no relay that is needed can be
    /// reached.
    Flush,
}

impl Command {
    /// The longest text in bytes of UTF-8: 16 KiB.
    pub const TEXT_BYTES_MAX: usize = 16 * 1024;
    /// The most lines one reply carries.
    pub const LINES_MAX: usize = 1_000;
}

/// What a command gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Done.
    Done,
    /// The invite is stored here; the link works once the relay has it.
    Invited {
        /// The link. Whoever sees it first can take it.
        link: Text,
        /// When it ends.
        expires_at: Wall,
    },
    /// The link is being taken.
    Joining,
    /// The message is durable on this device.
    Queued {
        /// Its line.
        id: LineId,
    },
    /// The line is gone here.
    Deleted {
        /// Its message was on its way to the relay, and nobody knows how far it came.
        may_have_left: bool,
    },
    /// Answer to [`Command::Invites`].
    Invites(Vec<InviteInfo>),
    /// Answer to [`Command::Contacts`].
    Contacts(Vec<Contact>),
    /// Answer to [`Command::Unread`]: contact and line.
    Unread(Vec<(Name, Line)>),
    /// Answer to [`Command::History`].
    History(Vec<Line>),
    /// Answer to [`Command::Fingerprint`].
    Fingerprint(Fingerprint),
    /// Answer to [`Command::Status`].
    Status(Status),
    /// Answer to [`Command::Flush`].
    Flushed {
        /// Messages and changes that still wait on this device.
        waiting: usize,
        /// Relays that could not be reached, by host and port.
        unreachable: Vec<String>,
    },
}

/// Why a command was not carried out. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No contact of this name.
    UnknownName,
    /// There is a contact of this name.
    NameTaken,
    /// There is no relay to invite at: [`Command::SetRelay`] first.
    NoRelay,
    /// The address or link does not fit the grammar: what was expected, without any part of it.
    BadAddress(String),
    /// The conversation does not stand: the invite was not taken, or the join is not done or failed.
    NotJoined,
    /// The conversation never stood: its link has failed.
    LinkFailed,
    /// The conversation is over.
    ConversationOver,
    /// The conversation's records cannot be read: all that is left is [`Command::Forget`].
    Damaged(Damage),
    /// The contact is blocked.
    Blocked,
    /// The text is empty or longer than [`Command::TEXT_BYTES_MAX`].
    BadText,
    /// No such line.
    UnknownLine,
    /// The link was taken or has failed: there is nothing to cancel.
    NoOpenInvite,
    /// The expiry is not between a minute and thirty days.
    BadExpiry,
    /// Too many messages wait for the relay in this conversation.
    QueueFull,
    /// Too many conversations.
    TooMany,
    /// This link is this device's own.
    OwnLink,
    /// The link's time is over, as far as this device's clock goes: that, or the inviter's, may be wrong.
    LinkExpired,
    /// No restart waits for the user.
    NothingWaits,
    /// Records cannot be written.
    StorageFailed,
}

/// An invite that is not a conversation yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteInfo {
    /// The contact's name.
    pub name: Name,
    /// How it stands.
    pub state: InviteState,
    /// When it ends.
    pub expires_at: Wall,
    /// The link, to show it again while it can be taken.
    pub link: Option<Text>,
}

/// How an invite stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InviteState {
    /// The relay does not have it yet.
    Waiting,
    /// It can be taken.
    Open,
    /// It does not work.
    Failed(super::InviteFault),
}

/// A contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Its name.
    pub name: Name,
    /// How the conversation stands.
    pub state: ContactState,
    /// The user compared the fingerprint.
    pub verified: bool,
    /// Blocked.
    pub blocked: bool,
    /// The conversation's timer.
    pub burn: Burn,
    /// This device says what arrived.
    pub receipts_delivered: bool,
    /// This device says what was read.
    pub receipts_read: bool,
    /// Lines that were not marked as read.
    pub unread: u64,
    /// Messages and changes that wait for the relay.
    pub waiting: usize,
    /// Its relay, by host and port.
    pub relay: String,
    /// Everything that it may have at its relay can be destroyed there. Of a damaged one it may not.
    pub all_logs_known: bool,
}

/// How a conversation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContactState {
    /// Its link was not taken yet.
    Invited,
    /// This device is taking the link.
    Joining,
    /// The link failed, here as invite.
    InviteFailed(super::InviteFault),
    /// The link failed, here as taker.
    JoinFailed(JoinFault),
    /// Messages can flow.
    Active,
    /// It is being restarted; messages wait.
    Restarting,
    /// It waits for the user's leave to restart.
    RestartWaits,
    /// Its relay lost everything.
    Over,
    /// Its records cannot be read. Of what else is said of the contact only the name means anything.
    Damaged(Damage),
}

/// Why a conversation's records cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// One is missing, or not what was written.
    Unreadable,
    /// One was written by a later version of this program.
    NewerVersion,
}

/// What two people compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Sixty digits.
    pub digits: String,
    /// The same and the position, as the text of a QR code.
    pub qr: String,
    /// Whether the user confirmed it.
    pub verified: bool,
}

/// How things are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where new invites are made, by host and port.
    pub relay: Option<String>,
    /// The relays this device talks to.
    pub relays: Vec<RelayStatus>,
    /// Conversations.
    pub conversations: usize,
    /// Messages and changes that wait for a relay.
    pub waiting: usize,
    /// Contacts whose restart waits for the user.
    pub restarts_waiting: Vec<Name>,
    /// Contacts whose conversation cannot be read, and why.
    pub damaged: Vec<(Name, Damage)>,
    /// So far the client's time is above the device's clock, where that is more than a day: one of both was wrong.
    pub clock_ahead_ms: Option<u64>,
    /// What must not pass by: the last 64, those that were told for a month.
    pub alarms: Vec<Alarm>,
}

/// Something that its user must know, whether somebody listened when it was told or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// The relay, by host and port.
    pub relay: String,
    /// The conversation where it showed, if any.
    pub conversation: Option<Name>,
    /// What it is.
    pub kind: AlarmKind,
    /// When it was noticed. No two are of the same time.
    pub at: Wall,
    /// [`Command::AlarmsTold`] was given for it.
    pub told: bool,
}

/// What an alarm is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmKind {
    /// The relay did what an honest and healthy relay does not do.
    Relay(super::RelayTrouble),
    /// The conversation is over.
    ConversationOver,
    /// The conversation's log was destroyed.
    LogDestroyed,
}

/// How a relay stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayStatus {
    /// Its host and port.
    pub relay: String,
    /// Requests can flow.
    pub up: bool,
    /// Orders to destroy a log that it has not confirmed yet.
    pub orders_waiting: usize,
    /// It speaks only other versions.
    pub update_needed: bool,
    /// The last trouble it made since this client was loaded.
    pub trouble: Option<super::RelayTrouble>,
}
