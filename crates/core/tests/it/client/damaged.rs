//! One conversation whose records cannot be read keeps nobody from the others.

use emptyroom_core::Client;
use emptyroom_core::api::{
    Burn, Command, Contact, ContactState, Damage, LineId, Refused, RelayLife, Reply, Settings,
    Status, Text,
};
use emptyroom_wire::op::RefusalCode;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::forgotten::refusal;
use super::world::{DAY, HOUR, MINUTE, SECOND, World, name};

/// Of Alice's conversation with Bob, her first: its state, its keys, its group.
const HEAD: &[u8] = b"c\0\0\0\x01h";
const KEYS: &[u8] = b"c\0\0\0\x01k";
const GROUP: &[u8] = b"c\0\0\0\x01m";
const ORIGIN: &[u8] = b"c\0\0\0\x01o";
const STAGE: &[u8] = b"c\0\0\0\x01s";
const ALL: &[u8] = b"c\0\0\0\x01";
const LINES: &[u8] = b"c\0\0\0\x01l";

/// Alice (0) talks with Bob (1) and with Carol (2).
fn three(seed: u64) -> World {
    let mut world = World::talk(seed);
    world.add_party();
    let link = world.invite(0, "carol");
    world.join(2, &link, "alice");
    world.pass(10 * SECOND);
    world
}

fn contacts(world: &mut World) -> Vec<Contact> {
    match world.command(0, Command::Contacts) {
        Ok(Reply::Contacts(contacts)) => contacts,
        other => panic!("no contacts: {other:?}"),
    }
}

fn status(world: &mut World, party: usize) -> Status {
    match world.command(party, Command::Status) {
        Ok(Reply::Status(status)) => status,
        other => panic!("no status: {other:?}"),
    }
}

fn send(to: &str) -> Command {
    Command::Send {
        to: name(to),
        text: "hello".into(),
        burn: None,
        life: RelayLife::default(),
    }
}

/// Everything that Alice has of the conversation with Bob.
fn records(world: &World) -> Vec<(Vec<u8>, Vec<u8>)> {
    let all = world.parties[0].records.0.iter();
    let of_bob = all.filter(|(key, _)| key.starts_with(ALL));
    of_bob
        .map(|(key, value)| (key.clone(), value.to_vec()))
        .collect()
}

/// Alice's device starts with this record, or without one.
fn start_with(world: &mut World, key: &[u8], value: Option<Vec<u8>>) {
    world.switch_off(0);
    let records = &mut world.parties[0].records.0;
    match value {
        Some(value) => records.insert(key.to_vec(), value.into()),
        None => records.remove(key),
    };
    world.load(0);
    world.run();
}

fn record(world: &World, key: &[u8]) -> Vec<u8> {
    world.parties[0].records.0[key].to_vec()
}

/// Bob's conversation is shown as damaged, and Carol's works.
fn only_bob_is_damaged(world: &mut World, bob: &str, why: Damage) {
    let before = records(world);
    let shown = contacts(world);
    let state = |who: &str| {
        let found = shown.iter().find(|contact| contact.name == name(who));
        found.unwrap_or_else(|| panic!("no {who}: {shown:?}")).state
    };
    assert_eq!(state(bob), ContactState::Damaged(why));
    assert_eq!(state("carol"), ContactState::Active);
    assert_eq!(shown.len(), 2);
    let told = status(world, 0);
    assert_eq!(told.damaged, [(name(bob), why)]);
    assert_eq!(told.conversations, 2);
    world.command(0, send("carol")).unwrap();
    world.pass(MINUTE);
    assert_eq!(world.received(2).last().unwrap(), "hello");
    for command in [
        send(bob),
        Command::Rename {
            from: name(bob),
            to: name("robert"),
        },
        Command::Fingerprint { name: name(bob) },
        Command::History {
            name: name(bob),
            before: None,
            limit: 9,
        },
    ] {
        assert_eq!(world.command(0, command), Err(Refused::Damaged(why)));
    }
    let invite = Command::Invite {
        name: name(bob),
        expires_in_ms: None,
    };
    assert_eq!(world.command(0, invite), Err(Refused::NameTaken));
    // Bob's own device goes on; nothing of it comes here.
    world.send(1, "are you there?");
    world.pass(2 * DAY);
    assert_eq!(records(world), before);
}

