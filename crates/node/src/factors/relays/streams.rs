//! Streams to several relays at once, opened before anything is asked, noted or spent.

use std::sync::Arc;
use std::time::Duration;

use emptyroom_wire::address::{Host, RelayAddress};
use emptyroom_wire::relay_key::{Head, IdentityHash, KeyChain};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::api::Failure;
use crate::carrier::Carrier;
use crate::errand::{self, Errand};
use crate::factors::noted::At;
use crate::seed;
use crate::shares::RELAYS_MAX;

/// How long reaching enough relays may take.
// [SPEC 11.40]
const REACH_TIME_MAX: Duration = Duration::from_secs(15);
/// How long the rest may take when enough are reached; the same when somebody waits for the end.
const REST_TIME_MAX: Duration = Duration::from_secs(3);
const REST_HURRIED_MAX: Duration = Duration::from_secs(1);

/// How often it is looked whether somebody waits for the end.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// A relay as it is dialled.
#[derive(Clone)]
pub(super) struct Whom {
    hosts: Vec<Host>,
    relay: IdentityHash,
    head: Option<Head>,
}

impl Whom {
    pub(super) fn of(at: &At) -> Self {
        Self {
            hosts: at.hosts.clone(),
            relay: at.relay,
            head: at.head,
        }
    }

    /// One that was chosen; what is known of its keys is in the share that it has.
    pub(super) fn chosen(address: &RelayAddress, known: &[At]) -> Self {
        let known = known.iter().find(|at| at.relay == address.identity);
        Self {
            hosts: address.hosts().cloned().collect(),
            relay: address.identity,
            head: known.and_then(|at| at.head),
        }
    }
}

/// Open streams, by the number of their relay.
pub(in crate::factors) struct Streams {
    pub(super) sockets: Sockets,
    open: Vec<Option<Errand>>,
}

impl Streams {
    /// Opens a stream to each of these relays: waits for all, but not long once `enough` are open.
    pub(super) fn open(
        carrier: &Arc<dyn Carrier>,
        whom: Vec<Whom>,
        enough: usize,
        is_hurried: &dyn Fn() -> bool,
    ) -> Result<Self, Failure> {
        let sockets = Sockets::new()?;
        let mut open: Vec<Option<Errand>> = whom.iter().map(|_| None).collect();
        sockets.handle.block_on(async {
            let (sender, mut dialled) = mpsc::channel(RELAYS_MAX);
            let mut tasks = JoinSet::new();
            for (number, whom) in whom.into_iter().enumerate() {
                let (carrier, sender) = (carrier.clone(), sender.clone());
                tasks.spawn(async move {
                    let errand = dial(&*carrier, &whom).await;
                    let _ = sender.send((number, errand)).await;
                });
            }
            drop(sender);
            let until = Instant::now() + REACH_TIME_MAX;
            let mut enough_since = None;
            loop {
                let rest = if is_hurried() {
                    REST_HURRIED_MAX
                } else {
                    REST_TIME_MAX
                };
                let end = enough_since.map_or(until, |since: Instant| until.min(since + rest));
                if Instant::now() >= end {
                    return;
                }
                match timeout_at(end.min(Instant::now() + LOOK), dialled.recv()).await {
                    Ok(Some((number, errand))) => {
                        if let Some(place) = open.get_mut(number) {
                            *place = errand;
                        }
                        if open.iter().flatten().count() >= enough {
                            enough_since.get_or_insert_with(Instant::now);
                        }
                    }
                    // All have been.
                    Ok(None) => return,
                    Err(_) => {}
                }
            }
        });
        Ok(Self { sockets, open })
    }

    pub(super) fn count(&self) -> usize {
        self.open.iter().flatten().count()
    }

    /// The numbers of the relays that are reached.
    pub(super) fn numbers(&self) -> Vec<usize> {
        let numbered = self.open.iter().enumerate();
        let reached = numbered.filter(|(_, errand)| errand.is_some());
        reached.map(|(number, _)| number).collect()
    }

    pub(super) fn head(&self, number: usize) -> Option<Head> {
        let errand = self.open.get(number)?.as_ref()?;
        Some(errand.head())
    }

    pub(super) fn take(&mut self, number: usize) -> Option<Errand> {
        self.open.get_mut(number)?.take()
    }
}

/// What sockets run on. Its end waits for nobody: looking up a name may hang for a minute.
pub(super) struct Sockets {
    pub(super) handle: Handle,
    runtime: Option<Runtime>,
}

impl Sockets {
    pub(super) fn new() -> Result<Self, Failure> {
        let runtime = crate::session::runtime()?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

pub(super) async fn dial(carrier: &dyn Carrier, whom: &Whom) -> Option<Errand> {
    let mut rng = seed::generator().ok()?;
    let seen = errand::Whom::Seen(KeyChain::at(whom.relay, whom.head));
    let dialled = Errand::dial(carrier, &whom.hosts, &seen, &mut rng);
    timeout(REACH_TIME_MAX, dialled).await.ok()?.ok()
}
