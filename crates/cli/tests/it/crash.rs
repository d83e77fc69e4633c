//! The client killed at any moment, and gone on with.

use std::time::{Duration, Instant};

use crate::world::{Person, Relay, Running, pair};

const ROUNDS: usize = 12;

/// A small generator of its own, so that a failing run can be looked at again.
struct Xorshift(u64);

impl Xorshift {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Kills at a moment that is drawn; the moment needs no exactness, so spinning on the clock is as good as anything.
fn kill_after(running: Running, after: Duration) {
    let start = Instant::now();
    while start.elapsed() < after {
        std::thread::yield_now();
    }
    running.kill();
}

fn texts(person: &Person, name: &str, kind: &str) -> Vec<String> {
    let lines = person.json(&["history", name]);
    lines
        .iter()
        .filter(|l| l["line"] == kind)
        .map(|l| l["text"].as_str().unwrap().to_owned())
        .collect()
}

/// Sender and receiver are killed in turn. Whatever `send` confirmed, and whatever the sender's own history holds, arrives
/// exactly once and in order.
#[test]
fn a_killed_client_goes_on_where_it_was() {
    let relay = Relay::start();
    let (ada, ben) = pair(&relay);
    let mut random = Xorshift(0x2545_f491_4f6c_dd1d);
    for round in 0..ROUNDS {
        let text = format!("message {round}");
        let sending = ada.spawn(&["send", "ben", &text]);
        kill_after(sending, Duration::from_micros(random.below(250_000)));
        let receiving = ben.spawn(&["receive"]);
        kill_after(receiving, Duration::from_micros(random.below(250_000)));
        ada.run(&["send", "ben", &format!("confirmed {round}")])
            .ok();
    }
    ada.run(&["receive"]).ok();
    let sent = texts(&ada, "ben", "sent");
    let expected = sent.len();
    let mut received = texts(&ben, "ada", "received");
    for _ in 0..20 {
        if received.len() >= expected {
            break;
        }
        ben.run(&["receive", "--wait", "5s"]).ok();
        received = texts(&ben, "ada", "received");
    }
    assert_eq!(received, sent);
    assert!((0..ROUNDS).all(|round| sent.contains(&format!("confirmed {round}"))));
}

/// A daemon killed while it is being talked to.
#[test]
fn a_killed_daemon_loses_nothing_that_was_confirmed() {
    let relay = Relay::start();
    let (ada, ben) = pair(&relay);
    let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
    let mut confirmed = Vec::new();
    for round in 0..6 {
        let daemon = ada.daemon(&[]);
        let chat = ada.spawn(&["--json", "chat", "ben"]);
        let mut chat = chat;
        chat.write(&format!("a {round}\nb {round}\nc {round}\n"));
        let text = format!("sent {round}");
        if ada.run(&["send", "ben", &text]).code == Some(0) {
            confirmed.push(text);
        }
        kill_after(daemon, Duration::from_micros(random.below(50_000)));
        chat.end_of_input();
        chat.finish();
    }
    ada.run(&["receive"]).ok();
    let sent = texts(&ada, "ben", "sent");
    let mut received = Vec::new();
    for _ in 0..20 {
        ben.run(&["receive", "--wait", "5s"]).ok();
        received = texts(&ben, "ada", "received");
        if received.len() >= sent.len() {
            break;
        }
    }
    assert_eq!(received, sent);
    assert_eq!(confirmed.len(), 6);
    assert!(confirmed.iter().all(|text| received.contains(text)));
}

/// Killed while it makes a vault: either there is one, or it can be made.
#[test]
fn a_killed_init_leaves_a_vault_or_nothing_in_the_way() {
    let mut random = Xorshift(7);
    for _ in 0..ROUNDS {
        let ada = Person::new();
        let making = ada.spawn(&["init", "--kdf", "minimum"]);
        kill_after(making, Duration::from_micros(random.below(60_000)));
        if ada.run(&["contacts"]).code != Some(0) {
            ada.run(&["init", "--kdf", "minimum"]).ok();
            ada.run(&["contacts"]).ok();
        }
    }
}
