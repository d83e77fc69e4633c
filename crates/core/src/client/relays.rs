//! The relays this account talks to, and the orders that wait for them.

use std::collections::BTreeMap;

use emptyroom_wire::address::{Host, RelayAddress};
use emptyroom_wire::op::{AccessCode, Answer, Destroy, RefusalCode, Request};
use emptyroom_wire::relay_key::{IdentityHash, KeyChain};
use emptyroom_wire::time::{DAY_MS, Mono};
use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize, VLBytes};

use super::{Client, LoadError, VERSION};
use crate::link::{By, Link, Named, Tag};
use crate::records;
use crate::store::key::{self, ConversationId};
use crate::store::value::StoredText;
use crate::store::{Store, Value};

/// An order that was not confirmed is given up after that: what it would destroy has ended by itself.
// [SPEC 8.45]
const DESTROY_MS_MAX: u64 = 40 * DAY_MS;
/// Relays that are read: more than there can be conversations.
const RELAYS_MAX: usize = 4_096;
/// Orders that are kept.
const DESTROYS_MAX: usize = 10_000;
const RETRY_MS: u64 = 60_000;
/// Stands before a host that the user does not name any more.
const BEFORE: char = '~';
/// Stands with the numbers of their conversations before a host of links. Without numbers nobody knows any more which link it was.
const OTHERS: char = '+';
/// Stands right before the host that a relay is called by.
const LEADS: char = '!';

/// A relay and the link to it.
pub(super) struct Relay {
    pub(super) link: Link,
    pub(super) code: Option<AccessCode>,
    /// Its record as it was written last.
    saved: Value,
}

#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
struct RelayRecord {
    hosts: Vec<StoredText>,
    code: Option<AccessCode>,
    chain: VLBytes,
}

/// An order to destroy a log that no relay has confirmed yet.
pub(super) struct PendingDestroy {
    pub(super) relay: IdentityHash,
    order: Destroy,
    since_ms: u64,
    pub(super) under_way: bool,
    pub(super) retry_at: Option<Mono>,
}

#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
struct DestroyRecord {
    relay: IdentityHash,
    order: Destroy,
    since_ms: u64,
}

/// All relays of the records.
pub(super) fn load(store: &Store<'_>) -> Result<BTreeMap<IdentityHash, Relay>, LoadError> {
    let mut relays = BTreeMap::new();
    for (_, saved) in store.scan(key::RELAYS, None, RELAYS_MAX, false) {
        let record: RelayRecord = records::decode(VERSION, &saved)?;
        let chain = KeyChain::decode(record.chain.as_slice()).map_err(|_| LoadError::Damaged)?;
        let hosts = record.hosts.iter().map(read_host);
        let hosts: Option<Vec<Named>> = hosts.collect();
        let link = Link::new(hosts.ok_or(LoadError::Damaged)?, chain);
        let code = record.code;
        relays.insert(link.relay(), Relay { link, code, saved });
    }
    Ok(relays)
}

fn write_host(named: &Named) -> StoredText {
    let host = if named.leads {
        format!("{LEADS}{}", named.host)
    } else {
        named.host.to_string()
    };
    let text = match &named.by {
        By::User => host,
        By::UserBefore => format!("{BEFORE}{host}"),
        By::Links(links) => {
            let links: Vec<String> = links.iter().map(|link| link.0.to_string()).collect();
            format!("{OTHERS}{} {host}", links.join(","))
        }
    };
    StoredText::of(&text.as_str().into())
}

fn read_host(text: &StoredText) -> Option<Named> {
    let text = text.text();
    let text = text.expose();
    let (by, host) = if let Some(host) = text.strip_prefix(BEFORE) {
        (By::UserBefore, host)
    } else if let Some(others) = text.strip_prefix(OTHERS) {
        let (links, host) = others.split_once(' ').unwrap_or(("", others));
        let links = links.split(',').filter(|link| !link.is_empty());
        let links = links.map(|link| link.parse().map(ConversationId));
        (By::Links(links.collect::<Result<_, _>>().ok()?), host)
    } else {
        (By::User, text)
    };
    let leads = host.starts_with(LEADS);
    let host = Host::parse(host.strip_prefix(LEADS).unwrap_or(host)).ok()?;
    Some(Named { host, by, leads })
}

