//! Databases that go away in the middle, take no writes, or are killed.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::refused::end_sessions;
use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// What becomes of the next commit.
const PASSES: u8 = 0;
/// The database does not get it.
const CUT_BEFORE: u8 = 1;
/// It does, and its answer does not come.
const CUT_AFTER: u8 = 2;

/// A line to a database that can be cut.
struct Cutter {
    port: u16,
    mode: Arc<AtomicU8>,
}

impl Cutter {
    fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let cutter = Self {
            port: listener.local_addr().unwrap().port(),
            mode: Arc::default(),
        };
        let mode = Arc::clone(&cutter.mode);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, mode) = (client.unwrap(), Arc::clone(&mode));
                let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
                thread::spawn(move || carry(client, server, &mode));
            }
        });
        cutter
    }
}

fn carry(mut client: TcpStream, mut server: TcpStream, mode: &AtomicU8) {
    let (mut back, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let is_committed = Arc::new(AtomicBool::new(false));
    let committed = Arc::clone(&is_committed);
    thread::spawn(move || {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(read @ 1..) = back.read(&mut bytes) {
            if commits(&bytes[..read]) {
                committed.store(true, Ordering::SeqCst);
            }
            // Whoever was cut off gets nothing.
            let _ = to.write_all(&bytes[..read]);
        }
        let _ = to.shutdown(Shutdown::Both);
    });
    let mut bytes = vec![0; 1 << 16];
    while let Ok(read) = client.read(&mut bytes) {
        let part = &bytes[..read];
        let cut = if commits(part) {
            mode.swap(PASSES, Ordering::SeqCst)
        } else {
            PASSES
        };
        if cut == CUT_AFTER {
            // Nothing comes back from here on.
            let _ = client.shutdown(Shutdown::Both);
            is_committed.store(false, Ordering::SeqCst);
        }
        if read == 0 || cut == CUT_BEFORE || server.write_all(part).is_err() {
            break;
        }
        if cut == CUT_AFTER {
            let since = Instant::now();
            while !is_committed.load(Ordering::SeqCst) && since.elapsed() < PATIENCE {
                thread::yield_now();
            }
        }
    }
    let _ = server.shutdown(Shutdown::Both);
    let _ = client.shutdown(Shutdown::Both);
}

/// That asks for it, or says that it is done.
fn commits(part: &[u8]) -> bool {
    part.windows(7).any(|window| window == b"COMMIT\0")
}

// [SPEC 6.200] [SPEC 6.201]
#[test]
fn a_connection_that_ends_at_a_commit_leaves_it_open_and_a_retry_settles_it() {
    let server = database::shared();
    let address = server.fresh();
    let keys = Scratch::in_memory("cut");
    let cutter = Cutter::before(server.port());
    let cut_address = address.replace(
        &format!(":{}/", server.port()),
        &format!(":{}/", cutter.port),
    );
    let mut node = open(&[cut_address], keys.path());
    one(&mut node, create(1)).unwrap();
    for (number, cut) in [
        (0, CUT_BEFORE),
        (1, CUT_AFTER),
        (2, CUT_BEFORE),
        (3, CUT_AFTER),
    ] {
        cutter.mode.store(cut, Ordering::SeqCst);
        let outcome = one(&mut node, append(1, number, 0));
        assert!(matches!(outcome, Err(StoreFailure::Lost(_))), "cut {cut}");
        let again = one(&mut node, append(1, number, 0));
        match cut {
            CUT_BEFORE => assert!(matches!(again, Ok(StoreReply::Appended(_)))),
            _ => assert!(matches!(again, Ok(StoreReply::Already(_)))),
        }
    }
    assert_eq!(seqs(&mut node, 1), [0, 1, 2, 3]);
    // Ended before a commit, a batch is simply decided again.
    server.execute("postgres", &end_sessions(name_of(&address)));
    assert!(matches!(
        one(&mut node, append(1, 4, 0)),
        Ok(StoreReply::Appended(_))
    ));
}

// [SPEC 6.200] [SPEC 6.202]
#[test]
fn a_database_that_takes_no_writes_is_away_until_it_does() {
    let server = database::shared();
    let address = server.fresh();
    let name = name_of(&address);
    let keys = Scratch::in_memory("read-only");
    let mut node = open(std::slice::from_ref(&address), keys.path());
    one(&mut node, create(1)).unwrap();
    let set = |to| {
        let sql = format!("ALTER DATABASE {name} SET default_transaction_read_only = {to}");
        server.execute("postgres", &sql);
        server.execute("postgres", &end_sessions(name));
    };
    set("on");
    let look = || StoreOp::Look { place: place(1) };
    for op in [append(1, 0, 0), look()] {
        assert!(matches!(one(&mut node, op), Err(StoreFailure::Away(_))));
    }
    set("off");
    assert!(matches!(
        one(&mut node, append(1, 0, 0)),
        Ok(StoreReply::Appended(_))
    ));
}

// [SPEC 6.207]
#[test]
fn a_host_that_says_nothing_keeps_nobody_from_the_next() {
    let server = database::shared();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let address = server.fresh();
    let both = address.replace(
        &format!("@127.0.0.1:{}/", server.port()),
        &format!("@127.0.0.1:{silent_port},127.0.0.1:{}/", server.port()),
    );
    assert_ne!(both, address);
    let keys = Scratch::in_memory("silent");
    let mut node = open(&[both], keys.path());
    one(&mut node, create(1)).unwrap();
    // From now on the one that served is asked first.
    server.execute("postgres", &end_sessions(name_of(&address)));
    let since = Instant::now();
    one(&mut node, append(1, 0, 0)).unwrap();
    assert!(
        since.elapsed() < std::time::Duration::from_secs(4),
        "the silent one was asked"
    );
}

// [SPEC 6.207]
#[test]
fn a_row_that_another_node_holds_refuses_a_batch_once_and_keeps_the_connection() {
    let server = database::shared();
    let address = server.fresh();
    let name = name_of(&address);
    let keys = Scratch::in_memory("held");
    let mut node = open(std::slice::from_ref(&address), keys.path());
    one(&mut node, create(1)).unwrap();
    let session = || {
        let sql = format!(
            "SELECT coalesce(sum(pid), 0)::int8 FROM pg_stat_activity WHERE datname = '{name}' AND application_name = 'emptyroom-relay'"
        );
        server.number("postgres", &sql)
    };
    let before = session();
    let holds = server.changing(name, "SELECT 1 FROM lasting FOR UPDATE");
    let since = Instant::now();
    let refused = one(&mut node, append(1, 0, 0));
    assert!(
        since.elapsed() < Duration::from_secs(8),
        "it was waited for"
    );
    assert!(
        matches!(&refused, Err(failure @ StoreFailure::Away(_)) if failure.to_string().contains("holds a row"))
    );
    assert_eq!(session(), before);
    drop(holds);
    let since = Instant::now();
    let placed = loop {
        match one(&mut node, append(1, 0, 0)) {
            Ok(StoreReply::Appended(placed)) => break placed,
            outcome => assert!(outcome.is_err() && since.elapsed() < PATIENCE),
        }
    };
    assert_eq!(placed.seq, 0);
}
