//! Two people talk.

use emptyroom_core::api::{Command, MessageState, Reply};

use super::world::{DAY, MINUTE, SECOND, World};

// [SPEC 9.23]
#[test]
fn two_people_talk() {
    let mut world = World::talk(1);
    world.send(0, "hello bob");
    world.pass(SECOND);
    assert_eq!(world.received(1), ["hello bob"]);
    world.send(1, "hello alice");
    world.send(1, "how are you");
    world.pass(10 * SECOND);
    assert_eq!(world.received(0), ["hello alice", "how are you"]);
    assert_eq!(world.states(0), [MessageState::Delivered]);
    world.read_all(1);
    world.pass(10 * SECOND);
    assert_eq!(world.states(0), [MessageState::Read]);
}

#[test]
fn generations_pass_and_nothing_is_lost() {
    let mut world = World::talk(30);
    let mut sent = Vec::new();
    for n in 0..60 {
        let text = format!("day {n}");
        world.send(n % 2, &text);
        sent.push(text);
        world.pass(DAY);
    }
    for party in 0..2 {
        let expected: Vec<&String> = sent.iter().skip(1 - party).step_by(2).collect();
        assert_eq!(world.received(party).iter().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_thousand_messages() {
    let mut world = World::talk(31);
    for n in 0..1_100 {
        world.send(n % 2, &format!("{n}"));
        if n % 100 == 0 {
            world.pass(MINUTE);
        }
    }
    world.pass(MINUTE);
    assert_eq!(world.received(0).len() + world.received(1).len(), 1_100);
}

// [SPEC 8.47]
#[test]
fn what_is_said_while_the_relay_is_away_goes_out_later() {
    let mut world = World::talk(32);
    world.stop_relay();
    for n in 0..5 {
        world.send(0, &format!("{n}"));
    }
    let flush = world.start(0, Command::Flush);
    world.pass(MINUTE);
    assert!(matches!(
        world.reply(0, flush),
        Some(Ok(Reply::Flushed { waiting: 5, .. }))
    ));
    world.start_relay();
    let flush = world.start(0, Command::Flush);
    world.pass(MINUTE);
    assert!(matches!(
        world.reply(0, flush),
        Some(Ok(Reply::Flushed { waiting: 0, .. }))
    ));
    world.pass(MINUTE);
    assert_eq!(world.received(1), ["0", "1", "2", "3", "4"]);
}
