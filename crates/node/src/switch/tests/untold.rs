//! Wipes by order that were cut off or not told: who goes on with them, and who tells.

use super::*;

/// What lies outside of a vault whose wipe was begun.
fn begin(home: &Path, stage: &mut Stage) -> Ordered {
    let (order, watched) = (order(&stage.code), stage.watched());
    stage.append(&watched, [Said::Order(order.clone())]);
    let ordered = Ordered { watched, order };
    ordered.note(&OsDirectory::at(home)).unwrap();
    ordered
}

/// It could not be noted when it came, and the wipe failed, too: it is when there is room.
// [SPEC 11.112]
#[test]
fn an_order_is_noted_late() {
    let stage = Stage::new("late");
    let home = home("late");
    let directory = OsDirectory::at(&home);
    let ordered = Ordered {
        watched: stage.watched(),
        order: order(&stage.code),
    };
    let heard = |outside: &mut Outside| outside.heard_ms = Some(1);
    Outside::change(&directory, heard).unwrap();
    take_away(&home);
    assert!(ordered.note(&directory).is_err());
    give_back(&home);
    ordered.note_late(&home, Some(Left::TPM));
    let noted = Outside::read(&directory).unwrap().unwrap();
    assert!(Ordered::left(&noted).is_some_and(|left| left.order == ordered.order));
    assert_eq!(noted.left, Some(Left::TPM));
    // The next start goes on with it.
    let ended = start::look(&home, &clock::here()).unwrap_err();
    assert_eq!(ended.error, "vault_destroyed");
    std::fs::remove_dir_all(&home).unwrap();
}

/// The power failed in the middle: the next start goes on with it, and tells, whatever is left.
// [SPEC 11.66, 11.67]
#[test]
fn a_start_goes_on_with_a_wipe_that_was_cut_off() {
    // Where there is no header and nothing was noted nobody knows what is left.
    // [SPEC 11.116]
    for (name, is_headless, left) in [
        ("cut-off", false, Some(Left::UNSEEN)),
        ("cut-off-later", true, None),
    ] {
        let mut stage = Stage::new(name);
        let home = home(name);
        begin(&home, &mut stage);
        if is_headless {
            std::fs::remove_file(home.join("header")).unwrap();
        }
        let ended = start::look(&home, &clock::here()).unwrap_err();
        assert_eq!(ended.error, "vault_destroyed");
        let there: Vec<_> = std::fs::read_dir(&home)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(there, ["lock"], "told, and nothing left to be done");
        let told = receipts(&stage.text(), None).unwrap();
        assert!(told.device_at.is_some() && told.left == left);
        std::fs::remove_dir_all(&home).unwrap();
    }
}

/// The header that named it went before: it was noted, and is told by the start and, with the receipt, by a guard.
// [SPEC 11.111, 11.116]
#[test]
fn what_a_wipe_left_that_was_cut_off_is_told() {
    let mut stage = Stage::new("cut-off-left");
    let home = home("cut-off-left");
    begin(&home, &mut stage);
    note_left(&home, Left::TPM);
    std::fs::remove_file(home.join("header")).unwrap();
    let ended = start::look(&home, &clock::here()).unwrap_err();
    assert!(ended.text.contains("a key of the TPM"), "{}", ended.text);
    assert!(receipts(&stage.text(), None).unwrap().device_at.is_none());
    let ended = guard::guard(&home, |_| Ok(()), |_| {}).unwrap_err();
    assert!(ended.text.contains("a key of the TPM"), "{}", ended.text);
    let told = receipts(&stage.text(), None).unwrap();
    assert!(told.device_at.is_some() && told.left == Some(Left::TPM));
    std::fs::remove_dir_all(&home).unwrap();
}

/// The engine had noted what only it knew, and was cut off while the header was still there: that names less.
// [SPEC 11.116]
#[test]
fn a_second_try_forgets_nothing_that_the_first_one_noted() {
    let mut stage = Stage::new("second-try");
    let home = home("second-try");
    begin(&home, &mut stage);
    note_left(&home, Left::RELAYS);
    let ended = start::look(&home, &clock::here()).unwrap_err();
    assert!(
        ended.text.contains("its shares at the relays"),
        "{}",
        ended.text
    );
    let ended = guard::guard(&home, |_| Ok(()), |_| {}).unwrap_err();
    assert!(
        ended.text.contains("its shares at the relays"),
        "{}",
        ended.text
    );
    // The second one found it locked.
    assert_eq!(
        receipts(&stage.text(), None).unwrap().left,
        Some(Left::RELAYS.and(Left::UNSEEN))
    );
    std::fs::remove_dir_all(&home).unwrap();
}

