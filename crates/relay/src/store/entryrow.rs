//! An entry's row: the running hash before it, its additional data without the log id, its body.

use std::sync::Arc;

use emptyroom_wire::codec;
use emptyroom_wire::entry::{Aad, RunningHash};
use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};

use super::{NewEntry, StoreFailure, StoredEntry};

/// What stands before the body. Its length does not vary.
#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
struct Head {
    before: RunningHash,
    aad: Aad,
}

/// What stands before the body in an entry's row.
pub(crate) fn head(before: RunningHash, entry: &NewEntry) -> Result<Vec<u8>, StoreFailure> {
    let head = Head {
        before,
        aad: entry.aad.clone(),
    };
    codec::encode(&head).map_err(|_| StoreFailure::Broken("an entry does not encode"))
}

/// The entry with number `seq` whose row has this content.
pub(crate) fn entry(seq: u64, content: &[u8]) -> Result<StoredEntry, StoreFailure> {
    let damaged = StoreFailure::Broken("an entry's row does not decode");
    let (head, body) = <Head as tls_codec::DeserializeBytes>::tls_deserialize_bytes(content)
        .map_err(|_| damaged)?;
    Ok(StoredEntry {
        seq,
        before: head.before,
        aad: head.aad,
        body: Arc::from(body),
    })
}
