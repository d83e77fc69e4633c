//! Tells systemd how it goes, where it asked for that (`Type=notify`): one datagram to the socket that it names.

use std::os::unix::net::UnixDatagram;

/// The relay serves.
pub(super) fn ready() {
    tell("READY=1");
}

/// The relay stops.
pub(super) fn stopping() {
    tell("STOPPING=1");
}

/// Nobody listens, mostly; that is no reason not to serve.
fn tell(what: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Ok(from) = UnixDatagram::unbound() {
        let _ = from.send_to(what.as_bytes(), socket);
    }
}
