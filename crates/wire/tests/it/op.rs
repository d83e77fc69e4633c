//! One message of every kind, used by several tests and as vectors.

use emptyroom_wire::entry::{RunningHash, Ttl};
use emptyroom_wire::limits::FRAME_CLASSES;
use emptyroom_wire::log::Capability;
use emptyroom_wire::log_keys::{self, Owned};
use emptyroom_wire::op::{
    AccessCode, Answer, Append, Appended, Cast, CastPush, Create, DeleteShare, Destroy, EntryPush,
    EvaluateShare, Evaluated, First, FromClient, FromRelay, Handle, KeyRecords, NewLog, Open,
    OpenLog, OpenOutcome, Opened, OpenedLog, Push, PutShare, Refusal, RefusalCode, Renew,
    RenewProof, RenewShare, Request, SharedPush, Trim, View, WipeShare,
};
use emptyroom_wire::share::{Element, Share, ShareId};
use emptyroom_wire::sign::{Signature, VerifyKey};
use emptyroom_wire::time::Mono;

use crate::share::{EVALUATIONS, key};
use crate::support::{Relay, secret, unhex32};
use crate::wipe;

const SIGNATURE: Signature = Signature([0x51; 64]);

fn new_log(first: Option<usize>) -> NewLog {
    let first = first.map(|len| First {
        ttl: Ttl::Life,
        nonce: [0x11; 16],
        body: vec![0x22; len],
    });
    NewLog {
        header: log_keys::recovery(&secret(1)).0,
        first,
    }
}

fn append(body: usize, next: Vec<NewLog>, proof: Option<Signature>) -> Append {
    Append {
        handle: Handle(7),
        expect_slots: 2,
        commit: true,
        close: !next.is_empty(),
        ttl: Ttl::Day7,
        nonce: [0x33; 16],
        body: vec![0x44; body],
        next,
        proof,
    }
}

pub fn from_client() -> Vec<(&'static str, FromClient)> {
    let header = log_keys::conversation(&secret(2), Owned::ByMembers).0;
    let open = |proof| OpenLog {
        capability: Capability::new([0x55; 32]),
        from: 9,
        proof,
    };
    let requests = [
        ("ping", Request::Ping),
        (
            "create",
            Request::Create(Create {
                new: NewLog {
                    header,
                    first: new_log(Some(64)).first,
                },
                code: AccessCode::new(b"code".to_vec()),
            }),
        ),
        (
            "create empty",
            Request::Create(Create {
                new: new_log(None),
                code: None,
            }),
        ),
        (
            "open",
            Request::Open(Open {
                logs: vec![open(None), open(Some(SIGNATURE))],
            }),
        ),
        ("open none", Request::Open(Open { logs: vec![] })),
        ("append", Request::Append(append(64, vec![], None))),
        (
            "append with next",
            Request::Append(append(
                64,
                vec![new_log(Some(32)), new_log(None)],
                Some(SIGNATURE),
            )),
        ),
        (
            "renew",
            Request::Renew(Renew {
                handle: Handle(7),
                proof: None,
            }),
        ),
        (
            "renew by append key",
            Request::Renew(Renew {
                handle: Handle(7),
                proof: Some(RenewProof::Append(SIGNATURE)),
            }),
        ),
        (
            "renew by owner key",
            Request::Renew(Renew {
                handle: Handle(7),
                proof: Some(RenewProof::Owner(SIGNATURE)),
            }),
        ),
        (
            "trim",
            Request::Trim(Trim {
                handle: Handle(7),
                up_to: 5,
                signature: SIGNATURE,
            }),
        ),
        (
            "destroy",
            Request::Destroy(Destroy {
                capability: Capability::new([0x55; 32]),
                signature: SIGNATURE,
            }),
        ),
        ("leave", Request::Leave(Handle(7))),
        (
            "cast",
            Request::Cast(Cast {
                handle: Handle(7),
                bytes: b"typing".to_vec(),
            }),
        ),
        ("key records", Request::KeyRecords(1_800_000_000)),
    ];
    let requests = requests.into_iter().chain(shares());
    let with_id = |(name, request)| {
        (
            name,
            FromClient {
                id: 0x0102_0304,
                request,
            },
        )
    };
    requests.map(with_id).collect()
}

