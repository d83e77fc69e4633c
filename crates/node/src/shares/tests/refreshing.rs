//! Shares made anew, cut off anywhere, with any answer lost.

use std::collections::BTreeMap;

use emptyroom_wire::share::Share;
use emptyroom_wire::sign::VerifyKey;
use zeroize::Zeroizing;

use super::super::refresh::{ENOUGH_MS, Input, NewArea, Noted, Refresh, Relays, Step, Terms};
use super::*;

const INPUTS: [(u8, u8); 2] = [(1, 7), (3, 8)];

/// Relays, and what a device has on its disk.
struct Room {
    relays: Vec<BTreeMap<[u8; 32], Share>>,
    header: Option<NewArea>,
    noted: Vec<Noted>,
    rng: ChaCha20Rng,
}

/// How one making anew goes.
struct Luck {
    /// It is cut off after so many steps.
    steps: usize,
    /// The relays that are reached, a bit for each, and those whose answer is.
    reached: u32,
    heard: u32,
}

const ALL: Luck = Luck {
    steps: usize::MAX,
    reached: u32::MAX,
    heard: u32::MAX,
};

impl Room {
    fn new(relays: usize) -> Room {
        Room {
            relays: vec![BTreeMap::new(); relays],
            header: None,
            noted: Vec::new(),
            rng: rng(relays as u64),
        }
    }

    fn begin(&mut self) -> Refresh {
        let terms = Terms {
            owner: &|_, _| VerifyKey([1; 32]),
            days: 400,
            policy: None,
        };
        let all: Vec<usize> = (0..self.relays.len()).collect();
        let relays = Relays {
            chosen: all.len(),
            open: &all,
        };
        let slots = INPUTS.map(|(slot, byte)| Input {
            slot,
            bytes: Zeroizing::new([byte; 32]),
        });
        Refresh::new(Mono(1_000), &terms, &relays, slots.into(), &mut self.rng).unwrap()
    }

    /// Whether it came to its end, and how.
    fn refresh(&mut self, luck: &Luck) -> Option<bool> {
        let mut refresh = self.begin();
        let mut steps = 0;
        loop {
            let Some(step) = refresh.poll() else {
                let over = Mono(1_000 + ENOUGH_MS);
                refresh.look(over, &mut self.rng);
                continue;
            };
            if steps == luck.steps {
                return None;
            }
            steps += 1;
            match step {
                Step::Note(noted) => {
                    self.noted.extend(noted);
                    refresh.noted();
                }
                Step::Put(Noted { relay, id, .. }, share) => {
                    let (reached, heard) = (luck.reached >> relay & 1, luck.heard >> relay & 1);
                    if reached == 1 {
                        self.relays[relay].insert(*id.expose(), share);
                    }
                    if heard == 1 {
                        refresh.put(Mono(2_000), relay, reached == 1, &mut self.rng);
                    }
                }
                Step::Write(area) => {
                    self.header = Some(area);
                    refresh.written();
                }
                Step::Renewed => return Some(true),
                Step::Postponed => return Some(false),
            }
        }
    }

    fn delete(&mut self) {
        let header = self.header.as_ref().map_or(&[][..], |area| &area.shares);
        let unwanted = self.noted.iter().filter(|share| !header.contains(share));
        for Noted { relay, id, .. } in unwanted {
            self.relays[*relay].remove(id.expose());
        }
        self.noted = header.to_vec();
    }

    /// How many of these shares are there.
    fn present(&self, area: &NewArea) -> usize {
        let there = |share: &&Noted| self.relays[share.relay].contains_key(share.id.expose());
        area.shares.iter().filter(there).count()
    }

    /// Opens each slot by its input, as somebody with these files would.
    fn opens(&self, area: &NewArea) -> bool {
        if self.present(area) < area.needed {
            return false;
        }
        for (slot, byte) in INPUTS {
            let outputs: Vec<(u8, Output)> = (0..)
                .zip(&area.shares)
                .filter_map(|(number, at)| {
                    let share = self.relays[at.relay].get(at.id.expose())?;
                    Some((number, evaluate(&share.key, &[byte; 32])))
                })
                .take(area.needed)
                .collect();
            let chosen: Vec<(u8, &Output)> = outputs
                .iter()
                .map(|(number, output)| (*number, output))
                .collect();
            let secret = combine(slot, &area.masked[usize::from(slot)], &chosen).unwrap();
            let (_, right) = area.secrets.iter().find(|(at, _)| *at == slot).unwrap();
            assert!(secret == *right);
        }
        true
    }
}

