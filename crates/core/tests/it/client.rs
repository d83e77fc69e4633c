//! Clients against a real relay.

mod crashes;
mod invites;
mod recovery;
mod talking;
mod timers;
mod world;
