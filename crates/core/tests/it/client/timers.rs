//! Messages that disappear.

use emptyroom_core::api::{
    Burn, Command, Event, GoneWhy, Line, LineBody, MessageState, Notice, Refused, Reply, Side,
};
use emptyroom_relay::store::StoreReply;
use emptyroom_wire::op::{Refusal, RefusalCode};

use super::world::{DAY, HOUR, MINUTE, SECOND, World, name};

fn gone(world: &mut World, party: usize) -> usize {
    let expired = |event: &Event| {
        matches!(
            event,
            Event::MessageGone {
                why: GoneWhy::Expired,
                ..
            }
        )
    };
    world
        .events(party)
        .iter()
        .filter(|event| expired(event))
        .count()
}

// [SPEC 9.31]
#[test]
fn a_timer_starts_at_reading_here_and_at_sending_there() {
    let mut world = World::talk(20);
    let burn = Burn::after_ms(30 * SECOND).unwrap();
    world.send_with(0, "burns", Some(burn));
    world.pass(20 * SECOND);
    assert_eq!(world.received(1), ["burns"]);
    assert_eq!(world.states(0).len(), 1);
    world.pass(11 * SECOND);
    // The sender's copy is gone, the recipient has not read his yet.
    assert_eq!(world.states(0).len(), 0);
    assert_eq!(gone(&mut world, 0), 1);
    world.pass(DAY);
    assert_eq!(world.received(1), ["burns"]);
    world.read_all(1);
    world.pass(29 * SECOND);
    assert_eq!(world.received(1), ["burns"]);
    world.pass(2 * SECOND);
    assert_eq!(world.received(1).len(), 0);
    assert_eq!(gone(&mut world, 1), 1);
}

// [SPEC 9.32]
#[test]
fn what_expired_is_in_no_record() {
    let mut world = World::talk(21);
    world.send_with(0, "XYZZY-MARK", Some(Burn::after_ms(5 * SECOND).unwrap()));
    world.pass(2 * SECOND);
    world.read_all(1);
    world.pass(6 * SECOND);
    for party in &world.parties {
        for value in party.records.0.values() {
            assert!(!value.windows(10).any(|window| window == b"XYZZY-MARK"));
        }
    }
}

// [SPEC 9.31]
#[test]
fn burn_on_read_burns_on_reading_and_at_the_sender_with_the_receipt() {
    let mut world = World::talk(22);
    world.send_with(0, "once", Some(Burn::OnRead));
    world.pass(10 * SECOND);
    assert_eq!(world.received(1), ["once"]);
    assert_eq!(world.states(0), [MessageState::Delivered]);
    world.read_all(1);
    assert_eq!(world.received(1).len(), 0);
    world.pass(10 * SECOND);
    assert_eq!(world.states(0).len(), 0);
}

// [SPEC 9.33]
#[test]
fn a_clock_that_jumps_back_a_day_prolongs_nothing() {
    let mut world = World::talk(23);
    world.send_with(0, "short", Some(Burn::after_ms(MINUTE).unwrap()));
    world.pass(5 * SECOND);
    world.read_all(1);
    world.parties[1].clock_offset_ms = -(DAY as i64);
    world.pass(MINUTE + SECOND);
    assert_eq!(world.received(1).len(), 0, "while it runs");
    world.send_with(0, "again", Some(Burn::after_ms(HOUR).unwrap()));
    world.pass(5 * SECOND);
    world.read_all(1);
    world.parties[1].clock_offset_ms = -(2 * DAY as i64);
    world.kill(1);
    world.pass(HOUR + MINUTE);
    assert_eq!(world.received(1).len(), 0, "across a restart");
}

// [SPEC 9.32]
#[test]
fn what_ran_out_while_the_client_was_off_is_gone_at_its_start() {
    let mut world = World::talk(24);
    world.send_with(0, "short", Some(Burn::after_ms(MINUTE).unwrap()));
    world.pass(5 * SECOND);
    world.read_all(1);
    world.switch_off(1);
    world.pass(HOUR);
    world.load(1);
    world.run();
    assert_eq!(world.received(1).len(), 0);
    assert!(
        world.parties[1]
            .records
            .0
            .values()
            .all(|value| !value.windows(5).any(|window| window == b"short"))
    );
}

