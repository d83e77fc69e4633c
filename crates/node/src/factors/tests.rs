//! A vault and a TPM in software: what is cut off at any moment leaves a vault that opens, and nothing of ours in the TPM that is
//! not known.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use emptyroom_tpm::swtpm::Swtpm;
use emptyroom_tpm::{Destroyed, Place, Tpm};
use emptyroom_vault::os::OsDirectory;
use emptyroom_vault::{Besides, Change, KdfParams, Locked, Mode, OpenError, Passphrase, Vault};
use emptyroom_wire::address::{Host, RelayAddress};
use emptyroom_wire::relay_key::{Head, IdentityHash};
use emptyroom_wire::secret::Private;
use emptyroom_wire::share::ShareId;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::change::{Access, To, Ways, Work, is_due, refresh, rewrap};
use super::chip::Chip;
use super::noted::{self, Area, At, Errands, Failed, HOSTS_LEN_MAX, Noted, NotedPlace, NotedShare};
use super::{Asked, ask, tidy, told, vault_mode};
use crate::api::{Answer, Failure};
use crate::drill::{self, InUse, Outcome};
use disk::{Disk, Loss};

#[allow(
    dead_code,
    unreachable_pub,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing
)]
#[path = "../../../vault/tests/it/disk.rs"]
mod disk;

#[allow(dead_code, unreachable_pub, clippy::indexing_slicing)]
#[path = "../../../tpm/tests/it/bus.rs"]
mod bus;

mod errands;
mod lying;
mod relay;
mod trouble;

const SECRET: &str = "1357";
const PANIC: &str = "2468";
const PHRASE: &str = "sixteen bytes!!!";

