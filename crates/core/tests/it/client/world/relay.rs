//! The relay: what it is told, what it loses, how it lies.

use emptyroom_core::api::Input;
use emptyroom_relay::store::{Store, StoreFailure, StoreOp, StoreReply};
use emptyroom_relay::{Config, Nodes, Relay};
use emptyroom_wire::address::{Host, RelayAddress};
use emptyroom_wire::log_keys::LogAccess;
use emptyroom_wire::op::{AccessCode, Refusal, RefusalCode};
use emptyroom_wire::relay_key::{KeyRecord, RelayIdentity};
use emptyroom_wire::secret::Secret32;

use super::{World, rng};
use crate::memory_store::{self, Disk};

/// Changes what a store answers.
pub(crate) type Lie = Box<dyn FnMut(&mut StoreReply)>;

impl World {
    pub(crate) fn start_relay(&mut self) {
        self.starts += 1;
        let identity = RelayIdentity::from_seed(&self.identity);
        let config = Config {
            access_code: self
                .code
                .and_then(|code| AccessCode::new(code.as_bytes().to_vec())),
            reconnect_spread_s: 1,
            nodes: self.is_node.then(Nodes::default),
            ..Config::open()
        };
        let records = self.key_records.clone();
        self.relay = Some(Relay::new(
            self.now,
            identity,
            records,
            config,
            rng(self.seed, 1_000 + self.starts),
        ));
    }

    /// The relay stops: connections end.
    pub(crate) fn stop_relay(&mut self) {
        self.relay = None;
        self.to_client.clear();
        for (_, (party, link)) in std::mem::take(&mut self.conns) {
            self.parties[party].links.remove(&link);
            self.input(party, Input::LinkDown(link));
        }
    }

    /// The relay's disk as it is now.
    pub(crate) fn image(&mut self) -> Disk {
        self.store.rows().clone()
    }

    /// The relay starts again from this disk.
    pub(crate) fn restore_relay(&mut self, disk: Disk) {
        self.stop_relay();
        self.store = memory_store::open(disk, rng(self.seed, 5_000 + self.starts));
        self.start_relay();
    }

    /// Another relay stands where this one stood.
    pub(crate) fn become_another_relay(&mut self) {
        self.identity = Secret32::new([8; 32]);
        self.key_records.clear();
        self.start_relay();
    }

    /// The relay loses one log, until somebody makes it again.
    pub(crate) fn lose_log(&mut self, access: &LogAccess) {
        self.lost.insert(access.log_id);
    }

    pub(crate) fn address(&self) -> String {
        let identity = RelayIdentity::from_seed(&self.identity);
        RelayAddress {
            host: Host::parse("relay.example:443").unwrap(),
            others: Vec::new(),
            identity: identity.hash(),
            code: self
                .code
                .and_then(|code| AccessCode::new(code.as_bytes().to_vec())),
        }
        .with_code()
    }

    pub(super) fn run_relay(&mut self) -> bool {
        let Some(output) = self.relay.as_mut().and_then(Relay::poll) else {
            return false;
        };
        use emptyroom_relay::{Input as In, Output as Out};
        let now = self.now;
        let relay = self.relay.as_mut().unwrap();
        match output {
            Out::Frame(conn, frame) => {
                relay.handle(now, In::Written(conn, frame.len()));
                self.to_client.push_back((conn, frame));
            }
            Out::Hangup(conn, _) => {
                if let Some((party, link)) = self.conns.remove(&conn) {
                    self.parties[party].links.remove(&link);
                    self.input(party, Input::LinkDown(link));
                }
            }
            Out::Store(ticket, ops) => {
                let hidden = self.hidden(&ops);
                let mut answer = self.apply(ops);
                if let Ok(replies) = &mut answer {
                    for (reply, _) in replies.iter_mut().zip(hidden).filter(|(_, hidden)| *hidden) {
                        *reply = StoreReply::Refused(Refusal::now(RefusalCode::Unknown));
                    }
                }
                if let (Ok(replies), Some(lie)) = (&mut answer, &mut self.lie) {
                    replies.iter_mut().for_each(lie);
                }
                self.relay
                    .as_mut()
                    .unwrap()
                    .handle(now, In::Stored(ticket, answer));
            }
            Out::PersistKeyRecord(ticket, record) => {
                self.key_records.push(record);
                relay.handle(now, In::KeyRecordPersisted(ticket, Ok(())));
            }
            Out::Expire(ticket) => {
                let answer = self.store.expire(now.wall);
                relay.handle(now, In::Expired(ticket, answer));
            }
            Out::ReadKeyRecords(ticket, after) => {
                let newer = |record: &&KeyRecord| record.number > after;
                let records = self.key_records.iter().filter(newer).cloned().collect();
                relay.handle(now, In::KeyRecords(ticket, Ok(records)));
            }
            Out::News(..) | Out::Watch(_) | Out::Unwatch(_) | Out::Stopped(_) => {}
        }
        true
    }

    /// What the store makes of it, without the appends that are not to be stored.
    fn apply(&mut self, ops: Vec<StoreOp>) -> Result<Vec<StoreReply>, StoreFailure> {
        let wall = self.now.wall;
        let Some(instead) = &mut self.no_appends else {
            return self.store.apply(wall, ops);
        };
        let is_append = |op: &StoreOp| matches!(op, StoreOp::Append(_));
        let appends: Vec<bool> = ops.iter().map(is_append).collect();
        let others = ops.into_iter().filter(|op| !is_append(op)).collect();
        let mut replies = self.store.apply(wall, others)?.into_iter();
        let mut reply = |append: bool| {
            if append {
                Some(instead())
            } else {
                replies.next()
            }
        };
        Ok(appends.into_iter().filter_map(&mut reply).collect())
    }

    /// Which operations are about a log that is lost; one that makes it finds it again.
    fn hidden(&mut self, ops: &[StoreOp]) -> Vec<bool> {
        let mut hidden = Vec::new();
        for op in ops {
            let place = match op {
                StoreOp::Append(append) => {
                    for next in &append.next {
                        self.lost.remove(&next.place.log_id());
                    }
                    &append.place
                }
                StoreOp::Create(new) => &new.place,
                StoreOp::Look { place }
                | StoreOp::Read { place, .. }
                | StoreOp::Renew { place }
                | StoreOp::Trim { place, .. }
                | StoreOp::Destroy { place } => place,
                StoreOp::Share(..) => {
                    hidden.push(false);
                    continue;
                }
            };
            hidden.push(self.lost.contains(&place.log_id()));
        }
        hidden
    }
}
