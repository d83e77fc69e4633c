//! The store as it is named on the command line.

use zeroize::Zeroizing;

use super::{Exit, Failure};
use crate::medium::{self, Choice};

/// What several `--store` say together.
pub(super) fn choice(texts: Vec<String>) -> Result<Option<Choice>, Failure> {
    let parts = texts.into_iter();
    let parts = parts.map(|text| read_later("--store", text, Choice::parse));
    medium::together(parts.collect::<Result<_, _>>()?)
        .map_err(|fault| Failure::new(Exit::WrongUse, format!("--store: {fault}")))
}

/// Reads a value that may hold a password: what is said of a wrong one does not repeat it.
// [SPEC 6.208]
pub(super) fn read_later<T>(
    option: &str,
    text: String,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Failure> {
    let text = Zeroizing::new(text);
    parse(&text).map_err(|why| {
        Failure::new(Exit::WrongUse, format!("{option}: {why}"))
            .hint("see `emptyroom-relay serve --help`")
    })
}
