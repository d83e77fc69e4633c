//! The kill code: what somebody keeps away from a device to have it wiped from anywhere, and the switch log that carries his
//! order to the device and the device's receipt back.
//!
//! The device keeps what derives from the code ([`Switch`]) and the public kill key, never the code. So it can read and
//! answer orders, and nobody but who has the code can give one: no relay, and no thief of the device.

use rand_core::CryptoRng;
use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};
use zeroize::Zeroize;

use crate::address::{Host, HostText};
use crate::codec::{self, List, TooLong};
use crate::derive::expand;
use crate::entry::{self, Aad, OuterKey, Ttl};
use crate::limits::LINK_HOSTS_MAX;
use crate::link::LinkFault;
use crate::log::{Capability, Flags, Header, LogId};
use crate::op::EntryPush;
use crate::pasted::{self, Form};
use crate::relay_key::IdentityHash;
use crate::rng;
use crate::secret::{Private, Secret, Secret32};
use crate::sign::{BadSignature, SignKey, Signature, VerifyKey};
use crate::wipe::{OrderHash, WipeOrder, WipePolicy};

const KILL_KEY: &str = "emptyroom v1 kill key";
const DEVICE: &str = "emptyroom v1 switch device";
const OWNER: &str = "emptyroom v1 switch owner key";
const SALT: &str = "emptyroom v1 switch salt";
const APPEND: &str = "emptyroom v1 switch append key";
const READ: &str = "emptyroom v1 switch read key";
const OUTER: &str = "emptyroom v1 switch outer key";
const RECEIPT_KEY: &str = "emptyroom v1 switch receipt key";
const RECEIPT: &str = "emptyroom v1 wipe receipt";
const REMAINS: &str = "emptyroom v1 wipe remains";
const VERSION: u8 = 1;
/// What the text of a kill code begins with, in either case.
pub const SCHEME: &str = "emptyroom-kill:";

const FORM: Form = Form {
    scheme: SCHEME,
    version: VERSION,
    check: "emptyroom v1 kill link check",
};

/// Bytes of a kill code.
pub const KILL_CODE_LEN: usize = 16;

const KIND_ORDER: u8 = 1;
const KIND_RECEIPT: u8 = 2;
const KIND_REMAINS: u8 = 3;

/// Sixteen random bytes, from which all else derives.
pub struct KillCode(Secret<KILL_CODE_LEN>);

/// What derives from the device's part: the log and its keys, and the key of receipts.
pub struct Switch {
    /// The header of the switch log.
    pub header: Header,
    /// Finds it.
    pub capability: Capability,
    /// Names it, and the switch.
    pub id: LogId,
    /// Proves that one may append.
    pub append: SignKey,
    /// Proves that one may read.
    pub read: SignKey,
    outer: OuterKey,
    receipt: SignKey,
}

/// What an entry of a switch log says.
pub enum Said {
    /// Somebody orders something.
    Order(WipeOrder),
    /// The device has carried an order out.
    Receipt(Receipt),
    /// What of its vault is left elsewhere then.
    Remains(Remains),
}

/// A device's word that it has carried an order out.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Receipt {
    /// Which.
    pub order: OrderHash,
    /// When, by its own clock, in unix milliseconds.
    pub at_ms: u64,
    signature: Signature,
}

/// A device's word of what is left elsewhere of a vault that it destroyed by an order.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Remains {
    /// Which order.
    pub order: OrderHash,
    /// What.
    pub left: Left,
    signature: Signature,
}

/// Kinds of things that could not be destroyed with a vault: a set, whose other bits later versions may know.
// [SPEC 11.116]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes,
)]
pub struct Left(pub u8);

/// A kill code with where its switch is.
pub struct KillLink {
    /// Where the relay is; tried in order. 1 to 4.
    pub hosts: Vec<Host>,
    /// Who it must be.
    pub relay: IdentityHash,
    /// The code.
    pub code: KillCode,
}

/// What a device keeps of its switch, outside of its vault: no secret that could order anything.
#[derive(Clone, PartialEq, Eq)]
pub struct Watched {
    /// Where the relay is; tried in order. 1 to 4.
    pub hosts: Vec<Host>,
    /// Who it must be.
    pub relay: IdentityHash,
    /// What the switch derives from ([`Switch::of`]).
    pub device_secret: Private<[u8; 32]>,
    /// Who may destroy the log: nobody who has only this.
    pub owner: VerifyKey,
    /// Whose orders count.
    pub policy: WipePolicy,
}

#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
struct WatchedBytes {
    #[tls_codec(with = "List::<LINK_HOSTS_MAX>")]
    hosts: Vec<HostText>,
    relay: IdentityHash,
    device_secret: [u8; 32],
    owner: VerifyKey,
    policy: WipePolicy,
}

