//! The two streams that an operator sees: results on standard output, everything else on standard error.
//!
//! What goes to standard error is about the relay itself. Nothing about clients is ever written: no
//! addresses, no ids, no sizes, no times of single events.

use std::io::{self, Write};

/// One line for the operator on standard error.
pub fn say(line: &str) {
    // A closed standard error is no reason to stop relaying.
    let _ = writeln!(io::stderr().lock(), "emptyroom-relay: {line}");
}

/// One line of result on standard output.
///
/// # Errors
/// Standard output cannot be written to.
pub fn result(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
