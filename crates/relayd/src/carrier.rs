//! What brings streams to the relay.
//!
//! A carrier hands over byte streams, one for each sealed stream, on which frames travel with a length
//! before each. How they got here is its own affair: [`direct`] is TLS straight from the client; a hop
//! will yield the streams that another relay forwards over its shared connection, and Tor is `direct` on a
//! loopback address (from which all connections then come: `--connections-per-address`). Nothing above this line asks which it was, and none tells an address.

use std::future::Future;

use tokio::io::{AsyncRead, AsyncWrite};

mod addresses;
pub mod direct;
pub mod listening;

/// A source of byte streams.
pub trait Carrier: Send + 'static {
    /// What a connection is read from and written to.
    type Bytes: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next stream that is ready for its first frame. Never ends; may be dropped and called again.
    fn accept(&mut self) -> impl Future<Output = Self::Bytes> + Send;
}
