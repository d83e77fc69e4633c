//! The relays' shares: asking for them, renewing and deleting them. Putting new ones is in [`put`]; when, decide the machines of
//! [`crate::shares`].

mod put;
mod streams;

use std::sync::Arc;
use std::time::{Duration, Instant};

use emptyroom_wire::derive::expand;
use emptyroom_wire::op::{
    Answer, DeleteShare, EvaluateShare, Evaluated, RefusalCode, RenewShare, Request,
};
use emptyroom_wire::relay_key::IdentityHash;
use emptyroom_wire::share::{ShareId, sign_delete, sign_renew};
use emptyroom_wire::sign::SignKey;
use emptyroom_wire::time::Mono;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::noted::{Area, At, Delete, hosts_text};
use crate::api::{Exit, Failure};
use crate::carrier::Carrier;
use crate::clock;
use crate::errand::Errand;
use crate::seed;
use crate::shares::RELAYS_MAX;
use crate::shares::unlock::{NoAnswer, TooFew, Unlock};
pub(super) use put::{New, put};
pub(super) use streams::Streams;
use streams::{LOOK, Sockets, Whom, dial};

/// How long deletes may take; the same when somebody waits for the end.
const DELETE_TIME_MAX: Duration = Duration::from_secs(4);
const DELETE_HURRIED_MAX: Duration = Duration::from_secs(1);
/// How long a relay may take to renew.
const RENEW_TIME_MAX: Duration = Duration::from_secs(15);

const OWNER: &str = "emptyroom v1 vault share owner";

/// The key that may renew and delete one share: each has its own, so that a relay does not see which belong together.
// [SPEC 11.54]
pub(super) fn owner(panic_secret: &[u8; 32], relay: &IdentityHash, id: &ShareId) -> SignKey {
    let of = [relay.0, *id.expose()].concat();
    SignKey::from_seed(&expand(panic_secret, OWNER, &of))
}

pub(super) fn order(panic_secret: &[u8; 32], at: &At) -> Delete {
    let owner = owner(panic_secret, &at.relay, &at.id);
    let signature = sign_delete(&owner, &at.relay, at.id.name());
    Delete {
        at: at.clone(),
        signature,
    }
}

/// Opens a stream to each relay of an area, as far as they can be reached: nothing is asked of them yet.
///
/// # Errors
/// When those that can be reached are too few.
// [SPEC 11.40]
pub(super) fn reach(carrier: &Arc<dyn Carrier>, area: &Area) -> Result<Streams, Failure> {
    let whom = area.shares.iter().map(Whom::of).collect();
    let streams = Streams::open(carrier, whom, area.needed, &|| false)?;
    let reached = streams.count();
    if reached >= area.needed {
        return Ok(streams);
    }
    let text = format!(
        "{} of {} relays are needed to open this vault, {reached} can be reached",
        area.needed,
        area.shares.len()
    );
    Err(needed(text))
}

/// Asks over these streams for what opens the slots of an area.
pub(super) fn ask(mut streams: Streams, area: &Area, input: &[u8; 32]) -> Result<Unlock, Failure> {
    let mut rng = seed::generator()?;
    let asked = area.to_ask().ok_or_else(super::damaged)?;
    let mut unlock = Unlock::new(asked, input, clock::now().mono, &mut rng);
    let (sender, mut heard) = mpsc::channel(RELAYS_MAX);
    let requests = unlock.requests().into_iter().enumerate();
    let mut tasks = JoinSet::new();
    for (number, request) in requests {
        let Some(mut errand) = streams.take(number) else {
            unlock.heard(number, Err(NoAnswer::NotNow));
            continue;
        };
        let sender = sender.clone();
        let evaluate = async move {
            let answer = evaluate(&mut errand, request).await;
            let _ = sender.send((number, answer)).await;
        };
        tasks.spawn_on(evaluate, &streams.sockets.handle);
    }
    streams.sockets.handle.block_on(async {
        while !unlock.is_over(clock::now().mono) {
            let wait = left(unlock.wake_at());
            if let Ok(Some((number, answer))) = timeout(wait, heard.recv()).await {
                unlock.heard(number, answer);
            }
        }
    });
    Ok(unlock)
}

async fn evaluate(errand: &mut Errand, request: EvaluateShare) -> Result<Evaluated, NoAnswer> {
    match errand.ask(Request::ShareEvaluate(request)).await {
        Ok(Answer::Evaluated(evaluated)) => Ok(evaluated),
        Ok(answer) if is_gone(&answer) => Err(NoAnswer::Gone),
        Ok(_) | Err(_) => Err(NoAnswer::NotNow),
    }
}

fn is_gone(answer: &Answer) -> bool {
    use RefusalCode::{Destroyed, Unknown, UsedUp};
    matches!(answer, Answer::Refused(refusal) if [Destroyed, Unknown, UsedUp].contains(&refusal.code))
}