// [SPEC 8.67]
#[test]
fn a_damaged_conversation_keeps_nobody_from_the_others() {
    let whole = three(9_500);
    let mut newer = record(&whole, HEAD);
    newer[..2].copy_from_slice(&2_u16.to_be_bytes());
    let mut flipped = record(&whole, HEAD);
    // Past version and name (2 + 4 + 3), the relay's identity (32) and four flags there is the timer, of eight bytes.
    flipped[2 + 4 + 3 + 32 + 4] ^= 0x40;
    let mut nameless = record(&whole, HEAD);
    nameless[2] ^= 0x80;
    let cut = record(&whole, HEAD)[..60].to_vec();
    let cut_keys = record(&whole, KEYS)[..60].to_vec();
    let mut newer_group = record(&whole, GROUP);
    newer_group[..2].copy_from_slice(&2_u16.to_be_bytes());
    for (key, value, bob, why) in [
        (HEAD, Some(flipped), "bob", Damage::Unreadable),
        (HEAD, Some(nameless), "damaged-1", Damage::Unreadable),
        (HEAD, Some(cut), "bob", Damage::Unreadable),
        (HEAD, Some(Vec::new()), "damaged-1", Damage::Unreadable),
        (HEAD, None, "damaged-1", Damage::Unreadable),
        (HEAD, Some(newer), "bob", Damage::NewerVersion),
        (KEYS, Some(cut_keys), "bob", Damage::Unreadable),
        (KEYS, None, "bob", Damage::Unreadable),
        (GROUP, Some(newer_group), "bob", Damage::NewerVersion),
        (ORIGIN, Some(vec![0, 1, 9]), "bob", Damage::Unreadable),
        (STAGE, Some(vec![0, 2, 9]), "bob", Damage::NewerVersion),
    ] {
        let mut world = three(9_500);
        start_with(&mut world, key, value);
        only_bob_is_damaged(&mut world, bob, why);
        world.kill(0);
        only_bob_is_damaged(&mut world, bob, why);
    }
}

/// Whichever byte is another: what is read is whole, or damaged, and the vault opens.
// [SPEC 8.67]
#[test]
fn no_byte_of_a_conversations_state_keeps_the_vault_closed() {
    let world = three(9_510);
    let head = record(&world, HEAD);
    let mut damaged = 0;
    for at in 0..head.len() {
        for bad in [
            [&head[..at], &[head[at] ^ 0x81], &head[at + 1..]].concat(),
            head[..at].to_vec(),
        ] {
            let is_cut = bad.len() < head.len();
            let mut records = world.parties[0].records.clone();
            records.0.insert(HEAD.to_vec(), bad.into());
            let rng = Box::new(ChaCha20Rng::seed_from_u64(1));
            let loaded = Client::load(world.now, rng, &records, Settings::default());
            let mut world = three_with(loaded.unwrap(), &world);
            let is_damaged = !status(&mut world, 0).damaged.is_empty();
            assert!(is_damaged || !is_cut, "cut at {at}");
            damaged += usize::from(is_damaged && !is_cut);
        }
    }
    assert!(damaged > 10);
}

/// A world of its own for a client that was loaded elsewhere, without relay.
fn three_with(client: Client, from: &World) -> World {
    let mut world = World::new(1);
    world.now = from.now;
    world.cut = true;
    world.parties[0].client = Some(client);
    world
}

