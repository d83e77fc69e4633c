//! What two honest devices do.

use crate::party::{self, CLOSING, MESSAGE, UPDATE, pair};

#[test]
fn two_talk() {
    let (mut anna, mut bert) = pair(1);
    let entry = bert.send("first");
    assert_eq!(anna.text(&entry), (1, "first".into()));
    let entry = anna.send("second");
    assert_eq!(bert.text(&entry), (0, "second".into()));
    println!("snapshot {}", anna.group.snapshot().len());
}
