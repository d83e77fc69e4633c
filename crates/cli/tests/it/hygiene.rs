//! Nothing of a running client can be had by others, and it leaves nothing beside its vault.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::chat::pty::Terminal;
use crate::machine;
use crate::world::{Person, Relay, Running, pair};

// [SPEC 12.13]
#[test]
fn no_core_dumps_no_reading_of_memory_no_files_for_others() {
    let ada = Person::with_vault(None);
    let daemon = ada.daemon(&[]);
    let proc = Path::new("/proc").join(daemon.id().to_string());
    let limits = std::fs::read_to_string(proc.join("limits")).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert_eq!(
        core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(),
        ["0", "0"],
        "{core}"
    );
    // Only root may read the memory of a process that refuses to be read.
    if !rustix::process::geteuid().is_root() {
        let refused = std::fs::File::open(proc.join("mem")).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
    }
    let status = std::fs::read_to_string(proc.join("status")).unwrap();
    let mask = status
        .lines()
        .find(|line| line.starts_with("Umask:"))
        .unwrap();
    assert!(mask.ends_with("0077"), "{mask}");
    assert_eq!(
        std::fs::metadata(&ada.home).unwrap().permissions().mode() & 0o777,
        0o700
    );
    for entry in std::fs::read_dir(&ada.home).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(
            entry.metadata().unwrap().permissions().mode() & 0o077,
            0,
            "{:?}",
            entry.file_name()
        );
    }
}

/// A process that was crashed on purpose leaves no core file and no text in any file of its home.
#[test]
fn a_crash_leaves_nothing_readable() {
    let relay = Relay::start();
    let (ada, ben) = pair(&relay);
    ben.run(&["send", "ada", "MARKER-4711-MARKER"]).ok();
    let daemon = ada.daemon(&[]);
    let received = ada.run(&["receive", "--wait", "20s"]).ok();
    assert!(received.out.contains("MARKER-4711-MARKER"));
    daemon.signal("ABRT");
    assert_eq!(daemon.finish().code, None);
    for entry in std::fs::read_dir(&ada.home).unwrap() {
        let path = entry.unwrap().path();
        assert!(
            !path
                .file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("core")
        );
        let Ok(bytes) = std::fs::read(&path) else {
            continue;
        };
        assert!(
            !bytes.windows(11).any(|w| w == b"MARKER-4711"),
            "{}",
            path.display()
        );
    }
}

/// Reads every byte of standard error of commands that fail on what was typed: none repeats a secret.
#[test]
fn errors_repeat_no_secrets() {
    let relay = Relay::start();
    let ada = Person::with_vault(Some(&relay));
    let link = ada.run(&["invite", "ben"]).ok().out;
    let link = link.trim();
    let cut_link = &link[..link.len() - 3];
    let (plain, code) = relay.address.split_once("?code=").unwrap();
    let cut_address = format!("{}?code={code}", &plain[..plain.len() - 3]);
    let wrong = ada.file("wrong");
    crate::world::write_private(&wrong, "ninety-nine red balloons\n");
    let with_wrong_pin = |arguments: &[&str]| {
        let mut command = crate::world::program();
        command
            .arg("--home")
            .arg(&ada.home)
            .arg("--pin-file")
            .arg(&wrong)
            .args(arguments);
        crate::world::finish(command, "")
    };
    for (done, code) in [
        (ada.run_with(&["join", "--as", "x"], cut_link), 2),
        (ada.run_with(&["--json", "join", "--as", "x"], cut_link), 2),
        (ada.run(&["join", cut_link, "--as", "x"]), 2),
        (ada.run_with(&["relay", "-"], &cut_address), 2),
        (with_wrong_pin(&["contacts"]), 5),
    ] {
        assert_eq!(done.code, Some(code), "{done:?}");
        for secret in [
            &link[link.len() / 2..][..20],
            &plain[plain.len() - 20..],
            relay.address.split_once("?code=").unwrap().1,
            "balloons",
        ] {
            assert!(
                !done.err.contains(secret) && !done.out.contains(secret),
                "{done:?}"
            );
        }
    }
}

