//! The configuration file: every option of `serve` that lasts, and the limits, which can be changed while the relay runs.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use emptyroom_relay::Limits;
use emptyroom_wire::limits::ENTRY_LEN_MAX;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use toml::de::{DeTable, DeValue};

use crate::data::{DataError, read_small};
use crate::log::Format;
use crate::medium::Choice;
use crate::server::Public;
use crate::wake::WakeServers;

/// How an address to listen at is written.
pub(crate) const SOCKET_ADDRESS: &str = "an IP address and a port, as 127.0.0.1:7443 or [::]:443";

/// Settings as they stand in a file, by what their text hashes to: it may be secret.
pub type Written = BTreeMap<String, [u8; 32]>;

/// A configuration file as it was written. What it does not say is as if there were no file.
// [SPEC 6.130]
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct File {
    /// As `--data`.
    pub data: Option<PathBuf>,
    /// As `--listen`.
    pub listen: Option<SocketAddr>,
    /// As `--public`.
    pub public: Option<Public>,
    /// As `--access-code-file`.
    pub access_code_file: Option<PathBuf>,
    /// As `--open`.
    pub open: bool,
    /// As `--store`.
    pub store: Option<Choice>,
    /// As `--wake`.
    pub wake: Option<WakeServers>,
    /// As `--wake-authorities`.
    pub wake_authorities: Option<PathBuf>,
    /// As `--store-memory`.
    pub store_memory: Option<u32>,
    /// As `--threads`.
    pub threads: Option<u16>,
    /// As `--descriptors-per-thread`.
    pub descriptors_per_thread: bool,
    /// As `--status`.
    pub status: Option<SocketAddr>,
    /// As `--status-anywhere`.
    pub status_anywhere: bool,
    /// As `--log`.
    pub log: Option<Format>,
    /// As `--json`.
    pub json: bool,
    /// What can be changed while the relay runs.
    pub limits: LimitsTable,
    /// All but the limits.
    #[serde(skip)]
    pub written: Written,
}

/// The table `[limits]`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct LimitsTable {
    streams: Option<usize>,
    connections_per_address: Option<usize>,
    open_logs_per_stream: Option<usize>,
    open_logs: Option<usize>,
    requests: Option<usize>,
    entry_bytes: Option<usize>,
    unsent_bytes: Option<usize>,
    reconnect_spread_s: Option<usize>,
}

const TOP: [&str; 16] = [
    "data",
    "listen",
    "public",
    "access-code-file",
    "open",
    "store",
    "store-memory",
    "wake",
    "wake-authorities",
    "threads",
    "descriptors-per-thread",
    "status",
    "status-anywhere",
    "log",
    "json",
    "limits",
];

/// Options that are said once, and would be forgotten in a file.
const ONCE: [&str; 3] = ["quarantine-damage", "clock-is-right", "database-was-lost"];

/// A name that is as like another one as this may have been meant to be that, in strsim's measure.
const NEAR: f64 = 0.8;

/// The limits with what each may be. The ends are those of the protocol, or what makes no sense beyond.
const LIMITS: [(&str, Range<usize>); 8] = [
    ("streams", 1..1_000_001),
    ("connections-per-address", 1..1_000_001),
    ("open-logs-per-stream", 16..65_537),
    ("open-logs", 16..100_000_001),
    ("requests", 4..65_536),
    ("entry-bytes", (256 << 10)..ENTRY_LEN_MAX + 1),
    ("unsent-bytes", (16 << 20)..(64 << 30) + 1),
    ("reconnect-spread-s", 1..601),
];

/// Why a configuration file cannot be used.
#[derive(Debug)]
pub enum ConfigError {
    /// It cannot be read.
    Unreadable(DataError),
    /// Something in it is wrong.
    Wrong {
        /// Which file.
        path: PathBuf,
        /// Where, counted from 1.
        line: usize,
        /// What.
        what: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => error.fmt(f),
            Self::Wrong { path, line, what } => write!(f, "{}:{line}: {what}", path.display()),
        }
    }
}

