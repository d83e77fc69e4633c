//! What is cut off while relays do not answer can be done again.

use super::*;

/// An open vault that is destroyed, killed while its relays are asked to delete their shares: whom to ask is still there.
// [SPEC 11.59]
#[test]
fn a_panic_that_is_killed_is_done_again() {
    let road = Road::open();
    let shared = Shared::with(vec![Relay::start_at_the_end_of(road.clone())]);
    let home = shared.person.home.clone();
    let daemon = shared.person.daemon(&[]);
    // Behind the refresh.
    shared.person.run(&["vault", "mode"]).ok();
    let copy = image(&shared.person, "copy");
    road.close();
    let before = road.taken();
    let panic = shared.person.spawn(&["panic", "--yes"]);
    while road.taken() == before {
        std::thread::yield_now();
    }
    daemon.kill();
    panic.kill();
    assert!(home.join("header").exists());
    let refused = shared.run(PIN, &home, &["contacts"]).ends(5).failure();
    assert_eq!(refused["error"], "vault_relays_needed");
    road.reopen();
    shared.run("unused", &home, &["panic", "--yes"]).ok();
    let refused = shared.run(PIN, &copy, &["contacts"]);
    assert_eq!(error(refused), "vault_no_attempts");
}
