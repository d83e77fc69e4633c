//! A factor besides the secret: what opens with it and what does not, whatever the moment of a crash.

use emptyroom_vault::{
    Answers, Besides, Factors, Locked, Mode, OpenError, Passphrase, Rewrapping, SecretError, Share,
    Vault, WriteError, wipe,
};

use rand_core::CryptoRng;

use crate::disk::{Disk, Loss};
use crate::reader;
use crate::support::{
    Changes, PANIC, SECRET, fresh_rng, open, panic_pin, secret, sizes, value, with_panic_pin,
};

pub const PHRASE: &str = "sixteen bytes!!!";
const ERRANDS: &[u8] = b"an index of old";

fn phrase() -> Passphrase {
    Passphrase::from(PHRASE.to_owned())
}

/// A chip with a number: its number is all that a new enrolment changes.
fn chip(number: u8, input: &Share) -> Share {
    Share::new(reader::expand(
        &[input.as_slice(), &[number]].concat(),
        "a chip",
        &[],
    ))
}

fn enrolled(number: u8, change: &Rewrapping) -> Factors {
    let [opens, panics] = change.tpm_inputs();
    Factors {
        area: vec![number; 300],
        tpm: Some([chip(number, &opens), chip(number, &panics)]),
        relays: None,
    }
}

/// Opens as the program does: the chip that the area names is asked, if it is there.
fn open_at(disk: &Disk, secret: &str, there: Option<u8>) -> Result<Vault, OpenError> {
    open_by(disk, secret, there, fresh_rng())
}

pub fn open_by(
    disk: &Disk,
    secret: &str,
    there: Option<u8>,
    rng: Box<dyn CryptoRng + Send>,
) -> Result<Vault, OpenError> {
    let locked = Locked::read(disk.boxed(), rng)?;
    let stretched = locked.stretch(&Passphrase::from(secret.to_owned()))?;
    let named = locked.area()[0];
    let asked = locked.mode().asks_tpm() && there == Some(named);
    let answers = Answers {
        tpm: asked.then(|| chip(named, &stretched.tpm_input())),
        relays: Vec::new(),
    };
    let tried = locked.try_all(&stretched, &answers);
    let besides = Besides {
        errands: &mut |_| ERRANDS.to_vec(),
        destroy: &mut || {},
    };
    locked.proceed(stretched, tried, besides)
}

fn set_chip(vault: &mut Vault, number: u8) -> Result<(), WriteError> {
    let change = vault.with_same(&secret()).unwrap();
    let factors = enrolled(number, &change);
    vault.rewrap(change, &factors)
}

fn refresh(vault: &mut Vault, number: u8) -> Result<(), WriteError> {
    let change = vault.refreshed().unwrap();
    let factors = enrolled(number, &change);
    vault.rewrap(change, &factors)
}

/// A vault with records, a panic PIN and a recovery phrase, that chip 1 opens.
pub fn with_chip() -> Disk {
    let disk = with_panic_pin();
    let mut vault = open(&disk).unwrap();
    vault.set_recovery(&secret(), &phrase()).unwrap();
    set_chip(&mut vault, 1).unwrap();
    vault.lock().unwrap();
    disk
}

/// The chip that a locked vault names.
fn named(disk: &Disk) -> Option<u8> {
    let locked = Locked::read(disk.boxed(), fresh_rng()).unwrap();
    locked.mode().asks_tpm().then(|| locked.area()[0])
}

fn error(opened: Result<Vault, OpenError>) -> Option<OpenError> {
    opened.err()
}

fn has_records(vault: &Vault) -> bool {
    value(vault, "a") == Some(b"1".to_vec()) && value(vault, "many/599").is_some()
}

/// Somebody who reads the files by the specification, and was told what the chip answers.
// [SPEC 11.5]
// [SPEC 11.40]
// [SPEC 11.46]
#[test]
fn a_stranger_with_the_share_reads_the_slot() {
    let copy = with_chip().bytes("header")[..4096].to_vec();
    assert_eq!(copy[18], 1, "the TPM is named");
    assert_eq!(copy[1264..1264 + 300], [1; 300]);
    let random = copy[1564..4064].iter().filter(|byte| **byte == 0).count();
    assert!(random < 60);
    let stretched = reader::stretched(&copy, SECRET);
    let input = reader::expand(&stretched, "emptyroom v1 vault tpm input", &[]);
    let share = chip(1, &Share::new(input));
    let material = [&stretched[..], &share[..], &[0; 32]].concat();
    assert_eq!(reader::kinds_by(&copy, &material), [1]);
    let material = [&stretched[..], &[0; 64]].concat();
    assert!(reader::kinds_by(&copy, &material).is_empty());
}

