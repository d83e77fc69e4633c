//! `wipe --drill`, by the real program.

use serde_json::json;

use crate::world::Person;

/// What a drill goes through where more than the PIN is needed: the four ways of destroying, and two copies that nobody answers.
pub(crate) const WAYS_WITH_FACTORS: [&str; 6] = [
    "panic_pin",
    "without_pin",
    "open_panic",
    "open_order",
    "copy_after_panic_pin",
    "copy_after_wipe",
];

// [SPEC 11.92]
#[test]
fn a_drill_shows_that_destroying_works_and_status_remembers() {
    let ada = Person::with_vault(None);
    let before = ada.run(&["contacts"]).ok().out;
    assert_eq!(ada.json(&["status"])[0]["vault"]["last_drill"], json!(null));
    assert!(ada.run(&["status"]).ok().out.contains("last drill: never"));
    let shown = ada.run(&["wipe", "--drill"]).ok().out;
    assert!(
        shown.contains("passed: by the files as they are nothing of it opens. What the storage"),
        "{shown}"
    );
    assert_eq!(shown.matches("of 200 messages 0 were found").count(), 4);

    let daemon = ada.daemon(&[]);
    let drill = ada.json(&["wipe", "--drill"]).remove(0);
    assert_eq!(
        (&drill["result"], &drill["passed"]),
        (&json!("drill"), &json!(true))
    );
    let ways: Vec<_> = drill["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| &step["way"])
        .collect();
    assert_eq!(
        ways,
        ["panic_pin", "without_pin", "open_panic", "open_order"]
    );
    let last = &ada.json(&["status"])[0]["vault"]["last_drill"];
    assert_eq!(last["passed"], true);
    assert!(last["ended_at"].as_u64().unwrap() > 1_700_000_000_000);
    daemon.signal("TERM");
    daemon.finish().ok();
    assert!(ada.run(&["status"]).ok().out.contains(", passed\n"));
    // The real vault was left alone, and nothing is left beside it.
    assert_eq!(ada.run(&["contacts"]).ok().out, before);
    assert!(!ada.home.join("drill").exists());
}

// [SPEC 11.92]
#[test]
fn a_drill_that_cannot_begin_is_none() {
    let ada = Person::with_vault(None);
    std::fs::write(ada.home.join("drill"), b"in the way").unwrap();
    let failure = ada.run(&["--json", "wipe", "--drill"]).ends(5).failure();
    assert_eq!(failure["error"], "vault_write");
    assert!(
        failure["text"].as_str().unwrap().contains("`drill`"),
        "{failure}"
    );
    assert_eq!(ada.json(&["status"])[0]["vault"]["last_drill"], json!(null));
}