/// Wherever it is cut off, and whoever was reached and heard: the header's shares are there, what else is there was noted, and
/// once that is deleted an older copy of the files opens nothing.
#[test]
fn cut_off_anywhere_the_header_opens_and_older_ones_do_not() {
    let (mut renewed, mut postponed, mut cut) = (0, 0, 0);
    for relays in 1..=RELAYS_MAX {
        let masks = 1_u32 << relays;
        for steps in 0..relays + 5 {
            for (reached, heard) in
                (0..masks).flat_map(|reached| [(reached, u32::MAX), (u32::MAX, reached)])
            {
                let mut room = Room::new(relays);
                assert_eq!(room.refresh(&ALL), Some(true));
                room.delete();
                let old = room.header.take().unwrap();
                assert!(room.opens(&old));
                let outcome = room.refresh(&Luck {
                    steps,
                    reached,
                    heard,
                });
                let written = room.header.is_some();
                let now = room.header.take().unwrap_or(NewArea {
                    needed: old.needed,
                    shares: old.shares.clone(),
                    masked: old.masked.clone(),
                    secrets: old
                        .secrets
                        .iter()
                        .map(|(slot, secret)| (*slot, secret.clone()))
                        .collect(),
                });
                assert_eq!(
                    room.present(&now),
                    now.shares.len(),
                    "all of the header's are there"
                );
                assert!(room.opens(&now));
                assert_eq!(outcome == Some(true), written && outcome.is_some());
                let kept = now.shares.len();
                room.header = Some(now);
                room.delete();
                let there: usize = room.relays.iter().map(BTreeMap::len).sum();
                assert_eq!(there, kept, "and nothing else");
                assert!(room.opens(room.header.as_ref().unwrap()));
                assert_eq!(room.opens(&old), !written);
                match outcome {
                    Some(true) => renewed += 1,
                    Some(false) => postponed += 1,
                    None => cut += 1,
                }
            }
        }
    }
    assert!(
        renewed > 30 && postponed > 200 && cut > 500,
        "{renewed} {postponed} {cut}"
    );
}

#[test]
fn as_many_as_must_answer_must_have_taken_a_share() {
    for (relays, least) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)] {
        for taken in 0..=relays {
            let mut room = Room::new(relays);
            let reached = (1 << taken) - 1;
            let heard = u32::MAX;
            let outcome = room.refresh(&Luck {
                steps: usize::MAX,
                reached,
                heard,
            });
            assert_eq!(outcome, Some(taken >= least), "{taken} of {relays}");
            if let Some(area) = &room.header {
                // Whoever keeps some of them away does not make fewer do.
                assert_eq!((area.shares.len(), area.needed), (taken, least));
            }
        }
    }
}

/// Nothing is written before enough have said that they have it, and the rest gets its time.
#[test]
fn the_rest_gets_its_time() {
    let mut room = Room::new(5);
    let mut refresh = room.begin();
    assert!(matches!(refresh.poll(), Some(Step::Note(noted)) if noted.len() == 5));
    assert!(
        refresh.poll().is_none(),
        "nothing is put before it is noted"
    );
    refresh.noted();
    assert_eq!(core::iter::from_fn(|| refresh.poll()).count(), 5);
    for relay in 0..4 {
        assert!(refresh.poll().is_none());
        refresh.put(Mono(3_000), relay, true, &mut room.rng);
    }
    assert!(refresh.poll().is_none());
    assert_eq!(refresh.wake_at(), Mono(13_000));
    refresh.look(Mono(12_999), &mut room.rng);
    assert!(refresh.poll().is_none());
    refresh.look(Mono(13_000), &mut room.rng);
    let Some(Step::Write(area)) = refresh.poll() else {
        panic!("nothing to write");
    };
    assert_eq!((area.shares.len(), area.needed), (4, 3));
    // What comes late changes nothing: it was noted, and is in no header.
    refresh.put(Mono(13_001), 4, true, &mut room.rng);
    assert!(refresh.poll().is_none());
    refresh.written();
    assert!(matches!(refresh.poll(), Some(Step::Renewed)));
}

/// Who waits for the end waits a moment only once enough have their shares.
// [SPEC 11.52]
#[test]
fn whoever_waits_for_the_end_waits_a_moment() {
    let mut room = Room::new(5);
    let mut refresh = room.begin();
    refresh.poll();
    refresh.noted();
    assert_eq!(core::iter::from_fn(|| refresh.poll()).count(), 5);
    for relay in 0..2 {
        refresh.put(Mono(2_000), relay, true, &mut room.rng);
    }
    refresh.hurry(Mono(2_500));
    assert_eq!(refresh.wake_at(), Mono(1_000 + ENOUGH_MS));
    refresh.put(Mono(3_000), 2, true, &mut room.rng);
    assert_eq!(refresh.wake_at(), Mono(6_000));
    refresh.look(Mono(6_000), &mut room.rng);
    assert!(matches!(refresh.poll(), Some(Step::Write(area)) if area.shares.len() == 3));
}

/// Of those that were chosen as many as must answer must be there, and nobody else is put a share.
// [SPEC 11.51]
#[test]
fn only_so_many_relays_can_be() {
    let terms = Terms {
        owner: &|_, _| VerifyKey([1; 32]),
        days: 400,
        policy: None,
    };
    for (chosen, open, can) in [
        (0, &[][..], false),
        (RELAYS_MAX + 1, &[0, 1, 2, 3, 4, 5], false),
        (5, &[1, 4], false),
        (5, &[0, 1, 4], true),
    ] {
        let relays = Relays { chosen, open };
        let refresh = Refresh::new(Mono(0), &terms, &relays, Vec::new(), &mut rng(1));
        let Some(mut refresh) = refresh else {
            assert!(!can);
            continue;
        };
        assert!(can);
        let Some(Step::Note(noted)) = refresh.poll() else {
            panic!("nothing is noted");
        };
        assert!(
            noted
                .iter()
                .map(|noted| noted.relay)
                .eq(open.iter().copied())
        );
    }
}
