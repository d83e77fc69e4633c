//! Invites: one link, one use.

use std::cell::Cell;
use std::rc::Rc;

use emptyroom_core::api::{
    Command, ContactState, Event, InviteFault, InviteState, JoinFault, Refused, Reply, Text,
};
use emptyroom_relay::store::StoreReply;
use emptyroom_wire::address::{Host, RelayAddress};
use emptyroom_wire::op::{Refusal, RefusalCode};
use emptyroom_wire::relay_key::IdentityHash;

use super::world::{DAY, HOUR, MINUTE, SECOND, World, name};

fn invite_fault(world: &mut World, party: usize) -> Option<InviteFault> {
    world
        .events(party)
        .into_iter()
        .find_map(|event| match event {
            Event::InviteFailed { why, .. } => Some(why),
            _ => None,
        })
}

fn join_fault(world: &mut World, party: usize) -> Option<JoinFault> {
    world
        .events(party)
        .into_iter()
        .find_map(|event| match event {
            Event::JoinFailed { why, .. } => Some(why),
            _ => None,
        })
}

#[test]
fn a_link_is_taken_and_both_are_told() {
    let mut world = World::talk(2);
    assert!(world.events(0).contains(&Event::InviteReady {
        conversation: name("bob")
    }));
    assert!(world.events(1).contains(&Event::Joined {
        conversation: name("alice")
    }));
    assert_eq!(
        world.command(0, Command::Invites),
        Ok(Reply::Invites(Vec::new()))
    );
    let same = |world: &mut World, party: usize| match world.command(
        party,
        Command::Fingerprint {
            name: World::peer_name(party),
        },
    ) {
        Ok(Reply::Fingerprint(print)) => print.digits,
        other => panic!("{other:?}"),
    };
    assert_eq!(same(&mut world, 0), same(&mut world, 1));
}

// [SPEC 8.51]
#[test]
fn a_second_taker_is_told_that_the_link_was_used() {
    let mut world = World::new(3);
    world.set_relay(0);
    let link = world.invite(0, "bob");
    let carol = world.add_party();
    world.join(1, &link, "alice");
    world.join(carol, &link, "alice");
    world.pass(10 * SECOND);
    assert_eq!(join_fault(&mut world, carol), Some(JoinFault::AlreadyUsed));
    assert_eq!(world.contact(1).state, ContactState::Active);
    // Also long after.
    let dave = world.add_party();
    world.join(dave, &link, "alice");
    world.pass(10 * SECOND);
    assert_eq!(join_fault(&mut world, dave), Some(JoinFault::AlreadyUsed));
}

// [SPEC 8.50] [SPEC 8.51]
#[test]
fn of_two_takers_at_once_one_wins() {
    for steps in (0..40).step_by(3) {
        let mut world = World::new(300 + steps as u64);
        world.set_relay(0);
        let link = world.invite(0, "bob");
        let carol = world.add_party();
        for party in [1, carol] {
            let join = Command::Join {
                link: link.clone(),
                name: name("alice"),
            };
            world.start(party, join);
            world.steps(steps);
        }
        world.pass(10 * SECOND);
        let faults = [join_fault(&mut world, 1), join_fault(&mut world, carol)];
        let lost = faults
            .iter()
            .filter(|fault| **fault == Some(JoinFault::AlreadyUsed))
            .count();
        assert_eq!(lost, 1, "{faults:?}");
        assert_eq!(world.contact(0).state, ContactState::Active);
    }
}

// [SPEC 8.41]
#[test]
fn a_wrong_access_code_is_told() {
    let mut world = World::new(4);
    world.code = Some("right");
    world.restore_relay(emptyroom_disk());
    let address = Text::new(world.address().replace("right", "wrong"));
    world.command(0, Command::SetRelay { address }).unwrap();
    world.invite(0, "bob");
    world.pass(10 * SECOND);
    assert_eq!(invite_fault(&mut world, 0), Some(InviteFault::BadCode));
    world.set_relay(0);
    world
        .command(0, Command::Forget { name: name("bob") })
        .unwrap();
    let link = world.invite(0, "bob");
    world.join(1, &link, "alice");
    world.pass(10 * SECOND);
    assert_eq!(
        world.contact(1).state,
        ContactState::Active,
        "joining needs no code"
    );
}

