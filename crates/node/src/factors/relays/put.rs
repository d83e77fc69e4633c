//! Putting new shares, in the order that [`Refresh`] says.

use std::sync::Arc;
use std::time::Duration;

use emptyroom_wire::address::RelayAddress;
use emptyroom_wire::op::{AccessCode, Answer, EvaluateShare, PutShare, Request};
use emptyroom_wire::relay_key::IdentityHash;
use emptyroom_wire::rng;
use emptyroom_wire::share::{Element, Share, ShareId};
use rand_chacha::ChaCha20Rng;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::change::{Access, with};
use super::super::noted::{At, NOTED_SHARES_MAX, Noted, NotedShare, area_of};
use super::streams::{LOOK, Open, Streams, Whom};
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

/// What was put.
pub(in crate::factors) struct Put {
    /// What the next header needs.
    pub(in crate::factors) area: NewArea,
    /// Where each share is.
    pub(in crate::factors) shares: Vec<At>,
    /// The streams on which that was said.
    pub(in crate::factors) open: Open,
}

/// Puts new shares.
pub(in crate::factors) fn put(
    access: &dyn Access,
    carrier: &Arc<dyn Carrier>,
    new: New<'_>,
) -> Result<Put, Failure> {
    let all = new.relays.len();
    if !(1..=RELAYS_MAX).contains(&all) {
        return Err(needs_relays());
    }
    let whom = new.relays.iter();
    let whom = whom.map(|address| Whom::chosen(address, new.seen));
    // [SPEC 11.52] Before anything is noted: who cannot be reached gets no share that would have to be deleted one day.
    let streams = Streams::open(carrier, whom.collect(), needed(all))?;
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
    let refresh = refresh.ok_or_else(|| too_few_take(new.relays, &open))?;
    let (sender, heard) = mpsc::channel(RELAYS_MAX);
    let putting = Putting {
        access,
        relays: new.relays,
        kept,
        streams,
        refresh,
        rng,
        sender,
        heard,
        tasks: JoinSet::new(),
        noted: Vec::new(),
        taken: Vec::new(),
    };
    putting.run()
}

/// The putting, while it is under way.
struct Putting<'a> {
    access: &'a dyn Access,
    relays: &'a [RelayAddress],
    /// The numbers of those that are not to be left out.
    kept: Vec<usize>,
    streams: Streams,
    refresh: Refresh,
    rng: ChaCha20Rng,
    sender: mpsc::Sender<Heard>,
    heard: mpsc::Receiver<Heard>,
    tasks: JoinSet<()>,
    /// Where each share is to be, by the number of its relay.
    noted: Vec<(usize, At)>,
    /// The numbers of those that took their share, with their streams.
    taken: Vec<(usize, Errand)>,
}

/// What came of one relay: its number, and its stream where it has its share.
type Heard = (usize, Option<Errand>);

impl Putting<'_> {
    fn run(mut self) -> Result<Put, Failure> {
        loop {
            match self.refresh.poll() {
                Some(Step::Note(noted)) => self.note(&noted)?,
                Some(Step::Put(noted, share)) => self.put(noted, share)?,
                Some(Step::Write(area)) => return self.end(area),
                Some(Step::Postponed) => return Err(self.too_few()),
                Some(Step::Renewed) => {
                    return Err(Failure::fault("a refresh that is over goes on"));
                }
                None => self.wait(),
            }
        }
    }

    fn note(&mut self, noted: &[refresh::Noted]) -> Result<(), Failure> {
        let at = |noted: &refresh::Noted| {
            let address = self.relays.get(noted.relay)?;
            Some(At {
                hosts: address.hosts().cloned().collect(),
                relay: address.identity,
                id: noted.id.clone(),
                head: self.streams.head(noted.relay),
            })
        };
        let numbered = noted.iter();
        self.noted = numbered
            .filter_map(|noted| Some((noted.relay, at(noted)?)))
            .collect();
        let shares = noted.iter().zip(&self.noted);
        let shares = shares.map(|(noted, (_, at))| (at.clone(), noted.answers));
        note(self.access, shares.collect())?;
        self.refresh.noted();
        Ok(())
    }

    fn put(&mut self, noted: refresh::Noted, share: Share) -> Result<(), Failure> {
        let address = self.relays.get(noted.relay);
        let code = address.and_then(|address| address.code.clone());
        let errand = self.streams.take(noted.relay).ok();
        let sender = self.sender.clone();
        let mut rng = seed::generator()?;
        let put = async move {
            let mut errand = errand;
            if let Some(stream) = &mut errand {
                let put = put_one(stream, noted.id, (share, code), &mut rng);
                if !timeout(PUT_TIME_MAX, put).await.unwrap_or(false) {
                    errand = None;
                }
            }
            let _ = sender.send((noted.relay, errand)).await;
        };
        self.tasks.spawn_on(put, &self.streams.sockets.handle);
        Ok(())
    }

    fn wait(&mut self) {
        if self.access.is_hurried() {
            self.refresh.hurry(clock::now().mono);
        }
        let wait = left(self.refresh.wake_at()).min(LOOK);
        let handle = &self.streams.sockets.handle;
        let next = handle.block_on(async { timeout(wait, self.heard.recv()).await });
        let now = clock::now().mono;
        if let Ok(Some((relay, errand))) = next {
            self.refresh
                .put(now, relay, errand.is_some(), &mut self.rng);
            self.taken.extend(errand.map(|errand| (relay, errand)));
        } else {
            self.refresh.look(now, &mut self.rng);
        }
    }

    fn end(self, area: NewArea) -> Result<Put, Failure> {
        let taken = |number: &usize| self.taken.iter().any(|(relay, _)| relay == number);
        if !self.kept.iter().all(taken) {
            return Err(self.too_few());
        }
        let shares = area.shares.iter().filter_map(|noted| {
            let found = self.noted.iter().find(|(_, at)| at.id == noted.id);
            found.map(|(_, at)| at.clone())
        });
        let shares = shares.collect();
        let identity = |number: usize| self.relays.get(number).map(|address| address.identity);
        let errands = self.taken.into_iter();
        let errands = errands.filter_map(|(number, errand)| Some((identity(number)?, errand)));
        Ok(Put {
            area,
            shares,
            open: Open {
                errands: errands.collect(),
                _sockets: self.streams.sockets,
            },
        })
    }

    fn too_few(&self) -> Failure {
        let taken: Vec<usize> = self.taken.iter().map(|(number, _)| *number).collect();
        too_few_take(self.relays, &taken)
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
    errand: &mut Errand,
    id: ShareId,
    (share, code): (Share, Option<AccessCode>),
    rng: &mut (dyn emptyroom_wire::rng::CryptoRng + Send),
) -> bool {
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
