//! A client dies between any two outputs, and before anything is stored: whatever was said is shown exactly once.

use emptyroom_core::api::{Command, Event, Input, Refused, Ticket};

use super::hostile::both_talk;
use super::world::{DAY, MINUTE, SECOND, World};

/// Invite, join, messages both ways, receipts. `start` prepares a death.
fn script(seed: u64, start: impl Fn(&mut World)) -> World {
    let mut world = World::new(seed);
    start(&mut world);
    let mut link = None;
    while link.is_none() {
        link = try_invite(&mut world);
    }
    try_join(&mut world, link.as_ref().unwrap());
    world.pass(MINUTE);
    for text in ["one", "two"] {
        try_send(&mut world, 0, text);
        try_send(&mut world, 1, text);
    }
    world.pass(MINUTE);
    for party in 0..2 {
        world.parties[party].dies_after = None;
        world.parties[party].persists_left = None;
    }
    world.pass(MINUTE);
    world
}

fn try_invite(world: &mut World) -> Option<emptyroom_core::api::Text> {
    use emptyroom_core::api::{Command, Reply, Text};
    let address = Text::new(world.address());
    let id = world.start(0, Command::SetRelay { address });
    world.run();
    world.reply(0, id)?.unwrap();
    let invite = Command::Invite {
        name: World::peer_name(0),
        expires_in_ms: None,
    };
    let id = world.start(0, invite);
    world.run();
    if let Some(Ok(Reply::Invited { link, .. })) = world.reply(0, id) {
        return Some(link);
    }
    // It died before it could answer; what was stored is asked for.
    match world.command_or_died(0, Command::Invites)? {
        Ok(Reply::Invites(invites)) => invites.into_iter().find_map(|invite| invite.link),
        other => panic!("{other:?}"),
    }
}

fn try_join(world: &mut World, link: &emptyroom_core::api::Text) {
    use emptyroom_core::api::{Command, Refused, Reply};
    for _ in 0..5 {
        let join = Command::Join {
            link: link.clone(),
            name: World::peer_name(1),
        };
        match world.command_or_died(1, join) {
            Some(Ok(Reply::Joining) | Err(Refused::NameTaken)) => return,
            None => {}
            other => panic!("{other:?}"),
        }
    }
    panic!("it always dies");
}

fn try_send(world: &mut World, party: usize, text: &str) {
    use emptyroom_core::api::{LineBody, Reply};
    for _ in 0..5 {
        let id = world.start_send(party, text, None);
        world.run();
        if let Some(reply) = world.reply(party, id) {
            assert!(matches!(reply, Ok(Reply::Queued { .. })), "{reply:?}");
            return;
        }
        // No answer: it is stored, or it is not.
        let sent = |body: &LineBody| matches!(body, LineBody::Sent { text: sent, .. } if sent.expose() == text);
        if world.history(party).iter().any(|line| sent(&line.body)) {
            return;
        }
    }
    panic!("it always dies");
}

fn check(mut world: World, what: &str) {
    for party in 0..2 {
        assert_eq!(
            world.received(party),
            ["one", "two"],
            "{what}: party {party}"
        );
        assert!(
            world
                .states(party)
                .iter()
                .all(|state| *state == emptyroom_core::api::MessageState::Delivered),
            "{what}: {:?}",
            world.states(party)
        );
    }
}

// [SPEC 8.48]
#[test]
fn a_death_between_any_two_outputs_loses_and_doubles_nothing() {
    for party in 0..2 {
        let mut deaths = 0;
        for after in 0..400 {
            let world = script(1_000 + after as u64, |world| {
                world.parties[party].dies_after = Some(after)
            });
            let died = world.parties[party].deaths;
            check(world, &format!("party {party} dies after {after}"));
            deaths += died;
            if died == 0 {
                break;
            }
        }
        assert!(deaths > 20, "only {deaths} deaths");
    }
}

// [SPEC 8.49]
#[test]
fn a_death_before_any_transaction_loses_and_doubles_nothing() {
    for party in 0..2 {
        let mut deaths = 0;
        for after in 0..400 {
            let world = script(2_000 + after as u64, |world| {
                world.parties[party].persists_left = Some(after)
            });
            let died = world.parties[party].deaths;
            check(world, &format!("party {party} dies at persist {after}"));
            deaths += died;
            if died == 0 {
                break;
            }
        }
        assert!(deaths > 15, "only {deaths} deaths");
    }
}

#[test]
fn a_relay_that_loses_connections_all_the_time_delays_and_nothing_else() {
    for seed in 0..20_usize {
        let mut world = World::talk(3_000 + seed as u64);
        for n in 0..12 {
            let party = n % 2;
            world.start_send(party, &format!("message {n}"), None);
            // A few steps only, then the relay is gone for a while.
            world.steps(3 + (seed * 7 + n * 5) % 40);
            world.stop_relay();
            world.run();
            world.start_relay();
            world.pass(5 * SECOND);
        }
        world.pass(DAY / 24);
        for party in 0..2 {
            let expected: Vec<String> = (0..12)
                .filter(|n| n % 2 != party)
                .map(|n| format!("message {n}"))
                .collect();
            assert_eq!(world.received(party), expected, "seed {seed} party {party}");
        }
    }
}

// [SPEC 8.49]
#[test]
fn a_client_that_cannot_store_stops_and_says_so() {
    let mut world = World::talk(53);
    world.input(0, Input::PersistFailed(Ticket(1)));
    world.run();
    assert!(world.events(0).contains(&Event::StorageFailed));
    assert_eq!(
        world.command(0, Command::Status),
        Err(Refused::StorageFailed)
    );
    world.kill(0);
    both_talk(&mut world, "after the disk had room again");
}
