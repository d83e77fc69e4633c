//! Putting new shares, in the order that [`Refresh`] says.

use std::sync::Arc;
use std::time::Duration;

use emptyroom_wire::address::RelayAddress;
use emptyroom_wire::op::{AccessCode, Answer, EvaluateShare, PutShare, Request};
use emptyroom_wire::relay_key::IdentityHash;
use emptyroom_wire::rng;
use emptyroom_wire::share::{Element, Share, ShareId};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::change::{Access, with};
use super::super::noted::{At, NOTED_SHARES_MAX, Noted, NotedShare, area_of};
use super::streams::{LOOK, Streams, Whom};
use super::{left, needs_relays, owner};
use crate::api::{Exit, Failure};
use crate::carrier::Carrier;
use crate::clock;
use crate::engine::own::write_failure;
use crate::errand::Errand;
use crate::seed;
use crate::shares::oprf::Question;
use crate::shares::refresh::{self, Input, NewArea, Refresh, Relays, Step, Terms};
use crate::shares::{RELAYS_MAX, USES, needed, unlock};

/// How long a relay may take for a new share, and to answer with it once: as long as for an opening, else one that is slow would only ever
/// count, and never count anew.
// [SPEC 11.52]
const PUT_TIME_MAX: Duration = Duration::from_millis(unlock::ENOUGH_MS);

/// What new shares are made of.
pub(in crate::factors) struct New<'a> {
    /// The relays that were chosen.
    pub(in crate::factors) relays: &'a [RelayAddress],
    /// The shares that the header names.
    pub(in crate::factors) known: &'a [At],
    /// All that may be there, by which is known where the relays' chains of keys were.
    pub(in crate::factors) seen: &'a [At],
    /// Whether none of these relays is to be left out.
    pub(in crate::factors) keep: bool,
    /// From which the owner keys come.
    pub(in crate::factors) panic_secret: &'a [u8; 32],
    /// How long they stay.
    pub(in crate::factors) days: u16,
    /// The slots that they are to open.
    pub(in crate::factors) inputs: Vec<Input>,
}

/// Puts new shares; gives what the next header needs, and where each share is.
pub(in crate::factors) fn put(
    access: &dyn Access,
    carrier: &Arc<dyn Carrier>,
    new: New<'_>,
) -> Result<(NewArea, Vec<At>), Failure> {
    let all = new.relays.len();
    if !(1..=RELAYS_MAX).contains(&all) {
        return Err(needs_relays());
    }
    let is_hurried = || access.is_hurried();
    let whom = new.relays.iter();
    let whom = whom.map(|address| Whom::chosen(address, new.seen));
    // [SPEC 11.52] Before anything is noted: who cannot be reached gets no share that would have to be deleted one day.
    let mut streams = Streams::open(carrier, whom.collect(), needed(all))?;
    let open = streams.numbers();
    // [SPEC 11.52]
    let kept = kept(&new);
    if !kept.iter().all(|number| open.contains(number)) {
        return Err(too_few_take(new.relays, &open));
    }
    let terms = Terms {
        owner: &|relay, id| {
            let address = new.relays.get(relay);
            let identity = address.map_or(IdentityHash([0; 32]), |address| address.identity);
            owner(new.panic_secret, &identity, id).verify_key()
        },
        days: new.days,
        policy: None,
    };
    let relays = Relays {
        chosen: all,
        open: &open,
    };
    let mut rng = seed::generator()?;
    let refresh = Refresh::new(clock::now().mono, &terms, &relays, new.inputs, &mut rng);
    let mut refresh = refresh.ok_or_else(|| too_few_take(new.relays, &open))?;
    let at = |noted: &refresh::Noted, streams: &Streams| {
        let address = new.relays.get(noted.relay)?;
        Some(At {
            hosts: address.hosts().cloned().collect(),
            relay: address.identity,
            id: noted.id.clone(),
            head: streams.head(noted.relay),
        })
    };
    let (sender, mut heard) = mpsc::channel(RELAYS_MAX);
    let mut tasks = JoinSet::new();
    let mut noted_at: Vec<(usize, At)> = Vec::new();
    let mut taken: Vec<usize> = Vec::new();
    loop {
        match refresh.poll() {
            Some(Step::Note(noted)) => {
                let numbered = noted.iter();
                noted_at = numbered
                    .filter_map(|noted| Some((noted.relay, at(noted, &streams)?)))
                    .collect();
                let shares = noted.iter().zip(&noted_at);
                let shares = shares.map(|(noted, (_, at))| (at.clone(), noted.answers));
                note(access, shares.collect())?;
                refresh.noted();
            }
            Some(Step::Put(noted, share)) => {
                let code = new
                    .relays
                    .get(noted.relay)
                    .and_then(|address| address.code.clone());
                let errand = streams.take(noted.relay).ok();
                let sender = sender.clone();
                let mut rng = seed::generator()?;
                let put = async move {
                    let put = put_one(errand, noted.id, (share, code), &mut rng);
                    let is_taken = timeout(PUT_TIME_MAX, put).await.unwrap_or(false);
                    let _ = sender.send((noted.relay, is_taken)).await;
                };
                tasks.spawn_on(put, &streams.sockets.handle);
            }
            Some(Step::Write(_)) if !kept.iter().all(|number| taken.contains(number)) => {
                return Err(too_few_take(new.relays, &taken));
            }
            Some(Step::Write(area)) => {
                let shares = area.shares.iter().filter_map(|noted| {
                    let found = noted_at.iter().find(|(_, at)| at.id == noted.id);
                    found.map(|(_, at)| at.clone())
                });
                let shares = shares.collect();
                return Ok((area, shares));
            }
            Some(Step::Postponed) => return Err(too_few_take(new.relays, &taken)),
            Some(Step::Renewed) => return Err(Failure::fault("a refresh that is over goes on")),
            None => {
                if is_hurried() {
                    refresh.hurry(clock::now().mono);
                }
                let wait = left(refresh.wake_at()).min(LOOK);
                let handle = &streams.sockets.handle;
                let next = handle.block_on(async { timeout(wait, heard.recv()).await });
                if let Ok(Some((relay, is_taken))) = next {
                    taken.extend(is_taken.then_some(relay));
                    refresh.put(clock::now().mono, relay, is_taken, &mut rng);
                } else {
                    refresh.look(clock::now().mono, &mut rng);
                }
            }
        }
    }
}

