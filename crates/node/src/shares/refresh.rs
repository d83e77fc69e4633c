//! Making all shares anew after an opening, so that copies of the device's files from before open nothing even with the right
//! secret: a machine that is told what was done and what time it is.
//!
//! The order is what counts: new ids are noted, new shares put, then the header that needs them is written, and only then are the old ones
//! deleted. So whenever it is cut off there is a header whose shares are there, and whatever else lies at relays was noted,
//! and is in no header.

use std::collections::VecDeque;

use emptyroom_wire::rng::{self, CryptoRng};
use emptyroom_wire::share::{Share, ShareId};
use emptyroom_wire::sign::VerifyKey;
use emptyroom_wire::time::Mono;
use emptyroom_wire::wipe::WipePolicy;
use zeroize::Zeroizing;

use super::oprf::{Output, evaluate, new_key};
use super::split::{Shared, blank, share};
use super::{RELAYS_MAX, SLOTS, USES, needed, unlock};

/// How long the rest may take when enough have taken their shares.
pub const REST_MS: u64 = 10_000;
/// The same when somebody waits for the end: long enough for a relay that is far away.
pub const REST_HURRIED_MS: u64 = 3_000;
/// How long enough of them may take: not less than for an opening, else a relay that is slow would only ever count.
// [SPEC 11.52]
pub const ENOUGH_MS: u64 = unlock::ENOUGH_MS + 5_000;

/// A share somewhere: what is noted of it, so that it can be deleted.
#[derive(Clone, PartialEq, Eq)]
pub struct Noted {
    /// The relay's number in the caller's list.
    pub relay: usize,
    /// The share's id there.
    pub id: ShareId,
    /// How its answer for the first slot's secret begins.
    pub answers: [u8; 16],
}

/// The relays that were chosen, and those of them that can be reached now, by their numbers.
pub struct Relays<'a> {
    /// How many were chosen: by them it is counted how many must answer.
    pub chosen: usize,
    /// Those that can be reached.
    pub open: &'a [usize],
}

/// What the new shares are like.
pub struct Terms<'a> {
    /// The owner key of a share at one of the relays.
    pub owner: &'a dyn Fn(usize, &ShareId) -> VerifyKey,
    /// How long they stay.
    pub days: u16,
    /// Whose order deletes them.
    pub policy: Option<WipePolicy>,
}

/// A slot that relays are to open, and what its secret gives for them.
pub struct Input {
    /// The slot.
    pub slot: u8,
    /// What is asked of relays.
    pub bytes: Zeroizing<[u8; 32]>,
}

/// What the next header needs.
pub struct NewArea {
    /// How many relays must answer.
    pub needed: usize,
    /// The relays that took their share, and under which id; they are counted in this order.
    pub shares: Vec<Noted>,
    /// Slot by slot, one value for each of them.
    pub masked: [Vec<[u8; 32]>; SLOTS],
    /// The secrets of the slots that were handed in.
    pub secrets: Vec<(u8, Zeroizing<[u8; 32]>)>,
}

/// What is to be done, in order.
pub enum Step {
    /// Note these durably, then say so.
    Note(Vec<Noted>),
    /// Put this share, and say whether its relay has it.
    Put(Noted, Share),
    /// Write a header with this, durably in all copies, then say so.
    Write(NewArea),
    /// It is over: what is noted and not in the header is to be deleted.
    Renewed,
    /// Too few relays took a share. The header stays: its shares' leases are to be renewed, and the new ones deleted.
    Postponed,
}

/// The making anew.
pub struct Refresh {
    since: Mono,
    enough_since: Option<Mono>,
    needed: usize,
    is_hurried: bool,
    places: Vec<Place>,
    slots: Vec<Input>,
    state: State,
    steps: VecDeque<Step>,
}

struct Place {
    noted: Noted,
    /// Until it was put.
    share: Option<Share>,
    /// What the relay will answer for each slot.
    outputs: Vec<Output>,
    taken: Taken,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    Unknown,
    Yes,
    No,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Noting,
    Putting,
    Writing,
    Over,
}

