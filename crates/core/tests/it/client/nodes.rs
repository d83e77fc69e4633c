//! A relay that runs on several nodes, as its clients see it.

use emptyroom_core::api::{Command, ContactState, Event, RelayTrouble, Reply, Text};
use emptyroom_wire::address::Host;
use emptyroom_wire::link::{InviteBinding, InviteLink};
use emptyroom_wire::log::Capability;
use emptyroom_wire::secret::Secret32;

use super::world::{DAY, MINUTE, SECOND, World, name};

/// Alice knows the relay under these hosts besides its own, and has a link to it for some minutes.
fn linked(seed: u64, others: &str) -> World {
    let mut world = World::new(seed);
    let address = world.address().replace(":443", &format!(":443,{others}"));
    let address = Text::new(address);
    let set = world.command(0, Command::SetRelay { address });
    assert_eq!(set, Ok(Reply::Done));
    world.invite(0, "bob");
    world.pass(3 * MINUTE);
    assert!(is_up(&world));
    world
}

fn is_up(world: &World) -> bool {
    !world.parties[0].links.is_empty()
}

/// The node goes, and with it the link; it stands again a moment later.
fn lose_link(world: &mut World) {
    world.stop_relay();
    world.run();
    assert!(!is_up(world));
    world.start_relay();
}

// [SPEC 7.12]
#[test]
fn who_loses_a_node_goes_to_another_within_ten_seconds() {
    for others in ["gone.example:443", "silent.example:443"] {
        let mut elsewhere = 0;
        for seed in 0..10 {
            let mut world = linked(seed, others);
            world.elsewhere.clear();
            lose_link(&mut world);
            world.pass(10 * SECOND);
            assert!(is_up(&world), "{others} {seed}");
            elsewhere += world.elsewhere.len();
        }
        assert_eq!(elsewhere, 10, "each tries the other one first");
    }
}

// [SPEC 7.11]
#[test]
fn clients_spread_over_the_nodes() {
    let mut first_elsewhere = 0;
    for seed in 0..40 {
        let world = linked(100 + seed, "gone.example:443");
        first_elsewhere += world.elsewhere.len();
    }
    assert!((8..=32).contains(&first_elsewhere), "{first_elsewhere}");
}

// [SPEC 7.12]
#[test]
fn hosts_that_all_say_nothing_get_more_time_and_fewer_attempts() {
    let mut world = linked(7, "silent.example:443,silent.example:444");
    world.cut = true;
    world.elsewhere.clear();
    lose_link(&mut world);
    world.pass(10 * MINUTE);
    let attempts = world.elsewhere.len();
    // Two rounds in 4 seconds each; then one of these hosts has all the time that the carrier gives it.
    assert!((3..=5).contains(&attempts), "{attempts}");
}

fn troubles(world: &mut World) -> Vec<RelayTrouble> {
    let events = world.events(0);
    let troubles = events.iter().filter_map(|event| match event {
        Event::RelayTrouble { kind, .. } => Some(*kind),
        _ => None,
    });
    troubles.collect()
}

// [SPEC 5.21]
#[test]
fn a_node_with_an_older_key_must_have_it_in_the_same_chain() {
    let mut world = World::new(8);
    world.stop_relay();
    world.is_node = true;
    world.start_relay();
    world.pass(10 * MINUTE);
    // Another node starts, and Alice comes to that one first.
    let older = world.relay.take();
    world.start_relay();
    world.set_relay(0);
    world.invite(0, "bob");
    world.pass(MINUTE);
    assert!(is_up(&world));
    world.stop_relay();
    world.relay = older;
    world.pass(MINUTE);
    assert!(is_up(&world));
    assert_eq!(troubles(&mut world), []);
    // A node that has another chain, with a key as old.
    world.stop_relay();
    world.key_records.truncate(1);
    world.now.wall.0 -= 5 * MINUTE;
    world.start_relay();
    world.pass(MINUTE);
    assert!(!is_up(&world));
    let troubles = troubles(&mut world);
    assert!(!troubles.is_empty());
    assert!(troubles.iter().all(|kind| *kind == RelayTrouble::KeyChain));
}

/// Whether Alice, whom the relay does not answer, dials another host than its own.
fn dials_elsewhere(world: &mut World) -> bool {
    world.elsewhere.clear();
    world.cut = true;
    lose_link(world);
    world.pass(10 * MINUTE);
    world.cut = false;
    world.pass(10 * MINUTE);
    assert!(is_up(world));
    world.elsewhere.contains(&0)
}

/// The hosts that an invite of Alice's hands on.
fn handed_on(world: &mut World, to: &str) -> Vec<String> {
    let link = world.invite(0, to);
    let link = InviteLink::parse(link.expose()).unwrap();
    link.hosts.iter().map(Host::to_string).collect()
}

// [SPEC 7.14]
#[test]
fn hosts_of_a_link_that_leads_nowhere_leave_nothing() {
    let mut world = World::talk(110);
    let link = InviteLink {
        hosts: vec![Host::parse("elsewhere.example:443").unwrap()],
        relay: world.relay.as_ref().unwrap().identity_hash(),
        capability: Capability::new([1; 32]),
        secret: Secret32::new([2; 32]),
        binding: InviteBinding([3; 32]),
        expires: world.now.wall.plus_ms(DAY),
    };
    let join = Command::Join {
        link: Text::new(link.to_text().unwrap()),
        name: name("mallory"),
    };
    assert_eq!(world.command(0, join), Ok(Reply::Joining));
    world.pass(MINUTE);
    for again in [false, true] {
        if again {
            world.kill(0);
            world.pass(MINUTE);
        }
        assert!(!dials_elsewhere(&mut world));
    }
    assert_eq!(handed_on(&mut world, "carol"), ["relay.example:443"]);
}

// [SPEC 7.14]
#[test]
fn hosts_of_a_contacts_link_are_dialled_last_and_go_with_him() {
    let mut world = World::talk(111);
    let address = world
        .address()
        .replace(":443", ":443,elsewhere.example:443");
    let address = Text::new(address);
    world.command(1, Command::SetRelay { address }).unwrap();
    let link = world.invite(1, "carol");
    let join = |name_of: &str| Command::Join {
        link: link.clone(),
        name: name(name_of),
    };
    world.command(0, join("dave")).unwrap();
    world.pass(5 * MINUTE);
    assert_eq!(world.contact(0).state, ContactState::Active);
    // Mallory names the same hosts, and fails: they are Dave's all the same.
    world.command(0, join("again")).unwrap();
    world.pass(5 * MINUTE);
    world.kill(0);
    world.pass(MINUTE);
    assert!(dials_elsewhere(&mut world));
    assert_eq!(handed_on(&mut world, "erin"), ["relay.example:443"]);
    let forget = Command::Forget { name: name("dave") };
    world.command(0, forget).unwrap();
    assert!(!dials_elsewhere(&mut world));
}
