//! Modes in which relays must answer: the program, its vault and real relays.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use emptyroom_node::Session;
use emptyroom_node::api::{Answer, Call, Failure, ModeName, SecretText};
use serde_json::Value;

use crate::world::{Done, Person, Relay, Running, finish, program, write_private};

const PIN: &str = "a quiet room of green glass";

fn error(done: Done) -> Value {
    done.ends(5).failure()["error"].clone()
}

/// Somebody whose vault three relays open, too.
struct Shared {
    person: Person,
    relays: Vec<Relay>,
}

impl Shared {
    fn new() -> Self {
        let shared = Self {
            person: Person::with_vault(None),
            relays: (0..3).map(|_| Relay::start()).collect(),
        };
        let none = shared.call_set_mode(Vec::new());
        assert!(none.is_err_and(|failure| failure.error == "mode_needs_relays"));
        shared.set_mode();
        shared
    }

    fn set_mode(&self) {
        let addresses = self.relays.iter().map(|relay| relay.address.clone());
        let set = self.call_set_mode(addresses.map(SecretText::new).collect());
        assert!(set.is_ok());
    }

    /// By the library: the program does not offer it.
    fn call_set_mode(&self, relays: Vec<SecretText>) -> Result<Answer, Failure> {
        let secret = || SecretText::new(PIN.to_owned());
        let session = Session::open(&self.person.home, &secret())?;
        let set = session.call(Call::SetMode {
            secret: secret(),
            mode: ModeName::Relays,
            relays,
        });
        session.close()?;
        set
    }

    fn run(&self, pin: &str, home: &Path, arguments: &[&str]) -> Done {
        let file = self.person.file("other-pin");
        write_private(&file, &format!("{pin}\n"));
        let mut command = program();
        command.arg("--home").arg(home).arg("--pin-file").arg(file);
        finish(
            {
                command.arg("--json").args(arguments);
                command
            },
            "",
        )
    }

    /// How many relays have a share, and how many are needed.
    fn shape(&self) -> (usize, u64) {
        let shown = self.person.run(&["--json", "vault", "mode"]).ok().one();
        (
            shown["relays"].as_array().unwrap().len(),
            shown["needed"].as_u64().unwrap(),
        )
    }
}

fn image(person: &Person, name: &str) -> PathBuf {
    let copy = person.file(name);
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(&person.home).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
    }
    copy
}

/// Every opening makes all shares anew, as far as relays are there; so uses do not run out. A copy from before the last opening still
/// opens, as a disk that went back by one header must; none from before that does.
// [SPEC 11.51] [SPEC 11.52] [SPEC 11.54]
#[test]
fn relays_open_it_and_every_opening_ends_copies() {
    let mut shared = Shared::new();
    for _ in 0..11 {
        shared.person.run(&["contacts"]).ok();
    }
    assert_eq!(shared.shape(), (3, 2));
    let (copy, again) = (
        image(&shared.person, "copy"),
        image(&shared.person, "again"),
    );
    shared.person.run(&["contacts"]).ok();
    shared.run(PIN, &again, &["contacts"]).ok();
    shared.person.run(&["contacts"]).ok();
    let refused = shared.run(PIN, &copy, &["contacts"]);
    assert_eq!(error(refused), "vault_no_attempts");
    // One is gone: the others count anew without it, for as long as it is.
    shared.relays[0].stop();
    for _ in 0..11 {
        shared.person.run(&["contacts"]).ok();
    }
    assert_eq!(shared.shape(), (2, 2));
    // Started again it has other keys: what is known of its chain does not keep it out.
    shared.relays[0].resume();
    shared.person.run(&["contacts"]).ok();
    assert_eq!(shared.shape(), (3, 2));
    shared.person.run(&["vault", "mode", "passphrase"]).ok();
    for relay in &mut shared.relays {
        relay.stop();
    }
    shared.person.run(&["contacts"]).ok();
}

