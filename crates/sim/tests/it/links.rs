//! Links: damaged, used twice, taken by a thief, and what a relay can do to them.

use emptyroom_core::account::{AccountRoot, OwnKeys};
use emptyroom_core::api::{
    Command, ContactState, Event, JoinFault, Name, RelayTrouble, Reply, Text,
};
use emptyroom_core::genesis::Genesis;
use emptyroom_core::kind;
use emptyroom_core::mls::Group;
use emptyroom_relay::store::{NewEntry, NewPlace, Place, Rules, Store as _, StoreOp};
use emptyroom_sim::dice::Dice;
use emptyroom_sim::scene::Scene;
use emptyroom_sim::trouble::{GRAVE, MILD, Trouble};
use emptyroom_sim::world::{DAY, HOUR, MINUTE};
use emptyroom_wire::entry::{self, Aad, Ttl};
use emptyroom_wire::link::InviteLink;
use emptyroom_wire::log::Flags;
use emptyroom_wire::log_keys;

fn invited(seed: u64) -> (Scene, usize) {
    let mut scene = Scene::new(seed, false);
    let host = scene.world.add_host("relay", None);
    let (a, b) = (scene.world.add_party(), scene.world.add_party());
    let talk = scene.invite(a, b, host).unwrap();
    scene.wait_open(talk);
    (scene, talk)
}

fn join_as(scene: &mut Scene, party: usize, link: &Text, name: &str) {
    let join = Command::Join {
        link: link.clone(),
        name: Name::parse(name).unwrap(),
    };
    assert_eq!(scene.ask(party, join), Some(Ok(Reply::Joining)));
}

fn join_faults(scene: &Scene, party: usize) -> Vec<JoinFault> {
    let failed = scene.events.iter().filter_map(|(who, event)| match event {
        Event::JoinFailed { why, .. } if *who == party => Some(*why),
        _ => None,
    });
    failed.collect()
}

fn well(scene: &mut Scene) {
    scene.conclude();
    assert!(scene.world.faults.is_empty(), "{:#?}", scene.world.faults);
}

#[test]
fn one_link_one_use() {
    for seed in 1..=4 {
        let (mut scene, talk) = invited(seed);
        let link = scene.talks[talk].link.clone().unwrap();
        let late = scene.world.add_party();
        scene.join(talk);
        assert!(scene.come_together(talk, DAY));
        join_as(&mut scene, late, &link, "alice");
        scene.pass(MINUTE);
        assert_eq!(join_faults(&scene, late), [JoinFault::AlreadyUsed]);
        well(&mut scene);
    }
}

/// Both take it in the same moment: one gets it, the other is told, and nobody hangs between.
#[test]
fn two_take_it_at_once() {
    for seed in 1..=12 {
        let (mut scene, talk) = invited(seed);
        let link = scene.talks[talk].link.clone().unwrap();
        let thief = scene.world.add_party();
        let join = |name: &str| Command::Join {
            link: link.clone(),
            name: Name::parse(name).unwrap(),
        };
        scene.world.command(1, join("alice"));
        scene.world.command(thief, join("alice"));
        if seed > 6 {
            scene.world.parties[1].dies_after = Some(seed);
        }
        scene.pass(HOUR);
        let states = [1, thief].map(|party| match scene.ask(party, Command::Contacts) {
            Some(Ok(Reply::Contacts(contacts))) => contacts.first().map(|contact| contact.state),
            _ => None,
        });
        let used = Some(ContactState::JoinFailed(JoinFault::AlreadyUsed));
        let fine = Some(ContactState::Active);
        assert!(
            states == [fine, used] || states == [used, fine] || states == [None, fine],
            "{states:?}"
        );
    }
}

/// The thief was first: the rightful taker notices, and the thief's number is not his.
#[test]
fn a_thief_is_noticed() {
    let (mut scene, talk) = invited(1);
    let link = scene.talks[talk].link.clone().unwrap();
    let thief = scene.world.add_party();
    join_as(&mut scene, thief, &link, "alice");
    scene.pass(MINUTE);
    scene.join(talk);
    scene.pass(MINUTE);
    assert_eq!(join_faults(&scene, 1), [JoinFault::AlreadyUsed]);
    assert_eq!(scene.contact(talk, 0).unwrap().state, ContactState::Active);
    let codes = scene.code(talk, 0);
    assert!(codes.is_some() && scene.code(talk, 1).is_none());
}