/// All orders of the records.
pub(super) fn load_destroys(store: &Store<'_>) -> Result<BTreeMap<u64, PendingDestroy>, LoadError> {
    let mut destroys = BTreeMap::new();
    for (found, record) in store.scan(key::DESTROYS, None, DESTROYS_MAX, false) {
        let number = key::last_number(&found).ok_or(LoadError::Damaged)?;
        let record: DestroyRecord = records::decode(VERSION, &record)?;
        destroys.insert(
            number,
            PendingDestroy::new(record.relay, record.order, record.since_ms),
        );
    }
    Ok(destroys)
}

impl Relay {
    /// Its record, if it is another than the one that was written last.
    pub(super) fn unsaved(&mut self) -> Option<Value> {
        let record = self.record();
        (record != self.saved).then(|| {
            self.saved.clone_from(&record);
            record
        })
    }

    fn record(&self) -> Value {
        let record = RelayRecord {
            hosts: self.link.hosts().all().iter().map(write_host).collect(),
            code: self.code.clone(),
            chain: self.link.chain().encode().into(),
        };
        Value::new(records::encode(VERSION, &record))
    }
}

impl PendingDestroy {
    pub(super) fn new(relay: IdentityHash, order: Destroy, since_ms: u64) -> Self {
        Self {
            relay,
            order,
            since_ms,
            under_way: false,
            retry_at: None,
        }
    }

    fn record(&self) -> Value {
        let record = DestroyRecord {
            relay: self.relay,
            order: Destroy {
                capability: self.order.capability.clone(),
                signature: self.order.signature,
            },
            since_ms: self.since_ms,
        };
        Value::new(records::encode(VERSION, &record))
    }
}

impl Client {
    /// The relay of an address or link, known from now on.
    fn know_relay(&mut self, relay: IdentityHash) {
        self.step.relays_changed.insert(relay);
        self.relays.entry(relay).or_insert_with(|| Relay {
            link: Link::new(Vec::new(), KeyChain::new(relay)),
            code: None,
            saved: Value::default(),
        });
    }

    /// The link of a conversation says where a relay is dialled.
    pub(super) fn add_hosts(&mut self, relay: IdentityHash, hosts: &[Host], by: ConversationId) {
        self.know_relay(relay);
        if let Some(known) = self.relays.get_mut(&relay) {
            known.link.add(hosts, by, &mut *self.rng);
        }
    }

    /// The user named this relay's address.
    pub(super) fn prefer_relay(&mut self, address: RelayAddress) {
        let hosts: Vec<Host> = address.hosts().cloned().collect();
        self.know_relay(address.identity);
        if let Some(known) = self.relays.get_mut(&address.identity) {
            known.link.prefer(&hosts, &mut *self.rng);
            known.code = address.code.or(known.code.take());
        }
    }

    /// Nothing of a link stays that led to nothing, or whose conversation is forgotten.
    // [SPEC 7.14]
    fn forget_hosts(&mut self) {
        let (conversations, damaged) = (&self.conversations, &self.damaged);
        let is_gone = |id| match conversations.get(&id) {
            Some(conversation) => conversation.is_gone(),
            None => !damaged.contains_key(&id),
        };
        for (identity, relay) in &mut self.relays {
            if relay.link.forget_hosts(is_gone) {
                self.step.relays_changed.insert(*identity);
            }
        }
    }

    /// Relays that nobody needs any more are forgotten: nothing here says that one ever used them.
    pub(super) fn forget_relays(&mut self) {
        let needed = |relay: &IdentityHash| {
            // Nobody knows which relay a damaged conversation is at.
            // [SPEC 8.67]
            !self.damaged.is_empty()
                || self.global.relay == Some(*relay)
                || self
                    .conversations
                    .values()
                    .any(|conversation| conversation.relay() == *relay)
                || self
                    .destroys
                    .values()
                    .any(|destroy| destroy.relay == *relay)
        };
        let unneeded: Vec<IdentityHash> = self
            .relays
            .keys()
            .filter(|relay| !needed(relay))
            .copied()
            .collect();
        for relay in unneeded {
            self.with_link(relay, |known, ctx| known.link.want(false, ctx));
            self.relays.remove(&relay);
            self.step.relays_changed.insert(relay);
        }
    }

