//! Kill codes and the entries of switch logs.

use emptyroom_wire::address::Host;
use emptyroom_wire::derive::expand;
use emptyroom_wire::entry::{self, Aad, OuterKey, RunningHash, Ttl};
use emptyroom_wire::kill::{KillCode, KillLink, Left, Said, Switch};
use emptyroom_wire::link::LinkFault;
use emptyroom_wire::op::EntryPush;
use emptyroom_wire::relay_key::IdentityHash;
use emptyroom_wire::secret::{Private, Secret32};
use emptyroom_wire::time::Wall;
use emptyroom_wire::wipe::{NoOrder, OrderBody, OrderHash, WipeOrder, judge};

use crate::support::{START, rng};

fn code(number: u8) -> KillCode {
    KillCode::new([number; 16])
}

fn switch(number: u8) -> Switch {
    code(number).switch()
}

fn order(by: &KillCode, of: &Switch) -> WipeOrder {
    let body = OrderBody {
        switch_id: of.id,
        order_id: Private([8; 16]),
        action: 1,
        issued_ms: START.0,
        not_after_ms: START.0 + 1_000,
    };
    WipeOrder {
        signatures: vec![body.sign(0, &by.kill_key())],
        body,
    }
}

fn pushed(body: Vec<u8>, nonce: [u8; 16]) -> EntryPush {
    EntryPush {
        seq: 0,
        before: RunningHash([0; 32]),
        expect_slots: 0,
        commit: false,
        close: false,
        ttl: Ttl::Life,
        nonce,
        next_hash: [0; 32],
        body,
    }
}

// [SPEC 11.62] [SPEC 11.66]
#[test]
fn only_the_code_of_a_switch_orders_its_device() {
    let (own, other) = (switch(1), switch(2));
    let policy = code(1).policy();
    assert_eq!(judge(&order(&code(1), &own), &policy, START), Ok(()));
    let mut rng = rng(3);
    for _ in 0..100 {
        let stranger = KillCode::generate(&mut rng);
        let theirs = stranger.switch();
        assert_eq!(
            judge(&order(&stranger, &own), &policy, START),
            Err(NoOrder::Unsigned)
        );
        assert_eq!(
            judge(&order(&stranger, &theirs), &policy, START),
            Err(NoOrder::Foreign)
        );
    }
    // Nor what the device itself has, nor the same code for another switch, nor an old one.
    for key in [&own.append, &own.read] {
        let mut forged = order(&code(1), &own);
        forged.signatures = vec![forged.body.sign(0, key)];
        assert_eq!(judge(&forged, &policy, START), Err(NoOrder::Unsigned));
    }
    assert_eq!(
        judge(&order(&code(1), &other), &policy, START),
        Err(NoOrder::Foreign)
    );
    let late = Wall(START.0 + 1_001);
    assert_eq!(
        judge(&order(&code(1), &own), &policy, late),
        Err(NoOrder::Over)
    );
}

