//! Several nodes on one database.

use std::thread;

use emptyroom_relay::store::{Access, Changes, EntryChange, RowKey, Rows};

use super::*;

fn nodes<const N: usize>(subject: &Subjected) -> [Node; N] {
    [(); N].map(|()| subject.another())
}

// [SPEC 6.201]
#[test]
fn of_commits_for_one_slot_one_wins_whatever_node_they_come_from() {
    const TURNS: u64 = 20;
    let mut subject = Subjected::new();
    one(&mut subject.node, create(1)).unwrap();
    let winners = nodes::<3>(&subject).map(|mut node| {
        thread::spawn(move || {
            let mine = u64::from(std::process::id()) ^ u64::from(generator_number());
            let mut won = Vec::new();
            for slot in 0..TURNS {
                // Another log in the same batch, made by all of them at the same time.
                let made = u8::try_from(slot).unwrap() + 10;
                let ops = vec![create(made), turn(1, mine << 8 | slot, slot)];
                let replies = node.apply(NOW, ops).unwrap();
                assert!(matches!(replies[0], StoreReply::Created));
                match &replies[1] {
                    StoreReply::Appended(placed) => won.push(placed.seq),
                    StoreReply::Stale(view) => assert!(view.slots > slot),
                    _ => panic!("neither won nor lost"),
                }
            }
            won
        })
    });
    let mut all: Vec<u64> = Vec::new();
    for winner in winners {
        all.extend(winner.join().unwrap());
    }
    all.sort_unstable();
    assert_eq!(all, (0..TURNS).collect::<Vec<_>>());
    assert_eq!(seqs(&mut subject.node, 1), all);
}

fn generator_number() -> u32 {
    use rand_core::Rng;
    generator().next_u32()
}

// [SPEC 6.201]
#[test]
fn what_one_node_wrote_the_others_see() {
    let mut subject = Subjected::new();
    let [mut one_node, mut other] = nodes(&subject);
    one(&mut one_node, create(1)).unwrap();
    for number in 0..6 {
        let node = if number % 2 == 0 {
            &mut one_node
        } else {
            &mut other
        };
        assert!(matches!(
            one(node, append(1, number, 0)),
            Ok(StoreReply::Appended(placed)) if placed.seq == number
        ));
    }
    // A retry on the other node is known by its nonce.
    let again = one(&mut one_node, append(1, 5, 0));
    assert!(matches!(again, Ok(StoreReply::Already(appended)) if appended.seq == 5));
    let trim = StoreOp::Trim {
        place: place(1),
        up_to: 2,
    };
    one(&mut other, trim).unwrap();
    assert_eq!(seqs(&mut one_node, 1), [2, 3, 4, 5]);
    one(&mut one_node, StoreOp::Destroy { place: place(1) }).unwrap();
    assert!(matches!(
        one(&mut other, append(1, 9, 0)),
        Ok(StoreReply::Refused(refusal)) if refusal.code == RefusalCode::Destroyed
    ));
    assert!(matches!(
        one(&mut subject.node, create(1)),
        Ok(StoreReply::Refused(refusal)) if refusal.code == RefusalCode::Destroyed
    ));
}

// [SPEC 6.204] [SPEC 6.206]
#[test]
fn a_node_that_is_minutes_ahead_ends_the_day_for_nobody_but_itself() {
    let subject = Subjected::new();
    let [mut ahead, mut behind] = nodes(&subject);
    let before = Wall(NOW.0 + 8 * DAY_MS - 60_000);
    let after = Wall(before.0 + 120_000);
    one(&mut ahead, create(1)).unwrap();
    // It expires with the day that is over for one of them.
    one(&mut ahead, append(1, 0, 0)).unwrap();
    let late = |number| vec![append(1, number, 0)];
    behind.expire(before).unwrap();
    ahead.expire(after).unwrap();
    for number in 1..4 {
        let (node, now) = match number {
            2 => (&mut ahead, after),
            _ => (&mut behind, before),
        };
        let replies = node.apply(now, late(number)).unwrap();
        assert!(matches!(&replies[0], StoreReply::Appended(placed) if placed.seq == number));
    }
    let read = |node: &mut Node, now| {
        let read = StoreOp::Read {
            place: place(1),
            from: 0,
            bytes_max: usize::MAX,
        };
        match node.apply(now, vec![read]).unwrap().remove(0) {
            StoreReply::Read(batch) => batch
                .entries
                .iter()
                .map(|entry| entry.seq)
                .collect::<Vec<_>>(),
            _ => panic!("not read"),
        }
    };
    assert_eq!(read(&mut behind, before), [1, 2, 3]);
    assert_eq!(read(&mut ahead, after), [1, 2, 3]);
}

/// One entry of a day, there or not.
fn change(day: Day, row: Option<&'static [u8]>) -> Changes {
    Changes {
        entries: vec![EntryChange {
            day,
            key: KEY,
            row: row.map(<[u8]>::to_vec),
        }],
        lasting: Vec::new(),
    }
}

const KEY: RowKey = RowKey([5; 32]);

fn write(node: &mut Node, day: Day, row: Option<&'static [u8]>) {
    rows(node, move |rows| {
        rows.begin(Access::Write, NOW)?;
        rows.commit(change(day, row))
    });
}

fn find(node: &mut Node, day: Day) -> Option<Vec<u8>> {
    rows(node, move |rows| {
        rows.begin(Access::Read, NOW)?;
        let found = rows.entry(day, &KEY)?;
        rows.end();
        Ok(found)
    })
}

// [SPEC 6.201]
#[test]
fn entries_in_a_table_that_another_node_made_are_found_and_removed() {
    let subject = Subjected::new();
    let [mut early, mut other] = nodes::<2>(&subject);
    for node in [&mut early, &mut other] {
        // Now it knows the tables there are: none.
        assert_eq!(find(node, Day(20_050)), None);
    }
    write(&mut other, Day(20_050), Some(b"entry"));
    write(&mut early, Day(20_050), None);
    assert_eq!(find(&mut other, Day(20_050)), None);
    let [mut late] = nodes::<1>(&subject);
    assert_eq!(find(&mut late, Day(20_051)), None);
    write(&mut other, Day(20_051), Some(b"entry"));
    assert_eq!(find(&mut late, Day(20_051)).unwrap(), b"entry");
}
