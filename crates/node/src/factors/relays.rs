//! The relays' shares: asking for them, renewing and deleting them. Putting new ones is in [`put`]; when, decide the machines of
//! [`crate::shares`].

mod put;
mod streams;

use std::sync::Arc;
use std::time::{Duration, Instant};

use emptyroom_wire::address::RelayAddress;
use emptyroom_wire::derive::expand;
use emptyroom_wire::op::{
    Answer, DeleteShare, EvaluateShare, Evaluated, RefusalCode, RenewShare, Request,
};
use emptyroom_wire::relay_key::IdentityHash;
use emptyroom_wire::rng;
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
use crate::shares::oprf::Question;
use crate::shares::unlock::{NoAnswer, TooFew, Unlock};
pub(super) use put::{New, name, put};
use streams::{LOOK, Sockets, Whom, dial};
pub(super) use streams::{Open, Streams};

/// How long deletes may take; the same when somebody waits for the end: at relays that the header names, which were just reached, and at
/// others, which may be gone for good.
const DELETE_TIME_MAX: Duration = Duration::from_secs(15);
const DELETE_HURRIED_MAX: Duration = Duration::from_secs(5);
const DELETE_OTHERS_HURRIED_MAX: Duration = Duration::from_secs(2);
/// How long an answer may take on a stream that was open already, before another one is dialled: somebody may have stopped it.
// [SPEC 11.52]
const OPEN_TIME_MAX: Duration = Duration::from_secs(3);
/// How long using shares up may take.
// [SPEC 11.59]
const USE_UP_TIME_MAX: Duration = Duration::from_secs(8);
/// How long relays may take to renew; the same when somebody waits for the end.
const RENEW_TIME_MAX: Duration = Duration::from_secs(15);
const RENEW_HURRIED_MAX: Duration = Duration::from_secs(8);

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
    let whom = area.shares.iter().map(Whom::with_share).collect();
    let streams = Streams::open(carrier, whom, area.needed)?;
    let (reached, gone) = (streams.numbers(), streams.gone());
    if reached.len() >= area.needed {
        return Ok(streams);
    }
    if area.shares.len().saturating_sub(gone.len()) < area.needed {
        return Err(all_gone(area, &gone, ""));
    }
    let text = format!(
        "{} of {} relays are needed to open this vault, {} can be reached and have their share; these do not: {}",
        area.needed,
        area.shares.len(),
        reached.len(),
        names(area, |number| !reached.contains(&number)),
    );
    Err(needed(text))
}

/// The relays of an area whose number is one of these, by their hosts.
fn names(area: &Area, which: impl Fn(usize) -> bool) -> String {
    let numbered = area.shares.iter().enumerate();
    let those = numbered.filter(|(number, _)| which(*number));
    let names: Vec<String> = those.map(|(_, at)| hosts_text(&at.hosts)).collect();
    names.join(", ")
}

/// Which of these relays cannot be reached, or keep no shares: whoever keeps some says of one that nobody made that it has none.
pub(super) fn useless(
    carrier: &Arc<dyn Carrier>,
    relays: &[RelayAddress],
) -> Result<Vec<String>, Failure> {
    let mut rng = seed::generator()?;
    let mut whom = |address: &RelayAddress| {
        let nobodys = ShareId::new(rng::bytes(&mut rng));
        Whom::asked_for(address, nobodys)
    };
    let whom: Vec<Whom> = relays.iter().map(&mut whom).collect();
    // All are waited for: none of them will be open.
    let keep = Streams::open(carrier, whom, usize::MAX)?.gone();
    let numbered = relays.iter().enumerate();
    let useless = numbered.filter(|(number, _)| !keep.contains(number));
    Ok(useless.map(|(_, address)| name(address)).collect())
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
        let mut errand = match streams.take(number) {
            Ok(errand) => errand,
            Err(why) => {
                unlock.heard(number, Err(why));
                continue;
            }
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
        } => {
            let heard: Vec<usize> = unlock.heard_from().map(|(number, ..)| number).collect();
            needed(format!(
                "{count} of {} relays are needed to open this vault, {answered} answered; these did not, and may have counted it all the same, up to ten times: {}{left}",
                area.shares.len(),
                names(area, |number| !heard.contains(&number)),
            ))
        }
        TooFew::Gone => all_gone(area, &unlock.gone().collect::<Vec<_>>(), &left),
    }
}

