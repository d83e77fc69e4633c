//! Clients against a real relay.

mod acknowledged;
mod alarms;
mod claims;
mod counterexamples;
mod crashes;
mod damaged;
mod delivery;
mod forgotten;
mod hostile;
mod invites;
mod links;
mod lying;
mod nodes;
mod oversized;
mod raw;
mod recovery;
mod rules;
mod talking;
mod timers;
mod trimmed;
mod world;
