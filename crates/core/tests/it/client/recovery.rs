//! Restart: every kind of trouble ends with the two talking again, and everything said is shown once.

use std::cell::Cell;
use std::rc::Rc;

use emptyroom_core::api::{Burn, Command, ContactState, Event, LineBody, Notice, RestartReason};
use emptyroom_core::kind;
use emptyroom_relay::store::StoreReply;
use emptyroom_wire::entry::Ttl;
use emptyroom_wire::op::{Refusal, RefusalCode};

use super::raw::{Raw, inspect};
use super::world::{DAY, HOUR, MINUTE, SECOND, World};

/// After the fault: both say something, and everything that was ever confirmed is there once.
fn goes_on(world: &mut World, before: [&[&str]; 2], what: &str) {
    world.pass(2 * DAY);
    world.send(0, "from alice after");
    world.send(1, "from bob after");
    world.pass(2 * DAY);
    for party in 0..2 {
        assert_eq!(
            world.contact(party).state,
            ContactState::Active,
            "{what}: party {party}"
        );
    }
    for (party, last) in [(0, "from bob after"), (1, "from alice after")] {
        let mut expected: Vec<&str> = before[party].to_vec();
        expected.push(last);
        let mut received = world.received(party);
        received.sort();
        expected.sort_unstable();
        assert_eq!(received, expected, "{what}: received by {party}");
    }
}

fn restarts(world: &mut World, party: usize) -> Vec<RestartReason> {
    let reason = |body: &LineBody| match body {
        LineBody::Notice(Notice::Restarted { reason, .. }) => Some(*reason),
        _ => None,
    };
    world
        .history(party)
        .iter()
        .filter_map(|line| reason(&line.body))
        .collect()
}

// [SPEC 10.12]
#[test]
fn a_relay_that_was_rolled_back() {
    for (seed, later) in [(0, 0), (1, 1), (2, 2), (3, 3)] {
        let mut world = World::talk(4_000 + seed);
        world.send(0, "a1");
        world.send(1, "b1");
        world.pass(MINUTE);
        let image = world.image();
        if later >= 1 {
            world.send(0, "a2");
        }
        if later >= 2 {
            world.send(1, "b2");
        }
        if later >= 3 {
            world.switch_off(1);
            world.send(0, "a3");
        }
        world.pass(MINUTE);
        world.restore_relay(image);
        if later >= 3 {
            world.load(1);
        }
        let to_alice: &[&str] = if later >= 2 { &["b1", "b2"] } else { &["b1"] };
        let to_bob: &[&str] = match later {
            0 => &["a1"],
            3 => &["a1", "a2", "a3"],
            _ => &["a1", "a2"],
        };
        goes_on(
            &mut world,
            [to_alice, to_bob],
            &format!("rolled back {later}"),
        );
        assert!(
            restarts(&mut world, 0).len() <= 2,
            "{:?}",
            restarts(&mut world, 0)
        );
    }
}

// [SPEC 10.1]
#[test]
fn lost_group_state() {
    for party in 0..2 {
        let mut world = World::talk(4_100 + party as u64);
        world.send(0, "a1");
        world.send(1, "b1");
        world.pass(MINUTE);
        world.switch_off(party);
        // Groups and message keys of all conversations.
        world.parties[party]
            .records
            .0
            .retain(|key, _| !(key[0] == b'c' && (key[5] == b'm' || key[5] == b'j')));
        world.send(1 - party, "while away");
        world.load(party);
        let (to_alice, to_bob): (&[&str], &[&str]) = if party == 0 {
            (&["b1", "while away"], &["a1"])
        } else {
            (&["b1"], &["a1", "while away"])
        };
        goes_on(
            &mut world,
            [to_alice, to_bob],
            &format!("state of {party} lost"),
        );
        assert_eq!(restarts(&mut world, party), [RestartReason::StateLost]);
    }
}

