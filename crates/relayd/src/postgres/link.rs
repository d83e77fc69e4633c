//! The connection to one database: made when it is needed, dropped when anything is wrong with it; and what errors mean.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use emptyroom_relay::store::StoreFailure;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::error::Severity;
use tokio_postgres::{AsyncMessage, Client, Config, Error, NoTls, Statement};

use super::address::Address;
use crate::log::{Event, log};

/// What a database is given to answer before it counts as away.
// [SPEC 6.207]
const ANSWER_MAX: Duration = Duration::from_secs(10);
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// After a vain attempt to connect, so long passes before the next.
const PAUSE: Duration = Duration::from_millis(250);

/// Locks are short, and those of a node that hangs are let go. Not `statement_timeout`: it would also end a commit's wait for a replica, and
/// that commit would be reported as done.
const SETTINGS: &str = "SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '15s'; SET statement_timeout = 0";

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
    config: Config,
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
    pub(super) fn new(address: &Address) -> io::Result<Self> {
        let mut config = address.config().clone();
        config
            .application_name("emptyroom-relay")
            .connect_timeout(CONNECT_MAX)
            .keepalives(true)
            .keepalives_idle(Duration::from_secs(10))
            .tcp_user_timeout(Duration::from_secs(10))
            // Replicas are behind: only where writes are taken is read.
            .target_session_attrs(TargetSessionAttrs::ReadWrite);
        Ok(Self {
            runtime: Some(Builder::new_current_thread().enable_all().build()?),
            config,
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
        let outcome = self.block_on(async {
            match timeout(CONNECT_MAX, Session::open(&self.config)).await {
                Ok(outcome) => outcome.map_err(|error| unreachable(&error)),
                Err(_) => Err(StoreFailure::Away("no answer to connecting")),
            }
        });
        self.tried = outcome.is_err().then(Instant::now);
        self.session = Some(outcome?);
        Ok(())
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
                (Err(_), Phase::Before) => Err(StoreFailure::Away("no answer")),
                (Err(_), Phase::Commit) => Err(StoreFailure::Lost("no answer to a commit")),
            }
        });
        let is_useless = session.client.is_closed()
            || matches!(outcome, Err(StoreFailure::Away(_) | StoreFailure::Lost(_)));
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
    async fn open(config: &Config) -> Result<Self, Error> {
        let (client, mut connection) = config.connect(NoTls).await?;
        let warned = Arc::new(AtomicBool::new(false));
        let sees = Arc::clone(&warned);
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notice(notice) = message
                    && notice.parsed_severity() == Some(Severity::Warning)
                {
                    sees.store(true, Ordering::Relaxed);
                }
            }
        });
        client.batch_execute(SETTINGS).await?;
        let shown = client.query_one("SHOW synchronous_commit", &[]).await?;
        // Stronger ones stay.
        // [SPEC 6.202]
        if matches!(shown.try_get(0)?, "off" | "local") {
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

/// Why there is no connection.
fn unreachable(error: &Error) -> StoreFailure {
    let Some(db) = error.as_db_error() else {
        return StoreFailure::Away("it cannot be connected to");
    };
    log(&Event::DatabaseRefused(db.code().code()));
    StoreFailure::Away(match db.code().code() {
        "57P03" => "the database starts, stops or recovers",
        "53300" => "the database has as many connections as it may",
        "28P01" | "28000" => "the database refuses user or password",
        "3D000" => "there is no such database",
        _ => "the database refuses the connection",
    })
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
    let fatal = db.parsed_severity() != Some(Severity::Error);
    match (db.code().code(), phase) {
        ("53100", _) => StoreFailure::Full,
        (_, Phase::Commit) if fatal => StoreFailure::Lost("the database ended the connection"),
        ("40001" | "40P01" | "55P03" | "23505" | "42P01" | "42P07", _) => StoreFailure::Conflict,
        ("25006", _) => StoreFailure::Away("the database takes no writes"),
        (_, Phase::Before) if fatal => StoreFailure::Conflict,
        (code, _) => {
            log(&Event::DatabaseRefused(code));
            StoreFailure::Away("the database refused a statement")
        }
    }
}
