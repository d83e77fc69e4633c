//! The real program gives up what it does not need, and does its work all the same: all other tests of it run so.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::chat::pty::Terminal;
use crate::machine;
use crate::world::{Person, Relay, Running, finish, pair, program, write_private};

// [SPEC 11.94]
#[test]
fn a_client_gives_up_what_it_does_not_need() {
    let ada = Person::with_vault(None);
    let daemon = ada.daemon(&[]);
    let tasks = format!("/proc/{}/task", daemon.id());
    let mut threads = 0;
    for task in fs::read_dir(tasks).unwrap() {
        // One may end meanwhile.
        let Ok(status) = fs::read_to_string(task.unwrap().path().join("status")) else {
            continue;
        };
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
        assert!(status.contains("Seccomp:\t2"), "{status}");
        threads += 1;
    }
    assert!(threads > 2, "{threads}");
    assert_eq!(ada.json(&["status"])[0]["sandbox"], machine::sandbox());
    // What lies elsewhere it does not open, though a link in its home leads there from now on.
    ada.run(&["deadman", "14d"]).ok();
    let elsewhere = ada.file("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let moved = |name: &str| {
        fs::rename(ada.home.join(name), elsewhere.join(name)).unwrap();
        std::os::unix::fs::symlink(elsewhere.join(name), ada.home.join(name)).unwrap();
    };
    moved("outside");
    let set = ada.run(&["--json", "deadman", "20d"]);
    if machine::sandbox() == "full" {
        assert_eq!(set.ends(5).failure()["error"], "vault_write");
    }
    daemon.signal("TERM");
    assert!(!daemon.finish().ok().err.contains("no_sandbox"));
    // One that was there before it began was put there by the owner.
    moved("records");
    ada.run(&["contacts"]).ok();
    ada.run(&["deadman", "20d"]).ok();
}

