//! The relays' shares: asking for them, putting new ones, deleting old ones. When, decide the machines of [`crate::shares`].

use std::sync::Arc;
use std::time::Duration;

use emptyroom_wire::address::{Host, RelayAddress};
use emptyroom_wire::derive::expand;
use emptyroom_wire::op::{
    AccessCode, Answer, DeleteShare, EvaluateShare, Evaluated, PutShare, RefusalCode, RenewShare,
    Request,
};
use emptyroom_wire::relay_key::IdentityHash;
use emptyroom_wire::share::{Share, ShareId, sign_delete, sign_renew};
use emptyroom_wire::sign::{SignKey, Signature};
use emptyroom_wire::time::Mono;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::change::{Access, with};
use super::noted::{Area, At, Delete, Noted};
use crate::api::{Exit, Failure};
use crate::carrier::Carrier;
use crate::clock;
use crate::engine::own::write_failure;
use crate::errand::{Errand, Whom};
use crate::seed;
use crate::shares::refresh::{self, Input, NewArea, Refresh, Step, Terms};
use crate::shares::unlock::{NoAnswer, TooFew, Unlock};

/// How long a share stays after it was put or renewed.
// [SPEC 11.54]
pub(super) const DAYS: u16 = 400;

/// How long a relay may take for a new share: who takes longer counts as not there.
// [SPEC 11.52]
const PUT_TIME_MAX: Duration = Duration::from_secs(6);
/// How long deletes may take.
const DELETE_TIME_MAX: Duration = Duration::from_secs(4);

const OWNER: &str = "emptyroom v1 vault share owner";

/// The key that may renew and delete shares at a relay.
// [SPEC 11.54]
pub(super) fn owner(panic_secret: &[u8; 32], relay: &IdentityHash) -> SignKey {
    SignKey::from_seed(&expand(panic_secret, OWNER, &relay.0))
}

pub(super) fn order(panic_secret: &[u8; 32], at: &At) -> Delete {
    let signature = sign_delete(&owner(panic_secret, &at.relay), &at.relay, at.id.name());
    Delete {
        at: at.clone(),
        signature,
    }
}

pub(super) fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::fault(format!("no runtime: {}", e.kind())))
}

/// Asks all relays of an area for what opens its slots.
pub(super) fn ask(
    carrier: &Arc<dyn Carrier>,
    area: &Area,
    input: &[u8; 32],
) -> Result<Unlock, Failure> {
    let mut rng = seed::generator()?;
    let asked = area.to_ask().ok_or_else(super::chip::gone)?;
    let mut unlock = Unlock::new(asked, input, clock::now().mono, &mut rng);
    runtime()?.block_on(async {
        let (sender, mut heard) = mpsc::channel(crate::shares::RELAYS_MAX);
        let mut tasks = JoinSet::new();
        let requests = unlock.requests().into_iter().zip(&area.shares);
        for (number, (request, at)) in requests.enumerate() {
            let (carrier, at, sender) = (carrier.clone(), at.clone(), sender.clone());
            tasks.spawn(async move {
                let answer = evaluate(&*carrier, &at, request).await;
                let _ = sender.send((number, answer)).await;
            });
        }
        while !unlock.is_over(clock::now().mono) {
            let wait = left(unlock.wake_at());
            if let Ok(Some((number, answer))) = timeout(wait, heard.recv()).await {
                unlock.heard(clock::now().mono, number, answer);
            }
        }
    });
    Ok(unlock)
}

async fn evaluate(
    carrier: &dyn Carrier,
    at: &At,
    request: EvaluateShare,
) -> Result<Evaluated, NoAnswer> {
    match once(carrier, at, Request::ShareEvaluate(request)).await {
        Some(Answer::Evaluated(evaluated)) => Ok(evaluated),
        Some(answer) if is_gone(&answer) => Err(NoAnswer::Gone),
        Some(_) | None => Err(NoAnswer::NotNow),
    }
}

fn is_gone(answer: &Answer) -> bool {
    use RefusalCode::{Destroyed, Unknown, UsedUp};
    matches!(answer, Answer::Refused(refusal) if [Destroyed, Unknown, UsedUp].contains(&refusal.code))
}

/// One request over a stream of its own.
async fn once(carrier: &dyn Carrier, at: &At, request: Request) -> Option<Answer> {
    let mut errand = dial(carrier, &at.hosts, at.relay).await?;
    errand.ask(request).await.ok()
}

async fn dial(carrier: &dyn Carrier, hosts: &[Host], relay: IdentityHash) -> Option<Errand> {
    let mut rng = seed::generator().ok()?;
    let whom = Whom::Known(relay);
    Errand::dial(carrier, hosts, &whom, &mut rng).await.ok()
}

/// Why nothing can be tried, in words.
// [SPEC 11.49]
pub(super) fn too_few(why: TooFew, relays: usize) -> Failure {
    match why {
        TooFew::Needed { needed, answered } => Failure::new(
            Exit::Vault,
            "vault_relays_needed",
            format!(
                "{needed} of {relays} relays are needed to open this vault, {answered} answered"
            ),
        )
        .hint("try again when you are connected, or enter the recovery words"),
        TooFew::Gone => Failure::new(
            Exit::Vault,
            "vault_no_attempts",
            "too few relays still have their share of this vault: wrong PINs used them up, or they were deleted or have run out",
        )
        .hint("enter the recovery words; nothing else opens this vault any more"),
    }
}

