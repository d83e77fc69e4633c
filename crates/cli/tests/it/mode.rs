//! `vault mode`: the program, its vault and a TPM in software, as whoever holds the machine sees them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use emptyroom_tpm::swtpm::Swtpm;
use serde_json::{Value, json};

use crate::world::{Done, Person, Relay, Running, finish, program, write_private};

mod destroyed;
mod present;
mod spent;

const VARIABLE: &str = "EMPTYROOM_TPM";

/// Somebody on a machine with a TPM.
struct Owner {
    person: Person,
    swtpm: Swtpm,
}

impl Owner {
    /// With a vault. Where there is no TPM in software, the test is not run, and says so in words that `cargo xtask test` counts.
    fn new(test: &str) -> Option<Self> {
        let Some(swtpm) = Swtpm::start().unwrap() else {
            let line =
                format!("\nnot run: {test}: swtpm is missing (sudo apt-get install swtpm)\n");
            std::io::stderr().write_all(line.as_bytes()).unwrap();
            return None;
        };
        let person = Person::with_vault(None);
        Some(Self { person, swtpm })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.person.command(arguments);
        command.env(VARIABLE, self.swtpm.socket());
        command
    }

    fn run(&self, arguments: &[&str]) -> Done {
        finish(self.command(arguments), "")
    }

    /// Here, with another PIN.
    fn run_by(&self, pin: &str, arguments: &[&str]) -> Done {
        self.run_in(&self.person.home, pin, &self.swtpm.socket(), arguments)
    }

    fn run_in(&self, home: &Path, pin: &str, tpm: &Path, arguments: &[&str]) -> Done {
        let file = self.person.file("other-pin");
        write_private(&file, &format!("{pin}\n"));
        let mut command = program();
        command.arg("--home").arg(home).arg("--pin-file").arg(file);
        command.args(arguments).env(VARIABLE, tpm);
        finish(command, "")
    }

    /// A copy of the disk.
    fn image(&self, name: &str) -> PathBuf {
        let copy = self.person.file(name);
        std::fs::create_dir(&copy).unwrap();
        for entry in std::fs::read_dir(&self.person.home).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
            }
        }
        copy
    }

    fn words(&self) -> String {
        self.run(&["vault", "recovery", "new"])
            .ok()
            .out
            .trim()
            .to_owned()
    }
}

const PIN: &str = "a quiet room of green glass";

fn error(done: Done) -> Value {
    done.ends(5).failure()["error"].clone()
}

