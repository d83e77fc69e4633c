//! One relay on several nodes, which somebody else has started: how much they append together, and how long an entry takes to a
//! reader on another node.

use super::{ENTRY_LEN, Extent, micros};
use crate::Trouble;
use crate::cost::Cost;
use crate::drive::Aim;
use crate::relay::{Logs, Relay};
use crate::session::{Load, Measured, Shape, Work, session};
use emptyroom_wire::address::RelayAddress;
use std::time::Duration;

/// Appenders on all nodes together, each with one append under way.
const APPENDERS: u32 = 192;
const TURNS: u64 = 4;
/// Before anything is counted.
const WARM_UP: Duration = Duration::from_millis(1_500);

/// A node: its address, and its process.
#[derive(Clone)]
pub struct Node {
    /// What clients dial.
    pub address: RelayAddress,
    /// Its number in the system.
    pub process: u32,
}

impl std::str::FromStr for Node {
    type Err = String;

    /// `PROCESS@ADDRESS`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (process, address) = text.split_once('@').ok_or("it is not PROCESS@ADDRESS")?;
        Ok(Node {
            address: RelayAddress::parse(address).map_err(|fault| fault.to_string())?,
            process: process.parse().map_err(|_| "it has no process number")?,
        })
    }
}

/// A row of a table: nodes, rate, CPU time of nodes and of the servers behind them for an entry, and latencies at half that rate.
///
/// # Errors
/// When something cannot be measured, or something acknowledged did not arrive.
pub fn measure(nodes: &[Node], servers: &[u32], extent: Extent) -> Result<String, Trouble> {
    let addresses = nodes.iter().map(|node| node.address.clone()).collect();
    let processes = nodes.iter().map(|node| node.process).collect();
    let run = u32::try_from(nodes.len())?;
    let relay = Relay::on_nodes(addresses, ("nodes", processes), Logs::Pairs(TURNS), run)?;
    let shape = Shape {
        senders: APPENDERS,
        recipients: APPENDERS,
        aim: Aim::Own,
    };
    let (fast, behind, half) = session(&relay, shape, |session| {
        let work = |load, lasts| Work {
            load,
            lasts,
            payload_len: ENTRY_LEN,
        };
        session.run(work(Load::Saturate(1), WARM_UP))?;
        let before = Cost::of(servers)?;
        let fast = session.run(work(Load::Saturate(1), extent.lasts))?;
        let behind = Cost::of(servers)?.since(&before);
        let half = session.run(work(Load::PerSecond(fast.rate() / 2.0), extent.lasts))?;
        Ok((fast, behind, half))
    })?;
    super::appends::complete(&fast)?;
    super::appends::complete(&half)?;
    Ok(row(nodes.len(), &fast, &behind, &half))
}

fn row(nodes: usize, fast: &Measured, behind: &Cost, half: &Measured) -> String {
    let beyond = |part| {
        let delivered = half.delivery.quantile(part);
        let acknowledged = half.acknowledgement.quantile(part);
        delivered.saturating_sub(acknowledged).as_secs_f64() * 1e3
    };
    let cells = [
        nodes.to_string(),
        format!("{:.0}", fast.rate()),
        micros(fast.cpu_us()),
        micros(behind.cpu.as_secs_f64() * 1e6 / fast.acknowledged.max(1) as f64),
        micros(fast.generator.as_secs_f64() * 1e6 / fast.acknowledged.max(1) as f64),
        half.acknowledgement.shown(),
        half.delivery.shown(),
        format!("{:.1} / {:.1}", beyond(0.5), beyond(0.99)),
    ];
    format!("| {} |", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_a_process_and_an_address() {
        for bad in ["", "7", "7@nobody", "x@127.0.0.1:1/"] {
            assert!(bad.parse::<Node>().is_err(), "{bad}");
        }
    }
}
