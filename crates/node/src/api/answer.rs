//! The answers: what a call gives, in the shape that JSON-RPC returns and `--json` prints.

use serde::{Deserialize, Serialize};

use super::line::{Line, Unread};

/// What a call gives.
// [SPEC 12.2]
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Answer {
    /// It was done; there is nothing to tell.
    Done {},
    /// A link was made and is stored here; it works once the relay has it.
    Invited {
        /// The link: whoever has it first is the contact.
        link: String,
        /// When it ends.
        expires_at: u64,
    },
    /// The invites that nobody took yet.
    Invites {
        /// One each.
        invites: Vec<InviteInfo>,
    },
    /// A link is being taken.
    Joining {},
    /// The contacts.
    Contacts {
        /// One each.
        contacts: Vec<ContactInfo>,
    },
    /// A message is stored here and goes out.
    Queued {
        /// Its line.
        id: u64,
    },
    /// A line is gone here.
    Deleted {
        /// Its message was on its way to the relay, and nobody knows how far it came.
        may_have_left: bool,
    },
    /// What was received and not shown.
    Unread {
        /// Oldest first.
        lines: Vec<Unread>,
    },
    /// A part of a conversation.
    History {
        /// Oldest first.
        lines: Vec<Line>,
    },
    /// The number to compare.
    Fingerprint {
        /// 60 digits, without spaces.
        number: String,
        /// What the QR code holds, base64.
        qr: String,
        /// Whether it was confirmed before.
        verified: bool,
    },
    /// The kill code was revoked.
    Revoked {
        /// The relay has removed its switch, too.
        removed: bool,
    },
    /// What was to be destroyed in another TPM is forgotten.
    Forgotten {
        /// Its indexes.
        forgotten: Vec<String>,
    },
    /// Destroying works here.
    Drill {
        /// One for each way of destroying.
        steps: Vec<DrillStep>,
    },
    /// What protects the vault, and what could.
    VaultMode {
        /// What protects it now.
        mode: ModeName,
        /// Whether recovery words open it, too.
        recovery: bool,
        /// So many wrong PINs may follow, by the TPM and the relays; null where neither counts, or the TPM cannot be asked.
        attempts_left: Option<u32>,
        /// The relays that have a share, by host and port.
        relays: Vec<String>,
        /// So many of them must answer.
        needed: usize,
        /// What is to be destroyed and could not be yet; each opening tries again.
        left: Vec<String>,
        /// When the factors were last made anew; null without any.
        refreshed_at: Option<u64>,
        /// What is best on this machine, with the relays that are chosen or were named.
        recommended: ModeName,
        /// All there are.
        modes: Vec<ModeInfo>,
    },
    /// The state of everything.
    Status(StatusInfo),
    /// How far `flush` came.
    Flushed {
        /// Messages and changes that still wait here.
        waiting: usize,
        /// Relays that could not be reached.
        unreachable: Vec<String>,
        /// The time was over before everything was done.
        timed_out: bool,
    },
}

/// What besides a secret opens a vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModeName {
    /// Nothing.
    Passphrase,
    /// The share of this machine's TPM.
    Tpm,
    /// The shares of relays.
    Relays,
    /// Both.
    TpmAndRelays,
}

/// A mode, and whether this machine has what it takes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeInfo {
    /// Which.
    pub mode: ModeName,
    /// What is missing; null where nothing is.
    pub why_not: Option<String>,
}

/// An invite that is no conversation yet.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteInfo {
    /// Who it is for.
    pub name: String,
    /// `waiting` for the relay, `open`, or `failed`.
    pub state: String,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// When it ends.
    pub expires_at: u64,
    /// The link, while it can be taken.
    pub link: Option<String>,
}

/// A contact.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactInfo {
    /// What it is called here.
    pub name: String,
    /// `invited`, `joining`, `invite_failed`, `join_failed`, `active`, `restarting`, `restart_waits`, `over` or `damaged`. Of a
    /// damaged one only name and `why` mean anything.
    pub state: String,
    /// Why it failed; of a damaged one `unreadable` or `newer_version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The numbers were compared.
    pub verified: bool,
    /// Nothing is read and sent.
    pub blocked: bool,
    /// The conversation's timer.
    pub timer_s: Option<u64>,
    /// "It arrived" is told.
    pub receipts_delivered: bool,
    /// "It was shown" is told.
    pub receipts_read: bool,
    /// Lines not shown yet.
    pub unread: u64,
    /// Messages and changes that wait for the relay.
    pub waiting: usize,
    /// Its relay, by host and port; empty for a damaged one of which that is not known.
    pub relay: String,
    /// Of a damaged one: the vault still names all logs that it may have there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_logs_known: Option<bool>,
}

/// The state of everything.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusInfo {
    /// Version of this program.
    pub version: String,
    /// A daemon answers.
    pub daemon: bool,
    /// How far the kernel confines this program: `full`, `part` or `none`.
    pub sandbox: String,
    /// Whoever has the vault open is told before the machine suspends, and when the screen is locked.
    #[serde(default)]
    pub desktop: bool,
    /// The vault.
    pub vault: VaultInfo,
    /// Where new invites are made.
    pub relay: Option<String>,
    /// The relays this device talks to.
    pub relays: Vec<RelayInfo>,
    /// Conversations.
    pub conversations: usize,
    /// Messages and changes that wait for a relay.
    pub waiting: usize,
    /// Contacts whose restart waits for the user.
    pub restarts_waiting: Vec<String>,
    /// Contacts whose conversation cannot be read.
    #[serde(default)]
    pub damaged: Vec<DamagedInfo>,
    /// So far the client's time is above the device's clock, where that is more than a day.
    pub clock_ahead_s: Option<u64>,
    /// What must not pass by; those that were told for a month.
    #[serde(default)]
    pub alarms: Vec<AlarmInfo>,
}

