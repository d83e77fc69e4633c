//! How a relay is to run.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use emptyroom_relay::{Config, Limits};
use emptyroom_wire::address::{self, AddressFault, Host};

use super::StatusPort;
use crate::carrier::direct::DirectLimits;
use crate::connection::Pace;
use crate::data::access::Access;
use crate::lanes::LaneOptions;
use crate::medium::Wanted;
use crate::status::SUMS_EVERY;
use crate::wake::WakeServers;

/// Descriptors that are not for connections: files, runtimes, handshakes under way.
const OTHER_DESCRIPTORS: usize = 2_048;

/// Places where the number of open files is no bound.
const PLACES_MAX: usize = 1 << 20;

/// How a relay is to run.
pub struct Options {
    /// Where everything that lasts is.
    pub data: PathBuf,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What clients dial; the listening address if there is none.
    pub public: Option<Public>,
    /// Who may make logs.
    pub access: Access,
    /// How the store is to be.
    pub store: Wanted,
    /// Where nodes on the same databases tell each other what is new.
    pub wake: Option<WakeServers>,
    /// The pure relay's limits.
    pub limits: Limits,
    /// Clients that lost their connection come back within so many seconds.
    pub reconnect_spread_s: u32,
    /// Where totals can be looked at, besides the control socket.
    pub status: Option<StatusPort>,
    /// So long the totals stand before they are taken anew.
    // [SPEC 6.137]
    pub sums_every: Duration,
    /// What strangers may cost.
    pub direct: DirectLimits,
    /// How long things may take.
    pub pace: Pace,
    /// The threads for sockets.
    pub lanes: LaneOptions,
    /// Connections that the process can have, whatever the limits say.
    pub(super) places_max: usize,
    /// Connections that one lane may have, those in their handshakes among them.
    pub(super) of_lane_max: usize,
    /// The clock is right also if the relay seems not to have run for long.
    pub clock_is_right: bool,
}

impl Options {
    /// A relay on a data directory and address, everything else as it is by default.
    #[must_use]
    pub fn new(data: PathBuf, listen: SocketAddr) -> Self {
        Self {
            data,
            listen,
            public: None,
            access: Access::default(),
            store: Wanted::default(),
            wake: None,
            limits: Limits::default(),
            reconnect_spread_s: Config::open().reconnect_spread_s,
            status: None,
            sums_every: SUMS_EVERY,
            direct: DirectLimits::default(),
            pace: Pace::default(),
            lanes: LaneOptions::default(),
            places_max: PLACES_MAX,
            of_lane_max: usize::MAX,
            clock_is_right: false,
        }
    }

    /// Keeps the number of connections, of those from one address, and of handshakes, below what the process (or each lane, if lanes have
    /// descriptors of their own) may have open: a file that cannot be opened would stop the relay.
    pub fn fit_into_descriptors(&mut self, descriptors: u64) {
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        let half = descriptors / 2;
        let fits = descriptors.saturating_sub(OTHER_DESCRIPTORS).max(half);
        let tables = match self.lanes.own_descriptors {
            true => self.lanes.number,
            false => 1,
        };
        // [SPEC 6.53] [SPEC 6.100]
        self.places_max = fits.saturating_mul(tables).min(PLACES_MAX);
        let limits = &mut self.limits;
        limits.streams_max = limits.streams_max.min(self.places_max);
        // [SPEC 6.81]
        let direct = &mut self.direct;
        let quarter = (limits.streams_max / 4).max(1);
        direct.per_address_max = direct.per_address_max.min(quarter);
        let others = descriptors.saturating_sub(fits) / 2;
        direct.half_open_max = direct.half_open_max.min(others);
        self.of_lane_max = fits.saturating_add(direct.half_open_max);
    }
}

/// The hosts that clients dial, each with or without its port: more than one where the relay runs on several nodes.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Public(Vec<String>);

impl TryFrom<String> for Public {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).map_err(|fault| format!("not a host that can be dialled: {fault}"))
    }
}

impl Public {
    /// `HOST` or `HOST:PORT`, or several joined by commas; an IPv6 address stands in brackets where a port follows.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.contains("://") {
            return Err("it is a host, as relay.example.org, with nothing before it".to_owned());
        }
        let bracketed = |host: &str| match host.parse::<std::net::Ipv6Addr>() {
            Ok(v6) => format!("[{v6}]"),
            Err(_) => host.to_owned(),
        };
        let public = Self(text.split(',').map(bracketed).collect());
        match public.hosts(1) {
            Ok(_) => Ok(public),
            Err(fault) => Err(fault.to_string()),
        }
    }

    /// The first one and the others, with this port where they have none.
    pub(super) fn hosts(&self, port: u16) -> Result<(Host, Vec<Host>), AddressFault> {
        let with_port = |text: &String| match Host::parse(text) {
            Err(AddressFault::NoPort) => format!("{text}:{port}"),
            Ok(_) | Err(_) => text.clone(),
        };
        let all: Vec<String> = self.0.iter().map(with_port).collect();
        address::parse_hosts(&all.join(","))
    }
}
