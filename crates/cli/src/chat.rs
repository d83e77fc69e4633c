//! The conversation live: on a whole terminal, or line by line in a pipe.

mod canvas;
pub(crate) mod editor;
pub(crate) mod full;
pub(crate) mod idle;
pub(crate) mod plain;
pub(crate) mod screen;

/// Keys, lines and events that wait to be dealt with; who has more waits himself.
const INPUTS_WAITING_MAX: usize = 64;