/// A conversation that cannot be read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedInfo {
    /// The contact, by the name that could be read.
    pub conversation: String,
    /// `unreadable` or `newer_version`.
    pub why: String,
}

/// Something that its user must know.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmInfo {
    /// The relay, by host and port.
    pub relay: String,
    /// The contact, if it showed in a conversation.
    pub conversation: Option<String>,
    /// `conversation_over`, `log_destroyed`, or what the relay did, as in `relay_trouble`.
    pub kind: String,
    /// When it was noticed; each has a time of its own.
    pub at: u64,
    /// `alarms_told` was called for it.
    pub told: bool,
}

/// What protects the vault.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultInfo {
    /// What besides the PIN or passphrase opens it.
    pub mode: ModeName,
    /// Argon2id's memory in KiB.
    pub kdf_memory_kib: u32,
    /// Argon2id's passes.
    pub kdf_passes: u32,
    /// Records held.
    pub records: u64,
    /// The operating system keeps the root keys out of the swap file.
    pub memory_locked: bool,
    /// What its file system does with what is overwritten: `in_place`, `copy_on_write`, `network`, `memory` or `unknown`.
    pub storage: String,
    /// What is below: `flash`, `rotating` or `unknown`.
    pub medium: String,
    /// The last drill; none since the vault was made.
    pub last_drill: Option<DrillInfo>,
    /// Why what besides the PIN opens it could not be made anew; null where it was.
    #[serde(default)]
    pub not_renewed: Option<NotRenewed>,
    /// Relays that answered wrongly when it was opened.
    #[serde(default)]
    pub wrong_relays: Vec<String>,
    /// Relays that were chosen and have no share of it now.
    #[serde(default)]
    pub missing_relays: Vec<String>,
    /// Relays that did not delete shares by which older copies of the disk open.
    #[serde(default)]
    pub old_shares: Vec<String>,
    /// Its dead-man time; null without one.
    #[serde(default)]
    pub deadman: Option<DeadmanInfo>,
    /// Its kill code; null without one.
    #[serde(default)]
    pub killcode: Option<KillcodeInfo>,
}

/// The kill code that the vault obeys.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillcodeInfo {
    /// Host and port of its switch's relay.
    pub relay: String,
    /// When it was found that what lies outside of the vault had been changed while it was locked.
    pub changed_at: Option<u64>,
    /// When that relay said last that it has the switch, and no order, to whoever has the vault open or to a guard.
    pub heard_at: Option<u64>,
    /// Since when it says that it has no such switch, to whoever has the vault open or to a guard.
    pub gone_at: Option<u64>,
    /// Since when somebody fills that switch.
    #[serde(default)]
    pub filled_at: Option<u64>,
}

/// Why the factors were not made anew.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotRenewed {
    /// Since when.
    pub since: u64,
    /// The failure's name.
    pub error: String,
    /// What happened.
    pub text: String,
}

/// The last drill.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillInfo {
    /// When it ended.
    pub ended_at: u64,
    /// Whether nothing was found.
    pub passed: bool,
}

/// What a drill did in one way of destroying.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillStep {
    /// `panic_pin`, `without_pin`, `open_panic` or `open_order`.
    pub way: String,
    /// Messages of the throw-away vault.
    pub records: usize,
    /// Of them, those that were found.
    pub found: usize,
    /// What making the vault took, in milliseconds.
    pub prepared_ms: u64,
    /// What destroying it took.
    pub destroyed_ms: u64,
    /// What the search took.
    pub searched_ms: u64,
}

/// When the vault destroys itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadmanInfo {
    /// How long it may stay unopened.
    pub days: u32,
    /// How much of it has passed since it was opened, as far as any clock tells.
    pub counted_s: u64,
    /// What is left of it; 0 when it is due.
    pub left_s: u64,
    /// How much longer it has to be seen unopened before it is destroyed.
    pub destroyed_after_s: u64,
    /// Half of it has passed, or more.
    pub warned: bool,
    /// It has more time, until the next opening.
    pub suspended: bool,
    /// The wall clock is kept right, so that time counts for which the machine is off or asleep.
    pub synchronised: bool,
    /// That it was opened could not be written down.
    pub unwritten: bool,
    /// When it was found that what lies outside of the vault had been changed while it was locked.
    pub changed_at: Option<u64>,
}

/// A relay this device talks to.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayInfo {
    /// Host and port.
    pub relay: String,
    /// Requests can flow.
    pub up: bool,
    /// Orders to destroy a log, like that of a cancelled invite, that it has not confirmed yet.
    #[serde(default)]
    pub orders_waiting: usize,
    /// It speaks only other versions.
    pub update_needed: bool,
    /// The last trouble it made since the vault was opened.
    pub trouble: Option<String>,
}
