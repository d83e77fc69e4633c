//! Failures as the terminal shows them: `error:` what happened, `hint:` what to do.

use std::io::Write;

use emptyroom_node::api::{Exit, Failure, INTERFACE_VERSION, reason};
use serde::Serialize;

use crate::terminal;

/// Writes a failure to standard error, for people or as one JSON object.
pub(crate) fn report(failure: &Failure, json: bool) {
    let mut err = std::io::stderr().lock();
    // Nobody is left to be told when standard error is gone.
    let _ = if json {
        writeln!(err, "{}", as_json(failure))
    } else {
        err.write_all(as_text(failure).as_bytes())
    };
}

/// `error: …` and `hint: …`, each on its line.
pub(crate) fn as_text(failure: &Failure) -> String {
    let mut text = format!("error: {}\n", terminal::line(&failure.text));
    if let Some(hint) = &failure.hint {
        text.push_str(&format!("hint: {}\n", terminal::line(hint)));
    }
    text
}

#[derive(Serialize)]
struct Line<'a> {
    v: u32,
    #[serde(flatten)]
    failure: &'a Failure,
}

// [SPEC 12.3]
fn as_json(failure: &Failure) -> String {
    terminal::json(&Line {
        v: INTERFACE_VERSION,
        failure,
    })
}

/// Wrong use, with what to do.
pub(crate) fn usage(text: impl Into<String>, hint: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, "usage", text).hint(hint)
}

/// A local file or stream that cannot be read or written.
pub(crate) fn io(what: &str, error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::Fault,
        "io",
        format!("{what}: {}", reason(error.kind())),
    )
}
