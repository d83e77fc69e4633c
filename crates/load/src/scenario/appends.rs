//! Durable appends by ever more appenders, against what the disk alone can do.

use super::{ENTRY_LEN, Extent, mib, micros, relay, written};
use crate::Trouble;
use crate::disk;
use crate::drive::Aim;
use crate::plot::Picture;
use crate::relay::{Logs, Relay};
use crate::report::{Section, Table};
use crate::scratch::Scratch;
use crate::session::{Load, Measured, Shape, Work, session};
use emptyroom_wire::address::RelayAddress;
use std::time::Duration;

/// Each with one append under way.
const APPENDERS: [u32; 4] = [1, 16, 256, 1_024];
/// Appends before anything is counted.
const WARM_UP: Duration = Duration::from_millis(500);
/// Writing and syncing without a relay.
const DISK: Duration = Duration::from_secs(2);

pub(super) fn measure(extent: Extent, picture: &mut Picture) -> Result<Section, Trouble> {
    let mut section = Section::new(
        "Appends",
        "Entries of 4 KiB, each durable before it is acknowledged. Every appender has a connection and logs of its own and one append \
         under way; another client has the same log open, so each entry is delivered to two (its appender among them). Rate and CPU time: \
         appends follow each other at once. Latencies: at half that rate, arrivals on a schedule, from the scheduled moment, p50 / p99 / p999 \
         in milliseconds, acknowledged and delivered to the other. The disk alone: one file, written and fdatasynced in batches \
         of as many entries as there are appenders, which is the most that can wait for one sync.",
    );
    let mut table = Table::new(&[
        "appenders",
        "entries/s",
        "the disk alone",
        "of that",
        "relay CPU",
        "generator CPU",
        "acknowledged, ms",
        "delivered, ms",
        "written per byte",
        "relay memory",
    ]);
    for (run, appenders) in (1..).zip(APPENDERS) {
        let scratch = Scratch::new("appends")?;
        let program = relay(&scratch.path, &[])?;
        let turns = if appenders <= 16 { 16 } else { 2 };
        let address = RelayAddress::parse(&program.address)?;
        let relay = Relay::new(address, ("relay", program.id()), Logs::Pairs(turns), run)?;
        let shape = Shape {
            senders: appenders,
            recipients: appenders,
            aim: Aim::Own,
        };
        let (fast, half) = session(&relay, shape, |session| {
            let work = |load, lasts| Work {
                load,
                lasts,
                payload_len: ENTRY_LEN,
            };
            session.run(work(Load::Saturate(1), WARM_UP))?;
            let fast = session.run(work(Load::Saturate(1), extent.lasts))?;
            let half = session.run(work(Load::PerSecond(fast.rate() / 2.0), extent.lasts))?;
            Ok((fast, half))
        })?;
        drop(program);
        let batch = usize::try_from(appenders)?;
        let limit = disk::entries_per_second(&scratch.path, ENTRY_LEN, batch, DISK)?;
        complete(&fast)?;
        complete(&half)?;
        table.row(vec![
            appenders.to_string(),
            format!("{:.0}", fast.rate()),
            format!("{limit:.0}"),
            format!("{:.2} times", fast.rate() / limit),
            micros(fast.cpu_us()),
            micros(fast.generator.as_secs_f64() * 1e6 / fast.acknowledged.max(1) as f64),
            half.acknowledgement.shown(),
            half.delivery.shown(),
            written(fast.cost.written_bytes, fast.acknowledged),
            mib(half.cost.memory_bytes),
        ]);
        picture.appends.push((appenders, half.delivery));
    }
    section.table(table);
    Ok(section)
}

/// Everything that was acknowledged arrived.
pub(super) fn complete(measured: &Measured) -> Result<(), Trouble> {
    let Measured {
        acknowledged,
        delivered,
        ..
    } = measured;
    if acknowledged == delivered {
        return Ok(());
    }
    Err(format!("{acknowledged} entries were acknowledged and {delivered} delivered").into())
}
