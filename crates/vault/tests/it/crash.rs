//! A crash at every write, sync and rename of a history, with every kind of loss: nothing that was
//! acknowledged is lost, nothing that was deleted comes back, and no transaction happens by half.

use std::collections::BTreeMap;

use emptyroom_vault::{Change, OpenError, Vault};

use crate::disk::{Disk, Loss};
use crate::reader;
use crate::support::{SECRET, create, delete, open, put, value};

type Model = BTreeMap<String, Vec<u8>>;

/// One thing that is done to a vault.
enum Step {
    Apply(Vec<(String, Option<Vec<u8>>)>),
    Rotate,
    Relock,
}

fn text(key: &str, value: &str) -> (String, Option<Vec<u8>>) {
    (key.to_owned(), Some(value.as_bytes().to_vec()))
}

fn gone(key: &str) -> (String, Option<Vec<u8>>) {
    (key.to_owned(), None)
}

fn history() -> Vec<Step> {
    let many = |from: usize, to: usize| {
        (from..to)
            .map(|n| text(&format!("many/{n:04}"), &format!("value {n}")))
            .collect()
    };
    vec![
        Step::Apply(vec![text("a", "1"), text("b", "2"), text("c", "3")]),
        // Replacing and deleting together: the table's transaction decides.
        Step::Apply(vec![text("a", "4"), gone("b"), text("d", "5")]),
        // Only deleting: the journal decides.
        Step::Apply(vec![gone("c"), gone("d")]),
        Step::Apply(vec![("big".to_owned(), Some(vec![7; 60_000]))]),
        // More than the first key file holds: it grows.
        Step::Apply(many(0, 500)),
        Step::Rotate,
        Step::Apply((0..200).map(|n| gone(&format!("many/{n:04}"))).collect()),
        Step::Relock,
        Step::Apply(vec![text("a", "6"), text("big", "small")]),
        Step::Apply(vec![gone("a")]),
        Step::Relock,
    ]
}

fn change((key, value): &(String, Option<Vec<u8>>)) -> Change {
    match value {
        Some(value) => put(key, value),
        None => delete(key),
    }
}

fn applied(model: &Model, changes: &[(String, Option<Vec<u8>>)]) -> Model {
    let mut model = model.clone();
    for (key, value) in changes {
        match value {
            Some(value) => model.insert(key.clone(), value.clone()),
            None => model.remove(key),
        };
    }
    model
}

/// What the vault must hold after a crash: the one or the other.
struct Expected {
    acknowledged: Model,
    under_way: Model,
}

/// Runs the history until it ends or the disk fails.
fn run(disk: &Disk) -> Option<Expected> {
    let mut model = Model::new();
    let mut vault = create(disk).ok()?;
    for step in history() {
        let next = match &step {
            Step::Apply(changes) => applied(&model, changes),
            _ => model.clone(),
        };
        let done = match step {
            Step::Apply(changes) => vault.apply(changes.iter().map(change).collect()).is_ok(),
            Step::Rotate => vault.rotate().is_ok(),
            Step::Relock => {
                let locked = vault.lock().is_ok();
                match open(disk) {
                    Ok(opened) => vault = opened,
                    Err(_) => {
                        return Some(Expected {
                            acknowledged: model.clone(),
                            under_way: model,
                        });
                    }
                }
                locked
            }
        };
        if !done {
            return Some(Expected {
                acknowledged: model,
                under_way: next,
            });
        }
        model = next;
    }
    drop(vault);
    Some(Expected {
        acknowledged: model.clone(),
        under_way: model,
    })
}

fn content(vault: &Vault) -> Model {
    let all = vault.scan(b"", None, usize::MAX, false).unwrap();
    all.into_iter()
        .map(|(key, value)| (String::from_utf8(key).unwrap(), value.to_vec()))
        .collect()
}

/// Crashes at one point of the history and looks at what is left, twice: recovery can crash, too.
fn crash_at(point: u64, loss: Loss) {
    let disk = Disk::new();
    disk.crash_after(point);
    let expected = run(&disk);
    let after = disk.after_crash(loss);
    let what = format!("crash at {point}, {loss:?}");
    let Some(expected) = expected else {
        // The vault was not made: then there is none, or a whole and empty one.
        match open(&after) {
            Err(OpenError::Missing) => assert!(create(&after).is_ok(), "{what}"),
            Ok(vault) => assert!(content(&vault).is_empty(), "{what}"),
            Err(e) => panic!("{what}: {e}"),
        }
        return;
    };
    // A second crash, somewhere in the recovery.
    let twice = after.fork();
    twice.crash_after(point % 23);
    let _ = open(&twice);
    let twice = twice.after_crash(Loss::Random(point));
    let mut found = Vec::new();
    for disk in [&after, &twice] {
        let mut vault = open(disk).unwrap_or_else(|e| panic!("{what}: {e}"));
        let has = content(&vault);
        assert!(
            has == expected.acknowledged || has == expected.under_way,
            "{what}: something else than before or after the change"
        );
        vault.apply(vec![put("after", b"crash")]).unwrap();
        vault.lock().unwrap();
        found.push(has);
    }
    // The first recovery saw what the second saw: it does not change its mind.
    assert_eq!(found[0], found[1], "{what}");
}

