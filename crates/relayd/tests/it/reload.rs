//! The configuration file, and what of it can be changed while the relay runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use emptyroom_wire::op::RefusalCode;

use crate::client::{Client, Log, TlsSettings, dial_tls};
use crate::process::{Process, binary};
use crate::scratch::Scratch;

fn write(dir: &Scratch, limits: &str) -> (PathBuf, PathBuf) {
    let (config, data) = (dir.path().join("relay.toml"), dir.path().join("data"));
    let text = format!(
        "# as it is\ndata = {data:?}\nlisten = \"127.0.0.1:0\"\nopen = true\n\n[limits]\n{limits}"
    );
    fs::write(&config, text).unwrap();
    (config, data)
}

fn start(config: &Path, data: &Path) -> Process {
    let mut command = binary();
    command.arg("serve").arg("--config").arg(config);
    Process::spawn(command, data)
}

/// Waits until the log says so for the nth time.
fn wait_for(data: &Path, says: &str, times: usize) {
    let patience = Instant::now();
    let log = data.with_extension("stderr");
    while fs::read_to_string(&log).unwrap().matches(says).count() < times {
        assert!(patience.elapsed() < Duration::from_secs(20));
        std::thread::yield_now();
    }
}

// [SPEC 6.129]
#[test]
fn limits_change_while_it_runs_and_a_bad_file_changes_nothing() {
    let dir = Scratch::new("reload");
    let (config, data) = write(&dir, "open-logs-per-stream = 20\nreconnect-spread-s = 30\n");
    let relay = start(&config, &data);
    let mut old = Client::connect(&relay.address);
    assert_eq!(
        (old.terms.handles_max, old.terms.reconnect_spread_s),
        (20, 30)
    );
    write(
        &dir,
        "open-logs-per-stream = 40\nreconnect-spread-s = 90\nstreams = 3\nconnections-per-address = 100\n",
    );
    relay.send("HUP");
    wait_for(&data, "limits reloaded", 1);
    let new = Client::connect(&relay.address);
    assert_eq!(
        (new.terms.handles_max, new.terms.reconnect_spread_s),
        (40, 90)
    );
    // What was there goes on.
    assert_eq!(old.open(&Log::new(), 0).err(), Some(RefusalCode::Unknown));
    let _third = Client::connect(&relay.address);
    assert!(Client::try_connect(&relay.address).is_err());
    let bad = [
        "open-logs-per-stream = 50\nstrems = 9\n",
        "open-logs-per-stream = 50\nstreams = 0\n",
        "open-logs-per-stream = [",
    ];
    for (refused, limits) in bad.iter().enumerate() {
        write(&dir, limits);
        relay.send("HUP");
        wait_for(&data, "the limits stay as they were", refused + 1);
    }
    fs::remove_file(&config).unwrap();
    relay.send("HUP");
    wait_for(&data, "the limits stay as they were", bad.len() + 1);
    drop(new);
    let patience = Instant::now();
    let again = loop {
        match Client::try_connect(&relay.address) {
            Ok(client) => break client,
            Err(_) => assert!(patience.elapsed() < Duration::from_secs(20)),
        }
    };
    assert_eq!(again.terms.handles_max, 40);
    let (status, _, log) = relay.signal("TERM");
    assert_eq!(status.code(), Some(0), "{log}");
}

// [SPEC 6.129]
#[test]
fn connections_of_an_address_change_while_it_runs() {
    let dir = Scratch::new("reload-address");
    let (config, data) = write(&dir, "connections-per-address = 1\n");
    let relay = start(&config, &data);
    let _one = Client::connect(&relay.address);
    assert!(Client::try_connect(&relay.address).is_err());
    write(&dir, "connections-per-address = 1000\n");
    relay.send("HUP");
    wait_for(&data, "limits reloaded", 1);
    Client::connect(&relay.address);
    // What else is in the file is said to need more.
    let other = fs::read_to_string(&config).unwrap();
    let other = other.replace(
        "listen = \"127.0.0.1:0\"",
        "listen = \"127.0.0.1:9\"\nthreads = 2",
    );
    fs::write(&config, other).unwrap();
    relay.send("HUP");
    wait_for(&data, "not in force before a restart: listen, threads", 1);
}

/// Who finds no place costs no handshake.
// [SPEC 6.53] [SPEC 6.129]
#[test]
fn places_are_counted_at_the_door_also_after_a_change() {
    let dir = Scratch::new("reload-places");
    let many = "connections-per-address = 100\n";
    let (config, data) = write(&dir, &format!("streams = 2\n{many}"));
    let relay = start(&config, &data);
    let refused = || dial_tls(&relay.address, TlsSettings::default()).is_err();
    let mut there = vec![
        Client::connect(&relay.address),
        Client::connect(&relay.address),
    ];
    assert!(refused());
    for (reloads, streams) in [(1, 3), (2, 1)] {
        write(&dir, &format!("streams = {streams}\n{many}"));
        relay.send("HUP");
        wait_for(&data, "limits reloaded", reloads);
        if streams > there.len() {
            there.push(Client::connect(&relay.address));
        }
        assert!(refused(), "{streams}");
        for client in &mut there {
            assert_eq!(
                client.open(&Log::new(), 0).err(),
                Some(RefusalCode::Unknown)
            );
        }
    }
}

// [SPEC 6.130]
#[test]
fn a_setting_that_is_not_known_is_refused_with_its_line() {
    let dir = Scratch::new("unknown");
    let (config, _) = write(&dir, "stream = 5\n");
    let run = |more: &[&str]| {
        let output = binary()
            .arg("serve")
            .arg("--config")
            .arg(&config)
            .args(more)
            .output()
            .unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, error) = run(&[]);
    assert_eq!(code, 2);
    let says = "relay.toml:7: there is no setting `limits.stream`; did you mean `limits.streams`?";
    assert!(error.contains(says), "{error}");
    fs::write(&config, "listen = \"127.0.0.1:0\"\n").unwrap();
    let (code, error) = run(&[]);
    assert!(code == 2 && error.contains("--data DIR"), "{error}");
    // What the command line says counts more than the file.
    fs::write(
        &config,
        "data = \"/nonexistent/relay\"\nlisten = \"127.0.0.1:0\"\nopen = true\n",
    )
    .unwrap();
    let data = dir.path().join("mine");
    let mut command = binary();
    command
        .arg("serve")
        .arg("--config")
        .arg(&config)
        .arg("--data")
        .arg(&data);
    Process::spawn(command, &data).signal("TERM");
    assert!(data.join("identity.key").exists());
}
