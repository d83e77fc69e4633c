//! A conversation whose records are damaged: the vault opens, every command says so, and it can be forgotten.

use emptyroom_vault::os::OsDirectory;
use emptyroom_vault::{Change, Passphrase, Vault};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::world::Person;

/// The record of the first conversation's state.
const HEAD: &[u8] = b"c\0\0\0\x01h";

fn damage(person: &Person, record: &[u8]) {
    let pin = std::fs::read_to_string(&person.pin_file).unwrap();
    let pin = Passphrase::from(pin.trim_end().to_owned());
    let place = Box::new(OsDirectory::at(&person.home));
    let rng = Box::new(ChaCha20Rng::seed_from_u64(5));
    let mut vault = Vault::open(place, &pin, rng).unwrap();
    let change = Change {
        key: HEAD.to_vec(),
        value: Some(record.to_vec()),
    };
    vault.apply(vec![change]).unwrap();
    vault.lock().unwrap();
}

// [SPEC 8.67, 12.78]
#[test]
fn a_damaged_conversation_is_told_and_can_be_forgotten() {
    for (record, why, told) in [
        (
            [&[0, 1, 0, 0, 0, 3][..], b"ben", &[9; 40]].concat(),
            "unreadable",
            "meet again by a new link",
        ),
        (
            [&[0, 2, 0, 0, 0, 3][..], b"ben"].concat(),
            "newer_version",
            "until you update the program",
        ),
    ] {
        let ada = Person::with_vault(None);
        damage(&ada, &record);
        let shown = ada.run(&["contacts"]).ok();
        let state = format!("ben  damaged ({})\n", why.replace('_', " "));
        assert_eq!(shown.out, state);
        assert!(shown.err.contains(told), "{shown:?}");
        let shown = ada.run(&["contacts", "--json"]).ok();
        assert_eq!(shown.one()["why"], why);
        assert!(
            shown.err.contains("\"warning\":\"conversation_damaged\""),
            "{shown:?}"
        );
        let status = ada.run(&["status"]).ok();
        assert!(status.out.contains(told), "{status:?}");
        let status = &ada.json(&["status"])[0];
        assert_eq!(status["damaged"][0]["conversation"], "ben");
        assert_eq!(status["damaged"][0]["why"], why);
        for refused in [&["send", "ben", "hello"][..], &["history", "ben"]] {
            let refused = ada.run(&[&["--json"], refused].concat()).ends(5);
            assert_eq!(refused.failure()["error"], "conversation_damaged");
        }
        let forgotten = ada.run(&["forget", "ben", "--json"]).ok();
        assert!(
            forgotten.err.contains("\"warning\":\"log_stays\""),
            "{forgotten:?}"
        );
        let after = ada.run(&["contacts"]).ok();
        assert_eq!((&*after.out, &*after.err), ("", ""));
    }
}
