//! What an operator can ask of a running relay: totals over HTTP on a local port, and the same on a socket in the data directory.
//!
//! | | |
//! |---|---|
//! | `/` | a page for people |
//! | `/health` | 200 if it is healthy, or all that is wrong is that some of its databases are away or full, else 503; why, in JSON |
//! | `/metrics` | for Prometheus |
//! | `/status.json` | everything, for `emptyroom-relay status` |
//! | POST `/hold` | on the socket only: the store stands still as long as the answer is read, for a backup |
//!
//! Nothing else can be asked, and nothing can be changed. Both ways in are bounded in connections, bytes and time. How the relay fares is
//! said as of now; sums are taken once a minute for all who ask, and rounded: few clients must not show by what they do.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, mpsc as threads};
use std::time::Duration;

use emptyroom_relay::store::StoreFailure;
use emptyroom_relay::{Limits, Totals};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::select;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::clock;
use crate::committer::Job;
use crate::metrics::{Databases, Metrics};
use body::Body;
use snapshot::{Health, Snapshot, Store};

mod body;
mod page;
mod prometheus;
pub(crate) mod snapshot;
pub(crate) mod words;

// [SPEC 6.126]
/// Connections at a time; more are dropped.
const GUESTS_MAX: usize = 8;
/// How long one may last on the port.
const VISIT: Duration = Duration::from_secs(5);
/// How long one may last on the control socket: so long a backup may take.
// [SPEC 6.133]
pub(crate) const HOLD: Duration = Duration::from_secs(600);
/// Bytes of a request.
const REQUEST_LEN_MAX: usize = 8 * 1024;
/// How long the relay may take to say how it fares.
const PATIENCE: Duration = Duration::from_secs(2);
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Sums stand for so long: whoever asks more often sees the same again.
// [SPEC 6.137]
pub(crate) const SUMS_EVERY: Duration = Duration::from_secs(60);

/// What the engine is told or asked by its operator.
pub(crate) enum Order {
    /// Say how it goes.
    Report(oneshot::Sender<Report>),
    /// From now on these limits hold, and this spread of reconnects in seconds.
    Limits(Limits, u32),
}

/// How it goes.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) totals: Totals,
    pub(crate) disk_full: bool,
    pub(crate) failure: Option<StoreFailure>,
}

/// The sums that are shown at both ways in, until they are due again.
pub(crate) struct Board {
    every: Duration,
    shown: Mutex<Option<(Instant, Snapshot)>>,
}

impl Board {
    pub(crate) fn new(every: Duration) -> Self {
        Self {
            every,
            shown: Mutex::new(None),
        }
    }
}

/// Knows whom to ask.
pub(crate) struct Guide {
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) board: Arc<Board>,
    pub(crate) data: PathBuf,
    /// On the control socket.
    pub(crate) jobs: Option<threads::Sender<Job>>,
    /// Also to whoever asks by a name: for a port that is not local.
    pub(crate) any_host: bool,
}

/// Serves the port until it is dropped.
pub(crate) async fn keep_port(listener: TcpListener, guide: Guide) {
    keep(listener, guide, VISIT).await;
}

/// Serves the control socket until it is dropped.
pub(crate) async fn keep_control(listener: UnixListener, guide: Guide) {
    keep(listener, guide, HOLD).await;
}

/// A listener of either kind.
trait Door {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Door for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        Ok(self.accept().await?.0)
    }
}

impl Door for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.accept().await?.0)
    }
}

async fn keep<D: Door>(door: D, guide: Guide, visit: Duration) {
    let guide = Arc::new(guide);
    let mut guests = JoinSet::new();
    loop {
        select! {
            accepted = door.accept() => {
                // Those who left in the same moment have left.
                while guests.try_join_next().is_some() {}
                match accepted {
                    Ok(stream) if guests.len() < GUESTS_MAX => {
                        guests.spawn(timeout(visit, attend(stream, Arc::clone(&guide))));
                    }
                    Ok(_) => {}
                    Err(_) => sleep(ACCEPT_PAUSE).await,
                }
            }
            Some(_) = guests.join_next() => {}
        }
    }
}

