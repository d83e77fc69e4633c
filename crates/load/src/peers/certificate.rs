//! One certificate for a peer's server, and clients that trust just this one.

use super::Trouble;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, date_time_ymd};
use rustls::{ClientConfig, RootCertStore};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// The name that the certificate is for.
pub(super) const HOST: &str = "localhost";
/// Characters in a line of PEM.
const PEM_LINE: usize = 64;

/// Where the certificate lies, and who trusts it.
pub(super) struct Certificate {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    /// Certificate and key in one file, as ejabberd wants them.
    pub(super) both: PathBuf,
    pub(super) connector: TlsConnector,
}

impl Certificate {
    /// A fresh P-256 key and certificate, as the relay has it, in files of `directory`.
    pub(super) fn write(directory: &Path) -> Result<Certificate, Trouble> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut parameters = CertificateParams::new(vec![HOST.to_owned()])?;
        // ejabberd cannot read dates as far away as the library's own.
        parameters.not_before = date_time_ymd(2020, 1, 1);
        parameters.not_after = date_time_ymd(2045, 1, 1);
        let certificate = parameters.self_signed(&key)?;
        let certificate_pem = pem("CERTIFICATE", certificate.der());
        let key_pem = pem("PRIVATE KEY", &key.serialize_der());
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone())?;
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let written = Certificate {
            certificate: directory.join("certificate.pem"),
            key: directory.join("key.pem"),
            both: directory.join("both.pem"),
            connector: TlsConnector::from(Arc::new(config)),
        };
        write_private(&written.certificate, &certificate_pem)?;
        write_private(&written.key, &key_pem)?;
        write_private(&written.both, &format!("{certificate_pem}{key_pem}"))?;
        Ok(written)
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = STANDARD.encode(der);
    while !rest.is_empty() {
        let after = rest.split_off(rest.len().min(PEM_LINE));
        text.push_str(&rest);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}
