//! `emptyroom lock`: the end of a daemon.

use clap::Args;
use emptyroom_node::Session;
use emptyroom_node::api::{Call, Failure};

use crate::room::{self, Room};

/// Lock the vault of a running daemon
///
/// The daemon closes its connections, locks the vault and ends. Without a daemon the vault is locked unless a command has it
/// open at this moment, which is told.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom lock")]
pub(crate) struct Lock {}

impl Lock {
    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        match Session::of_daemon(&room.home)? {
            Some(session) => match session.call(Call::Lock {}) {
                // The connection ended before the answer came. So did the daemon, if none answers any more.
                Err(failure)
                    if failure.error == "vault_locked"
                        && Session::of_daemon(&room.home)?.is_none() => {}
                outcome => drop(outcome?),
            },
            None => {
                room.expect_vault()?;
                Session::expect_locked(&room.home)?;
                room::note(room.out, "no daemon runs: the vault is locked");
            }
        }
        room.out.done()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    use super::*;
    use crate::out::Out;
    use crate::secret::Source;

    /// Locks at a daemon that hangs up without an answer; `ends` says whether it is gone then.
    fn lock_at(name: &str, ends: bool) -> Result<(), Failure> {
        let home: PathBuf =
            std::env::temp_dir().join(format!("emptyroom-cli-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&home).unwrap();
        let socket = home.join("daemon.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let (path, keeps) = (socket.clone(), listener.try_clone().unwrap());
        let daemon = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            BufReader::new(&stream)
                .read_line(&mut String::new())
                .unwrap();
            if ends {
                std::fs::remove_file(path).unwrap();
            }
        });
        let room = Room {
            home: home.clone(),
            out: Out { json: false },
            pin: Source::Prompt,
            desktop: Cell::default(),
        };
        let outcome = Lock {}.run(&room);
        daemon.join().unwrap();
        drop(keeps);
        std::fs::remove_dir_all(&home).unwrap();
        outcome
    }

    #[test]
    fn a_daemon_that_is_gone_is_locked_and_one_that_answers_is_not() {
        assert!(lock_at("gone", true).is_ok());
        assert!(lock_at("busy", false).is_err_and(|failure| failure.error == "vault_locked"));
    }
}
