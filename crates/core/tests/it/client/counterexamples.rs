//! Every sequence that once broke the design, by its number, and the two go on talking.

use emptyroom_core::api::{
    Burn, Command, ContactState, Event, FailedWhy, LineBody, MessageState, Notice, Reply,
};
use emptyroom_core::kind;

use super::raw::{Raw, inspect, try_inspect};
use super::world::{DAY, HOUR, MINUTE, SECOND, World, name};

/// Both say something; everything that was said before and is named here is there once.
fn goes_on(world: &mut World, before: [&[&str]; 2]) {
    world.pass(3 * DAY);
    world.send(0, "after a");
    world.send(1, "after b");
    world.pass(3 * DAY);
    for (party, last) in [(0, "after b"), (1, "after a")] {
        assert_eq!(
            world.contact(party).state,
            ContactState::Active,
            "party {party}"
        );
        let mut expected: Vec<&str> = before[party].to_vec();
        expected.push(last);
        expected.sort_unstable();
        let mut received = world.received(party);
        received.sort();
        assert_eq!(received, expected, "received by {party}");
    }
}

// [SPEC 10.10]
#[test]
fn one_old_recovery_log_dropped() {
    let mut world = World::talk(60);
    world.send(0, "a1");
    world.pass(MINUTE);
    let backup = world.parties[0].records.clone();
    world.lose_group(0);
    world.pass(DAY);
    world.send(0, "a2");
    world.send(1, "b2");
    world.pass(MINUTE);
    world.restore_vault(0, backup);
    goes_on(&mut world, [&["b2"], &["a1", "a2"]]);
}

// [SPEC 10.7]
#[test]
fn two_mutual_refusal() {
    let mut world = World::talk(61);
    world.pass(MINUTE);
    world.switch_off(1);
    let image = world.image();
    world.lose_group(0);
    world.pass(MINUTE);
    world.restore_relay(image);
    world.pass(HOUR);
    world.load(1);
    goes_on(&mut world, [&[], &[]]);
    let unlinked = |line: &emptyroom_core::api::Line| {
        matches!(
            &line.body,
            LineBody::Notice(Notice::Restarted { unlinked: true, .. })
        )
    };
    assert!(
        world.history(1).iter().any(unlinked),
        "the other predecessor is shown"
    );
}

#[test]
fn three_recovery_log_filled_with_rubbish() {
    let mut world = World::talk(62);
    let access = inspect(&world, 0).recovery.unwrap();
    let mut raw = Raw::connect(&mut world);
    let closed = raw.append(
        &mut world,
        &access,
        (kind::RESTART, b"x"),
        (true, true),
        Vec::new(),
    );
    assert!(
        matches!(closed, emptyroom_wire::op::Answer::Refused(_)),
        "{closed:?}"
    );
    for n in 0..100_u32 {
        raw.append(
            &mut world,
            &access,
            (kind::RESTART, &n.to_be_bytes()),
            (true, false),
            Vec::new(),
        );
    }
    world.lose_group(0);
    goes_on(&mut world, [&[], &[]]);
}

#[test]
fn four_inviter_restored_to_before_the_taker_came() {
    let mut world = World::new(63);
    world.set_relay(0);
    let link = world.invite(0, "bob");
    world.pass(SECOND);
    let backup = world.parties[0].records.clone();
    world.join(1, &link, "alice");
    world.pass(MINUTE);
    world.send(0, "a1");
    world.send(1, "b1");
    world.pass(MINUTE);
    world.restore_vault(0, backup);
    goes_on(&mut world, [&["b1"], &["a1"]]);
}

