//! The code that another device shows, compared with one's own.

use emptyroom_core::verification::{Code, Comparison};

use crate::api::{Exit, Failure};

/// Whether a scanned code is about the same two keys as one's own.
///
/// # Errors
/// `not_a_code` where either is no code.
// [SPEC 8.38] [SPEC 12.76]
pub fn is_same_code(own: &str, scanned: &str) -> Result<bool, Failure> {
    let read = |text| {
        Code::parse(text).map_err(|_| {
            Failure::new(Exit::Usage, "not_a_code", "that is no verification code")
                .hint("scan the picture that `emptyroom verify` shows on the other device")
        })
    };
    Ok(read(own)?.compare(&read(scanned)?) == Comparison::Same)
}