/// A TPM of this test's own; where there is none, the test is not run, and says so in words that `cargo xtask test` counts.
pub(crate) fn software(test: &str) -> Option<Swtpm> {
    let swtpm = Swtpm::start().unwrap();
    if swtpm.is_none() {
        let line = format!("\nnot run: {test}: swtpm is missing (sudo apt-get install swtpm)\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    swtpm
}

fn text(secret: &str) -> Passphrase {
    Passphrase::from(secret.to_owned())
}

fn rng() -> Box<ChaCha20Rng> {
    Box::new(crate::seed::generator().unwrap())
}

/// The vault, which nobody else has.
struct Here(RefCell<Vault>);

impl Access for Here {
    fn send(&self, work: Work) -> bool {
        work(&mut self.0.borrow_mut());
        true
    }
}

/// The ways of a machine with a TPM there.
fn at(tpm: PathBuf) -> Ways {
    Ways {
        chip: Chip::at(tpm),
        carrier: Arc::new(crate::session::direct().unwrap()),
    }
}

/// A locked vault with a record, a panic PIN and a recovery phrase.
fn made() -> Disk {
    let disk = Disk::new();
    let rng = Box::new(ChaCha20Rng::seed_from_u64(1));
    let mut vault = Vault::create(disk.boxed(), &text(SECRET), KdfParams::minimum(), rng).unwrap();
    let record = Change {
        key: b"a".to_vec(),
        value: Some(b"1".to_vec()),
    };
    vault.apply(vec![record]).unwrap();
    let here = Here(RefCell::new(vault));
    let nowhere = at(PathBuf::from("/nowhere"));
    rewrap(&here, &nowhere, To::default(), |vault| {
        Ok(vault.with_panic(&text(SECRET), &text(PANIC)).unwrap())
    })
    .unwrap();
    rewrap(&here, &nowhere, To::default(), |vault| {
        Ok(vault.with_recovery(&text(SECRET), &text(PHRASE)).unwrap())
    })
    .unwrap();
    here.0.into_inner().lock().unwrap();
    disk
}

fn asked(disk: &Disk, secret: &str, ways: &Ways) -> (Result<Vault, OpenError>, Asked) {
    let locked = match Locked::read(disk.boxed(), rng()) {
        Ok(locked) => locked,
        Err(error) => return (Err(error), Asked::default()),
    };
    let Ok(stretched) = locked.stretch(&text(secret)) else {
        panic!("there is memory");
    };
    let asked = ask(&locked, &stretched, ways, secret == PHRASE);
    let tried = locked.try_all(&stretched, &asked.answers);
    let besides = Besides {
        errands: &mut |secret| asked.errands(secret),
        destroy: &mut || {
            // Who was cut off asks nobody.
            if disk.boxed().open("header").is_ok() {
                asked.destroy(ways);
            }
        },
    };
    (locked.proceed(stretched, tried, besides), asked)
}

fn open(disk: &Disk, secret: &str, ways: &Ways) -> Result<Vault, OpenError> {
    asked(disk, secret, ways).0
}

fn set_mode(vault: Vault, ways: &Ways, mode: Mode) -> (Vault, Result<(), Failure>) {
    let here = Here(RefCell::new(vault));
    let to = To {
        mode: Some(mode),
        relays: Vec::new(),
    };
    let set = rewrap(&here, ways, to, |vault| {
        Ok(vault.with_same(&text(SECRET)).unwrap())
    })
    .and_then(|()| tidy::tidy(&here, ways));
    (here.0.into_inner(), set)
}

/// A locked vault in a home, which takes that TPM.
pub(crate) fn tied(home: &Path, swtpm: &Swtpm) {
    let place = Box::new(OsDirectory::create(home).unwrap());
    let vault = Vault::create(place, &text(SECRET), KdfParams::minimum(), rng()).unwrap();
    let (vault, set) = set_mode(vault, &at(swtpm.socket()), Mode::Tpm);
    set.unwrap();
    vault.lock().unwrap();
}

fn refreshed(vault: Vault, ways: &Ways) -> (Vault, Result<(), Failure>) {
    let here = Here(RefCell::new(vault));
    let made = refresh(&here, ways);
    (here.0.into_inner(), made)
}

fn with_tpm(ways: &Ways) -> Disk {
    let disk = made();
    let (vault, set) = set_mode(open(&disk, SECRET, ways).unwrap(), ways, Mode::Tpm);
    set.unwrap();
    vault.lock().unwrap();
    disk
}

fn has_record(vault: &Vault) -> bool {
    vault
        .get(b"a")
        .unwrap()
        .is_some_and(|value| **value == *b"1")
}

fn tpm(swtpm: &Swtpm) -> Tpm {
    Tpm::open(&swtpm.socket(), rng()).unwrap().unwrap()
}

/// How many more indexes a TPM takes: nothing was left in it where that is as before.
fn room(swtpm: &Swtpm) -> usize {
    let mut tpm = tpm(swtpm);
    let mut made: Vec<Place> = Vec::new();
    loop {
        let place = tpm.free_place().unwrap();
        if tpm.enrol(place).is_err() {
            break;
        }
        made.push(place);
    }
    for place in &made {
        assert_eq!(tpm.destroy(*place), Ok(Destroyed::Removed));
    }
    made.len()
}

/// Each step of a change or a refresh cut off, with what the disk may make of it: the vault opens by its PIN and by its
/// words, the refresh after that leaves one index in the TPM, and the mode back to none leaves nothing.
// [SPEC 11.35]
// [SPEC 11.43]
// [SPEC 11.52]
#[test]
fn cut_off_anywhere_it_opens_and_leaves_nothing_behind() {
    let Some(swtpm) = software("cut_off_anywhere_it_opens_and_leaves_nothing_behind") else {
        return;
    };
    let ways = at(swtpm.socket());
    let room_before = room(&swtpm);
    type Step = fn(Vault, &Ways) -> (Vault, Result<(), Failure>);
    let steps: [(Mode, Step); 3] = [
        (Mode::Passphrase, |vault, ways| {
            set_mode(vault, ways, Mode::Tpm)
        }),
        (Mode::Tpm, refreshed),
        (Mode::Tpm, |vault, ways| {
            set_mode(vault, ways, Mode::Passphrase)
        }),
    ];
    for (before, step) in steps {
        let mut seen = Vec::new();
        for point in 0.. {
            let disk = match before {
                Mode::Passphrase => made(),
                _ => with_tpm(&ways),
            };
            let vault = open(&disk, SECRET, &ways).unwrap();
            disk.crash_after(point);
            let (vault, done) = step(vault, &ways);
            drop(vault);
            let loss = match point % 3 {
                0 => Loss::All,
                1 => Loss::Nothing,
                _ => Loss::Random(point),
            };
            let disk = disk.after_crash(loss);
            let what = format!("cut off at {point}, {loss:?}");
            assert!(
                has_record(&open(&disk.fork(), PHRASE, &ways).unwrap()),
                "{what}"
            );
            let vault = open(&disk, SECRET, &ways).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert!(has_record(&vault), "{what}");
            seen.push(vault.mode());
            // As the program does: where nothing is due, nothing is left.
            let vault = if is_due(&vault) {
                let (vault, again) = refreshed(vault, &ways);
                again.unwrap_or_else(|e| panic!("{what}: {e}"));
                vault
            } else {
                vault
            };
            let left = Noted::read(&vault).unwrap().places;
            let in_header = noted::area_of(&vault).place();
            assert!(left.iter().map(|noted| noted.place).eq(in_header), "{what}");
            let (vault, back) = set_mode(vault, &ways, Mode::Passphrase);
            back.unwrap();
            assert!(tidy::all(&vault).is_empty(), "{what}");
            drop(vault);
            if done.is_ok() {
                break;
            }
        }
        if before == Mode::Passphrase {
            assert!(seen.contains(&Mode::Passphrase) && seen.contains(&Mode::Tpm));
        }
    }
    assert_eq!(room(&swtpm), room_before);
}

/// The second copy of a new header could not be written: the change counts, and what may be left of the one before is told.
// [SPEC 12.50]
#[test]
fn a_header_before_that_may_be_left_is_told() {
    let nowhere = at(PathBuf::from("/nowhere"));
    let mut told = 0;
    for point in 0.. {
        let disk = made();
        let here = Here(RefCell::new(open(&disk, SECRET, &nowhere).unwrap()));
        let steps = disk.steps();
        disk.fail_step(point, std::io::ErrorKind::Other);
        let done = rewrap(&here, &nowhere, To::default(), |vault| {
            Ok(vault.with_panic(&text(SECRET), &text("3579")).unwrap())
        });
        let is_over = disk.steps() - steps < point;
        let Ok(Answer::VaultMode { left, .. }) = vault_mode(&here, &[]) else {
            panic!("what is left is not told");
        };
        if is_over {
            done.unwrap();
            assert!(left.is_empty());
            break;
        }
        told += usize::from(done.is_ok() && !left.is_empty());
    }
    assert!(told > 0);
}

/// One write or sync that fails, at each step, and everything works again after it: whichever header the disk has then, the TPM has
/// its index.
// [SPEC 11.44]
// [SPEC 11.52]
#[test]
fn a_write_that_fails_once_locks_nobody_out() {
    let Some(swtpm) = software("a_write_that_fails_once_locks_nobody_out") else {
        return;
    };
    let ways = at(swtpm.socket());
    let room_before = room(&swtpm);
    let mut failed = 0;
    for before in [Mode::Passphrase, Mode::Tpm] {
        for point in 0.. {
            let disk = match before {
                Mode::Passphrase => made(),
                _ => with_tpm(&ways),
            };
            let vault = open(&disk, SECRET, &ways).unwrap();
            let kind = match point % 2 {
                0 => std::io::ErrorKind::Other,
                _ => std::io::ErrorKind::StorageFull,
            };
            let steps = disk.steps();
            disk.fail_step(point, kind);
            let (vault, done) = match before {
                Mode::Passphrase => {
                    let (vault, set) = set_mode(vault, &ways, Mode::Tpm);
                    let here = Here(RefCell::new(vault));
                    // As the program does, also after a change that failed.
                    let _ = tidy::tidy(&here, &ways);
                    (here.0.into_inner(), set)
                }
                _ => refreshed(vault, &ways),
            };
            let is_over = disk.steps() - steps < point;
            failed += u32::from(done.is_err());
            // Killed now, with what the process had written; locked; and the power cut.
            let mut disks = vec![disk.after_kill()];
            let _ = vault.lock();
            disks.extend(
                [Loss::All, Loss::Nothing, Loss::Random(point)].map(|l| disk.after_crash(l)),
            );
            disks.push(disk.after_kill());
            let count = disks.len();
            for (number, disk) in disks.into_iter().enumerate() {
                let what = format!("{kind} at {point} of {before:?}, disk {number}");
                let vault = open(&disk, SECRET, &ways).unwrap_or_else(|e| panic!("{what}: {e}"));
                assert!(has_record(&vault), "{what}");
                if number + 1 == count {
                    // All of it was noted.
                    let (vault, _) = refreshed(vault, &ways);
                    let (vault, back) = set_mode(vault, &ways, Mode::Passphrase);
                    back.unwrap();
                    assert!(tidy::all(&vault).is_empty(), "{what}");
                }
            }
            if is_over {
                break;
            }
        }
    }
    assert!(failed > 5, "{failed}");
    assert_eq!(room(&swtpm), room_before);
}

/// The panic PIN cut off anywhere: once nothing of the old vault opens, its index is gone when the empty one was opened.
// [SPEC 11.56]
// [SPEC 11.57]
#[test]
fn a_panic_ends_the_index_whatever_it_is_cut_off_at() {
    let Some(swtpm) = software("a_panic_ends_the_index_whatever_it_is_cut_off_at") else {
        return;
    };
    let ways = at(swtpm.socket());
    let gone = at(PathBuf::from("/nowhere"));
    for point in 0.. {
        let disk = with_tpm(&ways);
        let image = disk.fork();
        disk.crash_after(point);
        let done = open(&disk, PANIC, &ways).is_ok();
        let disk = disk.after_crash(Loss::Random(point));
        let what = format!("cut off at {point}");
        if let Ok(vault) = open(&disk, PANIC, &gone) {
            // The errand waits for the TPM.
            let (vault, made) = refreshed(vault, &gone);
            made.unwrap();
            drop(vault);
        }
        let vault = open(&disk, PANIC, &ways).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert!(!has_record(&vault), "{what}");
        let (vault, made) = refreshed(vault, &ways);
        made.unwrap();
        assert!(tidy::all(&vault).is_empty(), "{what}");
        assert!(vault.status().unwrap().records == 0, "{what}");
        // A copy from before opens no longer, though its PIN is right.
        let (opened, asked) = asked(&image, SECRET, &ways);
        assert_eq!(opened.err(), Some(OpenError::Unanswered), "{what}");
        assert_eq!(asked.trouble.unwrap().error, "vault_tpm_cleared", "{what}");
        if done {
            break;
        }
    }
}

// [SPEC 11.48]
// [SPEC 11.49]
// [SPEC 11.52]
#[test]
fn wrong_pins_are_counted_and_a_refresh_ends_copies() {
    let Some(swtpm) = software("wrong_pins_are_counted_and_a_refresh_ends_copies") else {
        return;
    };
    let ways = at(swtpm.socket());
    let disk = with_tpm(&ways);
    let wrong = |times: u32| {
        for _ in 0..times {
            assert_eq!(
                open(&disk, "wrong", &ways).err(),
                Some(OpenError::WrongSecret)
            );
        }
        asked(&disk, "wrong", &ways).1.left()
    };
    assert_eq!(wrong(3), None);
    assert_eq!(wrong(0), Some(5));
    // Words are asked of nobody.
    drop(open(&disk, PHRASE, &ways).unwrap());
    let image = disk.fork();
    let (vault, asked_right) = asked(&disk, SECRET, &ways);
    let before = asked_right.wrong_before().unwrap();
    assert_eq!((before.wrong, before.left), (5, 5));
    let (vault, made) = refreshed(vault.unwrap(), &ways);
    made.unwrap();
    assert!(vault.refreshed().is_none());
    drop(vault);
    assert!(asked(&disk, SECRET, &ways).1.wrong_before().is_none());
    // The copy's PIN is right, and its index is gone.
    let (opened, asked_image) = asked(&image, SECRET, &ways);
    assert_eq!(opened.err(), Some(OpenError::Unanswered));
    assert_eq!(asked_image.trouble.unwrap().error, "vault_tpm_cleared");
    assert_eq!(wrong(8), Some(0));
    let (opened, asked_late) = asked(&disk, SECRET, &ways);
    assert_eq!(opened.err(), Some(OpenError::Unanswered));
    assert_eq!(asked_late.trouble.unwrap().error, "vault_no_attempts");
    assert!(has_record(&open(&disk, PHRASE, &ways).unwrap()));
}

/// Where there is no room for a new index, the old one gets its tries back and goes on.
// [SPEC 11.53]
#[test]
fn without_room_for_a_new_index_the_tries_are_set_back() {
    let Some(swtpm) = software("without_room_for_a_new_index_the_tries_are_set_back") else {
        return;
    };
    let ways = at(swtpm.socket());
    let disk = with_tpm(&ways);
    let mut others = tpm(&swtpm);
    loop {
        let place = others.free_place().unwrap();
        if others.enrol(place).is_err() {
            break;
        }
    }
    for _ in 0..6 {
        drop(open(&disk, "wrong", &ways));
    }
    let (vault, made) = refreshed(open(&disk, SECRET, &ways).unwrap(), &ways);
    assert_eq!(made.unwrap_err().error, "vault_tpm_full");
    assert!(
        vault.refreshed().is_none(),
        "the PIN is forgotten all the same"
    );
    drop(vault);
    let (opened, asked) = asked(&disk, SECRET, &ways);
    assert!(has_record(&opened.unwrap()));
    assert!(asked.wrong_before().is_none());
}

/// The vault until somebody has it destroyed.
struct Until(Here, Cell<u32>);

impl Access for Until {
    fn send(&self, work: Work) -> bool {
        let left = self.1.get();
        self.1.set(left.saturating_sub(1));
        left > 0 && self.0.send(work)
    }
}

/// A refresh that finds the vault gone leaves no index behind that it made.
// [SPEC 11.56]
#[test]
fn a_refresh_of_a_vault_that_is_gone_leaves_no_index() {
    let Some(swtpm) = software("a_refresh_of_a_vault_that_is_gone_leaves_no_index") else {
        return;
    };
    let ways = at(swtpm.socket());
    let disk = with_tpm(&ways);
    for works in 0.. {
        let vault = open(&disk, SECRET, &ways).unwrap();
        let before = noted::area_of(&vault).place();
        let until = Until(Here(RefCell::new(vault)), Cell::new(works));
        let made = refresh(&until, &ways);
        let vault = until.0.0.into_inner();
        if noted::area_of(&vault).place() != before {
            assert!(works > 3);
            break;
        }
        assert!(made.is_err());
        let noted = Noted::read(&vault).unwrap();
        for entry in noted.places {
            if Some(entry.place) != before {
                assert_eq!(tpm(&swtpm).destroy(entry.place), Ok(Destroyed::WasGone));
            }
        }
    }
}

/// Which commands the TPM gets, and how long they and its answers are, tells nobody which PIN it was.
// [SPEC 11.40]
#[test]
fn the_tpm_is_asked_the_same_whatever_the_secret_is() {
    let Some(swtpm) = software("the_tpm_is_asked_the_same_whatever_the_secret_is") else {
        return;
    };
    let bus = bus::Bus::before(&swtpm);
    let ways = at(bus.socket.clone());
    let disk = with_tpm(&ways);
    let trace = |secret: &str| {
        let (sender, seen) = std::sync::mpsc::channel();
        bus.tap(move |_, is_answer, message| {
            let code: [u8; 4] = message[6..10].try_into().unwrap();
            sender.send((is_answer, message.len(), code)).unwrap();
            bus::Verdict::Pass
        });
        let locked = Locked::read(disk.boxed(), rng()).unwrap();
        let Ok(stretched) = locked.stretch(&text(secret)) else {
            panic!("there is memory");
        };
        let asked = ask(&locked, &stretched, &ways, false);
        drop(locked.try_all(&stretched, &asked.answers));
        bus.tap(|_, _, _| bus::Verdict::Pass);
        seen.into_iter().collect::<Vec<_>>()
    };
    let right = trace(SECRET);
    assert!(right.len() > 20, "{}", right.len());
    assert_eq!(trace(PANIC), right);
    assert_eq!(trace("wrong"), right);
}

/// A drill in the mode of the vault passes, leaves nothing in the TPM or noted, and fails where a TPM only says that it destroyed.
// [SPEC 11.92]
#[test]
fn a_drill_of_the_mode_finds_a_tpm_that_does_not_obey() {
    let Some(swtpm) = software("a_drill_of_the_mode_finds_a_tpm_that_does_not_obey") else {
        return;
    };
    let bus = bus::Bus::before(&swtpm);
    let ways = at(bus.socket.clone());
    let room_before = room(&swtpm);
    let vault = open(&with_tpm(&ways), SECRET, &ways).unwrap();
    let real = Here(RefCell::new(vault));
    let home = std::env::temp_dir().join(format!("emptyroom-node-{}-mode", std::process::id()));
    std::fs::create_dir_all(&home).unwrap();
    let drill = || {
        let in_use = InUse {
            mode: Mode::Tpm,
            relays: Vec::new(),
            ways: ways.clone(),
            real: &real,
        };
        drill::run(&home, KdfParams::minimum(), &in_use)
    };
    let Outcome::Passed(steps) = drill() else {
        panic!("it passes");
    };
    assert_eq!(steps.len(), 6);
    assert_eq!(room(&swtpm) + 1, room_before);
    assert!(Noted::read(&real.0.borrow()).unwrap().errands.is_empty());
    bus.tap(|_, is_answer, message| {
        const UNDEFINE: [u8; 4] = [0, 0, 1, 0x22];
        if is_answer || message[6..10] != UNDEFINE {
            return bus::Verdict::Pass;
        }
        let done = [0x80, 2, 0, 0, 0, 19, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
        bus::Verdict::Answer(done.to_vec())
    });
    let Outcome::Failed(failure) = drill() else {
        panic!("nothing was destroyed");
    };
    assert_eq!(failure.error, "drill_failed");
    assert!(failure.text.contains("still answers"), "{}", failure.text);
    // What is left of it is noted, and destroyed by the next opening.
    bus.tap(|_, _, _| bus::Verdict::Pass);
    assert!(!Noted::read(&real.0.borrow()).unwrap().errands.is_empty());
    refresh(&real, &ways).unwrap();
    assert_eq!(room(&swtpm) + 1, room_before);
    std::fs::remove_dir_all(&home).unwrap();
}

/// Behind what a vault with a TPM names come random bytes; and from an area that does not say what there is nobody concludes that
/// there is nothing.
// [SPEC 11.46] [SPEC 12.44]
#[test]
fn what_an_area_names_is_read_whatever_follows() {
    let Some(swtpm) = software("what_an_area_names_is_read_whatever_follows") else {
        return;
    };
    let ways = at(swtpm.socket());
    let disk = with_tpm(&ways);
    let vault = open(&disk, SECRET, &ways).unwrap();
    let mut area = vault.area().to_vec();
    let named = noted::Area::decode(&area).unwrap();
    let len = named.encode().len();
    for rest in [0x00, 0x01, 0xff] {
        area[len..].fill(rest);
        assert_eq!(noted::Area::decode(&area).unwrap().place(), named.place());
    }
    area[..2].fill(0xff);
    assert!(noted::Area::decode(&area).is_none());
    assert_eq!(ways.destroy_named(&area).len(), 1);
}

/// Only the TPM that has an index knows that it is gone: another one, which has none at that place, is not believed.
// [SPEC 11.57]
#[test]
fn another_tpm_is_not_believed() {
    let Some(swtpm) = software("another_tpm_is_not_believed") else {
        return;
    };
    let other = Swtpm::start().unwrap().unwrap();
    let (ways, elsewhere) = (at(swtpm.socket()), at(other.socket()));
    let disk = with_tpm(&ways);
    let image = disk.fork();
    // Moved to another machine, and opened there by the words.
    let here = Here(RefCell::new(open(&disk, PHRASE, &elsewhere).unwrap()));
    let area = here.0.borrow().area().to_vec();
    assert_eq!(elsewhere.destroy_named(&area).len(), 1);
    rewrap(&here, &elsewhere, To::default(), |vault| {
        let begun = vault.with_secret(&text(PHRASE), &text("9753"));
        Ok(begun.unwrap())
    })
    .unwrap();
    let left = |here: &Here| {
        let vault = here.0.borrow();
        Noted::read(&vault)
            .unwrap()
            .left(&noted::area_of(&vault))
            .len()
    };
    tidy::tidy(&here, &elsewhere).unwrap();
    assert_eq!(left(&here), 1);
    assert!(has_record(&open(&image, SECRET, &ways).unwrap()));
    tidy::tidy(&here, &ways).unwrap();
    assert_eq!(left(&here), 0);
    assert!(open(&image, SECRET, &ways).is_err());
}

/// What a vault left that the panic PIN ended is not told, and what a change left is.
// [SPEC 12.42] [SPEC 12.50]
#[test]
fn what_is_left_is_told_but_not_of_a_vault_that_is_gone() {
    let place = Place::from_number(0x0180_0007).unwrap();
    let noted = Noted {
        places: vec![NotedPlace {
            place,
            reset: None,
            tpm: None,
        }],
        errands: Errands {
            places: vec![Place::from_number(0x0180_0008).unwrap()],
            deletes: Vec::new(),
        },
        ..Noted::default()
    };
    let told = ["index 0x01800007 of the TPM".to_owned()];
    assert_eq!(noted.left(&Area::default()), told);
    assert!(noted.has_something());
}

fn share_at(n: u8) -> At {
    At {
        hosts: vec![host(&format!("relay-{n}:443"))],
        relay: IdentityHash([n; 32]),
        id: ShareId::new([n; 32]),
        head: None,
    }
}

/// Which relay answered wrongly shows by what the vault knows of its share, and is told until the next opening.
// [SPEC 11.53]
#[test]
fn a_relay_that_answers_wrongly_is_named() {
    let vault = open(&made(), SECRET, &at(PathBuf::from("/nowhere")));
    let mut vault = vault.unwrap();
    let noted = Noted {
        shares: (1..4)
            .map(|n| NotedShare {
                at: share_at(n),
                noted_ms: 1,
                answers: [n; 16],
                left: 10,
                needed: 2,
            })
            .collect(),
        ..Noted::default()
    };
    noted.write(&mut vault).unwrap();
    let area = Area {
        shares: (1..4).map(share_at).collect(),
        ..Area::default()
    };
    let asked = |heard: Vec<(usize, [u8; 16])>| Asked {
        heard: heard.into_iter().map(|(n, begin)| (n, begin, 9)).collect(),
        area: area.clone(),
        ..Asked::default()
    };
    asked(vec![(0, [1; 16]), (1, [9; 16]), (2, [3; 16])]).settle(&mut vault);
    assert_eq!(told(&vault).wrong_relays, ["relay-2:443"]);
    // Whoever tried chose whom he asked: three times the first and the second, of which the vault knew these uses.
    let mut noted = Noted::read(&vault).unwrap();
    for (share, left) in noted.shares.iter_mut().zip([7, 10, 7]) {
        share.left = left;
    }
    noted.write(&mut vault).unwrap();
    let mut uneven = Asked {
        heard: vec![(0, [1; 16], 3), (1, [9; 16], 6), (2, [3; 16], 6)],
        area: area.clone(),
        ..Asked::default()
    };
    uneven.settle(&mut vault);
    assert_eq!(uneven.wrong_before().map(|before| before.wrong), Some(3));
    // Nobody was asked, as with the recovery words: nothing is known.
    asked(Vec::new()).settle(&mut vault);
    assert_eq!(told(&vault).wrong_relays.len(), 1);
    asked(vec![(0, [1; 16]), (1, [2; 16])]).settle(&mut vault);
    assert!(told(&vault).wrong_relays.is_empty());
}

/// What is noted comes back, also of a vault that noted less; the relays that were chosen last count with the header that names
/// their share.
// [SPEC 11.52]
#[test]
fn what_is_noted_comes_back() {
    let address = |n: u8| RelayAddress {
        host: host(&format!("relay-{n}:443")),
        others: Vec::new(),
        identity: IdentityHash([n; 32]),
        code: None,
    };
    let vault = open(&made(), SECRET, &at(PathBuf::from("/nowhere")));
    let mut vault = vault.unwrap();
    let with_head = At {
        head: Some(Head {
            number: 7,
            hash: Private([7; 32]),
        }),
        ..share_at(1)
    };
    let noted = Noted {
        shares: vec![NotedShare {
            at: with_head.clone(),
            noted_ms: 5,
            answers: [6; 16],
            left: 4,
            needed: 3,
        }],
        relays: vec![address(1)],
        chosen: Some((ShareId::new([2; 32]), vec![address(2)])),
        failed: Some(Failed {
            since_ms: 9,
            error: "e".into(),
            text: "t".into(),
        }),
        wrong: vec!["w".into()],
        ..Noted::default()
    };
    noted.write(&mut vault).unwrap();
    let read = Noted::read(&vault).unwrap();
    assert!(read.shares[0].at == with_head && read.shares[0].at.head == with_head.head);
    assert_eq!(
        (read.shares[0].noted_ms, read.shares[0].answers),
        (5, [6; 16])
    );
    assert_eq!((read.shares[0].left, read.shares[0].needed), (4, 3));
    assert!(read.failed == noted.failed);
    assert_eq!(read.wrong, noted.wrong);
    let names = |n: u8| Area {
        shares: vec![share_at(n)],
        ..Area::default()
    };
    assert!(read.relays_of(&names(1)) == noted.relays);
    assert!(read.relays_of(&names(2)) == noted.chosen.unwrap().1);
    // The header names it: it stays. Others go, and after their lease nobody is asked.
    assert_eq!(read.unused(&names(1)).count(), 0);
    assert_eq!(read.unused(&names(4)).count(), 1);
    // Of one refresh, as many as open a copy; fewer open none.
    let old_of = |noted_ms: [u64; 3], (used, needed): (u8, u8), is_left_in_tpm: bool| {
        let shares = (1..4).zip(noted_ms).map(|(n, noted_ms)| NotedShare {
            at: share_at(n),
            noted_ms,
            answers: [0; 16],
            left: 10,
            needed,
        });
        let noted = Noted {
            shares: shares.collect(),
            ..Noted::default()
        };
        noted.old_shares(&names(used), is_left_in_tpm)
    };
    let old = |noted_ms, used, needed| old_of(noted_ms, (used, needed), false);
    assert_eq!(old([5, 5, 5], 3, 2), ["relay-1:443", "relay-2:443"]);
    assert!(old([5, 6, 5], 3, 2).is_empty() && old([5, 6, 7], 9, 2).is_empty());
    // Nor those that no header named; and one alone is enough where one was.
    assert!(old([5, 5, 5], 9, 0).is_empty());
    assert_eq!(old([5, 6, 7], 3, 1), ["relay-1:443", "relay-2:443"]);
    // Nor where a key in the TPM is needed with them, which is gone.
    assert!(old([5, 5, 5], 3, 2 | noted::TPM_TOO).is_empty());
    let with_key = old_of([5, 5, 5], (3, 2 | noted::TPM_TOO), true);
    assert_eq!(with_key, ["relay-1:443", "relay-2:443"]);
    // [SPEC 11.121]
    let noted_ms = 1_800_000_000_000;
    let mut late = read.clone();
    late.shares[0].noted_ms = noted_ms;
    let over = |now_ms: Option<u64>| (read.over(now_ms).len(), late.over(now_ms).len());
    let end_ms = noted_ms + 800 * emptyroom_wire::time::DAY_MS;
    let overs = [None, Some(end_ms), Some(end_ms + 1)].map(over);
    assert_eq!(overs, [(0, 0), (0, 0), (0, 1)]);
}

/// A relay does not see by their owner keys which shares belong together.
// [SPEC 11.54]
#[test]
fn every_share_has_its_own_owner_key() {
    let key = |relay: u8, id: u8| {
        let (relay, id) = (IdentityHash([relay; 32]), ShareId::new([id; 32]));
        super::relays::owner(&[1; 32], &relay, &id).verify_key().0
    };
    let keys = [key(1, 1), key(1, 2), key(2, 1)];
    assert!(keys[0] != keys[1] && keys[0] != keys[2] && keys[1] != keys[2]);
}

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

/// The longest area that can be has its place in a header, and so has what an empty vault must remember.
// [SPEC 11.46]
// [SPEC 11.57]
#[test]
fn areas_and_errands_are_what_they_were() {
    let hosts = vec![host(&format!(
        "{}.{}:65535",
        "a".repeat(50),
        "b".repeat(50)
    ))];
    let at = |n: u8| At {
        hosts: hosts.clone(),
        relay: IdentityHash([n; 32]),
        id: ShareId::new([n; 32]),
        head: Some(Head {
            number: u64::from(n),
            hash: Private([n; 32]),
        }),
    };
    let area = Area {
        enrolment: None,
        needed: 3,
        shares: (1..6).map(at).collect(),
        masked: [1, 2, 3, 4].map(|n| vec![[n; 32]; 5]),
    };
    let encoded = area.encode();
    assert!(encoded.len() + emptyroom_tpm::ENROLMENT_LEN_MAX <= 2_750);
    let longest = HOSTS_LEN_MAX - noted::hosts_text(&hosts).len();
    assert!(encoded.len() + 5 * longest + emptyroom_tpm::ENROLMENT_LEN_MAX <= 2_758);
    let read = Area::decode(&[&encoded[..], &[7; 500]].concat()).unwrap();
    assert!(read.encode() == encoded && read.to_ask().is_some());
    for len in 0..encoded.len() {
        assert!(Area::decode(&encoded[..len]).is_none(), "{len}");
    }
    for data in [&[0xff; 2_800][..], &[0; 2_800], &[]] {
        noted::fuzz_area(data);
    }
    let numbers = [0x0180_0000, 0x01bf_ffff];
    let errands = Errands {
        places: numbers.into_iter().filter_map(Place::from_number).collect(),
        deletes: (0..5)
            .map(|n| super::relays::order(&[n; 32], &at(n)))
            .collect(),
    };
    let encoded = errands.encode();
    assert!(encoded.len() <= 2_700);
    assert!(Errands::decode(&encoded).unwrap() == errands);
    assert!(Errands::decode(&encoded[1..]).is_none());
}
