//! Where a database is. The password in it is shown nowhere.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, Host, SslMode, SslNegotiation};

/// The address of a database, with everything that is needed to connect: `postgres://user:password@host:port/name`. On another machine, with
/// `?sslrootcert=FILE`: whose certificates to trust.
#[derive(Clone)]
pub struct Address {
    config: Config,
    /// The file of whom to trust, where others could listen.
    authorities: Option<PathBuf>,
}

/// Why a text is no address of a database. It does not repeat the text.
#[derive(Debug, PartialEq, Eq)]
pub struct AddressFault(&'static str);

impl fmt::Display for AddressFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for AddressFault {}

impl Address {
    /// Whether a text looks like one.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.starts_with("postgres://") || text.starts_with("postgresql://")
    }

    /// Reads an address.
    ///
    /// # Errors
    /// What is wrong with it, without any part of it.
    // [SPEC 6.208]
    pub fn parse(text: &str) -> Result<Self, AddressFault> {
        if !Self::is_meant(text) {
            return Err(AddressFault("it does not begin with postgres://"));
        }
        let (text, authorities) = without_authorities(text)?;
        let mut config = Config::from_str(&text).map_err(|_| {
            AddressFault("it is not of the form postgres://user:password@host:port/database")
        })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(AddressFault("it names no host"));
        }
        if config.get_dbname().is_none() {
            return Err(AddressFault("it names no database"));
        }
        // [SPEC 6.212]
        config.ssl_mode(way(&config, authorities.is_some())?);
        check_hosts(&config, authorities.is_some())?;
        Ok(Self {
            config,
            authorities,
        })
    }

    pub(super) fn authorities(&self) -> Option<&Path> {
        self.authorities.as_deref()
    }

    /// For each host what is needed to connect to it.
    pub(super) fn hosts(&self) -> Vec<Config> {
        let all = &self.config;
        let (hosts, addresses) = (all.get_hosts(), all.get_hostaddrs());
        let number = hosts.len().max(addresses.len());
        let one = |at: usize| {
            let mut one = Config::new();
            match hosts.get(at) {
                Some(Host::Tcp(name)) => one.host(name),
                Some(Host::Unix(path)) => one.host_path(path),
                None => &mut one,
            };
            if let Some(address) = addresses.get(at) {
                one.hostaddr(*address);
            }
            let ports = all.get_ports();
            if let Some(port) = ports.get(at).or(ports.first()) {
                one.port(*port);
            }
            if let Some(user) = all.get_user() {
                one.user(user);
            }
            if let Some(password) = all.get_password() {
                one.password(password);
            }
            if let Some(name) = all.get_dbname() {
                one.dbname(name);
            }
            if let Some(options) = all.get_options() {
                one.options(options);
            }
            one.ssl_mode(all.get_ssl_mode());
            one
        };
        (0..number).map(one).collect()
    }
}

/// What could never be connected to, said at once.
fn check_hosts(config: &Config, has_authorities: bool) -> Result<(), AddressFault> {
    let (hosts, addresses) = (config.get_hosts(), config.get_hostaddrs());
    let number = hosts.len().max(addresses.len());
    let fits = |len: usize| len == 0 || len == number;
    if !fits(hosts.len()) || !fits(addresses.len()) || config.get_ports().len() > number {
        return Err(AddressFault(
            "it has not as many hosts as hostaddr or ports",
        ));
    }
    if config.get_ports().len() > 1 && !fits(config.get_ports().len()) {
        return Err(AddressFault("it has not as many ports as hosts"));
    }
    // [SPEC 6.212]
    let is_named = |host: &Host| matches!(host, Host::Tcp(_));
    if has_authorities && (hosts.is_empty() || !hosts.iter().all(is_named)) {
        return Err(AddressFault(
            "sslrootcert needs the name of each host, for which its certificate is; a unix socket needs none",
        ));
    }
    if config.get_channel_binding() == ChannelBinding::Require
        || config.get_ssl_negotiation() != SslNegotiation::Postgres
    {
        return Err(AddressFault(
            "channel_binding=require and sslnegotiation=direct are not supported",
        ));
    }
    Ok(())
}

