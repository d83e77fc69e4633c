//! `cargo xtask bench cluster`: one relay on one, two and three nodes, with a database and NATS of its own each time; then one node's
//! store on one and two databases, next to plain statements.

use std::process::Command;

use super::document::{self, Part};
use crate::cluster::servers::{Database, Nats, Node, free_ports};
use crate::demo::room::Room;
use crate::{Outcome, run};

const NODES_MAX: usize = 3;
const HEAD: &str = "# One relay on several nodes

Nodes, PostgreSQL, NATS and the clients share this machine: what more nodes add in rate shows only where there are cores for
them, and the CPU time of an entry is the figure to go by. Each run begins with an empty database (Debian's settings: everything
synced). 192 appenders on all nodes together, each with one entry of 4 KiB under way in a log of its own, which one reader
has open, on another node where there is one. Latencies at half the rate, p50 / p99 / p999 in milliseconds, from the moment an entry was due; the last column is
how much later it was delivered than acknowledged, p50 / p99.

| nodes | entries/s | nodes' CPU | PostgreSQL's and NATS' CPU | generator CPU | acknowledged, ms | delivered, ms | beyond, ms |
|---|---|---|---|---|---|---|---|
";

/// Measures with the program that generates load, and writes its part of the document; with `--dev` it prints it.
pub(super) fn command(arguments: &[String]) -> Outcome {
    let (dev, others): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|argument| *argument == "--dev");
    let seconds = match others.as_slice() {
        [] => "8",
        [flag, seconds] if *flag == "--seconds" => seconds,
        _ => return Err("`bench cluster` knows --dev and --seconds N".into()),
    };
    crate::system::ready_for_cluster()?;
    let (programs, cargo) = super::programs("emptyroom-load", !dev.is_empty())?;
    let load = format!("{:?}", cargo.get_program());
    let mut report = HEAD.to_owned();
    for number in 1..=NODES_MAX {
        let room = Room::new(&format!("emptyroom-bench{number}"))?;
        let database = Database::start(&room.directory)?;
        let nats = Nats::start()?;
        let nodes = nodes(number, &programs.relay, &room, (&database, &nats))?;
        let mut measured = Command::new(cargo.get_program());
        measured
            .args(cargo.get_args())
            .current_dir(crate::tree::root());
        measured.args(["--seconds", seconds]);
        for node in &nodes {
            let address = node.address()?;
            measured
                .arg("--node")
                .arg(format!("{}@{address}", node.id()));
        }
        for process in database.processes().into_iter().chain([nats.id()]) {
            measured.arg("--server").arg(process.to_string());
        }
        let row = run::output(&mut measured)
            .map_err(|why| format!("{load} with {number} nodes: {why}"))?;
        report += &String::from_utf8_lossy(&row);
    }
    report += &store(!dev.is_empty())?;
    if dev.is_empty() && others.is_empty() {
        return document::write(Part::Cluster, &report);
    }
    print!("{report}");
    Ok(true)
}

/// One node's store, as the other program that measures sees it.
fn store(dev: bool) -> Result<String, String> {
    let rooms = [
        Room::new("emptyroom-bench-first")?,
        Room::new("emptyroom-bench-second")?,
    ];
    let servers: Result<Vec<Database>, String> = rooms
        .iter()
        .map(|room| Database::start(&room.directory))
        .collect();
    let servers = servers?;
    let lines = |each: &dyn Fn(&Database) -> String| {
        let lines: Vec<String> = servers.iter().map(each).collect();
        lines.join("\n")
    };
    let (_, mut measured) = super::programs("emptyroom-bench", dev)?;
    measured
        .arg(super::CLUSTER)
        .env("EMPTYROOM_DATABASES", lines(&Database::address))
        .env(
            "EMPTYROOM_DATABASE_SERVERS",
            lines(&|server| server.id().to_string()),
        );
    let report = run::output(&mut measured)?;
    Ok(String::from_utf8_lossy(&report).into_owned())
}

fn nodes(
    number: usize,
    program: &std::path::Path,
    room: &Room,
    (database, nats): (&Database, &Nats),
) -> Result<Vec<Node>, String> {
    let (store, wake) = (database.address(), nats.address());
    let arguments = ["--open", "--connections-per-address", "20000"];
    let arguments = [&arguments[..], &["--store", &store, "--wake", &wake]].concat();
    let mut nodes: Vec<Node> = Vec::new();
    for port in free_ports(number)? {
        let data = room.directory.join(format!("node{}", nodes.len() + 1));
        if let Some(first) = nodes.first() {
            first.copy_keys(&data)?;
        }
        nodes.push(Node::start(program, data, port, &arguments)?);
    }
    Ok(nodes)
}