// [SPEC 11.5]
// [SPEC 11.44]
// [SPEC 11.49]
#[test]
fn without_its_chip_only_the_phrase_opens_it() {
    let disk = with_chip();
    let unanswered = Some(OpenError::Unanswered);
    for secret in [SECRET, PANIC, "wrong"] {
        assert_eq!(error(open_at(&disk, secret, None)), unanswered, "{secret}");
        assert_eq!(error(open_at(&disk, secret, Some(2))), unanswered);
    }
    let wrong = open_at(&disk, "wrong", Some(1));
    assert_eq!(error(wrong), Some(OpenError::WrongSecret));
    assert!(has_records(&open_at(&disk, PHRASE, None).unwrap()));
    let vault = open_at(&disk, SECRET, Some(1)).unwrap();
    assert!(has_records(&vault));
    let status = vault.status().unwrap();
    assert_eq!((status.mode, status.recovery), (Mode::Tpm, true));
    drop(vault);
    // And back.
    let mut vault = open_at(&disk, SECRET, Some(1)).unwrap();
    let change = vault.with_same(&secret()).unwrap();
    vault.rewrap(change, &Factors::default()).unwrap();
    vault.lock().unwrap();
    let vault = open(&disk).unwrap();
    assert_eq!(vault.status().unwrap().mode, Mode::Passphrase);
    drop(vault);
    drop(open_at(&disk, PANIC, None).unwrap());
    assert_eq!(
        error(open_at(&disk, SECRET, None)),
        Some(OpenError::WrongSecret)
    );
}

/// Whoever is asked for a change needs no chip to say whether the present secret is right.
// [SPEC 12.40]
#[test]
fn the_present_secret_is_known_without_asking() {
    let disk = with_chip();
    let vault = open_at(&disk, SECRET, Some(1)).unwrap();
    assert!(vault.with_same(&secret()).is_ok());
    let wrong = Some(SecretError::WrongSecret);
    for other in [panic_pin(), phrase(), Passphrase::from("x".to_owned())] {
        assert_eq!(vault.with_same(&other).err(), wrong);
    }
    let same = Some(SecretError::Same);
    assert_eq!(vault.with_secret(&secret(), &panic_pin()).err(), same);
    assert_eq!(vault.with_panic(&secret(), &secret()).err(), same);
    drop(vault);
    // Opened by the phrase nobody knows the PIN; the phrase gives a new one, with a new chip or none.
    let mut vault = open_at(&disk, PHRASE, None).unwrap();
    assert!(vault.refreshed().is_none());
    assert_eq!(vault.with_same(&secret()).err(), wrong);
    assert_eq!(vault.with_same(&phrase()).err(), wrong);
    let new = Passphrase::from("a new pin".to_owned());
    let change = vault.with_secret(&phrase(), &new).unwrap();
    let factors = enrolled(2, &change);
    vault.rewrap(change, &factors).unwrap();
    assert!(vault.with_same(&new).is_ok());
    vault.lock().unwrap();
    assert!(has_records(&open_at(&disk, "a new pin", Some(2)).unwrap()));
    assert_eq!(
        error(open_at(&disk, SECRET, Some(2))),
        Some(OpenError::WrongSecret)
    );
    drop(open_at(&disk, PANIC, Some(2)).unwrap());
    assert_eq!(
        error(open_at(&disk, PHRASE, None)),
        Some(OpenError::WrongSecret)
    );
}

// [SPEC 11.43]
// [SPEC 11.52]
#[test]
fn a_refresh_ends_the_old_chip_and_is_done_once() {
    let disk = with_chip();
    let before = disk.fork();
    let mut vault = open_at(&disk, SECRET, Some(1)).unwrap();
    refresh(&mut vault, 2).unwrap();
    assert!(vault.refreshed().is_none(), "the secret is forgotten");
    drop(vault);
    let unanswered = Some(OpenError::Unanswered);
    assert_eq!(error(open_at(&disk, SECRET, Some(1))), unanswered);
    let mut vault = open_at(&disk, SECRET, Some(2)).unwrap();
    assert!(has_records(&vault));
    vault.forget_secret();
    assert!(vault.refreshed().is_none());
    drop(vault);
    // A copy of before opens as long as its chip is there: so that has to end.
    assert!(open_at(&before, SECRET, Some(1)).is_ok());
    // The panic PIN and the phrase go on.
    assert!(open_at(&disk.fork(), PHRASE, None).is_ok());
    drop(open_at(&disk, PANIC, Some(2)).unwrap());
    assert_eq!(
        error(open_at(&disk, SECRET, Some(2))),
        Some(OpenError::WrongSecret)
    );
}

/// Names and rows as they are sealed, and the keys that they are sealed under.
type History = (Vec<(Vec<u8>, Vec<u8>)>, Vec<Option<reader::Key>>);

