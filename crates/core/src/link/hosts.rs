//! Where a relay is dialled: its hosts, who named them, and whose turn it is.

use std::collections::BTreeSet;

use emptyroom_wire::address::Host;
use emptyroom_wire::limits::LINK_HOSTS_MAX;
use emptyroom_wire::rng::CryptoRng;

use super::backoff::shuffle;
use crate::store::key::ConversationId;

/// Hosts in the order in which they are tried.
pub(crate) struct Hosts {
    /// First those that the user named, or the link by which the relay became known: its nodes. Then those that other links added.
    all: Vec<Named>,
    /// The one to be tried next.
    next: usize,
}

/// A host, and who named it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) host: Host,
    pub(crate) by: By,
    /// It stands first in the address or link that named it: the relay is called so.
    pub(crate) leads: bool,
}

/// Who named a host.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum By {
    /// The user.
    User,
    /// The user, before he named others.
    UserBefore,
    /// The links that these conversations came from: it goes with the last of them.
    Links(BTreeSet<ConversationId>),
}

impl Hosts {
    pub(super) fn new(all: Vec<Named>) -> Self {
        Self { all, next: 0 }
    }

    /// The one that people call the relay by: the first of its address, whichever is tried first.
    // [SPEC 10.44]
    pub(super) fn name(&self) -> Option<&Host> {
        let mut named = self.all.iter().take(self.named_len());
        let leads = named.find(|named| named.leads);
        leads.or(self.all.first()).map(|named| &named.host)
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Named] {
        &self.all
    }

    /// Those that the user named, or the first link: only they are handed on.
    // [SPEC 7.14]
    pub(crate) fn named(&self) -> Vec<Host> {
        let named = self.all.iter().take(self.named_len());
        named.map(|named| named.host.clone()).collect()
    }

    /// How many were named.
    pub(super) fn named_len(&self) -> usize {
        let Some(first) = self.all.first() else {
            return 0;
        };
        let together = |named: &&Named| match (&first.by, &named.by) {
            (By::Links(first), By::Links(others)) => {
                first.first().is_some_and(|link| others.contains(link))
            }
            (first, other) => first == other,
        };
        self.all.iter().take_while(together).count()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Adds hosts that a link names, in an order of this client's own. They come last: whoever made a link does not choose where
    /// known relays are dialled.
    pub(super) fn add(&mut self, hosts: &[Host], link: ConversationId, rng: &mut dyn CryptoRng) {
        // [SPEC 7.11]
        let first = hosts.first().cloned();
        let mut hosts = hosts.to_vec();
        shuffle(&mut hosts, rng);
        for host in hosts {
            match self.all.iter_mut().find(|named| named.host == host) {
                Some(known) => {
                    if let By::Links(links) = &mut known.by {
                        links.insert(link);
                    }
                }
                None => {
                    let by = By::Links(BTreeSet::from([link]));
                    let leads = first.as_ref() == Some(&host);
                    self.all.push(Named { host, by, leads });
                }
            }
        }
        self.all.truncate(LINK_HOSTS_MAX);
    }

    /// Puts hosts first that the user named, in an order of this client's own: so clients spread over the nodes of a relay.
    pub(super) fn prefer(&mut self, hosts: &[Host], rng: &mut dyn CryptoRng) {
        // [SPEC 7.11]
        let mut preferred = hosts.to_vec();
        shuffle(&mut preferred, rng);
        let preferred = preferred.into_iter().map(|host| Named {
            leads: hosts.first() == Some(&host),
            by: By::User,
            host,
        });
        let others = self.all.drain(..);
        let others = others.filter(|named| !hosts.contains(&named.host));
        let others = others.map(|named| match named.by {
            By::User => Named {
                by: By::UserBefore,
                ..named
            },
            _ => named,
        });
        let mut all: Vec<Named> = preferred.chain(others).collect();
        all.truncate(LINK_HOSTS_MAX);
        self.all = all;
        self.next = 0;
    }

    /// Forgets the hosts of links that led to nothing, or whose conversation is gone. False: there are none.
    // [SPEC 7.14]
    pub(super) fn forget(&mut self, is_gone: impl Fn(ConversationId) -> bool) -> bool {
        let before = self.all.len();
        let is_needed = |named: &Named| match &named.by {
            By::Links(links) => links.iter().any(|link| !is_gone(*link)),
            _ => true,
        };
        let is_of_link = |named: &Named| matches!(named.by, By::Links(_));
        // Where the user named none, the first link's stay: they may be the only ones that work, and orders may wait. But behind all others.
        let first = if self.all.iter().all(is_of_link) {
            self.named_len().max(1)
        } else {
            0
        };
        let mut seen = 0;
        self.all.retain(|named| {
            seen += 1;
            seen <= first || is_needed(named)
        });
        self.all.sort_by_key(|named| !is_needed(named));
        self.next = self.next.min(self.all.len());
        self.all.len() != before
    }

    /// Whose turn it is; after that it is the next one's.
    pub(super) fn take_next(&mut self) -> Option<&Host> {
        self.next %= self.all.len().max(1);
        let named = self.all.get(self.next)?;
        self.next += 1;
        Some(&named.host)
    }

    /// The host that was taken answers: it is the next one again.
    pub(super) fn answers(&mut self) {
        self.next = self.next.saturating_sub(1);
    }

    /// The host that answered is lost: it is another node's turn.
    pub(super) fn lost(&mut self) {
        // [SPEC 7.12]
        let used = self.next % self.all.len().max(1);
        self.next = (used + 1).checked_rem(self.named_len()).unwrap_or(0);
    }
}
