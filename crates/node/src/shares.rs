//! Relay shares, the device's side: what is put at relays so that a secret and enough of them open a slot, and nothing less does.
//!
//! The construction is the password-protected secret sharing of Jarecki, Kiayias and Krawczyk ("Round-Optimal Password-Protected
//! Secret Sharing and T-PAKE in the Password-Only Model", 2014): a secret is shared by Shamir's polynomial, and each value is masked by
//! what its relay's oblivious function (RFC 9497) gives for the secret that was typed. Nothing tells a right answer from a wrong
//! one but the slot that it opens.
//!
//! What is here: [`oprf`] (asking), [`split`] (sharing and masking), [`unlock`] (when enough have answered),
//! [`refresh`] (making all anew). All of it is pure:
//! no sockets, no clock, randomness handed in. What is not: where relays are, and what a slot is.

pub mod oprf;
pub mod refresh;
pub mod split;
pub mod unlock;

#[cfg(test)]
mod tests;

/// Relays that one secret can be shared among.
// [SPEC 11.51]
pub const RELAYS_MAX: usize = 5;

/// How often a share answers.
// [SPEC 11.51]
pub const USES: u8 = 10;

/// Slots whose secrets are shared alike, so that nobody sees which of them are used.
pub const SLOTS: usize = 4;

/// How many of so many relays must answer.
#[must_use]
pub fn needed(relays: usize) -> usize {
    // [SPEC 11.51]
    relays / 2 + 1
}