// [SPEC 9.34]
#[test]
fn a_change_of_the_timer_is_seen_by_both_and_the_last_one_counts() {
    let mut world = World::talk(25);
    let hour = Burn::after_ms(HOUR).unwrap();
    let minute = Burn::after_ms(MINUTE).unwrap();
    let set = |world: &mut World, party: usize, burn: Burn| {
        let name = World::peer_name(party);
        assert_eq!(
            world.command(party, Command::SetTimer { name, burn }),
            Ok(Reply::Done)
        );
    };
    set(&mut world, 0, hour);
    world.pass(5 * SECOND);
    for party in 0..2 {
        assert_eq!(world.contact(party).burn, hour);
        let changed = |line: &emptyroom_core::api::Line| {
            matches!(
                &line.body,
                LineBody::Notice(emptyroom_core::api::Notice::TimerChanged { .. })
            )
        };
        assert_eq!(
            world
                .history(party)
                .iter()
                .filter(|line| changed(line))
                .count(),
            1
        );
    }
    // Both at once, while nothing gets through: the order of the log decides, for both.
    world.stop_relay();
    set(&mut world, 0, minute);
    set(&mut world, 1, Burn::Never);
    world.start_relay();
    world.pass(MINUTE);
    assert_eq!(world.contact(0).burn, world.contact(1).burn);
    world.send(0, "takes the timer");
    world.pass(5 * SECOND);
    let line = world.history(1).pop().unwrap();
    let burn = world.contact(1).burn;
    assert!(matches!(line.body, LineBody::Received { burn: own, .. } if own == burn));
}

// [SPEC 9.30]
#[test]
fn timers_have_a_range() {
    assert!(Burn::after_ms(4_999).is_err());
    assert!(Burn::after_ms(5_000).is_ok());
    assert!(Burn::after_ms(28 * DAY).is_ok());
    assert!(Burn::after_ms(28 * DAY + 1).is_err());
}

// [SPEC 8.47]
#[test]
fn texts_and_names_have_limits() {
    let mut world = World::talk(26);
    for text in [String::new(), "x".repeat(16 * 1024 + 1)] {
        let id = world.start_send(0, &text, None);
        world.run();
        assert_eq!(world.reply(0, id), Some(Err(Refused::BadText)));
    }
    let long = "y".repeat(16 * 1024);
    world.send(0, &long);
    world.pass(SECOND);
    assert_eq!(world.received(1), [long]);
    let unknown = Command::Delete {
        name: name("nobody"),
        id: emptyroom_core::api::LineId(1),
    };
    assert_eq!(world.command(0, unknown), Err(Refused::UnknownName));
}

fn set_timer(world: &mut World, party: usize, burn: Burn) {
    let name = World::peer_name(party);
    let set = Command::SetTimer { name, burn };
    assert_eq!(world.command(party, set), Ok(Reply::Done));
}

/// The last line of a party.
fn last_line(world: &mut World, party: usize) -> emptyroom_core::api::LineId {
    world.history(party).last().unwrap().id
}

// [SPEC 9.34]
#[test]
fn of_several_changes_the_last_in_the_log_counts_on_both_sides() {
    // The first of two own changes gets through, then one of the other side, then the second.
    for steps in 0..60 {
        let mut world = World::talk(2_700);
        let minutes = |n: u64| Burn::after_ms(n * MINUTE).unwrap();
        for (party, n) in [(0, 1), (1, 2), (0, 3)] {
            let name = World::peer_name(party);
            let burn = minutes(n);
            world.start(party, Command::SetTimer { name, burn });
            world.steps(steps);
        }
        world.pass(MINUTE);
        assert_eq!(world.contact(0).burn, world.contact(1).burn, "{steps}");
    }
}

