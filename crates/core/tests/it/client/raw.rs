//! Somebody who speaks to the relay without any client: a member who breaks the rules, or a thief of a link.

use std::collections::VecDeque;

use emptyroom_core::inspect::{self, Inspected};
use emptyroom_relay::{ConnId, Input};
use emptyroom_wire::entry::{self, Aad, Ttl};
use emptyroom_wire::log_keys::LogAccess;
use emptyroom_wire::op::{
    Answer, Append, FromClient, FromRelay, Handle, NewLog, Open, OpenLog, OpenOutcome, Request,
    View,
};
use emptyroom_wire::proof::{self, Purpose, Scope};
use emptyroom_wire::relay_key::KeyChain;
use emptyroom_wire::stream::{ClientStream, Opening, OpeningOutcome};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::world::World;

/// A stream of its own.
pub(crate) struct Raw {
    conn: ConnId,
    stream: ClientStream,
    rng: ChaCha20Rng,
    next_id: u32,
}

/// What is known of a party's conversations by its records.
pub(crate) fn inspect(world: &World, party: usize) -> Inspected {
    try_inspect(world, party).unwrap()
}

/// The same, if there is any.
pub(crate) fn try_inspect(world: &World, party: usize) -> Option<Inspected> {
    inspect::conversations(&world.parties[party].records)
        .unwrap()
        .pop()
}

impl Raw {
    pub(crate) fn connect(world: &mut World) -> Self {
        let conn = ConnId(1_000_000 + world.raw_frames.len() as u64);
        world.raw_frames.insert(conn, VecDeque::new());
        let now = world.now;
        let relay = world.relay.as_mut().unwrap();
        let chain = KeyChain::new(relay.identity_hash());
        relay.handle(now, Input::Connected(conn));
        world.run();
        let mut rng = ChaCha20Rng::seed_from_u64(99);
        let greeting = world
            .raw_frames
            .get_mut(&conn)
            .unwrap()
            .pop_front()
            .unwrap();
        let (opening, frame) = Opening::start(&greeting, None, &chain, &mut rng).unwrap();
        world
            .relay
            .as_mut()
            .unwrap()
            .handle(now, Input::Frame(conn, frame));
        world.run();
        let answer = world
            .raw_frames
            .get_mut(&conn)
            .unwrap()
            .pop_front()
            .unwrap();
        let stream = match opening.answer(&answer, &chain, now.mono, &mut rng).unwrap() {
            OpeningOutcome::Open(opened) => opened.stream,
            OpeningOutcome::Again(..) => panic!("the key is current"),
        };
        Self {
            conn,
            stream,
            rng,
            next_id: 0,
        }
    }

    /// The answer to a request; pushes are passed over.
    pub(crate) fn request(&mut self, world: &mut World, request: Request) -> Answer {
        self.next_id += 1;
        let id = self.next_id;
        let message = FromClient { id, request }.encode().unwrap();
        let frame = self.stream.seal(world.now.mono, &message).unwrap();
        let now = world.now;
        world
            .relay
            .as_mut()
            .unwrap()
            .handle(now, Input::Frame(self.conn, frame));
        world.run();
        while let Some(frame) = world.raw_frames.get_mut(&self.conn).unwrap().pop_front() {
            let Some(message) = self.stream.open(now.mono, &frame).unwrap() else {
                continue;
            };
            if let FromRelay::Answer(answered, answer) = FromRelay::decode(&message).unwrap()
                && answered == id
            {
                return answer;
            }
        }
        panic!("no answer");
    }

    pub(crate) fn open(&mut self, world: &mut World, access: &LogAccess) -> (Handle, View) {
        let log = OpenLog {
            capability: access.capability.clone(),
            from: u64::MAX,
            proof: None,
        };
        match self.request(world, Request::Open(Open { logs: vec![log] })) {
            Answer::Opened(opened) => match &opened.logs[0] {
                OpenOutcome::Open(log) => (log.handle, log.view),
                OpenOutcome::Refused(refusal) => panic!("{refusal:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    /// Appends anything, sealed as a member would.
    pub(crate) fn append(
        &mut self,
        world: &mut World,
        access: &LogAccess,
        (kind, content): (u8, &[u8]),
        (commit, close): (bool, bool),
        next: Vec<NewLog>,
    ) -> Answer {
        let (handle, view) = self.open(world, access);
        let aad = Aad {
            log_id: access.log_id,
            expect_slots: view.slots,
            commit,
            close,
            ttl: Ttl::Day30,
            nonce: emptyroom_wire::rng::bytes(&mut self.rng),
            next_hash: entry::next_hash(&next).unwrap(),
        };
        let body = entry::seal(&access.outer, &aad, kind, content, &mut self.rng).unwrap();
        let answer = self.append_body(world, access, handle, (&aad, body), next);
        // A stream may hold a log open a few times only.
        self.request(world, Request::Leave(handle));
        answer
    }

    pub(crate) fn append_body(
        &mut self,
        world: &mut World,
        access: &LogAccess,
        handle: Handle,
        (aad, body): (&Aad, Vec<u8>),
        next: Vec<NewLog>,
    ) -> Answer {
        let binding = self.stream.binding();
        let relay = world.relay.as_ref().unwrap().identity_hash();
        let scope = Scope {
            relay: &relay,
            binding: &binding,
            log: access.log_id,
        };
        let proof = proof::sign(&access.append, Purpose::Append, scope);
        let append = Append {
            handle,
            expect_slots: aad.expect_slots,
            commit: aad.commit,
            close: aad.close,
            ttl: aad.ttl,
            nonce: aad.nonce,
            body,
            next,
            proof: Some(proof),
        };
        self.request(world, Request::Append(append))
    }
}
