//! Mosquitto: MQTT 3.1.1 with QoS 1, persistence on.

use super::Trouble;
use super::server::{Place, program, said_by};
use std::fs;
use std::process::Command;

/// The Debian package.
pub(super) const PACKAGE: &str = "mosquitto";

/// Program and version.
pub(super) fn version() -> Option<Result<String, Trouble>> {
    let program = program("mosquitto")?;
    // `mosquitto version 2.0.11`, and more lines.
    Some(said_by(Command::new(program).arg("-h")).map(|said| {
        let version = said.lines().next().and_then(|line| line.split(' ').nth(2));
        format!("Mosquitto {}", version.unwrap_or("of an unknown version"))
    }))
}

/// What starts it: Debian's defaults, but for TLS, persistence and the limit of what waits for somebody.
pub(super) fn command(place: &Place) -> Result<Command, Trouble> {
    let directory = place.directory.display();
    let mut settings = format!(
        "listener {port} 127.0.0.1\n\
         certfile {certificate}\n\
         keyfile {key}\n\
         allow_anonymous true\n\
         persistence true\n\
         persistence_location {directory}/\n\
         max_queued_messages 0\n",
        port = place.port,
        certificate = place.certificate.certificate.display(),
        key = place.certificate.key.display(),
    );
    if rustix::process::geteuid().is_root() {
        // Else it becomes its own user, who cannot read the directory.
        settings.push_str("user root\n");
    }
    let file = place.directory.join("mosquitto.conf");
    fs::write(&file, settings)?;
    let mut command = Command::new(program("mosquitto").ok_or("mosquitto is not installed")?);
    command.arg("-c").arg(file);
    Ok(command)
}
