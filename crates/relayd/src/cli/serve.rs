//! `emptyroom-relay serve`: run a relay until it is told to stop.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::PathBuf;

use emptyroom_wire::address::RelayAddress;
use tokio::runtime::Builder;
use tokio::select;
use tokio::signal::unix::{Signal, SignalKind, signal};
use zeroize::Zeroizing;

use super::{Exit, Failure, socket_address};
use crate::console;
use crate::log::{self, Event, Format, log};
use crate::medium::MediumError;
use crate::postgres::cluster::Refused;
use crate::postgres::{LOCKED, Unusable};
use crate::server::{Ended, Public, Server, StartError};
use settings::Settings;

mod confined;
mod notify;
mod settings;

/// Run a relay until SIGTERM or SIGINT.
///
/// Prints one line on standard output, the relay's address, as soon as it serves. The access code is part
/// of the line only on a terminal, so that it does not get into a log; `emptyroom-relay address` prints it.
///
/// Who may make new logs: by default whoever has the access code, which is made at the first start and kept in
/// the data directory. Existing logs need no code. To change the code, remove the file `access-code` and
/// restart; clients that are to make new logs then need the new address line.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  emptyroom-relay serve --data /var/lib/emptyroom-relay --public relay.example.org
  emptyroom-relay serve --data ./relay --listen 127.0.0.1:7443 --open

SIGHUP reads the limits of the configuration file anew; SIGTERM stops: no more
connections, what was asked before is answered, clients come back by themselves
within the seconds of limits.reconnect-spread-s, more if they are many.

docs/self-hosting.md says the rest: packages, systemd, backup, monitoring.")]
pub(super) struct Arguments {
    /// Read options and limits from this TOML file; what is said here on the command line counts more. SIGHUP reads its
    /// limits anew.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the relay keeps what lasts: its identity, its access code, sealed entries. Made if missing,
    /// for this user only. One relay at a time.
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    data: Option<PathBuf>,
    /// Where to listen. Port 0 takes a free one. [default: [::]:443]
    #[arg(long, value_name = "ADDR", value_parser = socket_address)]
    listen: Option<SocketAddr>,
    /// The name or IP address that clients dial, if it is not the listening one; with a port if that differs. Where the relay
    /// runs on several nodes, those of all, up to four, joined by commas.
    #[arg(long, value_name = "HOST[:PORT],…", value_parser = Public::parse)]
    public: Option<Public>,
    /// Take the access code from this file (1 to 64 letters, digits, '-' and '_'), not from the data directory.
    #[arg(long, value_name = "FILE", conflicts_with = "open")]
    access_code_file: Option<PathBuf>,
    /// Where entries are kept. `segments` (the relay's own log; the default) or `sqlite`: in the data directory, for a new one; an
    /// old one keeps its kind. `postgres://USER:PASSWORD@HOST/DATABASE`, once or more: in databases that several nodes of one relay
    /// share, all naming the same ones in the same order (better one, where one does: docs/scaling.md). `file:PATH` or `env:NAME` says where such addresses are found, one a line, so
    /// that no list of processes shows a password.
    // Read later: what is said of a wrong value must not repeat it.
    // [SPEC 6.208]
    #[arg(long, value_name = "STORE")]
    store: Vec<String>,
    /// How nodes on the same database tell each other of new entries: a NATS server, as `nats://[USER:PASSWORD@]HOST[:PORT]` or
    /// `tls://…`, several hosts joined by commas; `file:PATH` or `env:NAME` says where that is found. Without it, or while it
    /// is away, readers on other nodes wait up to 30 seconds.
    // Read later, as `--store` is.
    // [SPEC 6.208]
    #[arg(long, value_name = "NATS")]
    wake: Option<String>,
    /// The authorities that sign the certificates of NATS servers, a file of PEM. For tls://.
    #[arg(long, value_name = "FILE")]
    wake_authorities: Option<PathBuf>,
    /// Up to so many MiB of memory for the places of stored rows, about 6,500 in each; with more, the relay refuses what needs
    /// space as if the disk were full. For segments; SQLite keeps them on disk. [default: 1024]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..))]
    store_memory: Option<u32>,
    /// Start although commits that were acknowledged are damaged on the disk. They are lost then; the damaged file is kept in
    /// `quarantine`, and clients are told so.
    #[arg(long)]
    quarantine_damage: bool,
    /// Start although a database is empty that this relay has used: it was lost. What it held is gone, and so are logs in others that only
    /// it knew of.
    #[arg(long)]
    database_was_lost: bool,
    /// Let everybody who knows the address make logs.
    #[arg(long)]
    open: bool,
    /// How many connections one address (IPv6: one /64) may have at a time, and may newly make in a minute: 1024, or a
    /// quarter of all where open files are scarce. More where many clients share an address, as behind a Tor service.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    connections_per_address: Option<u32>,
    /// How many logs may be open at a time on all connections together, each counted for everyone who has it
    /// open: 2,097,152. Each takes some 200 bytes of memory.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    open_logs: Option<u32>,
    /// Threads for connections, beside the two for the engine and the disk: as many as there are cores.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Count the limit of open files (`ulimit -n`) for each of these threads apart, where it cannot be raised: with
    /// a limit of 20,000 four threads hold 65,536 connections. Where it can be raised, do that instead: LimitNOFILE= of systemd.
    #[arg(long)]
    descriptors_per_thread: bool,
    /// Serve a status page, health and metrics here over HTTP, as 127.0.0.1:9180: sums only, nothing about clients. Only an
    /// address of this machine itself is taken.
    #[arg(long, value_name = "ADDR", value_parser = socket_address)]
    status: Option<SocketAddr>,
    /// Take any address for --status. Whoever can reach it sees how many people use the relay, and when.
    #[arg(long)]
    status_anywhere: bool,
    /// How lines on standard error are written.
    #[arg(long, value_name = "FORMAT")]
    log: Option<Format>,
    /// Start although the clock says that this relay last ran more than 40 days ago. What has run out since is then
    /// removed for good.
    #[arg(long)]
    clock_is_right: bool,
    /// Print the line as one JSON object: {"v":1,"event":"serving","address":"…","listening":"…"}.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let settings = Settings::of(arguments)?;
    log::set_format(settings.log);
    confined::begin(&settings)?;
    // For the engine and signals; sockets have threads of their own.
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(Exit::Data, format!("cannot start threads: {e}")))?;
    let outcome = runtime.block_on(serve(settings));
    // Whatever still hangs on a socket has had its time.
    runtime.shutdown_background();
    outcome
}

