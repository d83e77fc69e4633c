//! A hostile wire: what it learns, what it can change, and what becomes of cuts.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use emptyroom_tpm::swtpm::Swtpm;
use emptyroom_tpm::{
    Destroyed, EnrolError, Enrolment, Fault, ResetError, ResetSecret, ShareError, TRIES, Tpm, Tries,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use crate::bus::{Bus, Verdict};
use crate::raw::Raw;
use crate::support::{enrolled, open, stretched};
use crate::swtpm;

/// A TPM with an enrolment, spoken to directly and over a bus.
struct Line {
    bus: Bus,
    direct: Tpm,
    tapped: Tpm,
    enrolment: Enrolment,
    secret: ResetSecret,
    // Last, so that it ends last.
    swtpm: Swtpm,
}

impl Line {
    fn new(swtpm: Swtpm) -> Line {
        let bus = Bus::before(&swtpm);
        let mut direct = open(&swtpm.socket(), 1);
        let tapped = open(&bus.socket, 2);
        let (enrolment, secret) = enrolled(&mut direct);
        Line {
            bus,
            direct,
            tapped,
            enrolment,
            secret,
            swtpm,
        }
    }

    /// All tries again, and nothing loaded that an altered message left behind: there is no kernel
    /// between these tests and the TPM.
    fn afresh(&mut self) {
        Raw::new(&self.swtpm.socket()).flush_all();
        self.direct.reset(&self.enrolment, &self.secret).unwrap();
    }

    fn tries(&mut self) -> Tries {
        self.direct.tries(&self.enrolment).unwrap()
    }
}

fn contains(wire: &[u8], part: &[u8]) -> bool {
    wire.windows(part.len()).any(|window| window == part)
}

/// An answer without content that carries only this code.
fn code(code: u32) -> Vec<u8> {
    [&[0x80, 1, 0, 0, 0, 10][..], &code.to_be_bytes()].concat()
}

// [SPEC 11.33]
#[test]
fn nothing_secret_is_on_the_wire() {
    let swtpm = swtpm!("nothing_secret_is_on_the_wire");
    let bus = Bus::before(&swtpm);
    let mut tpm = open(&bus.socket, 1);
    let wire = Arc::new(Mutex::new(Vec::new()));
    let recorder = Arc::clone(&wire);
    bus.tap(move |_, _, message| {
        recorder.lock().unwrap().extend_from_slice(message);
        Verdict::Pass
    });
    let (enrolment, secret) = enrolled(&mut tpm);
    let s = stretched(1234);
    let share = tpm.share(&enrolment, &s).unwrap();
    tpm.reset(&enrolment, &secret).unwrap();
    let wire = wire.lock().unwrap();
    // The control: what is not secret is found.
    let public = &enrolment.encode()[41..41 + 80];
    assert!(contains(&wire, public));
    for hidden in [s.expose(), share.expose(), secret.expose()] {
        for part in hidden.chunks(8) {
            assert!(!contains(&wire, part));
        }
    }
}

// [SPEC 11.32]
#[test]
fn every_question_takes_the_same_commands() {
    let mut line = Line::new(swtpm!("every_question_takes_the_same"));
    let mut questions = Vec::new();
    for pin in [1, 1, 2, 77] {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let recorder = Arc::clone(&seen);
        line.bus.tap(move |_, is_answer, message| {
            // Length, and the command or what became of it.
            let shape = (is_answer, message[2..10].to_vec());
            recorder.lock().unwrap().push(shape);
            Verdict::Pass
        });
        line.tapped.share(&line.enrolment, &stretched(pin)).unwrap();
        questions.push(seen.lock().unwrap().clone());
    }
    assert_eq!(questions[0].len(), 2 * 9);
    assert!(questions.iter().all(|seen| *seen == questions[0]));
}

// [SPEC 11.33]
#[test]
fn altered_messages_never_give_a_wrong_share() {
    let mut line = Line::new(swtpm!("altered_messages_never_give"));
    let right = line.direct.share(&line.enrolment, &stretched(1)).unwrap();
    line.bus.tap(|_, _, _| Verdict::Pass);
    line.tapped.share(&line.enrolment, &stretched(1)).unwrap();
    let messages = line.bus.count();
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let mut refused = 0;
    for round in 0..messages * 16 {
        line.afresh();
        let (at, answer) = (round % messages, round & 16 != 0);
        let (place, bit) = (rng.next_u32() as usize, 1 << (rng.next_u32() % 8));
        line.bus.tap(move |number, is_answer, message| {
            if (number, is_answer) == (at, answer) {
                // The length stays: a message of another length ends in a wait for the rest.
                let place = 6 + place % (message.len() - 6);
                message[place] ^= bit;
            }
            Verdict::Pass
        });
        match line.tapped.share(&line.enrolment, &stretched(1)) {
            Ok(share) => assert_eq!(share.expose(), right.expose()),
            Err(ShareError::Fault(Fault::Io(kind))) => panic!("{kind}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > messages * 8, "{refused}");
}

// [SPEC 11.33]
#[test]
fn another_primary_is_not_given_the_question() {
    let mut line = Line::new(swtpm!("another_primary_is_not_given"));
    line.bus.tap(|number, is_answer, message| {
        // The second command makes the primary; its point is the generator of the curve now.
        if (number, is_answer) == (1, true) {
            let generator = p256::AffinePoint::GENERATOR;
            let point =
                p256::elliptic_curve::sec1::ToEncodedPoint::to_encoded_point(&generator, false);
            let start = 10 + 4 + 4 + 2 + 22;
            message[start..start + 34]
                .copy_from_slice(&[&[0, 32], point.x().unwrap().as_slice()].concat());
            message[start + 34..start + 68]
                .copy_from_slice(&[&[0, 32], point.y().unwrap().as_slice()].concat());
        }
        Verdict::Pass
    });
    let share = line.tapped.share(&line.enrolment, &stretched(1)).map(drop);
    assert_eq!(share, Err(ShareError::Fault(Fault::OtherTpm)));
    assert_eq!(line.tries().used, 0);
    let reset = line.tapped.reset(&line.enrolment, &line.secret);
    assert_eq!(reset, Ok(()), "only the first operation was tapped");
}

// [SPEC 11.34]
#[test]
fn nobody_on_the_wire_raises_the_limit() {
    let mut line = Line::new(swtpm!("nobody_on_the_wire_raises"));
    line.direct.share(&line.enrolment, &stretched(1)).unwrap();
    line.bus.tap(|_, is_answer, message| {
        let write = [0, 0, 1, 0x37];
        if !is_answer && message[6..10] == write {
            let at = message.len() - 3;
            assert_eq!(message[at], 10);
            message[at] = 200;
        }
        Verdict::Pass
    });
    let reset = line.tapped.reset(&line.enrolment, &line.secret);
    assert!(
        matches!(
            reset,
            Err(ResetError::Fault(Fault::Refused("TPM2_NV_Write", _)))
        ),
        "{reset:?}"
    );
    assert_eq!(
        line.tries(),
        Tries {
            used: 1,
            limit: TRIES
        }
    );
}

// [SPEC 11.36]
#[test]
fn a_busy_tpm_is_asked_again_and_counts_once() {
    let mut line = Line::new(swtpm!("a_busy_tpm_is_asked_again"));
    let right = line.direct.share(&line.enrolment, &stretched(1)).unwrap();
    line.direct.reset(&line.enrolment, &line.secret).unwrap();
    for busy in [0x922, 0x90A, 0x920, 0x908] {
        line.bus.tap(move |number, is_answer, _| match number % 3 {
            0 | 1 if !is_answer => Verdict::Answer(code(busy)),
            _ => Verdict::Pass,
        });
        let share = line.tapped.share(&line.enrolment, &stretched(1)).unwrap();
        assert_eq!(share.expose(), right.expose());
    }
    assert_eq!(line.tries().used, 4);
    line.bus.tap(|_, _, _| Verdict::Answer(code(0x922)));
    let share = line.tapped.share(&line.enrolment, &stretched(1)).map(drop);
    assert_eq!(share, Err(ShareError::Fault(Fault::Busy)));
    assert!(line.bus.count() < 20, "bounded");
    line.bus.tap(|_, _, _| Verdict::Answer(code(0x921)));
    let share = line.tapped.share(&line.enrolment, &stretched(1)).map(drop);
    assert_eq!(share, Err(ShareError::Fault(Fault::Lockout)));
}

// [SPEC 11.37]
#[test]
fn nonsense_from_the_tpm_is_told_and_nothing_else() {
    let mut line = Line::new(swtpm!("nonsense_from_the_tpm"));
    let head = |tag: u16, len: u32| {
        let mut head = tag.to_be_bytes().to_vec();
        head.extend_from_slice(&len.to_be_bytes());
        head.extend_from_slice(&[0; 4]);
        head
    };
    let nonsense = [
        head(0x8001, 10),
        head(0x8002, 10),
        head(0x8001, 0),
        head(0x8001, u32::MAX),
        head(0, 10),
        [head(0x8002, 14), vec![0xFF; 4]].concat(),
        [head(0x8002, 4096), vec![0xFF; 4086]].concat(),
        [head(0x8001, 4096), vec![0; 4086]].concat(),
    ];
    line.bus.tap(|_, _, _| Verdict::Pass);
    line.tapped.share(&line.enrolment, &stretched(1)).unwrap();
    let messages = line.bus.count();
    for answer in nonsense {
        for at in 0..messages {
            line.afresh();
            let answer = answer.clone();
            line.bus.tap(move |number, is_answer, _| {
                if number == at && !is_answer {
                    Verdict::Answer(answer.clone())
                } else {
                    Verdict::Pass
                }
            });
            match line.tapped.share(&line.enrolment, &stretched(1)).map(drop) {
                Err(ShareError::Fault(Fault::Malformed(_))) => {}
                // Only what flushes may fail unheard, and what has no content may be empty.
                other => assert!(at >= 5, "{at}: {other:?}"),
            }
        }
    }
}

// [SPEC 11.35]
#[test]
fn power_that_fails_while_enrolling_leaves_a_place_that_can_be_cleared() {
    let swtpm = swtpm!("power_that_fails_while_enrolling");
    let mut line = Line::new(swtpm);
    let place = line.direct.free_place().unwrap();
    line.bus.tap(|_, _, _| Verdict::Pass);
    line.tapped.enrol(place).unwrap();
    let commands = line.bus.count();
    assert_eq!(line.direct.destroy(place), Ok(Destroyed::Removed));
    let mut ends = BTreeSet::new();
    for cut in 0..commands {
        for after in [false, true] {
            line.bus.tap(move |number, is_answer, _| {
                if number >= cut && is_answer == after {
                    Verdict::Cut
                } else {
                    Verdict::Pass
                }
            });
            let made = line.tapped.enrol(place).is_ok();
            line.swtpm.power_cycle().unwrap();
            let again = line.direct.enrol(place).map(drop);
            let end = line.direct.destroy(place).unwrap();
            assert_ne!(end, Destroyed::UsedUp);
            // Either there is an index, and it is in the way, or nothing was left.
            let there = again == Err(EnrolError::Taken);
            assert!(there || again.is_ok(), "{cut}: {again:?}");
            ends.insert((made, there));
            assert_eq!(line.direct.destroy(place), Ok(Destroyed::WasGone));
        }
    }
    assert!(
        ends.contains(&(false, true)) && ends.contains(&(false, false)),
        "{ends:?}"
    );
    assert!(
        line.direct.share(&line.enrolment, &stretched(1)).is_ok(),
        "the other one is untouched"
    );
}

#[test]
fn what_is_refused_while_enrolling_leaves_nothing() {
    let mut line = Line::new(swtpm!("what_is_refused_while_enrolling"));
    let place = line.direct.free_place().unwrap();
    line.bus.tap(|_, _, _| Verdict::Pass);
    line.tapped.enrol(place).unwrap();
    let commands = line.bus.count();
    assert_eq!(line.direct.destroy(place), Ok(Destroyed::Removed));
    let mut refused = 0;
    for at in 0..commands {
        line.bus.tap(move |number, is_answer, _| {
            if number == at && !is_answer {
                Verdict::Answer(code(0x101))
            } else {
                Verdict::Pass
            }
        });
        match line.tapped.enrol(place) {
            // Only what is taken out of the TPM at the end may fail unheard.
            Ok(_) => assert_eq!(line.direct.destroy(place), Ok(Destroyed::Removed)),
            Err(EnrolError::Fault(Fault::Refused(_, 0x101))) => refused += 1,
            Err(other) => panic!("{at}: {other:?}"),
        }
        assert_eq!(line.direct.destroy(place), Ok(Destroyed::WasGone));
        line.afresh();
    }
    assert!(refused > 10, "{refused}");
}

// [SPEC 11.32]
#[test]
fn power_that_fails_gives_no_try_back() {
    let swtpm = swtpm!("power_that_fails_gives_no_try");
    let mut line = Line::new(swtpm);
    line.bus.tap(|_, _, _| Verdict::Pass);
    line.tapped.share(&line.enrolment, &stretched(1)).unwrap();
    let commands = line.bus.count();
    let mut counted = Vec::new();
    for cut in 0..commands {
        line.direct.reset(&line.enrolment, &line.secret).unwrap();
        line.bus.tap(move |number, is_answer, _| {
            if number >= cut && is_answer {
                Verdict::Cut
            } else {
                Verdict::Pass
            }
        });
        let share = line.tapped.share(&line.enrolment, &stretched(1));
        line.swtpm.power_cycle().unwrap();
        let used = line.tries().used;
        assert!(used == 1 || share.is_err(), "an answer without a try");
        counted.push(used);
    }
    let first = counted.iter().position(|used| *used == 1).unwrap();
    assert!(counted[..first].iter().all(|used| *used == 0));
    assert!(counted[first..].iter().all(|used| *used == 1));
}
