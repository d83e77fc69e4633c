//! Random runs.

use emptyroom_core::api::Burn;
use emptyroom_sim::run::{self, Grave};
use emptyroom_sim::scene::Scene;
use emptyroom_sim::world::{HOUR, MINUTE};

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in [1, 2] {
        let (one, other) = (run::run(seed, false), run::run(seed, false));
        assert_eq!(one.trace_lines, other.trace_lines, "seed {seed}");
        assert_eq!(one.trace_hash, other.trace_hash, "seed {seed}");
    }
}

#[test]
fn a_few_dozen_seeds() {
    for seed in 10_000..10_030 {
        let outcome = run::run(seed, false);
        assert!(
            outcome.faults.is_empty(),
            "seed {seed}: {:#?}",
            outcome.faults
        );
    }
}

#[test]
fn a_few_seeds_with_everything() {
    for seed in 20_000..20_020 {
        let outcome = run::run_with(seed, false, Grave::All);
        assert!(
            outcome.faults.is_empty(),
            "seed {seed}: {:#?}",
            outcome.faults
        );
    }
}

/// What the simulator claims to check, it checks: a world that is fine but for one thing.
fn notices(what: &str, spoil: impl Fn(&mut Scene)) {
    let mut scene = Scene::pair(1, false);
    for _ in 0..3 {
        scene.send(0, 0);
    }
    scene.pass(MINUTE);
    spoil(&mut scene);
    scene.conclude();
    let found = scene.world.faults.iter().any(|fault| fault.contains(what));
    assert!(found, "{what}: {:?}", scene.world.faults);
}

#[test]
fn faults_are_noticed() {
    notices("is lost", |scene| scene.messages[1].text.push('!'));
    notices("announced", |scene| scene.messages[1].shown = 2);
    notices("out of order", |scene| scene.messages.swap(0, 2));
    notices("still readable", |scene| {
        scene.messages[1].burn = Burn::OnRead
    });
    notices("does not come to rest", |scene| {
        let name = scene.talks[0].name.clone();
        scene.tell(0, 1, |_| emptyroom_core::api::Command::Forget { name });
    });
    notices("stores plaintext", |scene| {
        scene.world.hosts[0]
            .store()
            .rows()
            .scribble(b"for the record: only for friends, they said");
    });
    notices("storm", |scene| {
        for _ in 0..9_000 {
            scene.world.command(0, emptyroom_core::api::Command::Status);
        }
        scene.pass(HOUR);
    });
}
