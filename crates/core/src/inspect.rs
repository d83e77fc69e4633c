//! What the records of a client hold about its logs: for drills, forensic tests and the simulator, never for a client.
//!
//! Whoever has the records has the account; here is what that means in terms of logs. The simulator plays a member who
//! breaks the protocol with it, and compares what both sides read.

use emptyroom_wire::log_keys::{self, LogAccess};

use crate::api::Name;
use crate::conversation::{self, Conversation};
use crate::position::LogPoint;
use crate::records::RecordFault;
use crate::store::key::{self, ConversationId};
use crate::store::{Overlay, Records};

/// One conversation of the records.
pub struct Inspected {
    /// What the user calls it.
    pub name: Name,
    /// The log it lives in, if it lives in one.
    pub main: Option<LogAccess>,
    /// How far that was read.
    pub point: Option<LogPoint>,
    /// Its recovery log, once it stands.
    pub recovery: Option<LogAccess>,
}

/// All conversations of the records.
///
/// # Errors
/// The records are damaged or from a later version.
pub fn conversations(records: &dyn Records) -> Result<Vec<Inspected>, RecordFault> {
    let mut overlay = Overlay::default();
    let store = overlay.over(records);
    let mut found = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.scan(key::CONVERSATIONS, after.as_deref(), 1, false);
        let Some(id) = page
            .first()
            .and_then(|(key, _)| ConversationId::of_key(key))
        else {
            return Ok(found);
        };
        let record = store.get(&id.head()).ok_or(RecordFault::Malformed)?;
        found.push(inspected(
            &Conversation::load(id, &record, &store).map_err(|unusable| unusable.fault)?,
        ));
        let mut end = id.all();
        end.push(u8::MAX);
        after = Some(end);
    }
}

fn inspected(conversation: &Conversation) -> Inspected {
    let logs: conversation::Logs<'_> = conversation.logs();
    Inspected {
        name: conversation.name(),
        main: logs.main.map(conversation::access),
        point: logs.point,
        recovery: logs.recovery.map(|secret| log_keys::recovery(secret).1),
    }
}