// [SPEC 8.67]
#[test]
fn a_damaged_conversation_is_forgotten_and_met_again() {
    let mut world = three(9_520);
    start_with(&mut world, HEAD, Some(vec![7; 100]));
    let forget = Command::Forget {
        name: name("damaged-1"),
    };
    assert_eq!(world.command(0, forget), Ok(Reply::Done));
    assert!(records(&world).is_empty());
    assert!(status(&mut world, 0).damaged.is_empty());
    world.add_party();
    let link = world.invite(0, "bob");
    world.join(3, &link, "alice");
    world.pass(10 * SECOND);
    assert_eq!(world.contact(0).state, ContactState::Active);
    assert_eq!(world.contact(3).state, ContactState::Active);
}

/// Its state can be read, its keys cannot: the relay is told to destroy its log.
// [SPEC 8.68]
#[test]
fn the_log_of_a_damaged_conversation_is_destroyed_where_its_state_can_be_read() {
    let mut world = three(9_525);
    let all = emptyroom_core::inspect::conversations(&world.parties[0].records);
    let log = all.unwrap().remove(0).main.unwrap();
    start_with(&mut world, KEYS, Some(vec![0, 1, 9]));
    assert!(matches!(state_of_bob(&mut world), ContactState::Damaged(_)));
    assert_eq!(refusal(&mut world, &log), None);
    let forget = Command::Forget { name: name("bob") };
    assert_eq!(world.command(0, forget), Ok(Reply::Done));
    world.pass(MINUTE);
    assert_eq!(refusal(&mut world, &log), Some(RefusalCode::Destroyed));
}

/// What it was about to append may have made a log, and cannot be read: what is known is destroyed, and the user can be told that it may not be all.
// [SPEC 8.68, 12.78]
#[test]
fn what_is_known_of_a_damaged_conversation_is_destroyed_where_not_all_is() {
    let mut world = three(9_528);
    let all = emptyroom_core::inspect::conversations(&world.parties[0].records);
    let log = all.unwrap().remove(0).main.unwrap();
    start_with(&mut world, STAGE, Some(vec![0, 1, 9]));
    let all = contacts(&mut world);
    let known = |whom: &str| {
        let contact = all.iter().find(|contact| contact.name == name(whom));
        let contact = contact.unwrap();
        (!contact.relay.is_empty(), contact.all_logs_known)
    };
    assert_eq!(
        (known("bob"), known("carol")),
        ((true, false), (true, true))
    );
    let forget = Command::Forget { name: name("bob") };
    assert_eq!(world.command(0, forget), Ok(Reply::Done));
    world.pass(MINUTE);
    assert_eq!(refusal(&mut world, &log), Some(RefusalCode::Destroyed));
}

fn state_of_bob(world: &mut World) -> ContactState {
    let all = contacts(world);
    let bob = all.iter().find(|contact| contact.name == name("bob"));
    bob.unwrap().state
}

/// The record that counts conversations is lost: the next one gets no other's number.
// [SPEC 8.67]
#[test]
fn no_number_is_given_twice() {
    let mut world = three(9_526);
    let before = records(&world);
    start_with(&mut world, b"s", None);
    world.set_relay(0);
    world.invite(0, "dave");
    assert_eq!(contacts(&mut world).len(), 3);
    assert_eq!(records(&world), before);
}

/// Records that nobody wrote: neither hides a conversation or a timer, nor keeps the vault closed.
// [SPEC 8.67]
#[test]
fn foreign_keys_among_the_records_are_passed_over() {
    let mut world = three(9_527);
    let burn = Some(Burn::after_ms(HOUR).unwrap());
    world.send_with(0, "soon", burn);
    world.pass(SECOND);
    start_with(&mut world, b"c\0", Some(vec![1]));
    start_with(&mut world, b"c\0\0\0\x01e\0", Some(vec![1]));
    start_with(&mut world, b"c\0\0\0\x01\xff\xff\xff", Some(vec![1]));
    assert_eq!(contacts(&mut world).len(), 2);
    start_with(&mut world, HEAD, Some(vec![7; 100]));
    let lines = |world: &World| {
        let all = world.parties[0].records.0.keys();
        all.filter(|key| key.starts_with(b"c\0\0\0\x01l")).count()
    };
    let before = lines(&world);
    world.pass(2 * HOUR);
    assert_eq!(lines(&world) + 1, before);
}