/// Too few relays say that they have their share.
fn all_gone(area: &Area, gone: &[usize], left: &str) -> Failure {
    let text = format!(
        "too few relays still have their share of this vault: wrong PINs used them up, they were deleted or have run out, or a copy of this vault was opened; these have none: {}{left}",
        names(area, |number| gone.contains(&number)),
    );
    Failure::new(Exit::Vault, "vault_no_attempts", text).hint(
        "enter the recovery words: nothing else opens this vault, unless these relays have lost their data and get it back",
    )
}

fn needed(text: String) -> Failure {
    Failure::new(Exit::Vault, "vault_relays_needed", text).hint(
        "try again when they can be reached; where they are gone for good the recovery words open it, and `emptyroom pin change --mode passphrase` then does without them",
    )
}

/// Renews the leases of these shares; gives those whose relay did not.
// [SPEC 11.53]
pub(super) fn renew(
    carrier: &Arc<dyn Carrier>,
    (panic_secret, days): (&[u8; 32], u16),
    shares: &[At],
    is_hurried: &dyn Fn() -> bool,
) -> Result<Vec<At>, Failure> {
    let each = shares.iter().map(|at| (true, at.clone())).collect();
    let time_max = |_| match is_hurried() {
        true => RENEW_HURRIED_MAX,
        false => RENEW_TIME_MAX,
    };
    let renewed = at_each(each, time_max, |at, renewed| {
        let owner = owner(panic_secret, &at.relay, &at.id);
        let carrier = carrier.clone();
        async move {
            if renew_one(&carrier, &at, owner, days).await {
                let _ = renewed.send(at.id);
            }
        }
    })?;
    let not = shares.iter().filter(|at| !renewed.contains(&at.id));
    Ok(not.cloned().collect())
}

