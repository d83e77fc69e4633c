//! The simulator's own tests, and the scenarios that it must reach.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod lies;
mod life;
mod links;
mod notices;
mod recovery;
mod seeds;
