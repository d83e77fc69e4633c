//! A disk that is full or fails: nothing acknowledged is lost, nothing happens by half, and when
//! there is space again everything goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use emptyroom_vault::{CreateError, OpenError, Passphrase, Vault, WriteError};

use crate::disk::{Disk, Loss};
use crate::forensic;
use crate::reader;
use crate::support::{Changes, SECRET, create, delete, fresh_rng, open, put, secret, value};

type Model = BTreeMap<String, Vec<u8>>;

fn content(vault: &Vault) -> Model {
    let all = vault.scan(b"", None, usize::MAX, false).unwrap();
    all.into_iter()
        .map(|(key, value)| (String::from_utf8(key).unwrap(), value.to_vec()))
        .collect()
}

// [SPEC 11.24]
#[test]
fn a_full_disk_loses_nothing_and_passes() {
    let disk = Disk::new();
    let mut vault = create(&disk).unwrap();
    let mut model = Model::new();
    for n in 0..50 {
        let key = format!("first/{n}");
        vault.apply(vec![put(&key, &[1; 500])]).unwrap();
        model.insert(key, vec![1; 500]);
    }
    disk.set_capacity(Some(disk.used_bytes() + 100_000));
    let mut refusals = 0;
    let mut n = 0;
    while refusals < 5 {
        let key = format!("second/{n}");
        n += 1;
        match vault.apply(vec![put(&key, &[2; 3000]), put("last", key.as_bytes())]) {
            Ok(()) => {
                model.insert(key.clone(), vec![2; 3000]);
                model.insert("last".to_owned(), key.into_bytes());
            }
            Err(e) => {
                assert_eq!(e, WriteError::Full);
                refusals += 1;
            }
        }
        assert!(n < 1000);
        assert_eq!(content(&vault), model, "reading goes on");
    }
    // More keys than there are: the key file cannot grow either.
    let many = (0..2000).map(|n| put(&format!("many/{n}"), b"")).collect();
    assert_eq!(vault.apply(many), Err(WriteError::Full));
    assert_eq!(content(&vault), model);
    // Deleting works, and what was deleted is gone, also after a crash.
    for n in 0..50 {
        let key = format!("first/{n}");
        vault.apply(vec![delete(&key)]).unwrap();
        model.remove(&key);
        assert_eq!(content(&vault), model);
    }
    let after = disk.after_crash(Loss::All);
    assert_eq!(content(&open(&after).unwrap()), model);
    vault.rotate().unwrap();
    drop(vault);
    // Opening works on a full disk, and so does everything when there is space.
    let mut vault = open(&disk).unwrap();
    assert_eq!(content(&vault), model);
    disk.set_capacity(None);
    for n in 0..700 {
        let key = format!("third/{n}");
        vault.apply(vec![put(&key, &[3; 100])]).unwrap();
        model.insert(key, vec![3; 100]);
    }
    vault.lock().unwrap();
    let vault = open(&disk).unwrap();
    assert_eq!(content(&vault), model);
    assert_eq!(vault.status().unwrap().records, model.len() as u64);
}

#[test]
fn every_capacity_refuses_cleanly() {
    for extra in (0..120).map(|n| n * 4000) {
        let disk = Disk::new();
        disk.set_capacity(Some(extra));
        let Ok(mut vault) = create(&disk) else {
            assert_eq!(create(&disk).err(), Some(CreateError::Full));
            continue;
        };
        let mut model = Model::new();
        for n in 0..30 {
            let (key, bytes) = (format!("k{}", n % 20), vec![n; 2000]);
            match vault.apply(vec![put(&key, &bytes)]) {
                Ok(()) => drop(model.insert(key, bytes)),
                Err(e) => assert_eq!(e, WriteError::Full),
            }
            assert_eq!(content(&vault), model, "{extra}");
        }
        let _ = vault.lock();
        assert_eq!(content(&open(&disk).unwrap()), model, "{extra}");
    }
}

type Step = (&'static str, Option<&'static [u8]>);

