//! The switch: a log at a relay, by which whoever has the kill code orders a device to be wiped.
//!
//! This is what the device does: read its switch, whether its vault is open or locked, judge what comes, and say when an
//! order was carried out. It acts on orders alone; nothing else that a relay sends, leaves out or repeats makes it wipe.

pub(crate) mod guard;
mod heard;
pub(crate) mod holder;
mod known;
pub(crate) mod log;
mod ordered;
#[cfg(test)]
pub(crate) mod tests;

use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use emptyroom_vault::os::OsDirectory;
use emptyroom_wire::kill::{Said, Watched};
use emptyroom_wire::op::{Push, RefusalCode};
use emptyroom_wire::time::Wall;
use emptyroom_wire::wipe::{WipeOrder, judge};
use tokio::sync::watch;

use crate::carrier::Carrier;
use crate::errand::{Errand, NoRelay, Whom};
use crate::outside::Outside;
use crate::{clock, seed};
pub(crate) use heard::Heard;
pub(crate) use ordered::{Ordered, Untold, note_left, patiently};

/// How long a relay that cannot be reached is left alone, first and at most; and as much again, drawn.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(60);

/// A switch with more entries, or bytes of them, is being filled: its code's holder needs few.
// [SPEC 11.95]
const FILLED_ENTRIES: u64 = 256;
const FILLED_BYTES: usize = 4 << 20;

const PARTS: NonZeroU32 = NonZeroU32::MIN.saturating_add(999);

/// A stream that stood for so long was none that could not be reached.
const STOOD_MS: u64 = 60_000;

/// Comes back when an order came for the switch that is to be watched.
pub(crate) async fn watch(
    switch: &mut watch::Receiver<Option<Watched>>,
    carrier: &dyn Carrier,
    heard: &Heard,
) -> Ordered {
    loop {
        let watched = switch.borrow_and_update().clone();
        tokio::select! {
            // [SPEC 11.69] One that was revoked counts no longer.
            Ok(()) = switch.changed() => {}
            ordered = attend_always(carrier, watched, heard) => return ordered,
        }
    }
}

/// Reads the switch until an order comes, however often the relay cannot be reached.
async fn attend_always(carrier: &dyn Carrier, watched: Option<Watched>, heard: &Heard) -> Ordered {
    let Some(watched) = watched else {
        return std::future::pending().await;
    };
    let mut again_after = AGAIN_AFTER;
    loop {
        let since = clock::now().mono;
        if let Ok(order) = attend(carrier, &watched, heard).await {
            return Ordered { watched, order };
        }
        let stood = clock::now().mono.0.saturating_sub(since.0);
        if stood > STOOD_MS {
            again_after = AGAIN_AFTER;
        }
        // Not all at once, when a relay is there again.
        let part = seed::number_below(PARTS).unwrap_or(0);
        tokio::time::sleep(again_after + again_after * part / PARTS.get()).await;
        again_after = (again_after * 2).min(AGAIN_AFTER_MAX);
    }
}

/// The switch that lies outside. Reading needs no lock: copies are whole or none.
pub(crate) fn lying_outside(home: &Path) -> Option<Watched> {
    let outside = Outside::read(&OsDirectory::at(home)).ok().flatten()?;
    outside.switch
}

/// Reads the switch until an order comes that is to be carried out.
async fn attend(
    carrier: &dyn Carrier,
    watched: &Watched,
    heard: &Heard,
) -> Result<WipeOrder, NoRelay> {
    let mut rng = seed::generator().map_err(|_| NoRelay::Unreachable)?;
    let whom = Whom::Known(watched.relay);
    let mut errand = Errand::dial(carrier, &watched.hosts, &whom, &mut rng).await?;
    let since = clock::now().mono;
    let switch = watched.switch();
    let handle = log::open(&mut errand, &switch).await?.map_err(|refusal| {
        if matches!(refusal.code, RefusalCode::Unknown | RefusalCode::Destroyed) {
            heard.gone();
        }
        NoRelay::Refused
    })?;
    let (mut lives_on, mut entries, mut bytes) = (false, 0, 0);
    loop {
        let entry = match errand.next_push().await? {
            Some((of, Push::Entry(entry))) if of == handle => entry,
            Some((_, Push::Gone(_))) => return Err(NoRelay::Refused),
            pushed @ (Some((_, Push::CaughtUp(_))) | None) => {
                let is_filled = entries > FILLED_ENTRIES || bytes > FILLED_BYTES;
                heard.filled(is_filled, pushed.is_some());
                // After what is there was judged.
                if pushed.is_some() {
                    lives_on = log::renew(&mut errand, &switch, handle).await?.is_ok();
                }
                // [SPEC 11.69] Only a switch that lives on is one that can be relied on.
                if lives_on {
                    heard.now();
                }
                continue;
            }
            Some(_) => continue,
        };
        (entries, bytes) = (entries + 1, bytes + entry.body.len());
        let Some(Said::Order(order)) = switch.open(&entry) else {
            continue;
        };
        // [SPEC 11.66] The relay's time: a thief may set this device's clock.
        let passed = clock::now().mono.0.saturating_sub(since.0);
        let now = Wall(errand.terms().time_ms).plus_ms(passed);
        if judge(&order, &watched.policy, now).is_ok() {
            return Ok(order);
        }
    }
}
