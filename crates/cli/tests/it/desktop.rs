//! A suspend and the lock of the screen, as logind tells them.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use crate::chat::pty::Terminal;
use crate::machine;
use crate::world::logind::{Delay, Logind, Of};
use crate::world::{DEADLINE, Person, Relay, Running, pair, signal};

fn daemon(person: &Person, logind: &Logind) -> (Running, Delay) {
    let mut command = person.command(&["daemon"]);
    command.envs([logind.variable()]);
    let mut daemon = Running::start(command);
    daemon.wait_for_line(|line| line.ends_with("daemon.sock"));
    let delay = logind.delay();
    assert!(delay.is_ours());
    wait_until_heard(person, true);
    (daemon, delay)
}

fn wait_until_heard(person: &Person, is_heard: bool) {
    let since = Instant::now();
    while person.json(&["status"])[0]["desktop"] != is_heard {
        assert!(since.elapsed() < DEADLINE);
    }
}

/// A process that has given its memory back has no size any more.
fn has_memory(id: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"));
    status.is_ok_and(|status| status.contains("VmSize:"))
}

/// The memory with the keys is gone before the machine may suspend.
// [SPEC 11.91, 11.131]
#[test]
fn a_suspend_waits_for_the_vault_to_be_locked() {
    let (ada, logind) = (Person::with_vault(None), Logind::start());
    let (daemon, delay) = daemon(&ada, &logind);
    // As after a suspend: it is no reason to lock.
    logind.sleeps(false);
    assert_eq!(ada.json(&["status"])[0]["daemon"], true);
    logind.sleeps(true);
    delay.end();
    assert!(!has_memory(daemon.id()));
    daemon.finish().ok();
}

// [SPEC 11.91, 11.130]
#[test]
fn a_screen_that_is_locked_locks_the_vault_of_its_user() {
    let ada = Person::with_vault(None);
    for how in [Logind::locks_session, |logind: &Logind, of| {
        logind.hints(of, true);
    }] {
        let logind = Logind::start();
        let (daemon, delay) = daemon(&ada, &logind);
        logind.is_played_to(&delay);
        logind.hints(Of::Us, false);
        logind.locks_session(Of::Gone);
        logind.locks_anothers(how);
        assert_eq!(ada.json(&["status"])[0]["desktop"], true);
        how(&logind, Of::Us);
        delay.end();
        daemon.finish().ok();
    }
}

/// It is heard all the same, though nothing waits for it then.
// [SPEC 11.131]
#[test]
fn a_suspend_that_cannot_be_delayed_locks_too() {
    let (ada, logind) = (Person::with_vault(None), Logind::start_refusing());
    let mut command = ada.command(&["daemon"]);
    command.envs([logind.variable()]);
    let mut daemon = Running::start(command);
    daemon.wait_for_line(|line| line.ends_with("daemon.sock"));
    logind.delay();
    assert_eq!(ada.json(&["status"])[0]["desktop"], false);
    logind.sleeps(true);
    daemon.finish().ok();
}

// [SPEC 11.131]
#[test]
fn a_suspend_that_has_begun_before_the_vault_is_open_locks_it() {
    let (ada, logind) = (Person::with_vault(None), Logind::start_about_to_sleep());
    let mut command = ada.command(&["daemon"]);
    command.envs([logind.variable()]);
    Running::start(command).finish().ok();
}

// [SPEC 11.131]
#[test]
fn a_logind_that_comes_back_is_heard_again() {
    let (ada, logind) = (Person::with_vault(None), Logind::start());
    let (daemon, _) = daemon(&ada, &logind);
    logind.goes();
    wait_until_heard(&ada, false);
    // Nobody is logind now.
    logind.sleeps(true);
    logind.comes_back();
    let delay = logind.delay();
    wait_until_heard(&ada, true);
    logind.sleeps(true);
    delay.end();
    daemon.finish().ok();
}

/// It would look like being safe.
// [SPEC 11.131]
#[test]
fn nobody_goes_on_deaf() {
    let (ada, logind) = (Person::with_vault(None), Logind::start());
    let (daemon, _delay) = daemon(&ada, &logind);
    let children = format!("/proc/{id}/task/{id}/children", id = daemon.id());
    let listener = std::fs::read_to_string(children).unwrap();
    signal(listener.trim().parse().unwrap(), "KILL");
    daemon.finish().ok();
}

