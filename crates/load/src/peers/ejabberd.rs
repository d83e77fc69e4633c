//! ejabberd: XMPP with accounts and offline messages in mnesia.

use super::Trouble;
use super::server::{Place, program};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The Debian package.
pub(super) const PACKAGE: &str = "ejabberd";

/// Program and version.
pub(super) fn version() -> Option<Result<String, Trouble>> {
    let application = libraries()?.1.join("ejabberd.app");
    program("erl")?;
    // An Erlang term with `{vsn, "23.01"}` in it.
    Some(
        fs::read_to_string(application)
            .map_err(Trouble::from)
            .map(|text| {
                let rest = text.split_once("{vsn,").map(|(_, rest)| rest);
                let version = rest.and_then(|rest| rest.split('"').nth(1));
                format!("ejabberd {}", version.unwrap_or("of an unknown version"))
            }),
    )
}

/// Where Debian has Erlang's libraries, and ejabberd among them.
fn libraries() -> Option<(PathBuf, PathBuf)> {
    let places = fs::read_dir("/usr/lib").ok()?.flatten();
    places.map(|place| place.path()).find_map(|place| {
        let mut inside = fs::read_dir(&place).ok()?.flatten();
        let found = inside.find(|entry| {
            let name = entry.file_name();
            name.to_string_lossy().starts_with("ejabberd-") && entry.path().join("ebin").is_dir()
        })?;
        Some((place, found.path().join("ebin")))
    })
}

/// What starts it: Erlang itself with the arguments of Debian's `ejabberdctl`, which would change the user and lower the
/// limit of descriptors to one at which the server dies. Without a node name, nothing else of Erlang's is started or
/// spoken to.
pub(super) fn command(place: &Place) -> Result<Command, Trouble> {
    let (libraries, _) = libraries().ok_or("ejabberd is not installed")?;
    let file = place.directory.join("ejabberd.yml");
    fs::write(&file, settings(place))?;
    let mut command = Command::new(program("erl").ok_or("erlang is not installed")?);
    command
        .current_dir(place.directory)
        .env("HOME", place.directory)
        .env("ERL_LIBS", libraries)
        .env("ERL_MAX_PORTS", "32000")
        .env("ERL_MAX_ETS_TABLES", "1400")
        .env("ERL_CRASH_DUMP_BYTES", "0")
        .env("EJABBERD_CONFIG_PATH", &file)
        .env("EJABBERD_LOG_PATH", place.directory.join("ejabberd.log"))
        .args(["+K", "true", "+P", "250000"])
        .args(["-mnesia", "dir"])
        .arg(format!("\"{}\"", place.directory.join("mnesia").display()))
        .args(["-s", "ejabberd", "-noinput"]);
    Ok(command)
}

/// Nothing that slows it down and is not asked for: no other listeners, modules or limits of rate.
fn settings(place: &Place) -> String {
    format!(
        r#"hosts: [localhost]
loglevel: warning
certfiles: ["{both}"]
ca_file: "{certificate}"
listen:
  -
    port: {port}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    tls: true
    access: all
    shaper: none
    backlog: 4096
auth_method: [internal]
auth_password_format: plain
registration_timeout: infinity
access_rules:
  register:
    allow: all
shaper_rules:
  waiting_messages_max: infinity
modules:
  mod_offline:
    access_max_user_messages: waiting_messages_max
  mod_register:
    ip_access: all
    access: register
  mod_stream_mgmt:
    max_ack_queue: infinity
"#,
        both = place.certificate.both.display(),
        certificate = place.certificate.certificate.display(),
        port = place.port,
    )
}
