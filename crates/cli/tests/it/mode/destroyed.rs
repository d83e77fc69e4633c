//! What becomes of the TPM's key when a vault is destroyed or changes its mode, and what is said of what is left.

use super::*;

/// What a change could not destroy is told, and destroyed when the TPM is there again.
// [SPEC 12.50]
// [SPEC 11.57]
#[test]
fn what_is_left_is_told_and_destroyed_later() {
    let Some(owner) = Owner::new("what_is_left_is_told_and_destroyed_later") else {
        return;
    };
    let words = owner.words();
    owner.run(&["vault", "mode", "tpm"]).ok();
    let copy = owner.image("copy");
    let new = owner.person.file("new-pin");
    write_private(&new, "another quiet room\n");
    let change = ["pin", "change", "--new-pin-file", new.to_str().unwrap()];
    let change = [&change[..], &["--mode", "passphrase"]].concat();
    let nowhere = Path::new("/nowhere");
    let home = owner.person.home.clone();
    let changed = owner.run_in(&home, &words, nowhere, &change).ok();
    assert!(
        changed.err.contains("could not be destroyed"),
        "{changed:?}"
    );
    assert!(changed.err.contains("index 0x01"), "{changed:?}");
    let left = |tpm: &Path| {
        let show = ["--json", "vault", "mode"];
        let shown = owner.run_in(&home, "another quiet room", tpm, &show).ok();
        shown.one()["left"].as_array().unwrap().len()
    };
    assert_eq!(left(nowhere), 1);
    assert_eq!(left(&owner.swtpm.socket()), 0);
    let opened = owner.run_in(&copy, PIN, &owner.swtpm.socket(), &["--json", "contacts"]);
    assert_eq!(error(opened), "vault_tpm_cleared");
}

/// Whichever way a vault is destroyed, a copy of its disk opens no more, with the right PIN and on the same machine.
// [SPEC 11.56]
// [SPEC 11.59]
#[test]
fn whatever_destroys_it_ends_its_copies() {
    let Some(owner) = Owner::new("whatever_destroys_it_ends_its_copies") else {
        return;
    };
    let contacts = ["--json", "contacts"];
    let panic = owner.person.file("panic");
    write_private(&panic, "four walls and no door\n");
    let panic = panic.to_str().unwrap().to_owned();
    // Every opening ends older copies: so this one is made when nothing but the destruction is still to come.
    let ends = |name: &str, destroy: &dyn Fn()| {
        let copy = owner.image(name);
        destroy();
        let refused = owner.run_in(&copy, PIN, &owner.swtpm.socket(), &contacts);
        assert_eq!(error(refused), "vault_tpm_cleared", "{name}");
    };
    owner.run(&["vault", "mode", "tpm", "--yes"]).ok();
    ends("locked", &|| drop(owner.run(&["panic", "--yes"]).ok()));

    owner.run(&["init", "--kdf", "minimum"]).ok();
    owner.run(&["vault", "mode", "tpm", "--yes"]).ok();
    owner
        .run(&["panic", "set", "--panic-pin-file", &panic])
        .ok();
    ends("by-pin", &|| {
        let opened = owner.run_by("four walls and no door", &contacts).ok();
        assert_eq!(opened.err, "");
    });
    owner
        .run_by("four walls and no door", &["panic", "--yes"])
        .ok();

    owner.run(&["init", "--kdf", "minimum"]).ok();
    let mut daemon = Running::start(owner.command(&["daemon"]));
    daemon.wait_for_line(|line| line.ends_with("daemon.sock"));
    owner.run(&["vault", "mode", "tpm", "--yes"]).ok();
    ends("at-a-daemon", &|| drop(owner.run(&["panic", "--yes"]).ok()));
    daemon.finish().ok();
}

/// What of the TPM could not be destroyed is told, with its number: a copy still opens.
// [SPEC 11.59] [SPEC 12.44]
#[test]
fn a_key_that_a_panic_could_not_destroy_is_told() {
    let Some(owner) = Owner::new("a_key_that_a_panic_could_not_destroy_is_told") else {
        return;
    };
    let contacts = ["--json", "contacts"];
    let mode = ["vault", "mode", "tpm", "--yes"];
    let panic = ["--json", "panic", "--yes"];
    let is_told = |done: Done| {
        let told = done.ends(5).failure();
        assert_eq!(told["error"], "left_behind");
        assert!(
            told["text"].as_str().unwrap().contains("index 0x01"),
            "{told}"
        );
        assert!(told["hint"].as_str().unwrap().contains("tpm2_nvundefine"));
        let gone = owner.run(&contacts).ends(5).failure();
        assert_eq!(gone["error"], "vault_missing");
    };
    owner.run(&mode).ok();
    let copy = owner.image("failed");
    let home = owner.person.home.clone();
    // Also where something else stood in the way: whoever runs it again finds nothing that says it.
    let in_the_way = home.join("journal");
    std::fs::remove_file(&in_the_way).unwrap();
    std::fs::create_dir(&in_the_way).unwrap();
    let failed = owner.run_in(&home, PIN, Path::new("/nowhere"), &panic);
    let failed = failed.ends(5).failure();
    assert_eq!(failed["error"], "vault_write");
    assert!(
        failed["text"].as_str().unwrap().contains("index 0x01"),
        "{failed}"
    );
    std::fs::remove_dir(&in_the_way).unwrap();
    owner
        .run_in(&copy, PIN, &owner.swtpm.socket(), &contacts)
        .ok();

    owner.run(&["init", "--kdf", "minimum"]).ok();
    owner.run(&mode).ok();
    let copy = owner.image("locked");
    // Another TPM has none at that place, which says nothing.
    let other = Swtpm::start().unwrap().unwrap();
    is_told(owner.run_in(&home, PIN, &other.socket(), &panic));
    owner
        .run_in(&copy, PIN, &owner.swtpm.socket(), &contacts)
        .ok();

    owner.run(&["init", "--kdf", "minimum"]).ok();
    owner.run(&mode).ok();
    let mut daemon = Running::start(owner.command(&["daemon"]));
    daemon.wait_for_line(|line| line.ends_with("daemon.sock"));
    // Any call that takes a job waits for the refresh.
    owner.run(&["vault", "mode"]).ok();
    let copy = owner.image("at-a-daemon");
    let socket = owner.swtpm.socket();
    let away = socket.with_extension("away");
    std::fs::rename(&socket, &away).unwrap();
    is_told(owner.run(&panic));
    daemon.finish().ok();
    std::fs::rename(&away, &socket).unwrap();
    owner.run_in(&copy, PIN, &socket, &contacts).ok();
}