fn history(disk: &Disk, secret: &str) -> History {
    let seized = reader::seize(|name| disk.bytes(name), secret).unwrap();
    let keys = seized.rows.values().map(|row| {
        let slot = u32::from_be_bytes(row[..4].try_into().unwrap());
        seized.keys.get(slot as usize).map(|(_, key)| *key)
    });
    let keys = keys.collect();
    (seized.rows.into_iter().collect(), keys)
}

// [SPEC 11.43]
#[test]
fn no_change_of_secrets_or_mode_encrypts_the_history_anew() {
    let disk = with_panic_pin();
    let mut vault = open(&disk).unwrap();
    vault.set_recovery(&secret(), &phrase()).unwrap();
    let before = history(&disk, PHRASE);
    assert!(before.0.len() > 600);
    type Step = fn(&mut Vault);
    let steps: [Step; 5] = [
        |vault| set_chip(vault, 1).unwrap(),
        |vault| {
            let change = vault.with_secret(&secret(), &secret()).unwrap();
            let factors = enrolled(2, &change);
            vault.rewrap(change, &factors).unwrap();
        },
        |vault| {
            let change = vault.without_panic(&secret()).unwrap();
            let factors = enrolled(3, &change);
            vault.rewrap(change, &factors).unwrap();
        },
        |vault| {
            let change = vault.with_same(&secret()).unwrap();
            vault.rewrap(change, &Factors::default()).unwrap();
        },
        |vault| vault.change_secret(&secret(), &panic_pin()).unwrap(),
    ];
    for step in steps {
        let (sizes_before, records) = (sizes(&disk), disk.bytes("records"));
        step(&mut vault);
        assert!(history(&disk, PHRASE) == before);
        assert!(
            disk.bytes("records") == records,
            "nothing of the table was written"
        );
        assert_eq!(sizes(&disk), sizes_before);
    }
}

// [SPEC 11.43]
// [SPEC 11.52]
#[test]
fn a_crash_in_a_change_of_chips_leaves_the_old_or_the_new_whole() {
    type Step = fn(&mut Vault) -> Result<(), WriteError>;
    let plain = with_panic_pin();
    let mut vault = open(&plain).unwrap();
    vault.set_recovery(&secret(), &phrase()).unwrap();
    vault.lock().unwrap();
    let to_none: Step = |vault| {
        let change = vault.with_same(&secret()).unwrap();
        vault.rewrap(change, &Factors::default())
    };
    let changes: [(Disk, Option<u8>, Step, Option<u8>); 3] = [
        (plain, None, |vault| set_chip(vault, 1), Some(1)),
        (with_chip(), Some(1), |vault| refresh(vault, 2), Some(2)),
        (with_chip(), Some(1), to_none, None),
    ];
    for (start, before, step, after) in changes {
        let mut seen = [false; 2];
        for point in 0.. {
            let disk = start.fork();
            let mut vault = open_at(&disk, SECRET, before).unwrap();
            disk.crash_after(point);
            let done = step(&mut vault).is_ok();
            drop(vault);
            for loss in [Loss::All, Loss::Nothing, Loss::Torn, Loss::Random(point)] {
                let disk = disk.after_crash(loss);
                let what = format!("crash at {point}, {loss:?}");
                let there = named(&disk);
                assert!(there == before || there == after, "{what}");
                assert!(!done || there == after, "{what}");
                seen[usize::from(there == after)] = true;
                assert!(
                    has_records(&open_at(&disk, SECRET, there).unwrap()),
                    "{what}"
                );
                assert!(
                    has_records(&open_at(&disk, PHRASE, None).unwrap()),
                    "{what}"
                );
                let panicked = open_at(&disk, PANIC, there).unwrap();
                assert_eq!(panicked.status().unwrap().records, 0, "{what}");
            }
            if done {
                break;
            }
        }
        assert_eq!(seen, [true; 2]);
    }
}

