//! A contact that is forgotten: what the relay has of the conversation goes, and how the other side sees it.

use emptyroom_core::api::{
    AlarmKind, Command, ContactState, Event, LineBody, MessageState, Notice, PeerTrouble, Reply,
    RestartReason,
};
use emptyroom_wire::log_keys::LogAccess;
use emptyroom_wire::op::{Answer, Open, OpenLog, OpenOutcome, RefusalCode, Request};

use super::raw::{Raw, inspect};
use super::world::{DAY, MINUTE, SECOND, World, name};

fn forget(world: &mut World) {
    let forget = Command::Forget { name: name("bob") };
    assert_eq!(world.command(0, forget), Ok(Reply::Done));
}

/// What the relay says of a log; nothing where it has it.
fn refusal(world: &mut World, access: &LogAccess) -> Option<RefusalCode> {
    let log = OpenLog {
        capability: access.capability.clone(),
        from: u64::MAX,
        proof: None,
    };
    let open = Request::Open(Open { logs: vec![log] });
    match Raw::connect(world).request(world, open) {
        Answer::Opened(opened) => match &opened.logs[0] {
            OpenOutcome::Open(_) => None,
            OpenOutcome::Refused(refusal) => Some(refusal.code),
        },
        other => panic!("{other:?}"),
    }
}

// [SPEC 8.68]
#[test]
fn the_log_of_a_forgotten_contact_is_destroyed() {
    let mut world = World::talk(9_600);
    let access = inspect(&world, 0).main.unwrap();
    assert_eq!(refusal(&mut world, &access), None);
    forget(&mut world);
    world.pass(SECOND);
    assert_eq!(refusal(&mut world, &access), Some(RefusalCode::Destroyed));
}

// [SPEC 8.68]
#[test]
fn the_order_waits_for_a_relay_that_is_away() {
    let mut world = World::talk(9_610);
    let access = inspect(&world, 0).main.unwrap();
    world.stop_relay();
    forget(&mut world);
    world.pass(2 * DAY);
    world.kill(0);
    world.start_relay();
    world.pass(10 * MINUTE);
    assert_eq!(refusal(&mut world, &access), Some(RefusalCode::Destroyed));
}

/// Bob is away while Alice begins the next generation: the one before waits for him, and goes with the contact.
// [SPEC 8.68]
#[test]
fn the_log_before_goes_too() {
    let mut world = World::talk(9_620);
    world.send(1, "seen");
    world.pass(MINUTE);
    let before = inspect(&world, 0).main.unwrap();
    world.switch_off(1);
    world.pass(8 * DAY);
    world.send(0, "in the next one");
    world.pass(MINUTE);
    let now = inspect(&world, 0).main.unwrap();
    assert!(before.capability != now.capability);
    assert_eq!(refusal(&mut world, &before), None);
    forget(&mut world);
    world.pass(SECOND);
    for access in [before, now] {
        assert_eq!(refusal(&mut world, &access), Some(RefusalCode::Destroyed));
    }
}

/// The contact is forgotten at any moment of the way into the next log: the one that the append makes does not stay either.
// [SPEC 8.68]
#[test]
fn the_log_that_is_being_made_goes_too() {
    let about_to_move = || {
        let mut world = World::talk(9_630);
        world.send(1, "seen");
        world.pass(8 * DAY);
        world.start_send(0, "in the next one", None);
        world
    };
    let mut whole = about_to_move();
    whole.run();
    let next = inspect(&whole, 0).main.unwrap();
    assert_eq!(refusal(&mut whole, &next), None);
    for steps in 0..40 {
        let mut world = about_to_move();
        world.steps(steps);
        forget(&mut world);
        world.pass(MINUTE);
        assert!(refusal(&mut world, &next).is_some(), "after {steps} steps");
    }
}

/// It is nobody's fault but Alice's, and the relay is not accused of it.
// [SPEC 10.26, 10.43]
#[test]
fn the_other_side_is_told_that_the_log_was_destroyed() {
    let mut world = World::talk(9_640);
    world.events(1);
    forget(&mut world);
    world.pass(MINUTE);
    let events = world.events(1);
    let destroyed = Event::PeerTrouble {
        conversation: name("alice"),
        kind: PeerTrouble::LogDestroyed,
    };
    assert!(events.contains(&destroyed), "{events:?}");
    let accused = |event: &Event| matches!(event, Event::RelayTrouble { .. });
    assert!(!events.iter().any(accused), "{events:?}");
    let Ok(Reply::Status(status)) = world.command(1, Command::Status) else {
        panic!()
    };
    let kinds: Vec<AlarmKind> = status.alarms.iter().map(|alarm| alarm.kind).collect();
    assert_eq!(kinds, [AlarmKind::LogDestroyed]);
    // What he sends now waits, and is not called sent.
    assert_eq!(world.contact(1).state, ContactState::Restarting);
    world.send(1, "are you there?");
    world.pass(DAY);
    assert_eq!(world.states(1), [MessageState::Queued]);
    let restarted = |line: &LineBody| {
        matches!(
            line,
            LineBody::Notice(Notice::Restarted {
                reason: RestartReason::LogLost,
                ..
            })
        )
    };
    let history = world.history(1);
    assert!(history.iter().any(|line| restarted(&line.body)));
}

/// A device that comes back from an old copy finds the log destroyed that both have left since: no fault of the relay either.
// [SPEC 10.26]
#[test]
fn a_device_that_went_back_does_not_accuse_the_relay() {
    let mut world = World::talk(9_650);
    world.send(1, "seen");
    world.pass(MINUTE);
    let backup = world.parties[1].records.clone();
    world.pass(8 * DAY);
    world.send(0, "in the next one");
    world.send(1, "and there I am");
    world.pass(MINUTE);
    world.send(0, "both are");
    world.pass(MINUTE);
    world.restore_vault(1, backup);
    world.events(1);
    world.pass(2 * DAY);
    let events = world.events(1);
    let accused = |event: &Event| matches!(event, Event::RelayTrouble { .. });
    assert!(!events.iter().any(accused), "{events:?}");
    assert_eq!(world.contact(1).state, ContactState::Active);
    assert!(world.received(1).contains(&"both are".to_owned()));
}