fn shares() -> Vec<(&'static str, Request)> {
    let id = || ShareId::new([0x99; 32]);
    let share = Share {
        owner: VerifyKey([0xaa; 32]),
        key: key(),
        uses: 10,
        days: 400,
        policy: None,
    };
    let with_policy = Share {
        policy: Some(wipe::policy(2, 3)),
        ..share.clone()
    };
    vec![
        (
            "share put",
            Request::SharePut(PutShare {
                id: id(),
                share: share.clone(),
                code: None,
            }),
        ),
        (
            "share put with code",
            Request::SharePut(PutShare {
                id: id(),
                share,
                code: AccessCode::new(b"code".to_vec()),
            }),
        ),
        (
            "share put with policy",
            Request::SharePut(PutShare {
                id: id(),
                share: with_policy,
                code: None,
            }),
        ),
        (
            "share evaluate",
            Request::ShareEvaluate(EvaluateShare {
                id: id(),
                element: Element::new(unhex32(EVALUATIONS[0].0)).unwrap(),
            }),
        ),
        (
            "share renew",
            Request::ShareRenew(RenewShare {
                id: id(),
                days: 400,
                proof: SIGNATURE,
            }),
        ),
        (
            "share delete",
            Request::ShareDelete(DeleteShare {
                id: id(),
                signature: SIGNATURE,
            }),
        ),
        (
            "share wipe",
            Request::ShareWipe(WipeShare {
                id: id(),
                order: wipe::order(&[(0, 1), (2, 3)]),
            }),
        ),
    ]
}

fn view() -> View {
    View {
        first_seq: 3,
        next_seq: 9,
        slots: 2,
        running_hash: RunningHash([0x66; 32]),
        closed: true,
    }
}

fn entry(body: usize) -> EntryPush {
    EntryPush {
        seq: 8,
        before: RunningHash([0x77; 32]),
        expect_slots: 2,
        commit: false,
        close: true,
        ttl: Ttl::Day30,
        nonce: [0x33; 16],
        next_hash: [0x88; 32],
        body: vec![0x44; body],
    }
}

pub fn from_relay() -> Vec<(&'static str, FromRelay)> {
    let refusal = Refusal::later(RefusalCode::Busy, 30);
    let opened = OpenOutcome::Open(OpenedLog {
        handle: Handle(7),
        view: view(),
    });
    let refused = OpenOutcome::Refused(Refusal::now(RefusalCode::Unknown));
    let record = Relay::new(1).key.signed().record.clone();
    let answers = [
        ("done", Answer::Done),
        ("refused", Answer::Refused(refusal)),
        ("created", Answer::Created),
        (
            "opened",
            Answer::Opened(Opened {
                logs: vec![opened, refused],
            }),
        ),
        (
            "appended",
            Answer::Appended(Appended {
                seq: 8,
                running_hash: RunningHash([0x66; 32]),
            }),
        ),
        ("stale", Answer::Stale(view())),
        (
            "key records",
            Answer::KeyRecords(KeyRecords {
                records: vec![record],
            }),
        ),
        (
            "no key records",
            Answer::KeyRecords(KeyRecords { records: vec![] }),
        ),
        (
            "evaluated",
            Answer::Evaluated(Evaluated {
                element: Element::new(unhex32(EVALUATIONS[0].1)).unwrap(),
                uses_left: 9,
            }),
        ),
        ("wiped", Answer::Wiped(SIGNATURE)),
    ];
    let pushes = [
        ("entry", Push::Entry(entry(64))),
        ("caught up", Push::CaughtUp(9)),
        ("gone", Push::Gone(Refusal::now(RefusalCode::Destroyed))),
        (
            "cast push",
            Push::Cast(CastPush {
                bytes: b"typing".to_vec(),
            }),
        ),
    ];
    let answers = answers.map(|(name, answer)| (name, FromRelay::Answer(0x0102_0304, answer)));
    let pushes = pushes.map(|(name, push)| (name, FromRelay::Push(Handle(7), push)));
    answers.into_iter().chain(pushes).collect()
}

/// The frame class a message of this length takes.
fn class(len: usize) -> usize {
    FRAME_CLASSES
        .into_iter()
        .find(|class| len + 4 <= *class)
        .unwrap()
}

