//! What the relay says of an append is believed as far as it can be true.

use std::sync::atomic::{AtomicUsize, Ordering};

use emptyroom_core::api::{
    Command, Event, LineBody, MessageState, Notice, RelayLife, RelayTrouble, Reply,
};
use emptyroom_relay::store::StoreReply;
use emptyroom_wire::entry::RunningHash;
use emptyroom_wire::op::{Appended, Refusal, RefusalCode};

use super::world::{DAY, MINUTE, SECOND, World};

/// How often the relay was asked in the one test that uses this.
static ASKED: AtomicUsize = AtomicUsize::new(0);

fn an_old_number() -> StoreReply {
    ASKED.fetch_add(1, Ordering::Relaxed);
    StoreReply::Already(Appended {
        seq: 1,
        running_hash: RunningHash([3; 32]),
    })
}

fn busy() -> StoreReply {
    StoreReply::Refused(Refusal::now(RefusalCode::Busy))
}

fn receipts(world: &mut World, party: usize, (delivered, read): (bool, bool)) {
    let set = Command::SetReceipts {
        name: World::peer_name(party),
        delivered,
        read,
    };
    assert_eq!(world.command(party, set), Ok(Reply::Done));
}

fn was_restarted(world: &mut World, party: usize) -> bool {
    world
        .history(party)
        .iter()
        .any(|line| matches!(line.body, LineBody::Notice(Notice::Restarted { .. })))
}

// [SPEC 8.61]
#[test]
fn a_relay_that_drops_a_message_and_names_an_old_number_is_found_out() {
    let mut world = World::talk(70);
    world.send(0, "one");
    world.send(1, "two");
    world.pass(MINUTE);
    world.events(0);
    world.no_appends = Some(an_old_number);
    world.send(0, "dropped");
    world.pass(5 * MINUTE);
    assert_eq!(
        world.states(0),
        [MessageState::Delivered, MessageState::Queued]
    );
    let told = |event: &Event| {
        matches!(
            event,
            Event::RelayTrouble {
                kind: RelayTrouble::WrongSequence,
                ..
            }
        )
    };
    assert!(world.events(0).iter().any(told));
    let asked = ASKED.load(Ordering::Relaxed);
    assert!((2..30).contains(&asked), "both sides, {asked} times");
    world.no_appends = None;
    world.pass(20 * MINUTE);
    assert_eq!(world.states(0), [MessageState::Delivered; 2]);
    assert_eq!(world.received(1), ["one", "dropped"]);
    assert!(!was_restarted(&mut world, 0));
}

// [SPEC 8.61]
#[test]
fn a_message_that_ran_out_before_its_sender_heard_of_it_is_made_anew() {
    let mut ran_out = 0;
    for steps in 0..30 {
        let mut world = World::talk(71);
        world.send(0, "one");
        world.pass(MINUTE);
        world.switch_off(1);
        let send = Command::Send {
            to: World::peer_name(0),
            text: "late".into(),
            burn: None,
            life: RelayLife::Day1,
        };
        world.start(0, send);
        world.steps(steps);
        world.switch_off(0);
        world.pass(3 * DAY);
        world.cut = true;
        world.load(0);
        let waits = world.states(0).last() == Some(&MessageState::Queued);
        world.cut = false;
        world.pass(MINUTE);
        let gap = |event: &Event| matches!(event, Event::Noticed { .. });
        ran_out += usize::from(waits && world.events(0).iter().any(gap));
        world.load(1);
        world.pass(MINUTE);
        if waits {
            assert_eq!(world.received(1), ["one", "late"], "{steps}");
            assert_eq!(world.states(0), [MessageState::Delivered; 2], "{steps}");
        }
        assert!(!was_restarted(&mut world, 0), "{steps}");
    }
    assert!(ran_out > 0);
}

// [SPEC 8.62]
#[test]
fn a_receipt_that_waits_does_not_leave_once_it_is_switched_off() {
    for (off, state) in [
        ((false, false), MessageState::Sent),
        ((true, false), MessageState::Delivered),
    ] {
        let mut world = World::talk(72);
        world.send(0, "one");
        world.run();
        world.read_all(1);
        world.no_appends = Some(busy);
        world.pass(10 * SECOND);
        receipts(&mut world, 1, off);
        world.no_appends = None;
        world.pass(20 * MINUTE);
        assert_eq!(world.states(0), [state]);
    }
}

// [SPEC 8.62]
#[test]
fn a_receipt_that_may_have_left_is_known_again() {
    let mut arrived = 0;
    let mut withdrawn = 0;
    for outputs in 0..6 {
        let mut world = World::talk(73);
        world.send(0, "one");
        world.run();
        world.cut = true;
        world.parties[1].dies_after = Some(outputs);
        world.pass(10 * SECOND);
        world.parties[1].dies_after = None;
        receipts(&mut world, 1, (false, false));
        world.cut = false;
        world.pass(MINUTE);
        match world.states(0)[0] {
            MessageState::Delivered => arrived += 1,
            MessageState::Sent => withdrawn += 1,
            other => panic!("{other:?}"),
        }
        world.send(1, "two");
        world.send(0, "three");
        world.pass(MINUTE);
        assert_eq!(world.received(0), ["two"], "{outputs}");
        assert_eq!(world.received(1), ["one", "three"], "{outputs}");
        for party in 0..2 {
            assert!(!was_restarted(&mut world, party), "{outputs}");
        }
    }
    assert!(arrived > 0 && withdrawn > 0, "{arrived} {withdrawn}");
}

#[test]
fn nothing_is_settled_while_an_answer_is_awaited() {
    let mut world = World::talk(74);
    world.no_appends = Some(busy);
    world.send(0, "one");
    let flush = |world: &mut World| match world.command(0, Command::Flush) {
        Ok(Reply::Flushed { waiting, .. }) => waiting,
        other => panic!("{other:?}"),
    };
    assert_eq!(flush(&mut world), 1, "the relay said: later");
    world.no_appends = None;
    world.now.mono = world.now.mono.plus_ms(5 * SECOND);
    world.now.wall = world.now.wall.plus_ms(5 * SECOND);
    assert_eq!(flush(&mut world), 0, "later is now");
}
