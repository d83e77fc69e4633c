//! One function per parser: any bytes go in, nothing may panic, and what is accepted must have been its own only encoding.
//!
//! The corpus lies in `fuzz-corpus/NAME`; it is replayed and mutated by the tests, and `cargo fuzz` starts from it. Keys are
//! fixed, so that inputs found once stay inputs.

use emptyroom_wire::log::LogId;
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::time::{Day, Mono, Now, Wall};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use crate::account::{AccountRoot, OwnKeys};
use crate::api::{Command, CommandId, Input, Output, Reply, Settings};
use crate::certificate::Certificate;
use crate::content::Content;
use crate::genesis::{Binding, Genesis};
use crate::mls::{Admission, CommitNote, Group, Processed, Slot};
use crate::restart::SignedRestart;
use crate::verification::Code;
use crate::{Client, MemoryRecords, Value};

/// A target's name and function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target, for replaying and mutating corpora.
pub const TARGETS: [Target; 11] = [
    ("certificate", fuzz_certificate),
    ("commit_note", fuzz_commit_note),
    ("content", fuzz_content),
    ("genesis", fuzz_genesis),
    ("group_info", fuzz_group_info),
    ("group_record", fuzz_group_record),
    ("keys_record", fuzz_keys_record),
    ("mls_message", fuzz_mls_message),
    ("restart", fuzz_restart),
    ("vault_records", fuzz_vault_records),
    ("verification_code", fuzz_verification_code),
];

/// A device's certificate.
pub fn fuzz_certificate(data: &[u8]) {
    if let Ok(certificate) = Certificate::verify(data) {
        assert_eq!(certificate.bytes(), data, "bytes as received");
        let _ = certificate.recovery();
    }
}

/// A commit's authenticated data.
pub fn fuzz_commit_note(data: &[u8]) {
    // An extension that may be ignored is not written again.
    if let Ok(note) = CommitNote::decode(data) {
        let again = note.encode();
        assert_eq!(CommitNote::decode(&again), Ok(note), "read again");
    }
}

/// A decrypted message.
pub fn fuzz_content(data: &[u8]) {
    if let Ok(content) = Content::decode(data)
        && let Ok(again) = content.encode()
    {
        assert_eq!(Content::decode(&again).as_ref(), Ok(&content), "read again");
    }
}

/// The first entry of log 0.
pub fn fuzz_genesis(data: &[u8]) {
    if let Ok(genesis) = Genesis::decode(data) {
        assert_eq!(Genesis::decode(&genesis.encode()).as_ref(), Ok(&genesis));
    }
}

/// The group that somebody offers for joining.
pub fn fuzz_group_info(data: &[u8]) {
    let (_, own, mut rng) = somebody();
    let note = CommitNote::join(None);
    let joined = Group::join(data, &Binding([0; 32]), &own, &note, &mut rng);
    assert!(joined.is_err(), "no group has this binding");
}

/// A group's record.
pub fn fuzz_group_record(data: &[u8]) {
    if let Ok(group) = Group::load(data) {
        let _ = group.snapshot();
    }
    let whole = lone_group().snapshot();
    if let Ok(group) = Group::load_with(&whole, data) {
        let _ = group.message_keys();
    }
}

/// The record of a conversation's keys.
pub fn fuzz_keys_record(data: &[u8]) {
    let (root, ..) = somebody();
    if let Ok(own) = OwnKeys::load(&root, data) {
        assert_eq!(own.record().as_slice(), data, "one encoding");
    }
}

/// An entry's MLS message, in a commit slot and in none.
pub fn fuzz_mls_message(data: &[u8]) {
    let mut group = lone_group();
    for (commit, close) in [(false, false), (true, false), (true, true)] {
        let processed = group.process(data, Slot { commit, close }, Admission::Invited);
        // A corpus may hold a join of this very group's; its keys are its own, so nothing else passes.
        if let Processed::Commit(staged) = processed {
            assert!(staged.joined(), "nobody else is in the group");
        }
    }
}

/// An entry of a recovery log.
pub fn fuzz_restart(data: &[u8]) {
    if let Ok(restart) = SignedRestart::read(&LogId([7; 32]), data) {
        let (_, own, _) = somebody();
        let _ = restart.open(&own);
        let _ = restart.fit(0, &[0; 32]);
    }
}

/// All records of a vault, each as length and bytes of its key (one byte for the length) and of its value (four). Whatever
/// is damaged may be refused, and nobody who asks for it may fall.
pub fn fuzz_vault_records(data: &[u8]) {
    let mut records = MemoryRecords::default();
    let mut rest = data;
    while let Some((key, value)) = next_record(&mut rest) {
        records.0.insert(key.to_vec(), Value::new(value.to_vec()));
    }
    let now = Now {
        wall: Wall(1_799_971_200_000),
        mono: Mono(0),
    };
    let rng = Box::new(ChaCha20Rng::from_seed([3; 32]));
    let Ok(mut client) = Client::load(now, rng, &records, Settings::default()) else {
        return;
    };
    let mut ask = vec![
        Command::Status,
        Command::Invites,
        Command::Unread {
            name: None,
            limit: 100,
        },
        Command::Contacts,
    ];
    for number in 0..100 {
        let Some(command) = ask.pop() else { break };
        client.handle(now, Input::Command(CommandId(number), command), &records);
        client.handle(now, Input::Tick, &records);
        while let Some(output) = client.poll() {
            if let Output::Reply(_, Ok(Reply::Contacts(contacts))) = output {
                ask.extend(contacts.into_iter().map(|contact| Command::History {
                    name: contact.name,
                    before: None,
                    limit: 100,
                }));
            }
        }
    }
}

fn next_record<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (len, after) = rest.split_first()?;
    let (key, after) = after.split_at_checked(usize::from(*len))?;
    let (len, after) = after.split_first_chunk()?;
    let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
    let (value, after) = after.split_at_checked(len)?;
    *rest = after;
    Some((key, value))
}

/// A scanned verification code.
pub fn fuzz_verification_code(data: &[u8]) {
    if let Ok(text) = core::str::from_utf8(data)
        && let Ok(code) = Code::parse(text)
    {
        assert_eq!(code.text(), text, "one text");
    }
}

/// A commit's authenticated data, for vectors and corpora.
#[must_use]
pub fn note_bytes(note: &CommitNote) -> Vec<u8> {
    note.encode()
}

/// Keys that are always the same.
#[must_use]
pub fn somebody() -> (AccountRoot, OwnKeys, ChaCha20Rng) {
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let root = AccountRoot::from_secret(Secret32::new([2; 32]));
    let own = OwnKeys::generate(&root, Day(20_700), &mut rng);
    (root, own, rng)
}

/// A group of one.
fn lone_group() -> Group {
    let (_, own, mut rng) = somebody();
    Group::create(&own, &mut rng).expect("a group can be made")
}