// [SPEC 9.34]
#[test]
fn a_change_that_waits_stays_the_users_choice_and_is_not_deleted() {
    let mut world = World::talk(2_701);
    world.stop_relay();
    let minute = Burn::after_ms(MINUTE).unwrap();
    set_timer(&mut world, 0, Burn::after_ms(HOUR).unwrap());
    set_timer(&mut world, 0, minute);
    let id = last_line(&mut world, 0);
    let delete = || Command::Delete {
        name: World::peer_name(0),
        id,
    };
    assert_eq!(
        world.command(0, delete()),
        Err(Refused::UnknownLine),
        "it holds here already"
    );
    world.start_relay();
    world.pass(MINUTE);
    assert_eq!([world.contact(0).burn, world.contact(1).burn], [minute; 2]);
    let deleted = Reply::Deleted {
        may_have_left: false,
    };
    assert_eq!(world.command(0, delete()), Ok(deleted));
    set_timer(&mut world, 1, Burn::Never);
    world.pass(MINUTE);
    assert_eq!(world.contact(0).burn, Burn::Never);
}

// [SPEC 9.34] [SPEC 10.12]
#[test]
fn a_restart_does_not_bring_a_replaced_timer_back() {
    let mut world = World::talk(2_702);
    for party in 0..2 {
        let receipts = Command::SetReceipts {
            name: World::peer_name(party),
            delivered: false,
            read: false,
        };
        world.command(party, receipts).unwrap();
    }
    set_timer(&mut world, 0, Burn::after_ms(HOUR).unwrap());
    world.pass(MINUTE);
    let minute = Burn::after_ms(MINUTE).unwrap();
    set_timer(&mut world, 1, minute);
    world.pass(MINUTE);
    world.lose_group(1);
    world.pass(3 * DAY);
    assert_eq!([world.contact(0).burn, world.contact(1).burn], [minute; 2]);
    set_timer(&mut world, 0, Burn::Never);
    world.pass(MINUTE);
    assert_eq!(
        [world.contact(0).burn, world.contact(1).burn],
        [Burn::Never; 2]
    );
}

// [SPEC 9.23]
#[test]
fn what_was_read_does_not_become_delivered_again() {
    let mut world = World::talk(2_703);
    let receipts = |world: &mut World, delivered: bool| {
        let name = World::peer_name(1);
        let read = true;
        let set = Command::SetReceipts {
            name,
            delivered,
            read,
        };
        world.command(1, set).unwrap();
    };
    receipts(&mut world, false);
    world.send(0, "a");
    world.pass(10 * SECOND);
    world.read_all(1);
    world.pass(10 * SECOND);
    assert_eq!(world.states(0), [MessageState::Read]);
    receipts(&mut world, true);
    world.send(0, "b");
    world.pass(10 * SECOND);
    assert_eq!(
        world.states(0),
        [MessageState::Read, MessageState::Delivered]
    );
}

// [SPEC 9.24] [SPEC 9.31]
#[test]
fn what_was_read_before_a_restart_burns_at_its_sender_after_it() {
    let mut world = World::talk(2_704);
    world.send_with(0, "once", Some(Burn::OnRead));
    world.pass(10 * SECOND);
    // It is read, and nothing of this device gets out any more before the restart.
    world.stop_relay();
    world.read_all(1);
    world.lose_group(1);
    world.start_relay();
    world.pass(3 * DAY);
    world.read_all(1);
    world.pass(MINUTE);
    assert_eq!(world.received(1).len(), 0);
    assert_eq!(world.states(0).len(), 0);
}

// [SPEC 10.25]
#[test]
fn nobody_is_accused_of_withholding_what_was_not_asked_for() {
    let mut world = World::talk(2_705);
    world.switch_off(1);
    world.send(0, "a");
    world.load(1);
    // The block comes between the log's opening and its entries.
    for steps in 0..40 {
        world.steps(1);
        let block = |on| Command::Block {
            name: World::peer_name(1),
            on,
        };
        world.start(1, block(true));
        world.steps(steps);
        world.pass(2 * MINUTE);
        world.start(1, block(false));
    }
    world.pass(MINUTE);
    let withheld = |event: &Event| matches!(event, Event::RelayTrouble { .. });
    assert!(!world.events(1).iter().any(withheld));
    assert_eq!(world.received(1), ["a"]);
}

