//! Every parser as a plain function that must not panic, whatever it is given.

use sha2::{Digest, Sha256};

use crate::header::Header;
use crate::keys::{JournalIndex, KeyRef, KeyTable};
use crate::outside;
use crate::record::{open_row, row_key};
use crate::store::BlockZero;

/// One copy of the header, as it lies in the file, and the same with its checksum made right. What
/// decodes must encode to the same bytes.
pub fn fuzz_header(data: &[u8]) {
    let mut copy = data.to_vec();
    decode_header(&copy);
    copy.resize(4064, 0);
    let checksum = Sha256::digest(&copy);
    copy.extend_from_slice(&checksum);
    decode_header(&copy);
}

fn decode_header(copy: &[u8]) {
    if let Ok(header) = Header::decode(copy) {
        assert_eq!(
            copy.get(..4096),
            Some(header.encode().as_slice()),
            "one encoding per header"
        );
    }
}

/// A key sector as it is after opening: any bytes are keys.
pub fn fuzz_sector(data: &[u8]) {
    let mut table = KeyTable::new(1);
    for (out, byte) in table.sector_mut(0).iter_mut().zip(data) {
        *out = *byte;
    }
    for slot in 0..=table.slots() {
        table.is_alive(KeyRef {
            slot,
            generation: 0,
        });
    }
}

/// The journal's index, as it is after opening.
pub fn fuzz_journal(data: &[u8]) {
    let _ = JournalIndex::decode(data);
}

/// Block zero of the table, as it is after opening.
pub fn fuzz_block_zero(data: &[u8]) {
    let _ = BlockZero::decode(data);
}

/// A copy of what lies outside.
pub fn fuzz_outside(data: &[u8]) {
    let _ = outside::decode(data);
}

/// A row of the table.
pub fn fuzz_row(data: &[u8]) {
    let _ = row_key(data);
    let _ = open_row(&[7; 32], b"name", data);
}
