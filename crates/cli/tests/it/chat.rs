//! Chat, in a pipe and on a terminal; and the prompts, which need one.

use crate::world::{Person, Relay, pair, program};

pub mod pty;

use pty::Terminal;

#[test]
fn in_a_pipe_lines_go_in_and_messages_come_out() {
    let relay = Relay::start();
    let (ada, ben) = pair(&relay);
    let mut hers = ada.spawn(&["--json", "chat", "ben"]);
    let mut his = ben.spawn(&["chat", "ada"]);
    hers.write("hello ben\n");
    his.wait_for_line(|line| line == "ada: hello ben");
    his.write("hello ada\n/quit is no command here\n");
    // In whatever order her own becomes delivered.
    let mut missing = 3;
    let mut texts = Vec::new();
    hers.wait_for_json(|e| {
        if e["event"] == "message_received" {
            assert_eq!(e["conversation"], "ben");
            texts.push(e["text"].clone());
        }
        let is_delivered = e["event"] == "message_state" && e["state"] == "delivered";
        missing -= usize::from(is_delivered || e["event"] == "message_received");
        missing == 0
    });
    assert_eq!(texts, ["hello ada", "/quit is no command here"]);
    hers.end_of_input();
    hers.finish().ok();
    his.end_of_input();
    his.finish().ok();
}

/// Over a serial line, or in a container, a terminal does not say how wide it is.
#[test]
fn a_terminal_without_a_width_has_the_usual_one() {
    let ada = Person::with_vault(None);
    let words = std::fs::read_to_string(&ada.pin_file).unwrap();
    let mut command = program();
    command
        .arg("--home")
        .arg(&ada.home)
        .args(["deadman", "14d"]);
    let mut terminal = Terminal::run(command);
    terminal.resize(0);
    terminal.wait_until(|screen| screen.contains("PIN or passphrase:"));
    terminal.type_in(&words);
    let (status, screen) = terminal.end();
    assert!(status.success(), "{screen}");
    assert!(screen.contains("must be kept for a court"), "{screen}");
}

/// Nobody sits there any more: whatever arrives in the meantime, the vault is locked.
// [SPEC 12.15]
#[test]
fn a_conversation_that_nobody_types_in_is_closed() {
    let relay = Relay::start();
    let (ada, ben) = pair(&relay);
    let mut terminal = Terminal::run(ada.command(&["chat", "ben", "--idle", "5s"]));
    terminal.wait_until(|screen| screen.contains("ben · active"));
    ben.run(&["send", "ada", "are you still there?"]).ok();
    terminal.wait_until(|screen| screen.contains("error: nothing was typed for 5s"));
    assert_eq!(terminal.finish(), Some(5));

    let piped = ada.spawn(&["--json", "chat", "ben", "--idle", "1s"]);
    let ended = piped.finish_with_open_input().ends(5);
    assert_eq!(ended.failure()["error"], "vault_locked");
    ada.run(&["contacts"]).ok();
}

#[test]
fn in_a_pipe_what_cannot_go_out_is_kept() {
    let mut relay = Relay::start();
    let (ada, _ben) = pair(&relay);
    relay.stop();
    let done = ada.run_with(&["chat", "ben"], "one\ntwo\n").ends(3);
    assert!(done.err.contains("is kept"), "{done:?}");
}

/// On a terminal what burns goes from the screen, too.
#[test]
fn on_a_terminal_messages_live_and_burn() {
    let relay = Relay::start();
    let (ada, ben) = pair(&relay);
    let mut terminal = Terminal::run(ada.command(&["chat", "ben"]));
    terminal.wait_until(|screen| screen.contains("ben · active"));
    terminal.type_in("written on a terminal\r");
    terminal.wait_until(|screen| screen.contains("me: written on a terminal [sent]"));
    assert_eq!(
        ben.run(&["receive", "--wait", "20s"]).ok().out,
        "ada: written on a terminal\n"
    );
    ben.run(&["send", "ada", "--burn", "5s", "gone \u{1b}[2J soon"])
        .ok();
    terminal.wait_until(|screen| screen.contains("ben: gone \\u{1b}[2J soon ("));
    terminal.wait_until(|screen| !screen.contains("gone"));
    // [SPEC 12.38]
    terminal.type_in("\u{1b}[200~pasted\r/quit\rwhole\u{1b}[201~");
    terminal.wait_until(|screen| screen.contains("/quit") && screen.contains("whole"));
    terminal.type_in("\r");
    assert_eq!(
        ben.run(&["receive", "--wait", "20s"]).ok().out,
        "ada: pasted\n    /quit\n    whole\n"
    );
    terminal.type_in("/nonsense\r");
    terminal.wait_until(|screen| screen.contains("/burn TIME TEXT"));
    terminal.type_in("/quit\r");
    assert_eq!(terminal.finish(), Some(0));
}

#[test]
fn init_proposes_six_words_and_asks_for_them_again() {
    let ada = Person::new();
    let mut command = crate::world::program();
    command
        .arg("--home")
        .arg(&ada.home)
        .args(["init", "--relay", "-"]);
    let mut terminal = Terminal::run(command);
    terminal.wait_until(|screen| screen.contains("relay address:"));
    terminal.type_in("not an address\r");
    assert_eq!(terminal.finish(), Some(2), "before any words are proposed");

    let mut command = crate::world::program();
    command
        .arg("--home")
        .arg(&ada.home)
        .args(["init", "--kdf", "minimum"]);
    let mut terminal = Terminal::run(command);
    let screen = terminal.wait_until(|screen| screen.contains("of your own:"));
    let words = screen
        .lines()
        .map(str::trim)
        .find(|line| line.split(' ').count() == 6 && !line.contains(','))
        .unwrap();
    let words = words.to_owned();
    terminal.type_in("\r");
    terminal.wait_until(|screen| screen.contains("Once more, in full:"));
    terminal.type_in("these are other words\r");
    terminal.wait_until(|screen| screen.contains("That was not the same. Once more"));
    terminal.type_in(&format!("{words}\r"));
    terminal.wait_until(|screen| screen.contains("made a vault"));
    assert_eq!(terminal.finish(), Some(0));
    crate::world::write_private(&ada.pin_file, &words);
    ada.run(&["contacts"]).ok();

    // The PIN is asked for, and not shown while it is typed.
    let mut command = crate::world::program();
    command.arg("--home").arg(&ada.home).arg("contacts");
    let mut terminal = Terminal::run(command);
    terminal.wait_until(|screen| screen.contains("PIN or passphrase:"));
    terminal.type_in("not this one\r");
    let screen = terminal.wait_until(|screen| screen.contains("error: wrong PIN or passphrase"));
    assert!(!screen.contains("not this one"), "{screen}");
    assert_eq!(terminal.finish(), Some(5));
}
