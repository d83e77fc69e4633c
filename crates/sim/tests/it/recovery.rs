//! The sequences that once broke the design, each over several seeds: the simulator reaches them, and the two go on.
//!
//! Numbers and stories are those of the bounded models that shaped the rules of restart.

use emptyroom_core::api::{MessageState, RelayTrouble};
use emptyroom_sim::insider::{MLS, Rubbish, Wanted};
use emptyroom_sim::scene::Scene;
use emptyroom_sim::world::{DAY, HOUR, MINUTE, SECOND};

const A: usize = 0;
const B: usize = 1;
const TALK: usize = 0;
const RELAY: usize = 0;

fn each_seed(story: impl Fn(&mut Scene)) {
    seeds(6, story);
}

fn seeds(count: u64, story: impl Fn(&mut Scene)) {
    for seed in 1..=count {
        let mut scene = Scene::pair(seed, std::env::var_os("TRACE").is_some());
        scene.send(TALK, A);
        scene.send(TALK, B);
        scene.pass(MINUTE);
        story(&mut scene);
        scene.conclude();
        assert!(
            scene.world.faults.is_empty(),
            "seed {seed}: {:#?}",
            scene.world.faults
        );
    }
}

fn restarts(scene: &Scene) -> u64 {
    scene.talks[TALK].restarts.iter().sum()
}

/// Lets time pass in steps of a millisecond until something holds.
fn until(scene: &mut Scene, what: impl Fn(&Scene) -> bool) {
    for _ in 0..10 * MINUTE {
        if what(scene) {
            return;
        }
        scene.pass(1);
    }
    panic!("it never comes to that");
}

#[test]
fn one_an_old_recovery_log_is_dropped() {
    each_seed(|scene| {
        let (backup, at) = (scene.vault(A), scene.world.now_ms());
        scene.lose_groups(A);
        scene.pass(2 * DAY);
        assert_eq!(scene.talks[TALK].restarts, [1, 1]);
        scene.send(TALK, B);
        scene.pass(MINUTE);
        scene.put_vault(A, backup, at);
        scene.pass(3 * DAY);
        assert_eq!(scene.talks[TALK].restarts, [2, 2]);
    });
}

#[test]
fn two_mutual_refusal() {
    each_seed(|scene| {
        scene.world.switch_off(B);
        scene.copy_everything();
        scene.lose_groups(A);
        scene.pass(10 * MINUTE);
        assert_eq!(scene.talks[TALK].restarts[A], 1);
        scene.restore_relay(RELAY, true);
        scene.pass(HOUR);
        assert_eq!(
            scene.talks[TALK].restarts[A], 2,
            "the first one is gone, so there is another"
        );
        scene.world.start_party(B);
        scene.pass(3 * DAY);
        assert_eq!(scene.talks[TALK].restarts[B], 1);
    });
}

#[test]
fn three_the_recovery_log_is_closed_or_filled() {
    each_seed(|scene| {
        let close = Rubbish {
            commit: true,
            close: true,
            kind: MLS,
            content: b"closed",
        };
        assert!(
            !scene.write_rubbish(TALK, B, Wanted::Recovery, &close),
            "no close there"
        );
        for _ in 0..70 {
            let fill = Rubbish {
                commit: true,
                close: false,
                kind: MLS,
                content: b"full",
            };
            assert!(scene.write_rubbish(TALK, B, Wanted::Recovery, &fill));
        }
        scene.lose_groups(A);
        scene.pass(3 * DAY);
        assert_eq!(scene.talks[TALK].restarts, [1, 1]);
    });
}

#[test]
fn four_the_inviter_is_restored_to_before_the_taker_came() {
    for seed in 1..=6 {
        let mut scene = Scene::new(seed, false);
        let host = scene.world.add_host("relay", None);
        let (a, b) = (scene.world.add_party(), scene.world.add_party());
        let talk = scene.invite(a, b, host).unwrap();
        scene.wait_open(talk);
        let (backup, at) = (scene.vault(a), scene.world.now_ms());
        scene.join(talk);
        assert!(scene.come_together(talk, DAY));
        scene.send(talk, a);
        scene.send(talk, b);
        scene.pass(DAY);
        scene.put_vault(a, backup, at);
        scene.pass(DAY);
        scene.conclude();
        assert!(
            scene.world.faults.is_empty(),
            "seed {seed}: {:#?}",
            scene.world.faults
        );
    }
}

#[test]
fn five_the_relay_forgets_the_join() {
    for (seed, inviter_saw_it) in (1..=6).flat_map(|seed| [(seed, true), (seed, false)]) {
        let mut scene = Scene::new(seed, false);
        let host = scene.world.add_host("relay", None);
        let (a, b) = (scene.world.add_party(), scene.world.add_party());
        let talk = scene.invite(a, b, host).unwrap();
        scene.wait_open(talk);
        scene.copy_everything();
        if !inviter_saw_it {
            scene.world.switch_off(a);
        }
        scene.join(talk);
        scene.pass(MINUTE);
        scene.send(talk, b);
        scene.pass(MINUTE);
        scene.restore_relay(host, true);
        scene.pass(HOUR);
        scene.conclude();
        assert!(
            scene.world.faults.is_empty(),
            "seed {seed}, {inviter_saw_it}: {:#?}",
            scene.world.faults
        );
    }
}

