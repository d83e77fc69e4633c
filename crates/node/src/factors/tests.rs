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
use super::noted::{
    self, Area, At, Errands, Failed, HOSTS_LEN_MAX, Noted, NotedPlace, NotedShare, Pause,
};
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

mod cuts;
mod errands;
mod formats;
mod lying;
pub(super) mod relay;
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

fn share_at(n: u8) -> At {
    At {
        hosts: vec![host(&format!("relay-{n}:443"))],
        relay: IdentityHash([n; 32]),
        id: ShareId::new([n; 32]),
        head: None,
    }
}

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}
