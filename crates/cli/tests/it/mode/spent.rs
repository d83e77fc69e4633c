//! What an opening spends of the TPM's tries where nothing comes of it: nobody is locked out by ordinary trouble.

use std::sync::atomic::{AtomicU64, Ordering};

use emptyroom_vault::os::OsDirectory;
use emptyroom_vault::{Change, Factors, Passphrase, Vault};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::*;

const CONTACTS: [&str; 2] = ["--json", "contacts"];

/// A phrase that opens the vault without its factors.
const PHRASE: [u8; 16] = [7; 16];

static SEEDS: AtomicU64 = AtomicU64::new(1);

fn open(owner: &Owner, secret: Passphrase) -> Vault {
    let place = Box::new(OsDirectory::at(&owner.person.home));
    let seed = SEEDS.fetch_add(1, Ordering::Relaxed);
    Vault::open(place, &secret, Box::new(ChaCha20Rng::seed_from_u64(seed))).unwrap()
}

/// A file that cannot be opened is found before the TPM is asked.
// [SPEC 11.120]
#[test]
fn a_file_that_cannot_be_opened_costs_no_try() {
    let Some(owner) = Owner::new("a_file_that_cannot_be_opened_costs_no_try") else {
        return;
    };
    owner.run(&["vault", "mode", "tpm", "--yes"]).ok();
    for name in ["records", "journal", "keys.0", "keys.1"] {
        let file = owner.person.home.join(name);
        let aside = file.with_extension("aside");
        std::fs::rename(&file, &aside).unwrap();
        std::fs::create_dir(&file).unwrap();
        for _ in 0..4 {
            assert_eq!(error(owner.run(&CONTACTS)), "vault_read");
        }
        std::fs::remove_dir(&file).unwrap();
        assert_eq!(error(owner.run(&CONTACTS)), "vault_corrupt");
        std::fs::rename(&aside, &file).unwrap();
    }
    assert_eq!(owner.run(&CONTACTS).ok().err, "");
}

/// Records that this version cannot use: the TPM gets its tries back all the same.
// [SPEC 11.120]
#[test]
fn a_vault_that_cannot_be_used_costs_no_try() {
    let Some(owner) = Owner::new("a_vault_that_cannot_be_used_costs_no_try") else {
        return;
    };
    let (pin, phrase) = (Passphrase::from(PIN.to_owned()), || {
        Passphrase::new(PHRASE.to_vec())
    });
    let mut vault = open(&owner, Passphrase::from(PIN.to_owned()));
    let change = vault.with_recovery(&pin, &phrase()).unwrap();
    vault.rewrap(change, &Factors::default()).unwrap();
    vault.lock().unwrap();
    owner.run(&["vault", "mode", "tpm"]).ok();
    // Of the dead-man time, and of the account.
    for name in [&b"no"[..], b"a"] {
        let set = |value: Option<Vec<u8>>| {
            let mut vault = open(&owner, phrase());
            let before = vault.get(name).unwrap().map(|value| value.to_vec());
            let key = name.to_vec();
            vault.apply(vec![Change { key, value }]).unwrap();
            vault.lock().unwrap();
            before
        };
        let before = set(Some(vec![0xff; 9]));
        for _ in 0..11 {
            owner.run(&CONTACTS).ends(5);
        }
        set(before);
        assert_eq!(owner.run(&CONTACTS).ok().err, "");
    }
}
