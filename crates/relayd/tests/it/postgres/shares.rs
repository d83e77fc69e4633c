//! Shares that lie in another database than their home, as an import from a disk brings them.

use emptyroom_relay::store::{ShareOp, ShareReply};

use super::*;
use crate::shares::{op, share};

/// A key of zero is none.
const SHARES: std::ops::RangeInclusive<u8> = 1..=8;

/// Brings a share from the second database to the first, if it lies there.
fn bring(names: &[&str], number: u8) -> bool {
    let server = database::shared();
    let key = op(number, ShareOp::Use).key().0;
    let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let at = format!("FROM lasting WHERE key = decode('{key}', 'hex')");
    if server.number(names[1], &format!("SELECT count(*) {at}")) == 0 {
        return false;
    }
    let day = server.number(names[1], &format!("SELECT day::int8 {at}"));
    let turn = server.number(names[1], &format!("SELECT turn::int8 {at}"));
    let sealed = server.bytes(names[1], &format!("SELECT sealed {at}"));
    let sealed: String = sealed.iter().map(|byte| format!("{byte:02x}")).collect();
    let row = format!(
        "INSERT INTO lasting (key, day, turn, sealed)
         VALUES (decode('{key}', 'hex'), {day}, {turn}, decode('{sealed}', 'hex'))"
    );
    server.execute(names[0], &row);
    let pointer = format!(
        "UPDATE lasting SET turn = 2147483647, sealed = '', shard = 0 WHERE key = decode('{key}', 'hex')"
    );
    server.execute(names[1], &pointer);
    true
}

// [SPEC 6.210]
#[test]
fn a_share_that_lies_elsewhere_is_counted_on_and_deleted_there() {
    let mut subject = Subjected::on(2);
    for number in SHARES {
        let put = ShareOp::Put(share(number, 3, 100));
        one(&mut subject.node, op(number, put)).unwrap();
    }
    let names: Vec<&str> = subject
        .addresses
        .iter()
        .map(|address| name_of(address))
        .collect();
    let brought = SHARES.filter(|number| bring(&names, *number)).count();
    assert!(brought > 0 && brought < SHARES.count());
    let mut node = subject.another();
    let mut left = |number, expected| {
        let used = one(&mut node, op(number, ShareOp::Use)).unwrap();
        assert!(matches!(used, StoreReply::Share(ShareReply::Used(_, left)) if left == expected));
    };
    for number in SHARES {
        left(number, 2);
    }
    // Put once more it is not another one, with uses of its own.
    let mut node = subject.another();
    for number in SHARES {
        let put = ShareOp::Put(share(number, 3, 100));
        one(&mut node, op(number, put)).unwrap();
    }
    let gone = |reply: StoreReply| {
        matches!(
            reply,
            StoreReply::Refused(_) | StoreReply::Share(ShareReply::Gone(_))
        )
    };
    for number in SHARES {
        let used = one(&mut node, op(number, ShareOp::Use)).unwrap();
        assert!(matches!(used, StoreReply::Share(ShareReply::Used(_, 1))));
        one(&mut node, op(number, ShareOp::Delete(None))).unwrap();
        assert!(gone(one(&mut node, op(number, ShareOp::Use)).unwrap()));
    }
}
