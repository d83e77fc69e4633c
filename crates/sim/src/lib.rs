//! The whole network in one thread, from one seed.

pub mod memory_store;
