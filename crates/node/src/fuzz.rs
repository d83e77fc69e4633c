//! The parsers of this crate as plain functions of any bytes: none of them may panic.

use crate::outside::Outside;
use crate::rpc::{self, Lines};

/// What a program may send to the daemon.
pub fn fuzz_request(data: &[u8]) {
    let mut lines = Lines::new(rpc::REQUEST_BYTES_MAX);
    // Cut where a socket might cut.
    for piece in data.chunks(7) {
        lines.push(piece);
        while let Ok(Some(line)) = lines.next_line() {
            if let Err(refusal) = rpc::parse_request(&line) {
                rpc::refusal_line(&refusal);
            }
        }
    }
}

/// What a daemon, or somebody in its place, may send to a program.
pub fn fuzz_response(data: &[u8]) {
    // A refusal is as good as an answer here.
    let _ = rpc::parse_from_daemon(data);
}

/// What lies outside of a vault.
pub fn fuzz_outside(data: &[u8]) {
    if let Some(outside) = Outside::decode(data) {
        assert_eq!(outside.encode(), data, "there is one encoding of each");
    }
}

/// What a locked vault's header says in clear of whom to ask.
pub fn fuzz_area(data: &[u8]) {
    crate::factors::fuzz_area(data);
}