/// A kernel that lacks calls: they fail as they do there.
#[allow(unsafe_code)]
fn lacking(command: &mut Command, calls: &[libc::c_long]) {
    let step = |code, jf, k| libc::sock_filter { code, jt: 0, jf, k };
    // Loads the number of the call, compares it with each, and lets it be.
    let mut filter = vec![step(0x20, 0, 0)];
    for call in calls {
        filter.push(step(0x15, 1, u32::try_from(*call).unwrap()));
        let missing = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
        filter.push(step(0x06, 0, missing));
    }
    filter.push(step(0x06, 0, libc::SECCOMP_RET_ALLOW));
    // SAFETY: system calls alone, whose pointers are to what outlives them; no memory is taken between fork and exec.
    unsafe {
        command.pre_exec(move || {
            let program = libc::sock_fprog {
                len: u16::try_from(filter.len()).unwrap_or(0),
                filter: filter.as_mut_ptr(),
            };
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            match libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program,
            ) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
}

// [SPEC 11.94]
#[test]
fn on_a_kernel_that_cannot_confine_it_goes_on_and_says_so() {
    let relay = Relay::start();
    let (ada, ben) = pair(&relay);
    let landlock = libc::SYS_landlock_create_ruleset;
    for (calls, reached) in [
        (vec![landlock, libc::SYS_seccomp], "none"),
        (vec![landlock], "calls"),
        (vec![libc::SYS_seccomp], "files"),
    ] {
        let mut command = ada.command(&["--json", "daemon"]);
        lacking(&mut command, &calls);
        let mut daemon = Running::start(command);
        daemon.wait_for_json(|line| line["result"] == "serving");
        assert_eq!(ada.json(&["status"])[0]["sandbox"], reached);
        ada.run(&["send", "ben", "still here"]).ok();
        assert!(ben.run(&["receive"]).ok().out.contains("still here"));
        ada.run(&["lock"]).ok();
        let told = daemon.finish().ok().err;
        assert_eq!(told.contains("no_sandbox"), reached != "files", "{told}");
    }
}

/// Runs the program as it is given.
fn succeeds(from: &Path, variables: &[(&str, &Path)], arguments: &[&str], input: &str) {
    let mut command = program();
    command.current_dir(from).args(arguments);
    command.envs(variables.iter().copied());
    finish(command, input).ok();
}

/// Whatever a person names is read and written, wherever it lies: on another file system, by a link, from here, by a variable.
// [SPEC 11.94]
#[test]
fn whatever_is_named_is_opened() {
    let ada = Person::new();
    // The home lies in memory, if there is such a place, and these on a disk.
    let disk = std::env::temp_dir().join(format!("emptyroom-cli-named-{}", std::process::id()));
    let (files, homes) = (disk.join("files"), disk.join("homes"));
    fs::create_dir_all(&files).unwrap();
    fs::create_dir_all(&homes).unwrap();
    let pin = ada.pin_file.to_str().unwrap();
    let text = fs::read_to_string(pin).unwrap();
    for (name, text) in [
        ("first", text.as_str()),
        ("second", "seven green bottles on a wall\n"),
        ("panic", "nothing was ever in here\n"),
    ] {
        write_private(&files.join(name), text);
    }
    std::os::unix::fs::symlink("second", files.join("link")).unwrap();
    let init = ["init", "--kdf", "minimum", "--pin-file"];
    let home = ada.home.to_str().unwrap();

    // Files.
    succeeds(
        &files,
        &[],
        &[&init[..], &["first", "--home", home]].concat(),
        "",
    );
    let change = ["pin", "change", "--new-pin-file", "link", "--pin-file", pin];
    succeeds(&files, &[], &[&change[..], &["--home", home]].concat(), "");
    let panic = ["panic", "set", "--panic-pin-file", "../files/panic"];
    let by_link = ["--pin-file", "link", "--home", home];
    succeeds(&files, &[], &[&panic[..], &by_link].concat(), "");
    for input in ["/dev/stdin", "/proc/self/fd/0"] {
        let arguments = ["contacts", "--home", home, "--pin-file", input];
        succeeds(&files, &[], &arguments, "seven green bottles on a wall\n");
    }
    // As a shell's `<(…)` and `<` are, on which the name is a pipe or a file that is open.
    let mut command = program();
    command.args(["contacts", "--home", home, "--pin-file", "/dev/fd/0"]);
    command.stdin(fs::File::open(files.join("second")).unwrap());
    assert!(command.output().unwrap().status.success());

    // Homes: deep and not there yet, from here, by a link, by what surrounds the program.
    let contacts = ["contacts", "--pin-file", pin];
    let made = homes.join("not/there/yet");
    let absolute = made.to_str().unwrap();
    succeeds(
        &files,
        &[],
        &[&init[..], &[pin, "--home", absolute]].concat(),
        "",
    );
    std::os::unix::fs::symlink(&made, homes.join("link")).unwrap();
    for home in ["not/there/yet", "link", "../homes/not/../link"] {
        succeeds(
            &homes,
            &[],
            &[&contacts[..], &["--home", home]].concat(),
            "",
        );
    }
    for (variable, value, below) in [
        ("EMPTYROOM_HOME", homes.join("one"), ""),
        ("XDG_DATA_HOME", homes.join("two"), "emptyroom"),
        ("HOME", homes.join("three"), ".local/share/emptyroom"),
    ] {
        let variables = [(variable, value.as_path())];
        succeeds(&files, &variables, &[&init[..], &[pin]].concat(), "");
        succeeds(&files, &variables, &contacts, "");
        assert!(value.join(below).join("header").is_file());
    }

    let drill = ["wipe", "--drill", "--pin-file", pin, "--home", "one"];
    succeeds(&homes, &[], &drill, "");

    // What is written elsewhere.
    succeeds(&files, &[], &["man", "../homes/pages"], "");
    assert!(homes.join("pages/emptyroom.1").is_file());
    fs::remove_dir_all(&disk).unwrap();
}

/// The terminal is asked for its size, and tells when it changes.
#[test]
fn a_terminal_that_gets_smaller_is_drawn_anew() {
    let relay = Relay::start();
    let (ada, _ben) = pair(&relay);
    let mut terminal = Terminal::run(ada.command(&["chat", "ben"]));
    terminal.wait_until(|screen| screen.contains("ben · active"));
    let long = "x".repeat(60);
    terminal.type_in(&format!("{long}\r"));
    terminal.wait_until(|screen| screen.contains(&long) && screen.contains("[sent]"));
    terminal.resize(40);
    terminal.wait_until(|screen| screen.contains("xxx") && !screen.contains(&long));
    terminal.type_in("/quit\r");
    assert_eq!(terminal.finish(), Some(0));
}