/// How far a history came.
struct Outcome {
    before: Model,
    after: Model,
    /// Keys that the acknowledged calls killed, and that the one under way is to kill.
    killed: usize,
    killing: usize,
    /// Keys that the one under way was assigned: they die if it does not happen.
    assigned: usize,
    result: Result<(), WriteError>,
}

/// A short history with every kind of change; stops at the first error.
fn history(vault: &mut Vault) -> Outcome {
    let mut model = Model::new();
    let mut killed = 0;
    let steps: [&[Step]; 5] = [
        &[("a", Some(b"1")), ("b", Some(b"2")), ("c", Some(b"3"))],
        &[("a", Some(b"4")), ("b", None)],
        &[("c", None)],
        &[("d", Some(&[5; 9000])), ("a", None)],
        &[("d", None)],
    ];
    for step in steps {
        let mut next = model.clone();
        let mut changes = Vec::new();
        for (key, value) in step {
            match value {
                Some(value) => {
                    next.insert((*key).to_owned(), value.to_vec());
                    changes.push(put(key, value));
                }
                None => {
                    next.remove(*key);
                    changes.push(delete(key));
                }
            }
        }
        let killing = step.iter().filter(|(key, _)| model.contains_key(*key));
        let killing = killing.count();
        let assigned = step.iter().filter(|(_, value)| value.is_some()).count();
        let result = vault.apply(changes);
        if result.is_err() {
            return Outcome {
                before: model,
                after: next,
                killed,
                killing,
                assigned,
                result,
            };
        }
        killed += killing;
        model = next;
    }
    let result = vault.rotate();
    Outcome {
        before: model.clone(),
        after: model,
        killed,
        killing: 0,
        assigned: 0,
        result,
    }
}

fn steps_of_history() -> u64 {
    let disk = Disk::new();
    let mut vault = create(&disk).unwrap();
    let before = disk.steps();
    history(&mut vault).result.unwrap();
    disk.steps() - before
}

/// It can still be read, and whoever opened it can give back what opening took of its factors.
// [SPEC 11.21]
#[test]
fn a_disk_that_takes_no_writes_locks_nobody_out() {
    let disk = Disk::new();
    let mut vault = create(&disk).unwrap();
    vault.apply(vec![put("a", b"1")]).unwrap();
    vault.lock().unwrap();
    disk.refuse_writes_to(Some("header"));
    for _ in 0..3 {
        let mut vault = open(&disk).unwrap();
        assert_eq!(value(&vault, "a").unwrap(), b"1");
        let refused = Err(WriteError::Io(io::ErrorKind::Other));
        assert_eq!(vault.apply(vec![put("a", b"2")]), refused);
    }
    disk.refuse_writes_to(None);
    assert_eq!(value(&open(&disk).unwrap(), "a").unwrap(), b"1");
}

