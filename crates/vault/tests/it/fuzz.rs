//! Every parser survives its corpus and mutations of it.

use emptyroom_vault::fuzz;

use crate::corpus;
use crate::disk::Disk;
use crate::support::create;

const MUTATIONS: u32 = 8_000;

#[test]
fn headers() {
    corpus::survived("header", MUTATIONS, fuzz::fuzz_header);
    let disk = Disk::new();
    drop(create(&disk).unwrap());
    fuzz::fuzz_header(&disk.bytes("header"));
}

#[test]
fn sectors() {
    corpus::survived("sector", MUTATIONS, fuzz::fuzz_sector);
}

#[test]
fn journals() {
    corpus::survived("journal", MUTATIONS, fuzz::fuzz_journal);
}

#[test]
fn block_zeros() {
    corpus::survived("block_zero", MUTATIONS, fuzz::fuzz_block_zero);
}

#[test]
fn what_lies_outside() {
    corpus::survived("outside", MUTATIONS, fuzz::fuzz_outside);
}

#[test]
fn rows() {
    corpus::survived("row", MUTATIONS, fuzz::fuzz_row);
}
