//! TLS to a database, with the relay's own library.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;

/// Who signs a database's certificate.
#[derive(Clone)]
pub(super) struct Tls(TlsConnector);

impl Tls {
    /// The authorities in a PEM file.
    pub(super) fn of(authorities: &Path) -> io::Result<Self> {
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(authorities);
        for certificate in certificates.map_err(|_| wrong("it is no PEM file"))? {
            let certificate = certificate.map_err(|_| wrong("a certificate in it is damaged"))?;
            let added = roots.add(certificate);
            added.map_err(|_| wrong("a certificate in it is none of an authority"))?;
        }
        if roots.is_empty() {
            return Err(wrong("there is no certificate in it"));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|_| wrong("there is no TLS"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // A session that is resumed is not looked at again.
        config.resumption = Resumption::disabled();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }
}

/// Why no connection came about.
pub(super) fn why_refused(error: &rustls::Error) -> &'static str {
    use CertificateError as At;
    match error {
        rustls::Error::InvalidCertificate(why) => match why {
            At::Expired
            | At::ExpiredContext { .. }
            | At::NotValidYet
            | At::NotValidYetContext { .. } => {
                "its certificate is over or not valid yet, by this machine's clock"
            }
            At::NotValidForName | At::NotValidForNameContext { .. } => {
                "its certificate is not for the name in the address (as subjectAltName)"
            }
            At::UnknownIssuer | At::BadSignature => {
                "its certificate is by no authority that sslrootcert names"
            }
            _ => "its certificate is none for a server (that of an authority, CA:TRUE, is not)",
        },
        rustls::Error::PeerIncompatible(_) => "it speaks no TLS 1.3",
        _ => "the TLS handshake failed",
    }
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Secured;
    type TlsConnect = Connect;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<Connect> {
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(Connect {
            connector: self.0.clone(),
            name,
        })
    }
}

/// A handshake to be made.
pub(super) struct Connect {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl TlsConnect<Socket> for Connect {
    type Stream = Secured;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Secured>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            let stream = self.connector.connect(self.name, socket).await?;
            Ok(Secured(stream))
        })
    }
}

/// A connection under TLS.
pub(super) struct Secured(tokio_rustls::client::TlsStream<Socket>);

impl TlsStream for Secured {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
