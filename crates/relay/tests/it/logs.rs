//! Creating, opening, renewing, trimming and destroying: who may, and who may not.

use emptyroom_relay::{Config, Limits, Reason};
use emptyroom_wire::entry::Ttl;
use emptyroom_wire::log::Flags;
use emptyroom_wire::op::{
    AccessCode, Answer, Create, Destroy, First, Handle, OpenOutcome, Push, Refusal, RefusalCode,
    Renew, RenewProof, Request, Trim,
};
use emptyroom_wire::proof::{self, Purpose, StreamBinding};
use emptyroom_wire::relay_key::IdentityHash;
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::sign::{SignKey, Signature};
use emptyroom_wire::time::DAY_MS;

use crate::world::{Client, Log, World, create, first, message, open, prove};

fn code(bytes: &[u8]) -> Option<AccessCode> {
    Some(AccessCode::new(bytes.to_vec()).unwrap())
}

// [SPEC 4.44]
#[test]
fn a_code_is_needed_where_there_is_one() {
    let access_code = code(b"open sesame");
    let mut world = World::with(Config {
        access_code,
        ..Config::open()
    });
    let mut client = world.client();
    assert!(client.terms.code_needed);
    let log = Log::new(1);
    let with = |code| {
        Request::Create(Create {
            new: log.new_log(None),
            code,
        })
    };
    for wrong in [
        None,
        code(b""),
        code(b"open sesam"),
        code(b"open sesamf"),
        code(b"open sesame "),
    ] {
        assert_eq!(
            client.refused(&mut world, with(wrong)),
            RefusalCode::BadCode
        );
    }
    assert!(world.disk().lasting.is_empty());
    assert_eq!(
        client.ask(&mut world, with(code(b"open sesame"))),
        Answer::Created
    );
    // What `next` makes needs none.
    let handle = client.open(&mut world, &log, 0).handle;
    let mut append = client.message(&world, &log, handle, 1);
    append.next = vec![Log::new(2).new_log(None)];
    assert!(matches!(
        client.ask(&mut world, Request::Append(append)),
        Answer::Appended(_)
    ));
    client.open(&mut world, &Log::new(2), 0);
    // Guessing ends the stream.
    for _ in 0..3 {
        client.refused(&mut world, with(code(b"guess")));
    }
    assert_eq!(world.hangup(client.conn), Some(Reason::Abuse));
}

// [SPEC 4.42]
#[test]
fn creating_again_succeeds_and_another_is_refused() {
    let mut world = World::new();
    let mut client = world.client();
    let log = Log::new(1);
    for _ in 0..2 {
        let answer = client.ask(&mut world, create(&log, Some(first(1))));
        assert_eq!(answer, Answer::Created);
    }
    for other in [None, Some(first(2))] {
        let code = client.refused(&mut world, create(&log, other));
        assert_eq!(code, RefusalCode::Exists);
    }
    let opened = client.open(&mut world, &log, 0);
    assert_eq!(opened.view.next_seq, 1);
    client.receive(&mut world);
    assert_eq!(client.seqs(opened.handle), [0]);
}

// [SPEC 4.43]
#[test]
fn bodies_have_the_length_of_a_class() {
    let limits = Limits {
        entry_len_max: 64 << 10,
        ..Limits::default()
    };
    let mut world = World::with(Config {
        limits,
        ..Config::open()
    });
    let mut client = world.client();
    let log = Log::new(1);
    client.create(&mut world, &log);
    let handle = client.open(&mut world, &log, 0).handle;
    for (len, refused) in [
        (0, Some(RefusalCode::Malformed)),
        (4_095, Some(RefusalCode::Malformed)),
        (4_096, None),
        (4_097, Some(RefusalCode::Malformed)),
        (64 << 10, None),
        ((64 << 10) + 1, Some(RefusalCode::Malformed)),
        (256 << 10, Some(RefusalCode::TooLarge)),
        (4 << 20, Some(RefusalCode::TooLarge)),
    ] {
        let number = u32::try_from(len).unwrap();
        let mut append = client.message(&world, &log, handle, number);
        append.body = vec![7; len];
        let first = First {
            ttl: Ttl::Day30,
            nonce: [7; 16],
            body: vec![7; len],
        };
        let other = Log::new(u8::try_from(len % 251).unwrap().wrapping_add(2));
        let mut with_next = client.message(&world, &log, handle, number + 1);
        with_next.next = vec![other.new_log(Some(first.clone()))];
        let requests = [
            Request::Append(append),
            create(&other, Some(first)),
            Request::Append(with_next),
        ];
        for request in requests {
            match refused {
                Some(code) => assert_eq!(client.refused(&mut world, request), code, "{len}"),
                None => assert!(
                    !matches!(client.ask(&mut world, request), Answer::Refused(_)),
                    "{len}"
                ),
            }
        }
    }
}

fn opened(client: &mut Client, world: &mut World, request: Request) -> Result<Handle, RefusalCode> {
    match client.ask(world, request) {
        Answer::Opened(opened) => match &opened.logs[0] {
            OpenOutcome::Open(log) => Ok(log.handle),
            OpenOutcome::Refused(refusal) => Err(refusal.code),
        },
        other => panic!("{other:?}"),
    }
}

