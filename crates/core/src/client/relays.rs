//! The relays this account talks to, and the orders that wait for them.

use std::collections::BTreeMap;

use emptyroom_wire::address::{Host, RelayAddress};
use emptyroom_wire::op::{AccessCode, Answer, Destroy, RefusalCode, Request};
use emptyroom_wire::relay_key::{IdentityHash, KeyChain};
use emptyroom_wire::time::{DAY_MS, HOUR_MS, MINUTE_MS, Mono};
use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize, VLBytes};

use super::{Client, LoadError, VERSION};
use crate::conversation::{Order, OrderedLog};
use crate::link::{By, Link, Named, Tag};
use crate::records;
use crate::store::key::{self, ConversationId};
use crate::store::value::StoredText;
use crate::store::{Store, Value};

/// An order that was not confirmed is given up after that: what it would destroy has ended by itself.
// [SPEC 8.45]
const DESTROY_MS_MAX: u64 = 40 * DAY_MS;
/// The same for a log in which the other side may go on writing: a header's life and an entry's.
// [SPEC 8.68]
const DESTROY_IN_USE_MS_MAX: u64 = (180 + 30) * DAY_MS;
/// So long a relay that does not know the log yet is asked again: the append that makes it may be on its way.
// [SPEC 8.68]
const COMING_MS: u64 = 5 * MINUTE_MS;
/// Relays that are read: more than there can be conversations.
const RELAYS_MAX: usize = 4_096;
/// Orders that are kept.
const DESTROYS_MAX: usize = 10_000;
const RETRY_MS: u64 = MINUTE_MS;
/// After an answer that a whole relay would not give.
const REFUSED_MS: u64 = HOUR_MS;
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
    log: OrderedLog,
    since_ms: u64,
    /// When the relay first said that it does not know the log; 0 = never.
    unknown_ms: u64,
    pub(super) under_way: bool,
    pub(super) retry_at: Option<Mono>,
}

#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
struct DestroyRecord {
    relay: IdentityHash,
    order: Destroy,
    log: OrderedLog,
    since_ms: u64,
    unknown_ms: u64,
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
        let order = Order {
            destroy: record.order,
            log: record.log,
        };
        let mut destroy = PendingDestroy::new(record.relay, order, record.since_ms);
        destroy.unknown_ms = record.unknown_ms;
        destroys.insert(number, destroy);
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
    pub(super) fn new(relay: IdentityHash, order: Order, since_ms: u64) -> Self {
        Self {
            relay,
            order: order.destroy,
            log: order.log,
            since_ms,
            unknown_ms: 0,
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
            log: self.log,
            since_ms: self.since_ms,
            unknown_ms: self.unknown_ms,
        };
        Value::new(records::encode(VERSION, &record))
    }

    /// How long it is kept without the relay's word.
    fn kept_ms(&self) -> u64 {
        match self.log {
            OrderedLog::Ending => DESTROY_MS_MAX,
            OrderedLog::InUse | OrderedLog::Coming => DESTROY_IN_USE_MS_MAX,
        }
    }

    /// After what time it is given again; none: it is carried out.
    // [SPEC 8.45, 8.68]
    fn again_after_ms(&mut self, now_ms: u64, answer: &Answer) -> Option<u64> {
        let refused = match answer {
            Answer::Done => return None,
            Answer::Refused(refusal) => refusal.code,
            _ => return Some(REFUSED_MS),
        };
        match refused {
            RefusalCode::Destroyed => None,
            RefusalCode::Unknown if self.log == OrderedLog::Coming => {
                if self.unknown_ms == 0 {
                    self.unknown_ms = now_ms;
                }
                let left = COMING_MS.saturating_sub(now_ms.saturating_sub(self.unknown_ms));
                (left > 0).then_some(left)
            }
            RefusalCode::Unknown => None,
            RefusalCode::Busy
            | RefusalCode::Draining
            | RefusalCode::StoreFailed
            | RefusalCode::StorageFull
            | RefusalCode::TooMany => Some(RETRY_MS),
            _ => Some(REFUSED_MS),
        }
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
            // Nobody may know which relay a damaged conversation is at.
            // [SPEC 8.67]
            self.damaged.values().any(|damaged| damaged.may_need(relay))
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

    /// Gives up the orders of logs that have ended by themselves, or that the other side alone keeps.
    // [SPEC 8.45, 8.68]
    fn drop_old_destroys(&mut self) {
        let now_ms = self.clock.device().0;
        let gone = &mut self.step.destroys_changed;
        self.destroys.retain(|number, destroy| {
            let keep = now_ms.saturating_sub(destroy.since_ms) < destroy.kept_ms();
            if !keep {
                gone.insert(*number);
            }
            keep
        });
    }

    /// The relay's word on an order.
    pub(super) fn destroyed(&mut self, number: u64, answer: &Answer) {
        let now = self.clock.mono();
        let now_ms = self.clock.device().0;
        let Some(destroy) = self.destroys.get_mut(&number) else {
            return;
        };
        destroy.under_way = false;
        self.step.destroys_changed.insert(number);
        match destroy.again_after_ms(now_ms, answer) {
            Some(after_ms) => destroy.retry_at = Some(now.plus_ms(after_ms)),
            None => {
                self.destroys.remove(&number);
            }
        }
    }

    /// Keeps an order until the relay confirms it.
    pub(super) fn keep_destroy(&mut self, relay: IdentityHash, order: Order) {
        if self.destroys.len() >= DESTROYS_MAX {
            return;
        }
        self.global.destroys_made += 1;
        self.step.global_changed = true;
        let number = self.global.destroys_made;
        let destroy = PendingDestroy::new(relay, order, self.clock.now().0);
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

#[cfg(test)]
mod tests {
    use emptyroom_wire::log::Capability;
    use emptyroom_wire::op::Refusal;
    use emptyroom_wire::sign::Signature;

    use super::*;

    fn order(log: OrderedLog) -> PendingDestroy {
        let destroy = Destroy {
            capability: Capability::new([1; 32]),
            signature: Signature([2; 64]),
        };
        PendingDestroy::new(IdentityHash([3; 32]), Order { destroy, log }, 7)
    }

    fn refused(code: RefusalCode) -> Answer {
        Answer::Refused(Refusal::now(code))
    }

    // [SPEC 8.45]
    #[test]
    fn only_a_log_that_is_gone_ends_an_order() {
        let mut order = order(OrderedLog::InUse);
        for ends in [
            Answer::Done,
            refused(RefusalCode::Destroyed),
            refused(RefusalCode::Unknown),
        ] {
            assert_eq!(order.again_after_ms(9, &ends), None);
        }
        assert_eq!(
            order.again_after_ms(9, &refused(RefusalCode::Busy)),
            Some(RETRY_MS)
        );
        for code in [
            RefusalCode::BadProof,
            RefusalCode::NotAllowed,
            RefusalCode::Malformed,
            RefusalCode::UpdateNeeded,
        ] {
            assert_eq!(order.again_after_ms(9, &refused(code)), Some(REFUSED_MS));
        }
    }

    // [SPEC 8.68]
    #[test]
    fn a_log_that_is_coming_is_asked_for_again() {
        let mut order = order(OrderedLog::Coming);
        let unknown = refused(RefusalCode::Unknown);
        assert_eq!(order.again_after_ms(100, &unknown), Some(COMING_MS));
        let later = 100 + COMING_MS - 1;
        assert_eq!(order.again_after_ms(later, &unknown), Some(1));
        assert_eq!(order.again_after_ms(later + 1, &unknown), None);
        assert_eq!(order.again_after_ms(200, &Answer::Done), None);
    }
}