// [SPEC 8.52]
#[test]
fn five_taker_whose_retry_meets_unknown() {
    let mut found = 0;
    for steps in (10..50).step_by(2) {
        let mut world = World::new(64);
        world.set_relay(0);
        let link = world.invite(0, "bob");
        world.pass(SECOND);
        let log_0 = inspect(&world, 0).main.unwrap();
        let join = Command::Join {
            link,
            name: name("alice"),
        };
        world.start(1, join);
        world.steps(steps);
        world.switch_off(1);
        world.run();
        let Some(his) = try_inspect(&world, 1) else {
            continue;
        };
        let his = his.main.map(|main| main.log_id);
        let joined = |event: &Event| matches!(event, Event::Joined { .. });
        if his != Some(log_0.log_id) || !world.events(0).iter().any(joined) {
            continue;
        }
        // Bob's join is in the log, and he has not heard of it; log 0 goes away.
        found += 1;
        world.send(0, "a1");
        world.lose_log(&log_0);
        world.load(1);
        goes_on(&mut world, [&[], &["a1"]]);
        let point = inspect(&world, 0).point.unwrap();
        assert_eq!(point.position.restart, 0, "he found generation 1");
    }
    assert!(found > 0);
}

#[test]
fn seven_invisible_rewind() {
    for steps in (0..60).step_by(7) {
        let mut world = World::talk(6_500 + steps as u64);
        world.send(1, "b1");
        world.pass(8 * DAY);
        let image = world.image();
        // The next generation begins with this message; somewhere in the middle the relay goes back.
        world.start_send(0, "a1", None);
        world.steps(steps);
        world.restore_relay(image);
        world.pass(MINUTE);
        goes_on(&mut world, [&["b1"], &["a1"]]);
    }
}

#[test]
fn eight_two_commits_and_messages_at_once() {
    for steps in (0..40).step_by(5) {
        let mut world = World::talk(6_600 + steps as u64);
        world.send(0, "a0");
        world.send(1, "b0");
        world.pass(8 * DAY);
        world.start_send(0, "a1", None);
        world.steps(steps / 2);
        world.start_send(1, "b1", None);
        world.steps(steps);
        world.start_send(0, "a2", None);
        world.start_send(1, "b2", None);
        goes_on(&mut world, [&["b0", "b1", "b2"], &["a0", "a1", "a2"]]);
        assert_eq!(
            inspect(&world, 0).point.unwrap().position.restart,
            0,
            "no restart for a lost race"
        );
        assert_eq!(
            inspect(&world, 0).main.unwrap().log_id,
            inspect(&world, 1).main.unwrap().log_id
        );
    }
}

// [SPEC 10.9]
#[test]
fn nine_restart_that_cannot_be_joined() {
    let mut world = World::talk(67);
    world.send(1, "b1");
    world.pass(MINUTE);
    let backup = world.parties[1].records.clone();
    world.lose_group(0);
    world.pass(DAY);
    world.send(0, "a1");
    world.pass(MINUTE);
    world.restore_vault(1, backup);
    goes_on(&mut world, [&["b1"], &["a1"]]);
}

// [SPEC 10.5]
// [SPEC 10.8]
#[test]
fn ten_superseded_restart() {
    for steps in (0..60).step_by(7) {
        let mut world = World::talk(6_800 + steps as u64);
        world.switch_off(1);
        world.lose_group(0);
        world.pass(MINUTE);
        world.load(1);
        // Bob is somewhere on his way into the first restart when Alice makes another.
        world.pass(20 * HOUR);
        world.steps(steps);
        world.lose_group(0);
        goes_on(&mut world, [&[], &[]]);
    }
}

#[test]
fn eleven_acknowledged_and_not_read_back() {
    for steps in (0..50).step_by(6) {
        let mut world = World::talk(6_900 + steps as u64);
        world.pass(MINUTE);
        let image = world.image();
        world.start_send(0, "a1", None);
        world.start_send(1, "b1", None);
        world.steps(steps);
        world.restore_relay(image);
        goes_on(&mut world, [&["b1"], &["a1"]]);
    }
}

