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
    road.wait_past(before);
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

/// A dead-man time that is switched off, killed while its relays are asked to keep their shares for longer: the next opening sees to it,
/// also where it makes nothing anew.
// [SPEC 11.54]
#[test]
fn leases_that_were_not_renewed_are_by_the_next_opening() {
    let roads: Vec<Road> = (0..3).map(|_| Road::open()).collect();
    let relays = roads.iter().cloned().map(Relay::start_at_the_end_of);
    let mut shared = Shared::with(relays.collect());
    shared.person.run(&["deadman", "5d"]).ok();
    shared.person.run(&["contacts"]).ok();
    let daemon = shared.person.daemon(&[]);
    shared.person.run(&["vault", "mode"]).ok();
    let last =
        |shared: &mut Shared| -> u32 { shared.relays[0].last_days().into_iter().max().unwrap() };
    roads.iter().for_each(Road::close);
    let before = roads[0].taken();
    let (day, off) = (today(), shared.person.spawn(&["deadman", "off"]));
    roads[0].wait_past(before);
    daemon.kill();
    off.kill();
    roads.iter().for_each(Road::reopen);
    shared.relays[2].stop();
    shared.person.run(&["contacts"]).ok();
    let told = shared.person.run(&["--json", "contacts"]).ok().err;
    assert!(told.contains("\"warning\":\"not_renewed\""), "{told}");
    let all = last(&mut shared);
    assert!(all >= day + 400, "{all}");
    shared.relays[2].resume();
    shared.person.run(&["contacts"]).ok();
    assert_eq!(shared.person.run(&["--json", "contacts"]).ok().err, "");
}
