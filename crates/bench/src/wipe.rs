//! A wipe by order: from the holder's command to the device's receipt in his hand.
//!
//! The relay is the real program, on loopback; the device is a guard, or whoever has the vault open, in this process.

use emptyroom_load::Trouble;
use emptyroom_load::program::RelayProgram;
use emptyroom_load::report::{Section, percentile, time};
use emptyroom_load::scratch::Scratch;
use emptyroom_node::api::{Failure, SecretText};
use emptyroom_node::{Kdf, Session};
use std::path::Path;
use std::time::{Duration, Instant};

const ORDERS: usize = 20;
const PIN: &str = "135790";
/// By then whoever watches is connected.
const CONNECTS: Duration = Duration::from_millis(500);
const VALID: Duration = Duration::from_secs(86_400);
const WAIT: Duration = Duration::from_secs(30);

pub(crate) fn measure() -> Result<Section, Trouble> {
    let mut section = Section::new(
        "Wipe by order",
        format!(
            "{ORDERS} vaults each, destroyed by a kill code: wall time from the holder's command to the device's receipt in his hand, median and the slowest. \
             It takes dialling, opening the switch, the order, two copies of the header, all other files and the receipt, each on the disk."
        ),
    );
    let scratch = Scratch::new("wipe")?;
    let relay = RelayProgram::start(&scratch.path.join("relay"), &[])?;
    for (what, locked) in [("locked, a guard watches", true), ("open", false)] {
        let mut times = Vec::new();
        for number in 0..ORDERS {
            let home = scratch.path.join(format!("{locked}-{number}"));
            times.push(wiped(&home, &relay.address, locked)?);
        }
        let median = time(percentile(&mut times, 50));
        section.aimed(what, median, "under 2 s");
        let slowest = time(percentile(&mut times, 100));
        section.aimed(format!("{what}: the slowest"), slowest, "under 2 s");
    }
    Ok(section)
}

/// From the order to the receipt.
fn wiped(home: &Path, relay: &str, locked: bool) -> Result<Duration, Trouble> {
    let pin = || SecretText::new(PIN.to_owned());
    let session = Session::create(home, &pin(), Kdf::Minimum, None).map_err(said)?;
    let code = emptyroom_node::create(&session, pin(), relay).map_err(said)?;
    let (guard, open) = if locked {
        session.close().map_err(said)?;
        let (ready, is_ready) = std::sync::mpsc::channel();
        let home = home.to_owned();
        let guard = std::thread::spawn(move || {
            let ready = |_| {
                // Whoever waits for it is there as long as this is.
                let _ = ready.send(());
                Ok(())
            };
            emptyroom_node::guard(&home, ready, |_| {})
        });
        is_ready.recv()?;
        (Some(guard), None)
    } else {
        (None, Some(session))
    };
    std::thread::sleep(CONNECTS);
    let since = Instant::now();
    let wiped = emptyroom_node::wipe(&code.text, None, VALID, WAIT).map_err(said)?;
    let took = since.elapsed();
    wiped.device_at.ok_or("no receipt came")?;
    drop(open);
    if let Some(guard) = guard {
        // It ends as the vault is gone.
        let _ = guard.join();
    }
    Ok(took)
}

fn said(failure: Failure) -> Trouble {
    failure.text.into()
}
