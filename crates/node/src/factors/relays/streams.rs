//! Streams to several relays at once, opened before anything is asked, noted or spent.

use std::sync::Arc;
use std::time::Duration;

use emptyroom_wire::address::{Host, RelayAddress};
use emptyroom_wire::log::LogId;
use emptyroom_wire::op::{Answer, RefusalCode, Request, WipeShare};
use emptyroom_wire::relay_key::{Head, IdentityHash, KeyChain};
use emptyroom_wire::secret::Private;
use emptyroom_wire::share::ShareId;
use emptyroom_wire::wipe::{ACTION_WIPE, OrderBody, WipeOrder};
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
use crate::shares::unlock::NoAnswer;

/// How long reaching enough relays may take.
// [SPEC 11.40]
const REACH_TIME_MAX: Duration = Duration::from_secs(15);
/// How long the rest may take when enough are reached, also when somebody waits for the end: a relay that is far away must not be
/// left out by each command that is short.
const REST_TIME_MAX: Duration = Duration::from_secs(3);

/// How often it is looked whether somebody waits for the end.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// A relay as it is dialled.
#[derive(Clone)]
pub(super) struct Whom {
    hosts: Vec<Host>,
    relay: IdentityHash,
    head: Option<Head>,
    /// A share that it must have: a stream alone does not say that it will answer.
    share: Option<ShareId>,
}

impl Whom {
    pub(super) fn of(at: &At) -> Self {
        Self {
            hosts: at.hosts.clone(),
            relay: at.relay,
            head: at.head,
            share: None,
        }
    }

    /// One of whom it is to be known that it has the share.
    pub(super) fn with_share(at: &At) -> Self {
        Self {
            share: Some(at.id.clone()),
            ..Self::of(at)
        }
    }

    /// One that may be chosen, asked for this share.
    pub(super) fn asked_for(address: &RelayAddress, share: ShareId) -> Self {
        Self {
            share: Some(share),
            ..Self::chosen(address, &[])
        }
    }

    /// One that was chosen; what is known of its keys is in the shares that it may have.
    pub(super) fn chosen(address: &RelayAddress, seen: &[At]) -> Self {
        let seen = seen.iter().filter(|at| at.relay == address.identity);
        let heads = seen.filter_map(|at| at.head);
        Self {
            hosts: address.hosts().cloned().collect(),
            relay: address.identity,
            head: heads.max_by_key(|head| head.number),
            share: None,
        }
    }
}

/// Open streams, by the number of their relay.
pub(in crate::factors) struct Streams {
    pub(super) sockets: Sockets,
    open: Vec<Result<Errand, NoAnswer>>,
}

impl Streams {
    /// Opens a stream to each of these relays: waits for all, but not long once `enough` are open.
    pub(super) fn open(
        carrier: &Arc<dyn Carrier>,
        whom: Vec<Whom>,
        enough: usize,
    ) -> Result<Self, Failure> {
        let sockets = Sockets::new()?;
        let mut open: Vec<Result<Errand, NoAnswer>> =
            whom.iter().map(|_| Err(NoAnswer::NotNow)).collect();
        sockets.handle.block_on(async {
            let (sender, mut dialled) = mpsc::channel(RELAYS_MAX);
            let mut tasks = JoinSet::new();
            for (number, whom) in whom.into_iter().enumerate() {
                let (carrier, sender) = (carrier.clone(), sender.clone());
                tasks.spawn(async move {
                    let errand = dial(&carrier, &whom).await;
                    let _ = sender.send((number, errand)).await;
                });
            }
            drop(sender);
            let until = Instant::now() + REACH_TIME_MAX;
            let mut enough_since = None;
            loop {
                let end =
                    enough_since.map_or(until, |since: Instant| until.min(since + REST_TIME_MAX));
                match timeout_at(end, dialled.recv()).await {
                    Ok(Some((number, errand))) => {
                        if let Some(place) = open.get_mut(number) {
                            *place = errand;
                        }
                        if open.iter().filter(|open| open.is_ok()).count() >= enough {
                            enough_since.get_or_insert_with(Instant::now);
                        }
                    }
                    // All have been, or the time is up.
                    Ok(None) | Err(_) => return,
                }
            }
        });
        Ok(Self { sockets, open })
    }

