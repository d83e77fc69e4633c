//! Keys that are compared by a scanned code.

use serde_json::json;

use crate::world::{Person, Relay, pair};

// [SPEC 12.76]
#[test]
fn scanned_codes_are_compared() {
    let relay = Relay::start();
    let (ada, ben) = pair(&relay);
    let code = |person: &Person, name| {
        let shown = person.json(&["verify", name]);
        shown[0]["qr"].as_str().unwrap().to_owned()
    };
    let hers = code(&ada, "ben");
    let scan = |text: &str| ben.run_with(&["--json", "verify", "ada", "--scanned", "-"], text);
    let is_verified = || ben.json(&["contacts"])[0]["verified"].clone();
    // The first digit of the keys is another one: the code of other keys.
    let (prefix, rest) = hers.split_at("ERV1:".len());
    let digit = if rest.starts_with('0') { "1" } else { "0" };
    let others = format!("{prefix}{digit}{}", &rest[1..]);
    assert_eq!(scan(&others).ends(4).failure()["error"], "keys_differ");
    assert_eq!(scan("hello").ends(2).failure()["error"], "not_a_code");
    assert_eq!(is_verified(), json!(false));
    scan(&hers).ok();
    assert_eq!(is_verified(), json!(true));
}
