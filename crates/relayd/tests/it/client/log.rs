//! Logs as clients make them.

use emptyroom_wire::entry::{self, Aad, OuterKey, RunningHash, Ttl};
use emptyroom_wire::log::{Capability, Flags, Header};
use emptyroom_wire::op::{EntryPush, First};
use emptyroom_wire::secret::{Private, Secret32};
use emptyroom_wire::sign::SignKey;
use rand_core::Rng;

use super::generator;

/// A log that everybody may read and append to who knows it.
pub struct Log {
    pub header: Header,
    pub owner: SignKey,
    pub outer: OuterKey,
}

impl Log {
    pub fn new() -> Self {
        Self::with_flags(Flags::NONE)
    }

    pub fn with_flags(flags: Flags) -> Self {
        let mut rng = generator();
        let mut bytes = || {
            let mut bytes = [0; 32];
            rng.fill_bytes(&mut bytes);
            bytes
        };
        let owner = SignKey::from_seed(&Secret32::new(bytes()));
        let header = Header {
            salt: Private(bytes()),
            append_key: None,
            read_key: None,
            owner_key: Some(owner.verify_key()),
            flags,
        };
        Self {
            header,
            owner,
            outer: OuterKey::new(Secret32::new(bytes())),
        }
    }

    pub fn capability(&self) -> Capability {
        self.header.capability()
    }

    pub(super) fn aad(&self, nonce: [u8; 16], ttl: Ttl) -> Aad {
        Aad {
            log_id: self.capability().log_id(),
            expect_slots: 0,
            commit: false,
            close: false,
            ttl,
            nonce,
            next_hash: [0; 32],
        }
    }

    pub fn read(&self, entry: &EntryPush) -> Vec<u8> {
        entry::open(
            &self.outer,
            &entry.aad(self.capability().log_id()),
            &entry.body,
        )
        .unwrap()
        .1
    }

    /// The running hash after entries that begin the log.
    pub fn hash_over(&self, entries: &[EntryPush]) -> RunningHash {
        let mut hash = RunningHash::default();
        for entry in entries {
            assert!(entry.before == hash);
            hash = hash.next(
                entry.seq,
                &entry.aad(self.capability().log_id()),
                &entry.body,
            );
        }
        hash
    }

    pub fn first(&self, text: &[u8]) -> First {
        let mut rng = generator();
        let mut nonce = [0; 16];
        rng.fill_bytes(&mut nonce);
        let body =
            entry::seal(&self.outer, &self.aad(nonce, Ttl::Day30), 1, text, &mut rng).unwrap();
        First {
            ttl: Ttl::Day30,
            nonce,
            body,
        }
    }
}