    /// The numbers of the relays that are reached.
    pub(super) fn numbers(&self) -> Vec<usize> {
        self.those(|open| open.is_ok())
    }

    /// The numbers of those that were reached and have no share.
    pub(super) fn gone(&self) -> Vec<usize> {
        self.those(|open| matches!(open, Err(NoAnswer::Gone)))
    }

    fn those(&self, which: impl Fn(&Result<Errand, NoAnswer>) -> bool) -> Vec<usize> {
        let numbered = self.open.iter().enumerate();
        let those = numbered.filter(|(_, open)| which(open));
        those.map(|(number, _)| number).collect()
    }

    pub(super) fn head(&self, number: usize) -> Option<Head> {
        let errand = self.open.get(number)?.as_ref().ok()?;
        Some(errand.head())
    }

    pub(super) fn take(&mut self, number: usize) -> Result<Errand, NoAnswer> {
        let open = self.open.get_mut(number);
        open.map_or(Err(NoAnswer::NotNow), |open| {
            std::mem::replace(open, Err(NoAnswer::NotNow))
        })
    }
}

/// Streams that are open yet when what they were opened for is done, by their relay.
pub(in crate::factors) struct Open {
    pub(super) errands: Vec<(IdentityHash, Errand)>,
    /// They live no longer than this.
    pub(super) _sockets: Sockets,
}

impl Open {
    pub(super) fn take(&mut self, relay: &IdentityHash) -> Option<Errand> {
        let mut all = self.errands.iter();
        let found = all.position(|(of, _)| of == relay)?;
        Some(self.errands.swap_remove(found).1)
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

/// Opens a stream, by whichever host of the relay answers first.
pub(super) async fn dial(carrier: &Arc<dyn Carrier>, whom: &Whom) -> Result<Errand, NoAnswer> {
    let reached = timeout(REACH_TIME_MAX, reach(carrier, whom));
    reached.await.unwrap_or(Err(NoAnswer::NotNow))
}

async fn reach(carrier: &Arc<dyn Carrier>, whom: &Whom) -> Result<Errand, NoAnswer> {
    // All at once: one that swallows what it is sent would take the time of the others.
    let mut tasks = JoinSet::new();
    for host in whom.hosts.clone() {
        let (carrier, seen) = (carrier.clone(), KeyChain::at(whom.relay, whom.head));
        tasks.spawn(async move {
            let mut rng = seed::generator().ok()?;
            let seen = errand::Whom::Seen(seen);
            Errand::dial(&*carrier, &[host], &seen, &mut rng).await.ok()
        });
    }
    while let Some(dialled) = tasks.join_next().await {
        if let Ok(Some(errand)) = dialled {
            return match &whom.share {
                Some(share) => look(errand, share.clone()).await,
                None => Ok(errand),
            };
        }
    }
    Err(NoAnswer::NotNow)
}

/// Whether a relay has a share and would answer with it: by its refusal of an order to wipe it that nobody signed, for which it has to write.
// [SPEC 4.80] [SPEC 11.40]
async fn look(mut errand: Errand, id: ShareId) -> Result<Errand, NoAnswer> {
    let body = OrderBody {
        switch_id: LogId([0; 32]),
        order_id: Private([0; 16]),
        action: ACTION_WIPE,
        issued_ms: 0,
        not_after_ms: 0,
    };
    let order = WipeOrder {
        body,
        signatures: Vec::new(),
    };
    match errand
        .ask(Request::ShareWipe(WipeShare { id, order }))
        .await
    {
        Ok(Answer::Refused(refusal)) if refusal.code == RefusalCode::NotAllowed => Ok(errand),
        Ok(answer) if super::is_gone(&answer) => Err(NoAnswer::Gone),
        Ok(_) | Err(_) => Err(NoAnswer::NotNow),
    }
}
