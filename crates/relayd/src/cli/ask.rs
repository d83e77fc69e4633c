//! Asks a running relay, at its control socket or its status port.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::{Exit, Failure};
use crate::data::CONTROL;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer: none comes near it.
const ANSWER_LEN_MAX: usize = 1 << 20;

/// Where a relay can be asked.
pub(super) enum Place {
    /// The control socket of its data directory.
    Control(PathBuf),
    /// Its status port.
    Port(SocketAddr),
}

impl Place {
    pub(super) fn of_data(data: &Path) -> Self {
        Self::Control(data.join(CONTROL))
    }
}

/// Nobody answers as a relay does.
#[derive(Debug)]
pub(super) struct NoAnswer(String);

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl NoAnswer {
    fn of(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// What one answer needs to be waited for.
pub(super) fn runtime() -> Result<Runtime, Failure> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(Exit::Data, format!("cannot start: {e}")))
}

/// Asks, and reads all of the answer.
pub(super) async fn get(place: &Place, path: &str) -> Result<(StatusCode, String), NoAnswer> {
    let asked = async {
        let answer = send(place, Method::GET, path).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_LEN_MAX);
        let bytes = body.collect().await.map_err(NoAnswer::of)?.to_bytes();
        let text = String::from_utf8(bytes.to_vec()).map_err(NoAnswer::of)?;
        Ok((status, text))
    };
    let late = |_| NoAnswer("no answer in 10 seconds".to_owned());
    timeout(PATIENCE, asked).await.map_err(late)?
}

/// Asks; the answer's body comes as it is read.
pub(super) async fn send(
    place: &Place,
    method: Method,
    path: &str,
) -> Result<Response<Incoming>, NoAnswer> {
    let refused = |e: io::Error| NoAnswer::of(e);
    match place {
        Place::Control(socket) => {
            let stream = UnixStream::connect(socket).await.map_err(refused)?;
            over(stream, method, path).await
        }
        Place::Port(address) => {
            let stream = TcpStream::connect(address).await.map_err(refused)?;
            over(stream, method, path).await
        }
    }
}

async fn over<S>(stream: S, method: Method, path: &str) -> Result<Response<Incoming>, NoAnswer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(NoAnswer::of)?;
    // Ends with the answer, or when the answer is dropped.
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(hyper::header::HOST, "localhost")
        .body(Empty::<Bytes>::new())
        .map_err(NoAnswer::of)?;
    sender.send_request(request).await.map_err(NoAnswer::of)
}