#[test]
fn usual_messages_fit_the_frames_meant_for_them() {
    let client = |request| class(FromClient { id: 1, request }.encode().unwrap().len());
    let relay = |message: FromRelay| class(message.encode().unwrap().len());
    assert_eq!(
        client(Request::Append(append(4_096, vec![], Some(SIGNATURE)))),
        4_608
    );
    assert_eq!(
        client(Request::Append(append(
            16_384,
            vec![new_log(None), new_log(None)],
            None
        ))),
        18_432
    );
    // Taking an invite: the join, generation 1 and the recovery log.
    let join = append(16_384, vec![new_log(None), new_log(None)], Some(SIGNATURE));
    assert_eq!(client(Request::Append(join)), 18_432);
    assert_eq!(
        relay(FromRelay::Push(Handle(1), Push::Entry(entry(4_096)))),
        4_608
    );
    assert_eq!(
        relay(FromRelay::Push(Handle(1), Push::Entry(entry(16_384)))),
        18_432
    );
    assert_eq!(
        relay(FromRelay::Push(Handle(1), Push::Entry(entry(4 << 20)))),
        4_456_448
    );
    let one = OpenLog {
        capability: Capability::new([1; 32]),
        from: 0,
        proof: Some(SIGNATURE),
    };
    assert_eq!(client(Request::Open(Open { logs: vec![one; 4] })), 512);
    let record = Relay::new(1).key.signed().record.clone();
    let records = KeyRecords {
        records: vec![record; 128],
    };
    assert_eq!(
        relay(FromRelay::Answer(1, Answer::KeyRecords(records))),
        18_432
    );
}

#[test]
fn debug_names_the_operation_only() {
    for (name, message) in from_client() {
        let shown = format!("{message:?}");
        assert!(
            name.replace(' ', "_").starts_with(&shown),
            "{name}: {shown}"
        );
        assert!(!shown.contains('5'), "{shown}");
    }
    for (name, message) in from_relay() {
        let shown = format!("{message:?}");
        assert!(
            shown.len() < 20 && !shown.contains(char::is_numeric),
            "{name}: {shown}"
        );
    }
}

#[test]
fn the_aad_of_a_pushed_entry_is_its_fields() {
    let push = entry(64);
    let id = emptyroom_wire::log::LogId([1; 32]);
    let aad = push.aad(id);
    assert_eq!(
        (aad.log_id, aad.expect_slots, aad.commit, aad.close),
        (id, 2, false, true)
    );
    assert_eq!(
        (aad.ttl, aad.nonce, aad.next_hash),
        (Ttl::Day30, [0x33; 16], [0x88; 32])
    );
}

/// Encoded once and sealed in parts, a push is the same message to each reader.
// [SPEC 4.2]
#[test]
fn a_shared_push_is_the_message_to_each_handle() {
    let now = Mono(5_000);
    let (mut client, mut there) = Relay::new(1).streams(now);
    let mut pushes = 0;
    for (name, message) in from_relay() {
        let FromRelay::Push(handle, push) = message else {
            continue;
        };
        let shared = SharedPush::new(&push).unwrap();
        for handle in [handle, Handle(0x0102_0304)] {
            let parts = [&SharedPush::head(handle), shared.bytes()];
            let frame = there.seal_parts(now, &parts).unwrap();
            let opened = client.open(now, &frame).unwrap().unwrap();
            let message = FromRelay::Push(handle, push.clone());
            assert_eq!(opened, message.encode().unwrap(), "{name}");
            assert_eq!(FromRelay::decode(&opened).unwrap(), message);
        }
        pushes += 1;
    }
    assert!(pushes > 3);
}

#[test]
fn refusals_have_stable_names() {
    let names: Vec<&str> = (1..=20)
        .map(|code| {
            let bytes = [code, 0, 0, 0, 0];
            emptyroom_wire::codec::decode::<Refusal>(&bytes)
                .unwrap()
                .code
                .name()
        })
        .collect();
    let mut unique = names.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), names.len());
    assert!(emptyroom_wire::codec::decode::<Refusal>(&[21, 0, 0, 0, 0]).is_err());
    assert!(emptyroom_wire::codec::decode::<Refusal>(&[0, 0, 0, 0, 0]).is_err());
}
