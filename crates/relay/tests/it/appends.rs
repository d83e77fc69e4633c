//! Appends: proofs, slots, nonces, closing, `next`.

use emptyroom_wire::entry::{RunningHash, Ttl, next_hash};
use emptyroom_wire::log::Flags;
use emptyroom_wire::op::{Answer, Append, Appended, Handle, NewLog, RefusalCode, Request};
use emptyroom_wire::proof::{self, Purpose, Scope};
use emptyroom_wire::relay_key::IdentityHash;
use emptyroom_wire::sign::Signature;

use crate::world::{Client, Log, World, body, create, first, message, prove};

struct Scene {
    world: World,
    client: Client,
    log: Log,
    handle: Handle,
}

impl Scene {
    fn new() -> Scene {
        Scene::with(Log::new(1))
    }

    fn with(log: Log) -> Scene {
        let mut world = World::new();
        let mut client = world.client();
        client.create(&mut world, &log);
        let handle = client.open(&mut world, &log, 0).handle;
        Scene {
            world,
            client,
            log,
            handle,
        }
    }

    fn message(&self, number: u32) -> Append {
        self.client
            .message(&self.world, &self.log, self.handle, number)
    }

    fn commit(&self, number: u32, slots: u64) -> Append {
        Append {
            commit: true,
            expect_slots: slots,
            ..self.message(number)
        }
    }

    fn ask(&mut self, append: Append) -> Answer {
        self.client.ask(&mut self.world, Request::Append(append))
    }

    fn appended(&mut self, append: Append) -> Appended {
        match self.ask(append) {
            Answer::Appended(appended) => appended,
            other => panic!("not appended but {other:?}"),
        }
    }

    fn refused(&mut self, append: Append) -> RefusalCode {
        self.client
            .refused(&mut self.world, Request::Append(append))
    }
}

// [SPEC 4.45] [SPEC 4.11]
#[test]
fn the_append_key_is_proved_once_per_handle() {
    let mut scene = Scene::new();
    let other = scene.world.client();
    let (world, log) = (&scene.world, &scene.log);
    let here = scene.client.stream.binding();
    let elsewhere = IdentityHash([9; 32]);
    let stranger = Log::new(2);
    let id = log.capability().log_id();
    let wrong = [
        None,
        Some(Signature([0; 64])),
        Some(prove(world, &here, &log.append, Purpose::Read, log)),
        Some(prove(world, &here, &log.owner, Purpose::Append, log)),
        Some(prove(world, &here, &stranger.append, Purpose::Append, log)),
        Some(prove(world, &here, &log.append, Purpose::Append, &stranger)),
        Some(prove(
            world,
            &other.stream.binding(),
            &log.append,
            Purpose::Append,
            log,
        )),
    ];
    let another_relay = Scope {
        relay: &elsewhere,
        binding: &here,
        log: id,
    };
    let another_relay = proof::sign(&log.append, Purpose::Append, another_relay);
    for proof in wrong {
        let append = Append {
            proof,
            ..message(scene.handle, 1)
        };
        assert_eq!(scene.refused(append), RefusalCode::BadProof);
    }
    let mut scene = Scene::new();
    let append = Append {
        proof: Some(another_relay),
        ..message(scene.handle, 1)
    };
    assert_eq!(scene.refused(append), RefusalCode::BadProof);
    let append = scene.message(1);
    assert_eq!(scene.appended(append).seq, 0);
    let unproved = message(scene.handle, 2);
    assert_eq!(scene.appended(unproved).seq, 1);
    // A bad proof where none is needed changes nothing.
    let append = Append {
        proof: Some(Signature([0; 64])),
        ..message(scene.handle, 3)
    };
    assert_eq!(scene.appended(append).seq, 2);
    // Another handle on the same log and stream has proved nothing.
    let second = scene.client.open(&mut scene.world, &scene.log, 0).handle;
    assert_eq!(scene.refused(message(second, 4)), RefusalCode::BadProof);
}

