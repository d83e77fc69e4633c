//! What the simulator claims to check, it checks: worlds that are fine but for one thing.

use emptyroom_core::api::{Burn, Command};
use emptyroom_sim::records::Vault;
use emptyroom_sim::scene::Scene;
use emptyroom_sim::world::{HOUR, MINUTE, SECOND};

const A: usize = 0;
const B: usize = 1;
const TALK: usize = 0;
const RELAY: usize = 0;
/// The letter in the keys of lines.
const LINES: u8 = b'l';

/// Two who talked, then one thing that is wrong, and the faults that must be found.
fn notices(expected: &[&str], spoil: impl FnOnce(&mut Scene)) {
    let mut scene = Scene::pair(1, false);
    for _ in 0..3 {
        scene.send(TALK, A);
    }
    scene.pass(MINUTE);
    spoil(&mut scene);
    scene.conclude();
    let found = &scene.world.faults;
    for what in expected {
        let is_there = found.iter().any(|fault| fault.contains(what));
        assert!(is_there, "{what}: {found:?}");
    }
}

/// Changes the vault of B behind its client's back.
fn spoil_vault(scene: &mut Scene, with: impl FnOnce(&mut Vault)) {
    scene.world.switch_off(B);
    with(&mut scene.world.parties[B].disk.vault);
    scene.world.start_party(B);
}

/// Keys and values of the messages in a vault.
fn lines(vault: &Vault) -> Vec<(Vec<u8>, Vec<u8>)> {
    let all = vault.parts(LINES);
    let texts = all.filter(|(_, value)| emptyroom_sim::records::contains(value, b": message "));
    texts.map(|(k, v)| (k.to_vec(), v.to_vec())).collect()
}

#[test]
fn nothing_wrong_nothing_found() {
    let mut scene = Scene::pair(1, false);
    scene.send(TALK, A);
    scene.conclude();
    assert!(scene.world.faults.is_empty(), "{:?}", scene.world.faults);
}

#[test]
fn wrong_histories_are_noticed() {
    notices(&["message 1 is lost", "message 0 stands twice"], |scene| {
        spoil_vault(scene, |vault| {
            let found = lines(vault);
            vault.put(&found[1].0, &found[0].1);
        });
    });
    notices(&["message 2 is out of order"], |scene| {
        spoil_vault(scene, |vault| {
            let found = lines(vault);
            vault.put(&found[1].0, &found[2].1);
            vault.put(&found[2].0, &found[1].1);
        });
    });
    notices(&["message 1 was announced 2 times"], |scene| {
        scene.messages[1].shown = 2;
    });
    notices(&["shows what nobody wrote"], |scene| {
        let message = scene.send(TALK, A).unwrap();
        scene.messages[message].text.push('!');
    });
    notices(&["still readable at side 1"], |scene| {
        scene.read_all(TALK, B);
        scene.messages[1].burn = Burn::OnRead;
    });
}

#[test]
fn two_who_do_not_meet_are_noticed() {
    notices(&["does not come to rest"], |scene| {
        scene.tell(TALK, B, |name| Command::Forget { name });
    });
    notices(
        &["the last one, does not arrive", "is at two places"],
        |scene| {
            let other = scene.world.add_host("elsewhere", None);
            scene.world.net.routes.insert((B, RELAY), other);
            scene.world.lose(B);
        },
    );
    notices(&["differs at the same place"], |scene| {
        scene.two_faces(RELAY, B, |scene| {
            scene.pass(MINUTE);
            scene.send(TALK, A);
            scene.send(TALK, B);
            scene.pass(SECOND);
            scene.check_position(TALK);
        });
    });
}

#[test]
fn plaintext_is_noticed() {
    const TEXT: &[u8] = b"for the record: only for friends, they said";
    notices(&["stores plaintext"], |scene| {
        scene.world.hosts[RELAY].store().rows().scribble(TEXT);
    });
    notices(&["on the wire"], |scene| scene.world.look_at(TEXT));
}

#[test]
fn a_storm_is_noticed() {
    notices(&["p0 makes a storm"], |scene| {
        for _ in 0..9_000 {
            scene.world.command(A, Command::Status);
        }
        scene.pass(HOUR);
    });
}
