//! Modes in which relays must answer: the program, its vault and real relays.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::{Done, Person, Relay, Road, Running, finish, program, write_private};

mod cut_off;

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
        Self::with((0..3).map(|_| Relay::start()).collect())
    }

    fn with(relays: Vec<Relay>) -> Self {
        let shared = Self {
            person: Person::with_vault(None),
            relays,
        };
        let none = shared.try_mode("");
        assert_eq!(none.ends(2).failure()["error"], "mode_needs_relays");
        let addresses: Vec<&str> = shared.relays.iter().map(|relay| &*relay.address).collect();
        let set = shared.try_mode(&addresses.join("\n")).ok();
        assert!(set.err.contains("\"warning\":\"relays_limits\""), "{set:?}");
        shared
    }

    fn try_mode(&self, relays: &str) -> Done {
        let set = [
            "--json", "vault", "mode", "relays", "--yes", "--relays", "-",
        ];
        self.person.run_with(&set, relays)
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

    /// As a relay is named.
    fn host(&self, number: usize) -> String {
        let address = &self.relays[number].address;
        address.split_once('/').unwrap().0.to_owned()
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

/// Every opening makes all shares anew, as far as relays are there; so uses do not run out, and no copy from before the last opening
/// opens.
// [SPEC 11.51] [SPEC 11.52] [SPEC 11.54]
#[test]
fn relays_open_it_and_every_opening_ends_copies() {
    let mut shared = Shared::new();
    for _ in 0..11 {
        shared.person.run(&["contacts"]).ok();
    }
    assert_eq!(shared.shape(), (3, 2));
    let copy = image(&shared.person, "copy");
    shared.person.run(&["contacts"]).ok();
    let refused = shared.run(PIN, &copy, &["contacts"]);
    assert_eq!(error(refused), "vault_no_attempts");
    // One is away: it is waited for, for some openings, and named. Then the others count anew without it, for as long as it is.
    shared.relays[0].stop();
    shared.person.run(&["contacts"]).ok();
    let told = shared.person.run(&["--json", "contacts"]).ok().err;
    let of_relay = format!(
        "a new share: {}; the relays answer 8 attempts more",
        shared.host(0)
    );
    assert!(told.contains("\"warning\":\"not_renewed\""), "{told}");
    assert!(told.contains(&of_relay), "{told}");
    assert!(!told.contains("wrong_pins"), "{told}");
    assert_eq!(shared.shape(), (3, 2));
    for _ in 0..11 {
        shared.person.run(&["contacts"]).ok();
    }
    assert_eq!(shared.shape(), (2, 2));
    let told = shared.person.run(&["--json", "contacts"]).ok().err;
    assert!(told.contains("\"warning\":\"missing_relays\""), "{told}");
    assert!(told.contains(&shared.host(0)), "{told}");
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

/// What relays offer is looked at before they are chosen, and what is recommended follows it.
// [SPEC 12.50]
#[test]
fn relays_that_are_named_are_looked_at() {
    let person = Person::with_vault(None);
    let mut relays: Vec<Relay> = (0..3).map(|_| Relay::start()).collect();
    let addresses: Vec<String> = relays.iter().map(|relay| relay.address.clone()).collect();
    let look = |relays: &str| {
        let mut command = person.command(&["--json", "vault", "mode", "--relays", "-"]);
        command.env("EMPTYROOM_TPM", "/nowhere");
        let shown = finish(command, relays).ok().one();
        let why = &shown["modes"][2]["why_not"];
        (shown["recommended"].clone(), why.clone())
    };
    let (recommended, why) = look("");
    assert_eq!(recommended, "passphrase");
    assert!(
        why.as_str().unwrap().contains("no relays are chosen"),
        "{why}"
    );
    assert_eq!(look(&addresses.join("\n")), (json!("relays"), Value::Null));
    relays[2].stop();
    let (recommended, why) = look(&addresses.join("\n"));
    assert_eq!(recommended, "passphrase");
    let away = addresses[2].split_once('/').unwrap().0;
    assert!(why.as_str().unwrap().ends_with(away), "{why}");
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
        format!(
            "2 of 3 relays are needed to open this vault, 1 can be reached and have their share; these do not: {}, {}",
            shared.host(0),
            shared.host(2)
        )
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
    let addresses: Vec<String> = others.iter().map(|relay| relay.address.clone()).collect();
    others.iter_mut().take(2).for_each(Relay::stop);
    let refused = shared.try_mode(&addresses.join("\n")).ends(5).failure();
    assert_eq!(refused["error"], "vault_relays_needed");
    let text = refused["text"].as_str().unwrap();
    assert!(text.contains("127.0.0.1"), "{text}");
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
    assert_eq!(ways, crate::drill::WAYS_WITH_FACTORS);
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
    let refused = shared.run(PIN, &copy, &["contacts"]);
    assert_eq!(error(refused), "vault_no_attempts");
}

/// Without a PIN nobody can have shares deleted; but they can be used up by whoever knows their ids, as the locked vault does. What is left
/// and enough to open a copy is told.
// [SPEC 11.59] [SPEC 12.44]
#[test]
fn a_locked_vault_that_is_destroyed_uses_its_shares_up() {
    let mut shared = Shared::new();
    let (copy, home) = (image(&shared.person, "copy"), shared.person.home.clone());
    let again = image(&shared.person, "again");
    shared.relays[1].stop();
    shared.relays[2].stop();
    let panic = ["panic", "--yes"];
    let told = shared.run("unused", &home, &panic).ends(5).failure();
    assert_eq!(told["error"], "left_behind");
    let text = told["text"].as_str().unwrap();
    assert!(
        text.contains(&shared.host(1)) && text.contains(&shared.host(2)),
        "{text}"
    );
    assert!(!text.contains(&shared.host(0)), "{text}");
    shared.relays[1].resume();
    shared.relays[2].resume();
    shared.run("unused", &again, &panic).ok();
    let refused = shared.run(PIN, &copy, &["contacts"]);
    assert_eq!(error(refused), "vault_no_attempts");
}

/// Where there is a dead-man time the shares end with it, also while the device is off; and a journey makes them last as long as it does.
// [SPEC 11.54]
#[test]
fn shares_end_with_the_dead_man_time() {
    // What was deleted is remembered for 30 days.
    let (deleted, day) = (30, today());
    let mut shared = Shared::new();
    let last =
        |shared: &mut Shared| -> u32 { shared.relays[0].last_days().into_iter().max().unwrap() };
    let all = last(&mut shared);
    assert!((day + 400..day + 408).contains(&all), "{all}");
    shared.person.run(&["deadman", "60d"]).ok();
    shared.person.run(&["contacts"]).ok();
    let all = last(&mut shared);
    assert!((day + 61..=day + 69).contains(&all), "{all}");
    shared.person.run(&["deadman", "suspend", "90d"]).ok();
    let all = last(&mut shared);
    assert!((day + 91..=day + 99).contains(&all), "{all}");
    shared.person.run(&["deadman", "5d"]).ok();
    shared.person.run(&["contacts"]).ok();
    let days = shared.relays[0].last_days();
    assert!(
        days.iter().all(|last| *last <= day + deleted + 1),
        "{days:?}"
    );
    assert!(
        days.iter().any(|last| (day + 6..=day + 14).contains(last)),
        "{days:?}"
    );
    shared.person.run(&["contacts"]).ok();
}

/// Days since 1970.
fn today() -> u32 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    u32::try_from(since.as_secs() / 86_400).unwrap()
}

/// Relays that are asked for something and do not answer do not keep a daemon from being locked: its keys go before they are given up.
// [SPEC 12.31]
#[test]
fn a_daemon_locks_while_relays_are_silent() {
    let roads: Vec<Road> = (0..3).map(|_| Road::open()).collect();
    let shared = Shared::with(
        roads
            .iter()
            .cloned()
            .map(Relay::start_at_the_end_of)
            .collect(),
    );
    let daemon = shared.person.daemon(&[]);
    shared.person.run(&["vault", "mode"]).ok();
    roads.iter().for_each(Road::close);
    let before = roads[0].taken();
    let change = shared.person.spawn(&["--json", "vault", "recovery", "new"]);
    roads[0].wait_past(before);
    let since = Instant::now();
    shared.person.run(&["lock"]).ok();
    daemon.finish().ok();
    // Relays have 15 seconds to be reached.
    assert!(since.elapsed() < Duration::from_secs(12));
    assert_eq!(error(change.finish()), "vault_locked");
    roads.iter().for_each(Road::reopen);
    shared.person.run(&["contacts"]).ok();
}
