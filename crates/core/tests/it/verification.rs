//! The number and the code that two people compare.

use emptyroom_core::account::IdentityKey;
use emptyroom_core::position::{LogPoint, Position};
use emptyroom_core::verification::{Code, Comparison, DIGITS, NotACode, number};

const A: IdentityKey = IdentityKey([1; 32]);
const B: IdentityKey = IdentityKey([2; 32]);
const C: IdentityKey = IdentityKey([3; 32]);

// [SPEC 8.37]
#[test]
fn the_number_is_the_same_on_both_sides_and_no_other() {
    let own = number(A, B);
    assert_eq!(own, number(B, A));
    assert_eq!(own.len(), DIGITS);
    assert!(own.bytes().all(|digit| digit.is_ascii_digit()));
    assert_ne!(own, number(A, C));
    assert_ne!(own, number(C, B));
    assert_ne!(number(A, A), number(B, B));
}

// [SPEC 8.38]
#[test]
fn a_code_is_read_as_it_was_shown() {
    let position = LogPoint {
        position: Position {
            restart: 0,
            generation: 4,
            next_seq: 99,
        },
        slots: 2,
        running_hash: [7; 32],
    };
    let shown = Code::new(A, B, position);
    let text = shown.text();
    let dense = |c: u8| c.is_ascii_digit() || c.is_ascii_uppercase() || c == b':';
    assert!(text.bytes().all(dense));
    let scanned = Code::parse(&text).unwrap();
    assert_eq!(scanned, shown);
    assert_eq!(scanned.position, position);
    let own = Code::new(B, A, LogPoint::default());
    assert_eq!(own.compare(&scanned), Comparison::Same);
    let other = Code::new(B, C, position);
    assert_eq!(other.compare(&scanned), Comparison::Different);
}

// [SPEC 8.38]
#[test]
fn other_texts_are_no_codes() {
    let text = Code::new(A, B, LogPoint::default()).text();
    let bad = [
        String::new(),
        "hello".into(),
        "ERV1:".into(),
        text.to_lowercase(),
        text.replace("ERV1", "ERV2"),
        text[..text.len() - 1].into(),
        text[..text.len() - 2].into(),
        format!("{text}00"),
        format!("{}G0", &text[..text.len() - 2]),
        format!("{}é", &text[..text.len() - 2]),
    ];
    for bad in bad {
        assert_eq!(Code::parse(&bad).err(), Some(NotACode), "{bad}");
    }
}