#[test]
fn six_acknowledged_but_forgotten() {
    each_seed(|scene| {
        let (backup, at) = (scene.vault(B), scene.world.now_ms());
        let message = scene.send(TALK, A).unwrap();
        until(scene, |scene| {
            scene.messages[message].state == MessageState::Delivered
        });
        scene.put_vault(B, backup, at);
        scene.pass(3 * DAY);
        let text = scene.messages[message].text.clone();
        let received = scene.received(TALK, B);
        assert_eq!(received.iter().filter(|other| **other == text).count(), 1);
    });
}

#[test]
fn seven_an_invisible_rewind() {
    each_seed(|scene| {
        // Both used the generation for a week: the next message begins another one.
        scene.pass(8 * DAY);
        scene.copy_everything();
        // The commit is taken, B follows, A never hears of it.
        scene.world.deafen(A);
        scene.send(TALK, A);
        scene.pass(5 * SECOND);
        let generations =
            [A, B].map(|side| scene.code(TALK, side).unwrap().position.position.generation);
        assert_eq!(generations, [1, 2]);
        scene.restore_relay(RELAY, true);
        scene.pass(HOUR);
        scene.send(TALK, A);
        scene.send(TALK, B);
        scene.pass(HOUR);
    });
}

#[test]
fn eight_a_commit_is_merged_where_it_stands() {
    for pause in 0..12 {
        seeds(2, |scene| {
            scene.pass(8 * DAY);
            scene.send(TALK, B);
            scene.pass(15 * pause);
            scene.send(TALK, A);
            scene.send(TALK, B);
            scene.pass(MINUTE);
            assert_eq!(restarts(scene), 0);
        });
    }
}

#[test]
fn nine_a_restart_that_cannot_be_joined() {
    each_seed(|scene| {
        scene.world.switch_off(B);
        scene.lose_groups(A);
        scene.pass(MINUTE);
        let (backup, at) = (scene.vault(B), scene.world.now_ms());
        scene.world.start_party(B);
        scene.pass(3 * DAY);
        assert_eq!(scene.talks[TALK].restarts, [1, 1]);
        scene.put_vault(B, backup, at);
        scene.pass(3 * DAY);
        assert_eq!(scene.talks[TALK].restarts[A], 2);
    });
}

#[test]
fn ten_a_superseded_restart() {
    for pause in 0..6 {
        seeds(2, |scene| {
            scene.world.switch_off(B);
            scene.lose_groups(A);
            scene.pass(MINUTE);
            scene.world.start_party(B);
            // B looks, sees the first, and A makes the second meanwhile.
            scene.pass(100 * pause);
            scene.lose_groups(A);
            scene.pass(3 * DAY);
        });
    }
}

#[test]
fn ten_an_old_restart_is_repeated_by_its_nonce() {
    for outputs in 0..12 {
        seeds(2, |scene| {
            scene.world.switch_off(B);
            scene.world.switch_off(A);
            scene.world.parties[A].disk.vault.lose_groups();
            scene.world.start_party(A);
            scene.world.parties[A].dies_after = Some(outputs);
            scene.pass(10 * SECOND);
            let (backup, at) = (scene.vault(A), scene.world.now_ms());
            scene.pass(10 * MINUTE);
            scene.lose_groups(A);
            scene.pass(10 * MINUTE);
            scene.put_vault(A, backup, at);
            scene.world.start_party(B);
            scene.pass(3 * DAY);
        });
    }
}

#[test]
fn eleven_acknowledged_but_not_read_back() {
    each_seed(|scene| {
        scene.copy_everything();
        let sent = [A, B].map(|side| scene.send(TALK, side).unwrap());
        for (side, message) in [A, B].into_iter().zip(sent) {
            until(scene, |scene| {
                scene.messages[message].state != MessageState::Queued
            });
            scene.world.cut_off(side, false, false);
        }
        scene.restore_relay(RELAY, true);
        scene.pass(3 * DAY);
        let told =
            |side: usize| scene.talks[TALK].troubles[side].contains(&RelayTrouble::RolledBack);
        assert!(told(A) || told(B));
        assert!(restarts(scene) > 0);
    });
}

#[test]
fn twelve_one_transaction_for_step_and_text() {
    for outputs in 0..25 {
        seeds(1, |scene| {
            scene.world.parties[B].dies_after = Some(outputs);
            for _ in 0..3 {
                scene.send(TALK, A);
            }
            scene.pass(MINUTE);
            assert_eq!(restarts(scene), 0, "nothing was unreadable");
        });
    }
}
