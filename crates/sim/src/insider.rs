//! A member who breaks the rules: he has what his own vault holds, and uses it as he likes.

use std::sync::Arc;

use emptyroom_core::account::{AccountRoot, OwnKeys};
use emptyroom_core::api::Name;
use emptyroom_core::inspect;
use emptyroom_core::kind;
use emptyroom_core::mls::{CommitNote, Group};
use emptyroom_core::records;
use emptyroom_relay::store::{Append, NewEntry, Place, Store as _, StoreOp, StoreReply};
use emptyroom_wire::entry::{self, Aad, Ttl};
use emptyroom_wire::log_keys::LogAccess;
use emptyroom_wire::op::View;
use emptyroom_wire::rng;
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::time::Wall;

use crate::dice::Dice;
use crate::memory_store::MemoryStore;
use crate::records::Vault;

/// A log that a member has the keys of.
pub struct Insider {
    access: LogAccess,
    place: Place,
    /// As the relay has it.
    pub view: View,
}

/// Which log is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The one the conversation lives in.
    Conversation,
    /// The recovery log.
    Recovery,
}

/// An entry of his.
pub struct Rubbish<'a> {
    /// In a commit slot.
    pub commit: bool,
    /// It closes the log.
    pub close: bool,
    /// What kind it claims to be.
    pub kind: u8,
    /// What it holds.
    pub content: &'a [u8],
}

impl Insider {
    /// A log of the conversation that a vault's owner calls so.
    pub fn find(
        vault: &Vault,
        name: &Name,
        wanted: Wanted,
        store: &mut MemoryStore,
        now: Wall,
    ) -> Option<Insider> {
        let conversations = inspect::conversations(vault.records()).ok()?;
        let found = conversations.into_iter().find(|one| one.name == *name)?;
        let access = match wanted {
            Wanted::Conversation => found.main?,
            Wanted::Recovery => found.recovery?,
        };
        let place = Place::of(&access.capability);
        let view = look(store, &place, now)?;
        Some(Insider {
            access,
            place,
            view,
        })
    }

    /// Appends whatever he likes. False: the relay does not take it.
    pub fn append(
        &self,
        rubbish: &Rubbish<'_>,
        store: &mut MemoryStore,
        now: Wall,
        seed: u64,
    ) -> bool {
        // Another place or time, other bytes.
        let mut rng = Dice::rng(seed, 900_000 + now.0 + self.view.next_seq);
        let aad = Aad {
            log_id: self.access.log_id,
            expect_slots: self.view.slots,
            commit: rubbish.commit,
            close: rubbish.close,
            ttl: Ttl::Day30,
            nonce: rng::bytes(&mut *rng),
            next_hash: [0; 32],
        };
        let sealed = entry::seal(
            &self.access.outer,
            &aad,
            rubbish.kind,
            rubbish.content,
            &mut *rng,
        );
        let Ok(body) = sealed else {
            return false;
        };
        let op = StoreOp::Append(Append {
            place: self.place.clone(),
            entry: NewEntry {
                aad,
                body: Arc::from(body),
            },
            next: Vec::new(),
        });
        let reply = store
            .apply(now, vec![op])
            .ok()
            .and_then(|mut all| all.pop());
        matches!(reply, Some(StoreReply::Appended(_)))
    }

    /// He destroys the log, as its owner key allows.
    pub fn destroy(&self, store: &mut MemoryStore, now: Wall) -> bool {
        let place = self.place.clone();
        store.apply(now, vec![StoreOp::Destroy { place }]).is_ok()
    }

    /// The relay loses the log.
    pub fn lose(&self, store: &mut MemoryStore) -> bool {
        store.rows().lose(&self.place.key())
    }
}

/// A commit that every member must accept, made from a copy of a vault behind its owner's back: with `close`, the generation that it
/// promises does not exist.
#[must_use]
pub fn commit_from(vault: &Vault, conversation: usize, close: bool, seed: u64) -> Option<Vec<u8>> {
    let (_, root) = vault.record(b"a")?;
    let root: [u8; 32] = records::decode(1, root).ok()?;
    let root = AccountRoot::from_secret(Secret32::new(root));
    let keys = vault.parts(b'k').nth(conversation)?;
    let own = OwnKeys::load(&root, keys.1).ok()?;
    let group = vault.of_conversation(keys.0, b'm')?;
    let mut group = match vault.of_conversation(keys.0, b'j') {
        Some(message_keys) => Group::load_with(group, message_keys).ok()?,
        None => Group::load(group).ok()?,
    };
    let note = if close {
        CommitNote::closing()
    } else {
        CommitNote::update()
    };
    let mut rng = Dice::rng(seed, 910_000 + group.epoch());
    group.self_update(&own, None, &note, &mut *rng).ok()
}

/// Commits are of this kind.
pub const MLS: u8 = kind::MLS;

fn look(store: &mut MemoryStore, place: &Place, now: Wall) -> Option<View> {
    let look = StoreOp::Look {
        place: place.clone(),
    };
    match store.apply(now, vec![look]).ok()?.pop()? {
        StoreReply::Looked(looked) => Some(looked.view),
        _ => None,
    }
}