/// Nothing is open before it, and nobody is there who could answer it.
// [SPEC 11.91]
#[test]
fn a_prompt_holds_up_no_suspend() {
    let (ada, logind) = (Person::with_vault(None), Logind::start());
    let mut command = ada.command(&["join", "--as", "ben"]);
    command.envs([logind.variable()]);
    let mut terminal = Terminal::run(command);
    terminal.wait_until(|screen| screen.contains("ink"));
    let delay = logind.delay();
    let kept_open = terminal.other_end();
    logind.sleeps(true);
    delay.end();
    assert_eq!(terminal.end().0.signal(), Some(libc::SIGTERM));
    assert!(kept_open.is_as_found());
}

/// Who only asks a daemon has nothing open.
// [SPEC 11.91]
#[test]
fn whoever_asks_a_daemon_leaves_listening_to_it() {
    let (relay, logind) = (Relay::start(), Logind::start());
    let (ada, _ben) = pair(&relay);
    let (daemon, delay) = daemon(&ada, &logind);
    let mut command = ada.command(&["chat", "ben"]);
    command.envs([logind.variable()]);
    let mut terminal = Terminal::run(command);
    terminal.wait_until(|screen| screen.contains("ben · active"));
    let children = format!("/proc/{id}/task/{id}/children", id = terminal.id());
    assert_eq!(std::fs::read_to_string(children).unwrap(), "");
    logind.sleeps(true);
    delay.end();
    daemon.finish().ok();
    assert_eq!(terminal.end().0.code(), Some(5));
}

// [SPEC 11.91]
#[test]
fn whoever_has_the_vault_open_without_a_daemon_locks_it_too() {
    let (relay, logind) = (Relay::start(), Logind::start());
    let (ada, _ben) = pair(&relay);
    let mut command = ada.command(&["--json", "receive", "--follow"]);
    command.envs([logind.variable()]);
    let follow = Running::start(command);
    let delay = logind.delay();
    logind.sleeps(true);
    delay.end();
    let failure = follow.finish_with_open_input().ends(5).failure();
    assert_eq!(failure["error"], "vault_locked");

    let mut command = ada.command(&["chat", "ben"]);
    command.envs([logind.variable()]);
    let mut terminal = Terminal::run(command);
    terminal.wait_until(|screen| screen.contains("ben · active"));
    let delay = logind.delay();
    logind.locks_session(Of::Us);
    delay.end();
    let (status, screen) = terminal.end();
    assert_eq!(status.code(), Some(5), "{screen}");
    assert!(!screen.contains("active"), "{screen}");
}

/// It locks after the suspend then.
// [SPEC 11.91]
#[test]
fn without_logind_nothing_is_heard_and_said_so() {
    let ada = Person::with_vault(None);
    let daemon = ada.daemon(&[]);
    assert_eq!(ada.json(&["status"])[0]["desktop"], false);
    let said = ada.run(&["status"]).ok().out;
    assert!(said.contains("suspend and screen: not heard of"), "{said}");
    ada.run(&["lock"]).ok();
    daemon.finish().ok();
}

/// The process that listens has nothing of the one that has the keys.
// [SPEC 11.130]
#[test]
fn whoever_listens_inherits_no_pin() {
    let (ada, logind) = (Person::with_vault(None), Logind::start());
    // In the shell's way, with the PIN behind a descriptor that programs inherit.
    let mut shell = Command::new("sh");
    let script = "exec \"$0\" --home \"$1\" --pin-fd 3 daemon 3< \"$2\"";
    shell
        .env_clear()
        .args(["-c", script, env!("CARGO_BIN_EXE_emptyroom")])
        .args([&ada.home, &ada.pin_file])
        .envs([logind.variable()]);
    let daemon = Running::start(shell);
    let delay = logind.delay();
    let children = format!("/proc/{id}/task/{id}/children", id = daemon.id());
    let listener = std::fs::read_to_string(children).unwrap();
    let process = PathBuf::from(format!("/proc/{}", listener.trim()));
    // Not even others of the same user may look.
    let Some(environment) = machine::as_root(std::fs::read(process.join("environ"))) else {
        return;
    };
    let (name, value) = logind.variable();
    assert_eq!(environment, format!("{name}={value}\0").into_bytes());
    for open in std::fs::read_dir(process.join("fd")).unwrap() {
        // One that was closed meanwhile leads nowhere.
        if let Ok(open) = std::fs::read_link(open.unwrap().path()) {
            assert!(open != ada.pin_file && !open.starts_with(&ada.home));
        }
    }
    logind.sleeps(true);
    delay.end();
    daemon.finish().ok();
}