// [SPEC 11.63]
#[test]
fn entries_of_a_switch_open_and_others_are_none() {
    let own = switch(1);
    let sealed = |said: &Said| own.seal(said, [6; 16], &mut rng(4)).unwrap();
    let right = pushed(sealed(&Said::Order(order(&code(1), &own))), [6; 16]);
    assert!(matches!(own.open(&right), Some(Said::Order(found)) if found == order(&code(1), &own)));
    let receipt = own.receipt(OrderHash([9; 32]), 7);
    let told = pushed(sealed(&Said::Receipt(receipt.clone())), [6; 16]);
    assert!(matches!(own.open(&told), Some(Said::Receipt(found)) if found == receipt));
    let remains = own.remains(OrderHash([9; 32]), Left::TPM);
    let told = pushed(sealed(&Said::Remains(remains.clone())), [6; 16]);
    assert!(matches!(own.open(&told), Some(Said::Remains(found)) if found == remains));
    // By somebody else's switch, under another nonce, as a commit, closing, of an unknown kind.
    assert!(switch(2).open(&right).is_none());
    let moved = EntryPush {
        nonce: [7; 16],
        ..right.clone()
    };
    assert!(own.open(&moved).is_none());
    for (commit, close) in [(true, false), (false, true)] {
        let flagged = EntryPush {
            commit,
            close,
            ..right.clone()
        };
        assert!(own.open(&flagged).is_none());
    }
    let aad = Aad::first(own.id, Ttl::Life, [6; 16]);
    let stranger = OuterKey::new(Secret32::new([1; 32]));
    let forged = entry::seal(&stranger, &aad, 1, b"x", &mut rng(5)).unwrap();
    assert!(own.open(&pushed(forged, [6; 16])).is_none());
    let outer = expand(
        code(1).device_secret().expose(),
        "emptyroom v1 switch outer key",
        &[],
    );
    let later = entry::seal(&OuterKey::new(outer), &aad, 4, b"x", &mut rng(5)).unwrap();
    assert!(own.open(&pushed(later, [6; 16])).is_none());
}

// [SPEC 11.67]
#[test]
fn a_receipt_is_the_devices_and_about_one_order() {
    let own = switch(1);
    let receipt = own.receipt(OrderHash([9; 32]), 7);
    assert!(own.verify(&receipt).is_ok());
    assert!(switch(2).verify(&receipt).is_err());
    let mut other = receipt.clone();
    other.order = OrderHash([8; 32]);
    assert!(own.verify(&other).is_err());
    let mut later = receipt;
    later.at_ms += 1;
    assert!(own.verify(&later).is_err());
}

// [SPEC 11.116]
#[test]
fn what_is_left_is_the_devices_word_about_one_order() {
    let own = switch(1);
    let remains = own.remains(OrderHash([9; 32]), Left::default());
    assert!(own.verify_remains(&remains).is_ok());
    assert!(switch(2).verify_remains(&remains).is_err());
    let mut other = remains.clone();
    other.order = OrderHash([8; 32]);
    assert!(own.verify_remains(&other).is_err());
    let mut more = remains;
    more.left = Left::TPM;
    assert!(own.verify_remains(&more).is_err());
}

// [SPEC 11.116]
#[test]
fn what_a_later_version_says_is_left_is_left() {
    assert_eq!(Left::default().known(), Left::default());
    assert_eq!(Left(3).known(), Left::TPM.and(Left::RELAYS));
    assert_eq!(Left(0x81).known(), Left::TPM.and(Left::UNKNOWN));
    assert_eq!(Left(8).known(), Left::UNSEEN);
    assert_eq!(Left(9).without(Left::UNSEEN), Left::TPM);
    assert!(Left(3).has(Left::RELAYS) && !Left(3).has(Left::UNKNOWN));
}

// [SPEC 11.64]
#[test]
fn a_text_that_was_copied_badly_is_told_from_one_that_is_none() {
    let link = KillLink {
        hosts: vec![Host::parse("relay.example:443").unwrap()],
        relay: IdentityHash([3; 32]),
        code: code(1),
    };
    let text = link.to_text().unwrap();
    let read = |text: &str| KillLink::parse(text).map(|link| link.to_text().unwrap());
    assert_eq!(read(&text).as_ref(), Ok(&text));
    let pasted = format!(" <{}>\n", text.to_uppercase());
    assert_eq!(read(&pasted).as_ref(), Ok(&text));
    for at in 15..text.len() {
        let mut wrong = text.clone().into_bytes();
        wrong[at] = if wrong[at] == b'a' { b'b' } else { b'a' };
        let wrong = String::from_utf8(wrong).unwrap();
        assert_eq!(read(&wrong), Err(LinkFault::Damaged), "{at}");
    }
    assert_eq!(read("emptyroom:aaaa"), Err(LinkFault::NotALink));
    assert_eq!(read("emptyroom-kill:"), Err(LinkFault::Damaged));
}