async fn renew_one(carrier: &Arc<dyn Carrier>, at: &At, owner: SignKey, days: u16) -> bool {
    let Ok(mut errand) = dial(carrier, &Whom::of(at)).await else {
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
/// each relay, however many it has: one of those that are `open`, or a new one.
pub(super) fn delete(
    carrier: &Arc<dyn Carrier>,
    (orders, named): (Vec<Delete>, &[IdentityHash]),
    mut open: Option<Open>,
    is_hurried: &dyn Fn() -> bool,
) -> Result<Vec<ShareId>, Failure> {
    let mut by_relay: Vec<Vec<Delete>> = Vec::new();
    for order in orders {
        let same = |of: &&mut Vec<Delete>| of.iter().any(|other| other.at.relay == order.at.relay);
        match by_relay.iter_mut().find(same) {
            Some(of) => of.push(order),
            None => by_relay.push(vec![order]),
        }
    }
    let each = by_relay.into_iter().map(|of| {
        let relay = of.first().map(|order| order.at.relay);
        let errand = relay.and_then(|relay| open.as_mut()?.take(&relay));
        let is_named = relay.is_some_and(|relay| named.contains(&relay));
        (is_named, (errand, of))
    });
    let time_max = |waits_for_named: bool| match (is_hurried(), waits_for_named) {
        (false, _) => DELETE_TIME_MAX,
        (true, true) => DELETE_HURRIED_MAX,
        (true, false) => DELETE_OTHERS_HURRIED_MAX,
    };
    at_each(each.collect(), time_max, |(errand, orders), gone| {
        let carrier = carrier.clone();
        async move { delete_at(&carrier, errand, orders, &gone).await }
    })
}

/// Uses shares up, which takes nothing but their ids: for whoever destroys a vault without its key. Gives those that answer nobody any
/// more.
// [SPEC 11.59]
pub(super) fn use_up(carrier: &Arc<dyn Carrier>, shares: &[At]) -> Result<Vec<ShareId>, Failure> {
    let each = shares.iter().map(|at| (true, at.clone())).collect();
    at_each(
        each,
        |_| USE_UP_TIME_MAX,
        |at, gone| {
            let carrier = carrier.clone();
            async move { use_up_at(&carrier, at, &gone).await }
        },
    )
}

/// Has something done for each of these at once, and waits for it: for so long as some of those that are marked are not done, and for so
/// long after that. Gives those of which it was told. Whoever does not answer is asked again after the next opening.
fn at_each<T: Send + 'static, F: Future<Output = ()> + Send + 'static>(
    each: Vec<(bool, T)>,
    time_max: impl Fn(bool) -> Duration,
    what: impl Fn(T, mpsc::UnboundedSender<ShareId>) -> F,
) -> Result<Vec<ShareId>, Failure> {
    if each.is_empty() {
        return Ok(Vec::new());
    }
    let (sender, mut told) = mpsc::unbounded_channel();
    let sockets = Sockets::new()?;
    sockets.handle.block_on(async {
        let mut marked = each.iter().filter(|(is_marked, _)| *is_marked).count();
        let mut tasks = JoinSet::new();
        for (is_marked, one) in each {
            let ends = what(one, sender.clone());
            tasks.spawn(async move {
                ends.await;
                is_marked
            });
        }
        let since = Instant::now();
        while since.elapsed() < time_max(marked > 0) {
            match timeout(LOOK, tasks.join_next()).await {
                Ok(None) => return,
                Ok(Some(Ok(true))) => marked = marked.saturating_sub(1),
                Ok(Some(_)) | Err(_) => {}
            }
        }
    });
    drop(sender);
    let mut ids = Vec::new();
    while let Ok(id) = told.try_recv() {
        ids.push(id);
    }
    Ok(ids)
}

/// Deletes what one relay has.
async fn delete_at(
    carrier: &Arc<dyn Carrier>,
    open: Option<Errand>,
    orders: Vec<Delete>,
    gone: &mpsc::UnboundedSender<ShareId>,
) {
    let mut orders = orders;
    if let Some(mut errand) = open {
        orders = delete_by(&mut errand, orders, gone, OPEN_TIME_MAX).await;
    }
    let Some(first) = orders.first() else { return };
    if let Ok(mut errand) = dial(carrier, &Whom::of(&first.at)).await {
        delete_by(&mut errand, orders, gone, DELETE_TIME_MAX).await;
    }
}

/// Gives back those of which nothing was heard, as the stream ended or an answer took longer than that.
async fn delete_by(
    errand: &mut Errand,
    orders: Vec<Delete>,
    gone: &mpsc::UnboundedSender<ShareId>,
    time_max: Duration,
) -> Vec<Delete> {
    let mut orders = orders.into_iter();
    while let Some(order) = orders.next() {
        let id = order.at.id.clone();
        let delete = DeleteShare {
            id: id.clone(),
            signature: order.signature,
        };
        match timeout(time_max, errand.ask(Request::ShareDelete(delete))).await {
            Ok(Ok(Answer::Done)) => drop(gone.send(id)),
            Ok(Ok(answer)) if is_gone(&answer) => drop(gone.send(id)),
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => return std::iter::once(order).chain(orders).collect(),
        }
    }
    Vec::new()
}

async fn use_up_at(carrier: &Arc<dyn Carrier>, at: At, gone: &mpsc::UnboundedSender<ShareId>) {
    let (Ok(mut errand), Ok(mut rng)) = (dial(carrier, &Whom::of(&at)).await, seed::generator())
    else {
        return;
    };
    let element = Question::new(&rng::bytes(&mut rng), &mut rng).element();
    loop {
        let id = at.id.clone();
        let evaluate = EvaluateShare { id, element };
        match errand.ask(Request::ShareEvaluate(evaluate)).await {
            Ok(Answer::Evaluated(Evaluated { uses_left: 1.., .. })) => {}
            Ok(Answer::Evaluated(_)) => break,
            Ok(answer) if is_gone(&answer) => break,
            Ok(_) | Err(_) => return,
        }
    }
    let _ = gone.send(at.id);
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

#[cfg(test)]
mod tests;
