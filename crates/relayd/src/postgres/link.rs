//! The connection to one database: made when it is needed, dropped when anything is wrong with it; and what errors mean.

use std::collections::{BTreeSet, HashMap};
use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use emptyroom_relay::store::StoreFailure;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::error::Severity;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error, NoTls, Statement};

use super::address::Address;
use super::tls::{self, Tls};
use crate::log::{Event, log};

/// What a database is given to answer before it counts as away.
// [SPEC 6.207]
const ANSWER_MAX: Duration = Duration::from_secs(10);
const CONNECT_MAX: Duration = Duration::from_secs(5);
const TCP_MAX: Duration = Duration::from_secs(2);
/// After a vain attempt to connect, so long passes before the next.
const PAUSE: Duration = Duration::from_millis(250);

/// It is connected, and does not answer.
pub(super) const NO_ANSWER: StoreFailure = StoreFailure::Away("no answer");
/// As for the commit.
pub(super) const NO_COMMIT: StoreFailure = StoreFailure::Lost("no answer to a commit");
/// Another node is at a row for too long.
pub(crate) const LOCKED: StoreFailure = StoreFailure::Away("another node holds a row for too long");

/// Locks are short, and those of a node that hangs are let go. Not `statement_timeout`: it would also end a commit's wait for a replica, and
/// that commit would be reported as done.
const SETTINGS: &str = "SET client_min_messages = warning; SET lock_timeout = '2s'; SET idle_in_transaction_session_timeout = '15s'; SET statement_timeout = 0";

const KEEPALIVES: &str =
    "SET tcp_keepalives_idle = 60; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3";

/// Where in a transaction something failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Before its commit was sent: nothing takes effect.
    Before,
    /// Since: nobody knows.
    Commit,
}

/// A database that may be there or not.
pub(super) struct Link {
    /// Taken by `drop` alone.
    runtime: Option<Runtime>,
    /// One of them is connected to.
    hosts: Vec<Config>,
    /// The one that was connected to last.
    last: usize,
    authorities: Option<PathBuf>,
    session: Option<Session>,
    /// The last attempt to connect was in vain, then.
    tried: Option<Instant>,
}

/// One connection.
pub(super) struct Session {
    pub(super) client: Client,
    statements: HashMap<String, Statement>,
    /// The server warned of something since this was last taken back.
    warned: Arc<AtomicBool>,
}

