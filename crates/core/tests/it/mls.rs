//! Groups of two: invite, messages, updates, races, crashes, hostile commits.

mod conversation;
mod hostile;
mod join;
mod observer;
mod strangers;
