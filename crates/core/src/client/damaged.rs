//! Conversations whose records cannot be read: they are named, left as they are, and go when their user forgets them.
//!
//! Nothing is written over: a later version of this program may read them, and nobody is sent to from a state that is not known.

use std::collections::BTreeMap;

use emptyroom_wire::relay_key::IdentityHash;
use emptyroom_wire::time::Wall;

use super::{Client, LoadError};
use crate::api::{Burn, Contact, ContactState, Damage, Event, GoneWhy, LineId, Name, Refused};
use crate::conversation::{Conversation, LeftAtRelay, Unusable, name_in};
use crate::records::RecordFault;
use crate::store::key::{self, ConversationId};
use crate::store::{Records, Store};

const PAGE_LEN: usize = 256;

/// A conversation that cannot be used.
pub(super) struct Damaged {
    pub(super) name: Name,
    pub(super) why: Damage,
    /// When the first of its lines ends whose timer runs.
    ends_ms: Option<u64>,
    /// If its state could be read.
    left: Option<LeftAtRelay>,
}

/// All conversations of the records.
#[derive(Default)]
pub(super) struct Found {
    pub(super) whole: BTreeMap<ConversationId, Conversation>,
    pub(super) damaged: BTreeMap<ConversationId, Damaged>,
}

impl Found {
    /// Reads them. One that is damaged keeps nobody from the others.
    // [SPEC 8.67]
    pub(super) fn load(store: &Store<'_>) -> Result<Self, LoadError> {
        let mut found = Self::default();
        let mut damaged = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = store.scan(key::CONVERSATIONS, after.as_deref(), 1, false);
            let Some((first, _)) = page.first() else {
                break;
            };
            let Some(id) = ConversationId::of_key(first) else {
                // No conversation has such a record.
                after = Some(first.clone());
                continue;
            };
            // One without its state was forgotten by halves, which one transaction excludes.
            let head = store.get(&id.head());
            let loaded = match &head {
                Some(record) => Conversation::load(id, record, store),
                None => Err(Unusable::from(RecordFault::Malformed)),
            };
            match loaded {
                Ok(conversation) => {
                    found.whole.insert(id, conversation);
                }
                Err(unusable) => {
                    let name = head.as_deref().and_then(|head| name_in(head));
                    damaged.push((id, unusable, name));
                }
            }
            let Some(next) = id.0.checked_add(1) else {
                break;
            };
            after = Some(ConversationId(next).all());
        }
        // Names that were read whole come first.
        for (id, Unusable { fault, left }, name) in damaged {
            let name = found.free_name(id, name);
            let why = match fault {
                RecordFault::Newer { .. } => Damage::NewerVersion,
                RecordFault::Malformed => Damage::Unreadable,
            };
            let ends_ms = first_end(store, id);
            let damaged = Damaged {
                name,
                why,
                ends_ms,
                left,
            };
            found.damaged.insert(id, damaged);
        }
        Ok(found)
    }

    fn free_name(&self, id: ConversationId, name: Option<Name>) -> Name {
        let whole = self.whole.values().map(Conversation::name);
        let damaged = self.damaged.values().map(|damaged| damaged.name.clone());
        let taken: Vec<Name> = whole.chain(damaged).collect();
        let numbered = (1_usize..).map(|n| match n {
            1 => format!("damaged-{}", id.0),
            n => format!("damaged-{}-{n}", id.0),
        });
        let numbered = numbered.filter_map(|text| Name::parse(&text).ok());
        name.into_iter()
            .chain(numbered)
            .find(|name| !taken.contains(name))
            .unwrap_or_else(Name::unnamed)
    }
}

fn first_end(store: &Store<'_>, id: ConversationId) -> Option<u64> {
    let page = store.scan(&id.expiries(), None, PAGE_LEN, false);
    page.iter().find_map(|(key, _)| key::expiry_time(key))
}

impl Damaged {
    /// It may be at this relay.
    pub(super) fn may_need(&self, relay: &IdentityHash) -> bool {
        self.left.as_ref().is_none_or(|left| left.relay == *relay)
    }

