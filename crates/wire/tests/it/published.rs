//! Other people's vectors: what our primitives are must be what everybody calls by that name.

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use ed25519_dalek::{Signer, SigningKey};
use emptyroom_wire::aead::Once;
use emptyroom_wire::kem::KemSecretKey;
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::sign::SignKey;
use hkdf::Hkdf;
use hpke::kem::XWing;
use hpke::{Deserializable, Kem, Serializable};
use sha2::{Digest, Sha256};

use crate::support::{hex, unhex, unhex32};
use crate::vectors::Script;

/// RFC 5869, A.1 and A.3.
#[test]
fn hkdf_sha256() {
    let derive = |salt: &str, ikm: &str, info: &str| {
        let mut out = [0; 42];
        let salt = unhex(salt);
        Hkdf::<Sha256>::new(Some(&salt), &unhex(ikm))
            .expand(&unhex(info), &mut out)
            .unwrap();
        hex(&out)
    };
    let ikm = "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b";
    assert_eq!(
        derive("000102030405060708090a0b0c", ikm, "f0f1f2f3f4f5f6f7f8f9"),
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    );
    assert_eq!(
        derive("", ikm, ""),
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    );
}

const SUNSCREEN: &[u8] = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
const AAD: &str = "50515253c0c1c2c3c4c5c6c7";

fn key() -> [u8; 32] {
    std::array::from_fn(|place| 0x80 + place as u8)
}

/// draft-irtf-cfrg-xchacha-03, A.3.1: what seals entries, and what relays seal with.
// [SPEC 3.4] [SPEC 6.3]
#[test]
fn xchacha20_poly1305() {
    let sealed = "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb\
         731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452\
         2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9\
         21f9664c97637da9768812f615c68b13b52e\
         c0875924c1c7987947deafd8780acf49";
    let nonce: [u8; 24] = std::array::from_fn(|place| 0x40 + place as u8);
    let mut text = SUNSCREEN.to_vec();
    XChaCha20Poly1305::new(&key().into())
        .encrypt_in_place(&XNonce::from(nonce), &unhex(AAD), &mut text)
        .unwrap();
    assert_eq!(hex(&text), sealed);
    seals_to(|| Once::extended(&key(), &nonce), sealed);
}

/// RFC 8439, 2.8.2: what seals the frames of streams.
// [SPEC 5.13]
#[test]
fn chacha20_poly1305() {
    let nonce = *unhex("070000004041424344454647").first_chunk().unwrap();
    seals_to(
        || Once::new(&key(), nonce),
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6\
         3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36\
         92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc\
         3ff4def08e4b7a9de576d26586cec64b6116\
         1ae10b594f09e26a7e902ecbd0600691",
    );
}

fn seals_to(once: impl Fn() -> Once, sealed: &str) {
    let mut text = SUNSCREEN.to_vec();
    let tag = once().seal(&unhex(AAD), &mut text).unwrap();
    text.extend_from_slice(&tag);
    assert_eq!(hex(&text), sealed);
    assert_eq!(once().open(&unhex(AAD), &mut text).unwrap(), SUNSCREEN);
}

/// RFC 8032, 7.1, tests 1 and 2.
#[test]
fn ed25519() {
    for (seed, public, message, signature) in [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
    ] {
        let key = SignKey::from_seed(&Secret32::new(unhex32(seed)));
        assert_eq!(hex(&key.verify_key().0), public);
        assert_eq!(hex(key.seed().expose()), seed);
        let raw = SigningKey::from_bytes(&unhex32(seed)).sign(&unhex(message));
        assert_eq!(hex(&raw.to_bytes()), signature);
    }
}

/// FIPS 180-4, one block.
#[test]
fn sha256() {
    assert_eq!(
        hex(&Sha256::digest(b"abc")),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

/// draft-connolly-cfrg-xwing-kem, appendix C, first vector; long values by their SHA-256.
#[test]
fn x_wing() {
    let seed = unhex32("7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26");
    let key = KemSecretKey::from_seed(Secret32::new(seed));
    let public = key.public_key();
    assert_eq!(
        hex(&Sha256::digest(public.as_bytes())),
        "2e816deebcd76c5c80d0cd2d174478871658e8e2ff42bc9d4a6e486372e856bb"
    );
    let randomness = unhex(
        "3cb1eea988004b93103cfb0aeefd2a686e01fa4a58e8a3639ca8a1e3f9ae57e235b8cc873c23dc62b8d260169afa2f75ab916a58d974918835d25e6a435085b2",
    );
    let public = <XWing as Kem>::PublicKey::from_bytes(public.as_bytes()).unwrap();
    let (shared, encapsulated) =
        XWing::encap_with_rng(&public, None, &mut Script::new(&randomness)).unwrap();
    assert_eq!(
        hex(&Sha256::digest(encapsulated.to_bytes())),
        "17cd532d657e44c897ca6583e548a5424fc70bf54f99515a4d2bcf99e3469f33"
    );
    assert_eq!(
        hex(&shared.0),
        "d2df0522128f09dd8e2c92b1e905c793d8f57a54c3da25861f10bf4ca613e384"
    );
    let private = <XWing as Kem>::PrivateKey::from_bytes(&seed).unwrap();
    let again = XWing::decap(&private, None, &encapsulated).unwrap();
    assert_eq!(
        hex(&again.0),
        "d2df0522128f09dd8e2c92b1e905c793d8f57a54c3da25861f10bf4ca613e384"
    );
}