// [SPEC 4.55] [SPEC 4.11]
#[test]
fn a_log_with_a_read_key_opens_for_its_holder() {
    let mut world = World::new();
    let (mut client, other) = (world.client(), world.client());
    let (log, stranger) = (Log::with_reader(1), Log::with_reader(2));
    client.create(&mut world, &log);
    let key = log.read.as_ref().unwrap();
    let here = client.stream.binding();
    let elsewhere = IdentityHash([9; 32]);
    let scope = proof::Scope {
        relay: &elsewhere,
        binding: &here,
        log: log.capability().log_id(),
    };
    let wrong = [
        None,
        Some(Signature([0; 64])),
        Some(prove(&world, &here, key, Purpose::Append, &log)),
        Some(prove(&world, &here, &log.append, Purpose::Read, &log)),
        Some(prove(&world, &here, key, Purpose::Read, &stranger)),
        Some(prove(
            &world,
            &other.stream.binding(),
            key,
            Purpose::Read,
            &log,
        )),
        Some(prove(
            &world,
            &StreamBinding::new(Secret32::new([0; 32])),
            key,
            Purpose::Read,
            &log,
        )),
    ];
    for proof in wrong {
        let outcome = opened(&mut client, &mut world, open(&log, 0, proof));
        assert_eq!(outcome, Err(RefusalCode::BadProof));
    }
    let mut client = world.client();
    let scope_proof = proof::sign(key, Purpose::Read, scope);
    let outcome = opened(&mut client, &mut world, open(&log, 0, Some(scope_proof)));
    assert_eq!(outcome, Err(RefusalCode::BadProof));
    client.open(&mut world, &log, 0);
    // Who has the log's name wrong learns that there is none, and no more.
    let outcome = opened(&mut client, &mut world, open(&stranger, 0, None));
    assert_eq!(outcome, Err(RefusalCode::Unknown));
}

// [SPEC 4.57]
#[test]
fn renewing_needs_the_append_or_the_owner_key() {
    let mut world = World::new();
    let mut client = world.client();
    let log = Log::new(1);
    let ownerless = {
        let mut log = Log::with(2, Flags::RECOVERY);
        log.header.owner_key = None;
        log
    };
    client.create(&mut world, &log);
    client.create(&mut world, &ownerless);
    let handle = client.open(&mut world, &log, 0).handle;
    let renew = |handle, proof| Request::Renew(Renew { handle, proof });
    let by = |client: &Client, world: &World, key: &SignKey, purpose, log: &Log| {
        client.prove(world, key, purpose, log)
    };
    let wrong = [
        None,
        Some(RenewProof::Append(by(
            &client,
            &world,
            &log.owner,
            Purpose::Append,
            &log,
        ))),
        Some(RenewProof::Append(by(
            &client,
            &world,
            &log.append,
            Purpose::Renew,
            &log,
        ))),
        Some(RenewProof::Owner(by(
            &client,
            &world,
            &log.append,
            Purpose::Renew,
            &log,
        ))),
        Some(RenewProof::Owner(by(
            &client,
            &world,
            &log.owner,
            Purpose::Append,
            &log,
        ))),
        Some(RenewProof::Owner(by(
            &client,
            &world,
            &log.owner,
            Purpose::Renew,
            &ownerless,
        ))),
    ];
    for proof in wrong {
        assert_eq!(
            client.refused(&mut world, renew(handle, proof)),
            RefusalCode::BadProof
        );
    }
    world.jump(100 * DAY_MS);
    let mut client = world.client();
    let handle = client.open(&mut world, &log, 0).handle;
    let owner = Some(RenewProof::Owner(by(
        &client,
        &world,
        &log.owner,
        Purpose::Renew,
        &log,
    )));
    assert_eq!(client.ask(&mut world, renew(handle, owner)), Answer::Done);
    let append = Some(RenewProof::Append(client.append_proof(&world, &log)));
    assert_eq!(client.ask(&mut world, renew(handle, append)), Answer::Done);
    // The append key counts from now on, for appends as well.
    assert_eq!(client.ask(&mut world, renew(handle, None)), Answer::Done);
    let unproved = Request::Append(message(handle, 1));
    assert!(matches!(
        client.ask(&mut world, unproved),
        Answer::Appended(_)
    ));
    // Where nobody is the owner, an owner's proof is no use.
    let handle = client.open(&mut world, &ownerless, 0).handle;
    let owner = Some(RenewProof::Owner(by(
        &client,
        &world,
        &log.owner,
        Purpose::Renew,
        &ownerless,
    )));
    assert_eq!(
        client.refused(&mut world, renew(handle, owner)),
        RefusalCode::NotAllowed
    );
    // It was renewed: 180 days from then it is still there.
    world.jump(170 * DAY_MS);
    world.client().open(&mut world, &log, 0);
}

