//! What is cut off at any moment, or cannot be written, leaves a vault that opens and nothing behind.

use super::*;

/// Each step of a change or a refresh cut off, with what the disk may make of it: the vault opens by its PIN and by its
/// words, the refresh after that leaves one index in the TPM, and the mode back to none leaves nothing.
// [SPEC 11.35]
// [SPEC 11.43]
// [SPEC 11.52]
#[test]
fn cut_off_anywhere_it_opens_and_leaves_nothing_behind() {
    let Some(swtpm) = software("cut_off_anywhere_it_opens_and_leaves_nothing_behind") else {
        return;
    };
    let ways = at(swtpm.socket());
    let room_before = room(&swtpm);
    type Step = fn(Vault, &Ways) -> (Vault, Result<(), Failure>);
    let steps: [(Mode, Step); 3] = [
        (Mode::Passphrase, |vault, ways| {
            set_mode(vault, ways, Mode::Tpm)
        }),
        (Mode::Tpm, refreshed),
        (Mode::Tpm, |vault, ways| {
            set_mode(vault, ways, Mode::Passphrase)
        }),
    ];
    for (before, step) in steps {
        let mut seen = Vec::new();
        for point in 0.. {
            let disk = match before {
                Mode::Passphrase => made(),
                _ => with_tpm(&ways),
            };
            let vault = open(&disk, SECRET, &ways).unwrap();
            disk.crash_after(point);
            let (vault, done) = step(vault, &ways);
            drop(vault);
            let loss = match point % 3 {
                0 => Loss::All,
                1 => Loss::Nothing,
                _ => Loss::Random(point),
            };
            let disk = disk.after_crash(loss);
            let what = format!("cut off at {point}, {loss:?}");
            assert!(
                has_record(&open(&disk.fork(), PHRASE, &ways).unwrap()),
                "{what}"
            );
            let vault = open(&disk, SECRET, &ways).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert!(has_record(&vault), "{what}");
            seen.push(vault.mode());
            // As the program does: where nothing is due, nothing is left.
            let vault = if is_due(&vault) {
                let (vault, again) = refreshed(vault, &ways);
                again.unwrap_or_else(|e| panic!("{what}: {e}"));
                vault
            } else {
                vault
            };
            let left = Noted::read(&vault).unwrap().places;
            let in_header = noted::area_of(&vault).place();
            assert!(left.iter().map(|noted| noted.place).eq(in_header), "{what}");
            let (vault, back) = set_mode(vault, &ways, Mode::Passphrase);
            back.unwrap();
            assert!(tidy::all(&vault).is_empty(), "{what}");
            drop(vault);
            if done.is_ok() {
                break;
            }
        }
        if before == Mode::Passphrase {
            assert!(seen.contains(&Mode::Passphrase) && seen.contains(&Mode::Tpm));
        }
    }
    assert_eq!(room(&swtpm), room_before);
}

/// One write or sync that fails, at each step, and everything works again after it: whichever header the disk has then, the TPM has
/// its index.
// [SPEC 11.44]
// [SPEC 11.52]
#[test]
fn a_write_that_fails_once_locks_nobody_out() {
    let Some(swtpm) = software("a_write_that_fails_once_locks_nobody_out") else {
        return;
    };
    let ways = at(swtpm.socket());
    let room_before = room(&swtpm);
    let mut failed = 0;
    for before in [Mode::Passphrase, Mode::Tpm] {
        for point in 0.. {
            let disk = match before {
                Mode::Passphrase => made(),
                _ => with_tpm(&ways),
            };
            let vault = open(&disk, SECRET, &ways).unwrap();
            let kind = match point % 2 {
                0 => std::io::ErrorKind::Other,
                _ => std::io::ErrorKind::StorageFull,
            };
            let steps = disk.steps();
            disk.fail_step(point, kind);
            let (vault, done) = match before {
                Mode::Passphrase => {
                    let (vault, set) = set_mode(vault, &ways, Mode::Tpm);
                    let here = Here(RefCell::new(vault));
                    // As the program does, also after a change that failed.
                    let _ = tidy::tidy(&here, &ways);
                    (here.0.into_inner(), set)
                }
                _ => refreshed(vault, &ways),
            };
            let is_over = disk.steps() - steps < point;
            failed += u32::from(done.is_err());
            // Killed now, with what the process had written; locked; and the power cut.
            let mut disks = vec![disk.after_kill()];
            let _ = vault.lock();
            disks.extend(
                [Loss::All, Loss::Nothing, Loss::Random(point)].map(|l| disk.after_crash(l)),
            );
            disks.push(disk.after_kill());
            let count = disks.len();
            for (number, disk) in disks.into_iter().enumerate() {
                let what = format!("{kind} at {point} of {before:?}, disk {number}");
                let vault = open(&disk, SECRET, &ways).unwrap_or_else(|e| panic!("{what}: {e}"));
                assert!(has_record(&vault), "{what}");
                if number + 1 == count {
                    // All of it was noted.
                    let (vault, _) = refreshed(vault, &ways);
                    let (vault, back) = set_mode(vault, &ways, Mode::Passphrase);
                    back.unwrap();
                    assert!(tidy::all(&vault).is_empty(), "{what}");
                }
            }
            if is_over {
                break;
            }
        }
    }
    assert!(failed > 5, "{failed}");
    assert_eq!(room(&swtpm), room_before);
}

