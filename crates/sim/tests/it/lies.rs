//! Relays that lie, each shown to the user as what it does; and once they stop, everybody goes on.

use emptyroom_core::api::{Event, LineBody, Notice, RelayTrouble};
use emptyroom_sim::lies::{LIES, Lie};
use emptyroom_sim::scene::Scene;
use emptyroom_sim::world::{DAY, HOUR, MINUTE, SECOND};

const A: usize = 0;
const B: usize = 1;
const TALK: usize = 0;
const RELAY: usize = 0;

fn troubles(scene: &Scene, party: usize) -> Vec<RelayTrouble> {
    let told = scene.events.iter().filter_map(|(who, event)| match event {
        Event::RelayTrouble { kind, .. } if *who == party => Some(*kind),
        _ => None,
    });
    told.collect()
}

fn conclude(scene: &mut Scene, what: &str) {
    scene.conclude();
    assert!(
        scene.world.faults.is_empty(),
        "{what}: {:#?}",
        scene.world.faults
    );
}

/// What each lie may look like to whoever it is told to.
fn looks_like(lie: Lie) -> &'static [RelayTrouble] {
    use RelayTrouble::*;
    match lie {
        Lie::AnotherLogsEntry => &[ForeignEntry, TwoHistories, WrongSequence],
        Lie::Replay => &[WrongSequence],
        Lie::Drop => &[Withheld, TwoHistories, WrongSequence],
        Lie::Withhold => &[Withheld],
        Lie::WrongSequence => &[WrongSequence, TwoHistories, Withheld],
        Lie::WrongHash => &[TwoHistories],
        Lie::DenyLogs => &[LogLost],
        Lie::Damage => &[ForeignEntry, TwoHistories],
        Lie::FalseStale | Lie::StaleAhead | Lie::FalseClosed => &[WrongAnswer],
        // The messages have failed, and say so.
        Lie::FalseRefusal => &[],
        Lie::FalseRestart => &[WrongSequence, TwoHistories],
        Lie::Twice => &[WrongSequence],
        Lie::SecondOfTwo => &[WrongSequence, TwoHistories],
        Lie::RubbishFirst => &[ForeignEntry],
    }
}

#[test]
fn every_lie_shows() {
    for lie in LIES {
        for seed in 1..=4 {
            let mut scene = Scene::pair(seed, false);
            // A second conversation gives the liar entries of another log.
            let c = scene.world.add_party();
            scene.meet(A, c, RELAY);
            for talk in [TALK, 1] {
                scene.send(talk, 0);
                scene.send(talk, 1);
            }
            scene.pass(MINUTE);
            scene.world.switch_off(B);
            scene.world.hosts[RELAY].lie = Some(*lie);
            for _ in 0..4 {
                scene.send(TALK, A);
                scene.pass(SECOND);
            }
            if *lie == Lie::FalseRestart {
                scene.lose_groups(A);
            }
            scene.world.start_party(B);
            scene.pass(10 * MINUTE);
            assert!(
                scene.world.hosts[RELAY].lies_told.contains(lie),
                "{lie:?}, seed {seed}: nothing was told"
            );
            let told = [troubles(&scene, A), troubles(&scene, B)].concat();
            let shows = looks_like(*lie);
            assert!(
                shows.is_empty() || told.iter().any(|kind| shows.contains(kind)),
                "{lie:?}, seed {seed}: {told:?}"
            );
            conclude(&mut scene, &format!("{lie:?}, seed {seed}"));
        }
    }
}

/// What the relay stored twice is its own doing: nobody's device was restored, and nobody sent rubbish.
// [SPEC 10.28]
#[test]
fn what_a_relay_repeats_accuses_nobody_else() {
    for seed in 1..=4 {
        let mut scene = Scene::pair(seed, false);
        scene.send(TALK, A);
        scene.send(TALK, B);
        scene.pass(MINUTE);
        scene.world.hosts[RELAY].lie = Some(Lie::Twice);
        for _ in 0..3 {
            scene.send(TALK, A);
            scene.send(TALK, B);
            scene.pass(MINUTE);
            // Each reads its own entries again, from the relay's store.
            scene.world.lose_all();
            scene.pass(MINUTE);
        }
        assert!(scene.world.hosts[RELAY].lies_told.contains(&Lie::Twice));
        for party in [A, B] {
            assert!(troubles(&scene, party).contains(&RelayTrouble::WrongSequence));
        }
        let accused = scene.events.iter().find(|(_, event)| match event {
            Event::PeerTrouble { .. } => true,
            Event::Noticed { line, .. } => {
                matches!(line.body, LineBody::Notice(Notice::Restarted { .. }))
            }
            _ => false,
        });
        assert_eq!(accused, None);
        conclude(&mut scene, &format!("seed {seed}"));
    }
}

/// One relay with two faces: each side talks to its own copy, until they meet again.
#[test]
fn two_histories() {
    for seed in 1..=4 {
        let mut scene = Scene::pair(seed, false);
        scene.send(TALK, A);
        scene.send(TALK, B);
        scene.pass(MINUTE);
        scene.two_faces(RELAY, B, |scene| {
            scene.pass(5 * MINUTE);
            scene.send(TALK, A);
            scene.send(TALK, B);
            scene.pass(2 * HOUR);
            let unseen = scene.messages.iter().filter(|message| message.shown == 0);
            assert_eq!(unseen.count(), 2);
        });
        scene.world.lose_all();
        scene.pass(HOUR);
        let told = troubles(&scene, B);
        assert!(
            told.contains(&RelayTrouble::TwoHistories) || told.contains(&RelayTrouble::RolledBack),
            "{told:?}"
        );
        assert!(
            told.contains(&RelayTrouble::KeyChain),
            "its keys fork as well: {told:?}"
        );
        scene.pass(DAY);
        conclude(&mut scene, &format!("seed {seed}"));
    }
}

/// The twins agree on every log, and only their keys differ: messages carry what each side saw of them.
#[test]
fn a_fork_of_the_key_chain() {
    let mut scene = Scene::pair(1, false);
    let image = scene.world.hosts[RELAY].image();
    scene.pass(2 * HOUR);
    // The clients see keys that the image does not know.
    scene.world.lose_all();
    scene.pass(10 * MINUTE);
    scene.world.restore_host(RELAY, image, true);
    scene.pass(HOUR);
    let told = [troubles(&scene, A), troubles(&scene, B)].concat();
    assert!(told.contains(&RelayTrouble::KeyChain), "{told:?}");
    conclude(&mut scene, "keys forked");
}

/// Another relay behind the name: nobody talks to it.
#[test]
fn another_relay_under_the_name() {
    let mut scene = Scene::pair(1, false);
    let other = scene.world.add_host("elsewhere", None);
    scene.world.net.routes.insert((B, RELAY), other);
    scene.world.lose(B);
    scene.pass(HOUR);
    assert!(troubles(&scene, B).contains(&RelayTrouble::WrongIdentity));
    scene.world.net.routes.clear();
    conclude(&mut scene, "the right one is back");
}