/// Puts new shares at these relays, in the order that [`Refresh`] says; gives what the next header needs, and where each share is.
pub(super) fn put(
    access: &dyn Access,
    carrier: &Arc<dyn Carrier>,
    relays: &[RelayAddress],
    (panic_secret, inputs): (&[u8; 32], Vec<Input>),
) -> Result<(NewArea, Vec<At>), Failure> {
    let mut rng = seed::generator()?;
    let owners = relays.iter().map(|at| owner(panic_secret, &at.identity));
    let terms = Terms {
        owners: owners.map(|key| key.verify_key()).collect(),
        days: DAYS,
        policy: None,
    };
    let refresh = Refresh::new(clock::now().mono, &terms, inputs, &mut rng);
    let mut refresh = refresh.ok_or_else(needs_relays)?;
    let runtime = runtime()?;
    let (sender, mut heard) = mpsc::channel(crate::shares::RELAYS_MAX);
    let mut tasks = JoinSet::new();
    loop {
        match refresh.poll() {
            Some(Step::Note(noted)) => {
                note(
                    access,
                    noted.iter().filter_map(|noted| at(relays, noted)).collect(),
                )?;
                refresh.noted();
            }
            Some(Step::Put(noted, share)) => {
                let Some(address) = relays.get(noted.relay).cloned() else {
                    continue;
                };
                let (carrier, sender) = (carrier.clone(), sender.clone());
                let put = async move {
                    let put = put_one(&*carrier, &address, noted.id, share);
                    let taken = timeout(PUT_TIME_MAX, put).await.unwrap_or(false);
                    let _ = sender.send((noted.relay, taken)).await;
                };
                tasks.spawn_on(put, runtime.handle());
            }
            Some(Step::Write(area)) => {
                let shares = area.shares.iter().filter_map(|noted| at(relays, noted));
                let shares = shares.collect();
                return Ok((area, shares));
            }
            Some(Step::Postponed) => return Err(too_few_take()),
            Some(Step::Renewed) => return Err(Failure::fault("a refresh that is over goes on")),
            None => {
                let wait = left(refresh.wake_at());
                match runtime.block_on(async { timeout(wait, heard.recv()).await }) {
                    Ok(Some((relay, taken))) => {
                        refresh.put(clock::now().mono, relay, taken, &mut rng);
                    }
                    Ok(None) | Err(_) => refresh.look(clock::now().mono, &mut rng),
                }
            }
        }
    }
}

/// Notes shares before they are put.
fn note(access: &dyn Access, shares: Vec<At>) -> Result<(), Failure> {
    with(access, move |vault| {
        let mut noted = Noted::read(vault)?;
        noted.shares.extend(shares);
        noted.write(vault).map_err(write_failure)
    })
}

fn at(relays: &[RelayAddress], noted: &refresh::Noted) -> Option<At> {
    let address = relays.get(noted.relay)?;
    Some(At {
        hosts: address.hosts().cloned().collect(),
        relay: address.identity,
        id: noted.id.clone(),
    })
}

async fn put_one(carrier: &dyn Carrier, address: &RelayAddress, id: ShareId, share: Share) -> bool {
    let code: Option<AccessCode> = address.code.clone();
    let hosts: Vec<Host> = address.hosts().cloned().collect();
    let Some(mut errand) = dial(carrier, &hosts, address.identity).await else {
        return false;
    };
    let put = Request::SharePut(PutShare { id, share, code });
    matches!(errand.ask(put).await, Ok(Answer::Done))
}

/// Renews the leases of these shares, as far as their relays can be reached.
// [SPEC 11.53]
pub(super) fn renew(
    carrier: &Arc<dyn Carrier>,
    panic_secret: &[u8; 32],
    shares: &[At],
) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let mut tasks = JoinSet::new();
        for at in shares.iter().cloned() {
            let (carrier, owner) = (carrier.clone(), owner(panic_secret, &at.relay));
            tasks.spawn(async move {
                let mut errand = dial(&*carrier, &at.hosts, at.relay).await?;
                let named = (at.id.name(), DAYS);
                let proof = sign_renew(&owner, &at.relay, &errand.binding(), named);
                let renew = RenewShare {
                    id: at.id,
                    days: DAYS,
                    proof,
                };
                errand.ask(Request::ShareRenew(renew)).await.ok()
            });
        }
        while tasks.join_next().await.is_some() {}
        Ok(())
    })
}

/// Deletes shares, as far as their relays can be reached; gives those of which it is known that they are gone.
pub(super) fn delete(
    carrier: &Arc<dyn Carrier>,
    orders: Vec<Delete>,
) -> Result<Vec<ShareId>, Failure> {
    if orders.is_empty() {
        return Ok(Vec::new());
    }
    runtime()?.block_on(async {
        let mut tasks = JoinSet::new();
        for order in orders {
            let carrier = carrier.clone();
            tasks.spawn(async move {
                let id = order.at.id.clone();
                let gone = delete_one(&*carrier, order.at, order.signature).await;
                gone.then_some(id)
            });
        }
        let mut gone = Vec::new();
        let all = async {
            while let Some(ended) = tasks.join_next().await {
                gone.extend(ended.ok().flatten());
            }
        };
        // Whoever does not answer is asked again after the next opening.
        let _ = timeout(DELETE_TIME_MAX, all).await;
        Ok(gone)
    })
}

async fn delete_one(carrier: &dyn Carrier, at: At, signature: Signature) -> bool {
    let delete = DeleteShare {
        id: at.id.clone(),
        signature,
    };
    match once(carrier, &at, Request::ShareDelete(delete)).await {
        Some(Answer::Done) => true,
        Some(answer) => is_gone(&answer),
        None => false,
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

fn too_few_take() -> Failure {
    Failure::new(
        Exit::Vault,
        "vault_relays_needed",
        "too few of the relays took their share",
    )
    .hint(
        "see that they can be reached, keep shares, and that the addresses have their access codes",
    )
}

fn left(until: Mono) -> Duration {
    Duration::from_millis(until.0.saturating_sub(clock::now().mono.0).max(1))
}