fn emptyroom_disk() -> crate::memory_store::Disk {
    crate::memory_store::Disk::new()
}

// [SPEC 8.45]
#[test]
fn a_cancelled_link_is_gone() {
    let mut world = World::new(5);
    world.set_relay(0);
    let link = world.invite(0, "bob");
    world.pass(SECOND);
    // The relay is away: the order waits.
    world.stop_relay();
    assert_eq!(
        world.command(0, Command::CancelInvite { name: name("bob") }),
        Ok(Reply::Done)
    );
    assert_eq!(invite_fault(&mut world, 0), Some(InviteFault::Cancelled));
    world.kill(0);
    assert_eq!(orders_waiting(&mut world), 1);
    world.start_relay();
    world.pass(MINUTE);
    assert_eq!(orders_waiting(&mut world), 0);
    world.join(1, &link, "alice");
    world.pass(10 * SECOND);
    assert_eq!(join_fault(&mut world, 1), Some(JoinFault::Gone));
    let cancel = Command::CancelInvite { name: name("bob") };
    assert_eq!(world.command(0, cancel), Err(Refused::NoOpenInvite));
}

/// How many records there are of relays and of orders.
fn relays_and_orders(world: &World, party: usize) -> (usize, usize) {
    let records = &world.parties[party].records.0;
    let of = |first: u8| records.keys().filter(|key| key[0] == first).count();
    (of(b'r'), of(b'd'))
}

// [SPEC 8.45]
#[test]
fn an_order_is_given_for_forty_days_and_its_relay_forgotten_with_it() {
    for answered in [true, false] {
        let mut world = World::new(15);
        world.set_relay(0);
        world.invite(0, "bob");
        world.stop_relay();
        let forget = Command::Forget { name: name("bob") };
        world.command(0, forget).unwrap();
        let address = RelayAddress {
            host: Host::parse("other.example:443").unwrap(),
            others: Vec::new(),
            identity: IdentityHash([9; 32]),
            code: None,
        };
        let address = Text::new(address.with_code());
        world.command(0, Command::SetRelay { address }).unwrap();
        assert_eq!(relays_and_orders(&world, 0), (2, 1));
        world.switch_off(0);
        world.pass(39 * DAY);
        world.load(0);
        world.run();
        assert_eq!(relays_and_orders(&world, 0), (2, 1));
        if answered {
            world.start_relay();
            world.pass(HOUR);
        } else {
            world.pass(2 * DAY);
        }
        assert_eq!(relays_and_orders(&world, 0), (1, 0), "{answered}");
    }
}

fn orders_waiting(world: &mut World) -> usize {
    let Ok(Reply::Status(status)) = world.command(0, Command::Status) else {
        panic!()
    };
    status.relays[0].orders_waiting
}

// [SPEC 8.45]
#[test]
fn forgetting_an_open_invite_cancels_it() {
    let mut world = World::new(6);
    world.set_relay(0);
    let link = world.invite(0, "bob");
    world.pass(SECOND);
    world
        .command(0, Command::Forget { name: name("bob") })
        .unwrap();
    world.pass(SECOND);
    world.join(1, &link, "alice");
    world.pass(10 * SECOND);
    assert_eq!(join_fault(&mut world, 1), Some(JoinFault::Gone));
}

