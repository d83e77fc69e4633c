//! Asking relays for what opens a slot, and when to try: a machine that is told what came and what time it is.
//!
//! Those that can be reached are asked at once, each once, and all of them are waited for: one that is slow may be the one that answers
//! rightly. Which of them did only the slots tell, so each choice of enough answers is tried.

use emptyroom_wire::op::{EvaluateShare, Evaluated};
use emptyroom_wire::rng::CryptoRng;
use emptyroom_wire::share::ShareId;
use emptyroom_wire::time::Mono;
use zeroize::Zeroizing;

use super::oprf::{Output, Question};
use super::split::combine;
use super::{RELAYS_MAX, SLOTS};

/// How long answers may take.
pub const ENOUGH_MS: u64 = 15_000;

/// Where a secret is shared: what stands in clear beside the slots.
pub struct Area {
    needed: usize,
    /// One for each relay.
    ids: Vec<ShareId>,
    /// Slot by slot, one for each relay.
    masked: [Vec<[u8; 32]>; SLOTS],
}

/// The secrets of all slots, as one choice of relays gives them.
pub type Candidate = [Zeroizing<[u8; 32]>; SLOTS];

/// Why nothing can be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooFew {
    /// So many answered, of so many that must: it may be worth trying later.
    Needed {
        /// How many must answer.
        needed: usize,
        /// How many did.
        answered: usize,
    },
    /// Enough of them will never answer again: their shares are used up or gone.
    Gone,
}

/// What a relay did with its question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// It could not be reached, or did not do it now.
    NotNow,
    /// The share is used up, deleted or has run out.
    Gone,
}

/// The asking, from when all questions were sent.
pub struct Unlock {
    area: Area,
    since: Mono,
    asked: Vec<Asked>,
}

struct Asked {
    question: Question,
    state: State,
}

enum State {
    Waiting,
    Answered { output: Output, uses_left: u8 },
    Not(NoAnswer),
}

impl Area {
    /// From its parts, if they fit each other.
    #[must_use]
    pub fn new(needed: usize, ids: Vec<ShareId>, masked: [Vec<[u8; 32]>; SLOTS]) -> Option<Area> {
        let fits = (1..=ids.len()).contains(&needed)
            && ids.len() <= RELAYS_MAX
            && masked.iter().all(|slot| slot.len() == ids.len());
        fits.then_some(Area {
            needed,
            ids,
            masked,
        })
    }
}

impl Unlock {
    /// Begins with what the typed secret gives for relays (not the secret itself).
    #[must_use]
    pub fn new(area: Area, input: &[u8; 32], now: Mono, rng: &mut dyn CryptoRng) -> Unlock {
        let asked = area.ids.iter().map(|_| Asked {
            question: Question::new(input, rng),
            state: State::Waiting,
        });
        Unlock {
            asked: asked.collect(),
            area,
            since: now,
        }
    }

    /// What each relay is to be asked, in the order of the area. What is asked does not depend on the secret.
    #[must_use]
    pub fn requests(&self) -> Vec<EvaluateShare> {
        let requests = self.area.ids.iter().zip(&self.asked);
        requests
            .map(|(id, asked)| EvaluateShare {
                id: id.clone(),
                element: asked.question.element(),
            })
            .collect()
    }

    /// A relay answered, or will not. What comes twice, or from nobody, is nothing.
    pub fn heard(&mut self, relay: usize, answer: Result<Evaluated, NoAnswer>) {
        let Some(asked) = self.asked.get_mut(relay) else {
            return;
        };
        if !matches!(asked.state, State::Waiting) {
            return;
        }
        asked.state = match answer {
            Ok(evaluated) => State::Answered {
                output: asked.question.finish(&evaluated.element),
                uses_left: evaluated.uses_left,
            },
            Err(why) => State::Not(why),
        };
    }

    /// When it is to be looked at again, if nothing comes before.
    #[must_use]
    pub fn wake_at(&self) -> Mono {
        self.since.plus_ms(ENOUGH_MS)
    }

    /// Whether it is over: everybody was heard, or the time is up.
    #[must_use]
    pub fn is_over(&self, now: Mono) -> bool {
        let waits = |asked: &Asked| matches!(asked.state, State::Waiting);
        now >= self.wake_at() || !self.asked.iter().any(waits)
    }

    /// What each relay answered begins so, and so many more answers it gives; by its number.
    pub fn heard_from(&self) -> impl Iterator<Item = (usize, [u8; 16], u8)> {
        let asked = self.asked.iter().enumerate();
        asked.filter_map(|(relay, asked)| match &asked.state {
            State::Answered { output, uses_left } => Some((relay, output.begin(), *uses_left)),
            State::Waiting | State::Not(_) => None,
        })
    }

    /// How often this device can still ask all of them at once and have enough answers; none if too few answered now.
    #[must_use]
    pub fn attempts_left(&self) -> Option<u32> {
        let mut left: Vec<u8> = Vec::new();
        for asked in &self.asked {
            if let State::Answered { uses_left, .. } = asked.state {
                left.push(uses_left);
            }
        }
        left.sort_unstable_by(|a, b| b.cmp(a));
        left.get(self.area.needed.saturating_sub(1))
            .copied()
            .map(u32::from)
    }

    /// What is to be tried on the slots: one candidate for each choice of enough answers.
    ///
    /// # Errors
    /// [`TooFew`] answered: that says nothing about the secret.
    pub fn candidates(&self) -> Result<Vec<Candidate>, TooFew> {
        let outputs: Vec<(u8, &Output)> = (0..)
            .zip(&self.asked)
            .filter_map(|(relay, asked)| match &asked.state {
                State::Answered { output, .. } => Some((relay, output)),
                State::Waiting | State::Not(_) => None,
            })
            .collect();
        if outputs.len() < self.area.needed {
            return Err(self.too_few(outputs.len()));
        }
        let choices = choices(&outputs, self.area.needed);
        let candidate = |choice: &Vec<(u8, &Output)>| self.candidate(choice);
        Ok(choices.iter().filter_map(candidate).collect())
    }

    fn candidate(&self, choice: &[(u8, &Output)]) -> Option<Candidate> {
        let [first, second, third, fourth] = &self.area.masked;
        Some([
            combine(0, first, choice)?,
            combine(1, second, choice)?,
            combine(2, third, choice)?,
            combine(3, fourth, choice)?,
        ])
    }

    /// The relays that say that they have no share any more, by their number.
    pub fn gone(&self) -> impl Iterator<Item = usize> {
        let asked = self.asked.iter().enumerate();
        let gone = asked.filter(|(_, asked)| matches!(asked.state, State::Not(NoAnswer::Gone)));
        gone.map(|(relay, _)| relay)
    }

    fn too_few(&self, answered: usize) -> TooFew {
        if self.asked.len() - self.gone().count() < self.area.needed {
            return TooFew::Gone;
        }
        TooFew::Needed {
            needed: self.area.needed,
            answered,
        }
    }
}

/// All choices of `count` of these.
fn choices<T: Copy>(from: &[T], count: usize) -> Vec<Vec<T>> {
    match (from, count) {
        (_, 0) => vec![Vec::new()],
        ([], _) => Vec::new(),
        ([first, rest @ ..], _) => {
            let mut with = choices(rest, count - 1);
            with.iter_mut().for_each(|choice| choice.insert(0, *first));
            with.extend(choices(rest, count));
            with
        }
    }
}
