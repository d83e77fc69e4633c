//! A real relay, in this process, which somebody may stop or have lie.

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU32, Ordering};

use emptyroom_relayd::carrier::listening::Listening;
use emptyroom_relayd::server::{Options, Server};
use emptyroom_wire::op::{Answer, PutShare, Request};
use emptyroom_wire::share::{Share, ShareKey};
use tokio::runtime::Runtime;

use super::*;
use crate::errand::{Errand, Whom};
use crate::shares::USES;

pub(in crate::factors) struct Relay {
    runtime: Runtime,
    server: Option<Server>,
    data: PathBuf,
    /// Nobody listens by this. It keeps the port, so that nobody else is given it while the relay is stopped.
    port: Listening,
    pub(in crate::factors) address: RelayAddress,
}

impl Relay {
    pub(in crate::factors) fn start() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("emptyroom-node-{}-relay-{number}", std::process::id());
        let data = std::env::temp_dir().join(name);
        let runtime = crate::session::runtime().unwrap();
        let port = Listening::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let server = started(&runtime, &data, port.address());
        Self {
            port,
            address: RelayAddress::parse(&server.address().with_code()).unwrap(),
            server: Some(server),
            runtime,
            data,
        }
    }

    pub(super) fn stop(&mut self) {
        let stopped = self.server.take().map(Server::stop);
        assert!(stopped.is_none_or(|stopped| self.runtime.block_on(stopped).is_ok()));
    }

    pub(super) fn resume(&mut self) {
        self.server = Some(started(&self.runtime, &self.data, self.port.address()));
    }

    /// From now on it answers with another key for this share. It is restored from a backup without rows before, which is what knows
    /// the right one.
    pub(super) fn lie(&mut self, at: &At) {
        self.stop();
        let kept = ["identity.key", "access-code", "key-chain"];
        let kept = kept.map(|name| (name, std::fs::read(self.data.join(name)).unwrap()));
        std::fs::remove_dir_all(&self.data).unwrap();
        std::fs::create_dir(&self.data).unwrap();
        std::fs::set_permissions(&self.data, Permissions::from_mode(0o700)).unwrap();
        for (name, bytes) in kept {
            let path = self.data.join(name);
            std::fs::write(&path, bytes).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        }
        self.resume();
        let mut key = [0; 32];
        key[0] = 1;
        let put = PutShare {
            id: at.id.clone(),
            share: Share {
                owner: super::super::relays::owner(&[1; 32], &at.relay, &at.id).verify_key(),
                key: ShareKey::new(key).unwrap(),
                uses: USES,
                days: 1,
                policy: None,
            },
            code: self.address.code.clone(),
        };
        let carrier = crate::session::direct().unwrap();
        let asked = async {
            let whom = Whom::Known(self.address.identity);
            let mut errand = Errand::dial(&carrier, &at.hosts, &whom, &mut *rng()).await?;
            errand.ask(Request::SharePut(put)).await
        };
        let answer = self.runtime.block_on(asked).unwrap();
        assert!(matches!(answer, Answer::Done));
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

fn started(runtime: &Runtime, data: &std::path::Path, listen: SocketAddr) -> Server {
    let started = runtime.block_on(Server::start(Options::new(data.to_owned(), listen)));
    started.unwrap_or_else(|_| panic!("the relay does not start"))
}
