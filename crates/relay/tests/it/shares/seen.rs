//! What is seen of shares: on the disk, by their days, and in sums.

use super::wipe::{SWITCH, body, killer, order, policy, wipe};
use super::*;

// [SPEC 6.171] [SPEC 6.172]
#[test]
fn the_disk_holds_nothing_of_a_share_in_clear() {
    let mut world = World::new();
    let mut client = world.client();
    client.ask(&mut world, put(1, share(9, 10)));
    client.ask(&mut world, evaluate(1));
    client.ask(&mut world, put(2, share(9, 10)));
    client.ask(&mut world, create(&Log::new(7), None));
    // Eight keys are the most that a policy has.
    let policy = Some(policy(8, 8));
    let most = Share {
        policy,
        ..share(9, 10)
    };
    client.ask(&mut world, put(3, most));
    let delete = delete(2, deletion(&world, 2));
    client.ask(&mut world, delete);
    let disk = world.disk();
    let marks = [
        [1; 32],
        [2; 32],
        id(1).name().0,
        owner().verify_key().0,
        unhex(KEY),
        unhex(BLINDED),
        unhex(EVALUATED),
        SWITCH.0,
        killer(1).verify_key().0,
    ];
    for (key, (_, row)) in &disk.lasting {
        for mark in marks {
            assert!(key.0 != mark && !row.windows(32).any(|part| part == mark));
        }
    }
    // A share, a deleted one, and a log look alike.
    let lengths: Vec<usize> = disk.lasting.values().map(|(_, row)| row.len()).collect();
    assert_eq!(lengths, [512; 4]);
}

/// The last days of rows are in clear: those of shares are like those of logs.
// [SPEC 6.172] [SPEC 4.71]
#[test]
fn a_share_ends_on_a_day_on_which_a_log_may_end() {
    for wait in 0..8 {
        let mut world = World::new();
        world.jump(wait * DAY_MS);
        let mut client = world.client();
        let today = world.now.wall.day().0;
        client.ask(&mut world, create(&Log::new(7), None));
        let recovery = Log::with(8, Flags::RECOVERY_LIFE);
        client.ask(&mut world, create(&recovery, None));
        let logs: BTreeSet<u32> = days(&mut world).collect();
        for (number, days) in [(1, 180), (2, 400)] {
            client.ask(&mut world, put(number, share(9, days)));
        }
        assert_eq!(days(&mut world).collect::<BTreeSet<u32>>(), logs);
        for number in 1..=5 {
            client.ask(&mut world, put(2 + number, share(9, 20)));
            let days = 30 * u16::from(number);
            let renew = renew(2 + number, days, proof(&world, &client, 2 + number, days));
            assert_eq!(client.ask(&mut world, renew), Answer::Done);
        }
        for day in days(&mut world) {
            assert!(day.is_multiple_of(8) && day <= today + 407, "{day}");
        }
    }
}

fn days(world: &mut World) -> impl Iterator<Item = u32> {
    let lasting = world.disk().lasting;
    lasting.into_values().map(|(day, _)| day.0)
}

// [SPEC 6.170]
#[test]
fn shares_and_logs_do_not_meet() {
    let mut world = World::new();
    let mut client = world.client();
    let log = Log::new(7);
    client.ask(&mut world, create(&log, Some(first(1))));
    client.ask(&mut world, put(1, share(9, 10)));
    let capability = *log.capability().expose();
    let stray = Request::ShareEvaluate(EvaluateShare {
        id: ShareId::new(capability),
        element: Element::new(unhex(BLINDED)).unwrap(),
    });
    assert_eq!(client.refused(&mut world, stray), RefusalCode::Unknown);
    let mut stray = open(&log, 0, None);
    if let Request::Open(Open { logs }) = &mut stray {
        logs[0] = OpenLog {
            capability: Capability::new(*id(1).expose()),
            from: 0,
            proof: None,
        };
    }
    let Answer::Opened(opened) = client.ask(&mut world, stray) else {
        panic!("not answered");
    };
    assert!(
        matches!(opened.logs[0], OpenOutcome::Refused(refusal) if refusal.code == RefusalCode::Unknown)
    );
    assert_eq!(world.stopped, None);
}

// [SPEC 6.175]
#[test]
fn the_totals_say_nothing_of_shares() {
    let mut world = World::new();
    let mut client = world.client();
    let before = world.relay.totals();
    for number in 1..40 {
        client.ask(&mut world, put(number, share(2, 10)));
        for _ in 0..3 {
            client.ask(&mut world, evaluate(number));
        }
        let renew = renew(number, 20, proof(&world, &client, number, 20));
        assert_eq!(client.ask(&mut world, renew), Answer::Done);
        let delete = delete(number, deletion(&world, number));
        assert_eq!(client.ask(&mut world, delete), Answer::Done);
        let policy = Some(policy(1, 1));
        let share = Share {
            policy,
            ..share(2, 10)
        };
        client.ask(&mut world, put(number + 100, share));
        let order = order(&body(&world), &[(0, 1)]);
        let answer = client.ask(&mut world, wipe(number + 100, order));
        assert!(matches!(answer, Answer::Wiped(_)));
    }
    assert_eq!(world.relay.totals(), before);
}

// [SPEC 6.175]
#[test]
fn refused_requests_about_shares_are_not_counted() {
    let code = |bytes: &[u8]| AccessCode::new(bytes.to_vec());
    let mut world = World::with(Config {
        access_code: code(b"open sesame"),
        ..Config::open()
    });
    let mut client = world.client();
    let put = |number, share, code| {
        let id = id(number);
        Request::SharePut(PutShare { id, share, code })
    };
    let right = || code(b"open sesame");
    let before = world.relay.totals();
    for number in [1, 2] {
        let answer = client.ask(&mut world, put(number, share(1, 10), right()));
        assert_eq!(answer, Answer::Done);
    }
    let deletion = deletion(&world, 2);
    client.ask(&mut world, delete(2, deletion));
    let order = order(&body(&world), &[(0, 1)]);
    let another = || put(1, share(2, 10), right());
    let refused = [
        (evaluate(3), RefusalCode::Unknown),
        (evaluate(2), RefusalCode::Destroyed),
        (wipe(1, order), RefusalCode::NotAllowed),
        (delete(1, Signature([0; 64])), RefusalCode::BadProof),
        (renew(1, 20, Signature([0; 64])), RefusalCode::BadProof),
        (put(4, share(1, 10), None), RefusalCode::BadCode),
        (put(4, share(0, 10), right()), RefusalCode::Malformed),
        (renew(1, 0, Signature([0; 64])), RefusalCode::Malformed),
    ];
    for (request, code) in refused {
        assert_eq!(client.refused(&mut world, request), code);
    }
    assert!(matches!(
        client.ask(&mut world, evaluate(1)),
        Answer::Evaluated(_)
    ));
    assert_eq!(client.refused(&mut world, evaluate(1)), RefusalCode::UsedUp);
    assert_eq!(client.refused(&mut world, another()), RefusalCode::Exists);
    // By a store that has no space.
    world.ledger.rows().failures.push(StoreFailure::Full);
    let full = client.refused(&mut world, put(5, share(1, 10), right()));
    assert_eq!(full, RefusalCode::StorageFull);
    let after = world.relay.totals();
    assert_eq!(
        (after.refusals, after.hangups),
        (before.refusals, before.hangups)
    );
    // Others are.
    client.refused(&mut world, create(&Log::new(7), None));
    assert_ne!(world.relay.totals().refusals, before.refusals);
}