/// Any damaged character: refused or failed, never joined, and the right link still works.
#[test]
fn damaged_links() {
    let (mut scene, talk) = invited(1);
    let link = scene.talks[talk].link.clone().unwrap();
    let text = link.expose().to_owned();
    for at in (0..text.len()).step_by(5) {
        let mut damaged: Vec<char> = text.chars().collect();
        damaged[at] = if damaged[at] == 'q' { 'r' } else { 'q' };
        let damaged = Text::new(damaged.into_iter().collect());
        let name = Name::parse(&format!("friend {at}")).unwrap();
        let join = Command::Join {
            link: damaged,
            name: name.clone(),
        };
        if scene.ask(1, join) == Some(Ok(Reply::Joining)) {
            scene.pass(HOUR);
            let Some(Ok(Reply::Contacts(contacts))) = scene.ask(1, Command::Contacts) else {
                panic!("no contacts");
            };
            let found = contacts
                .iter()
                .find(|contact| contact.name == name)
                .unwrap();
            assert_ne!(found.state, ContactState::Active, "character {at}");
            scene.ask(1, Command::Forget { name });
        }
    }
    scene.join(talk);
    assert!(scene.come_together(talk, DAY));
    well(&mut scene);
}

/// The relay loses the invite's log before it is taken: the inviter makes it again.
#[test]
fn a_lost_invite_is_made_again() {
    let (mut scene, talk) = invited(1);
    let link = InviteLink::parse(scene.talks[talk].link.clone().unwrap().expose()).unwrap();
    scene.world.switch_host_off(0);
    assert!(
        scene.world.hosts[0]
            .store()
            .rows()
            .lose(&Place::of(&link.capability).key())
    );
    scene.world.start_host(0);
    scene.pass(HOUR);
    scene.join(talk);
    assert!(scene.come_together(talk, DAY));
    well(&mut scene);
}

/// A thief of the link and the relay together: log 0 made anew with a group of the thief's. The taker refuses it.
#[test]
fn a_log_made_anew_by_a_thief() {
    let (mut scene, talk) = invited(1);
    let link = InviteLink::parse(scene.talks[talk].link.clone().unwrap().expose()).unwrap();
    scene.world.switch_off(0);
    scene.world.switch_host_off(0);
    let access = log_keys::invite_taker(&link.secret, link.capability.clone());
    let mut rng = Dice::rng(1, 99);
    let root = AccountRoot::generate(&mut *rng);
    let own = OwnKeys::generate(&root, scene.world.wall().day(), &mut *rng);
    let group = Group::create(&own, &mut *rng).unwrap();
    let genesis = Genesis {
        group_info: group.group_info(&own).unwrap(),
    };
    let aad = Aad::first(access.log_id, Ttl::Day7, [1; 16]);
    let body = entry::seal(
        &access.outer,
        &aad,
        kind::GENESIS,
        &genesis.encode(),
        &mut *rng,
    )
    .unwrap();
    let place = Place::of(&access.capability);
    let rules = Rules {
        append_key: Some(access.append_key()),
        read_key: None,
        owner_key: None,
        flags: Flags::NONE,
    };
    let now = scene.world.wall();
    let store = scene.world.hosts[0].store();
    store.rows().lose(&place.key());
    let first = Some(NewEntry {
        aad,
        body: body.into(),
    });
    store
        .apply(
            now,
            vec![StoreOp::Create(NewPlace {
                place,
                rules,
                first,
            })],
        )
        .unwrap();
    scene.world.start_host(0);
    scene.join(talk);
    scene.pass(HOUR);
    assert_eq!(join_faults(&scene, 1), [JoinFault::NotAsNamed]);
    assert_eq!(scene.talks[talk].troubles[1], [RelayTrouble::ForeignEntry]);
}

/// Trouble at every step between the link and the first words: it stands or has failed, visibly, and not at one side only.
#[test]
fn people_meet_in_all_kinds_of_trouble() {
    let mix: Vec<Trouble> = GRAVE
        .iter()
        .chain(MILD)
        .copied()
        .filter(|kind| *kind != Trouble::AwayYear)
        .collect();
    let met = forty_pairs_meet(&mix);
    assert!((20..40).contains(&met), "of 40 pairs {met} met");
}

/// Nothing that was there once is lost: who was told that he had joined is seen.
#[test]
fn people_meet_in_mild_trouble() {
    let met = forty_pairs_meet(MILD);
    assert!((30..=40).contains(&met), "of 40 pairs {met} met");
}

fn forty_pairs_meet(mix: &[Trouble]) -> u64 {
    let mut met = 0;
    for seed in 1..=40 {
        let mut scene = Scene::new(seed, false);
        let host = scene.world.add_host("relay", None);
        let people = [scene.world.add_party(), scene.world.add_party()];
        let mut dice = Dice::new(seed, 3);
        met += u64::from(scene.meet_in_trouble(people, host, &mut dice, mix));
        scene.conclude();
        assert!(
            scene.world.faults.is_empty(),
            "seed {seed}: {:#?}",
            scene.world.faults
        );
    }
    met
}
