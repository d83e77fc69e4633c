//! Relays that lie: each lie is found out, and the conversation goes on once the relay is honest.

use emptyroom_core::api::{Input, LinkId, RelayTrouble, Ticket};
use emptyroom_relay::store::StoreReply;
use emptyroom_wire::entry::RunningHash;
use emptyroom_wire::op::{Refusal, RefusalCode};
use emptyroom_wire::rng::CryptoRng;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::hostile::{both_talk, troubles};
use super::world::{DAY, MINUTE, World};

/// A relay whose store lies from now on, until it is restarted honest.
fn lying(seed: u64, lie: impl FnMut(&mut StoreReply) + 'static) -> (World, Vec<RelayTrouble>) {
    let mut world = World::talk(seed);
    world.send(0, "one");
    world.send(1, "two");
    world.pass(MINUTE);
    world.switch_off(1);
    world.send(0, "three");
    world.pass(MINUTE);
    world.events(1);
    world.lie = Some(Box::new(lie));
    world.load(1);
    world.pass(5 * MINUTE);
    world.lie = None;
    let told = troubles(&mut world, 1);
    (world, told)
}

fn then_honest(mut world: World, what: &str) {
    world.stop_relay();
    world.start_relay();
    world.pass(2 * DAY);
    both_talk(&mut world, what);
    let received = world.received(1);
    for text in ["one", "three", "still here"] {
        assert_eq!(
            received.iter().filter(|got| *got == text).count(),
            1,
            "{what}: {received:?}"
        );
    }
}

// [SPEC 10.20]
#[test]
fn a_relay_that_shows_a_shorter_log_is_found_out() {
    let (world, told) = lying(44, |reply| {
        if let StoreReply::Looked(looked) = reply {
            looked.view.next_seq = looked.view.next_seq.min(1);
            looked.view.first_seq = 0;
        }
    });
    assert!(told.contains(&RelayTrouble::RolledBack), "{told:?}");
    then_honest(world, "shorter");
}

// [SPEC 10.21]
#[test]
fn a_relay_that_shows_another_history_is_found_out() {
    let (world, told) = lying(45, |reply| {
        if let StoreReply::Read(batch) = reply {
            for entry in &mut batch.entries {
                entry.before = RunningHash([5; 32]);
            }
        }
    });
    assert!(told.contains(&RelayTrouble::TwoHistories), "{told:?}");
    then_honest(world, "two histories");
}

#[test]
fn a_relay_that_delivers_wrong_numbers_is_found_out() {
    let (world, told) = lying(46, |reply| {
        if let StoreReply::Read(batch) = reply {
            for entry in &mut batch.entries {
                entry.aad.expect_slots += 1_000_000;
            }
        }
    });
    assert!(told.contains(&RelayTrouble::WrongSequence), "{told:?}");
    then_honest(world, "wrong numbers");
}

// [SPEC 10.30]
#[test]
fn a_relay_that_withholds_is_found_out() {
    let (world, told) = lying(47, |reply| {
        if let StoreReply::Read(batch) = reply {
            batch.entries.clear();
            batch.end = true;
        }
    });
    assert!(told.contains(&RelayTrouble::Withheld), "{told:?}");
    drop(world);
}

#[test]
fn a_relay_that_delivers_another_logs_entry_is_found_out() {
    let (world, told) = lying(48, |reply| {
        if let StoreReply::Read(batch) = reply {
            for entry in &mut batch.entries {
                entry.body = vec![1; 4_096].into();
            }
        }
    });
    assert!(told.contains(&RelayTrouble::ForeignEntry), "{told:?}");
    drop(world);
}

// [SPEC 10.22]
#[test]
fn a_relay_that_acknowledges_another_history_is_found_out() {
    let mut world = World::talk(49);
    world.lie = Some(Box::new(|reply| {
        if let StoreReply::Appended(placed) = reply {
            placed.after = RunningHash([6; 32]);
        }
    }));
    world.send(0, "x");
    world.run();
    world.lie = None;
    assert!(troubles(&mut world, 0).contains(&RelayTrouble::TwoHistories));
    world.stop_relay();
    world.start_relay();
    world.pass(2 * DAY);
    both_talk(&mut world, "acknowledged");
    assert_eq!(
        world.received(1).iter().filter(|text| *text == "x").count(),
        1
    );
}

// [SPEC 10.23]
#[test]
fn frames_of_rubbish_end_the_link_and_nothing_else() {
    let mut world = World::talk(50);
    let mut rng = ChaCha20Rng::seed_from_u64(50);
    for round in 0..300_usize {
        let party = round % 2;
        if let Some(link) = world.parties[party].links.keys().next().copied() {
            let frame = rubbish(&mut rng);
            world.input(party, Input::Frame(link, frame));
        }
        world.steps(round % 7);
        if round % 10 == 0 {
            world.pass(MINUTE);
        }
    }
    world.pass(10 * MINUTE);
    both_talk(&mut world, "rubbish frames");
}

fn rubbish(rng: &mut dyn CryptoRng) -> Vec<u8> {
    let len = [0, 1, 16, 528, 1_200, 4_624][(rng.next_u32() % 6) as usize];
    let mut frame = vec![0; len];
    rng.fill_bytes(&mut frame);
    frame
}

#[test]
fn a_greeting_of_another_relay_is_refused() {
    let mut world = World::talk(51);
    world.stop_relay();
    world.become_another_relay();
    world.pass(MINUTE);
    assert!(troubles(&mut world, 0).contains(&RelayTrouble::WrongIdentity));
}

#[test]
fn inputs_that_fit_nothing_do_nothing() {
    let mut world = World::talk(52);
    for link in [0, 99, u64::MAX] {
        world.input(0, Input::LinkUp(LinkId(link), Some([1; 32])));
        world.input(0, Input::Frame(LinkId(link), vec![1, 2, 3]));
        world.input(0, Input::LinkDown(LinkId(link)));
    }
    world.input(0, Input::Persisted(Ticket(0)));
    world.input(0, Input::Tick);
    both_talk(&mut world, "odd inputs");
}

#[test]
fn a_relay_that_answers_unknown_for_everything_costs_a_restart_only() {
    let (world, told) = lying(54, |reply| {
        let refusal = Refusal::now(RefusalCode::Unknown);
        *reply = StoreReply::Refused(refusal);
    });
    assert!(told.contains(&RelayTrouble::LogLost), "{told:?}");
    then_honest(world, "unknown");
}
