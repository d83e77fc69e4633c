//! Connections: latency, loss at any time, halves that learn of it late.
//!
//! Frames of one connection and direction keep their order, as a carrier's would; different connections overtake each other. A
//! lost connection may still deliver what was on its way, minutes after its client has replaced it: that is where a relay
//! sees things twice.

use std::collections::BTreeMap;

use emptyroom_core::api::{Input, LinkId};
use emptyroom_relay::{ConnId, Input as HostInput};

use super::{Happening, MINUTE, World};

/// The network.
pub struct Net {
    conns: BTreeMap<ConnId, Conn>,
    last: u64,
    /// Nobody reaches anybody.
    pub cut: bool,
    /// The longest latency, one way.
    pub latency_ms_max: u64,
    /// A party that asks for a relay gets to this one.
    pub routes: BTreeMap<(usize, usize), usize>,
}

struct Conn {
    party: usize,
    link: LinkId,
    host: usize,
    host_life: u64,
    latency_ms: u64,
    /// When the last frame sent arrives.
    up_at: u64,
    down_at: u64,
    /// Frames still arrive at these ends.
    party_open: bool,
    host_open: bool,
    /// These ends know that it is over.
    party_knows: bool,
    host_knows: bool,
}

impl Default for Net {
    fn default() -> Net {
        Net {
            conns: BTreeMap::new(),
            last: 0,
            cut: false,
            latency_ms_max: 80,
            routes: BTreeMap::new(),
        }
    }
}

impl World {
    pub(super) fn dial(&mut self, party: usize, link: LinkId, name: &str) {
        let Some(named) = self.hosts.iter().position(|host| host.name == name) else {
            return self.fault(format!("p{party} dials nobody's name"));
        };
        let routed = self.net.routes.get(&(party, named));
        let host = routed.copied().unwrap_or(named);
        let life = self.parties[party].life();
        let time = self.dice.between(1, 2 * self.net.latency_ms_max);
        self.after(time, Happening::Dialled(party, life, link, host));
    }

    pub(super) fn dialled(&mut self, party: usize, life: u64, link: LinkId, host: usize) {
        if self.parties[party].life() != life {
            return;
        }
        if self.net.cut || !self.hosts[host].is_on() {
            return self.input(party, Input::LinkDown(link));
        }
        self.net.last += 1;
        let id = ConnId(self.net.last);
        let conn = Conn {
            party,
            link,
            host,
            host_life: self.hosts[host].life(),
            latency_ms: self.dice.between(1, self.net.latency_ms_max),
            up_at: self.now_ms,
            down_at: self.now_ms,
            party_open: true,
            host_open: true,
            party_knows: false,
            host_knows: false,
        };
        self.net.conns.insert(id, conn);
        self.parties[party].links.insert(link, id);
        self.note(format_args!("p{party} reaches r{host}"));
        self.host_input(host, HostInput::Connected(id));
        self.input(party, Input::LinkUp(link, None));
    }

    pub(super) fn frame_from_party(&mut self, party: usize, link: LinkId, frame: Vec<u8>) {
        let Some(id) = self.parties[party].links.get(&link).copied() else {
            return;
        };
        self.note(format_args!("p{party} sends {}", frame.len()));
        self.look_at(&frame);
        let jitter = self.dice.below(20);
        let now = self.now_ms;
        if let Some(conn) = self.net.conns.get_mut(&id) {
            conn.up_at = conn.up_at.max(now + conn.latency_ms + jitter);
            let time = conn.up_at - now;
            self.after(time, Happening::FrameToHost(id, frame));
        }
    }

    pub(super) fn frame_from_host(&mut self, id: ConnId, frame: Vec<u8>) {
        self.look_at(&frame);
        let jitter = self.dice.below(20);
        let now = self.now_ms;
        if let Some(conn) = self.net.conns.get_mut(&id) {
            conn.down_at = conn.down_at.max(now + conn.latency_ms + jitter);
            let time = conn.down_at - now;
            self.after(time, Happening::FrameToParty(id, frame));
        }
    }

    /// What passes on the wire: it counts for the trace, and holds no plaintext.
    pub fn look_at(&mut self, frame: &[u8]) {
        self.trace.bytes(frame);
        if crate::records::contains(frame, super::PLAINTEXT.as_bytes()) {
            self.fault("plaintext on the wire".to_owned());
        }
    }

    pub(super) fn frame_to_host(&mut self, id: ConnId, frame: Vec<u8>) {
        let Some(conn) = self.net.conns.get(&id).filter(|conn| conn.host_open) else {
            return;
        };
        let host = conn.host;
        if self.hosts[host].life() == conn.host_life {
            self.host_input(host, HostInput::Frame(id, frame));
        }
    }

