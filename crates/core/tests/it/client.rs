//! Clients against a real relay.

mod counterexamples;
mod crashes;
mod hostile;
mod invites;
mod raw;
mod recovery;
mod rules;
mod talking;
mod timers;
mod world;
