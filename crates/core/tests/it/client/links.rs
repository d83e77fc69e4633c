//! Links that do not work, and relays that lie while one is taken.

use std::cell::Cell;
use std::rc::Rc;

use emptyroom_core::api::{
    Command, ContactState, Event, JoinFault, Refused, RelayTrouble, Reply, Text,
};
use emptyroom_core::kind;
use emptyroom_relay::store::StoreReply;
use emptyroom_wire::entry::RunningHash;
use emptyroom_wire::link::InviteLink;
use emptyroom_wire::op::{Refusal, RefusalCode};
use emptyroom_wire::relay_key::IdentityHash;

use super::raw::{Raw, inspect};
use super::world::{DAY, HOUR, MINUTE, SECOND, World, name};

fn told(world: &mut World, party: usize) -> (Vec<RelayTrouble>, Vec<JoinFault>) {
    let events = world.events(party);
    let troubles = events.iter().filter_map(|event| match event {
        Event::RelayTrouble { kind, .. } => Some(*kind),
        _ => None,
    });
    let faults = events.iter().filter_map(|event| match event {
        Event::JoinFailed { why, .. } => Some(*why),
        _ => None,
    });
    (troubles.collect(), faults.collect())
}

/// Bob takes Alice's link from a relay that lies from then on.
fn taken_with_a_lie(seed: u64, lie: impl FnMut(&mut StoreReply) + 'static) -> World {
    let mut world = World::new(seed);
    world.set_relay(0);
    let link = world.invite(0, "bob");
    world.pass(SECOND);
    world.switch_off(0);
    world.lie = Some(Box::new(lie));
    world.join(1, &link, "alice");
    world
}

// [SPEC 10.22]
#[test]
fn a_join_that_is_acknowledged_wrong_counts_when_it_is_read_back() {
    let hash = |reply: &mut StoreReply| {
        if let StoreReply::Appended(placed) = reply {
            placed.after = RunningHash([6; 32]);
        }
    };
    let number = |reply: &mut StoreReply| {
        if let StoreReply::Appended(placed) = reply {
            placed.seq = 0;
        }
    };
    let worlds = [
        (taken_with_a_lie(900, hash), RelayTrouble::TwoHistories),
        (taken_with_a_lie(901, number), RelayTrouble::WrongSequence),
    ];
    for (mut world, expected) in worlds {
        world.run();
        world.lie = None;
        world.load(0);
        world.pass(MINUTE);
        assert_eq!(told(&mut world, 1), (vec![expected], Vec::new()));
        world.send(0, "a1");
        world.send(1, "b1");
        world.pass(MINUTE);
        assert_eq!(world.received(0), ["b1"]);
        assert_eq!(world.received(1), ["a1"]);
        let position = inspect(&world, 0).point.unwrap().position;
        assert_eq!(position.restart, 0, "the log's end is what both read");
    }
}

// [SPEC 8.63]
#[test]
fn a_link_whose_time_is_over_is_refused_before_anybody_is_asked() {
    let mut world = World::new(902);
    world.set_relay(0);
    let link = world.invite(0, "bob");
    world.pass(SECOND);
    let join = || Command::Join {
        link: link.clone(),
        name: name("alice"),
    };
    // Bob's clock is two weeks ahead, and was so for a while.
    world.parties[1].clock_offset_ms = 14 * DAY as i64;
    world.kill(1);
    world.pass(HOUR);
    world.events(1);
    assert_eq!(world.command(1, join()), Err(Refused::LinkExpired));
    world.pass(MINUTE);
    assert_eq!(world.events(1), []);
    assert_eq!(
        world.command(1, Command::Contacts),
        Ok(Reply::Contacts(Vec::new()))
    );
    // He sets it, while the client runs.
    world.parties[1].clock_offset_ms = 0;
    assert_eq!(world.command(1, join()), Ok(Reply::Joining));
    world.pass(MINUTE);
    assert_eq!(world.contact(1).state, ContactState::Active);
}

// [SPEC 8.51]
#[test]
fn a_log_0_that_the_link_does_not_open_is_not_what_it_names() {
    let mut world = taken_with_a_lie(903, |reply| {
        if let StoreReply::Read(batch) = reply {
            for entry in &mut batch.entries {
                entry.body = vec![1; entry.body.len()].into();
            }
        }
    });
    world.pass(MINUTE);
    let expected = (
        vec![RelayTrouble::ForeignEntry],
        vec![JoinFault::NotAsNamed],
    );
    assert_eq!(told(&mut world, 1), expected);
}

// [SPEC 8.51]
#[test]
fn a_log_0_without_room_for_the_join_ends_it() {
    let mut world = taken_with_a_lie(904, |reply| {
        if let StoreReply::Appended(_) = reply {
            *reply = StoreReply::Refused(Refusal::now(RefusalCode::Full));
        }
    });
    world.pass(MINUTE);
    assert_eq!(told(&mut world, 1).1, [JoinFault::Refused]);
}

/// The relay forgot the join, and somebody wrote into log 0 before it could be repeated: it fits no more, and no other takes its place.
// [SPEC 8.53]
#[test]
fn a_join_that_made_a_conversation_is_repeated_or_given_up_and_never_made_anew() {
    let mut world = World::new(905);
    world.set_relay(0);
    let link = world.invite(0, "bob");
    world.pass(SECOND);
    let image = world.image();
    let log_0 = inspect(&world, 0).main.unwrap();
    world.join(1, &link, "alice");
    world.pass(MINUTE);
    world.switch_off(0);
    world.switch_off(1);
    world.restore_relay(image);
    let mut raw = Raw::connect(&mut world);
    raw.append(
        &mut world,
        &log_0,
        (kind::MLS, b"rubbish"),
        (true, false),
        Vec::new(),
    );
    world.load(1);
    world.pass(2 * HOUR);
    assert_eq!(
        world.contact(1).state,
        ContactState::Over,
        "alone in a group that nobody is in would look as if it worked"
    );
}

/// Whoever holds the place that a link names must hold the key it names, too: nothing is said to anybody else.
#[test]
fn a_link_for_another_relays_key_is_taken_from_nobody_else() {
    let mut world = World::new(906);
    world.set_relay(0);
    let link = world.invite(0, "bob");
    world.pass(SECOND);
    let mut other = InviteLink::parse(link.expose()).unwrap();
    other.relay = IdentityHash([9; 32]);
    let asked = Rc::new(Cell::new(0));
    let counted = Rc::clone(&asked);
    world.lie = Some(Box::new(move |_| counted.set(counted.get() + 1)));
    world.join(1, &Text::new(other.to_text().unwrap()), "alice");
    world.pass(MINUTE);
    let (troubles, _) = told(&mut world, 1);
    let wrong = |kind: &RelayTrouble| *kind == RelayTrouble::WrongIdentity;
    assert!(
        !troubles.is_empty() && troubles.iter().all(wrong),
        "{troubles:?}"
    );
    assert_eq!(world.contact(1).state, ContactState::Joining);
    assert_eq!(asked.get(), 0);
}
