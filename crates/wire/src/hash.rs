//! SHA-256 under a label, so that no two uses of it can be confused.

use sha2::{Digest, Sha256};

/// SHA-256 over the label's length (one byte), the label and the parts one after another.
///
/// Parts of variable length must be made unambiguous by the caller (at most one, or prefixed).
#[must_use]
pub fn labelled(label: &'static str, parts: &[&[u8]]) -> [u8; 32] {
    // [SPEC 2.1]
    let mut hash = Sha256::new();
    hash.update([label_len(label)]);
    hash.update(label.as_bytes());
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// Label and parts as one string of bytes: what a signature is made over.
pub(crate) fn labelled_bytes(label: &'static str, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    out.push(label_len(label));
    out.extend_from_slice(label.as_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

pub(crate) fn label_len(label: &'static str) -> u8 {
    u8::try_from(label.len()).expect("labels are constants shorter than 256 bytes")
}