// [SPEC 9.26]
#[test]
fn a_restored_vault() {
    for party in 0..2 {
        for sent_since in [false, true] {
            let mut world = World::talk(4_200 + party as u64);
            world.send(0, "a1");
            world.send(1, "b1");
            world.pass(MINUTE);
            let backup = world.parties[party].records.clone();
            world.send(1 - party, "read and receipted");
            world.pass(MINUTE);
            if sent_since {
                world.send(party, "forgotten by its sender");
                world.pass(MINUTE);
            }
            world.restore_vault(party, backup);
            let other = ["a1", "b1"][party];
            let to_restored = [["b1", "a1"][party], "read and receipted"];
            let mut to_other = vec![other];
            if sent_since {
                to_other.push("forgotten by its sender");
            }
            let before: [&[&str]; 2] = if party == 0 {
                [&to_restored, &to_other]
            } else {
                [&to_other, &to_restored]
            };
            goes_on(
                &mut world,
                before,
                &format!("vault of {party} restored, sent since: {sent_since}"),
            );
        }
    }
}

#[test]
fn a_year_away() {
    let mut world = World::talk(4_300);
    world.send(0, "a1");
    world.pass(MINUTE);
    world.switch_off(1);
    world.pass(200 * DAY);
    world.send(0, "are you there");
    world.pass(100 * DAY);
    world.load(1);
    world.pass(5 * DAY);
    world.send(0, "now");
    world.send(1, "back");
    world.pass(2 * DAY);
    assert_eq!(world.received(0), ["back"]);
    assert!(world.received(1).contains(&"now".to_owned()));
}

#[test]
fn two_faults_at_once() {
    for seed in 0..4 {
        let mut world = World::talk(4_400 + seed);
        world.send(0, "a1");
        world.send(1, "b1");
        world.pass(MINUTE);
        let image = world.image();
        let backup = world.parties[1].records.clone();
        world.send(0, "a2");
        world.send(1, "b2");
        world.pass(MINUTE);
        world.restore_relay(image.clone());
        if seed >= 1 {
            world.pass(HOUR);
        }
        world.restore_vault(1, backup);
        if seed >= 2 {
            world.pass(30 * SECOND);
            world.restore_relay(image);
        }
        if seed >= 3 {
            world.switch_off(0);
            world.parties[0]
                .records
                .0
                .retain(|key, _| !(key[0] == b'c' && (key[5] == b'm' || key[5] == b'j')));
            world.load(0);
        }
        // What Bob said after his backup, and Alice had read, is hers; what she said he gets again.
        goes_on(
            &mut world,
            [&["b1", "b2"], &["a1", "a2"]],
            &format!("two faults {seed}"),
        );
    }
}

#[test]
fn a_death_anywhere_in_a_restart_costs_nothing() {
    for dying in 0..2 {
        for persist in [false, true] {
            let mut deaths = 0;
            for after in 0..60 {
                let mut world = World::talk(4_500 + after as u64);
                world.send(0, "a1");
                world.send(1, "b1");
                world.pass(MINUTE);
                world.switch_off(1);
                world.send(0, "a2");
                world.lose_group(0);
                match persist {
                    true => world.parties[dying].persists_left = Some(after),
                    false => world.parties[dying].dies_after = Some(after),
                }
                world.load(1);
                world.pass(MINUTE);
                world.parties[dying].persists_left = None;
                world.parties[dying].dies_after = None;
                let what = format!("{dying} dies after {after}, persist: {persist}");
                goes_on(&mut world, [&["b1"], &["a1", "a2"]], &what);
                deaths += world.parties[dying].deaths;
                if world.parties[dying].deaths == 0 {
                    break;
                }
            }
            assert!(deaths >= 8, "only {deaths} deaths");
        }
    }
}

// [SPEC 10.3]
#[test]
fn a_lost_recovery_log_is_made_again_by_the_look_of_one_who_says_nothing() {
    for silent in [None, Some(1)] {
        let mut world = World::talk(4_600);
        let access = inspect(&world, 0).recovery.unwrap();
        world.lose_log(&access);
        if let Some(party) = silent {
            world.switch_off(party);
        }
        world.pass(2 * DAY);
        assert!(!world.lost.contains(&access.log_id), "it is there again");
        if silent.is_some() {
            world.load(1);
        }
        world.lose_group(1);
        goes_on(&mut world, [&[], &[]], "made again in passing");
        assert_eq!(restarts(&mut world, 0), [RestartReason::StateLost]);
    }
}

