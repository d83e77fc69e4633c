//! A relay that comes back from a copy: it knows less than its clients.

use crate::world::{Person, Relay, pair};

/// Receives until a text is there, the other by turns: a restart needs both. Everything that was said on the way.
fn hears(person: &Person, other: &Person, text: &str) -> String {
    let mut said = String::new();
    for _ in 0..6 {
        said += &person.run(&["receive", "--wait", "3s"]).out;
        if said.contains(text) {
            return said;
        }
        said += &other.run(&["receive", "--wait", "3s"]).out;
    }
    panic!("{text} does not come: {said}");
}

/// Two people talk on after the copy was made, and then the relay is the copy. Nobody does anything about it.
// [SPEC 6.133]
#[test]
fn two_people_go_on_after_their_relay_went_back() {
    let mut relay = Relay::start();
    let (ada, ben) = pair(&relay);
    ada.run(&["send", "ben", "before"]).ok();
    hears(&ben, &ada, "ada: before");
    let copy = relay.backup("copy");
    ben.run(&["send", "ada", "heard in time"]).ok();
    hears(&ada, &ben, "ben: heard in time");
    relay.go_back_to(&copy);
    let mut said = String::new();
    for (from, to, name, text) in [
        (&ada, &ben, "ben", "and on"),
        (&ben, &ada, "ada", "as ever"),
    ] {
        said += &from.run(&["send", name, text]).out;
        said += &hears(to, from, text);
    }
    for (person, other) in [(&ada, "ben"), (&ben, "ada")] {
        said += &person.run(&["history", other]).ok().out;
    }
    assert!(
        said.contains("restarted the encryption of the conversation")
            && said.contains("the relay went back to an older state"),
        "{said}"
    );
}
