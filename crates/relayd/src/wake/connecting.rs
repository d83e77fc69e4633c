//! Where NATS is, and how a connection to it begins.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use emptyroom_wire::address::Host;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use crate::data::read_small;

use super::protocol::{self, Credentials, Heard, Said};

const PORT: u16 = 4_222;
/// One is enough for a greeting; more come together seldom.
const READ: usize = 4 << 10;

/// The servers of a NATS cluster, and who asks.
#[derive(Clone, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct WakeServers {
    hosts: Vec<Host>,
    /// The one to be tried next.
    next: usize,
    user: Option<Zeroizing<String>>,
    /// Or a token, where there is no user.
    password: Option<Zeroizing<String>>,
    tls: bool,
    authorities: Option<Arc<ClientConfig>>,
}

/// A connection that stands.
pub(super) struct Connection {
    pub(super) reader: Box<dyn AsyncRead + Send + Unpin>,
    pub(super) writer: Box<dyn AsyncWrite + Send + Unpin>,
    pub(super) heard: Heard,
}

impl WakeServers {
    /// Reads `nats://[USER:PASSWORD@|TOKEN@]HOST[:PORT][,HOST[:PORT]…]`, `tls://…` for TLS, or where that is found: `file:PATH` or
    /// `env:NAME`.
    ///
    /// # Errors
    /// What is wrong with it, without any part of it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("file:") {
            let bytes = read_small(Path::new(path)).map_err(|error| error.to_string())?;
            let bytes = bytes.ok_or_else(|| format!("there is no file {path}"))?;
            return Self::parse_address(std::str::from_utf8(&bytes).unwrap_or_default());
        }
        if let Some(name) = text.strip_prefix("env:") {
            let value = std::env::var(name).map(Zeroizing::new);
            let value = value.map_err(|_| format!("there is no environment variable {name}"))?;
            return Self::parse_address(&value);
        }
        Self::parse_address(text)
    }

    fn parse_address(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (rest, tls) = match (text.strip_prefix("nats://"), text.strip_prefix("tls://")) {
            (Some(rest), _) => (rest, false),
            (_, Some(rest)) => (rest, true),
            (None, None) => return Err("it does not begin with nats:// or tls://".to_owned()),
        };
        let (who, hosts) = match rest.rsplit_once('@') {
            Some((who, hosts)) => (Some(who), hosts),
            None => (None, rest),
        };
        let secret = |text: &str| Zeroizing::new(text.to_owned());
        let (user, password) = match who.map(|who| who.split_once(':').ok_or(who)) {
            None => (None, None),
            Some(Ok((user, password))) => (Some(secret(user)), Some(secret(password))),
            Some(Err(token)) => (None, Some(secret(token))),
        };
        let with_port = |text: &str| {
            let whole = Host::parse(text).or_else(|_| Host::parse(&format!("{text}:{PORT}")));
            whole.map_err(|fault| fault.to_string())
        };
        let hosts = hosts.trim_end_matches('/').split(',').map(with_port);
        Ok(Self {
            hosts: hosts.collect::<Result<_, _>>()?,
            next: 0,
            user,
            password,
            tls,
            authorities: None,
        })
    }

    /// It speaks TLS, so whom to trust must be said.
    #[must_use]
    pub fn wants_authorities(&self) -> bool {
        self.tls
    }

    /// Trusts servers whose certificates these authorities signed, a file of PEM.
    ///
    /// # Errors
    /// The file has none.
    pub fn trust(&mut self, file: &Path) -> Result<(), String> {
        let unusable = |error: &dyn fmt::Display| format!("{}: {error}", file.display());
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(file).map_err(|e| unusable(&e))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|e| unusable(&e))?;
            roots.add(certificate).map_err(|e| unusable(&e))?;
        }
        if roots.is_empty() {
            return Err(unusable(&"no certificate"));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| unusable(&e))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        self.authorities = Some(Arc::new(config));
        Ok(())
    }

    /// Connects to the next one, up to its first pong.
    pub(super) async fn connect(&mut self) -> Result<Connection, String> {
        let host = self.hosts.get(self.next % self.hosts.len().max(1));
        let host = host.ok_or("no server is named")?.clone();
        self.next = self.next.wrapping_add(1);
        let tcp = TcpStream::connect((host.name(), host.port()))
            .await
            .map_err(|error| error.to_string())?;
        tcp.set_nodelay(true).map_err(|error| error.to_string())?;
        let mut heard = Heard::default();
        let (mut reader, writer) = tokio::io::split(tcp);
        let info = match hear(&mut reader, &mut heard).await? {
            Said::Info(info) => info,
            _ => return Err("it does not greet as NATS does".to_owned()),
        };
        let mut connection = if self.tls {
            let config = self.authorities.clone();
            let config = config.ok_or("whom to trust was not said")?;
            let name = ServerName::try_from(host.name().to_owned());
            let name = name.map_err(|_| "no name for a certificate")?;
            let stream = TlsConnector::from(config)
                .connect(name, reader.unsplit(writer))
                .await
                .map_err(|error| error.to_string())?;
            let (reader, writer) = tokio::io::split(stream);
            Connection {
                reader: Box::new(reader),
                writer: Box::new(writer),
                heard: Heard::default(),
            }
        } else if info.tls_required {
            return Err("it wants TLS; say tls://".to_owned());
        } else {
            Connection {
                reader: Box::new(reader),
                writer: Box::new(writer),
                heard,
            }
        };
        self.introduce(&mut connection).await?;
        // The one that answers is the next one, too.
        self.next = self.next.wrapping_sub(1);
        Ok(connection)
    }

    async fn introduce(&self, connection: &mut Connection) -> Result<(), String> {
        let password = self.password.as_ref().map(|password| password.as_str());
        let credentials = Credentials {
            user: self.user.as_ref().map(|user| user.as_str()),
            pass: password.filter(|_| self.user.is_some()),
            auth_token: password.filter(|_| self.user.is_none()),
        };
        let mut out = Zeroizing::new(Vec::new());
        protocol::connect(&credentials, self.tls, &mut out)
            .map_err(|_| "its address cannot be said")?;
        protocol::ping(&mut out);
        let sent = connection.writer.write_all(&out).await;
        sent.map_err(|error| error.to_string())?;
        let flushed = connection.writer.flush().await;
        flushed.map_err(|error| error.to_string())?;
        loop {
            match hear(&mut connection.reader, &mut connection.heard).await? {
                Said::Pong => return Ok(()),
                Said::Error(why) => return Err(why),
                _ => {}
            }
        }
    }
}

