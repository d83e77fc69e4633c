//! Where a relay is and who it must be, as a line of text: `HOST:PORT[,HOST:PORT…]/IDENTITY[?code=CODE]`.
//!
//! A relay that runs on several nodes has several hosts; whichever answers must have the one identity.
//! IDENTITY is the relay's identity hash with a checksum, 56 characters of base32, so that a typing
//! error is told apart from another relay. CODE lets one create logs; it is a secret.

use core::fmt;
use std::net::Ipv6Addr;

use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};

use crate::base32;
use crate::codec::Opaque;
use crate::hash;
use crate::limits::{ACCESS_CODE_LEN_MAX, HOST_LEN_MAX, LINK_HOSTS_MAX};
use crate::op::AccessCode;
use crate::relay_key::IdentityHash;

const CHECK: &str = "emptyroom v1 identity check";
const CHECK_LEN: usize = 3;
const IDENTITY_TEXT_LEN: usize = 56;

/// A relay's address. `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct RelayAddress {
    /// Where to connect.
    pub host: Host,
    /// Where else, if it runs on several nodes; at most three.
    pub others: Vec<Host>,
    /// Who must answer.
    pub identity: IdentityHash,
    /// For creating logs, where the relay wants one.
    pub code: Option<AccessCode>,
}

/// A name or IP address with a port. `Debug` shows nothing; `Display` is for dialling and people.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Host {
    /// Lower case; an IPv6 address without brackets.
    name: String,
    port: u16,
}

/// What is wrong with an address; its writer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressFault {
    /// There is no `/` between host and identity.
    NoIdentity,
    /// There are more than four hosts, or one stands twice.
    Hosts,
    /// There is no `:PORT`.
    NoPort,
    /// The port is not a number from 1 to 65535.
    Port,
    /// The host is empty, too long or has characters that no host has.
    Host,
    /// The identity is not 56 characters of base32.
    Identity,
    /// The identity's checksum does not fit: a typing error, or a part is missing.
    Checksum,
    /// What follows `?` is not `code=CODE`.
    Query,
    /// The code is empty, longer than 64 characters or has characters other than letters, digits, `-` and `_`.
    Code,
}

impl RelayAddress {
    /// Reads an address; spaces around it are ignored.
    ///
    /// # Errors
    /// An [`AddressFault`] that says which part is wrong.
    pub fn parse(text: &str) -> Result<Self, AddressFault> {
        // [SPEC 7.1]
        let (hosts, rest) = text
            .trim()
            .split_once('/')
            .ok_or(AddressFault::NoIdentity)?;
        let (identity, query) = match rest.split_once('?') {
            Some((identity, query)) => (identity, Some(query)),
            None => (rest, None),
        };
        let (host, others) = parse_hosts(hosts)?;
        Ok(RelayAddress {
            host,
            others,
            identity: parse_identity(identity)?,
            code: query.map(parse_code).transpose()?,
        })
    }

    /// The whole line, the code included.
    #[must_use]
    pub fn with_code(&self) -> String {
        let plain = self.without_code();
        match &self.code {
            Some(code) => format!("{plain}?code={}", String::from_utf8_lossy(code.expose())),
            None => plain,
        }
    }

    /// The line without the code: what may be shown to anybody.
    #[must_use]
    pub fn without_code(&self) -> String {
        let hosts: Vec<String> = self.hosts().map(Host::to_string).collect();
        format!("{}/{}", hosts.join(","), identity_text(&self.identity))
    }

    /// All hosts, as they stand.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        std::iter::once(&self.host).chain(&self.others)
    }
}

impl Host {
    /// `NAME:PORT` or `[IPV6]:PORT`.
    ///
    /// # Errors
    /// An [`AddressFault`].
    pub fn parse(text: &str) -> Result<Self, AddressFault> {
        // [SPEC 7.2]
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (name, port) = rest.split_once(']').ok_or(AddressFault::Host)?;
                let name: Ipv6Addr = name.parse().map_err(|_| AddressFault::Host)?;
                (
                    name.to_string(),
                    port.strip_prefix(':').ok_or(AddressFault::NoPort)?,
                )
            }
            None => {
                let (name, port) = text.rsplit_once(':').ok_or(AddressFault::NoPort)?;
                (checked_name(name)?, port)
            }
        };
        if port.len() > 5
            || !port.bytes().all(|byte| byte.is_ascii_digit())
            || port.starts_with('0')
        {
            return Err(AddressFault::Port);
        }
        let port = port.parse().map_err(|_| AddressFault::Port)?;
        Ok(Host { name, port })
    }

    /// The name or IP address, without brackets.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// `HOST:PORT[,HOST:PORT…]`: the first one, and the others.