fn too_large() -> StoreReply {
    StoreReply::Refused(Refusal::now(RefusalCode::TooLarge))
}

// [SPEC 9.35]
#[test]
fn a_change_that_the_relay_refuses_is_taken_back() {
    let mut world = World::talk(2_706);
    let hour = Burn::after_ms(HOUR).unwrap();
    let minute = Burn::after_ms(MINUTE).unwrap();
    set_timer(&mut world, 1, hour);
    world.pass(MINUTE);
    world.no_appends = Some(Box::new(too_large));
    set_timer(&mut world, 0, minute);
    world.pass(SECOND);
    assert_eq!(world.contact(0).burn, hour, "as both have it");
    let lines = world.history(0);
    let taken_back = LineBody::Notice(Notice::TimerChanged {
        by: Side::Me,
        burn: hour,
    });
    assert_eq!(lines.last().unwrap().body, taken_back);
    world.no_appends = None;
    set_timer(&mut world, 1, Burn::Never);
    world.pass(MINUTE);
    assert_eq!(world.contact(0).burn, Burn::Never, "changes count again");
    set_timer(&mut world, 0, minute);
    world.pass(MINUTE);
    assert_eq!([world.contact(0).burn, world.contact(1).burn], [minute; 2]);
}

// [SPEC 9.34]
#[test]
fn a_change_that_ran_out_on_its_way_is_sent_again() {
    for restart in [false, true] {
        let mut world = World::talk(2_707);
        world.send(0, "a");
        world.pass(MINUTE);
        world.switch_off(1);
        let minute = Burn::after_ms(MINUTE).unwrap();
        set_timer(&mut world, 0, Burn::after_ms(HOUR).unwrap());
        set_timer(&mut world, 0, minute);
        world.pass(40 * DAY);
        if restart {
            world.lose_group(0);
        }
        world.load(1);
        world.pass(3 * DAY);
        assert_eq!([world.contact(0).burn, world.contact(1).burn], [minute; 2]);
        let changes =
            |line: &Line| matches!(line.body, LineBody::Notice(Notice::TimerChanged { .. }));
        let seen = world.history(1).iter().filter(|line| changes(line)).count();
        assert_eq!(seen, 1, "only the last one, restart: {restart}");
    }
}

/// Someone's device clock was ten years ahead for a moment. From then on it is used for a moment each day.
// [SPEC 9.37]
#[test]
fn timers_end_also_after_a_clock_that_was_years_ahead() {
    let mut world = World::talk(2_710);
    let clock = |world: &mut World, ms: u64| {
        world.switch_off(1);
        world.parties[1].clock_offset_ms = i64::try_from(ms).unwrap();
        world.load(1);
        world.pass(2 * MINUTE);
    };
    let ahead_ms = |world: &mut World| match world.command(1, Command::Status) {
        Ok(Reply::Status(status)) => status.clock_ahead_ms,
        other => panic!("{other:?}"),
    };
    assert_eq!(ahead_ms(&mut world), None);
    clock(&mut world, 3_650 * DAY);
    clock(&mut world, 0);
    assert!(ahead_ms(&mut world) >= Some(3_649 * DAY));
    world.send_with(0, "burns", Some(Burn::after_ms(7 * DAY).unwrap()));
    world.pass(MINUTE);
    world.read_all(1);
    for day in 0..8 {
        assert_eq!(world.received(1).len(), usize::from(day < 7), "day {day}");
        world.switch_off(1);
        world.pass(DAY);
        world.load(1);
        world.pass(SECOND);
    }
    assert!(ahead_ms(&mut world) >= Some(3_649 * DAY));
}
