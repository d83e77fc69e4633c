//! The rules of one conversation, each where it can be seen from outside.

use emptyroom_core::api::{
    Command, ContactState, Event, InviteFault, LineBody, MessageState, Notice, Refused,
    RelayTrouble, Reply, RestartReason,
};
use emptyroom_core::kind;
use emptyroom_wire::op::{Answer, Open, OpenLog, OpenOutcome, RefusalCode, Request};

use super::raw::{Raw, inspect};
use super::world::{DAY, HOUR, MINUTE, SECOND, World, name};

fn generation(world: &World, party: usize) -> u64 {
    inspect(world, party).point.unwrap().position.generation
}

fn reasons(world: &mut World, party: usize) -> Vec<RestartReason> {
    let reason = |body: &LineBody| match body {
        LineBody::Notice(Notice::Restarted { reason, .. }) => Some(*reason),
        _ => None,
    };
    let history = world.history(party);
    history
        .iter()
        .filter_map(|line| reason(&line.body))
        .collect()
}

// [SPEC 8.42]
#[test]
fn a_link_that_somebody_spoiled_is_told_and_rubbish_beside_it_is_not() {
    for close in [false, true] {
        let mut world = World::new(80);
        world.set_relay(0);
        let link = world.invite(0, "bob");
        world.pass(SECOND);
        let access = inspect(&world, 0).main.unwrap();
        let mut raw = Raw::connect(&mut world);
        let answer = raw.append(
            &mut world,
            &access,
            (kind::MLS, b"rubbish"),
            (true, close),
            Vec::new(),
        );
        assert!(matches!(answer, Answer::Appended(_)), "{answer:?}");
        world.join(1, &link, "alice");
        world.pass(MINUTE);
        let spoiled = Event::InviteFailed {
            conversation: name("bob"),
            why: InviteFault::Spoiled,
        };
        assert_eq!(world.events(0).contains(&spoiled), close);
        assert_eq!(world.contact(1).state == ContactState::Active, !close);
    }
}

// [SPEC 8.43]
#[test]
fn generations_end_by_time_and_by_entries_and_not_before_the_other_side_was_seen() {
    let mut world = World::talk(81);
    world.send(0, "a");
    world.pass(8 * DAY);
    assert_eq!(generation(&world, 0), 1, "nothing was said since");
    world.send(0, "b");
    world.pass(MINUTE);
    assert_eq!([generation(&world, 0), generation(&world, 1)], [2, 2]);
    // Bob is away: of the next generation he is not seen.
    world.switch_off(1);
    world.pass(8 * DAY);
    world.send(0, "where are you");
    world.pass(MINUTE);
    let last = generation(&world, 0);
    for _ in 0..4 {
        world.pass(8 * DAY);
        world.send(0, "where are you");
    }
    assert_eq!(generation(&world, 0), last);
    world.load(1);
    world.pass(2 * DAY);
    world.send(1, "here");
    world.pass(MINUTE);
    // A thousand entries end one, too.
    let before = generation(&world, 0);
    for n in 0..520 {
        world.send(0, &format!("{n}"));
        world.send(1, &format!("{n}"));
    }
    world.pass(MINUTE);
    assert!(generation(&world, 0) > before);
    assert_eq!(generation(&world, 0), generation(&world, 1));
}

// [SPEC 8.44]
#[test]
fn the_log_that_was_left_is_destroyed_once_both_are_in_the_next() {
    let mut world = World::talk(82);
    world.send(0, "a");
    world.send(1, "b");
    world.pass(8 * DAY);
    let old = inspect(&world, 0).main.unwrap();
    world.send(0, "next generation");
    world.pass(MINUTE);
    world.send(1, "I am here, too");
    world.send(0, "so am I");
    world.pass(MINUTE);
    assert_eq!([generation(&world, 0), generation(&world, 1)], [2, 2]);
    let mut raw = Raw::connect(&mut world);
    let log = OpenLog {
        capability: old.capability.clone(),
        from: 0,
        proof: None,
    };
    let Answer::Opened(opened) = raw.request(&mut world, Request::Open(Open { logs: vec![log] }))
    else {
        panic!("not opened");
    };
    let gone = matches!(&opened.logs[0], OpenOutcome::Refused(refusal) if refusal.code == RefusalCode::Destroyed);
    assert!(gone, "{:?}", opened.logs[0]);
    for party in &world.parties {
        for value in party.records.0.values() {
            let holds = |secret: &[u8; 32]| value.windows(32).any(|window| window == secret);
            assert!(!holds(old.capability.expose()), "the capability is gone");
            assert!(!holds(old.append.seed().expose()), "the key is gone");
        }
    }
}