impl Refresh {
    /// Begins for these relays and slots; none if too few of them can be reached, or there are more than can be.
    #[must_use]
    pub fn new(
        now: Mono,
        terms: &Terms<'_>,
        relays: &Relays<'_>,
        slots: Vec<Input>,
        rng: &mut dyn CryptoRng,
    ) -> Option<Refresh> {
        // [SPEC 11.51] Of those that were chosen, however many are there now: whoever keeps some away must not
        // make fewer do.
        let needed = needed(relays.chosen);
        if !(needed..=RELAYS_MAX).contains(&relays.open.len()) {
            return None;
        }
        let open = relays.open.iter();
        let places: Vec<Place> = open
            .map(|relay| place(*relay, terms, &slots, rng))
            .collect();
        let noted = places.iter().map(|place| place.noted.clone()).collect();
        Some(Refresh {
            since: now,
            enough_since: None,
            needed,
            is_hurried: false,
            places,
            slots,
            state: State::Noting,
            steps: VecDeque::from([Step::Note(noted)]),
        })
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// The ids are noted: shares may be put.
    pub fn noted(&mut self) {
        if self.state == State::Noting {
            self.state = State::Putting;
            for place in &mut self.places {
                if let Some(share) = place.share.take() {
                    self.steps.push_back(Step::Put(place.noted.clone(), share));
                }
            }
        }
    }

    /// A relay said that it has its share, or it is known that it will not say so.
    pub fn put(&mut self, now: Mono, relay: usize, taken: bool, rng: &mut dyn CryptoRng) {
        let mut places = self.places.iter_mut();
        if let Some(place) = places.find(|place| place.noted.relay == relay)
            && place.taken == Taken::Unknown
        {
            place.taken = if taken { Taken::Yes } else { Taken::No };
        }
        if self.has_enough() {
            self.enough_since.get_or_insert(now);
        }
        self.look(now, rng);
    }

    /// Somebody waits for the end: as many as must answer are enough, and the rest is waited for a moment only.
    pub fn hurry(&mut self, now: Mono) {
        self.is_hurried = true;
        if self.has_enough() {
            self.enough_since.get_or_insert(now);
        }
    }

    /// Time went by (at the latest at [`Refresh::wake_at`]).
    pub fn look(&mut self, now: Mono, rng: &mut dyn CryptoRng) {
        if self.state != State::Putting {
            return;
        }
        let waits = |place: &Place| place.taken == Taken::Unknown;
        if now < self.wake_at() && self.places.iter().any(waits) {
            return;
        }
        // At the end as many as must answer will do: a relay that is gone for good must not keep the others from counting anew.
        if self.taken() >= self.needed {
            self.state = State::Writing;
            let area = self.area(rng);
            self.steps.push_back(Step::Write(area));
        } else {
            self.state = State::Over;
            self.steps.push_back(Step::Postponed);
        }
    }

    /// The header is durable in all copies.
    pub fn written(&mut self) {
        if self.state == State::Writing {
            self.state = State::Over;
            self.steps.push_back(Step::Renewed);
        }
    }

    /// When it is to be looked at again, if nothing comes before.
    #[must_use]
    pub fn wake_at(&self) -> Mono {
        let end = self.since.plus_ms(ENOUGH_MS);
        let rest = if self.is_hurried {
            REST_HURRIED_MS
        } else {
            REST_MS
        };
        self.enough_since
            .map_or(end, |at| at.plus_ms(rest).min(end))
    }

    /// One more than must answer, so that the next opening does not hang on each of them; all, where there are not more.
    fn has_enough(&self) -> bool {
        let one_more = usize::from(!self.is_hurried);
        self.taken() >= self.places.len().min(self.needed + one_more)
    }

    fn taken(&self) -> usize {
        let taken = self.places.iter().filter(|place| place.taken == Taken::Yes);
        taken.count()
    }

    fn area(&mut self, rng: &mut dyn CryptoRng) -> NewArea {
        let mut places = std::mem::take(&mut self.places);
        places.retain(|place| place.taken == Taken::Yes);
        let needed = self.needed;
        let mut masked: [Vec<[u8; 32]>; SLOTS] = core::array::from_fn(|_| blank(places.len(), rng));
        let mut secrets = Vec::new();
        // The outputs of each slot, from the last one on.
        while let Some(input) = self.slots.pop() {
            let outputs: Vec<Output> = places
                .iter_mut()
                .filter_map(|place| place.outputs.pop())
                .collect();
            let shared: Shared = share(input.slot, needed, &outputs, rng);
            if let Some(slot) = masked.get_mut(usize::from(input.slot)) {
                *slot = shared.masked;
                secrets.push((input.slot, shared.secret));
            }
        }
        NewArea {
            needed,
            shares: places.into_iter().map(|place| place.noted).collect(),
            masked,
            secrets,
        }
    }
}

fn place(relay: usize, terms: &Terms<'_>, slots: &[Input], rng: &mut dyn CryptoRng) -> Place {
    let key = new_key(rng);
    let outputs = slots.iter().map(|input| evaluate(&key, &input.bytes));
    let outputs: Vec<Output> = outputs.collect();
    let id = ShareId::new(rng::bytes(rng));
    Place {
        share: Some(Share {
            owner: (terms.owner)(relay, &id),
            key,
            // One for the look at whether it answers rightly.
            uses: USES + 1,
            days: terms.days,
            policy: terms.policy.clone(),
        }),
        noted: Noted {
            relay,
            id,
            answers: outputs.first().map_or([0; 16], Output::begin),
        },
        outputs,
        taken: Taken::Unknown,
    }
}
