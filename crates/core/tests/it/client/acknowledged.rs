//! What the relay says of an append is believed as far as it can be true.

use std::cell::Cell;
use std::rc::Rc;

use emptyroom_core::api::{
    Command, ContactState, Event, LineBody, LineId, MessageState, Notice, RelayLife, RelayTrouble,
    Reply,
};
use emptyroom_relay::store::StoreReply;
use emptyroom_wire::entry::RunningHash;
use emptyroom_wire::op::{Appended, Refusal, RefusalCode, View};

use super::raw::inspect;
use super::world::{DAY, HOUR, MINUTE, SECOND, World};

/// Appends are answered so, and not stored; how often there was one.
pub(super) fn refuse_appends(
    world: &mut World,
    reply: impl Fn() -> StoreReply + 'static,
) -> Rc<Cell<u32>> {
    let asked = Rc::new(Cell::new(0));
    let count = asked.clone();
    world.no_appends = Some(Box::new(move || {
        count.set(count.get() + 1);
        reply()
    }));
    asked
}

pub(super) fn told(world: &mut World, party: usize, kind: RelayTrouble) -> bool {
    let told =
        |event: &Event| matches!(event, Event::RelayTrouble { kind: found, .. } if *found == kind);
    world.events(party).iter().any(told)
}

pub(super) fn stale(next_seq: u64, slots: u64) -> StoreReply {
    StoreReply::Stale(View {
        first_seq: 0,
        next_seq,
        slots,
        running_hash: RunningHash([3; 32]),
        closed: false,
    })
}