async fn attend<S>(stream: S, guide: Arc<Guide>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let guide = Arc::clone(&guide);
        async move { Ok::<_, std::convert::Infallible>(guide.answer(&request).await) }
    });
    // Whatever goes wrong is the visitor's affair.
    let _ = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(REQUEST_LEN_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

impl Guide {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        // A page from elsewhere may let a browser ask here under its own name.
        if !self.any_host && !names_this_machine(request.headers().get(header::HOST)) {
            return plain(
                StatusCode::MISDIRECTED_REQUEST,
                "ask by address, or localhost\n",
            );
        }
        let path = request.uri().path();
        if let (&Method::POST, "/hold", Some(jobs)) = (request.method(), path, &self.jobs) {
            return hold(jobs).await;
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
            let allow = HeaderValue::from_static("GET, HEAD");
            answer.headers_mut().insert(header::ALLOW, allow);
            return answer;
        }
        match path {
            "/" => whole(StatusCode::OK, page::TYPE, page::html(&self.look().await)),
            "/metrics" => whole(
                StatusCode::OK,
                prometheus::TYPE,
                prometheus::text(self.look().await),
            ),
            "/health" => self.health().await,
            "/status.json" => json(StatusCode::OK, &self.look().await),
            _ => plain(
                StatusCode::NOT_FOUND,
                "there are /, /metrics, /health and /status.json\n",
            ),
        }
    }

    /// How it fares now, and the sums as they were taken last.
    // [SPEC 6.137]
    async fn look(&self) -> Snapshot {
        let (health, report) = self.ask().await;
        let failure = self.failure_of(report.as_ref());
        let mut shown = self.board.shown.lock().await;
        let last = shown.as_ref();
        let due = last.is_none_or(|(taken, _)| taken.elapsed() >= self.board.every);
        if let Some(report) = report.filter(|_| due) {
            *shown = Some((Instant::now(), self.take(&report).await));
        }
        let sums = match shown.as_ref() {
            Some((_, sums)) => sums.clone(),
            // Nobody answered ever.
            None => self.take(&Report::default()).await,
        };
        Snapshot {
            health,
            failure,
            ..sums.with_others(&self.metrics)
        }
    }

    async fn take(&self, report: &Report) -> Snapshot {
        let data = self.data.clone();
        let store = tokio::task::spawn_blocking(move || Store::look(&data)).await;
        let store = store.unwrap_or_else(|_| Store::unknown());
        Snapshot::new(&report.totals, &self.metrics, (now_s(), store))
    }

    async fn health(&self) -> Response<Body> {
        let (says, report) = self.ask().await;
        // Who asks whether this node serves is not to take away all of them because one database is away, or full, for all.
        // [SPEC 6.126]
        let code = match says {
            Health::Ok => StatusCode::OK,
            Health::DatabaseAway | Health::DatabaseFull if self.metrics.databases().some_take() => {
                StatusCode::OK
            }
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        json(
            code,
            &serde_json::json!({
                "v": snapshot::VERSION,
                "as_of_unix_s": now_s(),
                "health": says,
                "text": says.words(),
                "failure": self.failure_of(report.as_ref()),
            }),
        )
    }

    /// Nothing if nobody answers.
    async fn ask(&self) -> (Health, Option<Report>) {
        let (reply, report) = oneshot::channel();
        let asked = async {
            self.orders.send(Order::Report(reply)).await.ok()?;
            report.await.ok()
        };
        let stopping = self.metrics.is_stopping();
        let databases = self.metrics.databases();
        let Ok(report) = timeout(PATIENCE, asked).await else {
            return (Health::NotAnswering, None);
        };
        let health = match &report {
            Some(report) if report.totals.draining => Health::Draining,
            _ if stopping => Health::Draining,
            Some(report) if report.failure.is_some() => Health::StoreFailed,
            Some(report) if report.disk_full || databases.all_full() => Health::DiskFull,
            Some(_) if !databases.away.is_empty() => Health::DatabaseAway,
            Some(_) if !databases.full.is_empty() => Health::DatabaseFull,
            Some(_) => Health::Ok,
            None => Health::StoreFailed,
        };
        (health, report)
    }

    /// What failed, or which databases are away or full.
    fn failure_of(&self, report: Option<&Report>) -> Option<String> {
        if let Some(failure) = report?.failure {
            return Some(failure.to_string());
        }
        let Databases { of, away, full } = self.metrics.databases();
        let those = |numbers: Vec<usize>, are: &str| {
            let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
            (!numbers.is_empty())
                .then(|| format!("database {} of {of} is {are}", numbers.join(", ")))
        };
        let all: Vec<String> = [those(away, "away"), those(full, "full")]
            .into_iter()
            .flatten()
            .collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

fn now_s() -> u64 {
    clock::wall().0 / 1_000
}

/// By its address or as `localhost`, or not at all.
fn names_this_machine(host: Option<&HeaderValue>) -> bool {
    let Some(host) = host else {
        return true;
    };
    let Ok(host) = host.to_str() else {
        return false;
    };
    let name = host.rsplit_once(':').map_or(
        host,
        |(name, port)| {
            if port.ends_with(']') { host } else { name }
        },
    );
    name == "localhost"
        || host.parse::<SocketAddr>().is_ok()
        || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

/// Lets the store stand still as long as the answer is read.
// [SPEC 6.133]
async fn hold(jobs: &threads::Sender<Job>) -> Response<Body> {
    let (ready, stands) = oneshot::channel();
    let (guard, released) = threads::channel();
    let sent = jobs.send(Job::Hold { ready, released }).is_ok();
    if sent && stands.await.is_ok() {
        return Response::new(Body::held(guard));
    }
    plain(StatusCode::SERVICE_UNAVAILABLE, "the store has failed\n")
}

fn json(code: StatusCode, value: &impl serde::Serialize) -> Response<Body> {
    match serde_json::to_string(value) {
        Ok(text) => whole(code, "application/json", text + "\n"),
        Err(_) => plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            "cannot be written as JSON\n",
        ),
    }
}

fn plain(code: StatusCode, text: &'static str) -> Response<Body> {
    whole(code, "text/plain; charset=utf-8", text.to_owned())
}

fn whole(code: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut answer = Response::new(Body::whole(text));
    *answer.status_mut() = code;
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    // [SPEC 6.126]
    #[test]
    fn other_names_are_not_this_machine() {
        let named = |host: &'static str| names_this_machine(Some(&HeaderValue::from_static(host)));
        for good in [
            "127.0.0.1",
            "127.0.0.1:9180",
            "[::1]",
            "[::1]:9180",
            "localhost",
            "localhost:1",
        ] {
            assert!(named(good), "{good}");
        }
        for bad in [
            "evil.example",
            "evil.example:9180",
            "localhost.evil.example",
            "",
            "[::1]x",
        ] {
            assert!(!named(bad), "{bad}");
        }
        assert!(names_this_machine(None));
    }
}