/// Why nothing can be tried, in words; with what the relays that answered allow yet.
// [SPEC 11.48]
// [SPEC 11.49]
pub(super) fn too_few(why: TooFew, unlock: &Unlock, area: &Area) -> Failure {
    let left = unlock.heard_from().filter_map(|(number, _, left)| {
        let at = area.shares.get(number)?;
        Some(format!(
            "{} answers {left} times more",
            hosts_text(&at.hosts)
        ))
    });
    let left: Vec<String> = left.collect();
    let left = match left.join(", ") {
        left if left.is_empty() => left,
        left => format!("; {left}"),
    };
    match why {
        TooFew::Needed {
            needed: count,
            answered,
        } => needed(format!(
            "{count} of {} relays are needed to open this vault, {answered} answered{left}",
            area.shares.len()
        )),
        TooFew::Gone => Failure::new(
            Exit::Vault,
            "vault_no_attempts",
            format!(
                "too few relays still have their share of this vault: wrong PINs used them up, or they were deleted or have run out{left}"
            ),
        )
        .hint("enter the recovery words; nothing else opens this vault any more"),
    }
}

fn needed(text: String) -> Failure {
    Failure::new(Exit::Vault, "vault_relays_needed", text)
        .hint("try again when you are connected, or enter the recovery words")
}

/// Renews the leases of these shares; gives those whose relay did not.
// [SPEC 11.53]
pub(super) fn renew(
    carrier: &Arc<dyn Carrier>,
    (panic_secret, days): (&[u8; 32], u16),
    shares: &[At],
) -> Result<Vec<At>, Failure> {
    let sockets = Sockets::new()?;
    sockets.handle.block_on(async {
        let mut tasks = JoinSet::new();
        for at in shares.iter().cloned() {
            let owner = owner(panic_secret, &at.relay, &at.id);
            let carrier = carrier.clone();
            tasks.spawn(async move {
                let renewed = timeout(RENEW_TIME_MAX, renew_one(&*carrier, &at, owner, days));
                let is_renewed = renewed.await.unwrap_or(false);
                (!is_renewed).then_some(at)
            });
        }
        let mut not = Vec::new();
        while let Some(ended) = tasks.join_next().await {
            not.extend(ended.ok().flatten());
        }
        Ok(not)
    })
}

async fn renew_one(carrier: &dyn Carrier, at: &At, owner: SignKey, days: u16) -> bool {
    let Some(mut errand) = dial(carrier, &Whom::of(at)).await else {
        return false;
    };
    let named = (at.id.name(), days);
    let proof = sign_renew(&owner, &at.relay, &errand.binding(), named);
    let renew = RenewShare {
        id: at.id.clone(),
        days,
        proof,
    };
    matches!(
        errand.ask(Request::ShareRenew(renew)).await,
        Ok(Answer::Done)
    )
}

/// Deletes shares, as far as their relays can be reached; gives those of which it is known that they are gone. One stream for
/// each relay, however many it has.
pub(super) fn delete(
    carrier: &Arc<dyn Carrier>,
    orders: Vec<Delete>,
    is_hurried: &dyn Fn() -> bool,
) -> Result<Vec<ShareId>, Failure> {
    if orders.is_empty() {
        return Ok(Vec::new());
    }
    let mut by_relay: Vec<Vec<Delete>> = Vec::new();
    for order in orders {
        let same = |of: &&mut Vec<Delete>| of.iter().any(|other| other.at.relay == order.at.relay);
        match by_relay.iter_mut().find(same) {
            Some(of) => of.push(order),
            None => by_relay.push(vec![order]),
        }
    }
    let (sender, mut gone) = mpsc::unbounded_channel();
    let sockets = Sockets::new()?;
    sockets.handle.block_on(async {
        let mut tasks = JoinSet::new();
        for orders in by_relay {
            let (carrier, sender) = (carrier.clone(), sender.clone());
            tasks.spawn(async move { delete_at(&*carrier, orders, &sender).await });
        }
        let since = Instant::now();
        // Whoever does not answer is asked again after the next opening.
        while since.elapsed()
            < if is_hurried() {
                DELETE_HURRIED_MAX
            } else {
                DELETE_TIME_MAX
            }
        {
            if let Ok(None) = timeout(LOOK, tasks.join_next()).await {
                return;
            }
        }
    });
    drop(sender);
    let mut ids = Vec::new();
    while let Ok(id) = gone.try_recv() {
        ids.push(id);
    }
    Ok(ids)
}

/// Deletes what one relay has.
async fn delete_at(
    carrier: &dyn Carrier,
    orders: Vec<Delete>,
    gone: &mpsc::UnboundedSender<ShareId>,
) {
    let Some(first) = orders.first() else { return };
    let Some(mut errand) = dial(carrier, &Whom::of(&first.at)).await else {
        return;
    };
    for order in orders {
        let id = order.at.id.clone();
        let delete = DeleteShare {
            id: order.at.id,
            signature: order.signature,
        };
        match errand.ask(Request::ShareDelete(delete)).await {
            Ok(Answer::Done) => drop(gone.send(id)),
            Ok(answer) if is_gone(&answer) => drop(gone.send(id)),
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

/// No relay was named.
pub(super) fn needs_relays() -> Failure {
    Failure::new(
        Exit::Usage,
        "mode_needs_relays",
        "this mode takes one to five relays",
    )
    .hint("give their addresses")
}

fn left(until: Mono) -> Duration {
    Duration::from_millis(until.0.saturating_sub(clock::now().mono.0).max(1))
}