    /// Links stand where somebody needs them.
    pub(super) fn want_links(&mut self) {
        self.forget_hosts();
        let relays: Vec<IdentityHash> = self.relays.keys().copied().collect();
        for relay in relays {
            let wanted = self.destroys.values().any(|destroy| destroy.relay == relay)
                || self.conversations.values().any(|conversation| {
                    conversation.relay() == relay && conversation.needs_relay()
                });
            self.with_link(relay, |known, ctx| {
                known.link.want(wanted, ctx);
                known.link.tick(ctx);
            });
        }
    }

    /// Sends the orders that wait.
    pub(super) fn drive_destroys(&mut self) {
        self.drop_old_destroys();
        if !self.step.destroys_changed.is_empty() {
            self.forget_relays();
        }
        let now = self.clock.mono();
        let mut out = Vec::new();
        for (number, destroy) in &mut self.destroys {
            let due = destroy.retry_at.is_none_or(|at| at <= now);
            if destroy.under_way || !due {
                continue;
            }
            if let Some(known) = self.relays.get_mut(&destroy.relay)
                && known.link.is_up()
            {
                destroy.under_way = true;
                destroy.retry_at = None;
                let request = Request::Destroy(destroy.order.clone());
                let mut sent = Vec::new();
                known
                    .link
                    .request(now, Tag::Destroy(*number), request, &mut sent);
                out.extend(sent.into_iter().map(|sent| (destroy.relay, sent)));
            }
        }
        self.step.links.extend(out);
    }

    /// Gives up the orders of logs that have ended by themselves.
    // [SPEC 8.45]
    fn drop_old_destroys(&mut self) {
        let now_ms = self.clock.now().0;
        let gone = &mut self.step.destroys_changed;
        self.destroys.retain(|number, destroy| {
            let keep = now_ms.saturating_sub(destroy.since_ms) < DESTROY_MS_MAX;
            if !keep {
                gone.insert(*number);
            }
            keep
        });
    }

    /// The relay's word on an order.
    pub(super) fn destroyed(&mut self, number: u64, answer: &Answer) {
        let now = self.clock.mono();
        let Some(destroy) = self.destroys.get_mut(&number) else {
            return;
        };
        destroy.under_way = false;
        let later = matches!(answer, Answer::Refused(refusal) if matches!(
            refusal.code,
            RefusalCode::Busy
                | RefusalCode::Draining
                | RefusalCode::StoreFailed
                | RefusalCode::StorageFull
                | RefusalCode::TooMany
        ));
        if later {
            destroy.retry_at = Some(now.plus_ms(RETRY_MS));
            return;
        }
        self.destroys.remove(&number);
        self.step.destroys_changed.insert(number);
    }

    /// Keeps an order until the relay confirms it.
    pub(super) fn keep_destroy(&mut self, relay: IdentityHash, order: &Destroy) {
        if self.destroys.len() >= DESTROYS_MAX {
            return;
        }
        self.global.destroys_made += 1;
        self.step.global_changed = true;
        let number = self.global.destroys_made;
        let destroy = PendingDestroy::new(relay, order.clone(), self.clock.now().0);
        self.destroys.insert(number, destroy);
        self.step.destroys_changed.insert(number);
    }

    /// Writes the orders that came or went in this step.
    pub(super) fn save_destroys(
        changed: std::collections::BTreeSet<u64>,
        destroys: &BTreeMap<u64, PendingDestroy>,
        store: &mut Store<'_>,
    ) {
        for number in changed {
            match destroys.get(&number) {
                Some(destroy) => store.put(key::destroy(number), destroy.record()),
                None => store.delete(&key::destroy(number)),
            }
        }
    }
}
