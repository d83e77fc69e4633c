//! Each operation, and how each ends.

use std::path::Path;

use emptyroom_tpm::{
    DestroyError, Destroyed, ENROLMENT_LEN_MAX, EnrolError, Enrolment, Fault, ResetError,
    ResetSecret, ShareError, TRIES, Tpm, Tries, TriesError,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::raw::{self, By, EMPTY, Raw, sized, u32s};
use crate::support::{enrolled, open, stretched};
use crate::swtpm;

// [SPEC 11.32]
#[test]
fn ten_of_fifteen_guesses_are_answered_and_then_not_even_the_right_one() {
    let swtpm = swtpm!("ten_of_fifteen");
    let mut tpm = open(&swtpm.socket(), 1);
    let (enrolment, _) = enrolled(&mut tpm);
    let mut answered = 0;
    for guess in 0..15 {
        match tpm.share(&enrolment, &stretched(guess)) {
            Ok(_) => answered += 1,
            Err(why) => assert_eq!(why, ShareError::UsedUp, "{guess}"),
        }
    }
    assert_eq!(answered, TRIES);
    assert_eq!(
        tpm.tries(&enrolment),
        Ok(Tries {
            used: 10,
            limit: 10
        })
    );
    let right = tpm.share(&enrolment, &stretched(0)).map(drop);
    assert_eq!(right, Err(ShareError::UsedUp));
}

#[test]
fn a_share_is_of_its_question_and_its_enrolment() {
    let swtpm = swtpm!("a_share_is_of_its_question");
    let mut tpm = open(&swtpm.socket(), 1);
    let (enrolment, _) = enrolled(&mut tpm);
    let (another, _) = enrolled(&mut tpm);
    let mut share = |enrolment, pin| *tpm.share(enrolment, &stretched(pin)).unwrap().expose();
    let first = share(&enrolment, 1);
    assert_eq!(share(&enrolment, 1), first);
    assert_ne!(share(&enrolment, 2), first);
    assert_ne!(share(&another, 1), first);
}

// [SPEC 11.30]
#[test]
fn an_enrolment_is_its_bytes() {
    let swtpm = swtpm!("an_enrolment_is_its_bytes");
    let mut tpm = open(&swtpm.socket(), 1);
    let (enrolment, _) = enrolled(&mut tpm);
    let share = tpm.share(&enrolment, &stretched(1)).unwrap();
    let bytes = enrolment.encode();
    assert!(bytes.len() <= ENROLMENT_LEN_MAX, "{}", bytes.len());
    let read = Enrolment::decode(&bytes).unwrap();
    assert!(read == enrolment);
    let again = tpm.share(&read, &stretched(1)).unwrap();
    assert_eq!(again.expose(), share.expose());
    // No other version, nothing more, nothing less, and no key that anything else but the index guards.
    let newer = [&[2], &bytes[1..]].concat();
    let longer = [&bytes[..], &[0]].concat();
    let mut unguarded = bytes.clone();
    unguarded[41 + 12] ^= 1;
    for broken in [&newer, &longer, &bytes[..bytes.len() - 1], &unguarded, &[]] {
        assert!(Enrolment::decode(broken).is_err());
    }
    assert_eq!(
        format!("{enrolment:?}"),
        format!("Enrolment {{ place: {:?}, .. }}", enrolment.place())
    );
}

// [SPEC 11.34]
#[test]
fn only_the_secret_of_an_enrolment_gives_its_tries_back() {
    let swtpm = swtpm!("only_the_secret");
    let mut tpm = open(&swtpm.socket(), 1);
    let (enrolment, secret) = enrolled(&mut tpm);
    let (_, of_another) = enrolled(&mut tpm);
    let share = tpm.share(&enrolment, &stretched(1)).unwrap();
    while tpm.share(&enrolment, &stretched(2)).is_ok() {}
    for wrong in [&of_another, &ResetSecret::new(&[0; 32])] {
        // More often than the TPM's own guard would let pass.
        for _ in 0..40 {
            assert_eq!(tpm.reset(&enrolment, wrong), Err(ResetError::WrongSecret));
        }
    }
    assert_eq!(
        tpm.share(&enrolment, &stretched(1)).map(drop),
        Err(ShareError::UsedUp)
    );
    assert_eq!(tpm.reset(&enrolment, &secret), Ok(()));
    assert_eq!(tpm.tries(&enrolment).map(Tries::left), Ok(TRIES));
    assert_eq!(
        tpm.share(&enrolment, &stretched(1)).unwrap().expose(),
        share.expose()
    );
}

// [SPEC 11.35]
#[test]
fn what_was_destroyed_is_gone_and_the_others_stay() {
    let swtpm = swtpm!("what_was_destroyed_is_gone");
    let mut tpm = open(&swtpm.socket(), 1);
    let (old, old_secret) = enrolled(&mut tpm);
    let (new, _) = enrolled(&mut tpm);
    let share = tpm.share(&new, &stretched(1)).unwrap();
    assert_eq!(tpm.destroy(old.place()), Ok(Destroyed::Removed));
    assert_eq!(tpm.destroy(old.place()), Ok(Destroyed::WasGone));
    assert_eq!(
        tpm.share(&old, &stretched(1)).map(drop),
        Err(ShareError::Gone)
    );
    assert_eq!(tpm.reset(&old, &old_secret), Err(ResetError::Gone));
    assert_eq!(tpm.tries(&old), Err(TriesError::Gone));
    // Another one at the same place is another one.
    let (at_its_place, _) = tpm.enrol(old.place()).unwrap();
    assert_eq!(
        tpm.share(&old, &stretched(1)).map(drop),
        Err(ShareError::Gone)
    );
    assert_eq!(tpm.reset(&old, &old_secret), Err(ResetError::Gone));
    assert!(tpm.share(&at_its_place, &stretched(1)).is_ok());
    assert_eq!(
        tpm.share(&new, &stretched(1)).unwrap().expose(),
        share.expose()
    );
}

// [SPEC 11.35]
#[test]
fn what_others_put_into_the_tpm_is_left_alone() {
    let swtpm = swtpm!("what_others_put_into_the_tpm");
    let mut tpm = open(&swtpm.socket(), 1);
    let place = tpm.free_place().unwrap();
    let attributes: u32 = 1 << 2 | 1 << 18;
    let public = [
        &u32s(&[place.number()]),
        &[0, 0x0B][..],
        &u32s(&[attributes]),
        &[0, 0, 0, 8],
    ]
    .concat();
    assert_eq!(Raw::new(&swtpm.socket()).define(&public), 0);
    assert_eq!(tpm.enrol(place).map(drop), Err(EnrolError::Taken));
    assert_eq!(tpm.destroy(place), Err(DestroyError::NotOurs));
    assert_eq!(
        Raw::new(&swtpm.socket()).index_public(place.number()).len(),
        public.len()
    );
}

// [SPEC 11.35]
#[test]
fn an_owners_password_stops_all_but_the_end() {
    let swtpm = swtpm!("an_owners_password");
    let mut tpm = open(&swtpm.socket(), 1);
    let (enrolment, _) = enrolled(&mut tpm);
    let place = tpm.free_place().unwrap();
    let mut raw = Raw::new(&swtpm.socket());
    raw.done(raw::CHANGE_AUTH, &[raw::OWNER], &[EMPTY], &sized(b"owner"));
    drop(raw);
    let fault = Fault::OwnerPassword;
    assert_eq!(tpm.enrol(place).map(drop), Err(EnrolError::Fault(fault)));
    assert_eq!(
        tpm.share(&enrolment, &stretched(1)).map(drop),
        Err(ShareError::Fault(fault))
    );
    assert_eq!(tpm.tries(&enrolment), Err(TriesError::Fault(fault)));
    assert_eq!(tpm.destroy(enrolment.place()), Ok(Destroyed::UsedUp));
    assert_eq!(tpm.destroy(enrolment.place()), Ok(Destroyed::UsedUp));
    let mut raw = Raw::new(&swtpm.socket());
    raw.done(
        raw::CHANGE_AUTH,
        &[raw::OWNER],
        &[By::Password(b"owner")],
        &sized(&[]),
    );
    drop(raw);
    assert_eq!(
        tpm.share(&enrolment, &stretched(1)).map(drop),
        Err(ShareError::UsedUp)
    );
}

#[test]
fn everything_outlasts_the_power() {
    let mut swtpm = swtpm!("everything_outlasts_the_power");
    let mut tpm = open(&swtpm.socket(), 1);
    let (enrolment, secret) = enrolled(&mut tpm);
    let share = tpm.share(&enrolment, &stretched(1)).unwrap();
    swtpm.power_cycle().unwrap();
    assert_eq!(tpm.tries(&enrolment).map(|tries| tries.used), Ok(1));
    assert_eq!(
        tpm.share(&enrolment, &stretched(1)).unwrap().expose(),
        share.expose()
    );
    assert_eq!(tpm.reset(&enrolment, &secret), Ok(()));
    assert_eq!(tpm.destroy(enrolment.place()), Ok(Destroyed::Removed));
    swtpm.power_cycle().unwrap();
    assert_eq!(
        tpm.share(&enrolment, &stretched(1)).map(drop),
        Err(ShareError::Gone)
    );
}

// [SPEC 11.32]
#[test]
fn several_programs_at_once_share_the_ten() {
    let swtpm = swtpm!("several_programs_at_once");
    let (enrolment, _) = enrolled(&mut open(&swtpm.socket(), 1));
    let answered: u32 = std::thread::scope(|scope| {
        let programs: Vec<_> = (0..4)
            .map(|seed| {
                let (path, enrolment) = (swtpm.socket(), enrolment.clone());
                scope.spawn(move || {
                    let mut tpm = open(&path, seed);
                    let guess = |pin| tpm.share(&enrolment, &stretched(pin)).is_ok();
                    u32::try_from((0..5).map(guess).filter(|answered| *answered).count()).unwrap()
                })
            })
            .collect();
        programs
            .into_iter()
            .map(|program| program.join().unwrap())
            .sum()
    });
    assert_eq!(answered, TRIES);
}

#[test]
fn nothing_of_ours_stays_loaded() {
    let swtpm = swtpm!("nothing_of_ours_stays_loaded");
    let mut tpm = open(&swtpm.socket(), 1);
    let (enrolment, secret) = enrolled(&mut tpm);
    let wrong = ResetSecret::new(&[1; 32]);
    // There is space for three keys and three sessions: what stayed would fill it.
    for pin in 0..15 {
        let _ = tpm.share(&enrolment, &stretched(pin));
        let _ = tpm.reset(&enrolment, &wrong);
    }
    assert_eq!(tpm.reset(&enrolment, &secret), Ok(()));
    assert!(tpm.share(&enrolment, &stretched(1)).is_ok());
    assert_eq!(Raw::new(&swtpm.socket()).all_loaded(), []);
}

#[test]
fn a_full_tpm_says_so_and_keeps_nothing_half_made() {
    let swtpm = swtpm!("a_full_tpm_says_so");
    let mut tpm = open(&swtpm.socket(), 1);
    let mut places = Vec::new();
    let full = loop {
        let place = tpm.free_place().unwrap();
        match tpm.enrol(place) {
            Ok(_) => places.push(place),
            Err(why) => break why,
        }
    };
    assert_eq!(full, EnrolError::Full);
    assert!(places.len() > 4);
    assert_eq!(tpm.destroy(places[0]), Ok(Destroyed::Removed));
    let (enrolment, _) = enrolled(&mut tpm);
    assert!(tpm.share(&enrolment, &stretched(1)).is_ok());
}

// [SPEC 11.36]
#[test]
fn without_a_tpm_there_is_none() {
    let rng = || Box::new(ChaCha20Rng::seed_from_u64(1));
    let nowhere = Path::new("/nonexistent/tpm");
    assert!(Tpm::open(nowhere, rng()).unwrap().is_none());
    // Something else than a TPM.
    let mut null = Tpm::open(Path::new("/dev/null"), rng()).unwrap().unwrap();
    let place = null.free_place();
    assert_eq!(place, Err(Fault::Io(std::io::ErrorKind::UnexpectedEof)));
    let denied = Fault::from(std::io::Error::from(std::io::ErrorKind::PermissionDenied));
    assert_eq!(denied, Fault::NoPermission);
    assert!(denied.to_string().contains("group `tss`"));
    for number in [2, 6, 19] {
        let nothing_there = std::io::Error::from_raw_os_error(number);
        assert_eq!(Fault::from(nothing_there), Fault::Missing);
    }
    let in_use = std::io::Error::from_raw_os_error(16);
    assert_eq!(Fault::from(in_use), Fault::Busy);
}
