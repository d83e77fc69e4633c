//! Every parser survives its corpus and mutations of it.

use emptyroom_node::fuzz::{fuzz_area, fuzz_outside, fuzz_request, fuzz_response};

use crate::corpus;

const MUTATIONS: u32 = 4_000;

#[test]
fn areas_never_panic() {
    corpus::survived("area", MUTATIONS, fuzz_area);
}

#[test]
fn requests_never_panic() {
    corpus::survived("request", MUTATIONS, fuzz_request);
}

#[test]
fn responses_never_panic() {
    corpus::survived("response", MUTATIONS, fuzz_response);
}

#[test]
fn what_lies_outside_never_panics() {
    corpus::survived("outside", MUTATIONS, fuzz_outside);
}