impl std::error::Error for ConfigError {}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let bytes = read_small(path).map_err(ConfigError::Unreadable)?;
        let missing = || DataError::io("open", path, std::io::ErrorKind::NotFound.into());
        let bytes = bytes.ok_or_else(|| ConfigError::Unreadable(missing()))?;
        let wrong = |line, what: &str| ConfigError::Wrong {
            path: path.to_owned(),
            line,
            what: what.to_owned(),
        };
        let text = std::str::from_utf8(&bytes).map_err(|_| wrong(1, "it is not text"))?;
        Self::parse(text).map_err(|(line, what)| wrong(line, &what))
    }

    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let line = |span: Option<Range<usize>>| line_of(text, span.map_or(0, |span| span.start));
        let at = |error: toml::de::Error| {
            let what = error.message().lines().next().unwrap_or_default();
            (line(error.span()), in_words(what))
        };
        let table = DeTable::parse(text).map_err(at)?;
        check_names(text, table.get_ref(), "", &TOP)?;
        if let Some(limits) = table.get_ref().get("limits")
            && let DeValue::Table(limits) = limits.get_ref()
        {
            check_names(text, limits, "limits.", &LIMITS.map(|(name, _)| name))?;
        }
        let mut file: Self = toml::from_str(text).map_err(at)?;
        file.written = written(text, table.get_ref());
        if file.open && file.access_code_file.is_some() {
            // The later of the two.
            let places = ["open", "access-code-file"].map(|name| {
                let place = table.get_ref().get_key_value(name);
                place.map_or(0, |(key, _)| key.span().start)
            });
            let at = places.into_iter().max().unwrap_or(0);
            let what = "`open` and `access-code-file` exclude each other";
            return Err((line_of(text, at), what.to_owned()));
        }
        let out_of = |name: &str, says: String| {
            let place = table.get_ref().get_key_value(name);
            let line = line_of(text, place.map_or(0, |(key, _)| key.span().start));
            Err((line, format!("`{name}` is {says}")))
        };
        if let Some(threads) = file.threads.filter(|number| !(1..=256).contains(number)) {
            return out_of("threads", format!("{threads}, not within 1 to 256"));
        }
        if file.store_memory == Some(0) {
            return out_of("store-memory", "0, and no row would fit".to_owned());
        }
        file.limits.check(table.get_ref(), text)?;
        Ok(file)
    }
}

/// What the settings are but for the limits.
fn written(text: &str, table: &DeTable<'_>) -> Written {
    let others = table
        .iter()
        .filter(|(name, _)| name.get_ref().as_ref() != "limits");
    let hashed = others.map(|(name, value)| {
        let value = text.get(value.span()).unwrap_or_default();
        (name.get_ref().to_string(), Sha256::digest(value).into())
    });
    hashed.collect()
}

/// What is wrong, for who does not know the names of this program's types.
fn in_words(what: &str) -> String {
    let mut words = what.to_owned();
    for (ours, theirs) in [
        ("expected usize", "expected a whole number, 0 or more"),
        ("expected u32", "expected a whole number, 0 or more"),
        ("expected u16", "expected a whole number, 0 or more"),
    ] {
        words = words.replace(ours, theirs);
    }
    if words.ends_with("expected nothing") {
        return "this is no value; a text stands in quotes".to_owned();
    }
    if words.contains("invalid socket address syntax") {
        words = format!("expected {SOCKET_ADDRESS}, in quotes");
    }
    words
}

impl LimitsTable {
    fn values(&self) -> [Option<usize>; LIMITS.len()] {
        [
            self.streams,
            self.connections_per_address,
            self.open_logs_per_stream,
            self.open_logs,
            self.requests,
            self.entry_bytes,
            self.unsent_bytes,
            self.reconnect_spread_s,
        ]
    }

    fn check(&self, table: &DeTable<'_>, text: &str) -> Result<(), (usize, String)> {
        let written = table.get("limits").map(toml::Spanned::get_ref);
        for ((name, range), value) in LIMITS.iter().zip(self.values()) {
            let Some(value) = value.filter(|value| !range.contains(value)) else {
                continue;
            };
            let place = match written {
                Some(DeValue::Table(limits)) => limits.get_key_value(*name),
                _ => None,
            };
            let line = line_of(text, place.map_or(0, |(key, _)| key.span().start));
            let (least, most) = (range.start, range.end.saturating_sub(1));
            return Err((
                line,
                format!("`limits.{name}` is {value}, not within {least} to {most}"),
            ));
        }
        Ok(())
    }