/// What was deleted is not in the memory of the daemon that had it, either.
// [SPEC 12.13]
#[test]
fn a_daemon_forgets_what_was_deleted() {
    const MARKER: &str = "MARKER-0815-MARKER";
    let relay = Relay::start();
    let (ada, ben) = pair(&relay);
    let daemon = readable_daemon(&ada);
    ben.run(&["send", "ada", MARKER]).ok();
    let events = ada.json(&["receive", "--wait", "20s"]);
    let message = events.iter().find(|e| e["text"] == MARKER).unwrap();
    let id = message["id"].to_string();
    // It is read again, so that it was in memory more than once.
    assert!(ada.run(&["history", "ben"]).ok().out.contains(MARKER));
    ada.run(&["delete", "ben", &id]).ok();
    // What was in the way of the last request and its response has been used again.
    ada.run(&["contacts"]).ok();
    is_forgotten(daemon.id(), &ada, MARKER);
}

/// The PIN opens the vault and is forgotten, whether it was typed, pasted or came from a file.
// [SPEC 12.17]
#[test]
fn a_daemon_forgets_the_pin() {
    let ada = Person::with_vault(None);
    let words = std::fs::read_to_string(&ada.pin_file).unwrap();
    let words = words.trim();
    let from_file = readable_daemon(&ada);
    is_forgotten(from_file.id(), &ada, words);
    from_file.signal("TERM");
    from_file.finish().ok();

    let mut command = crate::world::program();
    command.arg("--home").arg(&ada.home).arg("daemon");
    make_readable(&mut command);
    let mut terminal = Terminal::run(command);
    terminal.wait_until(|screen| screen.contains("PIN or passphrase:"));
    terminal.type_in(&format!("{words}\r"));
    terminal.wait_until(|screen| screen.contains("daemon.sock"));
    is_forgotten(terminal.id(), &ada, words);
}

/// Not even a part of it, as a queue of keys would hold. That the search finds what is there is shown by the home's path.
fn is_forgotten(pid: u32, person: &Person, words: &str) {
    let home = person.home.to_str().unwrap();
    let Some(found) = machine::as_root(occurrences(pid, home.as_bytes())) else {
        return;
    };
    assert!(found > 0, "the search finds nothing");
    let keys: Vec<u8> = words.bytes().take(12).collect();
    assert_eq!(occurrences(pid, &keys).unwrap(), 0);
}

fn readable_daemon(person: &Person) -> Running {
    let mut command = person.command(&["daemon"]);
    make_readable(&mut command);
    let mut daemon = Running::start(command);
    daemon.wait_for_line(|line| line.ends_with("daemon.sock"));
    daemon
}

/// Puts a program into a user namespace of its own: whoever made that, these tests, is as root to it and may read its memory,
/// which refuses everybody else. Where there are no such namespaces nothing changes.
#[allow(unsafe_code)]
fn make_readable(command: &mut Command) {
    let map = format!("0 {} 1", rustix::process::geteuid().as_raw());
    // SAFETY: system calls alone, without memory being taken, which is safe between fork and exec.
    unsafe {
        command.pre_exec(move || {
            if libc::unshare(libc::CLONE_NEWUSER) == 0 {
                let file = libc::open(c"/proc/self/uid_map".as_ptr(), libc::O_WRONLY);
                libc::write(file, map.as_ptr().cast(), map.len());
                libc::close(file);
            }
            Ok(())
        });
    }
}

/// How often a text stands in the writable memory of a process.
fn occurrences(pid: u32, text: &[u8]) -> std::io::Result<usize> {
    use std::os::unix::fs::FileExt;
    let proc = Path::new("/proc").join(pid.to_string());
    let memory = std::fs::File::open(proc.join("mem"))?;
    let mut found = 0;
    for line in std::fs::read_to_string(proc.join("maps"))?.lines() {
        let mut parts = line.split_whitespace();
        let (Some(range), Some(mode)) = (parts.next(), parts.next()) else {
            continue;
        };
        if !mode.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let (from, to) = (
            u64::from_str_radix(from, 16).unwrap(),
            u64::from_str_radix(to, 16).unwrap(),
        );
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        // Some mappings cannot be read by anybody.
        if memory.read_exact_at(&mut bytes, from).is_ok() {
            found += bytes
                .windows(text.len())
                .filter(|window| *window == text)
                .count();
        }
    }
    Ok(found)
}
