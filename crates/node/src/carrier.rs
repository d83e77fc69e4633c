//! Carriers: how frames reach a relay. The direct one is TLS 1.3 over TCP.
//!
//! A carrier moves opaque frames and says which certificate it saw; it decides nothing and is trusted with nothing: the
//! sealed stream inside is the authority. Another carrier (a hop, Tor) is another implementation of [`Carrier`], and
//! nothing above changes.

mod direct;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

pub use direct::Direct;

/// The longest time that connecting and the handshake may take.
pub const DIAL_TIME_MAX: Duration = Duration::from_secs(15);

/// Host and port of a relay, as its address names them.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// A name or an IP address, an IPv6 one without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// A connection that stands: both halves, and what binds it.
pub struct Connection {
    /// SHA-256 of the certificate's SPKI, for carriers that have a certificate.
    pub spki_hash: Option<[u8; 32]>,
    /// What the relay sends.
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    /// What is sent to it.
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
}

/// Why no connection stands. The caller tries again later in any case, so the kinds serve tests only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialFault {
    /// Nothing answers there, or the name does not resolve.
    Unreachable,
    /// Something answers that does not speak TLS 1.3 with a certificate as relays have it.
    Handshake,
    /// It took longer than [`DIAL_TIME_MAX`].
    TooSlow,
}

/// What `dial` comes to.
pub type Dialled<'a> = Pin<Box<dyn Future<Output = Result<Connection, DialFault>> + Send + 'a>>;

/// A way to reach relays.
pub trait Carrier: Send + Sync + 'static {
    /// Connects; the caller bounds the time with [`DIAL_TIME_MAX`].
    fn dial(&self, target: Target) -> Dialled<'_>;
}
