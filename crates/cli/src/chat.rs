//! The conversation live: on a whole terminal, or line by line in a pipe.

pub(crate) mod editor;
pub(crate) mod full;
pub(crate) mod plain;
pub(crate) mod screen;
