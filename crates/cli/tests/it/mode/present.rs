//! Changes of what opens the vault take the present PIN, which nobody can guess at a vault that is open.

use super::*;

// [SPEC 12.75]
#[test]
fn ten_wrong_pins_in_a_row_lock_it() {
    let person = Person::with_vault(None);
    let daemon = person.daemon(&[]);
    let file = person.file("other-pin");
    let set = |pin: &str| {
        write_private(&file, &format!("{pin}\n"));
        let mut command = program();
        command.arg("--home").arg(&person.home);
        command.arg("--pin-file").arg(&file);
        command.args(["--json", "vault", "mode", "passphrase"]);
        finish(command, "")
    };
    for _ in 0..9 {
        assert_eq!(error(set("wrong")), "vault_wrong_secret");
    }
    set(PIN).ok();
    for _ in 0..9 {
        assert_eq!(error(set("wrong")), "vault_wrong_secret");
    }
    person.run(&["contacts"]).ok();
    set("wrong").ends(5);
    let ended = daemon.finish().ends(5);
    assert!(ended.err.contains("ten wrong PINs in a row"), "{ended:?}");
    assert!(!person.home.join("daemon.sock").exists());
    person.run(&["contacts"]).ok();
}