// [SPEC 8.46]
#[test]
fn a_leaf_gets_new_keys_after_a_hundred_messages() {
    let mut world = World::talk(83);
    let slots = |world: &World| inspect(world, 0).point.unwrap().slots;
    for n in 0..99 {
        world.send(0, &format!("{n}"));
    }
    world.pass(MINUTE);
    assert_eq!(slots(&world), 0);
    for n in 0..10 {
        world.send(0, &format!("{n}"));
    }
    world.pass(MINUTE);
    assert_eq!(slots(&world), 1);
    assert_eq!(world.received(1).len(), 109);
}

// [SPEC 9.22] [SPEC 9.25]
#[test]
fn receipts_end_by_themselves_and_what_both_have_leaves_the_relay() {
    let mut world = World::talk(84);
    world.send(0, "a");
    world.send(1, "b");
    world.run();
    assert_eq!(
        world.states(0),
        [MessageState::Sent],
        "a receipt takes a moment"
    );
    world.pass(10 * SECOND);
    assert_eq!(world.states(0), [MessageState::Delivered]);
    world.read_all(0);
    world.read_all(1);
    world.pass(MINUTE);
    assert_eq!(world.states(1), [MessageState::Read]);
    let before = inspect(&world, 0).point.unwrap();
    world.pass(DAY / 2);
    assert_eq!(
        inspect(&world, 0).point.unwrap(),
        before,
        "nothing is said about receipts"
    );
    let access = inspect(&world, 0).main.unwrap();
    let mut raw = Raw::connect(&mut world);
    let (_, view) = raw.open(&mut world, &access);
    assert!(
        view.next_seq - view.first_seq <= 4,
        "{view:?}: at most the last receipts are left"
    );
}

// [SPEC 9.20]
#[test]
fn what_is_sent_again_is_shown_once_and_receipted_again() {
    let mut world = World::talk(85);
    world.send(0, "a1");
    // Bob reads it; his receipt never gets through, because his group is lost first.
    world.run();
    assert_eq!(world.received(1), ["a1"]);
    world.lose_group(1);
    world.pass(2 * DAY);
    assert_eq!(world.received(1), ["a1"]);
    assert_eq!(world.states(0), [MessageState::Delivered]);
    assert_eq!(reasons(&mut world, 1), [RestartReason::StateLost]);
}

// [SPEC 10.6]
#[test]
fn own_entries_that_a_device_does_not_know_are_trouble() {
    let mut world = World::talk(86);
    world.send(0, "a1");
    world.pass(MINUTE);
    let backup = world.parties[0].records.clone();
    world.switch_off(1);
    world.send(0, "a2");
    world.pass(MINUTE);
    world.restore_vault(0, backup);
    world.pass(MINUTE);
    assert_eq!(reasons(&mut world, 0), [RestartReason::DeviceRestored]);
    world.load(1);
    world.pass(2 * DAY);
    world.send(0, "a3");
    world.send(1, "b1");
    world.pass(MINUTE);
    // Alice's device does not know a2 any more; Bob had not fetched it, and does before he follows.
    assert_eq!(world.received(1), ["a1", "a2", "a3"]);
    assert_eq!(world.received(0), ["b1"]);
}

// [SPEC 10.2] [SPEC 10.11]
#[test]
fn a_restart_is_taken_at_once_when_the_old_log_still_works() {
    let mut world = World::talk(87);
    world.send(0, "a1");
    world.pass(MINUTE);
    world.lose_group(0);
    world.pass(20 * SECOND);
    for party in 0..2 {
        assert_eq!(world.contact(party).state, ContactState::Active);
        assert_eq!(reasons(&mut world, party), [RestartReason::StateLost]);
        let point = inspect(&world, party).point.unwrap();
        assert_eq!((point.position.restart, point.position.generation), (1, 1));
    }
}

// [SPEC 10.24]
#[test]
fn a_history_that_disagrees_is_shown_and_is_trouble() {
    let mut world = World::talk(88);
    world.send(0, "a1");
    world.send(1, "b1");
    world.pass(MINUTE);
    world.switch_off(1);
    // What Bob remembers of the log is another history than Alice's.
    for (key, value) in &mut world.parties[1].records.0 {
        if key[0] == b'c' && key[5] == b'v' {
            value[32..].iter_mut().for_each(|byte| *byte ^= 1);
        }
    }
    world.load(1);
    world.run();
    world.events(1);
    world.send(0, "a2");
    world.pass(MINUTE);
    let told = |event: &Event| {
        matches!(
            event,
            Event::RelayTrouble {
                kind: RelayTrouble::TwoHistories,
                ..
            }
        )
    };
    assert!(world.events(1).iter().any(told));
    assert_eq!(reasons(&mut world, 1), [RestartReason::HistoriesDiffer]);
    world.pass(2 * DAY);
    assert_eq!(
        world.received(1),
        ["a1", "a2"],
        "it is shown all the same, once"
    );
    assert_eq!(world.contact(0).state, ContactState::Active);
}