// [SPEC 10.3]
#[test]
fn a_lost_recovery_log_is_made_again_while_the_conversation_works() {
    let mut world = World::talk(70);
    let access = inspect(&world, 0).recovery.unwrap();
    world.lose_log(&access);
    world.pass(2 * DAY);
    world.send(0, "a1");
    world.pass(MINUTE);
    world.lose_group(1);
    goes_on(&mut world, [&[], &["a1"]]);
}

#[test]
fn a_lost_recovery_log_is_made_again_by_whoever_is_in_trouble() {
    let mut world = World::talk(71);
    let access = inspect(&world, 0).recovery.unwrap();
    world.lose_log(&access);
    world.lose_group(0);
    goes_on(&mut world, [&[], &[]]);
}

// [SPEC 10.15]
#[test]
fn when_everything_is_lost_it_is_said() {
    let mut world = World::talk(72);
    world.pass(40 * DAY);
    world.send(0, "a0");
    world.send(1, "b0");
    world.pass(MINUTE);
    for access in [
        inspect(&world, 0).recovery.unwrap(),
        inspect(&world, 0).main.unwrap(),
    ] {
        world.lose_log(&access);
    }
    world.stop_relay();
    world.send(0, "waits for ever");
    let timer = Command::SetTimer {
        name: World::peer_name(0),
        burn: Burn::OnRead,
    };
    world.command(0, timer).unwrap();
    world.start_relay();
    world.pass(DAY);
    for party in 0..2 {
        assert_eq!(world.contact(party).state, ContactState::Over);
        let over = |event: &Event| matches!(event, Event::ConversationOver { .. });
        assert_eq!(
            world
                .events(party)
                .iter()
                .filter(|event| over(event))
                .count(),
            1
        );
    }
    assert_eq!(
        world.states(0).last(),
        Some(&MessageState::Failed(FailedWhy::ConversationOver))
    );
    assert_eq!(
        world.contact(0).burn,
        Burn::Never,
        "nobody was told another"
    );
}

#[test]
fn a_lost_log_costs_a_restart() {
    let mut world = World::talk(73);
    world.send(0, "a1");
    world.pass(MINUTE);
    world.switch_off(1);
    world.send(0, "a2");
    world.pass(MINUTE);
    let access = inspect(&world, 0).main.unwrap();
    world.lose_log(&access);
    world.stop_relay();
    world.start_relay();
    world.load(1);
    goes_on(&mut world, [&[], &["a1", "a2"]]);
}

// [SPEC 10.13]
#[test]
fn a_restart_that_nobody_took_is_replaced() {
    let mut world = World::talk(74);
    world.switch_off(1);
    world.lose_group(0);
    world.send(0, "a1");
    world.pass(80 * DAY);
    world.load(1);
    goes_on(&mut world, [&[], &["a1"]]);
}

#[test]
fn clocks_far_off_do_not_lock_anything() {
    for (alice, bob) in [(400, 0), (0, 400), (-400, 0), (0, -400), (9_000, -9_000)] {
        let mut world = World::talk(75);
        for (party, days) in [(0, alice), (1, bob)] {
            world.parties[party].clock_offset_ms = days * DAY as i64;
            world.kill(party);
        }
        world.send(0, "a1");
        world.send(1, "b1");
        world.pass(MINUTE);
        world.lose_group(0);
        goes_on(&mut world, [&["b1"], &["a1"]]);
    }
}

// [SPEC 9.24]
#[test]
fn receipts_can_be_turned_off_and_restarts_still_lose_nothing() {
    let mut world = World::talk(76);
    for party in 0..2 {
        let off = Command::SetReceipts {
            name: World::peer_name(party),
            delivered: false,
            read: false,
        };
        assert_eq!(world.command(party, off), Ok(Reply::Done));
    }
    world.send(0, "a1");
    world.send(1, "b1");
    world.pass(MINUTE);
    world.read_all(1);
    world.pass(MINUTE);
    assert_eq!(world.states(0), [MessageState::Sent]);
    world.lose_group(0);
    goes_on(&mut world, [&["b1"], &["a1"]]);
}
