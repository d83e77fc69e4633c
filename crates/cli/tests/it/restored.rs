//! A relay that comes back from a copy: it knows less than its clients. And one that is another than it says.

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

// [SPEC 10.43]
#[test]
fn who_answers_in_the_relays_place_is_told_until_status_has_shown_it() {
    const OTHER: &str = "is not the one that the address names";
    let mut relay = Relay::start();
    let (ada, ben) = pair(&relay);
    relay.leave_to_another();
    let kept = ada.run(&["send", "ben", "hello"]).ends(3);
    assert!(kept.err.contains(OTHER), "{kept:?}");
    relay.come_back();
    for _ in 0..2 {
        let told = ada.run(&["contacts"]).ok();
        assert!(told.err.contains(OTHER), "{told:?}");
    }
    let told = ada.run(&["contacts", "--json"]).ok();
    assert!(
        told.err.contains("\"warning\":\"relay_trouble\""),
        "{told:?}"
    );
    for told in [false, true] {
        let status = ada.json(&["status"]);
        let alarm = &status[0]["alarms"][0];
        assert_eq!(alarm["kind"], "wrong_identity", "{status:?}");
        assert_eq!(alarm["told"], told, "{status:?}");
        let after = ada.run(&["contacts"]).ok();
        assert!(!after.err.contains(OTHER), "{after:?}");
    }
    hears(&ben, &ada, "ada: hello");
}
