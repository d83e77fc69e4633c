//! What a client asks of a share, and what it is answered.

use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};

use super::AccessCode;
use crate::share::{Element, Share, ShareId};
use crate::sign::Signature;
use crate::wipe::WipeOrder;

/// `share put(id, share, code?)`.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct PutShare {
    /// Drawn at random.
    pub id: ShareId,
    /// The share.
    pub share: Share,
    /// The relay's access code, where it asks for one.
    pub code: Option<AccessCode>,
}

/// `share evaluate(id, element)`.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct EvaluateShare {
    /// The share.
    pub id: ShareId,
    /// To be multiplied.
    pub element: Element,
}

/// `share renew(id, days, proof)`.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct RenewShare {
    /// The share.
    pub id: ShareId,
    /// How long it is to stay from now.
    pub days: u16,
    /// Signature of the owner key ([`crate::share::sign_renew`]).
    pub proof: Signature,
}

/// `share delete(id, sig)`.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct DeleteShare {
    /// The share.
    pub id: ShareId,
    /// Signature of the owner key ([`crate::share::sign_delete`]).
    pub signature: Signature,
}

/// `share wipe(id, order)`.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct WipeShare {
    /// The share.
    pub id: ShareId,
    /// An order that fits its policy.
    pub order: WipeOrder,
}

/// An element, multiplied.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Evaluated {
    /// The product.
    pub element: Element,
    /// How often the share answers from now on.
    pub uses_left: u8,
}
