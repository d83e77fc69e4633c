//! Two people with keys, and how they come into one group.

use emptyroom_core::account::{AccountRoot, OwnKeys};
use emptyroom_core::genesis::{Binding, Genesis};
use emptyroom_core::mls::{Admission, CommitNote, Group, Joined, Processed, Slot};
use emptyroom_wire::time::Day;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

pub(crate) const MESSAGE: Slot = Slot {
    commit: false,
    close: false,
};
pub(crate) const UPDATE: Slot = Slot {
    commit: true,
    close: false,
};
pub(crate) const CLOSING: Slot = Slot {
    commit: true,
    close: true,
};

pub(crate) const NOBODY: Admission<'static> = Admission::Nobody;

pub(crate) const TODAY: Day = Day(20_700);

/// One person's device in one conversation.
pub(crate) struct Party {
    pub(crate) root: AccountRoot,
    pub(crate) keys: OwnKeys,
    pub(crate) group: Group,
    pub(crate) rng: ChaCha20Rng,
}

/// Keys of somebody, from a seed.
pub(crate) fn keys(seed: u64) -> (AccountRoot, OwnKeys, ChaCha20Rng) {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let root = AccountRoot::generate(&mut rng);
    let keys = OwnKeys::generate(&root, TODAY, &mut rng);
    (root, keys, rng)
}

impl Party {
    /// Somebody with a fresh group of his own.
    pub(crate) fn inviter(seed: u64) -> Self {
        let (root, keys, mut rng) = keys(seed);
        let group = Group::create(&keys, &mut rng).unwrap();
        Self {
            root,
            keys,
            group,
            rng,
        }
    }

    /// What log 0 begins with, and what the link says about it.
    pub(crate) fn invite(&self) -> (Vec<u8>, Binding) {
        let group_info = self.group.group_info(&self.keys).unwrap();
        let binding = Binding::of(self.keys.identity(), self.group.id());
        (Genesis { group_info }.encode(), binding)
    }

    /// Everything about the device is written down and read again.
    pub(crate) fn reload(&mut self) {
        self.group = Group::load(&self.group.snapshot()).unwrap();
        self.keys = OwnKeys::load(&self.root, &self.keys.record()).unwrap();
    }

    pub(crate) fn send(&mut self, text: &str) -> Vec<u8> {
        self.group
            .encrypt(&self.keys, text.as_bytes(), &mut self.rng)
            .unwrap()
    }

    pub(crate) fn update(&mut self, note: &CommitNote) -> Vec<u8> {
        self.group
            .self_update(&self.keys, None, note, &mut self.rng)
            .unwrap()
    }

    pub(crate) fn read(&mut self, entry: &[u8], slot: Slot) -> Processed {
        self.group.process(entry, slot, Admission::Nobody)
    }

    /// Reads a message and says who sent what.
    pub(crate) fn text(&mut self, entry: &[u8]) -> (u32, String) {
        match self.read(entry, MESSAGE) {
            Processed::Application { sender, message } => {
                (sender.leaf, String::from_utf8(message).unwrap())
            }
            other => panic!("expected a message, got {other:?}"),
        }
    }

    /// Reads the other's commit and moves on.
    pub(crate) fn follow(&mut self, entry: &[u8], slot: Slot) {
        match self.read(entry, slot) {
            Processed::Commit(staged) => self.group.merge(staged).unwrap(),
            other => panic!("expected a commit, got {other:?}"),
        }
    }

    /// Reads the own commit back and moves on.
    pub(crate) fn confirm(&mut self, entry: &[u8], slot: Slot) {
        match self.read(entry, slot) {
            Processed::OwnCommit => self.group.merge_pending().unwrap(),
            other => panic!("expected the own commit, got {other:?}"),
        }
    }
}

/// Takes an invite.
pub(crate) fn take(
    (genesis, binding): &(Vec<u8>, Binding),
    keys: &OwnKeys,
    rng: &mut ChaCha20Rng,
) -> Joined {
    let genesis = Genesis::decode(genesis).unwrap();
    Group::join(
        &genesis.group_info,
        binding,
        keys,
        &CommitNote::join(None),
        rng,
    )
    .unwrap()
}

/// Two who are in one group, at its first common epoch.
pub(crate) fn pair(seed: u64) -> (Party, Party) {
    let mut anna = Party::inviter(seed);
    let (root, keys, mut rng) = keys(seed + 1_000_000);
    let joined = take(&anna.invite(), &keys, &mut rng);
    match anna
        .group
        .process(&joined.commit, CLOSING, Admission::Invited)
    {
        Processed::Commit(staged) => anna.group.merge(staged).unwrap(),
        other => panic!("expected a join, got {other:?}"),
    }
    let bert = Party {
        root,
        keys,
        group: joined.group,
        rng,
    };
    (anna, bert)
}
