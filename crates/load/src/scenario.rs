//! What is measured: each scenario starts what it needs and gives one section of the document.

mod appends;
mod compare;
mod connected;
mod crash;
mod crowd;
pub mod nodes;

use crate::Trouble;
use crate::plot::Picture;
use crate::program::RelayProgram;
use crate::report::Section;
use std::path::Path;
use std::time::Duration;

/// Bytes of an entry, and of a payload: the smallest class, every message.
const ENTRY_LEN: usize = 4 << 10;

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Extent {
    /// Clients of the scenario with many.
    pub clients: u32,
    /// Each run of a loop.
    pub lasts: Duration,
}

/// A scenario: its name on the command line and what measures it.
pub type Scenario = (
    &'static str,
    fn(Extent, &mut Picture) -> Result<Section, Trouble>,
);

/// All of them, in the document's order.
pub const SCENARIOS: &[Scenario] = &[
    ("appends", appends::measure),
    ("peers", compare::measure),
    ("crash", crash::measure),
    ("connected", connected::measure),
];

/// The relay with its own store and threads.
fn relay(directory: &Path, more: &[&str]) -> Result<RelayProgram, Trouble> {
    let usual = ["--store", "segments", "--connections-per-address", "20000"];
    RelayProgram::start(&directory.join("relay"), &[&usual, more].concat())
}

/// Microseconds, with what digits matter.
fn micros(value: f64) -> String {
    let decimals = if value < 100.0 { 1 } else { 0 };
    format!("{value:.decimals$} µs")
}

/// Mebibytes.
fn mib(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Bytes written for each byte of a message, where the system tells.
fn written(bytes: Option<u64>, messages: u64) -> String {
    let stored = messages.max(1) as f64 * ENTRY_LEN as f64;
    bytes.map_or("?".to_owned(), |bytes| {
        format!("{:.2}", bytes as f64 / stored)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_units() {
        assert_eq!(
            (micros(25.04), micros(1_945.0)),
            ("25.0 µs".into(), "1945 µs".into())
        );
        assert_eq!(mib(3 << 20), "3 MiB");
        assert_eq!(written(Some(12_288), 2), "1.50");
        assert_eq!(written(None, 2), "?");
    }
}
