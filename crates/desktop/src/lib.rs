//! What the desktop says before it is too late: that the machine is about to suspend, that the screen is locked.
//!
//! It comes from logind, over D-Bus, whose libraries are large and read what other users send. So this is for a process of
//! its own, which holds no secret: it tells whoever began it in lines, and delays a suspend until that one is gone.
//! Not here: what is done then, and beginning the process; that is `node`'s.
//!
//! Start at [`listen`].

mod logind;

use std::io::{Read, Write, sink, stdin, stdout};

use emptyroom_sandbox::{Allowed, Reads, confine, confine_to_what_is_open};
use tokio::sync::oneshot;
use zbus::Connection;

/// The first line: from now on it hears.
// [SPEC 11.131]
pub const HEARS: &str = "hears";
/// A line: from now on it hears, and delays a suspend.
// [SPEC 11.131]
pub const LISTENS: &str = "listens";
/// A line: it does not any more.
pub const DEAF: &str = "deaf";
/// The last line: what must not be open while nobody is there is to be locked.
pub const LOCK: &str = "lock";

/// Begins to listen with the first byte of standard input, and ends with its end, or when there is no bus. Tells on standard output.
///
/// It is called first of all in its process, which it confines: first to the system's files, then to the connection that it has.
// [SPEC 11.130, 11.131]
pub fn listen() {
    confine(&Allowed {
        written: Vec::new(),
        read: Reads::These(Vec::new()),
        serves: false,
    });
    let mut input = stdin().lock();
    if input.read_exact(&mut [0]).is_err() {
        return;
    }
    drop(input);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else { return };
    let Ok(bus) = runtime.block_on(Connection::system()) else {
        return;
    };
    let (ends, ended) = oneshot::channel();
    let waiting = std::thread::Builder::new().spawn(move || {
        let _ = std::io::copy(&mut stdin().lock(), &mut sink());
        let _ = ends.send(());
    });
    if waiting.is_err() {
        return;
    }
    confine_to_what_is_open();
    runtime.block_on(async {
        tokio::select! {
            _ = ended => {}
            _ = logind::follow(&bus, tell) => {}
        }
    });
    // Standard input may still be waited for.
    runtime.shutdown_background();
}

/// Nobody hears it where that fails: then standard input has ended, too.
fn tell(line: &str) {
    let mut output = stdout().lock();
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}