// [SPEC 12.50]
#[test]
fn it_shows_what_the_machine_has_and_what_is_recommended() {
    let Some(owner) = Owner::new("it_shows_what_the_machine_has_and_what_is_recommended") else {
        return;
    };
    let mut without = owner.person.command(&["--json", "vault", "mode"]);
    without.env(VARIABLE, "/nowhere");
    let shown = finish(without, "").ok().one();
    assert_eq!(shown["mode"], "passphrase");
    assert_eq!(shown["recommended"], "passphrase");
    assert_eq!(shown["attempts_left"], Value::Null);
    assert_eq!(
        shown["modes"][0],
        json!({ "mode": "passphrase", "why_not": null })
    );
    assert!(shown["modes"][1]["why_not"].is_string());
    // Before words are asked for.
    let set = ["--json", "vault", "mode", "tpm"];
    let mut set = owner.person.command(&set);
    set.env(VARIABLE, "/nowhere");
    assert_eq!(error(finish(set, "")), "vault_tpm_absent");

    let shown = owner.run(&["--json", "vault", "mode"]).ok().one();
    assert_eq!(
        (&shown["mode"], &shown["recommended"]),
        (&json!("passphrase"), &json!("tpm"))
    );
    let set = ["--json", "vault", "mode", "tpm"];
    let refused = owner.run(&set).ends(2);
    assert_eq!(refused.failure()["error"], "no_recovery");
    let shown = owner.run(&["--json", "vault", "mode"]).ok().one();
    assert_eq!(shown["mode"], "passphrase");
    let sure = owner.run(&[&set[..], &["--yes"]].concat()).ok();
    assert!(sure.err.contains("\"warning\":\"no_recovery\""), "{sure:?}");
    owner.words();
    let set = owner.run(&set).ok();
    assert!(!set.err.contains("no_recovery"), "{set:?}");
    // What the guard is for is not walked around.
    let remove = ["--json", "vault", "recovery", "remove"];
    let refused = owner.run(&remove).ends(2).failure();
    assert_eq!(refused["error"], "no_recovery");
    assert!(set.err.contains("\"warning\":\"tpm_limits\""), "{set:?}");
    let shown = owner.run(&["--json", "vault", "mode"]).ok().one();
    assert_eq!(
        (
            &shown["mode"],
            &shown["recovery"],
            &shown["attempts_left"],
            &shown["needed"]
        ),
        (&json!("tpm"), &json!(true), &json!(10), &json!(0))
    );
    assert!(shown["refreshed_at"].as_u64().unwrap() > 0);
    let text = owner.run(&["vault", "mode"]).ok().out;
    assert!(text.contains("tpm (now, recommended): "), "{text}");
    let status = owner.run(&["--json", "status"]).ok().one();
    assert_eq!(status["vault"]["mode"], "tpm");
    let listed: Vec<&Value> = shown["modes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|info| &info["mode"])
        .collect();
    assert_eq!(listed, ["passphrase", "tpm", "relays", "tpm_and_relays"]);
    // Many openings: each gets all tries.
    for _ in 0..12 {
        owner.run(&["contacts"]).ok();
    }
}

// [SPEC 11.47]
// [SPEC 11.49]
#[test]
fn without_its_tpm_only_the_words_open_it() {
    let Some(owner) = Owner::new("without_its_tpm_only_the_words_open_it") else {
        return;
    };
    let words = owner.words();
    owner.run(&["vault", "mode", "tpm"]).ok();
    let other = Swtpm::start().unwrap().unwrap();
    let nowhere = Path::new("/nowhere");
    let copy = owner.image("copy");
    let contacts = ["--json", "contacts"];
    assert_eq!(
        error(owner.run_in(&copy, PIN, nowhere, &contacts)),
        "vault_tpm_absent"
    );
    assert_eq!(
        error(owner.run_in(&copy, PIN, &other.socket(), &contacts)),
        "vault_tpm_cleared"
    );
    // The mode says what keeps it from opening.
    let show = ["--json", "vault", "mode"];
    let shown = owner
        .run_in(&copy, &words, &other.socket(), &show)
        .ok()
        .one();
    let why = shown["modes"][1]["why_not"].as_str().unwrap();
    assert!(why.contains("another machine"), "{why}");
    assert_eq!(shown["attempts_left"], Value::Null);
    // Words that open it where the TPM cannot be reached give a PIN that does without.
    let by_words = owner.run_in(&copy, &words, nowhere, &["contacts"]).ok();
    assert!(by_words.err.contains("pin change"), "{by_words:?}");
    let new = owner.person.file("new-pin");
    write_private(&new, "another quiet room\n");
    let new = new.to_str().unwrap();
    let change = ["--json", "pin", "change", "--new-pin-file", new];
    let refused = owner.run_in(&copy, &words, nowhere, &change).ends(5);
    assert_eq!(refused.failure()["error"], "vault_tpm_absent");
    let hint = refused.failure()["hint"].as_str().unwrap().to_owned();
    assert!(hint.contains("--mode passphrase"), "{hint}");
    let set = ["--json", "vault", "mode", "passphrase"];
    let refused = owner.run_in(&copy, &words, nowhere, &set).ends(5).failure();
    assert!(
        refused["hint"].as_str().unwrap().contains("pin change"),
        "{refused}"
    );
    let change = [&change[..], &["--mode", "passphrase"]].concat();
    owner.run_in(&copy, &words, nowhere, &change).ok();
    owner
        .run_in(&copy, "another quiet room", nowhere, &contacts)
        .ok();
    // On another machine they enrol that one's TPM.
    let moved = owner.image("moved");
    let change = ["pin", "change", "--new-pin-file", new];
    owner.run_in(&moved, &words, &other.socket(), &change).ok();
    owner
        .run_in(&moved, "another quiet room", &other.socket(), &contacts)
        .ok();
    assert_eq!(
        error(owner.run_in(&moved, "another quiet room", nowhere, &contacts)),
        "vault_tpm_absent"
    );
}

// [SPEC 11.48]
#[test]
fn wrong_pins_are_told_and_end() {
    let Some(owner) = Owner::new("wrong_pins_are_told_and_end") else {
        return;
    };
    let words = owner.words();
    owner.run(&["vault", "mode", "tpm"]).ok();
    let contacts = ["--json", "contacts"];
    let wrong = || owner.run_by("wrong", &contacts).ends(5).failure();
    for _ in 0..4 {
        assert_eq!(wrong()["text"], "wrong PIN or passphrase");
    }
    assert_eq!(
        wrong()["text"],
        "wrong PIN or passphrase; 5 attempts are left"
    );
    let told = owner.run(&contacts).ok();
    assert!(told.err.contains("\"warning\":\"wrong_pins\""), "{told:?}");
    assert_eq!(owner.run(&contacts).ok().err, "");
    // Whoever shares the machine cannot try a few between two openings unseen.
    assert_eq!(wrong()["text"], "wrong PIN or passphrase");
    let told = owner.run(&contacts).ok();
    assert!(
        told.err.contains("before this PIN came 1 attempt,"),
        "{told:?}"
    );
    assert_eq!(owner.run(&contacts).ok().err, "");
    // Asking for a change costs no attempt.
    let refused = owner.run_by("wrong", &["--json", "vault", "mode", "passphrase"]);
    assert_eq!(error(refused), "vault_wrong_secret");
    owner.run(&contacts).ok();
    for left in (0..10).rev() {
        let text = wrong()["text"].as_str().unwrap().to_owned();
        let is_told = text.contains("left");
        assert_eq!(is_told, left <= 5, "{text}");
    }
    assert_eq!(error(owner.run(&contacts)), "vault_no_attempts");
    assert_eq!(error(owner.run_by("wrong", &contacts)), "vault_no_attempts");
    let show = ["--json", "vault", "mode"];
    let shown = owner.run_by(&words, &show).ok().one();
    let why = shown["modes"][1]["why_not"].as_str().unwrap();
    assert!(why.contains("too many wrong PINs"), "{why}");
    owner.run_by(&words, &contacts).ok();
    let new = owner.person.file("new-pin");
    write_private(&new, "another quiet room\n");
    let change = ["pin", "change", "--new-pin-file", new.to_str().unwrap()];
    owner.run_by(&words, &change).ok();
    owner.run_by("another quiet room", &contacts).ok();
}

/// With both factors: where one is missing, nothing is spent of the other.
// [SPEC 11.40] [SPEC 12.50]
#[test]
fn both_factors_are_needed_together() {
    let Some(owner) = Owner::new("both_factors_are_needed_together") else {
        return;
    };
    let mut relay = Relay::start();
    let file = owner.person.file("relays");
    write_private(&file, &relay.address);
    let both = ["vault", "mode", "tpm-and-relays", "--yes", "--relays"];
    owner
        .run(&[&both[..], &[file.to_str().unwrap()]].concat())
        .ok();
    for _ in 0..3 {
        owner.run(&["contacts"]).ok();
    }
    let shown = owner.run(&["--json", "vault", "mode"]).ok().one();
    assert_eq!(
        (&shown["mode"], &shown["needed"], &shown["attempts_left"]),
        (&json!("tpm_and_relays"), &json!(1), &json!(10))
    );
    let home = owner.person.home.clone();
    let contacts = ["--json", "contacts"];
    for _ in 0..11 {
        let without_tpm = owner.run_in(&home, PIN, Path::new("/nowhere"), &contacts);
        assert_eq!(error(without_tpm), "vault_tpm_absent");
    }
    relay.stop();
    for _ in 0..11 {
        let refused = owner.run(&contacts).ends(5).failure();
        assert_eq!(refused["error"], "vault_relays_needed");
        let text = refused["text"].as_str().unwrap();
        assert!(text.ends_with("the TPM answers 10 times more"), "{text}");
    }
    relay.resume();
    assert_eq!(owner.run(&contacts).ok().err, "");
    owner.run(&["vault", "mode", "tpm", "--yes"]).ok();
    relay.stop();
    owner.run(&contacts).ok();
}

/// A drill goes the way of the mode: nobody who copied the disk of the throw-away vault is answered, and nothing is left in the TPM.
// [SPEC 11.92]
#[test]
fn a_drill_goes_the_way_of_the_mode() {
    let Some(owner) = Owner::new("a_drill_goes_the_way_of_the_mode") else {
        return;
    };
    owner.run(&["vault", "mode", "tpm", "--yes"]).ok();
    let drill = ["--json", "wipe", "--drill"];
    let passed = owner.run(&drill).ok().one();
    let steps = passed["steps"].as_array().unwrap();
    let ways: Vec<&Value> = steps.iter().map(|step| &step["way"]).collect();
    assert_eq!(ways, crate::drill::WAYS_WITH_FACTORS);
    let shown = owner.run(&["wipe", "--drill"]).ok().out;
    assert_eq!(shown.matches("asks in vain").count(), 2, "{shown}");
    // The real vault is left alone.
    owner.run(&["contacts"]).ok();
}

/// Killed at any moment of openings and changes, with a TPM: it opens all the same, and no copy from before does.
// [SPEC 11.43] [SPEC 11.52]
#[test]
fn killed_anywhere_it_opens_and_copies_do_not() {
    let Some(mut owner) = Owner::new("killed_anywhere_it_opens_and_copies_do_not") else {
        return;
    };
    let change = ["vault", "mode", "tpm", "--yes"];
    owner.run(&change).ok();
    let steps: [&[&str]; 2] = [&["contacts"], &change];
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut copies = Vec::new();
    for round in 0..16 {
        copies.push(owner.image(&format!("copy-{round}")));
        let running = Running::start(owner.command(steps[round % steps.len()]));
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let (after, since) = (Duration::from_micros(random % 200_000), Instant::now());
        while since.elapsed() < after {
            std::thread::yield_now();
        }
        running.kill();
        // The kernel's device forgets what a killed program had loaded; this one does when its power is cut.
        owner.swtpm.power_cycle().unwrap();
        owner.run(&["contacts"]).ok();
    }
    owner.run(&["vault", "mode", "passphrase"]).ok();
    for copy in copies {
        let opened = owner.run_in(&copy, PIN, &owner.swtpm.socket(), &["--json", "contacts"]);
        assert_eq!(error(opened), "vault_tpm_cleared");
    }
}

/// Whoever starts before the TPM is there cannot reach it later, and an order would leave the key.
// [SPEC 12.61]
#[test]
fn a_guard_without_the_tpm_says_so() {
    let Some(owner) = Owner::new("a_guard_without_the_tpm_says_so") else {
        return;
    };
    let warns = |tpm: &Path| {
        let mut command = owner.command(&["guard"]);
        command.env(VARIABLE, tpm);
        let mut guard = Running::start(command);
        guard.wait_for_line(|line| line.starts_with("watching"));
        guard.signal("TERM");
        guard.finish().ok().err.contains("the vault's key")
    };
    let nowhere = Path::new("/nowhere");
    assert!(!warns(nowhere), "it has none");
    owner.run(&["vault", "mode", "tpm", "--yes"]).ok();
    assert!(warns(nowhere));
    assert!(!warns(&owner.swtpm.socket()));
}