#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
struct KillBytes {
    #[tls_codec(with = "List::<LINK_HOSTS_MAX>")]
    hosts: Vec<HostText>,
    relay: IdentityHash,
    code: [u8; KILL_CODE_LEN],
}

impl Drop for KillBytes {
    fn drop(&mut self) {
        self.code.zeroize();
    }
}

impl KillCode {
    /// A new one.
    #[must_use]
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        KillCode(rng::secret(rng))
    }

    /// From what somebody kept.
    #[must_use]
    pub fn new(bytes: [u8; KILL_CODE_LEN]) -> Self {
        KillCode(Secret::new(bytes))
    }

    /// The bytes, for the moment of their use.
    #[must_use]
    pub fn expose(&self) -> &[u8; KILL_CODE_LEN] {
        self.0.expose()
    }

    /// Signs orders.
    #[must_use]
    pub fn kill_key(&self) -> SignKey {
        // [SPEC 11.62]
        SignKey::from_seed(&expand(self.expose(), KILL_KEY, &[]))
    }

    /// The device's part.
    #[must_use]
    pub fn device_secret(&self) -> Secret32 {
        expand(self.expose(), DEVICE, &[])
    }

    /// What the key derives from that destroys the log: for whoever has the code, and the vault.
    #[must_use]
    pub fn owner_seed(&self) -> Secret32 {
        expand(self.expose(), OWNER, &[])
    }

    /// The switch of this code.
    #[must_use]
    pub fn switch(&self) -> Switch {
        let owner = SignKey::from_seed(&self.owner_seed());
        Switch::of(&self.device_secret(), owner.verify_key())
    }

    /// What the device keeps, where the relay of these hosts carries the switch.
    #[must_use]
    pub fn watched(&self, hosts: Vec<Host>, relay: IdentityHash) -> Watched {
        Watched {
            hosts,
            relay,
            device_secret: Private(*self.device_secret().expose()),
            owner: SignKey::from_seed(&self.owner_seed()).verify_key(),
            policy: self.policy(),
        }
    }

    /// Whose orders count: whoever has this code.
    #[must_use]
    pub fn policy(&self) -> WipePolicy {
        // [SPEC 11.63]
        WipePolicy {
            needed: 1,
            switch_id: self.switch().id,
            keys: vec![self.kill_key().verify_key()],
        }
    }
}

impl Switch {
    /// What derives from the device's part of a kill code, with who may destroy the log.
    #[must_use]
    pub fn of(device_secret: &Secret32, owner: VerifyKey) -> Self {
        // [SPEC 11.62, 11.63]
        let key = |label| SignKey::from_seed(&expand(device_secret.expose(), label, &[]));
        let (append, read) = (key(APPEND), key(READ));
        let salt: Secret32 = expand(device_secret.expose(), SALT, &[]);
        let header = Header {
            salt: Private(*salt.expose()),
            append_key: Some(append.verify_key()),
            read_key: Some(read.verify_key()),
            owner_key: Some(owner),
            flags: Flags::REFUSE_CLOSE.and(Flags::RECOVERY_LIFE),
        };
        let capability = header.capability();
        Switch {
            id: capability.log_id(),
            header,
            capability,
            append,
            read,
            outer: OuterKey::new(expand(device_secret.expose(), OUTER, &[])),
            receipt: key(RECEIPT_KEY),
        }
    }

    /// The device's word, at this time.
    #[must_use]
    pub fn receipt(&self, order: OrderHash, at_ms: u64) -> Receipt {
        // [SPEC 11.67]
        let parts: [&[u8]; 3] = [&self.id.0, &order.0, &at_ms.to_be_bytes()];
        Receipt {
            order,
            at_ms,
            signature: self.receipt.sign(RECEIPT, &parts),
        }
    }

