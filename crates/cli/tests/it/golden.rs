//! Help texts and error wordings, word for word. `UPDATE_GOLDEN=1 cargo test -p emptyroom-cli golden` writes them anew.

use std::path::PathBuf;

use crate::world::{Done, Person, finish, program, write_private};

const COMMANDS: &[&str] = &[
    "init",
    "invite",
    "invites",
    "join",
    "contacts",
    "rename",
    "forget",
    "send",
    "receive",
    "history",
    "delete",
    "chat",
    "timer",
    "receipts",
    "verify",
    "block",
    "allow-restart",
    "status",
    "relay",
    "lock",
    "pin",
    "vault",
    "panic",
    "wipe",
    "killcode",
    "deadman",
    "guard",
    "daemon",
    "completions",
    "man",
];

fn golden(name: &str, text: &str) {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/it/golden", name]
        .iter()
        .collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        text, expected,
        "{name} has changed; if it is meant: UPDATE_GOLDEN=1"
    );
}

fn run(arguments: &[&str]) -> Done {
    let mut command = program();
    command.args(arguments);
    finish(command, "")
}

#[test]
fn help_says_what_it_said() {
    golden("help/emptyroom.txt", &run(&["--help"]).ok().out);
    golden("help/emptyroom-short.txt", &run(&["-h"]).ok().out);
    for command in COMMANDS {
        let help = run(&[command, "--help"]).ok().out;
        golden(&format!("help/{command}.txt"), &help);
        assert!(
            help.contains("Examples:") || *command == "pin",
            "{command} teaches by no example"
        );
    }
    for command in [
        "pin change",
        "vault mode",
        "vault recovery",
        "vault recovery new",
        "vault recovery remove",
        "panic set",
        "panic unset",
        "deadman suspend",
        "killcode create",
        "killcode revoke",
        "killcode receipts",
    ] {
        let mut words: Vec<&str> = command.split(' ').collect();
        let file = format!("help/{}.txt", words.join("-"));
        words.push("--help");
        golden(&file, &run(&words).ok().out);
    }
}

#[test]
fn every_command_is_in_the_list_of_commands() {
    let help = run(&["-h"]).ok().out;
    let listed: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(listed, COMMANDS);
}

/// What goes wrong without any relay, in a fresh vault, with the words for it.
#[test]
fn errors_say_what_they_said() {
    let ada = Person::with_vault(None);
    let nobody = Person::new();
    let wrong_pin = ada.file("wrong");
    write_private(&wrong_pin, "1234\n");
    let wrong_pin = wrong_pin.to_str().unwrap().to_owned();
    let long = "x".repeat(16 * 1024 + 1);
    let mut text = String::new();
    let mut told = |what: &str, done: Done| {
        assert_eq!(done.out, "", "{what}");
        text.push_str(&format!(
            "$ emptyroom {what}\n{}exit {}\n\n",
            done.err,
            done.code.unwrap()
        ));
    };
    for arguments in [
        vec!["send", "bob", "hi"],
        vec!["send", "bob", ""],
        vec!["history", "bob"],
        vec!["invite", "bob"],
        vec!["invite", "bob", "--expires", "1s"],
        vec!["invite", "bob", "--expires", "soon"],
        vec!["join", "rubbish", "--as", "bob"],
        vec!["join", "rubbish", "--as", " bob"],
        vec!["relay", "example.org"],
        vec!["delete", "bob", "1"],
        vec!["timer", "bob", "1s"],
        vec!["timer", "bob", "5y"],
        vec!["verify", "bob"],
        vec!["forget", "bob"],
        vec!["block", "bob"],
        vec!["rename", "bob", "carol"],
        vec!["receipts", "bob", "off"],
        vec!["allow-restart", "bob"],
        vec!["invites", "--cancel", "bob"],
        vec!["invites", "--show", "bob"],
        vec!["init"],
        vec!["chat", "bob"],
        vec!["daemon", "--idle", "read"],
        vec!["panic"],
        vec!["panic", "set"],
        vec!["sned", "bob"],
    ] {
        told(&arguments.join(" "), ada.run(&arguments));
    }
    told(
        "send bob < 16 KiB and a byte",
        ada.run_with(&["send", "bob"], &long),
    );
    let pin = ada.pin_file.to_str().unwrap();
    told(
        "panic set --panic-pin-file pin",
        ada.run(&["panic", "set", "--panic-pin-file", pin]),
    );
    told("panic --yes (no vault)", nobody.run(&["panic", "--yes"]));
    told(
        "join --as bob < /dev/null",
        ada.run(&["join", "--as", "bob"]),
    );
    told("status (no vault)", nobody.run(&["status"]));
    let run_without_pin = |arguments: &[&str]| {
        let mut command = program();
        command.arg("--home").arg(&ada.home).args(arguments);
        finish(command, "")
    };
    told("status (no terminal, no PIN)", run_without_pin(&["status"]));
    told(
        "status --pin-file wrong",
        run_without_pin(&["status", "--pin-file", &wrong_pin]),
    );
    told(
        "status --pin-file missing",
        run_without_pin(&["status", "--pin-file", "/nowhere/pin"]),
    );
    told(
        "status --pin-fd 9",
        run_without_pin(&["status", "--pin-fd", "9"]),
    );
    told("init (no terminal, no PIN)", {
        let mut command = program();
        command.arg("--home").arg(&nobody.home).arg("init");
        finish(command, "")
    });
    golden("errors.txt", &text);
}