/// The panic PIN cut off anywhere: once nothing of the old vault opens, its index is gone when the empty one was opened.
// [SPEC 11.56]
// [SPEC 11.57]
#[test]
fn a_panic_ends_the_index_whatever_it_is_cut_off_at() {
    let Some(swtpm) = software("a_panic_ends_the_index_whatever_it_is_cut_off_at") else {
        return;
    };
    let ways = at(swtpm.socket());
    let gone = at(PathBuf::from("/nowhere"));
    for point in 0.. {
        let disk = with_tpm(&ways);
        let image = disk.fork();
        disk.crash_after(point);
        let done = open(&disk, PANIC, &ways).is_ok();
        let disk = disk.after_crash(Loss::Random(point));
        let what = format!("cut off at {point}");
        if let Ok(vault) = open(&disk, PANIC, &gone) {
            // The errand waits for the TPM.
            let (vault, made) = refreshed(vault, &gone);
            made.unwrap();
            drop(vault);
        }
        let vault = open(&disk, PANIC, &ways).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert!(!has_record(&vault), "{what}");
        let (vault, made) = refreshed(vault, &ways);
        made.unwrap();
        assert!(tidy::all(&vault).is_empty(), "{what}");
        assert!(vault.status().unwrap().records == 0, "{what}");
        // A copy from before opens no longer, though its PIN is right.
        let (opened, asked) = asked(&image, SECRET, &ways);
        assert_eq!(opened.err(), Some(OpenError::Unanswered), "{what}");
        assert_eq!(asked.trouble.unwrap().error, "vault_tpm_cleared", "{what}");
        if done {
            break;
        }
    }
}

/// Where there is no room for a new index, the old one gets its tries back and goes on.
// [SPEC 11.53]
#[test]
fn without_room_for_a_new_index_the_tries_are_set_back() {
    let Some(swtpm) = software("without_room_for_a_new_index_the_tries_are_set_back") else {
        return;
    };
    let ways = at(swtpm.socket());
    let disk = with_tpm(&ways);
    let mut others = tpm(&swtpm);
    loop {
        let place = others.free_place().unwrap();
        if others.enrol(place).is_err() {
            break;
        }
    }
    for _ in 0..6 {
        drop(open(&disk, "wrong", &ways));
    }
    let (vault, made) = refreshed(open(&disk, SECRET, &ways).unwrap(), &ways);
    assert_eq!(made.unwrap_err().error, "vault_tpm_full");
    assert!(
        vault.refreshed().is_none(),
        "the PIN is forgotten all the same"
    );
    drop(vault);
    let (opened, asked) = asked(&disk, SECRET, &ways);
    assert!(has_record(&opened.unwrap()));
    assert!(asked.wrong_before().is_none());
}

/// The vault until somebody has it destroyed.
struct Until(Here, Cell<u32>);

impl Access for Until {
    fn send(&self, work: Work) -> bool {
        let left = self.1.get();
        self.1.set(left.saturating_sub(1));
        left > 0 && self.0.send(work)
    }
}

/// A refresh that finds the vault gone leaves no index behind that it made.
// [SPEC 11.56]
#[test]
fn a_refresh_of_a_vault_that_is_gone_leaves_no_index() {
    let Some(swtpm) = software("a_refresh_of_a_vault_that_is_gone_leaves_no_index") else {
        return;
    };
    let ways = at(swtpm.socket());
    let disk = with_tpm(&ways);
    for works in 0.. {
        let vault = open(&disk, SECRET, &ways).unwrap();
        let before = noted::area_of(&vault).place();
        let until = Until(Here(RefCell::new(vault)), Cell::new(works));
        let made = refresh(&until, &ways);
        let vault = until.0.0.into_inner();
        if noted::area_of(&vault).place() != before {
            assert!(works > 3);
            break;
        }
        assert!(made.is_err());
        let noted = Noted::read(&vault).unwrap();
        for entry in noted.places {
            if Some(entry.place) != before {
                assert_eq!(tpm(&swtpm).destroy(entry.place), Ok(Destroyed::WasGone));
            }
        }
    }
}
