//! Orders to wipe: who may give them, and whether one is to be carried out.
//!
//! A share's maker may name keys whose holders can have it deleted from anywhere ([`WipePolicy`]). Their order says which switch it is
//! for and until when it holds; relay and device judge it by the same function. So nobody who merely carries an order can make, change
//! or aim one.

use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};

use crate::codec::{self, List};
use crate::hash;
use crate::limits::WIPE_KEYS_MAX;
use crate::log::LogId;
use crate::relay_key::IdentityHash;
use crate::secret::Private;
use crate::share::ShareName;
use crate::sign::{BadSignature, SignKey, Signature, VerifyKey};
use crate::time::Wall;

const ORDER: &str = "emptyroom v1 wipe order";
const ORDER_HASH: &str = "emptyroom v1 wipe order hash";
const WIPED: &str = "emptyroom v1 share wiped";

/// The one action that an order can name: wipe.
pub const ACTION_WIPE: u8 = 1;

/// Whose order wipes.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct WipePolicy {
    /// How many of the keys must have signed.
    pub needed: u8,
    /// The log id of the switch log that its orders name.
    pub switch_id: LogId,
    /// The keys.
    #[tls_codec(with = "List::<WIPE_KEYS_MAX>")]
    pub keys: Vec<VerifyKey>,
}

/// What an order says.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct OrderBody {
    /// Which switch it is for.
    pub switch_id: LogId,
    /// Random: tells one order from another.
    pub order_id: Private<[u8; 16]>,
    /// What to do ([`ACTION_WIPE`]).
    pub action: u8,
    /// When it was made, in unix milliseconds.
    pub issued_ms: u64,
    /// The last moment at which it is to be carried out.
    pub not_after_ms: u64,
}

/// One signature of an order.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct OrderSignature {
    /// The key's place in the policy.
    pub key: u8,
    /// Over the order's body.
    pub signature: Signature,
}

/// An order with its signatures.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct WipeOrder {
    /// What it says.
    pub body: OrderBody,
    /// Who says so.
    #[tls_codec(with = "List::<WIPE_KEYS_MAX>")]
    pub signatures: Vec<OrderSignature>,
}

/// Names an order in receipts.
#[derive(Clone, Copy, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct OrderHash(pub [u8; 32]);

/// Why an order is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoOrder {
    /// It is for another switch.
    Foreign,
    /// It says something that this version does not know.
    UnknownAction,
    /// Its time is over.
    Over,
    /// Too few keys signed it.
    Unsigned,
}

impl WipePolicy {
    /// Whether it can be fulfilled: no key twice, and as many as are needed.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        // [SPEC 4.16]
        let mut keys = self.keys.clone();
        keys.sort_unstable();
        keys.dedup();
        keys.len() == self.keys.len() && (1..=keys.len()).contains(&usize::from(self.needed))
    }
}

impl OrderBody {
    /// Signs it with the key at this place of the policy.
    #[must_use]
    pub fn sign(&self, place: u8, key: &SignKey) -> OrderSignature {
        OrderSignature {
            key: place,
            signature: key.sign(ORDER, &[&self.bytes()]),
        }
    }

    /// The order's name.
    #[must_use]
    pub fn hash(&self) -> OrderHash {
        // [SPEC 4.15]
        OrderHash(hash::labelled(ORDER_HASH, &[&self.bytes()]))
    }

    fn bytes(&self) -> Vec<u8> {
        codec::encode(self).expect("it has no part that could be too long")
    }
}

/// Whether an order is to be carried out by whoever has this policy, now.
///
/// # Errors
/// Why not.
pub fn judge(order: &WipeOrder, policy: &WipePolicy, now: Wall) -> Result<(), NoOrder> {
    if order.body.switch_id != policy.switch_id {
        return Err(NoOrder::Foreign);
    }
    if order.body.action != ACTION_WIPE {
        return Err(NoOrder::UnknownAction);
    }
    if now.0 > order.body.not_after_ms {
        return Err(NoOrder::Over);
    }
    // [SPEC 4.16]
    let bytes = order.body.bytes();
    let signed = |place: &usize, key: &VerifyKey| {
        order.signatures.iter().any(|by| {
            usize::from(by.key) == *place && key.verify(ORDER, &[&bytes], &by.signature).is_ok()
        })
    };
    let keys = policy.keys.iter().enumerate();
    let signers = keys.filter(|(place, key)| signed(place, key)).count();
    if policy.is_sound() && signers >= usize::from(policy.needed) {
        Ok(())
    } else {
        Err(NoOrder::Unsigned)
    }
}

pub(crate) fn sign_wiped(
    identity: &SignKey,
    relay: &IdentityHash,
    share: ShareName,
    order: &OrderHash,
) -> Signature {
    identity.sign(WIPED, &[&relay.0, &share.0, &order.0])
}

/// Checks a relay's receipt for a share that it deleted by an order ([`crate::relay_key::RelayIdentity::wiped`]).
///
/// # Errors
/// [`BadSignature`].
pub fn verify_wiped(
    identity: &VerifyKey,
    share: ShareName,
    order: &OrderHash,
    receipt: &Signature,
) -> Result<(), BadSignature> {
    // [SPEC 4.76]
    let relay = IdentityHash::of(identity);
    identity.verify(WIPED, &[&relay.0, &share.0, &order.0], receipt)
}

impl core::fmt::Debug for OrderHash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("OrderHash(private)")
    }
}
