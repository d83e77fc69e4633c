//! Sharing a slot's secret among relays: Shamir ("How to share a secret", 1979) over the scalars of ristretto255, each value masked.

use curve25519_dalek::scalar::Scalar;
use emptyroom_wire::derive::expand;
use emptyroom_wire::rng::{self, CryptoRng};
use zeroize::Zeroizing;

use super::oprf::Output;

const MASK: &str = "emptyroom v1 vault share mask";

/// A slot's secret, and what stands in clear for it.
pub struct Shared {
    /// The encoding of the scalar that was shared.
    pub secret: Zeroizing<[u8; 32]>,
    /// Its masked values, one for each relay.
    pub masked: Vec<[u8; 32]>,
}

/// Makes a secret for a slot that `needed` of these relays give, each by its function's output for what opens the slot.
#[must_use]
pub fn share(slot: u8, needed: usize, outputs: &[Output], rng: &mut dyn CryptoRng) -> Shared {
    // [SPEC 11.50]
    let coefficients: Vec<Zeroizing<Scalar>> = (0..needed.max(1)).map(|_| random(rng)).collect();
    let values = (0..).zip(outputs).map(|(relay, output)| {
        let value = value_at(&coefficients, relay);
        (*value + *mask(output, slot, relay)).to_bytes()
    });
    Shared {
        masked: values.collect(),
        secret: Zeroizing::new(coefficients.first().map_or([0; 32], |s| s.to_bytes())),
    }
}

/// What stands in clear for a slot that no relay opens: it cannot be told from one that they do.
#[must_use]
pub fn blank(relays: usize, rng: &mut dyn CryptoRng) -> Vec<[u8; 32]> {
    (0..relays).map(|_| random(rng).to_bytes()).collect()
}

/// The secret of a slot, from the outputs of as many relays as are needed (by their numbers). Any outputs give some secret; none if a
/// masked value is no scalar, or a relay is named twice or is none of those.
#[must_use]
pub fn combine(
    slot: u8,
    masked: &[[u8; 32]],
    outputs: &[(u8, &Output)],
) -> Option<Zeroizing<[u8; 32]>> {
    let mut secret = Zeroizing::new(Scalar::ZERO);
    for (relay, output) in outputs {
        let masked = *masked.get(usize::from(*relay))?;
        let masked = Option::<Scalar>::from(Scalar::from_canonical_bytes(masked))?;
        let value = Zeroizing::new(masked - *mask(output, slot, *relay));
        *secret += *value * weight(*relay, outputs)?;
    }
    Some(Zeroizing::new(secret.to_bytes()))
}

/// Lagrange's weight of a relay's value, at zero.
fn weight(relay: u8, outputs: &[(u8, &Output)]) -> Option<Scalar> {
    let (mut over, mut under) = (Scalar::ONE, Scalar::ONE);
    let same = outputs.iter().filter(|(other, _)| *other == relay).count();
    for (other, _) in outputs.iter().filter(|(other, _)| *other != relay) {
        over *= place(*other);
        under *= place(*other) - place(relay);
    }
    (same == 1).then(|| over * under.invert())
}

/// The polynomial with these coefficients, the lowest first, at a relay's place.
fn value_at(coefficients: &[Zeroizing<Scalar>], relay: u8) -> Zeroizing<Scalar> {
    let mut value = Zeroizing::new(Scalar::ZERO);
    for coefficient in coefficients.iter().rev() {
        *value = *value * place(relay) + **coefficient;
    }
    value
}

/// Where a relay's value stands; zero is the secret's place.
fn place(relay: u8) -> Scalar {
    Scalar::from(u64::from(relay) + 1)
}

fn mask(output: &Output, slot: u8, relay: u8) -> Zeroizing<Scalar> {
    // [SPEC 11.50]
    let wide = expand::<64>(output.expose(), MASK, &[slot, relay]);
    Zeroizing::new(Scalar::from_bytes_mod_order_wide(wide.expose()))
}

fn random(rng: &mut dyn CryptoRng) -> Zeroizing<Scalar> {
    let wide = rng::secret::<64>(rng);
    Zeroizing::new(Scalar::from_bytes_mod_order_wide(wide.expose()))
}