pub(super) fn busy() -> StoreReply {
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

pub(super) fn was_restarted(world: &mut World, party: usize) -> bool {
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
    let asked = refuse_appends(&mut world, || {
        StoreReply::Already(Appended {
            seq: 1,
            running_hash: RunningHash([3; 32]),
        })
    });
    world.send(0, "dropped");
    world.pass(5 * MINUTE);
    assert_eq!(
        world.states(0),
        [MessageState::Delivered, MessageState::Queued]
    );
    assert!(told(&mut world, 0, RelayTrouble::WrongSequence));
    let asked = asked.get();
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
        world.no_appends = Some(Box::new(busy));
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
    world.no_appends = Some(Box::new(busy));
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

// [SPEC 8.48]
#[test]
fn a_stale_that_cannot_be_is_told_and_asked_for_later_each_time() {
    let mut world = World::talk(75);
    let point = inspect(&world, 0).point.unwrap();
    let (next_seq, slots) = (point.position.next_seq, point.slots);
    let asked = refuse_appends(&mut world, move || stale(next_seq, slots + 1));
    world.send(0, "one");
    world.pass(20 * MINUTE);
    assert!((2..20).contains(&asked.get()), "{asked:?}");
    assert!(told(&mut world, 0, RelayTrouble::WrongAnswer));
    world.no_appends = None;
    world.pass(20 * MINUTE);
    assert_eq!(world.received(1), ["one"]);
    assert!(!was_restarted(&mut world, 0));
}

// [SPEC 8.48]
#[test]
fn a_stale_join_that_cannot_be_is_repeated_later_each_time() {
    for slots in [0, 1] {
        let mut world = World::new(76);
        world.set_relay(0);
        let link = world.invite(0, "bob");
        world.pass(MINUTE);
        let asked = refuse_appends(&mut world, move || stale(1, slots));
        world.join(1, &link, "alice");
        world.pass(20 * MINUTE);
        assert!((2..20).contains(&asked.get()), "{slots}: {asked:?}");
        assert!(told(&mut world, 1, RelayTrouble::WrongAnswer), "{slots}");
        world.no_appends = None;
        world.pass(20 * MINUTE);
        assert_eq!(world.contact(0).state, ContactState::Active, "{slots}");
        assert_eq!(world.contact(1).state, ContactState::Active, "{slots}");
    }
}

// [SPEC 8.61]
#[test]
fn a_join_under_an_old_number_counts_only_where_its_log_was_read_as_closed() {
    let mut world = World::new(77);
    world.set_relay(0);
    let link = world.invite(0, "bob");
    world.pass(MINUTE);
    let hash = inspect(&world, 0).point.unwrap().running_hash;
    let asked = refuse_appends(&mut world, move || {
        StoreReply::Already(Appended {
            seq: 0,
            running_hash: RunningHash(hash),
        })
    });
    world.join(1, &link, "alice");
    world.pass(20 * MINUTE);
    assert!((2..20).contains(&asked.get()), "{asked:?}");
    assert_eq!(world.contact(1).state, ContactState::Joining);
    assert!(told(&mut world, 1, RelayTrouble::WrongSequence));
    world.no_appends = None;
    world.pass(20 * MINUTE);
    assert_eq!(world.contact(0).state, ContactState::Active);
    assert_eq!(world.contact(1).state, ContactState::Active);
}

fn too_large() -> StoreReply {
    StoreReply::Refused(Refusal::now(RefusalCode::TooLarge))
}

// [SPEC 8.60]
#[test]
fn a_receipt_and_a_commit_that_are_too_large_are_made_anew_later() {
    let mut world = World::talk(78);
    world.send(0, "one");
    let asked = refuse_appends(&mut world, too_large);
    world.pass(20 * MINUTE);
    assert!((2..20).contains(&asked.get()), "receipts: {asked:?}");
    world.no_appends = None;
    world.pass(20 * MINUTE);
    assert_eq!(world.states(0), [MessageState::Delivered]);
    world.pass(8 * DAY);
    let asked = refuse_appends(&mut world, too_large);
    world.send(0, "after the next generation");
    world.pass(20 * MINUTE);
    assert!((2..20).contains(&asked.get()), "commits: {asked:?}");
    world.no_appends = None;
    world.pass(20 * MINUTE);
    assert_eq!(world.states(0), [MessageState::Delivered; 2]);
    assert!(!was_restarted(&mut world, 0));
    assert_eq!(inspect(&world, 0).point.unwrap().position.generation, 2);
}

// [SPEC 10.2]
#[test]
fn a_restart_counts_only_by_an_acknowledgement_that_can_be() {
    let old_number = (0, RelayTrouble::WrongSequence);
    let wrong_hash = (1, RelayTrouble::TwoHistories);
    for (seq, kind) in [old_number, wrong_hash] {
        let mut world = World::talk(79);
        world.lose_group(0);
        world.pass(HOUR);
        assert_eq!(inspect(&world, 0).point.unwrap().position.restart, 1);
        let asked = refuse_appends(&mut world, move || {
            StoreReply::Already(Appended {
                seq,
                running_hash: RunningHash([3; 32]),
            })
        });
        world.lose_group(0);
        world.pass(20 * MINUTE);
        assert!((2..20).contains(&asked.get()), "{kind:?}: {asked:?}");
        assert_eq!(world.contact(0).state, ContactState::Restarting, "{kind:?}");
        assert!(told(&mut world, 0, kind), "{kind:?}");
        world.no_appends = None;
        world.pass(20 * MINUTE);
        assert_eq!(world.contact(0).state, ContactState::Active, "{kind:?}");
        assert_eq!(
            inspect(&world, 1).point.unwrap().position.restart,
            2,
            "{kind:?}"
        );
    }
}

// [SPEC 10.2]
#[test]
fn a_restart_that_cannot_be_stale_is_repeated_later_each_time() {
    let mut world = World::talk(69);
    let asked = refuse_appends(&mut world, || stale(0, 1));
    world.lose_group(0);
    world.pass(20 * MINUTE);
    assert!((2..20).contains(&asked.get()), "{asked:?}");
    assert!(told(&mut world, 0, RelayTrouble::WrongAnswer));
    world.no_appends = None;
    world.pass(20 * MINUTE);
    assert_eq!(world.contact(0).state, ContactState::Active);
    assert_eq!(inspect(&world, 1).point.unwrap().position.restart, 1);
}

/// A side deletes a line of its own; whether its message may have left.
fn delete(world: &mut World, party: usize, id: LineId) -> bool {
    let delete = Command::Delete {
        name: World::peer_name(party),
        id,
    };
    match world.command(party, delete) {
        Ok(Reply::Deleted { may_have_left }) => may_have_left,
        other => panic!("{other:?}"),
    }
}

// [SPEC 8.62] [SPEC 9.32]
#[test]
fn a_message_that_waits_does_not_leave_once_it_is_deleted() {
    let refused: [fn() -> StoreReply; 2] = [busy, || {
        StoreReply::Refused(Refusal::now(RefusalCode::StorageFull))
    }];
    for refuse in refused {
        for restarted in [false, true] {
            let mut world = World::talk(74);
            world.no_appends = Some(Box::new(refuse));
            let first = world.send(0, "not this");
            let second = world.send(0, "nor that");
            world.send(0, "but this");
            world.pass(10 * SECOND);
            if restarted {
                world.kill(0);
                world.pass(10 * SECOND);
            }
            assert!(delete(&mut world, 0, first), "its bytes were made");
            assert!(!delete(&mut world, 0, second));
            world.no_appends = None;
            world.pass(20 * MINUTE);
            assert_eq!(world.received(1), ["but this"]);
            assert_eq!(world.states(0), [MessageState::Delivered]);
            assert!(!was_restarted(&mut world, 0));
        }
    }
}

// [SPEC 8.62]
#[test]
fn a_deleted_message_that_left_is_known_again() {
    let mut arrived = 0;
    let mut withdrawn = 0;
    for outputs in 0..6 {
        let mut world = World::talk(75);
        world.cut = true;
        world.parties[0].dies_after = Some(outputs);
        world.start_send(0, "gone here", None);
        world.pass(10 * SECOND);
        world.parties[0].dies_after = None;
        let id = world.history(0).last().unwrap().id;
        delete(&mut world, 0, id);
        world.cut = false;
        world.pass(MINUTE);
        assert_eq!(world.states(0), [], "{outputs}");
        match world.received(1).len() {
            0 => withdrawn += 1,
            _ => arrived += 1,
        }
        world.send(0, "two");
        world.send(1, "three");
        world.pass(MINUTE);
        assert_eq!(world.received(0), ["three"], "{outputs}");
        assert_eq!(world.states(0), [MessageState::Delivered], "{outputs}");
        assert!(!was_restarted(&mut world, 0), "{outputs}");
    }
    assert!(arrived > 0 && withdrawn > 0, "{arrived} {withdrawn}");
}