/// The vault was destroyed and that not told, as the relay was away; a backup is put there, and the order comes again.
// [SPEC 11.116]
#[test]
fn an_order_that_comes_again_keeps_what_it_left() {
    let mut stage = Stage::new("comes-again");
    let home = home("comes-again");
    let directory = OsDirectory::at(&home);
    let ordered = begin(&home, &mut stage);
    ordered.done(&home, Some(Left::TPM));
    ordered.note(&directory).unwrap();
    let left = Outside::read(&directory).unwrap().unwrap().left;
    assert_eq!(left, Some(Left::TPM.and(Left::UNSEEN)));
    let ended = start::look(&home, &clock::here()).unwrap_err();
    assert!(ended.text.contains("a key of the TPM"), "{}", ended.text);
    std::fs::remove_dir_all(&home).unwrap();
}

/// Nothing is noted of a vault that no order destroys, nor left there for the next order.
// [SPEC 11.116]
#[test]
fn what_is_left_is_noted_for_one_order() {
    let mut stage = Stage::new("noted-once");
    let home = home("noted-once");
    let directory = OsDirectory::at(&home);
    let noted = || Outside::read(&directory).unwrap().unwrap_or_default().left;
    note_left(&home, Left::RELAYS);
    assert_eq!(noted(), None);
    let mut ordered = begin(&home, &mut stage);
    note_left(&home, Left::RELAYS);
    ordered.note(&directory).unwrap();
    assert_eq!(noted(), Some(Left::RELAYS), "it is the same one again");
    ordered.order.body.order_id.0 = [9; 16];
    ordered.note(&directory).unwrap();
    assert_eq!(noted(), None);
    std::fs::remove_dir_all(&home).unwrap();
}

/// Killed between the wipe and its receipt: nothing stands in the way of a new vault, and a guard tells.
// [SPEC 11.67, 11.90]
#[test]
fn what_was_destroyed_and_not_told_is_told_by_a_guard() {
    let mut stage = Stage::new("untold");
    let home = home("untold");
    begin(&home, &mut stage);
    for name in ["header", "keys.0", "keys.1", "journal", "records"] {
        let _ = std::fs::remove_file(home.join(name));
    }
    assert_eq!(start::look(&home, &clock::here()), Ok(None));
    let copy = std::fs::read(home.join("outside")).unwrap();
    let pin = SecretText::new("a pin of this test".to_owned());
    drop(create_vault(&home, &pin, Kdf::Minimum).unwrap());
    assert!(!home.join("outside").exists(), "it is not the new one's");
    assert_eq!(start::look(&home, &clock::here()), Ok(None));
    assert!(holds_vault(&home));
    crate::home::destroy_vault(&home).unwrap();
    std::fs::write(home.join("outside"), copy).unwrap();
    let ended = guard::guard(&home, |_| Ok(()), |_| {}).unwrap_err();
    assert_eq!(ended.error, "vault_destroyed");
    assert!(!home.join("outside").exists());
    assert!(receipts(&stage.text(), None).unwrap().device_at.is_some());
    let over = guard::guard(&home, |_| Ok(()), |_| {}).unwrap_err();
    assert_eq!(over.error, "vault_missing");
    std::fs::remove_dir_all(&home).unwrap();
}

/// A backup is taken back where a wipe was not told yet: it is another vault, and nobody ordered that.
// [SPEC 11.67]
#[test]
fn what_is_only_to_be_told_destroys_nothing_that_is_put_there_later() {
    let stage = Stage::new("later");
    let home = home("later");
    let ordered = Ordered {
        watched: stage.watched(),
        order: order(&stage.code),
    };
    ordered.note(&OsDirectory::at(&home)).unwrap();
    ordered.done(&home, None);
    let left = Outside::read(&OsDirectory::at(&home)).unwrap().unwrap();
    assert!(left.ordered.is_none() && ordered.is_done(&left));
    assert_eq!(start::look(&home, &clock::here()), Ok(None));
    assert!(holds_vault(&home));
    // Who tells touches nothing else.
    let untold = Untold::left(&left).unwrap();
    let carrier = direct().unwrap();
    assert!(stage.runtime.block_on(untold.tell(&home, &carrier)));
    assert!(holds_vault(&home));
    let left = Outside::read(&OsDirectory::at(&home)).unwrap().unwrap();
    assert!(left.untold.is_none() && left.switch.is_some());
    std::fs::remove_dir_all(&home).unwrap();
}

/// A log that takes nothing any more, or is gone: nobody is to be told, and nothing waits for ever.
// [SPEC 11.67]
#[test]
fn a_switch_that_is_gone_keeps_no_guard_waiting() {
    let mut stage = Stage::new("no-more");
    let home = home("no-more");
    let untold = begin(&home, &mut stage);
    let watched = stage.watched();
    crate::home::destroy_vault(&home).unwrap();
    untold.note(&OsDirectory::at(&home)).unwrap();
    untold.done(&home, None);
    let owner = SignKey::from_seed(&stage.code.owner_seed());
    let carrier = direct().unwrap();
    let destroyed = log::destroy(&carrier, &watched, &owner);
    assert!(stage.runtime.block_on(destroyed));
    let ended = guard::guard(&home, |_| Ok(()), |_| {}).unwrap_err();
    assert_eq!(ended.error, "vault_destroyed");
    assert!(!home.join("outside").exists());
    std::fs::remove_dir_all(&home).unwrap();
}