#[test]
fn contacts_are_renamed_and_forgotten() {
    let mut world = World::talk(89);
    world.send(1, "b1");
    world.pass(MINUTE);
    let rename = Command::Rename {
        from: name("bob"),
        to: name("robert"),
    };
    assert_eq!(world.command(0, rename), Ok(Reply::Done));
    let forget = |who: &str| Command::Forget { name: name(who) };
    assert!(world.command(0, forget("bob")).is_err());
    assert_eq!(world.command(0, forget("robert")), Ok(Reply::Done));
    let left = |key: &&Vec<u8>| key[0] == b'c';
    assert_eq!(world.parties[0].records.0.keys().filter(left).count(), 0);
    world.send(1, "b2");
    world.pass(HOUR);
    assert_eq!(
        world.command(0, Command::Contacts),
        Ok(Reply::Contacts(Vec::new()))
    );
}

#[test]
fn a_user_who_reads_nothing_is_sent_no_more_than_a_limit() {
    let mut world = World::talk(90);
    for n in 0..4_200 {
        world.send(1, &format!("{n}"));
        if n % 200 == 0 {
            world.pass(MINUTE);
        }
    }
    world.pass(HOUR);
    assert_eq!(world.contact(0).unread, 4_096);
    world.read_all(0);
    world.pass(HOUR);
    assert_eq!(world.received(0).len(), 4_200);
    assert_eq!(
        world.contact(0).unread,
        4_200 - 4_095,
        "the first line is a notice"
    );
}

#[test]
fn certificates_are_renewed_in_passing() {
    let mut world = World::talk(91);
    for _ in 0..30 {
        world.send(0, "a");
        world.send(1, "b");
        world.pass(9 * DAY);
    }
    assert_eq!(world.received(0).len(), 30);
    assert_eq!(world.received(1).len(), 30);
    world.lose_group(0);
    world.pass(DAY);
    world.send(0, "after the first certificate");
    world.pass(MINUTE);
    assert_eq!(world.received(1).len(), 31);
}

#[test]
fn a_link_cannot_say_where_a_known_relay_is_dialled() {
    let mut world = World::talk(92);
    world.set_relay(1);
    let identity = world.address();
    // Bob's relay is known to Alice; a link for the same relay names another host.
    let there = identity.replace("relay.example", "elsewhere.example");
    let address = emptyroom_core::api::Text::new(there);
    world.command(1, Command::SetRelay { address }).unwrap();
    let link = world.invite(1, "carol");
    let join = Command::Join {
        link,
        name: name("dave"),
    };
    world.command(0, join).unwrap();
    for again in [false, true] {
        world.stop_relay();
        world.start_relay();
        // Also after the program was started again.
        if again {
            world.kill(0);
        }
        world.pass(5 * SECOND);
        assert!(!world.elsewhere.contains(&0));
        world.pass(2 * MINUTE);
    }
    assert_eq!(world.contact(0).relay, "relay.example:443");
}

/// What a message says of the relay's keys is known already: the relay's record is not written with each of them.
#[test]
fn the_relays_record_is_written_when_it_changes() {
    let mut world = World::talk(93);
    world.send(0, "a1");
    world.send(1, "b1");
    world.pass(MINUTE);
    let relays = |key: &[u8]| key[0] == b'r';
    let before = world.parties[1].records.0.len();
    world.parties[1].records.0.retain(|key, _| !relays(key));
    assert_eq!(world.parties[1].records.0.len(), before - 1);
    for n in 0..3 {
        world.send(0, &format!("{n}"));
    }
    world.pass(MINUTE);
    let written = |world: &World| world.parties[1].records.0.keys().any(|key| relays(key));
    assert_eq!(world.received(1).len(), 4);
    assert!(!written(&world));
    // A new stream key is news.
    world.pass(2 * HOUR);
    world.stop_relay();
    world.start_relay();
    world.pass(MINUTE);
    assert!(written(&world));
}

// [SPEC 8.58]
#[test]
fn nothing_of_a_blocked_contact_is_read_or_sent() {
    let mut world = World::talk(55);
    let block = |on| Command::Block {
        name: World::peer_name(0),
        on,
    };
    world.command(0, block(true)).unwrap();
    world.send(1, "can you hear me");
    world.pass(DAY);
    assert_eq!(world.received(0).len(), 0);
    let id = world.start_send(0, "x", None);
    world.run();
    assert_eq!(world.reply(0, id), Some(Err(Refused::Blocked)));
    assert_eq!(
        world.states(1),
        [MessageState::Sent],
        "the peer is not told"
    );
    world.command(0, block(false)).unwrap();
    world.pass(MINUTE);
    assert_eq!(world.received(0), ["can you hear me"]);
}