// [SPEC 8.40]
#[test]
fn a_link_ends_after_a_week() {
    let mut world = World::new(7);
    world.set_relay(0);
    let link = world.invite(0, "bob");
    world.pass(7 * DAY - HOUR);
    let Ok(Reply::Invites(invites)) = world.command(0, Command::Invites) else {
        panic!()
    };
    assert_eq!(invites[0].state, InviteState::Open);
    world.pass(2 * HOUR);
    assert_eq!(invite_fault(&mut world, 0), Some(InviteFault::Expired));
    // Bob's clock is late: for him it is not over yet.
    world.parties[1].clock_offset_ms = -(DAY as i64);
    world.join(1, &link, "alice");
    world.pass(10 * SECOND);
    assert_eq!(join_fault(&mut world, 1), Some(JoinFault::Gone));
}

// [SPEC 8.40] [SPEC 8.41]
#[test]
fn an_invite_is_taken_though_its_maker_never_heard_that_it_was_made() {
    for away in [HOUR, 8 * DAY] {
        let mut taken = 0;
        for steps in 0..40 {
            let mut world = World::new(13);
            world.set_relay(0);
            let invite = Command::Invite {
                name: name("bob"),
                expires_in_ms: None,
            };
            world.start(0, invite);
            world.steps(steps);
            world.switch_off(0);
            world.run();
            world.cut = true;
            world.load(0);
            let Ok(Reply::Invites(invites)) = world.command(0, Command::Invites) else {
                panic!()
            };
            world.switch_off(0);
            world.cut = false;
            let waiting = invites
                .iter()
                .find(|invite| invite.state == InviteState::Waiting);
            let Some(link) = waiting.and_then(|invite| invite.link.clone()) else {
                continue;
            };
            world.join(1, &link, "alice");
            world.pass(MINUTE);
            if world.contact(1).state == ContactState::Active {
                taken += 1;
                world.send(1, "here I am");
                world.pass(away);
                world.load(0);
                world.pass(MINUTE);
                world.send(0, "welcome");
                world.pass(MINUTE);
                assert_eq!(world.received(0), ["here I am"], "{steps}");
                assert_eq!(world.received(1), ["welcome"], "{steps}");
            }
        }
        assert!(taken > 0);
    }
}

// [SPEC 8.40]
#[test]
fn an_invite_that_never_left_ends_when_it_is_clear_that_nobody_has_it() {
    let mut world = World::new(14);
    world.set_relay(0);
    world.cut = true;
    world.invite(0, "bob");
    world.pass(8 * DAY);
    assert_eq!(invite_fault(&mut world, 0), None);
    world.cut = false;
    world.pass(HOUR);
    assert_eq!(invite_fault(&mut world, 0), Some(InviteFault::Expired));
}

// [SPEC 8.54]
#[test]
fn an_inviter_who_never_appears_is_told_after_a_week() {
    let mut world = World::new(8);
    world.set_relay(0);
    let link = world.invite(0, "bob");
    world.switch_off(0);
    world.join(1, &link, "alice");
    world.pass(6 * DAY);
    world.send(1, "are you there");
    assert_eq!(join_fault(&mut world, 1), None);
    world.pass(2 * DAY);
    assert_eq!(join_fault(&mut world, 1), Some(JoinFault::InviterNotSeen));
    // He appears after all.
    world.load(0);
    world.pass(MINUTE);
    assert_eq!(world.contact(1).state, ContactState::Active);
    assert_eq!(world.received(0), ["are you there"]);
}

// [SPEC 8.54]
#[test]
fn an_inviter_who_never_appears_is_told_in_a_restart_as_well() {
    let mut world = World::new(13);
    world.set_relay(0);
    let link = world.invite(0, "bob");
    world.switch_off(0);
    world.join(1, &link, "alice");
    world.pass(MINUTE);
    world.lose_group(1);
    world.pass(6 * DAY);
    assert_eq!(world.contact(1).state, ContactState::Restarting);
    world.pass(2 * DAY);
    let not_seen = ContactState::JoinFailed(JoinFault::InviterNotSeen);
    assert_eq!(world.contact(1).state, not_seen);
    world.load(0);
    world.pass(3 * DAY);
    assert_eq!(world.contact(1).state, ContactState::Active);
}

