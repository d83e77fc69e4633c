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
pub(super) fn refusal(world: &mut World, access: &LogAccess) -> Option<RefusalCode> {
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
    let mut found = Vec::new();
    for steps in 0..40 {
        let mut world = about_to_move();
        world.steps(steps);
        forget(&mut world);
        world.pass(MINUTE);
        let refused = refusal(&mut world, &next);
        assert!(refused.is_some(), "after {steps} steps");
        found.extend(refused);
    }
    assert!(found.contains(&RefusalCode::Destroyed), "{found:?}");
}

/// Alice's group is lost while Bob is away: the log that her restart leaves has what he has not fetched.
// [SPEC 8.68]
#[test]
fn the_log_that_a_restart_left_goes_too() {
    for bob_is_back in [false, true] {
        let mut world = World::talk(9_660);
        world.send(0, "not fetched");
        world.pass(MINUTE);
        world.switch_off(1);
        world.send(0, "nor this");
        world.pass(MINUTE);
        let left = inspect(&world, 0).main.unwrap();
        lose_group(&mut world);
        world.pass(DAY);
        assert_eq!(refusal(&mut world, &left), None);
        if bob_is_back {
            world.load(1);
            world.pass(DAY);
            assert_eq!(world.contact(0).state, ContactState::Active);
        } else {
            assert_eq!(world.contact(0).state, ContactState::Restarting);
        }
        let now = inspect(&world, 0).main.unwrap();
        assert!(now.capability != left.capability);
        forget(&mut world);
        world.pass(SECOND);
        assert_eq!(refusal(&mut world, &left), Some(RefusalCode::Destroyed));
        if bob_is_back {
            assert_eq!(refusal(&mut world, &now), Some(RefusalCode::Destroyed));
        }
    }
}

/// Bob's group is lost, and Alice forgets him at any moment of her way into his restart.
// [SPEC 8.68]
#[test]
fn so_does_the_log_that_is_left_for_a_restart_of_the_other_side() {
    for steps in (0..60).step_by(3) {
        let mut world = World::talk(9_670);
        world.send(1, "seen");
        world.pass(MINUTE);
        let left = inspect(&world, 0).main.unwrap();
        world.switch_off(1);
        world.parties[1].records.0.retain(|key, _| !is_group(key));
        world.load(1);
        world.steps(steps);
        forget(&mut world);
        world.pass(MINUTE);
        let refused = refusal(&mut world, &left);
        assert_eq!(refused, Some(RefusalCode::Destroyed), "{steps} steps");
    }
}

// [SPEC 8.68]
#[test]
fn blocking_before_changes_nothing() {
    let mut world = World::talk(9_700);
    let access = inspect(&world, 0).main.unwrap();
    let block = Command::Block {
        name: name("bob"),
        on: true,
    };
    world.command(0, block).unwrap();
    world.pass(MINUTE);
    forget(&mut world);
    world.pass(SECOND);
    assert_eq!(refusal(&mut world, &access), Some(RefusalCode::Destroyed));
}

/// Bob takes a link and forgets Alice at any moment of the way: if Alice came to live in a generation, it is destroyed.
// [SPEC 8.68]
#[test]
fn a_join_under_way_is_destroyed_too() {
    let mut destroyed = 0;
    for steps in 0..40 {
        let mut world = World::new(9_710);
        world.set_relay(0);
        let link = world.invite(0, "bob");
        let join = Command::Join {
            link,
            name: name("alice"),
        };
        world.start(1, join);
        world.steps(steps);
        let forget = Command::Forget {
            name: name("alice"),
        };
        world.command(1, forget).unwrap();
        let trouble = |world: &mut World| {
            let told = |event: &Event| matches!(event, Event::PeerTrouble { .. });
            world.events(0).iter().any(told)
        };
        world.pass(10 * MINUTE);
        let told = trouble(&mut world);
        let state = world.contact(0).state;
        assert!(state != ContactState::Active, "{steps} steps");
        destroyed += usize::from(told);
    }
    assert!(destroyed > 0);
}

fn is_group(key: &[u8]) -> bool {
    key[0] == b'c' && (key[5] == b'm' || key[5] == b'j')
}

fn lose_group(world: &mut World) {
    world.switch_off(0);
    world.parties[0].records.0.retain(|key, _| !is_group(key));
    world.load(0);
}

/// Bob can go on writing into the log: the order outlives those of invites.
// [SPEC 8.68]
#[test]
fn the_order_waits_for_a_log_that_is_in_use() {
    let mut world = World::talk(9_680);
    let access = inspect(&world, 0).main.unwrap();
    world.switch_off(0);
    world.cut = true;
    world.load(0);
    forget(&mut world);
    world.switch_off(0);
    world.cut = false;
    for _ in 0..5 {
        world.send(1, "hello");
        world.pass(20 * DAY);
    }
    world.load(0);
    world.pass(10 * MINUTE);
    assert_eq!(refusal(&mut world, &access), Some(RefusalCode::Destroyed));
}

// [SPEC 8.68]
#[test]
fn the_order_is_given_up_in_the_end() {
    let mut world = World::talk(9_690);
    world.stop_relay();
    forget(&mut world);
    let orders = |world: &World| {
        let all = world.parties[0].records.0.keys();
        all.filter(|key| key[0] == b'd').count()
    };
    world.switch_off(0);
    for (days, kept) in [(209, 1), (2, 0)] {
        world.pass(days * DAY);
        world.load(0);
        world.run();
        assert_eq!(orders(&world), kept);
        world.switch_off(0);
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
