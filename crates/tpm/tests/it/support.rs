//! What the tests share: a TPM of their own, and a handle to it.

use std::io::Write;
use std::path::Path;

use emptyroom_tpm::swtpm::Swtpm;
use emptyroom_tpm::{Enrolment, ResetSecret, Stretched, Tpm};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

/// A TPM of this test's own. Where there is none, it says so where nobody captures it, in words that
/// `cargo xtask test` counts, and the test is not run.
pub fn software(test: &str) -> Option<Swtpm> {
    let swtpm = Swtpm::start().unwrap();
    if swtpm.is_none() {
        let line = format!("\nnot run: {test}: swtpm is missing (sudo apt-get install swtpm)\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    swtpm
}

/// Begins a test that needs a TPM, or ends it.
#[macro_export]
macro_rules! swtpm {
    ($name:literal) => {
        match $crate::support::software($name) {
            Some(swtpm) => swtpm,
            None => return,
        }
    };
}

pub fn open(path: &Path, seed: u64) -> Tpm {
    let rng = Box::new(ChaCha20Rng::seed_from_u64(seed));
    Tpm::open(path, rng).unwrap().unwrap()
}

pub fn enrolled(tpm: &mut Tpm) -> (Enrolment, ResetSecret) {
    let place = tpm.free_place().unwrap();
    tpm.enrol(place).unwrap()
}

/// What a PIN was stretched to.
pub fn stretched(pin: u32) -> Stretched {
    let mut bytes = [0x5A; 32];
    bytes[..4].copy_from_slice(&pin.to_be_bytes());
    Stretched::new(&bytes)
}
