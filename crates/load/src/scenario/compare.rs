//! The same messages through the relay and through servers that others use.

use super::{ENTRY_LEN, Extent, mib, micros, relay, written};
use crate::drive::Aim;
use crate::peers::{Kind, Peer};
use crate::plot::{Picture, Place};
use crate::relay::{Logs, Relay};
use crate::report::{Section, Table};
use crate::scratch::Scratch;
use crate::session::{Load, Shape, Work, session};
use crate::system::{Started, System};
use crate::{Trouble, threads};
use emptyroom_wire::address::RelayAddress;
use std::time::Duration;

const SENDERS: u32 = 50;
const RECIPIENTS: u32 = 500;
/// Unacknowledged messages of one sender.
const IN_FLIGHT: usize = 16;
/// All senders together, in the paced run.
const PER_SECOND: f64 = 300.0;
const WARM_UP: Duration = Duration::from_secs(1);

pub(super) fn measure(extent: Extent, picture: &mut Picture) -> Result<Section, Trouble> {
    let mut section = Section::new(
        "Peers",
        format!(
            "{SENDERS} senders with {IN_FLIGHT} messages of 4 KiB under way each, to {RECIPIENTS} recipients by turns, all over TLS with the same payload, each \
             server on a fresh directory of the same disk: rate and CPU time for a delivered message. Then {PER_SECOND} messages a second on a schedule: latency from the \
             scheduled moment, p50 / p99 / p999 in milliseconds. At the relay each pair has a log of its own, and the sender's own handle gets the entry as \
             well, as in any conversation: two deliveries for one message."
        ),
    );
    let mut table = Table::new(&[
        "server",
        "an acknowledgement means",
        "messages/s",
        "server CPU",
        "generator CPU",
        "saturated, delivered, ms",
        "paced, acknowledged, ms",
        "paced, delivered, ms",
        "written per byte",
        "server memory",
        "lost",
    ]);
    let scratch = Scratch::new("peers")?;
    let program = relay(&scratch.path, &[])?;
    let address = RelayAddress::parse(&program.address)?;
    let named = ("Emptyroom relay", program.id());
    let own = Relay::new(address, named, Logs::Mesh(SENDERS), 1)?;
    table.row(one(&own, extent, picture)?);
    drop(program);
    for kind in Kind::ALL {
        eprintln!("  {kind:?}");
        match threads::run(Peer::start(kind)) {
            Ok(Started::Running(peer)) => match one(&peer, extent, picture) {
                Ok(row) => table.row(row),
                Err(why) => left_out(&mut section, &format!("{kind:?}: {why}")),
            },
            Ok(Started::LeftOut(why)) => left_out(&mut section, &why),
            Err(why) => left_out(&mut section, &format!("{kind:?}: {why}")),
        }
    }
    section.table(table);
    Ok(section)
}

/// A peer that is not there, or fails, is told and stops nothing.
fn left_out(section: &mut Section, why: &str) {
    eprintln!("  left out: {why}");
    section.note(format!("Left out: {why}."));
}

fn one<S: System>(
    system: &S,
    extent: Extent,
    picture: &mut Picture,
) -> Result<Vec<String>, Trouble> {
    let shape = Shape {
        senders: SENDERS,
        recipients: RECIPIENTS,
        aim: Aim::All(RECIPIENTS),
    };
    let (fast, paced) = session(system, shape, |session| {
        let work = |load, lasts| Work {
            load,
            lasts,
            payload_len: ENTRY_LEN,
        };
        session.run(work(Load::Saturate(IN_FLIGHT), WARM_UP))?;
        let fast = session.run(work(Load::Saturate(IN_FLIGHT), extent.lasts))?;
        let paced = session.run(work(Load::PerSecond(PER_SECOND), extent.lasts * 2))?;
        Ok((fast, paced))
    })?;
    let lost =
        (fast.acknowledged + paced.acknowledged).saturating_sub(fast.delivered + paced.delivered);
    let row = vec![
        system.name(),
        system.promise().to_owned(),
        format!("{:.0}", fast.rate()),
        micros(fast.cpu_us()),
        micros(fast.generator.as_secs_f64() * 1e6 / fast.acknowledged.max(1) as f64),
        fast.delivery.shown(),
        paced.acknowledgement.shown(),
        paced.delivery.shown(),
        written(fast.cost.written_bytes, fast.acknowledged),
        mib(fast.cost.memory_bytes),
        lost.to_string(),
    ];
    picture.systems.push(Place {
        name: system.name(),
        cpu_us: fast.cpu_us(),
        delivery: paced.delivery,
    });
    Ok(row)
}