/// What leaves this machine goes under TLS, or in clear where that was said. What stays here goes in clear, unless the address says whom to trust.
// [SPEC 6.212]
fn way(config: &Config, has_authorities: bool) -> Result<SslMode, AddressFault> {
    let stays_here = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) if name == "localhost" => true,
        Host::Tcp(name) => name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()),
    };
    let stays_here = match config.get_hostaddrs() {
        [] => config.get_hosts().iter().all(stays_here),
        addresses => addresses.iter().all(IpAddr::is_loopback),
    };
    match (config.get_ssl_mode(), has_authorities) {
        (SslMode::Disable, true) => {
            Err(AddressFault("it says both sslrootcert and sslmode=disable"))
        }
        (_, true) => Ok(SslMode::Require),
        (SslMode::Disable, false) => Ok(SslMode::Disable),
        (SslMode::Prefer, false) if stays_here => Ok(SslMode::Disable),
        (SslMode::Prefer, false) => Err(AddressFault(
            "it is on another machine: say whose certificates to trust with ?sslrootcert=FILE, or ?sslmode=disable if the network between \
             is yours and encrypts",
        )),
        (_, false) => Err(AddressFault(
            "it asks for TLS: say whose certificates to trust with sslrootcert=FILE",
        )),
    }
}

/// What the client library does not know: the file of certificates, and that they are always looked at.
fn without_authorities(text: &str) -> Result<(String, Option<PathBuf>), AddressFault> {
    // A password may hold one, too.
    let host = text.find('@').unwrap_or(0);
    let (_, behind) = text.split_at(host);
    let Some(at) = behind.find('?').map(|at| host + at) else {
        return Ok((text.to_owned(), None));
    };
    let (before, query) = text.split_at(at);
    let query = query.trim_start_matches('?');
    for name in ["sslmode=", "sslrootcert="] {
        if query
            .split('&')
            .filter(|part| part.starts_with(name))
            .count()
            > 1
        {
            return Err(AddressFault("it says the same thing twice"));
        }
    }
    let mut file = None;
    let mut others = Vec::new();
    for part in query.split('&') {
        if let Some(encoded) = part.strip_prefix("sslrootcert=") {
            let path = percent_decode_str(encoded).decode_utf8();
            let path = path.map_err(|_| AddressFault("sslrootcert is no path"))?;
            file = Some(PathBuf::from(path.as_ref()));
        } else if part == "sslmode=verify-full" {
            others.push("sslmode=require");
        } else {
            others.push(part);
        }
    }
    let text = match others.as_slice() {
        [] => before.to_owned(),
        others => format!("{before}?{}", others.join("&")),
    };
    Ok((text, file))
}

impl FromStr for Address {
    type Err = AddressFault;

    fn from_str(text: &str) -> Result<Self, AddressFault> {
        Self::parse(text)
    }
}

/// Hosts, ports and the database's name: neither user nor password.
// [SPEC 6.208]
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, host) in self.config.get_hosts().iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            match host {
                Host::Tcp(name) => f.write_str(name)?,
                Host::Unix(path) => write!(f, "{}", path.display())?,
            }
            let ports = self.config.get_ports();
            let port = ports.get(at).or(ports.last()).copied().unwrap_or(5432);
            write!(f, ":{port}")?;
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // [SPEC 6.208]
    #[test]
    fn an_address_shows_neither_user_nor_password() {
        let text =
            "postgres://joe:s3cret@db1.example.org:6000,db2.example.org/relay?sslmode=disable";
        let address = Address::parse(text).unwrap();
        let shown = format!("{address} {address:?}");
        assert!(
            shown.contains("db1.example.org:6000,db2.example.org:"),
            "{shown}"
        );
        assert!(
            !shown.contains("s3cret") && !shown.contains("joe"),
            "{shown}"
        );
        for wrong in [
            "postgres://joe:s3cret@",
            "postgres://joe:s3cret@host:port/x",
            "postgres://joe:s3cret@host/x?s3cret=1",
            "postgres://joe:s3cret@host",
            "postgres://joe:s3cret@host/x",
            "postgres://joe:s3cret@host/x?sslmode=verify-full",
            "postgres://joe:s3cret@host/x?sslrootcert=/s3cret&sslrootcert=/s3cret",
            "mysql://joe:s3cret@host/x",
        ] {
            let fault = Address::parse(wrong).unwrap_err().to_string();
            assert!(!fault.contains("s3cret"), "{fault}");
        }
    }
}
