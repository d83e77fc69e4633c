//! Command line and configuration file together, and what of it can be said anew.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{Arguments, Failure};
use crate::cli::{Exit, store};
use crate::config::{ConfigError, File, LimitsTable, Written};
use crate::data::access::Access;
use crate::lanes::LaneOptions;
use crate::log::{Event, Format, log};
use crate::medium::{Choice, Wanted};
use crate::platform;
use crate::postgres::cluster::Purpose;
use crate::segments::OnDamage;
use crate::server::{Options, Server, StatusPort};
use crate::wake::WakeServers;

/// Where a relay listens that was not told.
const LISTEN: ([u16; 8], u16) = ([0; 8], 443);

/// How `serve` is to run.
pub(super) struct Settings {
    pub(super) options: Options,
    pub(super) json: bool,
    pub(super) log: Format,
    pub(super) reload: Reload,
}

/// How limits come about, at the start and later.
pub(super) struct Reload {
    config: Option<PathBuf>,
    /// What the file said of all else.
    written: Written,
    /// Of the command line, which counts more than the file.
    per_address: Option<usize>,
    /// Of the command line, too.
    open_logs: Option<usize>,
    lanes: LaneOptions,
    /// Open files that the process may have.
    descriptors: u64,
}

impl Settings {
    /// The command line counts more than the file.
    pub(super) fn of(arguments: Arguments) -> Result<Self, Failure> {
        let file = match &arguments.config {
            Some(path) => File::load(path)?,
            None => File::default(),
        };
        let descriptors = platform::raise_descriptor_limit().map_err(|e| {
            let what = format!("cannot read the limit of open files: {e}");
            Failure::new(Exit::Data, what)
        })?;
        let threads = arguments.threads.or(file.threads);
        let lanes = LaneOptions {
            own_descriptors: arguments.descriptors_per_thread || file.descriptors_per_thread,
            number: threads.map_or_else(|| LaneOptions::default().number, usize::from),
        };
        let number = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let reload = Reload {
            open_logs: arguments.open_logs.map(number),
            lanes,
            config: arguments.config,
            written: file.written,
            per_address: arguments.connections_per_address.map(number),
            descriptors,
        };
        let data = arguments.data.or(file.data).ok_or_else(|| {
            Failure::new(Exit::WrongUse, "there is no data directory")
                .hint("say --data DIR, or `data` in the configuration file")
        })?;
        let listen = arguments.listen.or(file.listen);
        let access = match (arguments.access_code_file, arguments.open) {
            (Some(code), _) => Access::CodeFile(code),
            (None, true) => Access::Open,
            (None, false) => match (file.access_code_file, file.open) {
                (Some(code), _) => Access::CodeFile(code),
                (None, true) => Access::Open,
                (None, false) => Access::OwnCode,
            },
        };
        let mut options = Options::new(data, listen.unwrap_or_else(|| LISTEN.into()));
        options.public = arguments.public.or(file.public);
        let store = store::choice(arguments.store)?;
        let servers = arguments.wake;
        let servers = servers.map(|text| store::read_later("--wake", text, WakeServers::parse));
        let servers = servers.transpose()?;
        options.store = Wanted {
            choice: store.or(file.store),
            purpose: match arguments.database_was_lost {
                true => Purpose::ServingAfterLoss,
                false => Purpose::Serving,
            },
            on_damage: if arguments.quarantine_damage {
                OnDamage::Quarantine
            } else {
                OnDamage::Refuse
            },
            memory_mib: arguments
                .store_memory
                .or(file.store_memory)
                .unwrap_or(Wanted::default().memory_mib),
        };
        options.wake = wake(
            servers.or(file.wake),
            arguments.wake_authorities.or(file.wake_authorities),
            options.store.choice.as_ref(),
        )?;
        options.access = access;
        options.status = arguments.status.or(file.status).map(|listen| StatusPort {
            listen,
            anywhere: arguments.status_anywhere || file.status_anywhere,
        });
        options.clock_is_right = arguments.clock_is_right;
        Ok(Self {
            options: reload.limited(options, &file.limits),
            json: arguments.json || file.json,
            log: arguments.log.or(file.log).unwrap_or_default(),
            reload,
        })
    }
}

/// What is said of NATS, if it makes sense.
fn wake(
    servers: Option<WakeServers>,
    authorities: Option<PathBuf>,
    store: Option<&Choice>,
) -> Result<Option<WakeServers>, Failure> {
    let Some(mut servers) = servers else {
        return Ok(None);
    };
    if !matches!(store, Some(Choice::Databases(_))) {
        return Err(Failure::new(
            Exit::WrongUse,
            "--wake is for nodes on a database, and this relay is alone",
        )
        .hint("leave it out, or say --store postgres://…"));
    }
    match authorities {
        Some(file) => servers.trust(&file).map_err(|why| {
            Failure::new(Exit::WrongUse, format!("--wake-authorities: {why}"))
                .hint("a file of PEM certificates")
        })?,
        None if servers.wants_authorities() => {
            let missing = "tls:// needs --wake-authorities";
            return Err(Failure::new(Exit::WrongUse, missing)
                .hint("say which authority signed the servers' certificates"));
        }
        None => {}
    }
    Ok(Some(servers))
}

impl Reload {
    fn limited(&self, mut options: Options, table: &LimitsTable) -> Options {
        options.lanes = self.lanes;
        options.limits = table.over(options.limits);
        let open_logs = self.open_logs.unwrap_or(options.limits.handles_total_max);
        options.limits.handles_total_max = open_logs;
        options.fit_into_descriptors(self.descriptors);
        let per_address = self.per_address.or(table.per_address());
        options.direct.per_address_max = per_address.unwrap_or(options.direct.per_address_max);
        let spread = table.reconnect_spread_s();
        options.reconnect_spread_s = spread.unwrap_or(options.reconnect_spread_s);
        options
    }

    /// Reads the file anew. One that cannot be used changes nothing.
    // [SPEC 6.129]
    pub(super) async fn again(&self, server: &Server) {
        let Some(path) = &self.config else {
            return log(&Event::NothingToReload);
        };
        match File::load(path) {
            Ok(file) => {
                let plain = Options::new(PathBuf::new(), LISTEN.into());
                let options = self.limited(plain, &file.limits);
                server.set_limits(&options).await;
                log(&Event::Reloaded(&changed(&self.written, &file.written)));
            }
            Err(error) => log(&Event::ReloadRefused(&error.to_string())),
        }
    }
}

/// The settings that are not the same in both.
fn changed(before: &Written, now: &Written) -> Vec<String> {
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let changed = names
        .into_iter()
        .filter(|name| before.get(*name) != now.get(*name));
    changed.cloned().collect()
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let text = error.to_string();
        match error {
            ConfigError::Unreadable(_) => Self::new(Exit::WrongUse, text)
                .hint("the user that runs the relay must be able to read it"),
            ConfigError::Wrong { .. } => Self::new(Exit::WrongUse, text)
                .hint("`emptyroom-relay serve --help` lists the settings, and those of [limits] stand in docs/self-hosting.md; nothing was started"),
        }
    }
}
