//! From a generation secret to the header, capability and keys of its log.
//!
//! Every member derives the same from `S_g` (an MLS exporter of the epoch in which generation g
//! starts); `S_0` is the secret of an invite link or of a restart.

use crate::derive::expand;
use crate::entry::OuterKey;
use crate::log::{Capability, Flags, Header, LogId};
use crate::secret::{Private, Secret32};
use crate::sign::{SignKey, VerifyKey};

/// What a member needs to use a log.
pub struct LogAccess {
    /// Opens it at the relay.
    pub capability: Capability,
    /// Names it.
    pub log_id: LogId,
    /// Proves that one may append.
    pub append: SignKey,
    /// Proves that one may trim and destroy; absent where nobody, or somebody else, may.
    pub owner: Option<SignKey>,
    /// Seals and opens its entries.
    pub outer: OuterKey,
}

/// Whether the members of a conversation own its logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owned {
    /// Members trim and destroy (1:1, own devices, notes).
    ByMembers,
    /// Nobody does: entries go by their time class (groups).
    ByNobody,
}

/// The log of generation `g >= 1` of a conversation, from `S_g`.
#[must_use]
pub fn conversation(s_g: &Secret32, owned: Owned) -> (Header, LogAccess) {
    let owner = match owned {
        Owned::ByMembers => Some(sign_key(s_g, Role::Conversation, OWNER)),
        Owned::ByNobody => None,
    };
    build(s_g, Role::Conversation, Flags::NONE, owner)
}

/// The recovery log of a conversation, from `S_1`: one for its whole life, owned by nobody.
#[must_use]
pub fn recovery(s_1: &Secret32) -> (Header, LogAccess) {
    build(s_1, Role::Recovery, Flags::RECOVERY, None)
}

/// Log 0 of a restart, from the secret that the restart seals to each member; owned by nobody.
#[must_use]
pub fn restart(s_0: &Secret32) -> (Header, LogAccess) {
    build(s_0, Role::Restart, Flags::NONE, None)
}

/// Log 0 of an invite as its maker sees it: owned by a key that is not in the link.
#[must_use]
pub fn invite(s_0: &Secret32, owner: SignKey) -> (Header, LogAccess) {
    build(s_0, Role::Invite, Flags::NONE, Some(owner))
}

/// Log 0 of an invite as whoever holds the link sees it; its header is the inviter's secret.
#[must_use]
pub fn invite_taker(s_0: &Secret32, capability: Capability) -> LogAccess {
    LogAccess {
        log_id: capability.log_id(),
        capability,
        append: sign_key(s_0, Role::Invite, APPEND),
        owner: None,
        outer: outer_key(s_0, Role::Invite),
    }
}

/// What a log is used for; part of every derivation, so that one secret never gives two logs one key.
#[derive(Clone, Copy)]
enum Role {
    Conversation = 1,
    Invite = 2,
    Recovery = 3,
    Restart = 4,
}

const SALT: &str = "emptyroom v1 log salt";
const APPEND: &str = "emptyroom v1 log append key";
const OWNER: &str = "emptyroom v1 log owner key";
const OUTER: &str = "emptyroom v1 log outer key";

fn build(
    secret: &Secret32,
    role: Role,
    flags: Flags,
    owner: Option<SignKey>,
) -> (Header, LogAccess) {
    // [SPEC 2.8]
    let append = sign_key(secret, role, APPEND);
    let salt: Secret32 = expand(secret.expose(), SALT, &[role as u8]);
    let header = Header {
        salt: Private(*salt.expose()),
        append_key: Some(append.verify_key()),
        read_key: None,
        owner_key: owner.as_ref().map(SignKey::verify_key),
        flags,
    };
    let capability = header.capability();
    let access = LogAccess {
        log_id: capability.log_id(),
        capability,
        append,
        owner,
        outer: outer_key(secret, role),
    };
    (header, access)
}

fn sign_key(secret: &Secret32, role: Role, label: &'static str) -> SignKey {
    SignKey::from_seed(&expand(secret.expose(), label, &[role as u8]))
}

fn outer_key(secret: &Secret32, role: Role) -> OuterKey {
    OuterKey::new(expand(secret.expose(), OUTER, &[role as u8]))
}

impl LogAccess {
    /// The public half of the append key.
    #[must_use]
    pub fn append_key(&self) -> VerifyKey {
        self.append.verify_key()
    }
}
