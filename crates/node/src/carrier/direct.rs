//! The direct carrier: TLS 1.3 over TCP with X25519MLKEM768, without certificate authorities.
//!
//! The certificate is not looked up anywhere: the handshake proves that the other end holds its key, and the relay's
//! greeting, signed by the identity key that the address names, binds that key. Names and dates in it mean nothing.

use std::sync::Arc;

use emptyroom_wire::framing;
use rustix::net::sockopt::set_tcp_user_timeout;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, PeerIncompatible, SignatureScheme};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Carrier, Connection, DialFault, Dialled, Target};

/// What was sent, and what the other machine's system has not taken by then, ends the connection: a machine that lost its
/// power or its network does not say so.
const UNTAKEN_MS_MAX: u32 = 10_000;

/// TLS over TCP from this device's own address.
pub struct Direct {
    tls: TlsConnector,
}

impl Direct {
    /// Prepares the TLS configuration.
    ///
    /// # Errors
    /// When the provider lacks TLS 1.3, which no build of this program does.
    pub fn new() -> Result<Self, Error> {
        // X25519MLKEM768 first (`prefer-post-quantum` orders the provider so), TLS 1.3 alone.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Possession { provider }))
            .with_no_client_auth();
        // The relay needs no name to choose a certificate by, and the network needs none to see.
        config.enable_sni = false;
        config.alpn_protocols = vec![framing::ALPN.to_vec()];
        // A ticket would let a relay join two connections of one client.
        config.resumption = Resumption::disabled();
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    async fn connect(&self, target: Target) -> Result<Connection, DialFault> {
        let Target { host, port } = target;
        let tcp = TcpStream::connect((host.as_str(), port))
            .await
            .map_err(|_| DialFault::Unreachable)?;
        self.secure(host, tcp).await
    }

    /// TLS over a TCP connection to `host` that stands already.
    ///
    /// # Errors
    /// The other end does not speak TLS as relays do.
    pub async fn secure(&self, host: String, tcp: TcpStream) -> Result<Connection, DialFault> {
        let name = ServerName::try_from(host).map_err(|_| DialFault::Unreachable)?;
        tcp.set_nodelay(true).map_err(|_| DialFault::Unreachable)?;
        // [SPEC 7.13]
        set_tcp_user_timeout(&tcp, UNTAKEN_MS_MAX).map_err(|_| DialFault::Unreachable)?;
        let stream = self
            .tls
            .connect(name, tcp)
            .await
            .map_err(|_| DialFault::Handshake)?;
        let certificates = stream
            .get_ref()
            .1
            .peer_certificates()
            .ok_or(DialFault::Handshake)?;
        let certificate = certificates.first().ok_or(DialFault::Handshake)?;
        let spki_hash = Some(spki_hash(certificate).ok_or(DialFault::Handshake)?);
        let (reader, writer) = tokio::io::split(stream);
        Ok(Connection {
            spki_hash,
            reader: Box::new(reader),
            writer: Box::new(writer),
        })
    }
}

impl Carrier for Direct {
    fn dial(&self, target: Target) -> Dialled<'_> {
        Box::pin(self.connect(target))
    }
}

fn spki_hash(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    Some(Sha256::digest(parsed.subject_public_key_info().as_ref()).into())
}

/// Checks that the other end holds the key of the certificate it shows, and nothing else.
#[derive(Debug)]
struct Possession {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Possession {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        spki_hash(end_entity)
            .map(|_| ServerCertVerified::assertion())
            .ok_or(Error::General("no certificate".to_owned()))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