///
/// # Errors
/// An [`AddressFault`].
pub fn parse_hosts(text: &str) -> Result<(Host, Vec<Host>), AddressFault> {
    // [SPEC 7.10]
    let mut hosts = text.split(',');
    let first = Host::parse(hosts.next().unwrap_or_default())?;
    let mut others = Vec::new();
    for text in hosts {
        let host = Host::parse(text)?;
        let room = others.len() + 1 < LINK_HOSTS_MAX;
        if !room || host == first || others.contains(&host) {
            return Err(AddressFault::Hosts);
        }
        others.push(host);
    }
    Ok((first, others))
}

/// Letters, digits, `-` and `.`, in labels that are not empty; lower case.
fn checked_name(name: &str) -> Result<String, AddressFault> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let whole = !name.is_empty() && name.len() <= HOST_LEN_MAX && name.bytes().all(allowed);
    if !whole
        || name
            .split('.')
            .any(|label| label.is_empty() || label.len() > 63)
    {
        return Err(AddressFault::Host);
    }
    Ok(name.to_ascii_lowercase())
}

/// 56 characters: base32 of identity hash and checksum.
#[must_use]
pub fn identity_text(identity: &IdentityHash) -> String {
    let mut bytes = identity.0.to_vec();
    bytes.extend_from_slice(&identity_check(identity));
    base32::encode(&bytes)
}

fn parse_identity(text: &str) -> Result<IdentityHash, AddressFault> {
    // [SPEC 7.1]
    if text.len() != IDENTITY_TEXT_LEN {
        return Err(AddressFault::Identity);
    }
    let bytes = base32::decode(text).ok_or(AddressFault::Identity)?;
    let (identity, check) = bytes.split_first_chunk().ok_or(AddressFault::Identity)?;
    let identity = IdentityHash(*identity);
    if check != identity_check(&identity) {
        return Err(AddressFault::Checksum);
    }
    Ok(identity)
}

fn identity_check(identity: &IdentityHash) -> [u8; CHECK_LEN] {
    let [a, b, c, ..] = hash::labelled(CHECK, &[&identity.0]);
    [a, b, c]
}

/// Whether `text` may be an access code: 1 to 64 letters, digits, `-` and `_`.
///
/// # Errors
/// [`AddressFault::Code`].
pub fn parse_access_code(text: &str) -> Result<AccessCode, AddressFault> {
    // [SPEC 7.3]
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if text.is_empty() || text.len() > ACCESS_CODE_LEN_MAX || !text.bytes().all(allowed) {
        return Err(AddressFault::Code);
    }
    AccessCode::new(text.as_bytes().to_vec()).ok_or(AddressFault::Code)
}

fn parse_code(query: &str) -> Result<AccessCode, AddressFault> {
    parse_access_code(query.strip_prefix("code=").ok_or(AddressFault::Query)?)
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Host(private)")
    }
}

impl fmt::Debug for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RelayAddress(private)")
    }
}

impl fmt::Display for AddressFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AddressFault::NoIdentity => "expected HOST:PORT/IDENTITY, found no '/'",
            AddressFault::Hosts => "the address has more than four hosts, or one of them twice",
            AddressFault::NoPort => "expected HOST:PORT, found no port",
            AddressFault::Port => "the port is not a number from 1 to 65535",
            AddressFault::Host => "the host is not a name or IP address",
            AddressFault::Identity => "the relay's identity is not 56 characters of a-z and 2-7",
            AddressFault::Checksum => "the relay's identity has a typing error",
            AddressFault::Query => "expected ?code=CODE after the identity",
            AddressFault::Code => "the code is not 1 to 64 letters, digits, '-' or '_'",
        })
    }
}

impl std::error::Error for AddressFault {}

/// A host as it stands in a link: `NAME:PORT`.
#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct HostText {
    #[tls_codec(with = "Opaque::<{ HOST_LEN_MAX + 8 }>")]
    text: Vec<u8>,
}

impl HostText {
    pub(crate) fn of(host: &Host) -> Self {
        HostText {
            text: host.to_string().into_bytes(),
        }
    }

    /// Only the text that [`Host`] itself would write.
    pub(crate) fn host(&self) -> Option<Host> {
        let text = core::str::from_utf8(&self.text).ok()?;
        let host = Host::parse(text).ok()?;
        (host.to_string() == text).then_some(host)
    }
}
