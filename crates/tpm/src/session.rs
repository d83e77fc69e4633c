//! Sessions: what keeps a listener on the bus from reading or altering what is said.
//!
//! A salted session's key comes from a secret that only the TPM's primary key can compute (`TPM2`
//! part 1, 19.6, and annex C.6). With it every command and answer is authenticated (19.6.5), and their
//! first parameter encrypted where it is secret (21.3, AES-128-CFB).

use aes::Aes128;
use cfb_mode::cipher::{AsyncStreamCipher, KeyIvInit};
use cfb_mode::{Decryptor, Encryptor};
use hmac::{Hmac, KeyInit, Mac};
use p256::elliptic_curve::sec1::{FromEncodedPoint, ToEncodedPoint};
use p256::{EncodedPoint, PublicKey, SecretKey, ecdh};
use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::wire::Writer;

/// Bytes of SHA-256, of nonces and of a coordinate of P-256.
pub(crate) const HASH_LEN: usize = 32;
const AES_KEY_LEN: usize = 16;

/// Attributes of a session in one command (`TPMA_SESSION`): the command's first parameter is
/// encrypted; the answer's is. None of ours stays open after its one command.
pub(crate) const DECRYPT: u8 = 1 << 5;
pub(crate) const ENCRYPT: u8 = 1 << 6;

/// What a TPM said that is no point of the curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotAPoint;

/// A salt for a session, and how it is told to the holder of the primary key.
pub(crate) struct Salt {
    secret: Zeroizing<[u8; HASH_LEN]>,
    /// `TPMS_ECC_POINT`: our ephemeral public key.
    pub(crate) point: Zeroizing<Vec<u8>>,
}

impl Salt {
    /// A new one for the primary key with these coordinates.
    pub(crate) fn new(
        point: &([u8; HASH_LEN], [u8; HASH_LEN]),
        rng: &mut dyn CryptoRng,
    ) -> Result<Salt, NotAPoint> {
        Salt::with(point, &ephemeral(rng))
    }

    fn with(
        (x, y): &([u8; HASH_LEN], [u8; HASH_LEN]),
        ours: &SecretKey,
    ) -> Result<Salt, NotAPoint> {
        let point = EncodedPoint::from_affine_coordinates(x.into(), y.into(), false);
        let public = Option::from(PublicKey::from_encoded_point(&point));
        let public: PublicKey = public.ok_or(NotAPoint)?;
        let shared = ecdh::diffie_hellman(ours.to_nonzero_scalar(), public.as_affine());
        let our_point = ours.public_key().to_encoded_point(false);
        let (our_x, our_y) = our_point.x().zip(our_point.y()).ok_or(NotAPoint)?;
        Ok(Salt {
            secret: kdf_e(shared.raw_secret_bytes(), "SECRET", our_x, x),
            point: Writer::new().sized(our_x).sized(our_y).finish(),
        })
    }
}

/// Draws until it is a scalar of the curve, which all but one of 2^32 are.
fn ephemeral(rng: &mut dyn CryptoRng) -> SecretKey {
    let mut bytes = Zeroizing::new([0; HASH_LEN]);
    loop {
        rng.fill_bytes(bytes.as_mut_slice());
        if let Ok(key) = SecretKey::from_slice(bytes.as_slice()) {
            return key;
        }
    }
}

/// A session that the TPM has open.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Session {
    #[zeroize(skip)]
    pub(crate) handle: u32,
    key: Box<[u8; HASH_LEN]>,
    #[zeroize(skip)]
    nonce_ours: [u8; HASH_LEN],
    #[zeroize(skip)]
    nonce_tpm: [u8; HASH_LEN],
}

impl Session {
    /// The session that the TPM opened as `handle`, answering `nonce_tpm` to `nonce_ours`.
    pub(crate) fn new(
        handle: u32,
        salt: &Salt,
        nonce_ours: [u8; HASH_LEN],
        nonce_tpm: [u8; HASH_LEN],
    ) -> Session {
        let key = kdf_a(salt.secret.as_slice(), "ATH", &nonce_tpm, &nonce_ours);
        Session {
            handle,
            key: Box::new(*key),
            nonce_ours,
            nonce_tpm,
        }
    }

    /// A new command begins, with a new nonce.
    pub(crate) fn begin(&mut self, rng: &mut dyn CryptoRng) -> [u8; HASH_LEN] {
        rng.fill_bytes(&mut self.nonce_ours);
        self.nonce_ours
    }

    /// The session key and, behind it, what authorizes the command's object.
    fn value_key(&self, auth: &[u8]) -> Zeroizing<Vec<u8>> {
        Writer::new()
            .bytes(self.key.as_slice())
            .bytes(auth)
            .finish()
    }

    /// Encrypts a command's first parameter in place.
    pub(crate) fn encrypt(&self, auth: &[u8], parameter: &mut [u8]) {
        let (key, iv) = self.cfb(auth, &self.nonce_ours, &self.nonce_tpm);
        Encryptor::<Aes128>::new((&*key).into(), (&*iv).into()).encrypt(parameter);
    }

    /// Decrypts an answer's first parameter in place. The answer has been verified before.
    pub(crate) fn decrypt(&self, auth: &[u8], parameter: &mut [u8]) {
        let (key, iv) = self.cfb(auth, &self.nonce_tpm, &self.nonce_ours);
        Decryptor::<Aes128>::new((&*key).into(), (&*iv).into()).decrypt(parameter);
    }