impl Link {
    pub(super) fn new(address: &Address) -> Result<Self, StoreFailure> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|_| StoreFailure::Away("no resources for a connection"))?;
        let mut hosts = address.hosts();
        for host in &mut hosts {
            host.application_name("emptyroom-relay")
                // For each address of a name.
                .connect_timeout(TCP_MAX)
                .keepalives(true)
                .keepalives_idle(Duration::from_secs(10))
                .tcp_user_timeout(Duration::from_secs(10))
                // Replicas are behind: only where writes are taken is read.
                .target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        Ok(Self {
            runtime: Some(runtime),
            hosts,
            last: 0,
            authorities: address.authorities().map(Path::to_owned),
            session: None,
            tried: None,
        })
    }

    pub(super) fn is_connected(&self) -> bool {
        self.session.is_some()
    }

    /// Forgets the connection: the server undoes what was not committed on it.
    pub(super) fn disconnect(&mut self) {
        self.session = None;
    }

    /// Connects, unless there is a connection. A vain attempt is followed by a pause.
    // [SPEC 6.207]
    pub(super) fn connect(&mut self) -> Result<(), StoreFailure> {
        if self.session.is_some() {
            return Ok(());
        }
        if let Some(tried) = self.tried {
            thread::sleep(PAUSE.saturating_sub(tried.elapsed()));
        }
        let outcome = self.connect_to_one();
        self.tried = outcome.is_err().then(Instant::now);
        self.session = Some(outcome?);
        Ok(())
    }

    /// Each host has its time, and the one that served last comes first: another that takes writes as well may be one that nobody stopped.
    // [SPEC 6.207]
    fn connect_to_one(&mut self) -> Result<Session, StoreFailure> {
        // Read each time: certificates are renewed.
        let tls = self.authorities.as_deref().map(Tls::of).transpose();
        let tls = tls.map_err(|_| {
            StoreFailure::Away(
                "the file that sslrootcert names cannot be read, or is none of PEM certificates",
            )
        })?;
        let (number, first) = (self.hosts.len(), self.last);
        let mut failure = StoreFailure::Away("it has no host");
        for at in (first..number).chain(0..first) {
            let Some(host) = self.hosts.get(at) else {
                continue;
            };
            let opened = self
                .block_on(async { timeout(CONNECT_MAX, Session::open(host, tls.clone())).await });
            let failed = match opened {
                Ok(Ok(session)) => {
                    self.last = at;
                    return Ok(session);
                }
                Ok(Err(error)) => unreachable(&error),
                Err(_) => StoreFailure::Away("no answer to connecting"),
            };
            // Of several the one that was there last says why.
            if at == first {
                failure = failed;
            }
        }
        Err(failure)
    }

    /// Does something on the connection, and drops that if it is of no more use. Without one nothing was done.
    pub(super) fn run<T>(
        &mut self,
        phase: Phase,
        work: impl AsyncFnOnce(&mut Session) -> Result<T, StoreFailure>,
    ) -> Result<T, StoreFailure> {
        let mut session = self.session.take().ok_or(StoreFailure::Conflict)?;
        let outcome = self.block_on(async {
            match (timeout(ANSWER_MAX, work(&mut session)).await, phase) {
                (Ok(outcome), _) => outcome,
                (Err(_), Phase::Before) => Err(NO_ANSWER),
                (Err(_), Phase::Commit) => Err(NO_COMMIT),
            }
        });
        let is_useless = session.client.is_closed()
            || matches!(outcome, Err(failure @ (StoreFailure::Away(_) | StoreFailure::Lost(_))) if failure != LOCKED);
        if !is_useless {
            self.session = Some(session);
        }
        outcome
    }

    #[allow(clippy::expect_used)]
    fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        let runtime = self.runtime.as_ref().expect("only `drop` takes it");
        runtime.block_on(work)
    }
}