#[test]
fn a_damaged_link_and_an_own_one_are_refused() {
    let mut world = World::new(9);
    world.set_relay(0);
    let link = world.invite(0, "bob");
    let join = |link: &str| Command::Join {
        link: link.into(),
        name: name("alice"),
    };
    let damaged = link.expose().replacen('a', "b", 1);
    assert!(matches!(
        world.command(1, join(&damaged)),
        Err(Refused::BadAddress(_))
    ));
    assert_eq!(world.command(0, join(link.expose())), Err(Refused::OwnLink));
    let unset = Command::Invite {
        name: name("x"),
        expires_in_ms: None,
    };
    assert_eq!(world.command(1, unset), Err(Refused::NoRelay));
}

// [SPEC 8.41]
#[test]
fn an_invite_that_the_relay_forgot_is_made_again() {
    let mut world = World::new(10);
    world.set_relay(0);
    let image = world.image();
    let link = world.invite(0, "bob");
    world.pass(SECOND);
    world.restore_relay(image);
    world.pass(MINUTE);
    world.join(1, &link, "alice");
    world.pass(10 * SECOND);
    assert_eq!(world.contact(0).state, ContactState::Active);
}

// [SPEC 8.53]
#[test]
fn a_join_that_the_relay_forgot_is_repeated() {
    for inviter_saw in [false, true] {
        let mut world = World::new(11);
        world.set_relay(0);
        let link = world.invite(0, "bob");
        world.pass(SECOND);
        let image = world.image();
        if !inviter_saw {
            world.switch_off(0);
        }
        world.join(1, &link, "alice");
        world.pass(10 * SECOND);
        world.send(1, "first words");
        world.pass(10 * SECOND);
        world.restore_relay(image);
        if !inviter_saw {
            world.load(0);
        }
        world.pass(3 * DAY);
        world.send(0, "answer");
        world.pass(MINUTE);
        assert_eq!(world.received(0), ["first words"], "{inviter_saw}");
        assert_eq!(world.received(1), ["answer"], "{inviter_saw}");
    }
}

// [SPEC 8.51]
#[test]
fn a_link_whose_first_entry_ran_out_is_gone_and_no_fault_of_the_relay() {
    let mut world = World::new(12);
    world.set_relay(0);
    let link = world.invite(0, "bob");
    world.pass(SECOND);
    // The inviter never comes back to destroy it.
    world.switch_off(0);
    world.pass(9 * DAY);
    world.parties[1].clock_offset_ms = -3 * DAY as i64;
    world.join(1, &link, "alice");
    world.pass(MINUTE);
    let events = world.events(1);
    let gone = Event::JoinFailed {
        conversation: name("alice"),
        why: JoinFault::Gone,
    };
    assert!(events.contains(&gone), "{events:?}");
    let accused = |event: &Event| matches!(event, Event::RelayTrouble { .. });
    assert!(!events.iter().any(accused), "{events:?}");
}

// [SPEC 8.66]
#[test]
fn a_log_that_is_closed_and_gone_ends_the_invite() {
    let mut world = World::new(86);
    world.set_relay(0);
    let asked = Rc::new(Cell::new(0));
    let count = asked.clone();
    world.lie = Some(Box::new(move |reply| {
        let code = match reply {
            StoreReply::Created => RefusalCode::Closed,
            StoreReply::Looked(_) => RefusalCode::Unknown,
            _ => return,
        };
        count.set(count.get() + u32::from(code == RefusalCode::Closed));
        *reply = StoreReply::Refused(Refusal::now(code));
    }));
    world.invite(0, "bob");
    world.pass(HOUR);
    assert_eq!(invite_fault(&mut world, 0), Some(InviteFault::Lost));
    assert_eq!(asked.get(), 1);
}
