//! What a guard tells of what a wipe could not destroy, before any relay is asked.

use super::*;

/// A relay that does not answer; whether it was asked.
struct Silent(AtomicBool);

impl Carrier for Silent {
    fn dial(&self, _: Target) -> Dialled<'_> {
        self.0.store(true, Ordering::Relaxed);
        Box::pin(std::future::pending())
    }
}

/// Has a guard obey until it asks a relay, which does not answer.
fn obey_until_asked(guard: &Guard<'_>) {
    let carrier = Silent(AtomicBool::new(false));
    let is_asked = async {
        while !carrier.0.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    runtime().unwrap().block_on(async {
        tokio::select! {
            _ = guard.obey(&carrier) => panic!("nobody was told"),
            in_time = timeout(LONG, is_asked) => in_time.unwrap(),
        }
    });
}

/// What an earlier try could not end is told when it is done, too: the header that named it may be gone.
// [SPEC 11.110]
#[test]
fn what_was_left_by_a_try_that_failed_is_left() {
    let home = home("left-before");
    let tell = |_: GuardNews<'_>| {};
    let (guard, ordered) = (guard(&home, &tell), ordered());
    std::fs::write(home.join("header"), [7; 8_192]).unwrap();
    // A directory in a file's place.
    std::fs::remove_file(home.join("records")).unwrap();
    std::fs::create_dir(home.join("records")).unwrap();
    let carried = runtime().unwrap().block_on(guard.carry_out(&ordered));
    assert!(matches!(carried, Carried::Failed(_)));
    std::fs::remove_dir(home.join("records")).unwrap();
    std::fs::write(home.join("records"), b"").unwrap();
    obey_until_asked(&guard);
    let ended = guard.terminated().unwrap_err();
    assert!(ended.text.contains("its damaged header"), "{}", ended.text);
    std::fs::remove_dir_all(&home).unwrap();
}

/// The TPM is away, and the relay does not answer: what is left is told before that is asked, as the header that named it is gone.
// [SPEC 12.46]
#[test]
fn what_is_left_in_the_tpm_is_told_before_any_receipt() {
    let Some(swtpm) = software("what_is_left_in_the_tpm_is_told_before_any_receipt") else {
        return;
    };
    let home = path("left");
    // Another one than this machine's, which does not know of it.
    tied(&home, &swtpm);
    put(&home, &watched(1));
    ordered().note(&OsDirectory::at(&home)).unwrap();
    let told = RefCell::new(None);
    let tell = |news: GuardNews<'_>| match news {
        GuardNews::Failed(failure) => *told.borrow_mut() = Some(failure),
        _ => panic!("nothing else is told"),
    };
    let guard = guard(&home, &tell);
    obey_until_asked(&guard);
    let told = told.borrow().clone().unwrap();
    assert_eq!(told.error, "vault_destroyed");
    assert!(told.text.contains("0x"), "{}", told.text);
    assert_eq!(guard.terminated(), Err(told));
    assert!(!holds_vault(&home));
    std::fs::remove_dir_all(&home).unwrap();
}

/// A start that finds one begun says what is left at once, and leaves the receipt to a guard.
// [SPEC 11.111]
#[test]
fn a_start_says_what_is_left_before_any_receipt() {
    let Some(swtpm) = software("a_start_says_what_is_left_before_any_receipt") else {
        return;
    };
    let mut stage = Stage::new("start-left");
    let home = path("start-left");
    let (order, watched) = (order(&stage.code), stage.watched());
    stage.append(&watched, [Said::Order(order.clone())]);
    let ordered = Ordered { watched, order };
    tied(&home, &swtpm);
    ordered.note(&OsDirectory::at(&home)).unwrap();
    let ended = start::look(&home, &clock::here()).unwrap_err();
    assert_eq!(ended.error, "vault_destroyed");
    assert!(ended.text.contains("0x"), "{}", ended.text);
    assert!(!holds_vault(&home));
    assert!(ordered.is_done(&readable(&home).unwrap()), "to be told");
    let ended = super::super::guard(&home, |_| Ok(()), |_| {}).unwrap_err();
    assert_eq!(ended.error, "vault_destroyed");
    assert!(!home.join("outside").exists());
    // [SPEC 11.116]
    let told = receipts(&stage.text(), None).unwrap();
    let left = Some(Left::TPM.and(Left::UNSEEN));
    assert!(told.device_at.is_some() && told.left == left);
    std::fs::remove_dir_all(&home).unwrap();
}

/// Whoever destroyed the vault was killed before he said what is left: a guard does, before it asks a relay that does not answer, and once.
// [SPEC 11.67, 11.116]
#[test]
fn what_another_one_left_is_told_before_any_receipt() {
    let home = home("left-by-another");
    let ordered = ordered();
    ordered.note(&OsDirectory::at(&home)).unwrap();
    let lock = OsDirectory::at(&home).lock().unwrap();
    assert!(crate::home::wipe_held(&home, lock, OutsideFile::Stays, &mut |_| {}).is_ok());
    ordered.done(&home, Some(Left::TPM));
    let told = RefCell::new(Vec::new());
    let tell = |news: GuardNews<'_>| match news {
        GuardNews::Failed(failure) => told.borrow_mut().push(failure),
        _ => panic!("nothing else is told"),
    };
    let guard = guard(&home, &tell);
    for _ in 0..2 {
        obey_until_asked(&guard);
    }
    let once = told.take();
    let [failure] = once.as_slice() else {
        panic!("told {} times", once.len());
    };
    assert!(
        failure.text.contains("a key of the TPM"),
        "{}",
        failure.text
    );
    assert_eq!(guard.terminated(), Err(failure.clone()));
    // Of another order's vault that is no word.
    let mut outside = readable(&home).unwrap();
    (outside.untold, outside.left) = (Some(OrderHash([7; 32])), Some(Left::RELAYS));
    guard.say_left(&Untold::left(&outside).unwrap());
    let other = guard.terminated().unwrap_err();
    assert!(
        !other.text.contains("a key of the TPM") && other.text.contains("its shares at the relays")
    );
    std::fs::remove_dir_all(&home).unwrap();
}
