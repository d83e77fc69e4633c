//! Standard output: results of commands, and nothing else. What else is to be said goes through [`crate::log`].

use std::io::{self, Write};

/// One line of result on standard output.
///
/// # Errors
/// Standard output cannot be written to.
pub fn result(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
