//! Two nodes on two databases at the same time.

use std::sync::Barrier;
use std::thread;

use emptyroom_relay::store::{ShareOp, ShareReply};

use super::apart::{key_of, making, rows_of};
use super::*;
use crate::shares::{op, share};

/// Again while it is refused for now: somebody else makes the same, or holds a row.
fn insist(node: &mut Node, op: impl Fn() -> StoreOp) -> StoreReply {
    for _ in 0..200 {
        match one(node, op()) {
            Ok(StoreReply::Refused(refusal)) if refusal.code == RefusalCode::StoreFailed => {
                thread::sleep(std::time::Duration::from_millis(20));
            }
            outcome => return outcome.unwrap(),
        }
    }
    panic!("it is refused for ever");
}

// [SPEC 6.210]
#[test]
fn of_those_who_make_a_log_in_different_databases_one_does() {
    let mut subject = Subjected::on(2);
    let roots = [0, 1].map(|database| apart::root(&mut subject, database));
    let made = 100..124_u8;
    // Each at the same time.
    let start = Arc::new(Barrier::new(2));
    let nodes = roots.map(|root| {
        let (mut node, made, start) = (subject.another(), made.clone(), Arc::clone(&start));
        thread::spawn(move || {
            for (number, next) in (0..).zip(made) {
                start.wait();
                let reply = insist(&mut node, || making(root, number, next));
                assert!(matches!(
                    reply,
                    StoreReply::Appended(_) | StoreReply::Already(_)
                ));
            }
            node
        })
    });
    let mut nodes = nodes.map(|node| node.join().unwrap());
    for next in made {
        // It lies in one of them, with the first entry of one of both, and is the same log for both nodes.
        let rows = rows_of(&subject, next, "shard IS NULL");
        assert_eq!(rows.iter().sum::<i64>(), 1, "{}", key_of(next));
        for (node, seq) in nodes.iter_mut().zip(1..) {
            let reply = insist(node, || append(next, seq, 0));
            assert!(matches!(reply, StoreReply::Appended(placed) if placed.seq == seq));
        }
        assert_eq!(seqs(&mut subject.node, next), [0, 1, 2]);
    }
}

// [SPEC 6.173] [SPEC 6.210]
#[test]
fn nodes_take_each_use_of_a_share_once() {
    const USES: u8 = 24;
    for databases in [1, 2] {
        let mut subject = Subjected::on(databases);
        let shares = 1..=3_u8;
        for number in shares.clone() {
            let put = ShareOp::Put(share(number, USES, 100));
            one(&mut subject.node, op(number, put)).unwrap();
        }
        let users = [(); 3].map(|()| {
            let (mut node, shares) = (subject.another(), shares.clone());
            thread::spawn(move || {
                let mut left = Vec::new();
                for _ in 0..USES {
                    for number in shares.clone() {
                        let used = insist(&mut node, || op(number, ShareOp::Use));
                        if let StoreReply::Share(ShareReply::Used(_, uses)) = used {
                            left.push((number, uses));
                        }
                    }
                }
                left
            })
        });
        let mut all: Vec<(u8, u8)> = Vec::new();
        for user in users {
            all.extend(user.join().unwrap());
        }
        all.sort_unstable();
        let each = shares.flat_map(|number| (0..USES).map(move |left| (number, left)));
        assert_eq!(all, each.collect::<Vec<_>>());
    }
}