    /// These limits where something is set, the others as they are.
    #[must_use]
    pub fn over(&self, limits: Limits) -> Limits {
        Limits {
            streams_max: self.streams.unwrap_or(limits.streams_max),
            handles_max: self.open_logs_per_stream.unwrap_or(limits.handles_max),
            requests_max: self.requests.unwrap_or(limits.requests_max),
            entry_len_max: self.entry_bytes.unwrap_or(limits.entry_len_max),
            handles_total_max: self.open_logs.unwrap_or(limits.handles_total_max),
            unsent_total_max: self.unsent_bytes.unwrap_or(limits.unsent_total_max),
        }
    }

    /// The spread of reconnects, if it is set.
    #[must_use]
    pub fn reconnect_spread_s(&self) -> Option<u32> {
        self.reconnect_spread_s
            .and_then(|seconds| u32::try_from(seconds).ok())
    }

    /// Connections of one address, if they are set.
    #[must_use]
    pub fn per_address(&self) -> Option<usize> {
        self.connections_per_address
    }
}

/// Refuses what is not known, and says what it may have been meant to be.
fn check_names(
    text: &str,
    table: &DeTable<'_>,
    prefix: &str,
    known: &[&str],
) -> Result<(), (usize, String)> {
    for key in table.keys() {
        let name = key.get_ref().as_ref();
        if known.contains(&name) {
            continue;
        }
        let what = if ONCE.contains(&name) {
            format!("`{name}` is for one start: say it on the command line, as --{name}")
        } else {
            let near = |known: &str| strsim::jaro(name, known);
            let nearest = known
                .iter()
                .filter(|known| near(known) > NEAR)
                .max_by(|one, two| near(one).total_cmp(&near(two)))
                .map_or_else(String::new, |near| {
                    format!("; did you mean `{prefix}{near}`?")
                });
            format!("there is no setting `{prefix}{name}`{nearest}")
        };
        return Err((line_of(text, key.span().start), what));
    }
    Ok(())
}

fn line_of(text: &str, at: usize) -> usize {
    let before = text.bytes().take(at);
    before
        .filter(|byte| *byte == b'\n')
        .count()
        .saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    // [SPEC 6.130]
    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, line, says) in [
            (
                "listen = \"[::]:443\"\n\npubic = \"x\"\n",
                3,
                "no setting `pubic`; did you mean `public`?",
            ),
            (
                "[limits]\nstream = 5\n",
                2,
                "`limits.stream`; did you mean `limits.streams`?",
            ),
            ("clock-is-right = true\n", 1, "as --clock-is-right"),
            ("listen = 127.0.0.1:443\n", 1, "a text stands in quotes"),
            ("\nlisten = 5\n", 2, "invalid type"),
            ("open = true\naccess-code-file = \"x\"\n", 2, "exclude"),
            ("\naccess-code-file = \"x\"\n\nopen = true\n", 4, "exclude"),
            (
                "[limits]\nopen-logs-per-stream = 16\nrequests = 3\n",
                3,
                "`limits.requests` is 3, not within 4 to 65535",
            ),
            ("[limits]\nstreams = -1\n", 2, "expected a whole number"),
            ("[limits]\nstreams = \"x\"\n", 2, "expected a whole number"),
            (
                "listen = \"localhost:443\"\n",
                1,
                "expected an IP address and a port",
            ),
            ("data = \"a\"\ndata = \"b\"\n", 2, "duplicate"),
            ("\n\n= 5\n", 3, ""),
            ("public = \"http://x\"\n", 1, ""),
            ("store = \"floppy\"\n", 1, "it is none of"),
            ("\nthreads = 0\n", 2, "not within 1 to 256"),
        ] {
            let (at, what) = File::parse(text).unwrap_err();
            assert_eq!(at, line, "{text}: {what}");
            assert!(what.contains(says), "{text}: {what}");
        }
    }

    #[test]
    fn what_is_not_set_stays() {
        let file =
            File::parse("[limits]\nopen-logs-per-stream = 32\nreconnect-spread-s = 60\n").unwrap();
        let limits = file.limits.over(Limits::default());
        let same = Limits {
            handles_max: 32,
            ..Limits::default()
        };
        assert_eq!(limits, same);
        assert_eq!(file.limits.reconnect_spread_s(), Some(60));
        assert_eq!(file.limits.per_address(), None);
    }
}