/// The next thing that is said.
async fn hear(reader: &mut (impl AsyncRead + Unpin), heard: &mut Heard) -> Result<Said, String> {
    let mut buffer = [0; READ];
    loop {
        let said = heard.next_said().map_err(|_| "it is no NATS server")?;
        if let Some(said) = said {
            return Ok(said);
        }
        match reader.read(&mut buffer).await {
            Ok(0) => return Err("it hung up".to_owned()),
            Ok(read) => heard.push(buffer.get(..read).unwrap_or_default()),
            Err(error) => return Err(error.to_string()),
        }
    }
}

impl TryFrom<String> for WakeServers {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&Zeroizing::new(text))
    }
}

impl fmt::Debug for WakeServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WakeServers(private)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_by_one_address() {
        let one = WakeServers::parse("nats://127.0.0.1").unwrap();
        assert_eq!(one.hosts[0].to_string(), "127.0.0.1:4222");
        assert!(one.user.is_none() && one.password.is_none() && !one.tls);
        let three = WakeServers::parse("tls://relay:p@ss:word@a:1,[::1]:2,c/").unwrap();
        let hosts: Vec<String> = three.hosts.iter().map(ToString::to_string).collect();
        assert_eq!(hosts, ["a:1", "[::1]:2", "c:4222"]);
        assert_eq!(three.user.as_ref().unwrap().as_str(), "relay");
        assert_eq!(three.password.as_ref().unwrap().as_str(), "p@ss:word");
        assert!(three.tls && three.wants_authorities());
        let token = WakeServers::parse("nats://t0ken@a:1").unwrap();
        assert!(token.user.is_none() && token.password.is_some());
        for bad in [
            "",
            "127.0.0.1:4222",
            "nats://",
            "nats://a:0",
            "nats://secret@b c",
        ] {
            let why = WakeServers::parse(bad).unwrap_err();
            assert!(!why.contains("secret"), "{bad}: {why}");
        }
        assert!(!format!("{three:?}").contains("word"));
    }
}
