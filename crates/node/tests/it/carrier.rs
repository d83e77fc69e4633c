//! The direct carrier against real TLS ends, honest and not.

use std::net::SocketAddr;
use std::sync::Arc;

use emptyroom_node::carrier::{Carrier, DialFault, Direct, Target};
use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{NamedGroup, ServerConfig};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::TlsAcceptor;

/// Always the same certificate, whether the key fits it or not.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        assert!(hello.server_name().is_none(), "a client names no server");
        Some(self.0.clone())
    }
}

fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}

fn certified(certificate: &rcgen::Certificate, key: &KeyPair) -> Arc<CertifiedKey> {
    let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let signer = aws_lc_rs::sign::any_supported_type(&der).unwrap();
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    Arc::new(CertifiedKey::new(chain, signer))
}

fn certificate() -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    // Dates and names mean nothing: this one is for another name and long over.
    let mut params = CertificateParams::new(vec!["somewhere.example".into()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2001, 1, 1);
    params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    (params.self_signed(&key).unwrap(), key)
}

async fn server(
    certified: Arc<CertifiedKey>,
) -> (SocketAddr, tokio::task::JoinHandle<Option<NamedGroup>>) {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Always(certified)));
    config.alpn_protocols = vec![b"emptyroom/1".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut stream = TlsAcceptor::from(Arc::new(config)).accept(tcp).await.ok()?;
        let group = stream.get_ref().1.negotiated_key_exchange_group()?.name();
        let mut echo = [0_u8; 5];
        stream.read_exact(&mut echo).await.ok()?;
        stream.write_all(&echo).await.ok()?;
        stream.shutdown().await.ok()?;
        Some(group)
    });
    (address, task)
}

async fn dial(address: SocketAddr) -> Result<emptyroom_node::carrier::Connection, DialFault> {
    Direct::new()
        .unwrap()
        .dial(Target {
            host: address.ip().to_string(),
            port: address.port(),
        })
        .await
}

#[tokio::test]
async fn the_certificate_is_recorded_and_the_exchange_is_post_quantum() {
    let (certificate, key) = certificate();
    let (address, task) = server(certified(&certificate, &key)).await;
    let mut connection = dial(address).await.map_err(|e| format!("{e:?}")).unwrap();
    let expected: [u8; 32] = Sha256::digest(key.subject_public_key_info()).into();
    assert_eq!(connection.spki_hash, Some(expected));
    connection.writer.write_all(b"hello").await.unwrap();
    connection.writer.flush().await.unwrap();
    let mut back = [0_u8; 5];
    connection.reader.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"hello");
    assert_eq!(task.await.unwrap(), Some(NamedGroup::X25519MLKEM768));
}

/// Somebody who shows the relay's certificate without having its key.
#[tokio::test]
async fn a_certificate_without_its_key_is_refused() {
    let (certificate, _) = certificate();
    let other = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let (address, task) = server(certified(&certificate, &other)).await;
    assert!(matches!(dial(address).await, Err(DialFault::Handshake)));
    assert_eq!(task.await.unwrap(), None);
}

#[tokio::test]
async fn what_speaks_no_tls_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tcp.write_all(b"SSH-2.0-something\r\n").await.unwrap();
        let mut rest = Vec::new();
        tcp.read_to_end(&mut rest).await
    });
    assert!(matches!(dial(address).await, Err(DialFault::Handshake)));
    assert!(task.await.is_ok());
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    // The port is taken, and nobody listens.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    assert!(matches!(dial(address).await, Err(DialFault::Unreachable)));
    let nowhere = Target {
        host: "no such host".into(),
        port: 1,
    };
    assert!(matches!(
        Direct::new().unwrap().dial(nowhere).await,
        Err(DialFault::Unreachable)
    ));
}
