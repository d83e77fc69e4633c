//! How a deadline is stored and marked, and what the kernel says of its clocks.

use super::*;
use crate::clock;

// [SPEC 11.61]
#[test]
fn only_what_the_vault_set_is_its_own() {
    let key: Key = KEY.into();
    let machine = Machine::new();
    let known = begun(DAYS, &machine).fixed();
    let later = Fixed::new(20, 5, Some(known));
    let begun = |fixed| Deadline::begun(fixed, &machine.here(), &key);
    assert_eq!(begun(known).own(known, &key), Some(known));
    assert_eq!(begun(later).own(known, &key), Some(later));
    assert_eq!(begun(known).own(later, &key), None, "an older one");
    assert_eq!(begun(later).own(known, &[8; 32].into()), None);
    for at in 0..Fixed::LEN + 32 {
        let mut bytes = begun(later).encode();
        bytes[at] ^= 1;
        let own = Deadline::decode(&bytes).and_then(|other| other.own(known, &key));
        assert_eq!(own, None, "{at}");
    }
}

// [SPEC 11.60, 11.61]
#[test]
fn a_deadline_lies_as_the_vectors_say() {
    let vectors = include_str!("../../../../../spec/vectors/outside.json");
    let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let text = vectors["boot"]["name"].as_str().unwrap();
    let boot = clock::boot(&format!("{text}\n")).unwrap();
    assert_eq!(hex(&boot), vectors["boot"]["id"].as_str().unwrap());
    for none in ["", "\n"] {
        assert_eq!(clock::boot(none), None);
    }
    let fixed = Fixed {
        days: 1,
        journey: 2,
        count: 3,
    };
    let deadline = Deadline {
        fixed,
        tag: fixed.tag(&KEY.into()),
        counted_ms: 4,
        watched_ms: 5,
        due_ms: 6,
        mono_ms: 7,
        wall_ms: 8,
        then_ms: 9,
        boot: Some(boot),
    };
    let bytes = deadline.encode();
    assert_eq!(hex(&bytes), vectors["deadline"]["bytes"].as_str().unwrap());
    assert_eq!(bytes.len(), LEN);
    let unknown = Deadline {
        boot: None,
        ..deadline
    };
    for deadline in [deadline, unknown] {
        assert_eq!(Deadline::decode(&deadline.encode()), Some(deadline));
    }
    assert_eq!(Deadline::decode(&bytes[..LEN - 1]), None);
    assert_eq!(Deadline::decode(&[&*bytes, &[0]].concat()), None);
    for (at, byte) in [(3, 0), (0, 1), (7, 91)] {
        let mut wrong = bytes.clone();
        wrong[at] = byte;
        assert_eq!(Deadline::decode(&wrong), None, "{at}");
    }
}

/// What the kernel says of its own clocks.
// [SPEC 11.81]
#[test]
fn this_machine_says_when_it_was_started_and_runs() {
    let one = clock::here();
    let other = clock::here();
    assert!(one.boot.is_some());
    assert_eq!(one.boot, other.boot);
    assert!(other.running_ms >= one.running_ms && one.running_ms > 0);
    if let Some(wall) = other.synchronised {
        assert_eq!(wall, other.now.wall);
    }
}