async fn serve(settings: Settings) -> Result<(), Failure> {
    let mut signals = Signals::new()
        .map_err(|e| Failure::new(Exit::Data, format!("cannot take signals: {e}")))?;
    let Settings {
        options,
        json,
        reload,
        ..
    } = settings;
    let mut server = Server::start(options).await?;
    log(&Event::Serving);
    print_address(&server, json)?;
    notify::ready();
    loop {
        let signal = select! {
            signal = signals.next() => signal,
            ended = server.ended() => return Err(ended.into()),
        };
        match signal {
            Wish::Reload => reload.again(&server).await,
            Wish::Stop => break,
        }
    }
    log(&Event::Stopping);
    notify::stopping();
    server.stop().await?;
    Ok(())
}

fn print_address(server: &Server, json: bool) -> io::Result<()> {
    let line = shown(server.address(), io::stdout().is_terminal());
    if json {
        let listening = server.listening().to_string();
        let object = serde_json::json!({ "v": 1, "event": "serving", "address": line.as_str(), "listening": listening });
        return console::result(&object.to_string());
    }
    console::result(&line)
}

// [SPEC 6.79]
fn shown(address: &RelayAddress, terminal: bool) -> Zeroizing<String> {
    Zeroizing::new(if terminal {
        address.with_code()
    } else {
        address.without_code()
    })
}

