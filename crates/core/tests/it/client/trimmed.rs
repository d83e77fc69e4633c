//! What leaves the relay because both have it, and devices that go back to before they had it.

use emptyroom_core::api::{Command, LineBody, MessageState, Notice, Reply};

use super::raw::{Raw, inspect};
use super::world::{DAY, MINUTE, SECOND, World};

// [SPEC 9.25]
#[test]
fn nothing_leaves_the_relay_before_its_reader_has_receipted_it() {
    let mut early = 0;
    for seed in 0..8 {
        let mut world = World::talk(9_100 + seed);
        let access = inspect(&world, 0).main.unwrap();
        world.send(1, "b1");
        let message = inspect(&world, 0).point.unwrap().position.next_seq;
        world.send(0, "a1");
        for _ in 0..60 {
            world.pass(SECOND / 10);
            if world.states(0) != [MessageState::Sent] {
                break;
            }
            early += usize::from(world.states(1) == [MessageState::Delivered]);
            let (_, view) = Raw::connect(&mut world).open(&mut world, &access);
            assert!(view.first_seq <= message, "seed {seed}: {view:?}");
        }
        world.pass(MINUTE);
        let (_, view) = Raw::connect(&mut world).open(&mut world, &access);
        assert!(view.first_seq > message, "seed {seed}: {view:?}");
    }
    assert!(early > 0, "in some runs Alice's receipt was the first");
}

/// Bob's device goes back to before a message that both had, and that the relay has no more; what came after it, he reads. Then he
/// restarts, before he has said what is missing.
// [SPEC 10.12]
#[test]
fn a_restart_says_the_first_gap_that_was_not_told() {
    let mut world = World::talk(9_200);
    let backup = world.parties[1].records.clone();
    world.send(0, "a1");
    world.pass(MINUTE);
    world.send(1, "b1");
    world.pass(MINUTE);
    assert_eq!(world.states(0), [MessageState::Delivered]);
    world.switch_off(1);
    world.send(0, "a2");
    world.stop_relay();
    world.restore_vault(1, backup);
    let off = Command::SetReceipts {
        name: World::peer_name(1),
        delivered: false,
        read: false,
    };
    assert_eq!(world.command(1, off), Ok(Reply::Done));
    world.start_relay();
    world.pass(MINUTE);
    assert_eq!(world.received(1), ["a2"]);
    let gap = world
        .history(1)
        .into_iter()
        .any(|line| matches!(line.body, LineBody::Notice(Notice::Gap { .. })));
    assert!(gap);
    world.lose_group(1);
    world.pass(2 * DAY);
    let mut received = world.received(1);
    received.sort();
    assert_eq!(received, ["a1", "a2"]);
}

/// Bob gives no receipts, and once something ran out on its way to him: whatever he had later is not called failed for that.
// [SPEC 9.27]
#[test]
fn what_ended_long_ago_does_not_fail_at_the_restart_of_someone_without_receipts() {
    let mut world = World::talk(9_300);
    let off = Command::SetReceipts {
        name: World::peer_name(1),
        delivered: false,
        read: false,
    };
    assert_eq!(world.command(1, off), Ok(Reply::Done));
    world.switch_off(1);
    world.send(0, "a1");
    world.pass(32 * DAY);
    world.load(1);
    world.pass(MINUTE);
    world.send(0, "a2");
    world.pass(MINUTE);
    assert_eq!(world.received(1), ["a2"]);
    world.pass(32 * DAY);
    world.lose_group(1);
    world.pass(2 * DAY);
    world.send(0, "a3");
    world.pass(MINUTE);
    assert_eq!(world.received(1), ["a2", "a3"]);
    assert_eq!(world.states(0), [MessageState::Sent; 3]);
}
