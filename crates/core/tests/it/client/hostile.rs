//! Members and relays that break the rules: each is shown as what it is, and nothing panics.

use emptyroom_core::api::{
    Command, ContactState, Event, Input, LinkId, PeerTrouble, Refused, RelayTrouble, RestartReason,
    Ticket,
};
use emptyroom_core::kind;
use emptyroom_relay::store::{Place, Store as _, StoreOp, StoreReply, StoredEntry};
use emptyroom_wire::entry::{self, Aad, RunningHash, Ttl};
use emptyroom_wire::log_keys::LogAccess;
use emptyroom_wire::op::Answer;
use emptyroom_wire::rng::CryptoRng;
use emptyroom_wire::secret::Secret32;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::raw::{Raw, inspect};
use super::world::{DAY, MINUTE, SECOND, World};

fn troubles(world: &mut World, party: usize) -> Vec<RelayTrouble> {
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

fn both_talk(world: &mut World, what: &str) {
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

#[test]
fn a_relay_that_answers_unknown_for_everything_costs_a_restart_only() {
    let (world, told) = lying(54, |reply| {
        let refusal = emptyroom_wire::op::Refusal::now(emptyroom_wire::op::RefusalCode::Unknown);
        *reply = StoreReply::Refused(refusal);
    });
    assert!(told.contains(&RelayTrouble::LogLost), "{told:?}");
    then_honest(world, "unknown");
}

// [SPEC 8.58]
#[test]
fn nothing_of_a_blocked_contact_is_read_or_sent() {
    let mut world = World::talk(55);
    let block = |on| Command::Block {
        name: World::peer_name(0),
        on,
    };
    world.command(0, block(true)).unwrap();
    world.send(1, "can you hear me");
    world.pass(DAY);
    assert_eq!(world.received(0).len(), 0);
    let id = world.start_send(0, "x", None);
    world.run();
    assert_eq!(world.reply(0, id), Some(Err(Refused::Blocked)));
    assert_eq!(
        world.states(1),
        [emptyroom_core::api::MessageState::Sent],
        "the peer is not told"
    );
    world.command(0, block(false)).unwrap();
    world.pass(MINUTE);
    assert_eq!(world.received(0), ["can you hear me"]);
}

// [SPEC 10.14]
#[test]
fn more_than_ten_restarts_in_a_day_wait_for_the_user() {
    let mut world = World::talk(56);
    for n in 0..10 {
        world.lose_group(0);
        world.pass(30 * MINUTE);
        assert_eq!(world.contact(0).state, ContactState::Active, "{n}");
    }
    assert_eq!(world.contact(0).state, ContactState::Active);
    world.lose_group(0);
    world.pass(30 * MINUTE);
    world.send(0, "waits");
    assert_eq!(world.contact(0).state, ContactState::RestartWaits);
    let waits = |event: &Event| {
        matches!(
            event,
            Event::RestartWaits {
                reason: RestartReason::StateLost,
                ..
            }
        )
    };
    assert_eq!(
        world.events(0).iter().filter(|event| waits(event)).count(),
        1
    );
    let allow = Command::AllowRestart {
        name: World::peer_name(0),
    };
    world.command(0, allow).unwrap();
    let allow = Command::AllowRestart {
        name: World::peer_name(1),
    };
    world.pass(MINUTE);
    // The other side has followed ten of them and must be asked, too.
    let _may_be_refused = world.command(1, allow);
    world.pass(2 * DAY);
    assert_eq!(world.contact(0).state, ContactState::Active);
    assert_eq!(world.received(1), ["waits"]);
}
