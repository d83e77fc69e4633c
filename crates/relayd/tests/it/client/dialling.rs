//! TLS connections of a client.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use emptyroom_wire::address::RelayAddress;
use emptyroom_wire::framing::{ALPN, framed};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{SupportedKxGroup, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use sha2::{Digest, Sha256};

use super::PATIENCE;

pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A client's TLS with other settings than a relay wants, for those tests.
#[derive(Clone)]
pub struct TlsSettings {
    pub groups: Vec<&'static dyn SupportedKxGroup>,
    pub alpn: Vec<Vec<u8>>,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            groups: aws_lc_rs::default_provider().kx_groups,
            alpn: vec![ALPN.to_vec()],
        }
    }
}

/// Connects and finishes the TLS handshake.
pub fn dial_tls(address: &RelayAddress, settings: TlsSettings) -> io::Result<Tls> {
    let provider = Arc::new(rustls::crypto::CryptoProvider {
        kx_groups: settings.groups,
        ..aws_lc_rs::default_provider()
    });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    config.alpn_protocols = settings.alpn;
    let name = ServerName::try_from("relay").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut tls = StreamOwned::new(connection, dial_tcp(address)?);
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock)?;
    }
    Ok(tls)
}

pub fn dial_tcp(address: &RelayAddress) -> io::Result<TcpStream> {
    let socket = TcpStream::connect((address.host.name(), address.host.port()))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

pub fn write_frame(tls: &mut Tls, frame: &[u8]) -> io::Result<()> {
    tls.write_all(&framed(frame).unwrap())?;
    tls.flush()
}

pub fn read_frame(tls: &mut Tls) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    tls.read_exact(&mut length)?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    tls.read_exact(&mut frame)?;
    Ok(frame)
}

pub fn spki_hash(tls: &Tls) -> [u8; 32] {
    let certificate = &tls.conn.peer_certificates().unwrap()[0];
    let parsed = webpki::EndEntityCert::try_from(certificate).unwrap();
    Sha256::digest(parsed.subject_public_key_info().as_ref()).into()
}

/// The greeting says whose certificate it is.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        panic!("TLS 1.2")
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
