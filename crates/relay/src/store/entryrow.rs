//! An entry's row: the running hash before it, its additional data without the log id, its body.

use std::sync::Arc;

use emptyroom_wire::codec;
use emptyroom_wire::entry::{Aad, RunningHash};
use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};
use zeroize::Zeroizing;

use super::{NewEntry, StoreFailure, StoredEntry};

/// What stands before the body. Its length does not vary.
#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
struct Head {
    before: RunningHash,
    aad: Aad,
}

/// The content of an entry's row.
pub(crate) fn content(
    before: RunningHash,
    entry: &NewEntry,
) -> Result<Zeroizing<Vec<u8>>, StoreFailure> {
    let head = Head {
        before,
        aad: entry.aad.clone(),
    };
    let mut content = codec::encode(&head)
        .map(Zeroizing::new)
        .map_err(|_| StoreFailure::Broken("an entry does not encode"))?;
    content.extend_from_slice(&entry.body);
    Ok(content)
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