    fn cfb(
        &self,
        auth: &[u8],
        newer: &[u8],
        older: &[u8],
    ) -> (Zeroizing<[u8; AES_KEY_LEN]>, Zeroizing<[u8; AES_KEY_LEN]>) {
        let both = kdf_a(&self.value_key(auth), "CFB", newer, older);
        let (mut key, mut iv) = (Zeroizing::new([0; 16]), Zeroizing::new([0; 16]));
        let (first, second) = both.split_at(AES_KEY_LEN);
        key.copy_from_slice(first);
        iv.copy_from_slice(second);
        (key, iv)
    }

    /// The code over a command: `hash` is that of its code, names and parameters.
    pub(crate) fn sign(&self, auth: &[u8], hash: &[u8], attributes: u8) -> [u8; HASH_LEN] {
        let mac = self.mac(
            auth,
            [hash, &self.nonce_ours, &self.nonce_tpm, &[attributes]],
        );
        mac.finalize().into_bytes().into()
    }

    /// Takes the TPM's new nonce and says whether the code over its answer is right.
    #[must_use]
    pub(crate) fn verify(
        &mut self,
        auth: &[u8],
        hash: &[u8],
        nonce_tpm: [u8; HASH_LEN],
        attributes: u8,
        code: &[u8],
    ) -> bool {
        self.nonce_tpm = nonce_tpm;
        let mac = self.mac(
            auth,
            [hash, &self.nonce_tpm, &self.nonce_ours, &[attributes]],
        );
        mac.verify_slice(code).is_ok()
    }

    fn mac(&self, auth: &[u8], parts: [&[u8]; 4]) -> Hmac<Sha256> {
        let mut mac = keyed(&self.value_key(auth));
        for part in parts {
            mac.update(part);
        }
        mac
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// `KDFa` (`TPM2` part 1, 11.4.10.2; SP 800-108 in counter mode) for 256 bits, which is one block.
fn kdf_a(key: &[u8], label: &str, first: &[u8], second: &[u8]) -> Zeroizing<[u8; HASH_LEN]> {
    let mut mac = keyed(key);
    mac.update(&1_u32.to_be_bytes());
    mac.update(label.as_bytes());
    mac.update(&[0]);
    mac.update(first);
    mac.update(second);
    mac.update(&256_u32.to_be_bytes());
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// `KDFe` (`TPM2` part 1, 11.4.10.3; SP 800-56A) for 256 bits, which is one block.
fn kdf_e(z: &[u8], label: &str, party_u: &[u8], party_v: &[u8]) -> Zeroizing<[u8; HASH_LEN]> {
    let hash = Sha256::new()
        .chain_update(1_u32.to_be_bytes())
        .chain_update(z)
        .chain_update(label.as_bytes())
        .chain_update([0])
        .chain_update(party_u)
        .chain_update(party_v);
    Zeroizing::new(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let pair = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(pair).collect()
    }

    fn array(hex: &str) -> [u8; 32] {
        bytes(hex).try_into().unwrap()
    }

    // The published vectors of go-tpm: `ecc_labeled_encaps.json`, 04 and 06, which were validated by
    // TPM2_StartAuthSession, and `kdfe.json`, 38. (KDFa and CFB have none of our lengths; they are
    // right if a TPM understands them: the recorded answers in `fuzz-corpus` say that it does.)
    #[test]
    fn salts_are_those_of_the_published_vectors() {
        let primary = (
            array("f126562cedff2fa344c6234085de4250112ecf72d0714336970de012ba977da9"),
            array("17436ee1160921fdd2ed033e11ba04ed0cedf2ca462246118a359f8eb469b531"),
        );
        let vectors = [
            (
                "5cea796303c5b3aba6c42334c0211c2b3ae62397740e97c9c3ade39756f4a71d",
                "cabb2edd36e5253664b558de2ddf8ac9deea99168ab0edb6c2d06a1d90c62c4e",
                "0020544e4be9da6b7060a90307ed83cad6a9b45502f9e400bf0c3cb99f9a1dbe733b\
                 0020f1186daa24d1e57d0dc7b6700d2693068c6a5cef84c57fa7cbe5c04950b024f3",
            ),
            (
                "a698ab4cd824ec0fe3399f6391d5aa8e6dd121293340b350060aed189c6e578a",
                "6ac958ce92952c481e26b81d82f56a719e26b353189d39f6892e8b9b749e4a61",
                "0020ff6403c98b11b76e7b0d8ec42302e503f54a156ad07d2e374312606ad1e5e03c\
                 0020c47aad0374d0e18928b83a4aea79fae7bc097385eedc7006f2e5c21ef8765303",
            ),
        ];
        for (ours, secret, point) in vectors {
            let ours = SecretKey::from_slice(&bytes(ours)).unwrap();
            let salt = Salt::with(&primary, &ours).ok().unwrap();
            assert_eq!(*salt.secret, array(secret));
            assert_eq!(*salt.point, bytes(point));
        }
        let key = kdf_e(
            &[0],
            "OBFUSCATE",
            &bytes("ebcb3cd4a002941ed496ef1d32a70b0b7f6f05b8a51803d5a9ff9b"),
            &bytes("a1f79a7ee2beee21e2bfaee67769874687bfe21b2468fc8e721b6e967e12ff"),
        );
        let first = "dcd14d72e0d5d8ec15b5ea15ae060e02f0e042f3af7efbd73650bb4457d73b06";
        assert_eq!(*key, array(first));
    }

    #[test]
    fn what_is_no_point_is_refused() {
        let salt = Salt::with(&([1; 32], [2; 32]), &ephemeral(&mut crate::fuzz::Sevens));
        assert_eq!(salt.map(drop), Err(NotAPoint));
    }
}
