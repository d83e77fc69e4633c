//! What a taker refuses to join.

use emptyroom_core::account::OwnKeys;
use emptyroom_core::certificate::CertificateFault;
use emptyroom_core::genesis::{Binding, Genesis, GenesisFault};
use emptyroom_core::mls::{CommitNote, Group, GroupId, JoinFault};
use openmls::prelude::Ciphersuite;

use crate::mallory::{Keys, Mallory, SUITE};
use crate::party::{Party, keys, pair, take};

fn refused(group_info: &[u8], binding: &Binding) -> JoinFault {
    let (_, own, mut rng) = keys(99);
    Group::join(group_info, binding, &own, &CommitNote::join(None), &mut rng).unwrap_err()
}

fn binding(keys: &Keys, group: [u8; 16]) -> Binding {
    let identity = emptyroom_core::account::IdentityKey(keys.identity.verify_key().0);
    Binding::of(identity, GroupId(group))
}

// [SPEC 8.11]
#[test]
fn another_group_than_the_link_names_is_refused() {
    let anna = Party::inviter(80);
    let info = anna.group.group_info(&anna.keys).unwrap();
    assert_eq!(refused(&info, &Binding([0; 32])), JoinFault::OtherGroup);
    let thief = Party::inviter(81);
    assert_eq!(refused(&info, &thief.invite().1), JoinFault::OtherGroup);
    // The right group id under another identity.
    let id = anna.group.id();
    assert_eq!(
        refused(&info, &Binding::of(thief.keys.identity(), id)),
        JoinFault::OtherGroup
    );
}

// [SPEC 8.11]
#[test]
fn only_a_fresh_group_is_joined() {
    let (anna, _) = pair(82);
    let info = anna.group.group_info(&anna.keys).unwrap();
    let named = Binding::of(anna.keys.identity(), anna.group.id());
    assert_eq!(refused(&info, &named), JoinFault::NotFresh);

    // One member, but moved on.
    let mut anna = Party::inviter(83);
    anna.update(&CommitNote::update());
    anna.group.merge_pending().unwrap();
    let info = anna.group.group_info(&anna.keys).unwrap();
    assert_eq!(refused(&info, &anna.invite().1), JoinFault::NotFresh);
}

// [SPEC 8.9]
#[test]
fn another_suite_is_refused() {
    let keys = Keys::of(1);
    let named = binding(&keys, [7; 16]);
    let certificate = keys.certificate();
    let classic = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;
    let mallory = Mallory::create(classic, keys, &certificate);
    assert_eq!(refused(&mallory.group_info(), &named), JoinFault::Suite(1));
}

#[test]
fn the_maker_must_be_certified() {
    let keys = Keys::of(1);
    let named = binding(&keys, [7; 16]);
    let mut forged = keys.certificate();
    forged[600] ^= 1;
    let mallory = Mallory::create(SUITE, keys, &forged);
    assert_eq!(
        refused(&mallory.group_info(), &named),
        JoinFault::Certificate(CertificateFault::Signature)
    );
    // A leaf that carries somebody else's certificate.
    let victim = Keys::of(2);
    let named = binding(&victim, [7; 16]);
    let mallory = Mallory::create(SUITE, Keys::of(1), &victim.certificate());
    assert_eq!(refused(&mallory.group_info(), &named), JoinFault::OtherKeys);
    // The same, honestly.
    let keys = Keys::of(1);
    let named = binding(&keys, [7; 16]);
    let certificate = keys.certificate();
    let mallory = Mallory::create(SUITE, keys, &certificate);
    let (_, own, mut rng) = self::keys(98);
    let joined = Group::join(
        &mallory.group_info(),
        &named,
        &own,
        &CommitNote::join(None),
        &mut rng,
    )
    .unwrap();
    assert_eq!(joined.maker.certificate.bytes(), certificate);
}

#[test]
fn nobody_joins_himself() {
    let mut anna = Party::inviter(84);
    let (genesis, named) = anna.invite();
    let info = Genesis::decode(&genesis).unwrap().group_info;
    let again = Group::join(
        &info,
        &named,
        &anna.keys,
        &CommitNote::join(None),
        &mut anna.rng,
    );
    assert!(again.is_err());
}

#[test]
fn rubbish_is_refused() {
    let anna = Party::inviter(85);
    let info = anna.group.group_info(&anna.keys).unwrap();
    let named = anna.invite().1;
    assert_eq!(refused(b"", &named), JoinFault::Malformed);
    assert_eq!(refused(b"rubbish", &named), JoinFault::Malformed);
    for at in (0..info.len()).step_by(41) {
        let mut changed = info.clone();
        changed[at] ^= 1 << (at % 8);
        refused(&changed, &named);
        refused(&info[..at], &named);
    }
}

#[test]
fn a_join_that_is_not_adopted_changes_nothing() {
    let anna = Party::inviter(86);
    let (root, own, mut rng) = keys(87);
    let record = own.record();
    let first = take(&anna.invite(), &own, &mut rng);
    drop(first);
    assert_eq!(own.record(), record);
    let own = OwnKeys::load(&root, &record).unwrap();
    take(&anna.invite(), &own, &mut rng);
}

// [SPEC 8.8]
#[test]
fn the_first_entry_is_read_strictly() {
    let (genesis, _) = Party::inviter(88).invite();
    let [_, _, rest @ ..] = genesis.as_slice() else {
        panic!("short")
    };
    let with_version = |version: u16| [&version.to_be_bytes(), rest].concat();
    assert_eq!(
        Genesis::decode(&with_version(2)),
        Err(GenesisFault::Version(2))
    );
    assert_eq!(Genesis::decode(b""), Err(GenesisFault::Version(0)));
    assert_eq!(
        Genesis::decode(&genesis[..genesis.len() - 1]),
        Err(GenesisFault::Malformed)
    );
    let mut critical = genesis[..genesis.len() - 1].to_vec();
    critical.extend([3, 0xff, 0x01, 0]);
    assert_eq!(
        Genesis::decode(&critical),
        Err(GenesisFault::Critical(0xff01))
    );
    let mut ignorable = genesis[..genesis.len() - 1].to_vec();
    ignorable.extend([3, 0x7f, 0x01, 0]);
    assert!(Genesis::decode(&ignorable).is_ok());
}
