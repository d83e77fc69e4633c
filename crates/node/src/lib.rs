//! The client's shell: runs one client over one vault, with sockets, clocks and disks. No protocol decisions.
//!
//! What is here: the engine (one thread that owns vault and client), the direct carrier (TLS 1.3 over TCP), the daemon and
//! its JSON-RPC, and [`Session`], the only thing that programs see: the same calls, answers and events ([`api`]) whether a
//! daemon holds the vault or this process does.
//!
//! What is not: what a message is, when to retry, what a relay may do (core); what a vault is (vault); words for people
//! (cli).
//!
//! Start at [`Session`], then `engine`.

pub mod api;
pub mod carrier;
mod clock;
mod convert;
mod daemon;
mod deadman;
mod desktop;
mod drill;
mod engine;
mod errand;
mod factors;
pub mod fuzz;
mod home;
mod link;
mod outside;
mod phrase;
mod policy;
pub mod rpc;
mod scanned;
mod seed;
mod session;
pub mod shares;
mod stack;
mod storage;
mod switch;

pub use clock::uptime;
pub use daemon::{CLIENTS_MAX, serve};
pub use desktop::Desktop;
pub use emptyroom_wire::kill::Left;
pub use factors::{WrongBefore, tpm_device};
pub use home::{Kdf, had_vault, make as make_home};
pub use phrase::{WORDS, is_recovery_phrase, new_recovery_words};
pub use scanned::is_same_code;
pub use seed::number_below;
pub use session::{Events, Session};
pub use switch::guard::{GuardNews, Guarded, guard};
pub use switch::holder::{Killcode, Wiped, create, receipts, revoke, wipe};
