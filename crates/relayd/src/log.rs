//! What an operator is told on standard error: events of the relay itself, of a closed list.
//!
//! Nothing about clients can be written from here: no event holds an address, an id, a size or a key, and none but `row-lost` is caused by
//! what one client does. Times are added by whoever collects the lines. Text is for people, `--log json` for programs:
//! `{"v":1,"event":"draining","level":"info","text":"…"}`.

use std::io::{self, Write};
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};

use emptyroom_relay::store::StoreFailure;
use emptyroom_sandbox::InForce;
use serde::Serialize;

use crate::segments::disk::QUARANTINE;

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object for each line.
    Json,
}

/// Everything that can be said while a relay runs.
// [SPEC 6.128]
#[derive(Debug)]
pub enum Event<'a> {
    /// It serves.
    Serving,
    /// What it writes is not confined, or system calls are not.
    NotConfined(InForce),
    /// The status page is served here.
    StatusAt(std::net::SocketAddr),
    /// There is no control socket: its path does not fit.
    NoControl,
    /// The data directory was of an older version and is of this one now.
    Migrated(u32, u32),
    /// The limits of the configuration file hold. These other settings are not what it was started with.
    Reloaded(&'a [String]),
    /// The configuration file cannot be used; says why, in words about the file.
    ReloadRefused(&'a str),
    /// SIGHUP, and there is no configuration file.
    NothingToReload,
    /// It stops as it was asked to.
    Stopping,
    /// The disk is full.
    DiskFull,
    /// It is not any more.
    SpaceAgain,
    /// A database refused something; with its code.
    DatabaseRefused(&'a str),
    /// The database has rows whose turn is over.
    RowsOver,
    /// The store cannot be reached.
    StoreAway(&'a StoreFailure),
    /// It can be again.
    StoreBack,
    /// One of several databases cannot be reached.
    DatabaseAway {
        /// Its place in the list, from 1.
        number: usize,
        /// How many there are.
        of: usize,
        /// Why.
        failure: &'a StoreFailure,
    },
    /// It can be again.
    DatabaseBack {
        /// Its place in the list, from 1.
        number: usize,
        /// How many there are.
        of: usize,
    },
    /// One of several databases is full.
    DatabaseFull {
        /// Its place in the list, from 1.
        number: usize,
        /// How many there are.
        of: usize,
    },
    /// It is not any more.
    DatabaseSpace {
        /// Its place in the list, from 1.
        number: usize,
        /// How many there are.
        of: usize,
    },
    /// NATS cannot be reached; says why, in words about the server.
    WakeAway(&'a str),
    /// It can be again.
    WakeBack,
    /// So many rows were moved by now.
    RowsMoved(u64),
    /// The store can write no more; what is stored is served.
    StoreFailed(&'a StoreFailure),
    /// No more connections can be accepted for now.
    CannotAccept,
    /// The store waits for a backup.
    BackupBegins,
    /// It does not any more.
    BackupEnds,
    /// A damaged file of the store was put away, and with it what it held.
    SegmentDamaged {
        /// The files' names.
        file: &'a str,
        /// What is wrong.
        what: &'a str,
        /// Rows that are lost at least.
        rows: usize,
        /// Bytes that are lost.
        bytes: u64,
        /// The day with which they would have run out.
        day: u32,
    },
    /// A damaged journal was put away, and with it commits that were acknowledged.
    JournalDamaged {
        /// Its name.
        file: &'a str,
        /// What is wrong.
        what: &'a str,
        /// How long it is.
        bytes: u64,
        /// The day with which it is destroyed.
        until: u32,
    },
    /// A row in this file does not open.
    RowLost(&'a str),
    /// A panic's place, and nothing of what it held.
    Bug(Option<&'a Location<'a>>),
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Info,
    Warning,
    Error,
}

impl Event<'_> {
    fn name(&self) -> (&'static str, Level) {
        match self {
            Self::Serving => ("serving", Level::Info),
            Self::NotConfined(_) => ("not-confined", Level::Warning),
            Self::StatusAt(_) => ("status", Level::Info),
            Self::NoControl => ("no-control", Level::Warning),
            Self::Migrated(..) => ("migrated", Level::Info),
            Self::Reloaded(_) => ("reloaded", Level::Info),
            Self::ReloadRefused(_) => ("reload-refused", Level::Error),
            Self::NothingToReload => ("nothing-to-reload", Level::Warning),
            Self::Stopping => ("stopping", Level::Info),
            Self::DiskFull => ("disk-full", Level::Error),
            Self::SpaceAgain => ("space-again", Level::Info),
            Self::DatabaseRefused(_) => ("database-refused", Level::Warning),
            Self::RowsOver => ("rows-over", Level::Warning),
            Self::StoreAway(_) => ("store-away", Level::Error),
            Self::StoreBack => ("store-back", Level::Info),
            Self::DatabaseAway { .. } => ("database-away", Level::Error),
            Self::DatabaseBack { .. } => ("database-back", Level::Info),
            Self::DatabaseFull { .. } => ("database-full", Level::Error),
            Self::DatabaseSpace { .. } => ("database-space-again", Level::Info),
            Self::WakeAway(_) => ("wake-away", Level::Warning),
            Self::WakeBack => ("wake-back", Level::Info),
            Self::RowsMoved(_) => ("rows-moved", Level::Info),
            Self::StoreFailed(_) => ("store-failed", Level::Error),
            Self::CannotAccept => ("cannot-accept", Level::Error),
            Self::BackupBegins => ("backup-begins", Level::Info),
            Self::BackupEnds => ("backup-ends", Level::Info),
            Self::SegmentDamaged { .. } => ("segment-damaged", Level::Error),
            Self::JournalDamaged { .. } => ("journal-damaged", Level::Error),
            Self::RowLost(_) => ("row-lost", Level::Error),
            Self::Bug(_) => ("bug", Level::Error),
        }
    }

    fn text(&self) -> String {
        let fixed = match self {
            Self::StatusAt(address) => return format!("status at http://{address}/"),
            Self::Migrated(from, to) => {
                return format!("data directory brought from version {from} to {to}");
            }
            Self::Reloaded(others) if !others.is_empty() => {
                let names = others.join(", ");
                return format!(
                    "limits reloaded; changed since the start, and not in force before a restart: {names}"
                );
            }
            Self::ReloadRefused(why) => {
                return format!("{why}; the limits stay as they were");
            }
            Self::SegmentDamaged {
                file,
                what,
                rows,
                bytes,
                day,
            } => {
                return format!(
                    "{file} is damaged ({what}) and lies in {QUARANTINE}/ now; at least {rows} rows ({bytes} bytes) that run out with day {day} are lost, \
                     and clients are told so"
                );
            }
            Self::JournalDamaged {
                file,
                what,
                bytes,
                until,
            } => {
                return format!(
                    "{file} is damaged ({what}) and lies in {QUARANTINE}/ until day {until} is over; of its {bytes} bytes of commits, the last before the \
                     stop, those behind the damage are lost, and clients are told so"
                );
            }
            Self::RowsMoved(number) => return format!("{number} rows so far"),
            Self::DatabaseRefused(code) => {
                return format!("the database answered with error {code}; its own log says more");
            }
            Self::StoreAway(failure) => {
                return format!("{failure}; what is asked of it is refused until it is back");
            }
            Self::DatabaseAway {
                number,
                of,
                failure,
            } => {
                return format!(
                    "database {number} of {of}: {failure}; what is asked of it is refused until it is back, the others go on"
                );
            }
            Self::DatabaseBack { number, of } => {
                return format!("database {number} of {of} is back");
            }
            Self::DatabaseFull { number, of } => {
                return format!(
                    "database {number} of {of} has no space left: what needs space there is refused until there is some, the others go on"
                );
            }
            Self::DatabaseSpace { number, of } => {
                return format!("database {number} of {of} has space again");
            }
            Self::WakeAway(why) => {
                return format!(
                    "NATS cannot be used ({why}): readers on other nodes wait up to 30 seconds for what is written here"
                );
            }
            Self::StoreFailed(failure) => {
                return format!(
                    "{failure}; from now on nothing is written: whatever would change something is refused, what can be read is served; check the disk, then restart the relay"
                );
            }
            Self::RowLost(file) => {
                return format!(
                    "{file} is damaged: a row of it does not open and is lost, there may be more; clients are told so"
                );
            }
            Self::Bug(place) => {
                let place = place.map_or_else(
                    || "unknown place".to_owned(),
                    |at| format!("{}:{}", at.file(), at.line()),
                );
                return format!("bug: panic at {place}; please report this line");
            }
            Self::Serving => "serving",
            Self::NotConfined(reached) if reached.has_files() => {
                "going on without confining system calls: there is no seccomp"
            }
            Self::NotConfined(InForce::Calls) => {
                "going on without confining which files are written: there is no Landlock (Linux 5.19), it does not hold on the file system of the data directory, or no thread could try it"
            }
            Self::NotConfined(_) => "going on without a sandbox",
            Self::RowsOver => {
                "the database has rows whose keys are gone with their days; they are as if they were not there: it comes from an old backup, or no node ran for days"
            }
            Self::NoControl => {
                "the data directory's path is too long for a control socket: no `status --data`, and `backup` only while it is stopped"
            }
            Self::Reloaded(_) => "limits reloaded",
            Self::NothingToReload => "nothing to reload: started without --config",
            Self::Stopping => "stopping",
            Self::DiskFull => {
                "no space left for the data directory: refusing what needs space until there is some"
            }
            Self::SpaceAgain => "there is space again",
            Self::StoreBack => "the store is back",
            Self::WakeBack => "NATS is back",
            Self::CannotAccept => {
                "cannot accept connections (too many open files?); going on trying"
            }
            Self::BackupBegins => "holding the store for a backup",
            Self::BackupEnds => "the store goes on",
        };
        fixed.to_owned()
    }
}

static JSON: AtomicBool = AtomicBool::new(false);

/// Chooses how lines are written from here on.
pub fn set_format(format: Format) {
    JSON.store(format == Format::Json, Ordering::Relaxed);
}

/// Writes an event.
pub fn log(event: &Event<'_>) {
    let (name, level) = event.name();
    if JSON.load(Ordering::Relaxed) {
        let line =
            serde_json::json!({ "v": 1, "event": name, "level": level, "text": event.text() });
        write(&line.to_string());
    } else {
        write(&format!("emptyroom-relay: {}", event.text()));
    }
}

/// Writes why a command ends, and what can be done about it.
pub(crate) fn failure(what: &str, hint: Option<&str>, code: u8) {
    if JSON.load(Ordering::Relaxed) {
        let line = serde_json::json!({ "v": 1, "event": "failed", "level": Level::Error, "text": what, "hint": hint, "exit": code });
        return write(&line.to_string());
    }
    write(&format!("emptyroom-relay: {what}"));
    if let Some(hint) = hint {
        write(&format!("emptyroom-relay: hint: {hint}"));
    }
}

/// The only place that writes to standard error.
fn write(line: &str) {
    // A closed standard error is no reason to stop relaying.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    // [SPEC 6.128]
    #[test]
    fn standard_error_is_written_to_from_here_only() {
        let mut seen = Vec::new();
        look(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
            &mut seen,
        );
        assert_eq!(seen, ["log.rs"]);
    }

    fn look(directory: &Path, seen: &mut Vec<String>) {
        for file in std::fs::read_dir(directory).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                look(&path, seen);
            } else if std::fs::read_to_string(&path)
                .unwrap()
                .contains(concat!("std", "err()"))
            {
                seen.push(path.file_name().unwrap().to_string_lossy().into_owned());
            }
        }
    }
}