impl Drop for Link {
    /// Not by waiting: that must not be done where other futures run.
    fn drop(&mut self) {
        self.session = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Session {
    async fn open(config: &Config, tls: Option<Tls>) -> Result<Self, Error> {
        let warned = Arc::new(AtomicBool::new(false));
        let sees = Arc::clone(&warned);
        let client = if let Some(tls) = tls {
            let (client, connection) = config.connect(tls).await?;
            tokio::spawn(carry(connection, sees));
            client
        } else {
            let (client, connection) = config.connect(NoTls).await?;
            tokio::spawn(carry(connection, sees));
            client
        };
        client.batch_execute(SETTINGS).await?;
        // What a node leaves that is cut off is not there for hours. A server that does not know the words keeps its own.
        let _ = client.batch_execute(KEEPALIVES).await;
        let shown = client.query_one("SHOW synchronous_commit", &[]).await?;
        // `remote_write` is weaker: the replica has it in memory alone.
        // [SPEC 6.202]
        if !matches!(shown.try_get(0)?, "on" | "remote_apply") {
            client.batch_execute("SET synchronous_commit = on").await?;
        }
        Ok(Self {
            client,
            statements: HashMap::new(),
            warned,
        })
    }

    /// A prepared statement, prepared once for each connection.
    pub(super) async fn statement(&mut self, sql: &str) -> Result<Statement, Error> {
        if let Some(known) = self.statements.get(sql) {
            return Ok(known.clone());
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Forgets the prepared statements that speak of this.
    pub(super) fn forget(&mut self, name: &str) {
        self.statements.retain(|sql, _| !sql.contains(name));
    }

    /// Whether the server warned since this was last asked: of a commit that did not wait for its replica, for one.
    pub(super) fn take_warning(&self) -> bool {
        self.warned.swap(false, Ordering::Relaxed)
    }
}

/// Carries what goes to and fro, and sees warnings.
async fn carry<S, T>(mut connection: Connection<S, T>, warned: Arc<AtomicBool>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
        if let AsyncMessage::Notice(notice) = message
            && notice.parsed_severity() == Some(Severity::Warning)
        {
            warned.store(true, Ordering::Relaxed);
        }
    }
}

/// Why there is no connection.
fn unreachable(error: &Error) -> StoreFailure {
    let Some(db) = error.as_db_error() else {
        return StoreFailure::Away(why_unreachable(error));
    };
    say_refused(db.code().code());
    StoreFailure::Away(match db.code().code() {
        "57P03" => "the database starts, stops or recovers",
        "53300" => "the database has as many connections as it may",
        "28P01" | "28000" => "the database refuses user or password",
        "3D000" => "there is no such database",
        _ => "the database refuses the connection",
    })
}

/// Why there is no answer of a database.
fn why_unreachable(error: &Error) -> &'static str {
    let mut cause = error.source();
    while let Some(at) = cause {
        if let Some(error) = at.downcast_ref::<io::Error>() {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
            if let Some(error) = inner {
                return tls::why_refused(error);
            }
            if error.kind() == io::ErrorKind::PermissionDenied {
                return "it takes no writes, or may not be connected to";
            }
        }
        if at.to_string().contains("does not support TLS") {
            return "it speaks no TLS, which the address asks for (ssl = on in postgresql.conf)";
        }
        cause = at.source();
    }
    "it cannot be connected to"
}

/// What an error means for the transaction in which it came.
// [SPEC 6.207]
pub(super) fn failure(error: &Error, phase: Phase) -> StoreFailure {
    let Some(db) = error.as_db_error() else {
        return match phase {
            // The next attempt connects anew.
            Phase::Before => StoreFailure::Conflict,
            Phase::Commit => StoreFailure::Lost("the connection ended at a commit"),
        };
    };
    if phase == Phase::Commit {
        return failure_of_commit(db.code().code());
    }
    let fatal = db.parsed_severity() != Some(Severity::Error);
    match db.code().code() {
        "53100" => StoreFailure::Full,
        "40001" | "40P01" | "23505" | "42P01" | "42P07" => StoreFailure::Conflict,
        // Not at once again: everybody else would wait as long once more.
        "55P03" => LOCKED,
        "25006" => StoreFailure::Away("the database takes no writes"),
        _ if fatal => StoreFailure::Conflict,
        code => {
            say_refused(code);
            StoreFailure::Away("the database refused a statement")
        }
    }
}

/// What the database says to a commit: that it is undone, or something that leaves open what became of it.
// [SPEC 6.200]
fn failure_of_commit(code: &str) -> StoreFailure {
    match code {
        "40001" | "40P01" | "23505" => StoreFailure::Conflict,
        _ => {
            say_refused(code);
            StoreFailure::Lost("the database answered a commit with an error")
        }
    }
}

/// Codes that were said since something was last committed.
static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Says each code once, however often it is asked again meanwhile.
fn say_refused(code: &str) {
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.insert(code.to_owned()) {
        log(&Event::DatabaseRefused(code));
    }
}

/// A commit came through: what is refused from now on is news.
pub(super) fn forget_refusals() {
    SAID.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    // [SPEC 6.200]
    #[test]
    fn an_error_at_a_commit_says_that_it_is_undone_or_leaves_it_open() {
        for code in ["40001", "40P01", "23505"] {
            assert_eq!(failure_of_commit(code), StoreFailure::Conflict);
        }
        for code in ["53100", "40003", "08007", "57P01", "XX000"] {
            assert!(matches!(failure_of_commit(code), StoreFailure::Lost(_)));
        }
    }
}
