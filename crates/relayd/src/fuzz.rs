//! The parsers of this crate as plain functions of any bytes: none of them may panic.

use std::path::Path;

use emptyroom_wire::relay_key::RelayIdentity;
use emptyroom_wire::secret::Secret32;

use crate::connection;
use crate::data::{access, chain, identity};
use crate::wake::protocol;

/// A parser's name (that of its corpus) and function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target, for replaying and mutating corpora.
pub const TARGETS: [Target; 5] = [
    ("access_code", fuzz_access_code),
    ("identity", fuzz_identity),
    ("key_chain", fuzz_key_chain),
    ("frames", fuzz_frames),
    ("wake", fuzz_wake),
];

/// The file that an operator names.
pub fn fuzz_access_code(data: &[u8]) {
    // Refused is as good as read, here and below.
    let _ = access::parse(Path::new("code"), data);
}

/// The identity key file.
pub fn fuzz_identity(data: &[u8]) {
    let _ = identity::parse(data);
}

/// The chain of key records. The corpus is signed by this identity.
pub fn fuzz_key_chain(data: &[u8]) {
    let identity = RelayIdentity::from_seed(&Secret32::new([1; 32]));
    let _ = chain::parse(data, &identity.verify_key());
}

/// What a client writes into a connection.
pub fn fuzz_frames(data: &[u8]) {
    connection::read_all(data);
}

/// What a NATS server says.
pub fn fuzz_wake(data: &[u8]) {
    protocol::hear_all(data);
}
