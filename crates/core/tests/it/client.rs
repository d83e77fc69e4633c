//! Clients against a real relay.

mod invites;
mod talking;
mod world;
