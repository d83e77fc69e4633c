//! Every parser survives its corpus and mutations of it.

use emptyroom_tpm::fuzz;

use crate::corpus;

const MUTATIONS: u32 = 3_000;

#[test]
fn enrolments() {
    corpus::survived("enrolment", MUTATIONS, |data| {
        fuzz::fuzz_enrolment(data);
    });
}

// [SPEC 11.37]
#[test]
fn answers() {
    corpus::survived("answers", MUTATIONS, |data| {
        fuzz::fuzz_answers(data);
    });
}