/// Whatever a panic is cut off at, what is left to be destroyed elsewhere is named by the old header or
/// remembered by the empty vault, until it was done.
// [SPEC 11.56]
// [SPEC 11.57]
#[test]
fn a_panic_that_is_cut_off_remembers_what_is_left_to_be_done() {
    let start = with_chip();
    let fresh = with_panic_pin();
    open_at(&fresh, PANIC, None).unwrap().lock().unwrap();
    for point in 0.. {
        let disk = start.fork();
        disk.crash_after(point);
        let done = open_at(&disk, PANIC, Some(1)).is_ok();
        for loss in [Loss::All, Loss::Nothing, Loss::Torn, Loss::Random(point)] {
            let disk = disk.after_crash(loss);
            let what = format!("crash at {point}, {loss:?}");
            if open_at(&disk.fork(), SECRET, Some(1)).is_ok() {
                assert!(!done, "{what}");
                assert_eq!(named(&disk), Some(1), "{what}");
                continue;
            }
            let mut vault = open_at(&disk, PANIC, None).unwrap();
            assert_eq!(vault.status().unwrap().mode, Mode::Passphrase);
            assert_eq!(vault.errands(), ERRANDS, "{what}");
            vault.rotate().unwrap();
            drop(vault);
            let mut vault = open_at(&disk, PANIC, None).unwrap();
            assert_eq!(vault.errands(), ERRANDS, "{what}");
            let rest = ERRANDS.get(1..).unwrap();
            vault.set_errands(rest.to_vec()).unwrap();
            drop(vault);
            let mut vault = open_at(&disk, PANIC, None).unwrap();
            assert_eq!(vault.errands(), rest, "{what}");
            vault.errands_done().unwrap();
            vault.lock().unwrap();
            assert!(open_at(&disk, PANIC, None).unwrap().errands().is_empty());
            assert_eq!(sizes(&disk), sizes(&fresh));
        }
        if done {
            break;
        }
    }
}

// [SPEC 11.56]
// [SPEC 11.59]
#[test]
fn what_lies_elsewhere_is_destroyed_when_nothing_opens_any_more() {
    let old_opens = |disk: &Disk| open_at(&disk.fork(), SECRET, Some(1)).is_ok();
    // By the PIN.
    let disk = with_chip();
    let mut asked = 0;
    let locked = Locked::read(disk.boxed(), fresh_rng()).unwrap();
    let stretched = locked.stretch(&panic_pin()).unwrap();
    let answers = Answers {
        tpm: Some(chip(1, &stretched.tpm_input())),
        relays: Vec::new(),
    };
    let tried = locked.try_all(&stretched, &answers);
    let mut destroy = || {
        asked += 1;
        assert!(!old_opens(&disk.after_kill()));
    };
    let besides = Besides {
        errands: &mut |_| Vec::new(),
        destroy: &mut destroy,
    };
    drop(locked.proceed(stretched, tried, besides).unwrap());
    // By command, on an open vault.
    for panic_pin_is_set in [true, false] {
        let disk = with_chip();
        let mut vault = open_at(&disk, SECRET, Some(1)).unwrap();
        if !panic_pin_is_set {
            let change = vault.without_panic(&secret()).unwrap();
            let factors = enrolled(1, &change);
            vault.rewrap(change, &factors).unwrap();
        }
        let mut destroy = || {
            asked += 1;
            assert!(!old_opens(&disk.after_kill()));
        };
        let besides = Besides {
            errands: &mut |_| Vec::new(),
            destroy: &mut destroy,
        };
        assert_eq!(vault.panic(besides).unwrap().is_some(), panic_pin_is_set);
    }
    assert_eq!(asked, 3);
}

/// Cut off anywhere, the wipe that is done again destroys it, too, unless it was done before.
// [SPEC 11.59]
#[test]
fn a_wipe_names_what_lies_elsewhere_until_the_header_is_gone() {
    let start = with_chip();
    for point in 0.. {
        let disk = start.fork();
        disk.crash_after(point);
        let mut named = Vec::new();
        let done = wipe(disk.boxed(), fresh_rng(), &mut |area| {
            named.extend(area.first().copied());
        })
        .is_ok();
        let disk = disk.after_crash(Loss::Random(point));
        let gone = !disk.names().contains(&"header".to_owned());
        let again = wipe(disk.boxed(), fresh_rng(), &mut |area| {
            named.extend(area.first().copied());
        });
        assert!(again.is_ok() || gone, "{point}");
        assert!(named.contains(&1), "{point}");
        if done {
            break;
        }
    }
    // Where there is no factor, there is nothing.
    let disk = with_panic_pin();
    wipe(disk.boxed(), fresh_rng(), &mut |_| {
        panic!("nothing is elsewhere")
    })
    .unwrap();
}

// [SPEC 11.7]
// [SPEC 11.46]
#[test]
fn an_area_that_somebody_changed_is_noticed() {
    let disk = with_chip();
    disk.change("header", |bytes| {
        for copy in bytes.chunks_exact_mut(4096) {
            copy[3_000] ^= 1;
            reader::checksum(copy);
        }
    });
    let damaged = Some(OpenError::Corrupt(emptyroom_vault::Part::Header));
    assert_eq!(error(open_at(&disk, SECRET, Some(1))), damaged);
    let mut vault = open_at(&with_chip(), SECRET, Some(1)).unwrap();
    let change = vault.with_same(&secret()).unwrap();
    let mut factors = enrolled(1, &change);
    factors.area = vec![0; 2_801];
    assert_eq!(vault.rewrap(change, &factors), Err(WriteError::TooLong));
}