/// First the process dies, and what it wrote is there but not durable; then, in the recovery that
/// goes on from it, the machine, and every write since the last sync is torn.
#[test]
fn of_the_machine_after_one_of_the_process() {
    let start = Disk::new();
    let mut vault = create(&start).unwrap();
    vault.apply(vec![put("a", b"1"), put("b", b"2")]).unwrap();
    vault.lock().unwrap();
    let change = |vault: &mut Vault| {
        vault.apply(vec![put("a", b"3"), delete("b")])?;
        vault.apply(vec![delete("a")])?;
        vault.rotate()
    };
    let whole = start.fork();
    let mut vault = open(&whole).unwrap();
    let before = whole.steps();
    change(&mut vault).unwrap();
    let steps = whole.steps() - before;
    drop(vault);
    let states = [&[("a", "1"), ("b", "2")][..], &[("a", "3")], &[]].map(|state| {
        let entry = |(key, value): &(&str, &str)| ((*key).to_owned(), value.as_bytes().to_vec());
        state.iter().map(entry).collect::<Model>()
    });
    for first in 0..steps {
        let disk = start.fork();
        let mut vault = open(&disk).unwrap();
        disk.crash_after(first);
        let _ = change(&mut vault);
        drop(vault);
        let mut second = 0;
        loop {
            let killed = disk.after_kill();
            killed.crash_after(second);
            let recovered = open(&killed).is_ok();
            let after = killed.after_crash(Loss::Torn);
            let vault = open(&after).unwrap_or_else(|e| panic!("{first}, {second}: {e}"));
            let has = content(&vault);
            assert!(states.contains(&has), "{first}, {second}");
            if recovered {
                break;
            }
            second += 1;
        }
    }
}

/// Deletes or replaces a record, crashes at one point, and says whether the old value can be read
/// with anything that is on the disk after the recovery, and whether the change has happened.
fn old_value_after_crash(point: u64, loss: Loss, change: &Change) -> (bool, bool) {
    let disk = Disk::new();
    let mut vault = create(&disk).unwrap();
    vault.apply(vec![put("a", b"old"), put("b", b"x")]).unwrap();
    let old = reader::seize(|name| disk.bytes(name), SECRET).unwrap().rows[b"a".as_slice()].clone();
    disk.crash_after(point);
    let change = Change {
        key: change.key.clone(),
        value: change.value.clone(),
    };
    let _ = vault.apply(vec![change]);
    let after = disk.after_crash(loss);
    let vault = open(&after).unwrap();
    let happened = value(&vault, "a") != Some(b"old".to_vec());
    let seized = reader::seize(|name| after.bytes(name), SECRET).unwrap();
    let opens = |(_, key): &(u32, reader::Key)| reader::open_row(b"a", &old, key).is_some();
    (seized.keys.iter().any(opens), happened)
}

// [SPEC 11.20]
#[test]
fn the_old_value_dies_with_the_change_whenever_the_crash_comes() {
    for change in [put("a", b"new"), delete("a")] {
        let mut outcomes = [0, 0];
        for point in 0..40 {
            for loss in [Loss::All, Loss::Nothing, Loss::Random(point)] {
                let (readable, happened) = old_value_after_crash(point, loss, &change);
                assert_eq!(readable, !happened, "crash at {point}, {loss:?}");
                outcomes[usize::from(happened)] += 1;
            }
        }
        assert!(outcomes[0] > 0 && outcomes[1] > 0);
    }
}

// [SPEC 11.19]
// [SPEC 11.20]
// [SPEC 11.12]
// [SPEC 11.15]
#[test]
fn at_every_write() {
    let whole = Disk::new();
    run(&whole).unwrap();
    let points = whole.steps();
    for point in 0..points {
        for loss in [Loss::All, Loss::Nothing, Loss::Random(point * 7 + 1)] {
            crash_at(point, loss);
        }
    }
}
