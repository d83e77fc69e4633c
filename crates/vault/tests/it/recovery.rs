//! The recovery phrase: a second way into the same vault.

use emptyroom_vault::{OpenError, Passphrase, SecretError, Vault};

use crate::disk::{Disk, Loss};
use crate::reader;
use crate::support::{
    Changes, PANIC, SECRET, create, open, open_with, panic_pin, put, secret, value, with_panic_pin,
};

const PHRASE: &str = "sixteen bytes!!!";
const WRONG: Option<OpenError> = Some(OpenError::WrongSecret);

fn phrase() -> Passphrase {
    Passphrase::from(PHRASE.to_owned())
}

fn new_pin() -> Passphrase {
    Passphrase::from("a new pin".to_owned())
}

fn has_a(disk: &Disk, secret: &str) -> bool {
    let vault = open_with(disk, secret).unwrap();
    value(&vault, "a") == Some(b"1".to_vec())
}

// [SPEC 11.47]
#[test]
fn it_opens_the_vault_whatever_becomes_of_the_pin() {
    let disk = with_panic_pin();
    let mut vault = open(&disk).unwrap();
    let wrong = Err(SecretError::WrongSecret);
    assert_eq!(vault.set_recovery(&phrase(), &phrase()), wrong);
    vault.set_recovery(&secret(), &phrase()).unwrap();
    // It is a present secret for a new PIN, and for nothing else.
    assert_eq!(vault.set_panic(&phrase(), &panic_pin()), wrong);
    assert_eq!(vault.unset_panic(&phrase()), wrong);
    assert_eq!(vault.unset_recovery(&phrase()), wrong);
    vault.lock().unwrap();
    assert!(has_a(&disk, PHRASE) && has_a(&disk, SECRET));
    let mut vault = open_with(&disk, PHRASE).unwrap();
    vault.change_secret(&phrase(), &new_pin()).unwrap();
    vault.lock().unwrap();
    assert_eq!(open(&disk).err(), WRONG);
    assert!(has_a(&disk, "a new pin") && has_a(&disk, PHRASE));
    // The panic PIN outlived it, and leaves no phrase.
    let panicked = disk.fork();
    drop(open_with(&panicked, PANIC).unwrap());
    assert_eq!(open_with(&panicked, PHRASE).err(), WRONG);
    let mut vault = open_with(&disk, "a new pin").unwrap();
    for _ in 0..2 {
        vault.unset_recovery(&new_pin()).unwrap();
    }
    vault.lock().unwrap();
    assert_eq!(open_with(&disk, PHRASE).err(), WRONG);
    assert!(has_a(&disk, "a new pin"));
}

// [SPEC 11.43]
#[test]
fn a_crash_while_it_is_set_leaves_the_old_or_the_new_whole() {
    type Step = fn(&mut Vault) -> Result<(), SecretError>;
    let steps: [(Step, bool, bool); 3] = [
        (
            |vault| vault.set_recovery(&secret(), &phrase()),
            false,
            true,
        ),
        (|vault| vault.unset_recovery(&secret()), true, false),
        (
            |vault| vault.change_secret(&phrase(), &secret()),
            true,
            true,
        ),
    ];
    for (step, before, after) in steps {
        let mut seen = Vec::new();
        for point in 0.. {
            let disk = Disk::new();
            let mut vault = create(&disk).unwrap();
            vault.set_panic(&secret(), &panic_pin()).unwrap();
            if before {
                vault.set_recovery(&secret(), &phrase()).unwrap();
            }
            vault.apply(vec![put("a", b"1")]).unwrap();
            disk.crash_after(point);
            let done = step(&mut vault).is_ok();
            drop(vault);
            for loss in [Loss::All, Loss::Nothing, Loss::Torn, Loss::Random(point)] {
                let disk = disk.after_crash(loss);
                let what = format!("crash at {point}, {loss:?}");
                let has = match open_with(&disk, PHRASE) {
                    Ok(vault) => {
                        assert_eq!(value(&vault, "a"), Some(b"1".to_vec()), "{what}");
                        true
                    }
                    Err(e) => {
                        assert_eq!(Some(e), WRONG, "{what}");
                        false
                    }
                };
                assert!(has == before || has == after, "{what}");
                assert!(!done || has == after, "{what}");
                assert!(has_a(&disk, SECRET), "{what}");
                let header = reader::newest_header(&disk.bytes("header"), SECRET).unwrap();
                assert_eq!(header.recovery.is_some(), has, "{what}");
                assert_eq!(reader::kinds(&disk.bytes("header")[..4096], PANIC), [2]);
                seen.push(has);
            }
            if done {
                break;
            }
        }
        assert!(seen.contains(&before) && seen.contains(&after));
    }
}
