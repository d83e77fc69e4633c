//! `emptyroom-relay status`: how a running relay fares.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::ask::{self, Place};
use super::{Exit, Failure, socket_address};
use crate::console;
use crate::status::snapshot::{Health, Snapshot};
use crate::status::words::{bytes, count, duration, milliseconds, sandbox, time_of_day};

/// Print how a running relay fares: sums over everybody, nothing about anybody.
///
/// Asks at the relay's data directory, as the user that runs it or as root; or at its status port, as any user. Whether it is
/// healthy is said as of now. Sums are taken once a minute, counts rounded down to multiples of 16 and sizes to MiB: what one of few
/// clients does must not show.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  emptyroom-relay status --data /var/lib/emptyroom-relay
  emptyroom-relay status --status 127.0.0.1:9180 --json

Exits with 0 if the relay is healthy, 7 if it is not, 8 if none answers. With --alive it is 0, too,
where starting the relay anew would not help. Whatever went wrong is said on standard error, with
--json as well.")]
pub(super) struct Arguments {
    /// The data directory of the relay.
    #[arg(long, value_name = "DIR", required_unless_present = "status")]
    data: Option<PathBuf>,
    /// Its status port, as it was given to `serve`.
    #[arg(long, value_name = "ADDR", conflicts_with = "data", value_parser = socket_address)]
    status: Option<SocketAddr>,
    /// Print everything as one JSON object instead.
    #[arg(long)]
    json: bool,
    /// For what starts a relay anew that is not well: also exit with 0 while a disk or a database is full, a database is away, or it stops.
    #[arg(long)]
    alive: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let place = match (&arguments.data, arguments.status) {
        (_, Some(address)) => Place::Port(address),
        (Some(data), None) => Place::of_data(data),
        (None, None) => return Err(Failure::new(Exit::WrongUse, "say --data or --status")),
    };
    let answer = ask::runtime()?.block_on(ask::get(&place, "/status.json"));
    let (_, text) = answer.map_err(|error| {
        let missing = arguments.data.as_ref().filter(|data| !data.is_dir());
        let what = match missing {
            Some(data) => format!("there is no directory {}", data.display()),
            None => format!("no relay answers there: {error}"),
        };
        Failure::new(Exit::NoAnswer, what)
            .hint("is it running? for --data: as its user, or as root")
    })?;
    let snapshot: Snapshot = serde_json::from_str(&text).map_err(|_| {
        Failure::new(
            Exit::NoAnswer,
            "what answers there is no relay of this version",
        )
        .hint("restart the relay after an upgrade; check the address")
    })?;
    if arguments.json {
        console::result(text.trim_end())?;
    } else {
        console::result(&in_words(&snapshot))?;
    }
    match snapshot.health {
        Health::Ok => Ok(()),
        // [SPEC 6.220]
        Health::DiskFull | Health::DatabaseAway | Health::DatabaseFull | Health::Draining
            if arguments.alive =>
        {
            Ok(())
        }
        health => Err(Failure::new(
            Exit::Unhealthy,
            why(health, snapshot.failure.as_deref()),
        )),
    }
}

fn why(health: Health, failure: Option<&str>) -> String {
    match failure {
        Some(failure) => format!("{} ({failure})", health.words()),
        None => health.words().to_owned(),
    }
}

fn in_words(all: &Snapshot) -> String {
    let store = &all.store;
    let rows = store
        .rows
        .map_or_else(String::new, |rows| format!("{} rows, ", count(rows)));
    let latency = all.batch_seconds.at_most(0.99).map_or_else(
        || format!("{} batches written", count(0)),
        |seconds| format!("99 of 100 batches durable within {}", milliseconds(seconds)),
    );
    let refused: u64 = all.refusals.values().sum();
    let ended: u64 = all.hangups.values().sum();
    let away: u64 = all.turned_away.values().sum();
    [
        format!(
            "relay      {}, version {}, up for {}, {}",
            all.health.words(),
            all.version,
            duration(all.up_s),
            sandbox(all)
        ),
        format!(
            "now        {} connections, {} streams, {} handles on {} logs",
            count(all.connections),
            count(all.streams),
            count(all.handles),
            count(all.logs_open)
        ),
        format!(
            "waiting    {} to be sent, {} requests for the disk",
            bytes(all.unsent_bytes),
            count(all.queue_requests)
        ),
        format!(
            "entries    {} stored, {} handed out since the start",
            count(all.entries_appended),
            count(all.entries_pushed)
        ),
        match all.databases {
            0 => format!(
                "store      {}: {rows}{} on disk, {} of it journal; {} free",
                store.kind,
                bytes(store.bytes),
                bytes(store.journal_bytes),
                bytes(store.disk_free_bytes)
            ),
            number => format!(
                "store      {}: databases {number}, of them away {}, full {}; news by NATS: {}",
                store.kind,
                all.databases_away,
                all.databases_full,
                all.news.as_deref().unwrap_or("none")
            ),
        },
        format!("disk       {latency}"),
        format!(
            "refused    {} requests, {} connections ended, {} newcomers dropped",
            count(refused),
            count(ended),
            count(away)
        ),
        format!("memory     {}", bytes(all.memory_bytes)),
        format!("as of      {}", time_of_day(all.as_of_unix_s)),
    ]
    .join("\n")
}
