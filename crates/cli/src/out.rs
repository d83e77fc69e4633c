//! What goes where: the result to standard output, all else to standard error.

use std::io::{IsTerminal, Write};

use emptyroom_node::api::{Event, EventLine, Failure, INTERFACE_VERSION};
use serde::Serialize;

use crate::{failure, terminal, words};

/// Writes results as text or as JSON.
#[derive(Clone, Copy)]
pub(crate) struct Out {
    /// One JSON object per line instead of text.
    pub(crate) json: bool,
}

/// A result with the interface's version.
#[derive(Serialize)]
struct Versioned<'a, T> {
    v: u32,
    result: &'a str,
    #[serde(flatten)]
    value: &'a T,
}

impl Out {
    /// One result: as JSON `{"v":1,"result":NAME,…}`, else the text, which is made only then. Gone to the system when it
    /// comes back.
    ///
    /// # Errors
    /// When nobody reads standard output any more.
    // [SPEC 12.1]
    pub(crate) fn result<T: Serialize>(
        self,
        name: &str,
        value: &T,
        text: impl FnOnce() -> Option<String>,
    ) -> Result<(), Failure> {
        if self.json {
            return line(&terminal::json(&Versioned {
                v: INTERFACE_VERSION,
                result: name,
                value,
            }));
        }
        text().map_or(Ok(()), |text| line(&text))
    }

    /// A result that has nothing to tell: text stays silent.
    ///
    /// # Errors
    /// As [`Out::result`].
    pub(crate) fn done(self) -> Result<(), Failure> {
        self.result("done", &serde_json::json!({}), || None)
    }

    /// Something that does not stop the command and that its caller must know, on standard error; `name` is what a script
    /// branches on.
    // [SPEC 12.14]
    pub(crate) fn warn(self, name: &str, text: &str) {
        if self.json {
            let v = INTERFACE_VERSION;
            err(&terminal::json(&Warning {
                v,
                warning: name,
                text,
            }));
        } else {
            note(&format!("warning: {text}"));
        }
    }

    /// An event as JSON on standard output, else in words on standard error where there are any.
    ///
    /// # Errors
    /// As [`Out::result`].
    pub(crate) fn told(self, event: &Event) -> Result<(), Failure> {
        if !self.event(event)?
            && let Some(text) = words::event(event)
        {
            note(&text);
        }
        Ok(())
    }

    /// An event as JSON; false where text is wanted, which is the caller's to find.
    ///
    /// # Errors
    /// As [`Out::result`].
    pub(crate) fn event(self, event: &Event) -> Result<bool, Failure> {
        if self.json {
            line(&terminal::json(&EventLine::new(event.clone())))?;
        }
        Ok(self.json)
    }
}

/// What may go wrong later, as a line of JSON.
#[derive(Serialize)]
struct Warning<'a> {
    v: u32,
    warning: &'a str,
    text: &'a str,
}

/// One line on standard output, and flushed.
///
/// # Errors
/// When nobody reads it any more.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(|e| failure::io("standard output", &e))
}

/// Text that others wrote, on standard output: on a terminal in lines that fit.
///
/// # Errors
/// As [`line`].
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    if std::io::stdout().is_terminal() {
        line(&terminal::fit(text, columns()))
    } else {
        line(text)
    }
}

/// Something a person may want to know, on standard error.
pub(crate) fn note(text: &str) {
    if std::io::stderr().is_terminal() {
        err(&terminal::fit(text, columns()));
    } else {
        err(text);
    }
}

/// Rows that must stay as they are, on standard error.
pub(crate) fn picture(rows: &[String]) {
    err(&rows.join("\n"));
}

fn err(text: &str) {
    // Nobody is left to be told when standard error is gone.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Columns of the terminal.
pub(crate) fn columns() -> usize {
    terminal::size().0
}
