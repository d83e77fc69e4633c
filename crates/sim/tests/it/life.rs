//! How long things live: timers, expiry, absence, blocking, forgetting.

use emptyroom_core::api::{
    Burn, Command, Event, FailedWhy, LineBody, MessageState, Notice, RelayLife, Reply, Side,
};
use emptyroom_core::verification::Code;
use emptyroom_sim::scene::Scene;
use emptyroom_sim::world::{DAY, HOUR, MINUTE, SECOND};

const A: usize = 0;
const B: usize = 1;
const TALK: usize = 0;

fn well(scene: &mut Scene) {
    scene.conclude();
    assert!(scene.world.faults.is_empty(), "{:#?}", scene.world.faults);
}

fn holds(scene: &Scene, party: usize, message: usize) -> bool {
    scene
        .vault(party)
        .holds(scene.messages[message].text.as_bytes())
}

#[test]
fn a_timer_for_all() {
    let mut scene = Scene::pair(1, false);
    let burn = Burn::after_ms(30 * SECOND).unwrap();
    scene.tell(TALK, A, |name| Command::SetTimer { name, burn });
    scene.pass(MINUTE);
    let changed = |(party, event): &(usize, Event)| {
        *party == B && matches!(event, Event::TimerChanged { by: Side::Peer, .. })
    };
    assert!(scene.events.iter().any(changed), "the other side sees it");
    let message = scene.send_with(TALK, B, None, RelayLife::Day30).unwrap();
    scene.messages[message].burn = burn;
    scene.pass(10 * SECOND);
    assert!(holds(&scene, A, message) && holds(&scene, B, message));
    scene.pass(30 * SECOND);
    assert!(holds(&scene, A, message), "nobody read it yet");
    assert!(
        !holds(&scene, B, message),
        "the sender's timer starts with sending"
    );
    scene.read_all(TALK, A);
    scene.pass(31 * SECOND);
    assert!(!holds(&scene, A, message));
    well(&mut scene);
}

#[test]
fn a_clock_put_back_prolongs_no_timer() {
    let mut scene = Scene::pair(1, false);
    let burn = Some(Burn::after_ms(HOUR).unwrap());
    let message = scene.send_with(TALK, A, burn, RelayLife::Day30).unwrap();
    scene.pass(MINUTE);
    scene.read_all(TALK, B);
    scene.shift_clock(B, DAY, false);
    scene.pass(30 * MINUTE);
    scene.world.end_party(B);
    scene.pass(40 * MINUTE);
    assert!(!holds(&scene, A, message) && !holds(&scene, B, message));
    well(&mut scene);
}

#[test]
fn burnt_when_read() {
    let mut scene = Scene::pair(1, false);
    let message = scene
        .send_with(TALK, A, Some(Burn::OnRead), RelayLife::Day30)
        .unwrap();
    scene.pass(MINUTE);
    assert!(holds(&scene, B, message));
    scene.read_all(TALK, B);
    scene.pass(MINUTE);
    assert!(!holds(&scene, B, message) && !holds(&scene, A, message));
    well(&mut scene);
}

#[test]
fn what_ran_out_is_shown() {
    for (life, away) in [
        (RelayLife::Day1, 3 * DAY),
        (RelayLife::Day7, 10 * DAY),
        (RelayLife::Day30, 40 * DAY),
    ] {
        let mut scene = Scene::pair(1, false);
        scene.pass(HOUR);
        scene.world.switch_off(B);
        let message = scene.send_with(TALK, A, Some(Burn::Never), life).unwrap();
        scene.pass(away);
        scene.world.start_party(B);
        scene.pass(HOUR);
        let after = scene.send(TALK, A).unwrap();
        scene.pass(HOUR);
        assert_eq!(
            scene.messages[message].state,
            MessageState::Failed(FailedWhy::RanOut),
            "{life:?}"
        );
        assert_eq!(scene.messages[after].shown, 1);
        let gap = scene
            .history(TALK, B)
            .unwrap()
            .into_iter()
            .any(|line| matches!(line.body, LineBody::Notice(Notice::Gap { .. })));
        assert!(gap, "{life:?}");
        well(&mut scene);
    }
}

#[test]
fn a_year_without_anybody() {
    let mut scene = Scene::pair(1, false);
    scene.pass(HOUR);
    for party in [A, B] {
        scene.world.switch_off(party);
    }
    scene.pass(365 * DAY);
    for party in [A, B] {
        scene.world.start_party(party);
    }
    scene.pass(3 * DAY);
    assert_eq!(
        scene.talks[TALK].restarts,
        [1, 1],
        "the log is gone, the recovery log is not"
    );
    well(&mut scene);
}

#[test]
fn who_is_blocked_is_not_told() {
    let mut scene = Scene::pair(1, false);
    scene.pass(HOUR);
    scene.block(TALK, B, true);
    let message = scene.send(TALK, A).unwrap();
    scene.pass(DAY);
    assert_eq!(scene.messages[message].state, MessageState::Sent);
    assert_eq!(scene.messages[message].shown, 0);
    scene.block(TALK, B, false);
    scene.pass(HOUR);
    assert_eq!(scene.messages[message].shown, 1);
    assert_eq!(scene.messages[message].state, MessageState::Delivered);
    well(&mut scene);
}

#[test]
fn what_is_forgotten_is_gone() {
    let mut scene = Scene::pair(1, false);
    let sent = [A, B].map(|side| scene.send(TALK, side).unwrap());
    scene.pass(MINUTE);
    assert!(sent.iter().all(|message| holds(&scene, B, *message)));
    let forgotten = scene.tell(TALK, B, |name| Command::Forget { name });
    assert_eq!(forgotten, Some(Ok(Reply::Done)));
    scene.pass(MINUTE);
    assert!(sent.iter().all(|message| !holds(&scene, B, *message)));
    assert_eq!(scene.vault(B).parts(b'h').count(), 0);
    scene.world.end_party(B);
    scene.pass(DAY);
    assert!(scene.world.faults.is_empty(), "{:#?}", scene.world.faults);
}

/// A generation ends after a thousand entries (each message has its receipt); nobody notices.
#[test]
fn a_thousand_entries() {
    let mut scene = Scene::pair(1, false);
    for round in 0..600 {
        scene.send(TALK, if round % 3 == 0 { A } else { B });
        scene.pass(20 * SECOND);
    }
    scene.pass(MINUTE);
    let generation = |code: Code| code.position.position.generation;
    let generations = [A, B].map(|side| scene.code(TALK, side).map(generation));
    assert_eq!(generations, [Some(2); 2]);
    assert_eq!(scene.talks[TALK].restarts, [0, 0]);
    assert!(scene.messages.iter().all(|message| message.shown == 1));
    well(&mut scene);
}

/// Whoever deletes a line has it no more; the other side keeps his, and what was under way arrives.
#[test]
fn one_side_deletes() {
    let mut scene = Scene::pair(1, false);
    let sent = [A, B].map(|side| scene.send(TALK, side).unwrap());
    scene.pass(MINUTE);
    scene.world.switch_off(B);
    let under_way = scene.send(TALK, A).unwrap();
    scene.pass(MINUTE);
    while scene.history(TALK, A).unwrap().len() > 1 {
        scene.delete(TALK, A, |lines| lines - 1);
    }
    scene.delete(TALK, A, |_| 0);
    scene.world.start_party(B);
    scene.pass(MINUTE);
    for message in [sent[0], sent[1], under_way] {
        assert!(!holds(&scene, A, message) && holds(&scene, B, message));
    }
    well(&mut scene);
}