    pub(super) fn frame_to_party(&mut self, id: ConnId, frame: Vec<u8>) {
        let Some(conn) = self.net.conns.get(&id).filter(|conn| conn.party_open) else {
            return;
        };
        let (party, link) = (conn.party, conn.link);
        self.note(format_args!("p{party} gets {}", frame.len()));
        self.input(party, Input::Frame(link, frame));
    }

    /// The client closed it or died: the relay learns of it after what was sent before.
    pub(super) fn party_is_gone(&mut self, id: ConnId) {
        let late = self.dice.time_ms(3 * MINUTE);
        let now = self.now_ms;
        if let Some(conn) = self.net.conns.get_mut(&id) {
            conn.party_open = false;
            conn.party_knows = true;
            let time = conn.up_at.saturating_sub(now) + late;
            self.after(time, Happening::HostLoses(id));
        }
    }

    /// The relay hung up: the client learns of it after what was sent before.
    pub(super) fn host_hangs_up(&mut self, id: ConnId) {
        let now = self.now_ms;
        if let Some(conn) = self.net.conns.get_mut(&id) {
            conn.host_open = false;
            conn.host_knows = true;
            let time = conn.down_at.saturating_sub(now) + 1;
            self.after(time, Happening::PartyLoses(id));
        }
    }

    /// The relay died.
    pub(super) fn host_is_gone(&mut self, host: usize) {
        let ended: Vec<ConnId> = self
            .net
            .conns
            .iter()
            .filter(|(_, conn)| conn.host == host && conn.host_open)
            .map(|(id, _)| *id)
            .collect();
        for id in ended {
            self.host_hangs_up(id);
        }
    }

    /// A client's connections break; each end learns of it some time later, and frames under way arrive or not.
    pub fn lose(&mut self, party: usize) {
        let (up_arrives, down_arrives) = (self.dice.percent(50), self.dice.percent(30));
        self.cut_off(party, up_arrives, down_arrives);
    }

    /// A client's connections break; what is under way in each direction arrives or not.
    pub fn cut_off(&mut self, party: usize, up_arrives: bool, down_arrives: bool) {
        let ids: Vec<ConnId> = self.parties[party].links.values().copied().collect();
        for id in ids {
            self.note(format_args!("p{party} is cut off"));
            let (host_late, party_late) =
                (self.dice.time_ms(3 * MINUTE), self.dice.time_ms(MINUTE));
            let Some(conn) = self.net.conns.get_mut(&id) else {
                continue;
            };
            conn.host_open &= up_arrives;
            conn.party_open &= down_arrives;
            self.after(host_late, Happening::HostLoses(id));
            self.after(party_late, Happening::PartyLoses(id));
        }
    }

    /// What a client sends still arrives, and nothing comes back; in half a minute both ends know that the connection is lost.
    pub fn deafen(&mut self, party: usize) {
        let ids: Vec<ConnId> = self.parties[party].links.values().copied().collect();
        for id in ids {
            self.note(format_args!("p{party} hears nothing"));
            if let Some(conn) = self.net.conns.get_mut(&id) {
                conn.party_open = false;
                self.after(MINUTE / 2, Happening::HostLoses(id));
                self.after(MINUTE / 2, Happening::PartyLoses(id));
            }
        }
    }

    /// Everybody's connections break.
    pub fn lose_all(&mut self) {
        for party in 0..self.parties.len() {
            self.lose(party);
        }
    }

    pub(super) fn host_loses(&mut self, id: ConnId) {
        let Some(conn) = self.net.conns.get_mut(&id) else {
            return;
        };
        conn.host_open = false;
        conn.host_knows = true;
        let (host, life, gone) = (conn.host, conn.host_life, conn.party_knows);
        if gone {
            self.net.conns.remove(&id);
        }
        if self.hosts[host].life() == life {
            self.host_input(host, HostInput::Disconnected(id));
        }
    }

    pub(super) fn party_loses(&mut self, id: ConnId) {
        let Some(conn) = self.net.conns.get_mut(&id) else {
            return;
        };
        conn.party_open = false;
        conn.party_knows = true;
        let (party, link, gone) = (conn.party, conn.link, conn.host_knows);
        if gone {
            self.net.conns.remove(&id);
        }
        if self.parties[party].links.get(&link) == Some(&id) {
            self.parties[party].links.remove(&link);
            self.input(party, Input::LinkDown(link));
        }
    }
}
