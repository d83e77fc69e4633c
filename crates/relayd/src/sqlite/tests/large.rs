//! Large rows: whoever stores them must not make everybody else's small ones dear.

use super::*;

/// Bytes that this thread has read from files so far.
fn bytes_read() -> u64 {
    let counts = fs::read_to_string("/proc/thread-self/io").unwrap();
    let read = counts.lines().find_map(|line| line.strip_prefix("rchar: "));
    read.unwrap().parse().unwrap()
}

/// A tree of whole rows would read megabytes for each comparison of two keys.
// [SPEC 6.83]
#[test]
fn small_rows_are_found_without_reading_large_ones() {
    let dir = scratch("large");
    let mut rows = open(&dir);
    let large = vec![7; 1 << 20];
    for number in 0..16 {
        rows.commit(Changes {
            entries: vec![entry(1, number, Some(&large))],
            lasting: vec![lasting(30, number, &large)],
        })
        .unwrap();
    }
    rows.commit(Changes {
        entries: vec![entry(1, 100, Some(b"small"))],
        lasting: vec![lasting(30, 100, b"small")],
    })
    .unwrap();
    drop(rows);
    let mut rows = open(&dir);
    let before = bytes_read();
    assert_eq!(rows.entry(day(1), &key(100)).unwrap().unwrap(), b"small");
    assert_eq!(rows.lasting(&key(100)).unwrap().unwrap(), b"small");
    assert!(rows.entry(day(1), &key(50)).unwrap().is_none());
    rows.commit(Changes {
        entries: vec![entry(1, 101, Some(b"new"))],
        lasting: vec![lasting(30, 100, b"other")],
    })
    .unwrap();
    let read = bytes_read() - before;
    assert!(read < 256 << 10, "{read} bytes");
}
