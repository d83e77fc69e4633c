//! What a conversation has in memory only: lost with the process, looked up or asked for again.

use std::collections::BTreeSet;

use emptyroom_wire::log_keys::LogAccess;
use emptyroom_wire::time::Mono;

use super::channel::Channel;
use super::copies::Copies;
use super::origin::Origin;
use crate::account::OwnKeys;
use crate::link::Role;
use crate::mls::Group;
use crate::store::Value;
use crate::store::key::ConversationId;

/// What of the group must be stored with this step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsaved {
    Nothing,
    Keys,
    Whole,
}

/// What is not stored.
pub(super) struct Live {
    /// How it began, as its record says.
    pub(super) origin: Option<Origin>,
    pub(super) own: Option<OwnKeys>,
    /// The state record as it was written last.
    pub(super) saved: Value,
    /// The first time at which a line ends, once it was looked up.
    pub(super) next_expiry: Option<Option<u64>>,
    /// When the index of what was sent is looked through again.
    pub(super) next_forget_ms: u64,
    /// Up to where that was done, if there was more.
    pub(super) forget_after: Option<Vec<u8>>,
    pub(super) group: Option<Group>,
    /// There was no group when the records were loaded.
    pub(super) group_missing: bool,
    /// What was to be appended is of a line that ended while nobody could read this conversation.
    pub(super) staged_line_gone: bool,
    pub(super) unsaved: Unsaved,
    pub(super) access: Option<LogAccess>,
    pub(super) recovery_access: Option<LogAccess>,
    pub(super) main: Channel,
    pub(super) recovery: Channel,
    pub(super) former: Channel,
    /// The relay must deliver up to here before anything is appended.
    pub(super) read_first: u64,
    /// When the relay should have delivered it.
    pub(super) read_first_by: Option<Mono>,
    /// Log 0's first entry, while a group is being entered.
    pub(super) genesis: Option<Vec<u8>>,
    /// Looking for generation 1, as log 0 is unknown.
    pub(super) probing: bool,
    /// What was read in the log, once it was looked up.
    pub(super) copies: Option<Copies>,
    /// Troubles told since the link came up.
    pub(super) told: BTreeSet<&'static str>,
    pub(super) creating: bool,
    /// The relay has no more room for messages in this log.
    pub(super) full: bool,
    /// The join was repeated since the link came up.
    pub(super) join_repeated: bool,
    /// A hint made the recovery log again since the link came up.
    pub(super) recovery_made: bool,
    /// How often the hint in the former log was stale.
    pub(super) hints: u8,
    /// It moved into another log, or into trouble: to be looked at again in the same step.
    pub(super) moved: bool,
}

impl Live {
    pub(super) fn new(id: ConversationId) -> Self {
        Self {
            origin: None,
            own: None,
            saved: Value::default(),
            next_expiry: None,
            next_forget_ms: 0,
            forget_after: None,
            group: None,
            group_missing: false,
            staged_line_gone: false,
            unsaved: Unsaved::Nothing,
            access: None,
            recovery_access: None,
            main: Channel::new(id, Role::Main),
            recovery: Channel::new(id, Role::Recovery),
            former: Channel::new(id, Role::Former),
            read_first: 0,
            read_first_by: None,
            genesis: None,
            probing: false,
            copies: None,
            told: BTreeSet::new(),
            creating: false,
            full: false,
            join_repeated: false,
            recovery_made: false,
            hints: 0,
            moved: false,
        }
    }
}
