//! Told to end while the terminal is not as it was found.

use std::os::unix::process::ExitStatusExt;

use crate::chat::pty::Terminal;
use crate::world::{Person, Relay, pair, program, signal};

// [SPEC 12.18]
#[test]
fn a_prompt_that_is_told_to_end_puts_the_terminal_back() {
    let ada = Person::with_vault(None);
    for (name, number) in [
        ("TERM", libc::SIGTERM),
        ("INT", libc::SIGINT),
        ("HUP", libc::SIGHUP),
    ] {
        let mut command = program();
        command.arg("--home").arg(&ada.home).arg("contacts");
        let mut terminal = Terminal::run(command);
        terminal.wait_until(|screen| screen.contains("PIN or passphrase:"));
        assert!(!terminal.is_as_found());
        terminal.type_in("half of it");
        let kept_open = terminal.other_end();
        signal(terminal.id(), name);
        let (status, screen) = terminal.end();
        assert_eq!(status.signal(), Some(number));
        assert!(kept_open.is_as_found(), "{name}");
        assert!(!screen.contains("half"), "{screen}");
    }
}

// [SPEC 12.18]
#[test]
fn a_conversation_that_is_told_to_end_puts_the_terminal_back_and_locks() {
    let relay = Relay::start();
    let (ada, _ben) = pair(&relay);
    for name in ["TERM", "INT", "HUP"] {
        let mut terminal = Terminal::run(ada.command(&["chat", "ben"]));
        terminal.wait_until(|screen| screen.contains("ben · active"));
        assert!(!terminal.is_as_found());
        let kept_open = terminal.other_end();
        signal(terminal.id(), name);
        let (status, screen) = terminal.end();
        assert_eq!(status.code(), Some(0), "{name}: {screen}");
        assert!(kept_open.is_as_found(), "{name}");
        assert!(!screen.contains("active"), "{screen}");
    }
}

/// A command that goes on after its prompt ends by a signal as if there had been none.
// [SPEC 12.18]
#[test]
fn after_a_prompt_signals_are_what_they_were() {
    let relay = Relay::start();
    let (ada, _ben) = pair(&relay);
    let words = std::fs::read_to_string(&ada.pin_file).unwrap();
    let mut command = program();
    command
        .arg("--home")
        .arg(&ada.home)
        .args(["--json", "receive", "--follow"]);
    let mut terminal = Terminal::run(command);
    terminal.wait_until(|screen| screen.contains("PIN or passphrase:"));
    terminal.type_in(&words);
    terminal.wait_until(|screen| screen.contains("connection"));
    assert!(terminal.is_as_found());
    signal(terminal.id(), "TERM");
    assert_eq!(terminal.end().0.signal(), Some(libc::SIGTERM));
}
