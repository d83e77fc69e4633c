//! Every operation cut short, lengthened and damaged: the stream ends, and nobody else notices.

use emptyroom_relay::Reason;
use emptyroom_wire::op::{
    Answer, Append, Cast, Destroy, FromClient, Handle, Open, OpenLog, RefusalCode, Renew,
    RenewProof, Request, Trim,
};
use emptyroom_wire::sign::Signature;

use crate::world::{Client, Log, World, create, first, message, open};

const ID: u32 = 0x0102_0304;
const SIGNATURE: Signature = Signature([7; 64]);

/// Each operation with everything that it can carry.
fn operations() -> Vec<Request> {
    let (log, next) = (Log::with_reader(9), Log::new(8));
    let opening = |from| OpenLog {
        capability: log.capability(),
        from,
        proof: Some(SIGNATURE),
    };
    let renew = |proof| {
        let handle = Handle(0);
        Request::Renew(Renew { handle, proof })
    };
    vec![
        Request::Ping,
        create(&log, Some(first(1))),
        Request::Open(Open {
            logs: vec![opening(0), opening(7)],
        }),
        Request::Append(Append {
            commit: true,
            close: true,
            next: vec![next.new_log(Some(first(2))), log.new_log(None)],
            proof: Some(SIGNATURE),
            ..message(Handle(0), 1)
        }),
        renew(None),
        renew(Some(RenewProof::Append(SIGNATURE))),
        renew(Some(RenewProof::Owner(SIGNATURE))),
        Request::Trim(Trim {
            handle: Handle(0),
            up_to: 3,
            signature: SIGNATURE,
        }),
        Request::Destroy(Destroy {
            capability: log.capability(),
            signature: SIGNATURE,
        }),
        Request::Leave(Handle(0)),
        Request::Cast(Cast {
            handle: Handle(0),
            bytes: vec![1; 100],
        }),
        Request::KeyRecords(5),
    ]
}

fn encoded(request: Request) -> Vec<u8> {
    FromClient { id: ID, request }.encode().unwrap()
}

fn assert_ends(world: &mut World, bytes: &[u8], id: u32) {
    let mut client = world.client();
    client.send_bytes(world, bytes);
    client.receive(world);
    let answer = client.answers.remove(&id).expect("a refusal");
    assert!(matches!(answer, Answer::Refused(refusal) if refusal.code == RefusalCode::Malformed));
    assert_eq!(world.hangup(client.conn), Some(Reason::Malformed));
}

/// Somebody who is served all the while.
struct Bystander {
    log: Log,
    client: Client,
    handle: Handle,
    appended: u32,
}

impl Bystander {
    fn new(world: &mut World) -> Bystander {
        let log = Log::new(1);
        let mut client = world.client();
        client.create(world, &log);
        let handle = client.open(world, &log, 0).handle;
        Bystander {
            log,
            client,
            handle,
            appended: 0,
        }
    }

    fn is_served(&mut self, world: &mut World) {
        let append = self
            .client
            .message(world, &self.log, self.handle, self.appended);
        let answer = self.client.ask(world, Request::Append(append));
        let appended = matches!(answer, Answer::Appended(at) if at.seq == u64::from(self.appended));
        assert!(appended, "{answer:?}");
        self.appended += 1;
    }
}

// [SPEC 4.41]
#[test]
fn every_operation_cut_short_or_lengthened_ends_the_stream() {
    let mut world = World::new();
    let mut bystander = Bystander::new(&mut world);
    for request in operations() {
        let whole = encoded(request);
        let fields = (1..whole.len().min(160)).chain((160..whole.len()).step_by(509));
        for len in fields.chain([whole.len() - 1]) {
            let id = if len < 4 { 0 } else { ID };
            assert_ends(&mut world, &whole[..len], id);
        }
        assert_ends(&mut world, &[whole.as_slice(), &[0]].concat(), ID);
        bystander.is_served(&mut world);
    }
    // No operation, and none that there is.
    assert_ends(&mut world, &[0xff; 3_000], u32::MAX);
    for operation in 10..=255 {
        assert_ends(&mut world, &[1, 2, 3, 4, operation], ID);
    }
    bystander.is_served(&mut world);
}

/// With any byte another, an operation is malformed, refused or another operation: answered or the stream's end.
// [SPEC 4.41]
#[test]
fn every_operation_with_any_byte_damaged_is_answered_or_ends_the_stream() {
    let mut world = World::new();
    let mut bystander = Bystander::new(&mut world);
    for request in operations() {
        let silent = matches!(request, Request::Cast(_));
        let whole = encoded(request);
        let mut client = world.client();
        let places = (4..whole.len().min(200)).chain((200..whole.len()).step_by(509));
        for at in places {
            for change in [0x01, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= change;
                client.send_bytes(&mut world, &bytes);
                client.receive(&mut world);
                let ended = world.hangup(client.conn);
                let answered = client.answers.remove(&ID).is_some();
                assert!(answered || silent || ended.is_some(), "{at} {change}");
                if let Some(reason) = ended {
                    assert!(matches!(reason, Reason::Malformed | Reason::Abuse));
                    client = world.client();
                }
            }
        }
        assert!(world.stopped.is_none());
        bystander.is_served(&mut world);
    }
    let mut reader = world.client();
    let answer = reader.ask(&mut world, open(&bystander.log, 0, None));
    assert!(matches!(answer, Answer::Opened(_)));
}