/// Whoever has the kill code sees it, too, though a guard without that TPM obeys.
// [SPEC 11.116]
#[test]
fn a_receipt_says_what_is_left_in_the_tpm() {
    let Some(owner) = Owner::new("a_receipt_says_what_is_left_in_the_tpm") else {
        return;
    };
    let relay = Relay::start();
    owner.run(&["vault", "mode", "tpm", "--yes"]).ok();
    let create = owner.command(&["--json", "killcode", "create", "-"]);
    let code = finish(create, &relay.address).ok().json().remove(0);
    let mut guard = owner.person.command(&["guard"]);
    guard.env(VARIABLE, "/nowhere");
    let mut guard = Running::start(guard);
    guard.wait_for_line(|line| line.starts_with("watching"));
    let by_code = |arguments: &[&str]| {
        let mut command = program();
        command.args(arguments);
        finish(command, code["code"].as_str().unwrap()).ok()
    };
    let wiped = by_code(&["--json", "wipe", "-"]).json().remove(0);
    assert_eq!(wiped["left"], json!(["tpm", "unseen"]), "{wiped}");
    let told = by_code(&["killcode", "receipts", "-"]);
    assert!(told.out.contains("but not its key in the TPM"), "{told:?}");
    let ended = guard.finish().ends(5);
    assert!(ended.err.contains("index 0x01"), "{ended:?}");
}

/// After a TPM was cleared only its owner knows that what was in it is gone.
// [SPEC 12.62]
#[test]
fn what_was_in_a_tpm_that_was_cleared_is_forgotten_by_its_owners_word() {
    let Some(owner) = Owner::new("what_was_in_a_tpm_that_was_cleared_is_forgotten") else {
        return;
    };
    let (pin, nowhere) = ("another quiet room", Path::new("/nowhere"));
    let new = owner.person.file("new");
    write_private(&new, &format!("{pin}\n"));
    let change = ["pin", "change", "--new-pin-file", new.to_str().unwrap()];
    let change = [&change[..], &["--mode", "passphrase"]].concat();
    let home = owner.person.home.clone();
    owner.run(&["vault", "mode", "tpm", "--yes"]).ok();
    let words = owner.words();
    // By the words, as the TPM is not there.
    owner.run_in(&home, &words, nowhere, &change).ok();
    let run = |pin: &str, tpm: &Path, arguments: &[&str]| {
        let arguments = [&["--json", "vault", "mode"], arguments].concat();
        owner.run_in(&home, pin, tpm, &arguments)
    };
    let left = || {
        let shown = run(pin, nowhere, &[]).ok().one();
        shown["left"].as_array().unwrap().len()
    };
    let forget = ["--forget-left"];
    assert_eq!(error(run(pin, nowhere, &forget)), "vault_tpm_absent");
    let cleared = Swtpm::start().unwrap().unwrap();
    let cleared = cleared.socket();
    // Not by whoever finds it open, and not by the words.
    let mut daemon = program();
    daemon.arg("--home").arg(&home).arg("--pin-file").arg(&new);
    daemon.arg("daemon").env(VARIABLE, &cleared);
    let mut daemon = Running::start(daemon);
    daemon.wait_for_line(|line| line.ends_with("daemon.sock"));
    for wrong in ["wrong", &words] {
        assert_eq!(error(run(wrong, &cleared, &forget)), "vault_wrong_secret");
    }
    owner.run(&["lock"]).ok();
    daemon.finish().ok();
    assert_eq!(left(), 1);
    let forgotten = run(pin, &cleared, &forget).ok().one();
    assert_eq!(forgotten["forgotten"].as_array().unwrap().len(), 1);
    assert_eq!(left(), 0);
    // What is in use stays, and what the TPM that is here has is destroyed.
    let here = owner.swtpm.socket();
    run(pin, &here, &["tpm", "--yes"]).ok();
    let copy = owner.image("copy");
    owner.run_in(&home, &words, nowhere, &change).ok();
    let forgotten = run(pin, &here, &forget).ok().one();
    assert_eq!(forgotten["forgotten"], json!([]));
    let opened = owner.run_in(&copy, pin, &here, &["--json", "contacts"]);
    assert_eq!(error(opened), "vault_tpm_cleared");
    run(pin, &here, &["tpm", "--yes"]).ok();
    let forgotten = run(pin, &here, &forget).ok().one();
    assert_eq!(forgotten["forgotten"], json!([]));
    for _ in 0..2 {
        owner.run_in(&home, pin, &here, &["contacts"]).ok();
    }
}
