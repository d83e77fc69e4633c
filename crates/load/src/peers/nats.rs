//! NATS with JetStream: files, and whatever it does about syncing by default.

use super::Trouble;
use super::server::{Place, program, said_by};
use std::fs;
use std::process::{Command, Stdio};

/// The Debian package.
pub(super) const PACKAGE: &str = "nats-server";

/// Program and version.
pub(super) fn version() -> Option<Result<String, Trouble>> {
    let program = program("nats-server")?;
    // `nats-server: v2.9.10`
    Some(said_by(Command::new(program).arg("--version")).map(|said| {
        let version = said.trim().rsplit('v').next().unwrap_or_default();
        format!("NATS {version} JetStream")
    }))
}

/// What starts it; `sync_always` asks it to sync before it acknowledges.
pub(super) fn command(place: &Place, sync_always: bool) -> Result<Command, Trouble> {
    let sync = if sync_always {
        "sync_interval: always"
    } else {
        ""
    };
    let settings = format!(
        "listen: \"127.0.0.1:{port}\"\n\
         jetstream {{\n  store_dir: \"{directory}\"\n  {sync}\n}}\n\
         tls {{\n  cert_file: \"{certificate}\"\n  key_file: \"{key}\"\n  timeout: 60\n}}\n",
        port = place.port,
        directory = place.directory.display(),
        certificate = place.certificate.certificate.display(),
        key = place.certificate.key.display(),
    );
    let file = place.directory.join("nats.conf");
    fs::write(&file, settings)?;
    let mut command = Command::new(program("nats-server").ok_or("nats-server is not installed")?);
    command.arg("-c").arg(file);
    Ok(command)
}

/// Whether the installed version knows the setting: it is asked to check a configuration that has it.
pub(super) fn knows_sync_always(place: &Place) -> Result<bool, Trouble> {
    let mut check = command(place, true)?;
    check.arg("-t").stdout(Stdio::null()).stderr(Stdio::null());
    Ok(check.status()?.success())
}
