//! The invite link: `emptyroom:` and base32 of everything its taker needs.
//!
//! Whoever sees the link first can take it, so the whole text is a secret. A checksum tells a damaged
//! link from a wrong one; blanks, line breaks and the brackets that mail puts around links do no harm.

use core::fmt;

use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};
use zeroize::Zeroize;

use crate::address::{Host, HostText};
use crate::codec::{self, List};
use crate::hash;
use crate::limits::LINK_HOSTS_MAX;
use crate::log::Capability;
use crate::pasted::{self, Form};
use crate::relay_key::IdentityHash;
use crate::secret::Secret32;
use crate::time::Wall;

const BINDING: &str = "emptyroom v1 invite binding";
const VERSION: u8 = 1;
/// What a link begins with, in either case.
pub const SCHEME: &str = "emptyroom:";

const FORM: Form = Form {
    scheme: SCHEME,
    version: VERSION,
    check: "emptyroom v1 link check",
};

/// Everything in a link. No `Debug`, no `Clone`: it is a secret.
pub struct InviteLink {
    /// Where the relay is; tried in order. 1 to 4.
    pub hosts: Vec<Host>,
    /// Who it must be.
    pub relay: IdentityHash,
    /// Of log 0.
    pub capability: Capability,
    /// Stands for `S_0`.
    pub secret: Secret32,
    /// What the group behind it must be, see [`InviteBinding::of`].
    pub binding: InviteBinding,
    /// When the inviter stops waiting.
    pub expires: Wall,
}

/// Hash over the inviter's conversation identity key and the group id.
#[derive(Clone, Copy, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct InviteBinding(pub [u8; 32]);

/// Why a text is no usable link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkFault {
    /// It does not begin with `emptyroom:`.
    NotALink,
    /// Characters are missing, added or changed: copy it again.
    Damaged,
    /// It was made by a newer program.
    Newer {
        /// The link's version.
        version: u8,
    },
    /// It is whole, but its content makes no sense: whoever made it is at fault.
    Invalid,
}

#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
struct LinkBytes {
    #[tls_codec(with = "List::<LINK_HOSTS_MAX>")]
    hosts: Vec<HostText>,
    relay: IdentityHash,
    capability: Capability,
    secret: [u8; 32],
    binding: InviteBinding,
    expires_ms: u64,
}

impl Drop for LinkBytes {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl InviteBinding {
    /// Both parts with their length before them.
    #[must_use]
    pub fn of(identity_key: &[u8], group_id: &[u8]) -> Self {
        // [SPEC 7.8]
        let len = |part: &[u8]| (part.len() as u64).to_be_bytes();
        InviteBinding(hash::labelled(
            BINDING,
            &[&len(identity_key), identity_key, &len(group_id), group_id],
        ))
    }
}

impl InviteLink {
    /// The text, in lower case. Upper case of it makes a smaller QR code and means the same.
    ///
    /// # Errors
    /// [`codec::TooLong`] if there are more than four hosts.
    pub fn to_text(&self) -> Result<String, codec::TooLong> {
        let content = LinkBytes {
            hosts: self.hosts.iter().map(HostText::of).collect(),
            relay: self.relay,
            capability: self.capability.clone(),
            secret: *self.secret.expose(),
            binding: self.binding,
            expires_ms: self.expires.0,
        };
        Ok(FORM.to_text(&codec::encode(&content)?))
    }

    /// Reads a link out of what somebody pasted.
    ///
    /// # Errors
    /// A [`LinkFault`] that says what to do.
    pub fn parse(text: &str) -> Result<Self, LinkFault> {
        let content = FORM.parse(text)?;
        let content: LinkBytes = codec::decode(&content).map_err(|_| LinkFault::Invalid)?;
        Ok(InviteLink {
            hosts: pasted::hosts(&content.hosts)?,
            relay: content.relay,
            capability: content.capability.clone(),
            secret: Secret32::new(content.secret),
            binding: content.binding,
            expires: Wall(content.expires_ms),
        })
    }
}

impl fmt::Debug for InviteBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteBinding(private)")
    }
}

impl fmt::Display for LinkFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkFault::NotALink => f.write_str("an invite link begins with 'emptyroom:'"),
            LinkFault::Damaged => {
                f.write_str("the invite link is damaged: a part is missing or changed")
            }
            LinkFault::Newer { version } => {
                write!(
                    f,
                    "the invite link has version {version}, this program knows {VERSION}: update needed"
                )
            }
            LinkFault::Invalid => f.write_str("the invite link is whole but makes no sense"),
        }
    }
}

impl std::error::Error for LinkFault {}