// [SPEC 11.47] [SPEC 11.48] [SPEC 11.49]
#[test]
fn without_enough_relays_the_words_open_it() {
    let mut shared = Shared::new();
    let words = shared.person.run(&["vault", "recovery", "new"]).ok().out;
    let home = shared.person.home.clone();
    let wrong = |shared: &Shared| {
        let refused = shared.run("wrong", &home, &["contacts"]).ends(5).failure();
        assert_eq!(refused["error"], "vault_wrong_secret");
        refused["text"].as_str().unwrap().to_owned()
    };
    for _ in 0..4 {
        assert!(!wrong(&shared).contains("left"));
    }
    assert!(wrong(&shared).contains("5 attempts are left"));
    let told = shared.run(PIN, &home, &["contacts"]).ok();
    assert!(told.err.contains("\"warning\":\"wrong_pins\""), "{told:?}");
    shared.relays[0].stop();
    shared.relays[2].stop();
    let refused = shared.run(PIN, &home, &["contacts"]).ends(5).failure();
    assert_eq!(refused["error"], "vault_relays_needed");
    assert_eq!(
        refused["text"],
        "2 of 3 relays are needed to open this vault, 1 can be reached"
    );
    shared.run(words.trim(), &home, &["contacts"]).ok();
}

/// Where too few relays can be reached nothing is spent, however often it is tried.
// [SPEC 11.40]
#[test]
fn nothing_is_spent_where_relays_are_missing() {
    let mut shared = Shared::new();
    let home = shared.person.home.clone();
    shared.relays[0].stop();
    shared.relays[2].stop();
    for _ in 0..12 {
        let refused = shared.run(PIN, &home, &["contacts"]);
        assert_eq!(error(refused), "vault_relays_needed");
    }
    shared.relays[0].resume();
    // Nobody counted a try.
    assert_eq!(shared.run(PIN, &home, &["contacts"]).ok().err, "");
}

/// Other relays that do not take their shares leave those that were chosen, which go on being asked.
// [SPEC 11.52]
#[test]
fn a_change_that_fails_leaves_the_relays_that_were_chosen() {
    let mut shared = Shared::new();
    let mut others: Vec<Relay> = (0..3).map(|_| Relay::start()).collect();
    let addresses = others.iter().map(|relay| relay.address.clone());
    let addresses: Vec<SecretText> = addresses.map(SecretText::new).collect();
    others.iter_mut().take(2).for_each(Relay::stop);
    let refused = shared.call_set_mode(addresses).err().unwrap();
    assert_eq!(refused.error, "vault_relays_needed");
    assert!(refused.text.contains("127.0.0.1"), "{}", refused.text);
    for _ in 0..11 {
        shared.person.run(&["contacts"]).ok();
    }
    assert_eq!(shared.shape(), (3, 2));
    shared.relays[1].stop();
    shared.person.run(&["contacts"]).ok();
}

/// Relays that answer but take no new share: their uses go, and every command says so, and which relays, until it is over.
// [SPEC 11.53]
#[test]
fn shares_that_could_not_be_made_anew_are_told_by_name() {
    let mut shared = Shared::new();
    let codes: Vec<String> = shared
        .relays
        .iter()
        .map(|relay| relay.change_code("another"))
        .collect();
    shared.relays.iter_mut().for_each(Relay::restart);
    let told = |shared: &Shared| {
        let done = shared.person.run(&["--json", "contacts"]).ok();
        done.err
    };
    told(&shared);
    for _ in 0..3 {
        let err = told(&shared);
        assert!(err.contains("\"warning\":\"not_renewed\""), "{err}");
        assert!(err.contains("127.0.0.1"), "{err}");
    }
    let status = shared.person.json(&["status"]).remove(0);
    assert_eq!(
        status["vault"]["not_renewed"]["error"],
        "vault_relays_needed"
    );
    for (relay, code) in shared.relays.iter().zip(&codes) {
        relay.change_code(code);
    }
    shared.relays.iter_mut().for_each(Relay::restart);
    told(&shared);
    assert_eq!(told(&shared), "");
}

