//! What an operator sets.

use emptyroom_wire::greeting::Terms;
use emptyroom_wire::limits::ENTRY_LEN_MAX;
use emptyroom_wire::op::AccessCode;
use emptyroom_wire::time::Wall;
use subtle::ConstantTimeEq;

use crate::limits::{
    HANDLES_MAX, HANDLES_TOTAL_MAX, RECONNECTS_PER_SECOND, REQUESTS_MAX, SPREAD_S_MAX, STREAMS_MAX,
    SWEEP_EVERY_MS, UNSENT_TOTAL_BYTES,
};

/// How this relay runs.
pub struct Config {
    /// What a client must know to create a log; without one everybody may.
    pub access_code: Option<AccessCode>,
    /// SHA-256 of the SPKI of the TLS certificate; without TLS none.
    pub spki_hash: Option<[u8; 32]>,
    /// Clients wait a random time up to this, or longer where they are many, before they come back.
    pub reconnect_spread_s: u32,
    /// What it takes at most.
    pub limits: Limits,
    /// It is one of several nodes on one store; none where it has the store to itself.
    pub nodes: Option<Nodes>,
}

/// How a relay gets along with other nodes of its kind, which write to the same store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nodes {
    /// All open logs are looked at once in so many milliseconds, for what no news came of.
    pub sweep_every_ms: u64,
}

impl Default for Nodes {
    fn default() -> Nodes {
        Nodes {
            sweep_every_ms: SWEEP_EVERY_MS,
        }
    }
}

/// Limits that an operator may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time.
    pub streams_max: usize,
    /// Handles on one stream.
    pub handles_max: usize,
    /// Requests of one stream that are not answered yet.
    pub requests_max: usize,
    /// Bytes of an entry.
    pub entry_len_max: usize,
    /// Handles on all streams together.
    pub handles_total_max: usize,
    /// Bytes that may wait to be sent on all connections together, before those for which much waits have to wait.
    pub unsent_total_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            streams_max: STREAMS_MAX,
            handles_max: HANDLES_MAX,
            requests_max: REQUESTS_MAX,
            entry_len_max: ENTRY_LEN_MAX,
            handles_total_max: HANDLES_TOTAL_MAX,
            unsent_total_max: UNSENT_TOTAL_BYTES,
        }
    }
}

impl Config {
    /// A relay that is open to everybody, on a carrier without TLS.
    #[must_use]
    pub fn open() -> Config {
        Config {
            access_code: None,
            spki_hash: None,
            reconnect_spread_s: 10,
            limits: Limits::default(),
            nodes: None,
        }
    }

    /// Seconds over which so many clients are to come back.
    pub(crate) fn reconnect_spread_s(&self, streams: usize) -> u32 {
        // [SPEC 6.160]
        let needed = streams.div_ceil(RECONNECTS_PER_SECOND).min(SPREAD_S_MAX);
        u32::try_from(needed).map_or(self.reconnect_spread_s, |s| s.max(self.reconnect_spread_s))
    }

    /// What clients are told at the beginning of a stream, where there were so many streams at a time.
    pub(crate) fn terms(&self, now: Wall, streams: usize) -> Terms {
        Terms {
            time_ms: now.0,
            reconnect_spread_s: self.reconnect_spread_s(streams),
            entry_len_max: u32::try_from(self.limits.entry_len_max).unwrap_or(u32::MAX),
            handles_max: u32::try_from(self.limits.handles_max).unwrap_or(u32::MAX),
            requests_max: u16::try_from(self.limits.requests_max).unwrap_or(u16::MAX),
            code_needed: self.access_code.is_some(),
        }
    }

    /// Whether this code allows to create a log. Takes the same time for every wrong one of the same length.
    pub(crate) fn admits(&self, code: Option<&AccessCode>) -> bool {
        // [SPEC 4.44]
        match (&self.access_code, code) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(wanted), Some(given)) => wanted.expose().ct_eq(given.expose()).into(),
        }
    }
}
