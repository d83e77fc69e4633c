//! `cargo xtask soak`: the same crash tests that `test` runs, a thousand times as long.
//!
//! Kills of the real relay on both kinds of store, of nodes and their databases, and power cuts on the disk that forgets. Hours
//! are well spent here before a release; CI runs a few dozen of each.

use crate::{Outcome, run, system};

/// Kills of the relay on each kind of store, unless said otherwise.
const KILLS: u32 = 1000;
/// In a round on databases so many are killed, some of them a database.
const KILLS_A_ROUND: u32 = 5;
/// Random traces with power cuts, unless said otherwise.
const TRACES: u32 = 10_000;

pub(crate) fn command(arguments: &[String]) -> Outcome {
    let value = |option: &str, default: u32| -> Result<u32, String> {
        let Some(at) = arguments.iter().position(|argument| argument == option) else {
            return Ok(default);
        };
        let number = arguments.get(at + 1).map(|number| number.parse());
        let wrong = || format!("{option} takes a number");
        number.ok_or_else(wrong)?.map_err(|_| wrong())
    };
    let (kills, traces) = (value("--kills", KILLS)?, value("--traces", TRACES)?);
    system::ready_for_cluster()?;
    println!("{kills} kills on each store, {traces} traces with power cuts");
    let tests = [
        "kill::what_was",
        "shares::a_kill",
        "segments::random_operations",
        "nodes::history",
    ];
    let mut cargo = run::cargo(&[
        "test",
        "--locked",
        "--package",
        "emptyroom-relayd",
        "--test",
        "it",
        "--",
    ]);
    cargo
        .args(tests)
        // So that it says how far it is.
        .arg("--nocapture")
        .env("EMPTYROOM_KILLS", kills.to_string())
        .env("EMPTYROOM_SHARE_KILLS", kills.to_string())
        .env(
            "EMPTYROOM_NODE_ROUNDS",
            kills.div_ceil(KILLS_A_ROUND).to_string(),
        )
        .env("EMPTYROOM_TRACES", traces.to_string());
    Ok(run::code(&mut cargo)? == Some(0))
}