/// The relays that were chosen and are not to be left out, by their numbers.
fn kept(new: &New<'_>) -> Vec<usize> {
    let chosen = new.relays.iter().enumerate();
    let kept = chosen.filter(|(_, address)| {
        let mut known = new.known.iter();
        new.keep && known.any(|at| at.relay == address.identity)
    });
    kept.map(|(number, _)| number).collect()
}

/// Notes shares before they are put.
fn note(access: &dyn Access, shares: Vec<(At, [u8; 16])>) -> Result<(), Failure> {
    with(access, move |vault| {
        let mut noted = Noted::read(vault)?;
        let noted_ms = clock::now().wall.0;
        let shares = shares.into_iter();
        noted.shares.extend(shares.map(|(at, answers)| NotedShare {
            at,
            noted_ms,
            answers,
            left: USES,
            needed: 0,
        }));
        // The oldest are forgotten first; they end with their lease.
        let more = noted.shares.len().saturating_sub(NOTED_SHARES_MAX);
        let used = area_of(vault);
        let mut forgotten = 0;
        noted.shares.retain(|share| {
            let goes = forgotten < more && !used.names(&share.at.id);
            forgotten += usize::from(goes);
            !goes
        });
        noted.write(vault).map_err(write_failure)
    })
}

/// Whether a relay has its share: it says so, and answers with it as only that share does, for which it was given a use more.
// [SPEC 11.52]
async fn put_one(
    errand: Option<Errand>,
    id: ShareId,
    (share, code): (Share, Option<AccessCode>),
    rng: &mut (dyn emptyroom_wire::rng::CryptoRng + Send),
) -> bool {
    let Some(mut errand) = errand else {
        return false;
    };
    let element: Element = Question::new(&rng::bytes(rng), rng).element();
    let expected = share.key.evaluate(&element);
    let put = PutShare {
        id: id.clone(),
        share,
        code,
    };
    if !matches!(errand.ask(Request::SharePut(put)).await, Ok(Answer::Done)) {
        return false;
    }
    let evaluate = EvaluateShare { id, element };
    match errand.ask(Request::ShareEvaluate(evaluate)).await {
        Ok(Answer::Evaluated(answer)) => answer.element == expected && answer.uses_left == USES,
        Ok(_) | Err(_) => false,
    }
}

/// Too few relays can be reached, or took a share; which did not is said by name.
// [SPEC 11.53]
fn too_few_take(relays: &[RelayAddress], took: &[usize]) -> Failure {
    let not = relays.iter().enumerate();
    let not = not.filter(|(number, _)| !took.contains(number));
    let not: Vec<String> = not.map(|(_, address)| name(address)).collect();
    Failure::new(
        Exit::Vault,
        "vault_relays_needed",
        format!("these relays did not take a new share: {}", not.join(", ")),
    )
    .hint(
        "see that they can be reached, keep shares, and that their addresses have their access codes; or name others; `emptyroom pin change --mode passphrase` does without them",
    )
}

pub(in crate::factors) fn name(address: &RelayAddress) -> String {
    let hosts: Vec<_> = address.hosts().cloned().collect();
    super::hosts_text(&hosts)
}
