//! What others write is bounded before it reaches a record: no vault takes more than a mebibyte under one key, and a client that
//! cannot store stops.

use emptyroom_core::account::IdentityKey;
use emptyroom_core::api::{Command, ContactState, Event, JoinFault, PeerTrouble, Reply, Text};
use emptyroom_core::genesis::{Binding, Genesis};
use emptyroom_core::kind;
use emptyroom_core::mls::GroupId;
use emptyroom_wire::address::Host;
use emptyroom_wire::entry::{self, Aad, Ttl};
use emptyroom_wire::link::{InviteBinding, InviteLink};
use emptyroom_wire::log::LogId;
use emptyroom_wire::log_keys;
use emptyroom_wire::op::{Answer, Create, First, NewLog, Request};
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::sign::SignKey;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::raw::{Raw, inspect};
use super::world::{DAY, MINUTE, World, name};
use crate::mallory::{Keys, Mallory, SUITE};

const LONG: u32 = 2 << 20;

fn still_talking(world: &mut World) {
    let before = world.received(0).len();
    world.send(1, "still here");
    world.pass(MINUTE);
    assert_eq!(world.received(0).len(), before + 1);
    assert_eq!(world.contact(0).state, ContactState::Active);
}

/// A link whose group has one leaf with so many bytes more.
fn link_of_mallory(world: &mut World, padding: u32) -> Text {
    let mut keys = Keys::of(9);
    keys.padding = padding as usize;
    let certificate = keys.certificate();
    let identity = IdentityKey(keys.identity.verify_key().0);
    let mallory = Mallory::create(SUITE, keys, &certificate);
    let group_info = mallory.group_info();
    let genesis = Genesis { group_info }.encode();
    let secret = Secret32::new([u8::from(padding > 0) + 3; 32]);
    let owner = SignKey::from_seed(&Secret32::new([5; 32]));
    let (header, access) = log_keys::invite(&secret, owner);
    let (ttl, nonce) = (Ttl::Day7, [6; 16]);
    let aad = Aad {
        log_id: access.log_id,
        expect_slots: 0,
        commit: false,
        close: false,
        ttl,
        nonce,
        next_hash: [0; 32],
    };
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let body = entry::seal(&access.outer, &aad, kind::GENESIS, &genesis, &mut rng).unwrap();
    let first = Some(First { ttl, nonce, body });
    let new = NewLog { header, first };
    let mut raw = Raw::connect(world);
    let answer = raw.request(world, Request::Create(Create { new, code: None }));
    assert_eq!(answer, Answer::Created);
    let link = InviteLink {
        hosts: vec![Host::parse("relay.example:443").unwrap()],
        relay: world.relay.as_ref().unwrap().identity_hash(),
        capability: access.capability,
        secret,
        binding: InviteBinding(Binding::of(identity, GroupId([7; 16])).0),
        expires: world.now.wall.plus_ms(DAY),
    };
    Text::new(link.to_text().unwrap())
}

// [SPEC 8.8]
#[test]
fn a_link_to_a_group_that_no_record_holds_is_not_as_named() {
    for padding in [0, LONG] {
        let mut world = World::talk(700);
        let link = link_of_mallory(&mut world, padding);
        let join = Command::Join {
            link,
            name: name("mallory"),
        };
        assert_eq!(world.command(1, join), Ok(Reply::Joining));
        world.pass(MINUTE);
        let failed = Event::JoinFailed {
            conversation: name("mallory"),
            why: JoinFault::NotAsNamed,
        };
        let joined = Event::Joined {
            conversation: name("mallory"),
        };
        let events = world.events(1);
        assert_eq!(events.contains(&failed), padding > 0, "{events:?}");
        assert_eq!(events.contains(&joined), padding == 0, "{events:?}");
        still_talking(&mut world);
    }
}

/// A restart of Bob's, signed as his own would be, with an extension of so many bytes that nobody knows.
fn restart_of_bob(world: &World, log: LogId, padding: u32) -> Vec<u8> {
    let records = &world.parties[1].records.0;
    let is_keys = |key: &[u8]| key.first() == Some(&b'c') && key.get(5) == Some(&b'k');
    let (_, keys) = records.iter().find(|(key, _)| is_keys(key)).unwrap();
    // Version, salt, seed of the device, certificate with its length.
    let device = SignKey::from_seed(&Secret32::from_slice(&keys[34..66]).unwrap());
    let certificate = &keys[66..];
    let long = |len: u32| (len | 1 << 31).to_be_bytes();
    let body = [
        &[0, 1][..],
        &1u64.to_be_bytes(),
        &[0; 32],
        &[6],
        &[0; 24],
        &[8; 32],
        certificate,
        &[0],
        &long(padding + 6),
        &[0x0a, 0x0a],
        &long(padding),
        &vec![0; padding as usize],
    ]
    .concat();
    let signature = device.sign("emptyroom v1 restart", &[&log.0, &body]);
    let len = long(u32::try_from(body.len()).unwrap());
    [&len[..], &body, &signature.0].concat()
}

// [SPEC 8.32]
#[test]
fn a_restart_that_no_record_holds_is_rubbish() {
    for padding in [1 << 14, LONG] {
        let mut world = World::talk(701);
        let inspected = inspect(&world, 0);
        let (main, recovery) = (inspected.main.unwrap(), inspected.recovery.unwrap());
        world.switch_off(1);
        let restart = restart_of_bob(&world, recovery.log_id, padding);
        let mut raw = Raw::connect(&mut world);
        let content = (kind::RESTART, restart.as_slice());
        let answer = raw.append(&mut world, &recovery, content, (true, false), Vec::new());
        assert!(matches!(answer, Answer::Appended(_)), "{answer:?}");
        raw.append(
            &mut world,
            &main,
            (kind::LOOK, b""),
            (false, false),
            Vec::new(),
        );
        world.pass(2 * MINUTE);
        let told = world.events(0).into_iter().any(|event| {
            matches!(
                event,
                Event::PeerTrouble {
                    kind: PeerTrouble::RubbishRestart,
                    ..
                }
            )
        });
        // The shorter one is a restart, and nobody can enter it: it holds no secret for Alice.
        assert_eq!(told, padding == LONG);
        assert_eq!(
            world.contact(0).state == ContactState::Active,
            padding == LONG
        );
        if padding == LONG {
            world.load(1);
            still_talking(&mut world);
        }
    }
}
