//! Nothing of a running client can be had by others, and it leaves nothing beside its vault.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::chat::pty::Terminal;
use crate::image::{Ending, Image, make_readable, readable_daemon};
use crate::machine;
use crate::reader;
use crate::world::{Person, Relay, Running, pair, program_at};

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
    let Some(image) = machine::as_root(Image::of(pid)) else {
        return;
    };
    assert!(image.count(home.as_bytes()) > 0, "the search finds nothing");
    let keys: Vec<u8> = words.bytes().take(12).collect();
    assert_eq!(image.count(&keys), 0);
}

/// What a vault holds and is sealed with, in pieces of 16 bytes that do not come about by chance.
fn pieces<'a>(secrets: impl Iterator<Item = &'a [u8]>) -> HashSet<[u8; 16]> {
    let pieces = secrets.flat_map(|secret| secret.chunks_exact(16));
    let random = |piece: &&[u8]| piece.iter().collect::<HashSet<_>>().len() >= 12;
    pieces
        .filter(random)
        .map(|piece| piece.try_into().unwrap())
        .collect()
}

/// A locked daemon is one that has ended; it is looked at in that moment.
// [SPEC 11.27]
// [SPEC 12.13]
// [SPEC 12.31]
#[test]
fn nothing_of_the_vault_is_in_the_memory_of_a_daemon_that_locked() {
    const MARKER: &str = "MARKER-1618-MARKER";
    let relay = Relay::start();
    let (ada, ben) = pair(&relay);
    let pin = std::fs::read_to_string(&ada.pin_file).unwrap();
    let daemon = readable_daemon(&ada);
    ben.run(&["send", "ada", MARKER]).ok();
    let shown = ada.run(&["receive", "--wait", "20s"]).ok().out;
    assert!(shown.contains(MARKER));
    assert!(ada.run(&["history", "ben"]).ok().out.contains(MARKER));

    let file = |name: &str| std::fs::read(ada.home.join(name)).unwrap();
    let header = reader::newest_header(&file("header"), pin.trim()).unwrap();
    let seized = reader::seize(file, pin.trim()).unwrap();
    let values = seized.values();
    let mut keys: Vec<reader::Key> = vec![
        header.vault,
        header.root,
        reader::sector_key(&header.vault, &header.root),
        reader::journal_key(&header.vault, &header.root),
        reader::block_key(&header.vault),
        reader::expand(&header.vault, "emptyroom v1 vault header", &[]),
    ];
    keys.extend(seized.keys.iter().map(|(_, key)| *key));
    let keys = pieces(keys.iter().map(|key| key.as_slice()));
    let values = pieces(values.values().map(Vec::as_slice));
    assert!(keys.len() > 800 && values.len() > 100);

    let Some(open) = machine::as_root(Image::of(daemon.id())) else {
        return;
    };
    assert!(open.found(&keys).len() > 800, "the search finds keys");
    assert!(!open.found(&values).is_empty(), "and what they seal");
    drop(open);
    let ending = Ending::watch(daemon.id()).unwrap();
    let lock = ada.spawn(&["lock"]);
    ending.wait();
    let locked = Image::of(daemon.id()).unwrap();
    assert!(locked.count(ada.home.to_str().unwrap().as_bytes()) > 0);
    assert_eq!(locked.count(MARKER.as_bytes()), 0);
    assert_eq!(locked.count(&pin.as_bytes()[..12]), 0);
    assert_eq!(locked.found(&keys).len(), 0, "keys of {}", keys.len());
    // The threads of sockets have dialled it.
    let identity = relay.identity();
    let is_public = |piece: &&[u8; 16]| identity.windows(16).any(|part| part == *piece);
    let found = locked.found(&values);
    let left: Vec<_> = found
        .into_iter()
        .filter(|piece| !is_public(piece))
        .collect();
    assert_eq!(left.len(), 0, "of {}: {left:02x?}", values.len());
    drop(ending);
    lock.finish().ok();
    daemon.finish().ok();
}

/// Another process of the same user gets nothing out of a running one.
// [SPEC 12.13]
#[test]
fn a_process_of_the_same_user_may_not_look() {
    const NOBODY: u32 = 65_534;
    let ada = Person::new();
    let as_nobody = |mut command: Command| {
        command.uid(NOBODY).gid(NOBODY);
        command
    };
    let owned = [ada.pin_file.as_path(), ada.pin_file.parent().unwrap()];
    let given = owned.map(|path| std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)));
    if machine::as_root(given.into_iter().collect::<std::io::Result<()>>()).is_none() {
        return;
    }
    // Others may not look into the directory in which it was built. (Copied by another process: one that forks meanwhile would
    // hold it open for writing.)
    let copy = std::env::temp_dir().join(format!("er-program-{}", std::process::id()));
    let mut copying = Command::new("cp");
    copying.arg(env!("CARGO_BIN_EXE_emptyroom")).arg(&copy);
    assert!(copying.status().unwrap().success());
    let run = |arguments: &[&str]| {
        let mut command = program_at(&copy);
        command.args(ada.command(arguments).get_args());
        as_nobody(command)
    };
    crate::world::finish(run(&["init", "--kdf", "minimum"]), "").ok();
    let mut daemon = Running::start(run(&["daemon"]));
    std::fs::remove_file(&copy).unwrap();
    daemon.wait_for_line(|line| line.ends_with("daemon.sock"));
    let mut idle = as_nobody(Command::new("cat"))
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    for what in ["maps", "environ", "auxv"] {
        let read = |pid: u32| {
            let mut cat = Command::new("cat");
            cat.arg(format!("/proc/{pid}/{what}"));
            as_nobody(cat).output().unwrap().status.success()
        };
        assert!(read(idle.id()), "the look finds what may be seen: {what}");
        assert!(!read(daemon.id()), "{what}");
    }
    drop(idle.stdin.take());
    idle.wait().unwrap();
    daemon.signal("TERM");
    daemon.finish().ok();
}

// [SPEC 12.77]
#[test]
fn a_text_in_the_arguments_is_warned_of() {
    let ada = Person::with_vault(None);
    let warned = "\"warning\":\"text_in_arguments\"";
    let given = ada.run(&["--json", "send", "ben", "hello"]).ends(2);
    assert_eq!(given.err.matches(warned).count(), 1, "{given:?}");
    let piped = ada.run_with(&["--json", "send", "ben"], "hello").ends(2);
    assert!(!piped.err.contains(warned), "{piped:?}");
}
