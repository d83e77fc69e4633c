//! The end of a conversation at which nobody sits any more.

use std::time::Duration;

use emptyroom_node::api::{Exit, Failure};
use emptyroom_node::uptime;

use crate::span;

/// How often the time is looked at: waiting does not count the time in which the machine is suspended, idling does.
const CHECK: Duration = Duration::from_secs(15);

/// Since when nothing was typed, and how long that may last.
pub(crate) struct Idle {
    after: Option<Duration>,
    since: Duration,
}

impl Idle {
    /// From now on; `None` is for ever.
    pub(crate) fn after(after: Option<Duration>) -> Self {
        Self {
            after,
            since: uptime(),
        }
    }

    /// Somebody is there.
    pub(crate) fn typed(&mut self) {
        self.since = uptime();
    }

    /// When to look again at the latest.
    pub(crate) fn left(&self) -> Duration {
        let idle = uptime().saturating_sub(self.since);
        self.after
            .map_or(CHECK, |after| after.saturating_sub(idle).min(CHECK))
    }

    /// Ends what nobody uses.
    ///
    /// # Errors
    /// When nothing was typed for too long.
    // [SPEC 12.15]
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match self.after {
            Some(after) if uptime().saturating_sub(self.since) >= after => Err(Failure::new(
                Exit::Vault,
                "vault_locked",
                format!(
                    "nothing was typed for {}: the conversation is closed",
                    span::text(after.as_secs())
                ),
            )
            .hint("`emptyroom chat` opens it again; --idle says after how long it closes")),
            _ => Ok(()),
        }
    }
}
