//! The calls: what a program can ask for.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::answer::ModeName;

/// One thing asked of the client; the method and parameters of a JSON-RPC request.
// [SPEC 12.20]
#[derive(Serialize, Deserialize)]
#[serde(
    tag = "method",
    content = "params",
    rename_all = "snake_case",
    deny_unknown_fields
)]
pub enum Call {
    /// Use this relay for new invites.
    SetRelay {
        /// The relay's address line.
        address: String,
    },
    /// Make a link for one person.
    Invite {
        /// What this person will be called here.
        name: String,
        /// Life of the link.
        expires_in_s: Option<u64>,
    },
    /// Make an open invite worthless.
    CancelInvite {
        /// The name it was made for.
        name: String,
    },
    /// The open invites.
    Invites {},
    /// Take a link.
    Join {
        /// The link.
        link: String,
        /// What the inviter will be called here.
        name: String,
    },
    /// Everybody this account has a conversation with.
    Contacts {},
    /// Call a contact something else; the contact is not told.
    Rename {
        /// Now.
        name: String,
        /// From now on.
        to: String,
    },
    /// Delete a contact, the conversation and its keys.
    Forget {
        /// Whom.
        name: String,
    },
    /// Send a text.
    Send {
        /// To whom.
        to: String,
        /// What.
        text: String,
        /// A timer of this message's own (0: burn on read); the conversation's where absent.
        #[serde(default)]
        burn_s: Option<u64>,
        /// The relay keeps its copy for 1, 7 or 30 days at most; 30 where absent.
        #[serde(default)]
        relay_days: Option<u8>,
    },
    /// Lines that were received and not shown yet, oldest first.
    Unread {
        /// Only of this contact.
        #[serde(default)]
        name: Option<String>,
        /// How many at most.
        limit: usize,
    },
    /// Every line up to and with this one was shown: timers start, read receipts go out.
    Shown {
        /// The contact.
        name: String,
        /// The last line that was shown.
        up_to: u64,
    },
    /// Lines of a conversation, newest last.
    History {
        /// The contact.
        name: String,
        /// Only what is before this line; the newest where absent.
        #[serde(default)]
        before: Option<u64>,
        /// How many at most.
        limit: usize,
    },
    /// Delete one line here, with its key.
    Delete {
        /// The contact.
        name: String,
        /// The line.
        id: u64,
    },
    /// How long messages of this conversation live from now on.
    SetTimer {
        /// The contact.
        name: String,
        /// 0: burn on read; off where absent.
        #[serde(default)]
        timer_s: Option<u64>,
    },
    /// Which receipts this conversation gives.
    SetReceipts {
        /// The contact.
        name: String,
        /// "It arrived here".
        delivered: bool,
        /// "It was shown here".
        read: bool,
    },
    /// The 60-digit number of a conversation.
    Fingerprint {
        /// The contact.
        name: String,
    },
    /// The numbers were compared and are the same.
    ConfirmVerified {
        /// The contact.
        name: String,
    },
    /// Read nothing of and send nothing to a contact, who is not told.
    Block {
        /// The contact.
        name: String,
        /// On or off.
        on: bool,
    },
    /// The user has seen the alarms of `status`.
    // [SPEC 10.44]
    AlarmsTold {
        /// The latest `at` of those that were shown: what came meanwhile was not.
        until: u64,
    },
    /// Allow one more restart after ten in a day.
    AllowRestart {
        /// The contact.
        name: String,
    },
    /// The state of vault, relays and queue.
    Status {},
    /// Come back when nothing is left that can be sent or fetched now, when no relay can be reached, or when the time is over.
    Flush {
        /// The longest to wait.
        wait_ms: u64,
    },
    /// Change the PIN or passphrase.
    ChangeSecret {
        /// The present one: always asked for, also by a running daemon.
        old: SecretText,
        /// The next one.
        new: SecretText,
        /// In the same step another mode; the present one where absent.
        #[serde(default)]
        mode: Option<ModeName>,
    },
    /// What protects the vault, and what could.
    VaultMode {
        /// Relays of which it is looked what they offer, with their access codes.
        #[serde(default)]
        relays: Vec<SecretText>,
    },
    /// From now on this besides the secret opens the vault.
    SetMode {
        /// The present PIN, like for `change_secret`.
        secret: SecretText,
        /// What.
        mode: ModeName,
        /// The addresses of one to five relays; those that were chosen before where there is none.
        #[serde(default)]
        relays: Vec<SecretText>,
    },
    /// From now on this PIN, entered where the PIN goes, destroys the vault and opens an empty one.
    SetPanic {
        /// The present PIN, like for `change_secret`.
        secret: SecretText,
        /// The panic PIN.
        panic: SecretText,
    },
    /// What is noted to be destroyed in another TPM than the one that is here is there no more, its owner says, as the TPM was cleared:
    /// it is forgotten.
    ForgetLeft {
        /// The present PIN.
        secret: SecretText,
    },
    /// From now on there is no panic PIN.
    UnsetPanic {
        /// The present PIN.
        secret: SecretText,
    },
    /// From now on these recovery words open the vault, too; or none. Whoever asks makes them, and has shown them before they count.
    SetRecovery {
        /// The present PIN.
        secret: SecretText,
        /// The words, or none.
        words: Option<SecretText>,
    },
    /// Destroy throw-away vaults and search for what is left of them.
    Drill {},
    /// Destroy the vault now; a daemon ends.
    Panic {},
    /// From now on the vault destroys itself when it is not opened for so long.
    SetDeadman {
        /// The present PIN: always asked for, also by a running daemon.
        secret: SecretText,
        /// 1 to 365 days; off where absent.
        #[serde(default)]
        days: Option<u32>,
    },
    /// Once, until the next opening, it has more time.
    SuspendDeadman {
        /// The present PIN.
        secret: SecretText,
        /// 1 to 90 days, from now on.
        days: u32,
    },
    /// From now on the vault obeys a kill code, whose switch this is.
    SetSwitch {
        /// The present PIN.
        secret: SecretText,
        /// What lies outside of the vault, in hexadecimal digits.
        switch: SecretText,
        /// What the key derives from that destroys the switch's log, in hexadecimal digits.
        owner: SecretText,
    },
    /// From now on the vault obeys no kill code.
    UnsetSwitch {
        /// The present PIN.
        secret: SecretText,
    },
    /// Lock the vault; a daemon ends.
    Lock {},
    /// From now on send this connection every event.
    Subscribe {},
}

/// A PIN or passphrase on its way to the vault: wiped when dropped, never shown.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretText(#[serde(with = "wiped")] Zeroizing<String>);

impl SecretText {
    /// Takes the text over.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// serde for a wiped string, without asking `zeroize` for its serde feature.
mod wiped {
    use serde::{Deserialize, Deserializer, Serializer};
    use zeroize::Zeroizing;

    pub(super) fn serialize<S: Serializer>(
        text: &Zeroizing<String>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Zeroizing<String>, D::Error> {
        String::deserialize(from).map(Zeroizing::new)
    }
}
