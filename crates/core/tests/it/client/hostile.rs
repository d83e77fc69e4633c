//! Members who break the rules: each is shown as what he is, and nothing panics.

use emptyroom_core::api::{Command, ContactState, Event, PeerTrouble, RelayTrouble};
use emptyroom_core::kind;
use emptyroom_relay::store::{Place, Store as _, StoreOp, StoreReply, StoredEntry};
use emptyroom_wire::entry::{self, Aad, Ttl};
use emptyroom_wire::log_keys::LogAccess;
use emptyroom_wire::op::Answer;
use emptyroom_wire::secret::Secret32;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::raw::{Raw, inspect};
use super::world::{DAY, MINUTE, SECOND, World};

/// What a party was told of the relay.
pub(super) fn troubles(world: &mut World, party: usize) -> Vec<RelayTrouble> {
    let trouble = |event| match event {
        Event::RelayTrouble { kind, .. } => Some(kind),
        _ => None,
    };
    world
        .events(party)
        .into_iter()
        .filter_map(trouble)
        .collect()
}

/// What a party was told of the other side.
fn peer_troubles(world: &mut World, party: usize) -> Vec<PeerTrouble> {
    let trouble = |event| match event {
        Event::PeerTrouble { kind, .. } => Some(kind),
        _ => None,
    };
    world
        .events(party)
        .into_iter()
        .filter_map(trouble)
        .collect()
}

/// Each hears the other.
pub(super) fn both_talk(world: &mut World, what: &str) {
    let before = [world.received(0).len(), world.received(1).len()];
    world.send(0, "still here");
    world.send(1, "me too");
    world.pass(2 * DAY);
    for (party, before) in before.into_iter().enumerate() {
        assert_eq!(
            world.received(party).len(),
            before + 1,
            "{what}: party {party}"
        );
        assert_eq!(world.contact(party).state, ContactState::Active, "{what}");
    }
}

// [SPEC 8.55]
#[test]
fn rubbish_in_a_commit_slot_is_skipped_and_reported() {
    let mut world = World::talk(40);
    let access = inspect(&world, 0).main.unwrap();
    let mut raw = Raw::connect(&mut world);
    for content in [&b""[..], b"rubbish", &[0; 3_000]] {
        let answer = raw.append(
            &mut world,
            &access,
            (kind::MLS, content),
            (true, false),
            Vec::new(),
        );
        assert!(matches!(answer, Answer::Appended(_)), "{answer:?}");
    }
    raw.append(
        &mut world,
        &access,
        (77, b"unknown kind"),
        (true, false),
        Vec::new(),
    );
    for party in 0..2 {
        assert_eq!(
            peer_troubles(&mut world, party),
            [PeerTrouble::RubbishCommit]
        );
    }
    both_talk(&mut world, "rubbish commit");
    // And the next generation comes all the same.
    world.pass(9 * DAY);
    both_talk(&mut world, "next generation");
    assert_eq!(
        inspect(&world, 0).point.unwrap().position.restart,
        0,
        "no restart was needed"
    );
}

#[test]
fn rubbish_messages_are_skipped_and_reported() {
    let mut world = World::talk(41);
    let access = inspect(&world, 0).main.unwrap();
    let mut raw = Raw::connect(&mut world);
    raw.append(
        &mut world,
        &access,
        (kind::MLS, b"rubbish"),
        (false, false),
        Vec::new(),
    );
    raw.append(
        &mut world,
        &access,
        (kind::RESTART, b"rubbish"),
        (false, false),
        Vec::new(),
    );
    for party in 0..2 {
        assert_eq!(
            peer_troubles(&mut world, party),
            [PeerTrouble::RubbishMessage]
        );
    }
    both_talk(&mut world, "rubbish message");
}

/// What stands in a log, opened.
fn contents(world: &mut World, access: &LogAccess) -> Vec<(u8, Vec<u8>)> {
    let place = Place::of(&access.capability);
    let read = StoreOp::Read {
        place,
        from: 0,
        bytes_max: usize::MAX,
    };
    let now = world.now.wall;
    let Some(StoreReply::Read(batch)) = world.store.apply(now, vec![read]).unwrap().pop() else {
        panic!("the log is not there");
    };
    let open = |stored: &StoredEntry| entry::open(&access.outer, &stored.aad, &stored.body);
    batch
        .entries
        .iter()
        .filter_map(|one| open(one).ok())
        .collect()
}

// [SPEC 10.28]
#[test]
fn what_somebody_seals_again_is_rubbish_and_no_restart() {
    let mut world = World::talk(401);
    for party in 0..2 {
        // So nothing is trimmed.
        let set = Command::SetReceipts {
            name: World::peer_name(party),
            delivered: false,
            read: false,
        };
        world.command(party, set).unwrap();
    }
    world.send(0, "of alice");
    world.send(1, "of bob");
    world.pass(MINUTE);
    let access = inspect(&world, 0).main.unwrap();
    let messages = contents(&mut world, &access);
    let messages: Vec<_> = messages
        .iter()
        .filter(|(kind, _)| *kind == kind::MLS)
        .collect();
    assert!(messages.len() >= 2);
    for party in 0..2 {
        assert_eq!(peer_troubles(&mut world, party), []);
        // Also after a start.
        world.kill(party);
    }
    world.pass(MINUTE);
    let mut raw = Raw::connect(&mut world);
    for (kind, content) in messages {
        raw.append(
            &mut world,
            &access,
            (*kind, content),
            (false, false),
            Vec::new(),
        );
    }
    world.pass(MINUTE);
    for party in 0..2 {
        assert_eq!(
            peer_troubles(&mut world, party),
            [PeerTrouble::RubbishMessage]
        );
    }
    both_talk(&mut world, "sealed again");
    assert_eq!(inspect(&world, 0).point.unwrap().position.restart, 0);
}

// [SPEC 10.4]
#[test]
fn a_log_closed_by_no_valid_commit_is_trouble() {
    let mut world = World::talk(42);
    world.send(0, "before");
    let access = inspect(&world, 0).main.unwrap();
    let mut raw = Raw::connect(&mut world);
    raw.append(
        &mut world,
        &access,
        (kind::MLS, b"rubbish"),
        (true, true),
        Vec::new(),
    );
    world.pass(MINUTE);
    both_talk(&mut world, "closed");
    assert_eq!(inspect(&world, 1).point.unwrap().position.restart, 1);
}

#[test]
fn an_entry_that_is_not_of_this_log_is_reported() {
    let mut world = World::talk(43);
    let access = inspect(&world, 0).main.unwrap();
    let mut raw = Raw::connect(&mut world);
    let (handle, view) = raw.open(&mut world, &access);
    let aad = Aad {
        log_id: access.log_id,
        expect_slots: view.slots,
        commit: false,
        close: false,
        ttl: Ttl::Day30,
        nonce: [9; 16],
        next_hash: [0; 32],
    };
    let other = emptyroom_wire::entry::OuterKey::new(Secret32::new([1; 32]));
    let body = entry::seal(
        &other,
        &aad,
        kind::MLS,
        b"x",
        &mut ChaCha20Rng::seed_from_u64(1),
    )
    .unwrap();
    raw.append_body(&mut world, &access, handle, (&aad, body), Vec::new());
    world.pass(SECOND);
    assert_eq!(troubles(&mut world, 0), [RelayTrouble::ForeignEntry]);
    both_talk(&mut world, "foreign entry");
}