/// The name in a damaged record may have become another's.
// [SPEC 8.67]
#[test]
fn no_two_are_called_alike() {
    let mut world = three(9_530);
    let mut head = record(&world, HEAD);
    // As long as "carol".
    head.splice(2..9, [&[0, 0, 0, 5][..], b"carol"].concat());
    head.truncate(70);
    start_with(&mut world, HEAD, Some(head));
    only_bob_is_damaged(&mut world, "damaged-1", Damage::Unreadable);
}

// [SPEC 8.67, 9.32]
#[test]
fn timers_run_on_in_a_damaged_conversation() {
    let mut world = three(9_540);
    let burn = |ms| Some(Burn::after_ms(ms).unwrap());
    let kept = world.send(0, "stays");
    let soon = world.send_with(0, "soon", burn(HOUR));
    let later = world.send_with(0, "later", burn(3 * HOUR));
    world.pass(SECOND);
    start_with(&mut world, HEAD, Some(vec![7; 100]));
    let is_there = |world: &World, LineId(line): LineId| {
        let key = [ALL, b"l", &line.to_be_bytes()].concat();
        world.parties[0].records.0.contains_key(&key)
    };
    let left = |world: &World| [kept, soon, later].map(|line| is_there(world, line));
    assert_eq!(left(&world), [true, true, true]);
    world.pass(2 * HOUR);
    assert_eq!(left(&world), [true, false, true]);
    world.switch_off(0);
    world.pass(2 * HOUR);
    world.load(0);
    world.run();
    assert_eq!(left(&world), [true, false, false]);
}

/// A message's time is over while its conversation cannot be read. Whole again, it does not go out.
// [SPEC 8.62, 8.67]
#[test]
fn what_ended_in_a_damaged_conversation_is_not_sent_later() {
    let mut staged = 0;
    for steps in 0..12 {
        let mut world = World::talk(9_545);
        world.start_send(0, "soon", None);
        world.steps(steps);
        world.switch_off(0);
        world.pass(MINUTE);
        staged += usize::from(world.parties[0].records.0.contains_key(STAGE));
        let had = world.received(1).len();
        let all = world.parties[0].records.0.keys();
        let lines: Vec<Vec<u8>> = all
            .filter_map(|key| key.strip_prefix(LINES).map(<[u8]>::to_vec))
            .collect();
        // Lines that are sent again have a timer that runs.
        for line in lines {
            let ends = [ALL, b"e", &1_u64.to_be_bytes(), &line].concat();
            let records = &mut world.parties[0].records.0;
            records.insert(ends, Vec::new().into());
        }
        let keys = record(&world, KEYS);
        start_with(&mut world, KEYS, None);
        world.pass(2 * HOUR);
        start_with(&mut world, KEYS, Some(keys));
        world.pass(HOUR);
        assert!(world.received(1).len() <= had, "{steps} steps");
        world.send(0, "later");
        world.pass(MINUTE);
        assert_eq!(world.received(1).last().unwrap(), "later");
    }
    assert!(staged > 0);
}

/// The link of a damaged conversation is the only way to its relay that this device has.
// [SPEC 8.67]
#[test]
fn the_relay_of_a_damaged_conversation_stays_known() {
    let mut world = World::talk(9_550);
    world.switch_off(1);
    let head = [HEAD, &[]].concat();
    let record = world.parties[1].records.0.get_mut(&head).unwrap();
    record.truncate(40);
    world.load(1);
    world.run();
    world.stop_relay();
    world.become_another_relay();
    let address = Text::new(world.address());
    world.command(1, Command::SetRelay { address }).unwrap();
    world.pass(DAY);
    assert_eq!(status(&mut world, 1).relays.len(), 2);
    let forget = Command::Forget {
        name: name("alice"),
    };
    assert_eq!(world.command(1, forget), Ok(Reply::Done));
    assert_eq!(status(&mut world, 1).relays.len(), 1);
}
