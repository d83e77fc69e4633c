//! TLS as a wrapper: version 1.3 only, X25519MLKEM768 only, our own ALPN, no resumption.
//!
//! The sealed stream inside is what protects requests, with keys of its own; TLS hides that from the
//! network and gives the carrier the look of any other. So there is no CA: the certificate is made fresh at
//! every start, its key never touches the disk, and the identity key signs its hash in the greeting.
//!
//! Tickets and session ids are off. A ticket is a name that a client shows again on its next connection,
//! from whatever address: it would join connections, which nothing in the protocol does. A full handshake
//! costs some 0.2 ms of CPU.

use std::sync::Arc;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::NoServerSessionStorage;
use rustls::{ServerConfig, version};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The relay's side of TLS, and what the identity key signs of it.
pub struct Tls {
    /// For every connection.
    pub config: Arc<ServerConfig>,
    /// SHA-256 of the certificate's SubjectPublicKeyInfo, in DER.
    pub spki_hash: [u8; 32],
}

/// The certificate could not be made; there is nothing an operator can do about it.
#[derive(Debug)]
pub struct TlsUnusable;

impl std::fmt::Display for TlsUnusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot make a TLS certificate")
    }
}

impl std::error::Error for TlsUnusable {}

impl Tls {
    /// Makes a fresh key and certificate.
    ///
    /// # Errors
    /// The library refused; does not happen with working randomness.
    pub fn fresh(alpn: &[u8]) -> Result<Self, TlsUnusable> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|_| TlsUnusable)?;
        let certificate = boring_certificate()
            .self_signed(&key)
            .map_err(|_| TlsUnusable)?;
        let spki_hash = Sha256::digest(key.subject_public_key_info()).into();
        let private = Zeroizing::new(key.serialize_der());
        let private = PrivatePkcs8KeyDer::from(private.to_vec());
        let config = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&version::TLS13])
            .map_err(|_| TlsUnusable)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private.into())
            .map_err(|_| TlsUnusable)?;
        Ok(Self {
            config: Arc::new(without_memory(config, alpn)),
            spki_hash,
        })
    }
}

/// A server takes the first group that the client names and it knows; with one group there is no lesser choice.
// [SPEC 6.70]
fn provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![aws_lc_rs::kx_group::X25519MLKEM768],
        cipher_suites: vec![
            aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
            aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
        ],
        ..aws_lc_rs::default_provider()
    }
}

// [SPEC 6.71]
fn without_memory(mut config: ServerConfig, alpn: &[u8]) -> ServerConfig {
    config.alpn_protocols = vec![alpn.to_vec()];
    config.ignore_client_order = true;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config
}

/// Says nothing: the same name and dates on every relay.
fn boring_certificate() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "relay");
    params
}