/// Counts what a relay's store does while it answers "unknown" for logs without entries, as the recovery log is one.
// [SPEC 10.3]
#[test]
fn a_recovery_log_that_is_never_there_is_not_made_again_in_a_storm() {
    let mut world = World::talk(4_610);
    let appends = Rc::new(Cell::new(0));
    let counted = Rc::clone(&appends);
    world.lie = Some(Box::new(move |reply| match reply {
        StoreReply::Appended(_) => counted.set(counted.get() + 1),
        StoreReply::Looked(looked) if looked.view.next_seq == 0 => {
            *reply = StoreReply::Refused(Refusal::now(RefusalCode::Unknown));
        }
        _ => {}
    }));
    world.pass(5 * DAY);
    assert!((2..40).contains(&appends.get()), "{}", appends.get());
    world.lie = None;
    goes_on(&mut world, [&[], &[]], "unknown for a while");
}

// [SPEC 8.64]
#[test]
fn a_recovery_log_that_is_served_wrong_each_time_is_asked_ever_more_seldom() {
    let mut world = World::talk(4_620);
    // Two restarts that Bob has not read yet: the first is served right, the second wrong.
    world.switch_off(1);
    for _ in 0..2 {
        world.lose_group(0);
        world.pass(MINUTE);
    }
    let reads = Rc::new(Cell::new(0));
    let counted = Rc::clone(&reads);
    world.lie = Some(Box::new(move |reply| {
        if let StoreReply::Read(batch) = reply
            && let Some(last) = batch.entries.last_mut()
            && last.aad.ttl == Ttl::Life
        {
            counted.set(counted.get() + 1);
            last.aad.expect_slots += 1_000;
        }
    }));
    world.load(1);
    world.pass(2 * DAY);
    assert!((10..700).contains(&reads.get()), "{}", reads.get());
    world.lie = None;
    goes_on(&mut world, [&[], &[]], "served wrong for a while");
}

// [SPEC 10.1]
#[test]
fn a_log_without_room_for_a_commit_is_trouble() {
    let mut world = World::talk(4_630);
    world.send(1, "b1");
    world.pass(8 * DAY);
    // The next message begins with a commit.
    let mut answered = false;
    world.lie = Some(Box::new(move |reply| {
        if matches!(reply, StoreReply::Appended(_)) && !std::mem::replace(&mut answered, true) {
            *reply = StoreReply::Refused(Refusal::now(RefusalCode::Full));
        }
    }));
    world.send(0, "a1");
    world.pass(MINUTE);
    world.lie = None;
    goes_on(&mut world, [&["b1"], &["a1"]], "full");
    assert_eq!(restarts(&mut world, 0), [RestartReason::LogFull]);
}

/// A member closes the log without a commit while Bob is away: Alice restarts, and nothing of the old group's keys is left.
// [SPEC 10.2]
#[test]
fn message_keys_go_with_their_group() {
    let mut world = World::talk(4_640);
    world.send(0, "a1");
    world.send(1, "b1");
    world.pass(MINUTE);
    let keys = |world: &World, party: usize| {
        let keys = world.parties[party].records.0.keys();
        keys.filter(|key| key[0] == b'c' && key[5] == b'j').count()
    };
    assert_eq!([keys(&world, 0), keys(&world, 1)], [1, 1]);
    world.switch_off(1);
    let access = inspect(&world, 0).main.unwrap();
    let mut raw = Raw::connect(&mut world);
    raw.append(
        &mut world,
        &access,
        (kind::MLS, b"rubbish"),
        (true, true),
        Vec::new(),
    );
    world.pass(MINUTE);
    assert_eq!(
        restarts(&mut world, 0),
        [RestartReason::ClosedWithoutCommit]
    );
    assert_eq!(keys(&world, 0), 0);
}

