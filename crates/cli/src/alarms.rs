//! What every command says before it begins, because nobody may have listened when it was told.

use emptyroom_node::api::{AlarmInfo, DamagedInfo, StatusInfo};

use crate::room::Room;
use crate::{span, terminal, words};

impl Room {
    /// What was not told yet, and what goes on.
    // [SPEC 9.37] [SPEC 10.43]
    pub(crate) fn warn_of_alarms(&self, status: &StatusInfo) {
        for alarm in status.alarms.iter().filter(|alarm| !alarm.told) {
            let name = match alarm.kind.as_str() {
                OVER => OVER,
                DESTROYED => DESTROYED,
                _ => "relay_trouble",
            };
            let told = "`emptyroom status` shows it, and it is not said again";
            self.out.warn(name, &format!("{}; {told}", text(alarm)));
        }
        for name in &status.restarts_waiting {
            self.out.warn("restart_waits", &restart_waits(name));
        }
        for lost in &status.damaged {
            self.out.warn("conversation_damaged", &damaged(lost));
        }
        if let Some(ahead_s) = status.clock_ahead_s {
            self.out.warn("clock_ahead", &words::clock_ahead(ahead_s));
        }
    }
}

const OVER: &str = "conversation_over";
const DESTROYED: &str = "log_destroyed";

/// An alarm in words.
pub(crate) fn text(alarm: &AlarmInfo) -> String {
    let relay = terminal::line(&alarm.relay);
    let name = alarm.conversation.as_deref().map(terminal::line);
    let time = span::local(alarm.at);
    match (alarm.kind.as_str(), name) {
        (OVER, Some(name)) => format!(
            "{name}: the relay {relay} lost this conversation for good ({time}); a new link is needed"
        ),
        (DESTROYED, Some(name)) => format!(
            "{} ({time})",
            words::log_destroyed(&name, &format!("the relay {relay}"))
        ),
        (kind, Some(name)) => format!(
            "the relay {relay} {} ({time}, in the conversation with {name})",
            words::relay_trouble(kind)
        ),
        (kind, None) => format!("the relay {relay} {} ({time})", words::relay_trouble(kind)),
    }
}

/// A conversation that cannot be read.
// [SPEC 8.67]
pub(crate) fn damaged(lost: &DamagedInfo) -> String {
    let name = terminal::line(&lost.conversation);
    match lost.why.as_str() {
        "newer_version" => format!(
            "{name}: this conversation was written by a newer version of this program; nothing of it is read or sent until you update the program"
        ),
        _ => format!(
            "{name}: what the vault has of this conversation is damaged; nothing of it is read or sent. `emptyroom forget {name}` removes it; then meet again by a new link"
        ),
    }
}

/// A conversation stands until its user allows a restart.
pub(crate) fn restart_waits(name: &str) -> String {
    let name = terminal::line(name);
    format!(
        "{name}: this conversation was begun anew ten times in a day and stands still until you allow another time: `emptyroom allow-restart {name}`"
    )
}