#[test]
fn where_there_is_no_append_key_the_capability_is_enough() {
    let mut log = Log::new(1);
    log.header.append_key = None;
    let mut scene = Scene::with(log);
    let unproved = message(scene.handle, 1);
    assert_eq!(scene.appended(unproved).seq, 0);
}

// [SPEC 4.50]
#[test]
fn slots_decide() {
    let mut scene = Scene::new();
    for (number, append) in [(1, false), (2, true)] {
        let append = Append {
            commit: append,
            expect_slots: 1,
            ..scene.message(number)
        };
        let Answer::Stale(view) = scene.ask(append) else {
            panic!("not stale");
        };
        assert_eq!((view.next_seq, view.slots), (0, 0));
    }
    let commit = scene.commit(3, 0);
    assert_eq!(scene.appended(commit).seq, 0);
    let stale = scene.message(4);
    assert!(matches!(scene.ask(stale), Answer::Stale(view) if view.slots == 1));
    let wild = Append {
        expect_slots: u64::MAX,
        ..scene.message(5)
    };
    assert!(matches!(scene.ask(wild), Answer::Stale(_)));
}

// [SPEC 4.50]
#[test]
fn of_two_commits_in_one_batch_one_wins() {
    let mut scene = Scene::new();
    let mut other = scene.world.client();
    let theirs = other.open(&mut scene.world, &scene.log, 0).handle;
    scene.world.hold_store = true;
    // The first is at the store, the next two wait in one batch.
    let ping = create(&Log::new(9), None);
    scene.client.send(&mut scene.world, ping);
    let append = Request::Append(scene.commit(1, 0));
    let mine = scene.client.send(&mut scene.world, append);
    let commit = other.message(&scene.world, &scene.log, theirs, 2);
    let append = Request::Append(Append {
        commit: true,
        ..commit
    });
    let their = other.send(&mut scene.world, append);
    scene.world.release_store();
    assert!(scene.world.batches.contains(&2), "both in one batch");
    scene.client.receive(&mut scene.world);
    other.receive(&mut scene.world);
    assert!(matches!(scene.client.answers[&mine], Answer::Appended(_)));
    assert!(matches!(other.answers[&their], Answer::Stale(view) if view.slots == 1));
    assert_eq!(
        (scene.client.seqs(scene.handle), other.seqs(theirs)),
        (vec![0], vec![0])
    );
}

// [SPEC 4.51] [SPEC 4.52]
#[test]
fn a_retry_is_answered_and_not_stored() {
    let mut scene = Scene::new();
    let closing = Append {
        close: true,
        ..scene.commit(1, 0)
    };
    let appended = scene.appended(closing.clone());
    // On the same handle, and by another client after a reconnect.
    assert_eq!(scene.appended(closing.clone()), appended);
    let mut again = scene.world.client();
    let handle = again.open(&mut scene.world, &scene.log, 0).handle;
    let proof = Some(again.append_proof(&scene.world, &scene.log));
    let retry = Append {
        handle,
        proof,
        ..closing.clone()
    };
    let answer = again.ask(&mut scene.world, Request::Append(retry));
    assert_eq!(answer, Answer::Appended(appended));
    // Nothing is pushed twice.
    scene.client.receive(&mut scene.world);
    assert_eq!(scene.client.seqs(scene.handle), [0]);
    // Anything else under this nonce is another entry.
    let others = [
        Append {
            body: body(9, 4 << 10),
            ..closing.clone()
        },
        Append {
            ttl: Ttl::Day1,
            ..closing.clone()
        },
        Append {
            expect_slots: 1,
            ..closing.clone()
        },
        Append {
            close: false,
            ..closing.clone()
        },
        Append {
            next: vec![Log::new(5).new_log(None)],
            ..closing
        },
    ];
    for other in others {
        assert_eq!(scene.refused(other), RefusalCode::NonceReused);
    }
}

