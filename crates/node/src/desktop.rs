//! The process that hears what the desktop says, from the side of the one that has a vault open.
//!
//! What it runs is not known here: it writes lines and ends with its standard input ([SPEC 11.131]).

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

/// No more is read of what it says.
const SAYS_MAX: u64 = 64 * 1_024;

static LISTENS: AtomicBool = AtomicBool::new(false);

/// A process that listens to the desktop. It ends with this value, or with this process.
pub struct Desktop(Child);

impl Desktop {
    /// Begins the process, which waits until a vault is open ([`Session::lock_by`](crate::Session::lock_by), [`serve`](crate::serve)).
    ///
    /// # Errors
    /// When it cannot be begun.
    pub fn begin(command: &mut Command) -> io::Result<Self> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map(Self)
    }

    /// From now on it listens: calls `lock` when the desktop says so, or when it has heard and ends, on a thread of its own. The
    /// machine does not suspend before this process is gone, for as long as the system lets it be delayed.
    // [SPEC 11.91, 11.131]
    pub(crate) fn on_lock(self, lock: impl FnOnce() + Send + 'static) {
        let thread = std::thread::Builder::new().name("desktop".to_owned());
        // Without a thread nothing is heard, which `status` says.
        let _ = thread.spawn(move || self.hear(lock));
    }

    fn hear(mut self, lock: impl FnOnce()) {
        let (input, output) = (self.0.stdin.as_mut(), self.0.stdout.take());
        if input.is_none_or(|input| input.write_all(b"\n").is_err()) {
            return;
        }
        let (mut lock, mut has_heard) = (Some(lock), false);
        let lines = output.map(|output| BufReader::new(output.take(SAYS_MAX)).lines());
        for line in lines.into_iter().flatten().map_while(Result::ok) {
            has_heard = true;
            match line.as_str() {
                "listens" => LISTENS.store(true, Ordering::Relaxed),
                "deaf" => LISTENS.store(false, Ordering::Relaxed),
                "lock" => lock.take().into_iter().for_each(|lock| lock()),
                _ => {}
            }
        }
        LISTENS.store(false, Ordering::Relaxed);
        // Whoever ended it, from now on nobody would say when it is too late.
        if has_heard {
            lock.take().into_iter().for_each(|lock| lock());
        }
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether this process is told before the machine suspends and when the screen is locked.
pub(crate) fn is_heard() -> bool {
    LISTENS.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use super::*;

    /// What only something that hangs reaches.
    const LONG: Duration = Duration::from_secs(60);

    /// Tells when the vault is to be locked, and ends without that where nobody is to lock it.
    fn hearing(script: &str) -> Receiver<()> {
        let desktop = Desktop::begin(Command::new("sh").args(["-c", script])).unwrap();
        let (locks, locked) = channel();
        desktop.on_lock(move || locks.send(()).unwrap());
        locked
    }

    /// It waits for its first byte, and whoever had never heard leaves nothing to be locked.
    // [SPEC 11.131]
    #[test]
    fn one_that_heard_and_ends_locks() {
        assert!(hearing("read go").recv_timeout(LONG).is_err());
        for said in ["hears", "listens", "deaf", "lock"] {
            let heard = hearing(&format!("read go; echo {said}"));
            assert!(heard.recv_timeout(LONG).is_ok(), "{said}");
        }
    }

    /// However much it says, it is read to a bound and then ended.
    #[test]
    fn one_that_never_stops_is_ended() {
        let heard = hearing("read go; while :; do echo hears; done");
        assert!(heard.recv_timeout(LONG).is_ok());
    }
}
