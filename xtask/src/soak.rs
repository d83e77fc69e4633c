//! `cargo xtask soak`: the same crash tests that `test` runs, a thousand times as long.
//!
//! Kills of the real relay on both kinds of store, and power cuts on the disk that forgets. Hours are well spent here
//! before a release; CI runs a few dozen of each.

use crate::{Outcome, run, system};

/// Kills of the relay on each kind of store, unless said otherwise.
const KILLS: &str = "1000";
/// Random traces with power cuts, unless said otherwise.
const TRACES: &str = "10000";

pub(crate) fn command(arguments: &[String]) -> Outcome {
    let value = |option: &str, default: &str| -> Result<String, String> {
        let Some(at) = arguments.iter().position(|argument| argument == option) else {
            return Ok(default.to_owned());
        };
        let number = arguments.get(at + 1);
        number
            .filter(|number| number.parse::<u32>().is_ok())
            .cloned()
            .ok_or_else(|| format!("{option} takes a number"))
    };
    let (kills, traces) = (value("--kills", KILLS)?, value("--traces", TRACES)?);
    system::ready_to_build(false)?;
    println!("{kills} kills on each store, {traces} traces with power cuts");
    let tests = [
        "kill::what_was",
        "shares::a_kill",
        "segments::random_operations",
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
        .env("EMPTYROOM_KILLS", &kills)
        .env("EMPTYROOM_SHARE_KILLS", kills)
        .env("EMPTYROOM_TRACES", traces);
    Ok(run::code(&mut cargo)? == Some(0))
}