    /// In the list of contacts.
    fn contact(&self, relay: String) -> Contact {
        Contact {
            name: self.name.clone(),
            state: ContactState::Damaged(self.why),
            verified: false,
            blocked: false,
            burn: Burn::Never,
            receipts_delivered: false,
            receipts_read: false,
            unread: 0,
            waiting: 0,
            relay,
            all_logs_known: self.left.as_ref().is_some_and(|left| left.is_all),
        }
    }

    /// Lines whose time is over go, as those of any other.
    // [SPEC 8.67, 9.32]
    fn expire(
        &mut self,
        id: ConversationId,
        now_ms: u64,
        store: &mut Store<'_>,
        events: &mut Vec<Event>,
    ) {
        while self.ends_ms.is_some_and(|at| at <= now_ms) {
            let page = store.scan(&id.expiries(), None, PAGE_LEN, false);
            let is_due = |key: &Vec<u8>| key::expiry_time(key).is_some_and(|at| at <= now_ms);
            for (key, _) in page.into_iter().filter(|(key, _)| is_due(key)) {
                if let Some(line) = key::last_number(&key) {
                    store.delete(&id.line(line));
                    events.push(Event::MessageGone {
                        conversation: self.name.clone(),
                        id: LineId(line),
                        why: GoneWhy::Expired,
                    });
                }
                store.delete(&key);
            }
            self.ends_ms = first_end(store, id);
        }
    }
}

impl Client {
    /// Lines of damaged conversations end in their time, too.
    pub(super) fn expire_damaged(&mut self, records: &dyn Records) {
        let now_ms = self.clock.now().0;
        let mut store = self.overlay.over(records);
        for (id, damaged) in &mut self.damaged {
            damaged.expire(*id, now_ms, &mut store, &mut self.step.events);
        }
    }

    /// When the next of them does.
    pub(super) fn damaged_end_at(&self) -> Option<Wall> {
        let ends = self.damaged.values().filter_map(|damaged| damaged.ends_ms);
        ends.min().map(Wall)
    }

    /// The conversation of this name, if it can be used.
    pub(super) fn usable(&self, name: &Name) -> Result<ConversationId, Refused> {
        if let Some(id) = self.named(name) {
            return Ok(id);
        }
        let mut damaged = self.damaged.values();
        let found = damaged.find(|damaged| damaged.name == *name);
        Err(found.map_or(Refused::UnknownName, |damaged| {
            Refused::Damaged(damaged.why)
        }))
    }

    /// Somebody is called so.
    pub(super) fn is_taken(&self, name: &Name) -> bool {
        !matches!(self.usable(name), Err(Refused::UnknownName))
    }

    /// What a conversation is called.
    pub(super) fn name_of(&self, id: ConversationId) -> Option<Name> {
        let whole = self.conversations.get(&id).map(Conversation::name);
        let damaged = || self.damaged.get(&id).map(|damaged| damaged.name.clone());
        whole.or_else(damaged)
    }

    pub(super) fn damaged_contacts(&self) -> impl Iterator<Item = Contact> {
        self.damaged.values().map(|damaged| {
            let relay = damaged.left.as_ref().map(|left| left.relay);
            damaged.contact(relay.map_or_else(String::new, |relay| self.relay_name(&relay)))
        })
    }

    /// Deletes all records of a damaged conversation, and has the relay destroy what could be read of it. False: there is none of
    /// this name.
    // [SPEC 8.68]
    pub(super) fn forget_damaged(&mut self, records: &dyn Records, name: &Name) -> bool {
        let found = self
            .damaged
            .iter()
            .find(|(_, damaged)| damaged.name == *name);
        let Some(id) = found.map(|(id, _)| *id) else {
            return false;
        };
        let left = self.damaged.remove(&id).and_then(|damaged| damaged.left);
        if let Some(LeftAtRelay { relay, orders, .. }) = left {
            for order in orders {
                self.keep_destroy(relay, order);
            }
        }
        self.overlay.over(records).delete_all(&id.all());
        true
    }
}