// [SPEC 11.24]
#[test]
fn a_write_that_finds_no_space_is_made_good() {
    // Any write, also one that overwrites: so it is on file systems that copy on write.
    for step in 1..=steps_of_history() {
        let disk = Disk::new();
        let mut vault = create(&disk).unwrap();
        disk.fail_step(step, io::ErrorKind::StorageFull);
        let outcome = history(&mut vault);
        let mut has = content(&vault);
        if outcome.result.is_ok() {
            // It failed where only tidiness was at stake.
            assert_eq!(has, outcome.after, "{step}");
        } else {
            assert_eq!(outcome.result, Err(WriteError::Full), "{step}");
            assert!(has == outcome.before || has == outcome.after, "{step}");
        }
        let happened = outcome.result.is_ok() || has == outcome.after;
        // Every key that is free now is assigned, those of the records that are gone, too.
        for fill in [0..40, 40..445] {
            let fill = fill.map(|n| put(&format!("fill/{n}"), &[7; 20]));
            vault.apply(fill.collect()).unwrap();
        }
        has.extend((0..445).map(|n| (format!("fill/{n}"), vec![7; 20])));
        let crashed = open(&disk.after_crash(Loss::All)).unwrap();
        assert_eq!(content(&crashed), has, "{step}");
        // A key of another sector, with a journal of its own.
        vault.apply(vec![delete("fill/300")]).unwrap();
        has.remove("fill/300");
        assert_eq!(content(&vault), has, "{step}");
        // What must be dead is dead on the disk.
        let killing = if happened {
            outcome.killing
        } else {
            outcome.assigned
        };
        let seized = reader::seize(|name| disk.bytes(name), SECRET).unwrap();
        let died: u32 = seized.keys.iter().map(|(generation, _)| generation).sum();
        let expected = outcome.killed + killing + 1;
        // (Once more, where removing the rows was what failed.)
        let possible = expected..=expected + outcome.killed.max(1);
        assert!(possible.contains(&(died as usize)), "{step}: {died}");
        // What the vault says after a failure is what it says after a crash and after locking.
        for loss in [Loss::All, Loss::Nothing, Loss::Torn] {
            let crashed = open(&disk.after_crash(loss)).unwrap();
            assert_eq!(content(&crashed), has, "{step} {loss:?}");
        }
        vault.lock().unwrap();
        assert_eq!(content(&open(&disk).unwrap()), has, "{step}");
        let header = disk.bytes("header");
        assert_eq!(header[..4096], header[4096..], "{step}");
    }
}

#[test]
fn a_write_that_fails_stops_the_vault_until_it_is_opened_anew() {
    let kind = io::ErrorKind::Other;
    for step in 1..=steps_of_history() {
        for loss in [Loss::All, Loss::Nothing, Loss::Random(step)] {
            let disk = Disk::new();
            let mut vault = create(&disk).unwrap();
            disk.fail_step(step, kind);
            let outcome = history(&mut vault);
            if outcome.result.is_err() {
                assert_eq!(outcome.result, Err(WriteError::Io(kind)), "{step}");
                let refused = vault.apply(vec![put("more", b"x")]);
                assert_eq!(refused, Err(WriteError::Io(kind)), "{step}");
            }
            drop(vault);
            let vault = open(&disk.after_crash(loss)).unwrap();
            let has = content(&vault);
            let expected = has == outcome.before || has == outcome.after;
            assert!(expected, "{step} {loss:?}");
        }
    }
}

// [SPEC 11.23]
#[test]
fn a_crash_while_the_secret_changes_leaves_one_that_opens() {
    let new = || Passphrase::from("new".to_owned());
    let mut point = 0;
    let mut opened = [0, 0];
    loop {
        let disk = Disk::new();
        let mut vault = create(&disk).unwrap();
        vault.apply(vec![put("a", b"1")]).unwrap();
        disk.crash_after(point);
        let done = vault.change_secret(&secret(), &new()).is_ok();
        for loss in [Loss::All, Loss::Nothing, Loss::Random(point)] {
            let disk = disk.after_crash(loss);
            let by_old = open(&disk).map(|vault| content(&vault));
            let by_new =
                Vault::open(disk.boxed(), &new(), fresh_rng()).map(|vault| content(&vault));
            let (found, refused) = match (by_old, by_new) {
                (Ok(found), Err(e)) => {
                    opened[0] += 1;
                    assert!(!done, "the old secret opens after the change");
                    (found, e)
                }
                (Err(e), Ok(found)) => {
                    opened[1] += 1;
                    (found, e)
                }
                _ => panic!("crash at {point}, {loss:?}: not exactly one secret opens"),
            };
            assert_eq!(refused, OpenError::WrongSecret);
            assert_eq!(found, Model::from([("a".to_owned(), b"1".to_vec())]));
        }
        if done {
            break;
        }
        point += 1;
    }
    assert!(opened[0] > 0 && opened[1] > 0, "both happen");
}

