//! Where a relay is dialled: its hosts, and whose turn it is.

use emptyroom_wire::address::Host;
use emptyroom_wire::limits::LINK_HOSTS_MAX;
use emptyroom_wire::rng::CryptoRng;

use super::backoff::shuffle;

/// Hosts in the order in which they are tried.
pub(crate) struct Hosts {
    /// First those that the user named, or the link by which the relay became known: its nodes. Then those that other links added.
    all: Vec<Host>,
    named: usize,
    /// The one to be tried next.
    next: usize,
}

impl Hosts {
    pub(super) fn new(named: Vec<Host>, added: Vec<Host>) -> Self {
        Self {
            named: named.len(),
            all: [named, added].concat(),
            next: 0,
        }
    }

    /// The first one, for people.
    pub(super) fn first(&self) -> Option<&Host> {
        self.all.first()
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Host] {
        &self.all
    }

    /// Those that were named, and those that links added.
    pub(crate) fn named_and_added(&self) -> (&[Host], &[Host]) {
        self.all
            .split_at_checked(self.named)
            .unwrap_or((&self.all, &[]))
    }

    /// How many were named.
    pub(super) fn named(&self) -> usize {
        self.named
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Adds hosts that a link names, in an order of this client's own. They come last: whoever made a link does not choose where
    /// known relays are dialled.
    pub(super) fn add(&mut self, hosts: &[Host], rng: &mut dyn CryptoRng) {
        // [SPEC 7.11]
        let is_new = self.all.is_empty();
        let unknown = hosts.iter().filter(|host| !self.all.contains(host));
        let mut unknown: Vec<Host> = unknown.cloned().collect();
        shuffle(&mut unknown, rng);
        self.all.extend(unknown);
        self.all.truncate(LINK_HOSTS_MAX);
        if is_new {
            self.named = self.all.len();
        }
    }

    /// Puts hosts first that the user named, in an order of this client's own: so clients spread over the nodes of a relay.
    pub(super) fn prefer(&mut self, hosts: &[Host], rng: &mut dyn CryptoRng) {
        // [SPEC 7.11]
        let mut all = hosts.to_vec();
        shuffle(&mut all, rng);
        self.named = all.len();
        let others = self.all.iter().filter(|host| !hosts.contains(host));
        all.extend(others.cloned());
        all.truncate(LINK_HOSTS_MAX);
        self.all = all;
        self.next = 0;
    }

    /// Whose turn it is; after that it is the next one's.
    pub(super) fn take_next(&mut self) -> Option<&Host> {
        self.next %= self.all.len().max(1);
        let host = self.all.get(self.next)?;
        self.next += 1;
        Some(host)
    }

    /// The host that was taken answers: it is the next one again.
    pub(super) fn answers(&mut self) {
        self.next = self.next.saturating_sub(1);
    }

    /// The host that answered is lost: it is another node's turn.
    pub(super) fn lost(&mut self) {
        // [SPEC 7.12]
        let used = self.next % self.all.len().max(1);
        self.next = (used + 1).checked_rem(self.named).unwrap_or(0);
    }
}
