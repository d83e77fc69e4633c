//! A relay that answers otherwise than it said it would: a real one, in which somebody has put another share in the place of the
//! vault's.

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use emptyroom_relayd::server::{Options, Server};
use emptyroom_wire::op::{Answer, PutShare, Request};
use emptyroom_wire::share::{Share, ShareKey};
use tokio::runtime::Runtime;

use super::*;
use crate::errand::{Errand, Whom};
use crate::shares::USES;

struct Relay {
    runtime: Runtime,
    server: Option<Server>,
    data: PathBuf,
    listen: SocketAddr,
    address: RelayAddress,
}

impl Relay {
    fn start(number: u8) -> Self {
        let name = format!("emptyroom-node-{}-lying-{number}", std::process::id());
        let data = std::env::temp_dir().join(name);
        let runtime = crate::session::runtime().unwrap();
        let server = started(&runtime, &data, "127.0.0.1:0".parse().unwrap());
        Self {
            listen: server.listening(),
            address: RelayAddress::parse(&server.address().with_code()).unwrap(),
            server: Some(server),
            runtime,
            data,
        }
    }

    fn stop(&mut self) {
        let stopped = self.server.take().map(Server::stop);
        assert!(stopped.is_none_or(|stopped| self.runtime.block_on(stopped).is_ok()));
    }

    fn resume(&mut self) {
        self.server = Some(started(&self.runtime, &self.data, self.listen));
    }

    /// From now on it answers with another key for this share. It is restored from a backup without rows before, which is what knows
    /// the right one.
    fn lie(&mut self, at: &At) {
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

/// One of three that lies is named, and opens nothing and keeps nobody out. With another one away it looks like a wrong PIN: then it is
/// said who did not answer, and nothing is lost that the one that is back does not give back.
// [SPEC 11.49] [SPEC 11.51] [SPEC 11.53]
#[test]
fn a_relay_that_lies_is_outvoted_and_named() {
    let mut relays: Vec<Relay> = (0..3).map(Relay::start).collect();
    let (disk, ways) = (made(), at(PathBuf::from("/nowhere")));
    let here = Here(RefCell::new(open(&disk, SECRET, &ways).unwrap()));
    let to = To {
        mode: Some(Mode::Relays),
        relays: relays.iter().map(|relay| relay.address.clone()).collect(),
    };
    rewrap(&here, &ways, to, |vault| {
        Ok(vault.with_same(&text(SECRET)).unwrap())
    })
    .unwrap();
    let vault = here.0.into_inner();
    let shares = noted::area_of(&vault).shares;
    vault.lock().unwrap();
    let liar = shares
        .iter()
        .position(|at| at.relay == relays[1].address.identity);
    let liar = liar.unwrap();
    relays[1].lie(&shares[liar]);

    relays[2].stop();
    let (opened, asked) = super::asked(&disk, SECRET, &ways);
    assert!(matches!(opened, Err(OpenError::WrongSecret)));
    let doubt = asked.doubt().unwrap();
    let (may_lie, missing) = doubt.split_once("; before you try other PINs").unwrap();
    let name = |relay: &Relay| {
        let hosts: Vec<_> = relay.address.hosts().cloned().collect();
        noted::hosts_text(&hosts)
    };
    assert!(may_lie.contains(&name(&relays[0])) && may_lie.contains(&name(&relays[1])));
    assert!(missing.contains(&name(&relays[2])) && !missing.contains(&name(&relays[0])));
    relays[2].resume();

    let (opened, mut asked) = super::asked(&disk, SECRET, &ways);
    assert!(asked.doubt().is_none());
    let mut vault = opened.unwrap();
    asked.settle(&mut vault);
    assert_eq!(told(&vault).wrong_relays, [name(&relays[1])]);
    assert!(told(&vault).missing_relays.is_empty());

    // What is made anew answers as it should again.
    let (vault, made) = refreshed(vault, &ways);
    made.unwrap();
    vault.lock().unwrap();
    let (opened, mut asked) = super::asked(&disk, SECRET, &ways);
    let mut vault = opened.unwrap();
    asked.settle(&mut vault);
    assert!(told(&vault).wrong_relays.is_empty());
}
