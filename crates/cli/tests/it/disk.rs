//! A full disk: told as what it is, nothing confirmed is lost, and it goes on when there is room. Needs root for a small file
//! system of its own.

use std::path::Path;
use std::process::Command;

use crate::machine;
use crate::world::{Person, Relay, Scratch, finish, program, write_private};

/// A small file system in memory.
struct Small(Scratch);

impl Small {
    fn mount(kib: u32) -> Option<Self> {
        let scratch = Scratch::new();
        let size = format!("size={kib}k,mode=0700");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &size, "none"])
            .arg(scratch.path());
        machine::as_root(machine::succeeds(&mut mount)).map(|()| Self(scratch))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all the room there is.
    fn fill(&self) {
        let chunk = vec![0_u8; 4096];
        let mut file = std::fs::File::create(self.path().join("filler")).unwrap();
        while std::io::Write::write_all(&mut file, &chunk).is_ok() {}
    }

    fn empty(&self) {
        std::fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_told_and_over_when_there_is_room() {
    let Some(small) = Small::mount(4 * 1024) else {
        return;
    };
    let relay = Relay::start();
    let ben = Person::with_vault(Some(&relay));
    let home = small.path().join("home");
    let pin = small.path().join("pin");
    write_private(&pin, "a quiet room\n");
    let run = |arguments: &[&str], input: &str| {
        let mut command = program();
        command
            .arg("--home")
            .arg(&home)
            .arg("--pin-file")
            .arg(&pin)
            .args(arguments);
        finish(command, input)
    };
    run(&["init", "--kdf", "minimum"], "").ok();
    let link = ben.run(&["invite", "ada"]).ok().out;
    run(&["join", "--as", "ben"], &link).ok();
    ben.run(&["receive", "--wait", "20s"]).ok();

    small.fill();
    let mut confirmed = Vec::new();
    let text = "x".repeat(8 * 1024);
    let mut full = None;
    for n in 0..200 {
        let text = format!("{n} {text}");
        let done = run(&["--json", "send", "ben", &text], "");
        if done.code == Some(0) {
            confirmed.push(text);
            continue;
        }
        full = Some(done);
        break;
    }
    let full = full.expect("the disk is never full").ends(5);
    assert_eq!(full.failure()["error"], "vault_full", "{full:?}");
    assert!(
        full.failure()["hint"]
            .as_str()
            .unwrap()
            .contains("make room")
    );

    small.empty();
    run(&["send", "ben", "there is room again"], "").ok();
    let mut heard = Vec::new();
    for _ in 0..20 {
        let events = ben.json(&["receive", "--wait", "5s"]);
        heard.extend(
            events
                .iter()
                .filter_map(|e| e["text"].as_str().map(str::to_owned)),
        );
        if heard.iter().any(|text| text == "there is room again") {
            break;
        }
    }
    for text in &confirmed {
        assert_eq!(heard.iter().filter(|h| *h == text).count(), 1);
    }
    assert_eq!(
        heard.iter().filter(|h| *h == "there is room again").count(),
        1
    );
}

/// What arrives meanwhile stays at the relay, and the daemon fetches it when there is room, by itself.
#[test]
fn what_comes_while_the_disk_is_full_comes_later() {
    let Some(small) = Small::mount(4 * 1024) else {
        return;
    };
    let relay = Relay::start();
    let ben = Person::with_vault(Some(&relay));
    let ada = Person::at(small.path());
    ada.run(&["init", "--kdf", "minimum"]).ok();
    let link = ben.run(&["invite", "ada"]).ok().out;
    ada.run_with(&["join", "--as", "ben"], &link).ok();
    ben.run(&["receive", "--wait", "20s"]).ok();
    let daemon = ada.daemon(&["--idle", "off"]);

    small.fill();
    let (mut sent, mut heard) = (Vec::new(), Vec::new());
    let mut listen = |arguments: &[&str]| {
        let done = ada.run(arguments);
        let texts = done.json();
        heard.extend(
            texts
                .iter()
                .filter_map(|e| e["text"].as_str().map(str::to_owned)),
        );
        (done, heard.clone())
    };
    let full = (0..200).find_map(|n| {
        let text = format!("{n} {}", "x".repeat(12 * 1024));
        ben.run(&["send", "ada", &text]).ok();
        sent.push(text);
        let (done, _) = listen(&["--json", "receive"]);
        (done.code != Some(0)).then_some(done)
    });
    let full = full.expect("the disk is never full").ends(5);
    assert_eq!(full.failure()["error"], "vault_full", "{full:?}");

    small.empty();
    for _ in 0..20 {
        let (_, heard) = listen(&["--json", "receive", "--wait", "5s"]);
        if heard.len() >= sent.len() {
            break;
        }
    }
    assert!(heard == sent, "{} of {}", heard.len(), sent.len());
    daemon.signal("TERM");
    daemon.finish().ok();
}