// [SPEC 4.49] [SPEC 4.61]
#[test]
fn closing_is_a_commits_and_for_good() {
    let mut scene = Scene::new();
    let close = Append {
        close: true,
        ..scene.message(1)
    };
    assert_eq!(scene.refused(close), RefusalCode::Malformed);
    let close = Append {
        close: true,
        ..scene.commit(2, 0)
    };
    scene.appended(close);
    for append in [scene.message(3), scene.commit(4, 1)] {
        assert_eq!(scene.refused(append), RefusalCode::Closed);
    }
    let view = scene.client.open(&mut scene.world, &scene.log, 0).view;
    assert!(view.closed);
    let mut scene = Scene::with(Log::with(2, Flags::RECOVERY));
    let close = Append {
        close: true,
        ..scene.commit(1, 0)
    };
    assert_eq!(scene.refused(close), RefusalCode::RefusedClose);
}

// [SPEC 6.20]
#[test]
fn a_logs_life_is_for_recovery_logs() {
    let mut scene = Scene::new();
    let life = Append {
        ttl: Ttl::Life,
        ..scene.message(1)
    };
    assert_eq!(scene.refused(life), RefusalCode::NotAllowed);
    let mut scene = Scene::with(Log::with(2, Flags::RECOVERY));
    let life = Append {
        ttl: Ttl::Life,
        ..scene.message(1)
    };
    assert_eq!(scene.appended(life).seq, 0);
}

// [SPEC 4.53] [SPEC 4.54]
#[test]
fn next_logs_come_with_the_append_or_not_at_all() {
    let mut scene = Scene::new();
    let (a, b, old) = (Log::new(2), Log::new(3), Log::new(4));
    scene.client.create(&mut scene.world, &old);
    let next = |logs: Vec<NewLog>, append: Append| Append {
        next: logs,
        ..append
    };
    for logs in [
        vec![a.new_log(None), a.new_log(Some(first(1)))],
        vec![scene.log.new_log(None)],
    ] {
        let append = next(logs, scene.commit(1, 0));
        assert_eq!(scene.refused(append), RefusalCode::Malformed);
    }
    let append = next(
        vec![a.new_log(None), old.new_log(Some(first(1)))],
        scene.commit(1, 0),
    );
    assert_eq!(scene.refused(append), RefusalCode::Exists);
    let append = next(
        vec![a.new_log(Some(first(1))), b.new_log(None)],
        scene.commit(1, 0),
    );
    let expected_hash = next_hash(&append.next).unwrap();
    assert_eq!(scene.appended(append).seq, 0);
    scene.client.receive(&mut scene.world);
    let entry = scene.client.entries(scene.handle)[0].clone();
    assert_eq!(entry.next_hash, expected_hash);
    let opened = scene.client.open(&mut scene.world, &a, 0);
    assert_eq!(opened.view.next_seq, 1);
    scene.client.receive(&mut scene.world);
    let entry = scene.client.entries(opened.handle)[0];
    assert_eq!(
        (entry.seq, entry.before, entry.next_hash),
        (0, RunningHash::default(), [0; 32])
    );
    assert_eq!(scene.client.open(&mut scene.world, &b, 0).view.next_seq, 0);
}

#[test]
fn the_acknowledged_hash_is_that_of_what_is_read() {
    let mut scene = Scene::new();
    let mut last = RunningHash::default();
    for number in 0..5 {
        let append = Append {
            commit: number % 2 == 1,
            expect_slots: u64::from(number / 2),
            ..scene.message(number)
        };
        let appended = scene.appended(append);
        scene.client.receive(&mut scene.world);
        let entries = scene.client.entries(scene.handle);
        let entry = entries.last().unwrap();
        assert_eq!(entry.before, last);
        let aad = entry.aad(scene.log.capability().log_id());
        last = last.next(entry.seq, &aad, &entry.body);
        assert_eq!(appended.running_hash, last);
    }
    let view = scene.client.open(&mut scene.world, &scene.log, 0).view;
    assert_eq!((view.running_hash, view.slots), (last, 2));
}