/// A panic at a daemon deletes the shares at once: nobody has to open what is left.
// [SPEC 11.59]
#[test]
fn a_panic_at_a_daemon_deletes_the_shares() {
    let shared = Shared::new();
    let panic = shared.person.file("panic");
    write_private(&panic, "four walls and no door\n");
    let set = ["panic", "set", "--panic-pin-file", panic.to_str().unwrap()];
    shared.person.run(&set).ok();
    let daemon = shared.person.daemon(&[]);
    shared.person.run(&["vault", "mode"]).ok();
    let copy = image(&shared.person, "copy");
    shared.person.run(&["panic", "--yes"]).ok();
    daemon.finish().ok();
    let refused = shared.run(PIN, &copy, &["contacts"]);
    assert_eq!(error(refused), "vault_no_attempts");
}

/// A drill goes the way of the mode: no relay answers whoever copied the disk of the throw-away vault.
// [SPEC 11.92]
#[test]
fn a_drill_asks_the_relays_in_vain() {
    let mut shared = Shared::new();
    let drill = shared.person.json(&["wipe", "--drill"]).remove(0);
    let steps = drill["steps"].as_array().unwrap();
    let ways: Vec<&Value> = steps.iter().map(|step| &step["way"]).collect();
    let all = [
        "panic_pin",
        "without_pin",
        "open_panic",
        "open_order",
        "copy_after_panic_pin",
    ];
    assert_eq!(ways, all);
    // One that could not be told would be none.
    let daemon = shared.person.daemon(&[]);
    shared.person.run(&["vault", "mode"]).ok();
    shared.relays[0].stop();
    shared.relays[1].stop();
    let refused = shared.person.run(&["--json", "wipe", "--drill"]).ends(5);
    assert_eq!(refused.failure()["error"], "vault_relays_needed");
    shared.person.run(&["lock"]).ok();
    daemon.finish().ok();
}

/// Killed at any moment of openings and changes, with one relay away now and then: it opens all the same.
// [SPEC 11.52]
#[test]
fn killed_anywhere_relays_open_it() {
    let mut shared = Shared::new();
    let change = ["vault", "recovery", "new"];
    let steps: [&[&str]; 2] = [&["contacts"], &change];
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..16 {
        let away = (round % 4 == 3).then_some(round / 4 % 3);
        if let Some(away) = away {
            shared.relays[away].stop();
        }
        let running = Running::start(shared.person.command(steps[round % steps.len()]));
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let (after, since) = (Duration::from_micros(random % 300_000), Instant::now());
        while since.elapsed() < after {
            std::thread::yield_now();
        }
        running.kill();
        shared.person.run(&["contacts"]).ok();
        if let Some(away) = away {
            shared.relays[away].resume();
        }
    }
    shared.person.run(&["contacts"]).ok();
    assert_eq!(shared.shape(), (3, 2));
    let shown = shared.person.run(&["--json", "vault", "mode"]).ok().one();
    assert_eq!(shown["left"].as_array().unwrap().len(), 0, "{shown}");
}

/// The shares of a vault that a panic destroyed are deleted, also where a relay was not there in that moment.
// [SPEC 11.54] [SPEC 11.56] [SPEC 11.57]
#[test]
fn a_panic_deletes_the_shares() {
    let mut shared = Shared::new();
    let panic = shared.person.file("panic");
    write_private(&panic, "four walls and no door\n");
    let panic = panic.to_str().unwrap().to_owned();
    shared
        .person
        .run(&["panic", "set", "--panic-pin-file", &panic])
        .ok();
    let before = image(&shared.person, "before");
    shared.person.run(&["contacts"]).ok();
    let copy = image(&shared.person, "copy");
    let home = shared.person.home.clone();
    let by_panic_pin = |shared: &Shared| {
        shared
            .run("four walls and no door", &home, &["contacts"])
            .ok();
    };
    shared.relays[1].stop();
    by_panic_pin(&shared);
    shared.relays[1].resume();
    by_panic_pin(&shared);
    // Nor the one whose shares stay for an opening more.
    for copy in [copy, before] {
        let refused = shared.run(PIN, &copy, &["contacts"]);
        assert_eq!(error(refused), "vault_no_attempts");
    }
}