// [SPEC 9.34] [SPEC 10.15]
#[test]
fn a_change_of_the_timer_that_was_given_up_shuts_out_no_later_one() {
    let mut world = World::talk(4_650);
    world.pass(40 * DAY);
    world.send(0, "a0");
    world.send(1, "b0");
    world.pass(MINUTE);
    let logs = [
        inspect(&world, 0).recovery.unwrap(),
        inspect(&world, 0).main.unwrap(),
    ];
    world.stop_relay();
    let timer = |party: usize, ms: u64| Command::SetTimer {
        name: World::peer_name(party),
        burn: Burn::after_ms(ms).unwrap(),
    };
    world.command(0, timer(0, HOUR)).unwrap();
    logs.iter().for_each(|log| world.lose_log(log));
    world.start_relay();
    world.pass(DAY);
    assert_eq!(world.contact(0).state, ContactState::Over);
    let over = |event: &Event| matches!(event, Event::ConversationOver { .. });
    assert!(world.events(0).iter().any(over));
    // What was lost is found again.
    world.lost.clear();
    world.pass(2 * DAY);
    world.command(1, timer(1, DAY)).unwrap();
    world.pass(MINUTE);
    for party in 0..2 {
        assert_eq!(world.contact(party).state, ContactState::Active);
        assert_eq!(world.contact(party).burn, Burn::after_ms(DAY).unwrap());
    }
}

// [SPEC 10.27]
#[test]
fn the_answer_to_one_hint_is_not_taken_for_that_to_the_next() {
    let mut world = World::talk(87);
    world.send(0, "one");
    world.pass(MINUTE);
    world.switch_off(1);
    let left = inspect(&world, 0).main.unwrap();
    let mut raw = Raw::connect(&mut world);
    let before = raw.open(&mut world, &left).1.next_seq;
    let (mut restarted, mut lost) = (false, false);
    world.lie = Some(Box::new(move |reply| match reply {
        StoreReply::Appended(_) => restarted = true,
        // The log 0 of the first restart, asked for together with the log that is left.
        StoreReply::Looked(_) if restarted && !lost => {
            lost = true;
            *reply = StoreReply::Refused(Refusal::now(RefusalCode::Unknown));
        }
        _ => {}
    }));
    world.lose_group(0);
    world.pass(MINUTE);
    assert_eq!(inspect(&world, 0).point.unwrap().position.restart, 2);
    let after = raw.open(&mut world, &left).1.next_seq;
    assert_eq!(after - before, 2, "a hint of each restart");
}

// [SPEC 10.14]
#[test]
fn more_than_ten_restarts_in_a_day_wait_for_the_user() {
    let mut world = World::talk(56);
    for n in 0..10 {
        world.lose_group(0);
        world.pass(30 * MINUTE);
        assert_eq!(world.contact(0).state, ContactState::Active, "{n}");
    }
    assert_eq!(world.contact(0).state, ContactState::Active);
    world.lose_group(0);
    world.pass(30 * MINUTE);
    world.send(0, "waits");
    assert_eq!(world.contact(0).state, ContactState::RestartWaits);
    let waits = |event: &Event| {
        matches!(
            event,
            Event::RestartWaits {
                reason: RestartReason::StateLost,
                ..
            }
        )
    };
    assert_eq!(
        world.events(0).iter().filter(|event| waits(event)).count(),
        1
    );
    let allow = Command::AllowRestart {
        name: World::peer_name(0),
    };
    world.command(0, allow).unwrap();
    let allow = Command::AllowRestart {
        name: World::peer_name(1),
    };
    world.pass(MINUTE);
    // The other side has followed ten of them and must be asked, too.
    let _may_be_refused = world.command(1, allow);
    world.pass(2 * DAY);
    assert_eq!(world.contact(0).state, ContactState::Active);
    assert_eq!(world.received(1), ["waits"]);
}
