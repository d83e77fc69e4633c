//! Where an operator can look: the status port, if wanted, and the control socket in the data directory.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;

use super::StartError;
use crate::data::{CONTROL, DataDir};
use crate::log::{Event, log};
use crate::status::{Guide, keep_control, keep_port};

/// Where the status port listens.
#[derive(Clone, Copy, Debug)]
pub struct StatusPort {
    /// The address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// It may be one that others reach.
    pub anywhere: bool,
}

/// Both ways to look, before anything is there to be looked at.
pub(super) struct Bound {
    port: Option<(TcpListener, StatusPort)>,
    control: Option<UnixListener>,
    path: PathBuf,
}

/// Both ways to look, as long as the relay runs.
pub(super) struct Watch {
    port: Option<JoinHandle<()>>,
    control: Option<JoinHandle<()>>,
    path: PathBuf,
}

impl Bound {
    /// Listens at both.
    pub(super) async fn bind(data: &DataDir, port: Option<StatusPort>) -> Result<Self, StartError> {
        let port = match port {
            // [SPEC 6.126]
            Some(port) if !port.anywhere && !port.listen.ip().is_loopback() => {
                return Err(StartError::StatusNotLocal);
            }
            Some(port) => {
                let failed = |error| StartError::Status(port.listen, error);
                let listener = TcpListener::bind(port.listen).await.map_err(failed)?;
                let listening = listener.local_addr().map_err(failed)?;
                log(&Event::StatusAt(listening));
                Some((listener, port))
            }
            None => None,
        };
        let path = data.join(CONTROL);
        let control = match bind_control(&path) {
            Ok(listener) => Some(listener),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                log(&Event::NoControl);
                None
            }
            Err(error) => return Err(StartError::Control(error)),
        };
        Ok(Self {
            port,
            control,
            path,
        })
    }

    /// Serves both; `guide` makes what they ask.
    pub(super) fn keep(self, guide: impl Fn() -> Guide) -> Watch {
        let at_port = |(listener, port): (TcpListener, StatusPort)| {
            let guide = Guide {
                jobs: None,
                // [SPEC 6.126]
                any_host: port.anywhere && !port.listen.ip().is_loopback(),
                ..guide()
            };
            tokio::spawn(keep_port(listener, guide))
        };
        let at_control = |listener| tokio::spawn(keep_control(listener, guide()));
        Watch {
            port: self.port.map(at_port),
            control: self.control.map(at_control),
            path: self.path,
        }
    }
}

/// One that a killed relay left goes: the data directory's lock says that nobody listens there.
// [SPEC 6.127]
fn bind_control(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    UnixListener::bind(path)
}

impl Watch {
    /// Ends the control socket: a backup that held the store holds it no more.
    pub(super) async fn release(&mut self) {
        if let Some(control) = self.control.take() {
            control.abort();
            let _ = control.await;
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for task in [&self.port, &self.control].into_iter().flatten() {
            task.abort();
        }
    }
}