/// A vault in which a crash came between a transaction and the death of the key it replaced, and the
/// row that was replaced.
fn crashed_before_the_kill() -> (Disk, Vec<u8>) {
    for point in 0.. {
        let disk = Disk::new();
        let mut vault = create(&disk).unwrap();
        vault.apply(vec![put("a", b"old")]).unwrap();
        let seize = |disk: &Disk| reader::seize(|name| disk.bytes(name), SECRET).unwrap();
        let old = seize(&disk).rows[b"a".as_slice()].clone();
        disk.crash_after(point);
        vault.apply(vec![put("a", b"new")]).unwrap_err();
        let disk = disk.after_crash(Loss::All);
        if seize(&disk).rows[b"a".as_slice()] != old {
            return (disk, old);
        }
    }
    unreachable!("the crash comes at some point");
}

// [SPEC 11.20]
#[test]
fn a_key_that_a_crash_left_alive_is_not_handed_out() {
    let (crashed, old) = crashed_before_the_kill();
    let readable = |disk: &Disk| {
        let seized = reader::seize(|name| disk.bytes(name), SECRET).unwrap();
        let open = |(_, key): &(u32, reader::Key)| reader::open_row(b"a", &old, key).is_some();
        seized.keys.iter().any(open)
    };
    assert!(readable(&crashed), "the crash left it alive");
    // Opening goes on if there is no space for its rotation; then the keys wait for the next.
    for step in 1..60 {
        let disk = crashed.fork();
        disk.fail_step(step, io::ErrorKind::StorageFull);
        let Ok(mut vault) = open(&disk) else { continue };
        disk.fail_nothing();
        let fill = (0..447).map(|n| put(&format!("fill/{n}"), b"x"));
        vault.apply(fill.collect()).unwrap();
        assert!(!readable(&disk), "{step}");
        assert_eq!(value(&vault, "a"), Some(b"new".to_vec()));
    }
}

// [SPEC 11.17]
#[test]
fn what_a_failed_transaction_wrote_never_opens_again() {
    let disk = Disk::new();
    disk.record();
    let mut vault = create(&disk).unwrap();
    vault.apply(vec![put("a", b"1")]).unwrap();
    // The rows reach the disk, but the transaction does not: its second sync fails.
    let mut step = 1;
    loop {
        disk.fail_step(step, io::ErrorKind::StorageFull);
        if vault.apply(vec![put("ghost", &[0xAB; 600])]).is_ok() {
            break;
        }
        step += 1;
    }
    assert!(step > 3, "some attempts failed late");
    disk.fail_nothing();
    // Rows of all attempts, as the blocks of the table show them to somebody with the vault key.
    let vault_key = reader::newest_header(&disk.bytes("header"), SECRET)
        .unwrap()
        .vault;
    let blocks = forensic::opened_blocks(&disk.recorded(), &reader::block_key(&vault_key));
    let ghosts: BTreeSet<Vec<u8>> = blocks
        .iter()
        .flat_map(|block| forensic::rows_in(block, 600))
        .collect();
    let opens = |keys: &BTreeSet<reader::Key>| {
        let open = |ghost: &&Vec<u8>| {
            keys.iter()
                .any(|key| reader::open_row(b"ghost", ghost, key).is_some())
        };
        ghosts.iter().filter(open).count()
    };
    let present = || {
        let seized = reader::seize(|name| disk.bytes(name), SECRET).unwrap();
        seized.keys.into_iter().map(|(_, key)| key).collect()
    };
    let header = reader::newest_header(&disk.bytes("header"), SECRET).unwrap();
    let ever = forensic::keys_ever(&disk.recorded(), &header, &header.root);
    assert!(opens(&ever) > 1, "there are ghosts");
    // Their keys are dead before another record can be assigned one.
    let fill = (0..446).map(|n| put(&format!("fill/{n}"), b"x"));
    vault.apply(fill.collect()).unwrap();
    vault.apply(vec![delete("ghost")]).unwrap();
    assert_eq!(opens(&present()), 0);
    assert_eq!(value(&vault, "a"), Some(b"1".to_vec()));
}