// [SPEC 4.58] [SPEC 4.12]
#[test]
fn trimming_needs_the_owners_order() {
    let mut world = World::new();
    let mut client = world.client();
    let (log, other) = (Log::new(1), Log::new(2));
    client.create(&mut world, &log);
    let handle = client.open(&mut world, &log, 0).handle;
    for number in 0..4 {
        let append = client.message(&world, &log, handle, number);
        client.ask(&mut world, Request::Append(append));
    }
    let (id, here, elsewhere) = (
        log.capability().log_id(),
        world.identity,
        IdentityHash([9; 32]),
    );
    let trim = |up_to, signature| {
        Request::Trim(Trim {
            handle,
            up_to,
            signature,
        })
    };
    let wrong = [
        Signature([0; 64]),
        proof::sign_trim(&log.append, &here, id, 2),
        proof::sign_trim(&log.owner, &elsewhere, id, 2),
        proof::sign_trim(&log.owner, &here, other.capability().log_id(), 2),
        proof::sign_trim(&log.owner, &here, id, 3),
        proof::sign_destroy(&log.owner, &here, id),
    ];
    for signature in wrong {
        assert_eq!(
            client.refused(&mut world, trim(2, signature)),
            RefusalCode::BadProof
        );
    }
    let order = proof::sign_trim(&log.owner, &here, id, 2);
    assert_eq!(client.ask(&mut world, trim(2, order)), Answer::Done);
    let mut reader = world.client();
    let opened = reader.open(&mut world, &log, 0);
    assert_eq!((opened.view.first_seq, opened.view.next_seq), (2, 4));
    reader.receive(&mut world);
    assert_eq!(reader.seqs(opened.handle), [2, 3]);
    // A log without an owner is trimmed by nobody.
    let mut ownerless = Log::new(3);
    ownerless.header.owner_key = None;
    reader.create(&mut world, &ownerless);
    let handle = reader.open(&mut world, &ownerless, 0).handle;
    let signature = proof::sign_trim(&ownerless.owner, &here, ownerless.capability().log_id(), 1);
    let trim = Request::Trim(Trim {
        handle,
        up_to: 1,
        signature,
    });
    assert_eq!(reader.refused(&mut world, trim), RefusalCode::NotAllowed);
}

// [SPEC 4.59] [SPEC 4.12] [SPEC 6.23]
#[test]
fn destroying_needs_the_owners_order() {
    let mut world = World::new();
    let (mut client, mut reader) = (world.client(), world.client());
    let (log, other) = (Log::new(1), Log::new(2));
    for log in [&log, &other] {
        client.create(&mut world, log);
    }
    let own = client.open(&mut world, &log, 0).handle;
    let append = client.message(&world, &log, own, 1);
    client.ask(&mut world, Request::Append(append));
    let theirs = reader.open(&mut world, &log, 0).handle;
    let kept = reader.open(&mut world, &other, 0).handle;
    let (id, here) = (log.capability().log_id(), world.identity);
    let destroy = |log: &Log, signature| {
        Request::Destroy(Destroy {
            capability: log.capability(),
            signature,
        })
    };
    let wrong = [
        Signature([0; 64]),
        proof::sign_destroy(&log.append, &here, id),
        proof::sign_destroy(&log.owner, &IdentityHash([9; 32]), id),
        proof::sign_destroy(&log.owner, &here, other.capability().log_id()),
        proof::sign_trim(&log.owner, &here, id, 0),
    ];
    for signature in wrong {
        assert_eq!(
            client.refused(&mut world, destroy(&log, signature)),
            RefusalCode::BadProof
        );
    }
    // In advance, by somebody else, on a stream that has no handle: the order is all it takes.
    let order = proof::sign_destroy(&log.owner, &here, id);
    let mut messenger = world.client();
    assert_eq!(
        messenger.ask(&mut world, destroy(&log, order)),
        Answer::Done
    );
    for (client, handle) in [(&mut client, own), (&mut reader, theirs)] {
        client.receive(&mut world);
        let gone = Push::Gone(Refusal::now(RefusalCode::Destroyed));
        assert_eq!(client.pushes.last(), Some(&(handle, gone)));
        let late = Request::Append(message(handle, 2));
        assert_eq!(client.refused(&mut world, late), RefusalCode::Unknown);
    }
    let outcome = opened(&mut reader, &mut world, open(&log, 0, None));
    assert_eq!(outcome, Err(RefusalCode::Destroyed));
    assert_eq!(
        reader.refused(&mut world, create(&log, None)),
        RefusalCode::Destroyed
    );
    assert_eq!(
        messenger.refused(&mut world, destroy(&log, order)),
        RefusalCode::Destroyed
    );
    // The other log's readers notice nothing.
    let append = Request::Append(reader.message(&world, &other, kept, 1));
    assert!(matches!(
        reader.ask(&mut world, append),
        Answer::Appended(_)
    ));
    assert!(
        world.disk().entries.len() == 1,
        "the entries are gone at once"
    );
    // Nobody destroys what nobody owns.
    let mut ownerless = Log::new(3);
    ownerless.header.owner_key = None;
    reader.create(&mut world, &ownerless);
    let order = proof::sign_destroy(&ownerless.owner, &here, ownerless.capability().log_id());
    assert_eq!(
        reader.refused(&mut world, destroy(&ownerless, order)),
        RefusalCode::NotAllowed
    );
}