/// What a signal asks for.
enum Wish {
    Stop,
    Reload,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Wish {
        select! {
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.hangup.recv() => Wish::Reload,
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let text = error.to_string();
        match error {
            StartError::Data(error) => error.into(),
            StartError::Store(MediumError::File {
                damaged_journal: true,
                ..
            }) => Self::new(Exit::Data, text).hint(
                "it holds what was acknowledged last; restore the file, or start once with --quarantine-damage, which loses what does not open and goes on with the rest",
            ),
            StartError::Store(MediumError::Database(Refused { ref why, .. })) => {
                Self::new(database_exit(why), text).hint(database_hint(why))
            }
            StartError::Store(MediumError::Embedded { .. }) => Self::new(Exit::Data, text).hint(
                "name another data directory, with a copy of this one's identity.key; nothing was changed",
            ),
            StartError::Store(MediumError::HalfImported) => {
                Self::new(Exit::Data, text).hint(HALF_IMPORTED)
            }
            StartError::Store(MediumError::Exported) => Self::new(Exit::Data, text).hint(EXPORTED),
            StartError::Store(MediumError::Node) => Self::new(Exit::Data, text)
                .hint("say --store postgres://…; an empty store would be served otherwise"),
            StartError::Store(MediumError::Other { .. }) => Self::new(Exit::Data, text).hint(
                "a directory keeps its kind of store; another kind goes into a new directory, made by `backup` and `restore`; nothing was changed",
            ),
            StartError::Store(_) => Self::new(Exit::Data, text).hint(
                "make space, or restore the data directory's owner, rights and missing files (EMPTYROOM_SANDBOX=off shows whether it is the sandbox); nothing was changed",
            ),
            StartError::LongAway(_) => Self::new(Exit::Data, text).hint(
                "set the clock; if it is right, start once with --clock-is-right, which removes what has run out meanwhile",
            ),
            StartError::Listen(..) => Self::new(Exit::Listen, text).hint(
                "is the port taken? ports below 1024 need CAP_NET_BIND_SERVICE; see --listen",
            ),
            StartError::NoPublic => Self::new(Exit::WrongUse, text)
                .hint("say what clients dial: --public relay.example.org"),
            StartError::StatusNotLocal => Self::new(Exit::WrongUse, text).hint(
                "give --status a loopback address; if others are to see it, add --status-anywhere",
            ),
            StartError::Status(..) => {
                Self::new(Exit::Listen, text).hint("is the port taken? see --status")
            }
            StartError::Control(_) => Self::new(Exit::Data, text)
                .hint("the user that runs the relay must own the directory; see --data"),
            StartError::Tls(_) | StartError::Thread(_) => Self::new(Exit::Bug, text),
        }
    }
}

const HALF_IMPORTED: &str = "run the same `emptyroom-relay import` again; it goes on";
const EXPORTED: &str = "serve them where they were brought to; if they were not, `emptyroom-relay export --undo` lets them be served here again";

/// What passes by itself, a database that starts later than this program above all, is worth another start.
// [SPEC 6.207]
fn database_exit(why: &Unusable) -> Exit {
    match why {
        Unusable::Failed(failure) if failure.passes() => Exit::Storage,
        Unusable::Clock(_) => Exit::Storage,
        _ => Exit::Data,
    }
}

fn database_hint(why: &Unusable) -> &'static str {
    match why {
        Unusable::OtherIdentity => {
            "each relay has databases of its own; nodes of one relay have the same identity.key"
        }
        Unusable::OtherPlace { .. } => {
            "all nodes name the same databases in the same order, for ever"
        }
        Unusable::Newer { .. } => "start a program that is at least as new; nothing was changed",
        Unusable::NoKeys | Unusable::OtherKeys => {
            "copy the file day-keys from the data directory of a node that runs; nothing was changed"
        }
        Unusable::Empty => {
            "is it the right one? bring back the one that was lost (a replica has it); if there is none, `serve` it once with --database-was-lost (in the middle of an export, `export --undo --database-was-lost` first): what it held is gone, and so are logs in others that only it knew of; nothing was changed"
        }
        Unusable::HalfImported => HALF_IMPORTED,
        Unusable::Exported => EXPORTED,
        Unusable::NoSync => "set fsync = on in postgresql.conf",
        Unusable::Clock(_) => "set both clocks (NTP); minutes apart are fine",
        Unusable::Keys(_) => "restore the file from another node's data directory",
        Unusable::Failed(failure) if *failure == LOCKED => {
            "where a dump, a VACUUM FULL or a long reader is at a table that this program has to change, start again when it is done; pg_stat_activity shows it"
        }
        Unusable::Failed(_) => {
            "does it run, at this address, as a primary, for this user and password? its own log says more"
        }
    }
}

impl From<Ended> for Failure {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Store(failure) => Self::new(Exit::Storage, format!("{failure}; stopped"))
                .hint("check the disk; what was acknowledged is on it, and the next start finds out what else is"),
            Ended::Clock => Self::new(
                Exit::Storage,
                "the clock jumped more than 40 days ahead; stopped before anything was removed",
            )
            .hint("set the clock; if it is right, start once with --clock-is-right, which removes what has run out meanwhile"),
            Ended::Lane(error) => {
                Self::new(Exit::Listen, format!("a thread cannot take connections: {error}; stopped"))
                    .hint("may the process have more open files? see `ulimit -n`, and LimitNOFILE= in the unit")
            }
            Ended::Bug => Self::new(Exit::Bug, "stopped by a bug"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use emptyroom_wire::address::{Host, parse_access_code};
    use emptyroom_wire::relay_key::IdentityHash;

    // [SPEC 6.79]
    #[test]
    fn the_code_is_for_terminals_only() {
        let address = RelayAddress {
            host: Host::parse("relay.example.org:443").unwrap(),
            others: Vec::new(),
            identity: IdentityHash([7; 32]),
            code: Some(parse_access_code("secret-code").unwrap()),
        };
        assert!(shown(&address, true).ends_with("?code=secret-code"));
        assert!(!shown(&address, false).contains("secret-code"));
    }
}
