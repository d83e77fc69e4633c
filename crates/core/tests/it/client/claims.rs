//! What a relay says of a log when it does not take an append is held against what it shows next.

use std::cell::Cell;
use std::rc::Rc;

use emptyroom_core::api::{ContactState, MessageState, RelayTrouble};
use emptyroom_core::kind;
use emptyroom_relay::store::StoreReply;
use emptyroom_wire::op::{Answer, Refusal, RefusalCode};

use super::acknowledged::{busy, refuse_appends, stale, told, was_restarted};
use super::raw::{Raw, inspect};
use super::world::{HOUR, MINUTE, World};

/// What is said of the log where one entry more would be a commit.
fn one_ahead(world: &World, party: usize) -> impl Fn() -> StoreReply + 'static {
    let point = inspect(world, party).point.unwrap();
    let (next_seq, slots) = (point.position.next_seq, point.slots);
    move || stale(next_seq + 1, slots + 1)
}

fn refused(code: RefusalCode) -> impl Fn() -> StoreReply + 'static {
    move || StoreReply::Refused(Refusal::now(code))
}

/// A relay that goes on saying so for hours is told, is asked ever more seldom, and gets nowhere.
fn is_found_out(world: &mut World, party: usize, asked: &Rc<Cell<u32>>) {
    world.events(party);
    world.pass(2 * HOUR);
    let asked = asked.get();
    assert!((2..25).contains(&asked), "{asked} times");
    assert!(told(world, party, RelayTrouble::WrongAnswer));
    world.no_appends = None;
    world.pass(20 * MINUTE);
}

// [SPEC 8.65]
#[test]
fn a_log_that_is_said_to_be_closed_or_gone_and_is_not() {
    for code in [
        RefusalCode::Closed,
        RefusalCode::Unknown,
        RefusalCode::Destroyed,
    ] {
        let mut world = World::talk(80);
        let asked = refuse_appends(&mut world, refused(code));
        world.send(0, "one");
        is_found_out(&mut world, 0, &asked);
        assert_eq!(world.received(1), ["one"], "{code:?}");
        assert_eq!(world.states(0), [MessageState::Delivered], "{code:?}");
        assert!(!was_restarted(&mut world, 0), "{code:?}");
    }
}

// [SPEC 8.65]
#[test]
fn a_commit_that_is_said_to_have_come_first_and_has_not() {
    let mut world = World::talk(81);
    let reply = one_ahead(&world, 0);
    let asked = refuse_appends(&mut world, reply);
    world.send(0, "one");
    is_found_out(&mut world, 0, &asked);
    assert_eq!(world.received(1), ["one"]);
    assert!(!was_restarted(&mut world, 0));
}

/// The log grows as far as was said, by an entry that is no commit.
// [SPEC 8.65]
#[test]
fn another_entry_is_not_the_commit_that_was_said_to_have_come_first() {
    let mut world = World::talk(82);
    let reply = one_ahead(&world, 0);
    refuse_appends(&mut world, reply);
    world.send(0, "one");
    world.no_appends = None;
    world.send(1, "two");
    world.pass(20 * MINUTE);
    assert!(told(&mut world, 0, RelayTrouble::WrongAnswer));
    assert_eq!(world.received(0), ["two"]);
    assert_eq!(world.received(1), ["one"]);
    assert!(!was_restarted(&mut world, 0));
}

// [SPEC 8.65]
#[test]
fn a_join_before_which_nothing_came() {
    let mut world = World::new(83);
    world.set_relay(0);
    let link = world.invite(0, "bob");
    world.pass(MINUTE);
    let asked = refuse_appends(&mut world, || stale(2, 1));
    world.join(1, &link, "alice");
    is_found_out(&mut world, 1, &asked);
    for party in 0..2 {
        assert_eq!(world.contact(party).state, ContactState::Active);
    }
}

// [SPEC 8.65]
#[test]
fn a_recovery_log_that_is_as_it_was() {
    let says: [fn() -> StoreReply; 3] = [
        || stale(1, 1),
        || StoreReply::Refused(Refusal::now(RefusalCode::Closed)),
        || StoreReply::Refused(Refusal::now(RefusalCode::Unknown)),
    ];
    for (number, says) in says.into_iter().enumerate() {
        let mut world = World::talk(84);
        let asked = refuse_appends(&mut world, says);
        world.lose_group(0);
        is_found_out(&mut world, 0, &asked);
        assert_eq!(world.contact(0).state, ContactState::Active, "{number}");
        let restarts = inspect(&world, 1).point.unwrap().position.restart;
        assert_eq!(restarts, 1, "{number}");
    }
}

// [SPEC 8.48]
#[test]
fn what_waited_while_a_slot_was_filled_is_made_anew() {
    let mut world = World::talk(85);
    world.no_appends = Some(Box::new(busy));
    world.send(0, "one");
    world.no_appends = None;
    let access = inspect(&world, 0).main.unwrap();
    let mut raw = Raw::connect(&mut world);
    let content = (kind::MLS, &b"rubbish"[..]);
    let answer = raw.append(&mut world, &access, content, (true, false), Vec::new());
    assert!(matches!(answer, Answer::Appended(_)), "{answer:?}");
    let asked = Rc::new(Cell::new(0));
    let (count, lie) = (asked.clone(), |reply: &StoreReply| {
        matches!(reply, StoreReply::Stale(_))
    });
    world.lie = Some(Box::new(move |reply| {
        count.set(count.get() + u32::from(lie(reply)));
    }));
    world.pass(20 * MINUTE);
    assert_eq!(world.received(1), ["one"]);
    assert_eq!(asked.get(), 0, "what cannot be taken is not asked for");
    assert!(!told(&mut world, 0, RelayTrouble::WrongAnswer));
}
