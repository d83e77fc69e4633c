//! ChaCha20-Poly1305 and XChaCha20-Poly1305 in place, for all that a relay seals and opens: frames of streams, rows, segments.
//!
//! The implementation is the one that TLS uses, which takes a third of the time for 4 KiB. It is asked for its cipher and nothing
//! else: keys and nonces are handed in. `cargo xtask check` sees that no other file of the pure crates names it.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use chacha20::{R20, hchacha};
use zeroize::Zeroize;

/// What stands behind a sealed message.
pub const TAG_LEN: usize = 16;

/// Why nothing was sealed: longer than the cipher can count, which no message here is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotSealed;

/// One key with one nonce: good for one message.
pub struct Once {
    key: LessSafeKey,
    nonce: Nonce,
}

impl Once {
    /// ChaCha20-Poly1305.
    #[must_use]
    pub fn new(key: &[u8; 32], nonce: [u8; 12]) -> Once {
        let key = UnboundKey::new(&CHACHA20_POLY1305, key).expect("a key of 32 bytes");
        Once {
            key: LessSafeKey::new(key),
            nonce: Nonce::assume_unique_for_key(nonce),
        }
    }

    /// XChaCha20-Poly1305: the same under a key that HChaCha20 makes of the nonce's first 16 bytes.
    #[must_use]
    pub fn extended(key: &[u8; 32], nonce: &[u8; 24]) -> Once {
        let [first @ .., a, b, c, d, e, f, g, h] = nonce;
        let mut derived = hchacha::<R20>(key.into(), first.into());
        let once = Once::new(&derived.0, [0, 0, 0, 0, *a, *b, *c, *d, *e, *f, *g, *h]);
        derived.zeroize();
        once
    }

    /// Seals bytes where they stand; the tag belongs behind them.
    ///
    /// # Errors
    /// [`NotSealed`].
    pub fn seal(self, aad: &[u8], plain: &mut [u8]) -> Result<[u8; TAG_LEN], NotSealed> {
        let tag = self
            .key
            .seal_in_place_separate_tag(self.nonce, Aad::from(aad), plain)
            .map_err(|_| NotSealed)?;
        tag.as_ref().try_into().map_err(|_| NotSealed)
    }

    /// Opens bytes with their tag where they stand; `None` if they were not sealed so, and then they are worth nothing.
    #[must_use]
    pub fn open<'a>(self, aad: &[u8], sealed: &'a mut [u8]) -> Option<&'a mut [u8]> {
        self.key
            .open_in_place(self.nonce, Aad::from(aad), sealed)
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use chacha20poly1305::aead::{Aead, KeyInit, Payload};
    use chacha20poly1305::{ChaCha20Poly1305, XChaCha20Poly1305};
    use rand_chacha::ChaCha20Rng;
    use rand_core::{Rng, SeedableRng};

    use super::*;

    /// What is opened of a message, and of the same with a bit turned or other additional data.
    fn check(once: impl Fn() -> Once, aad: &[u8], plain: &[u8], theirs: &[u8]) {
        let mut ours = plain.to_vec();
        let tag = once().seal(aad, &mut ours).unwrap();
        ours.extend_from_slice(&tag);
        assert_eq!(ours, theirs);
        assert!(once().open(b"other", &mut ours.clone()).is_none());
        for at in [0, ours.len() / 2, ours.len() - 1] {
            let mut bent = ours.clone();
            bent[at] ^= 1;
            assert!(once().open(aad, &mut bent).is_none());
        }
        let opened = once().open(aad, &mut ours).unwrap();
        assert_eq!(*opened, *plain);
    }

    // [SPEC 5.13] [SPEC 6.3]
    #[test]
    fn another_implementation_seals_to_the_same_bytes() {
        let mut rng = ChaCha20Rng::from_seed([3; 32]);
        for len in [0, 1, 15, 16, 17, 63, 64, 65, 512, 4_136, 70_000] {
            let mut key = [0; 32];
            rng.fill_bytes(&mut key);
            let mut nonce = [0; 24];
            rng.fill_bytes(&mut nonce);
            let mut plain = vec![0; len];
            rng.fill_bytes(&mut plain);
            let aad: Vec<u8> = plain.iter().take(len % 41).copied().collect();
            let message = || Payload {
                msg: &plain,
                aad: &aad,
            };

            let theirs = XChaCha20Poly1305::new((&key).into())
                .encrypt((&nonce).into(), message())
                .unwrap();
            check(|| Once::extended(&key, &nonce), &aad, &plain, &theirs);

            let short = *nonce.first_chunk::<12>().unwrap();
            let theirs = ChaCha20Poly1305::new((&key).into())
                .encrypt((&short).into(), message())
                .unwrap();
            check(|| Once::new(&key, short), &aad, &plain, &theirs);
        }
        let mut short = [0; TAG_LEN - 1];
        assert!(Once::new(&[0; 32], [0; 12]).open(b"", &mut short).is_none());
    }
}