    /// Whether this switch's device gave it.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self, receipt: &Receipt) -> Result<(), BadSignature> {
        let parts: [&[u8]; 3] = [&self.id.0, &receipt.order.0, &receipt.at_ms.to_be_bytes()];
        let key = self.receipt.verify_key();
        key.verify(RECEIPT, &parts, &receipt.signature)
    }

    /// The device's word of what is left.
    #[must_use]
    pub fn remains(&self, order: OrderHash, left: Left) -> Remains {
        // [SPEC 11.116]
        let parts: [&[u8]; 3] = [&self.id.0, &order.0, &[left.0]];
        Remains {
            order,
            left,
            signature: self.receipt.sign(REMAINS, &parts),
        }
    }

    /// Whether this switch's device said so.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify_remains(&self, remains: &Remains) -> Result<(), BadSignature> {
        let parts: [&[u8]; 3] = [&self.id.0, &remains.order.0, &[remains.left.0]];
        let key = self.receipt.verify_key();
        key.verify(REMAINS, &parts, &remains.signature)
    }

    /// Seals an entry, to be appended where the log holds no commits, with this nonce.
    ///
    /// # Errors
    /// [`TooLong`] if an order has more signatures than there are keys: our caller's mistake.
    pub fn seal(
        &self,
        said: &Said,
        nonce: [u8; 16],
        rng: &mut dyn CryptoRng,
    ) -> Result<Vec<u8>, TooLong> {
        // [SPEC 11.63]
        let (kind, content) = match said {
            Said::Order(order) => (KIND_ORDER, codec::encode(order)?),
            Said::Receipt(receipt) => (KIND_RECEIPT, codec::encode(receipt)?),
            Said::Remains(remains) => (KIND_REMAINS, codec::encode(remains)?),
        };
        let aad = Aad::first(self.id, Ttl::Life, nonce);
        entry::seal(&self.outer, &aad, kind, &content, rng)
    }

    /// What an entry says; nothing where it is none of a switch, whoever made it.
    #[must_use]
    pub fn open(&self, entry: &EntryPush) -> Option<Said> {
        // [SPEC 11.63]
        if entry.commit || entry.close {
            return None;
        }
        let (kind, content) = entry::open(&self.outer, &entry.aad(self.id), &entry.body).ok()?;
        match kind {
            KIND_ORDER => codec::decode(&content).ok().map(Said::Order),
            KIND_RECEIPT => codec::decode(&content).ok().map(Said::Receipt),
            KIND_REMAINS => codec::decode(&content).ok().map(Said::Remains),
            _ => None,
        }
    }
}

impl Left {
    /// A key in the TPM.
    pub const TPM: Self = Left(1);
    /// Shares at relays.
    pub const RELAYS: Self = Left(2);
    /// What nobody knows, as the header that named it was damaged.
    pub const UNKNOWN: Self = Left(4);
    /// It was locked: what its header did not name nobody has looked at.
    pub const UNSEEN: Self = Left(8);

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Left(self.0 | other.0)
    }

    /// What the other does not have.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Left(self.0 & !other.0)
    }

    /// Whether some of the other is in it.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The kinds, without those that a later version knows: of those it is only known that something is left.
    #[must_use]
    pub fn known(self) -> Self {
        let known = Self::TPM.and(Self::RELAYS).and(Self::UNKNOWN);
        let known = known.and(Self::UNSEEN);
        let is_other = self.without(known) != Self::default();
        let other = if is_other {
            Self::UNKNOWN
        } else {
            Self::default()
        };
        Left(self.0 & known.0).and(other)
    }
}

impl Watched {
    /// The switch.
    #[must_use]
    pub fn switch(&self) -> Switch {
        Switch::of(&Secret32::new(self.device_secret.0), self.owner)
    }

    /// The bytes that are kept.
    ///
    /// # Errors
    /// [`TooLong`] if there are more than four hosts or eight keys.
    pub fn encode(&self) -> Result<Vec<u8>, TooLong> {
        // [SPEC 11.60]
        codec::encode(&WatchedBytes {
            hosts: self.hosts.iter().map(HostText::of).collect(),
            relay: self.relay,
            device_secret: self.device_secret.0,
            owner: self.owner,
            policy: self.policy.clone(),
        })
    }

    /// What was kept; nothing where the policy is none or not that of this switch.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: WatchedBytes = codec::decode(bytes).ok()?;
        let hosts: Option<Vec<Host>> = bytes.hosts.iter().map(HostText::host).collect();
        let watched = Watched {
            hosts: hosts.filter(|hosts| !hosts.is_empty())?,
            relay: bytes.relay,
            device_secret: Private(bytes.device_secret),
            owner: bytes.owner,
            policy: bytes.policy,
        };
        let is_own = watched.policy.switch_id == watched.switch().id;
        (is_own && watched.policy.is_sound()).then_some(watched)
    }
}

impl KillLink {
    /// The text, in lower case. Upper case of it makes a smaller QR code and means the same.
    ///
    /// # Errors
    /// [`TooLong`] if there are more than four hosts.
    pub fn to_text(&self) -> Result<String, TooLong> {
        // [SPEC 11.64]
        let content = KillBytes {
            hosts: self.hosts.iter().map(HostText::of).collect(),
            relay: self.relay,
            code: *self.code.expose(),
        };
        Ok(FORM.to_text(&codec::encode(&content)?))
    }

    /// Reads a code out of what somebody pasted.
    ///
    /// # Errors
    /// A [`LinkFault`] that says what to do.
    pub fn parse(text: &str) -> Result<Self, LinkFault> {
        let content = FORM.parse(text)?;
        let content: KillBytes = codec::decode(&content).map_err(|_| LinkFault::Invalid)?;
        Ok(KillLink {
            hosts: pasted::hosts(&content.hosts)?,
            relay: content.relay,
            code: KillCode::new(content.code),
        })
    }
}
