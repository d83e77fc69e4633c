//! The commands, one file each: the options it takes, and what it does with them.

pub(crate) mod allow_restart;
pub(crate) mod block;
pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod contacts;
pub(crate) mod daemon;
pub(crate) mod delete;
pub(crate) mod forget;
pub(crate) mod history;
pub(crate) mod init;
pub(crate) mod invite;
pub(crate) mod invites;
pub(crate) mod join;
pub(crate) mod lock;
pub(crate) mod man;
pub(crate) mod panic;
pub(crate) mod pin;
pub(crate) mod receipts;
pub(crate) mod receive;
pub(crate) mod relay;
pub(crate) mod rename;
pub(crate) mod send;
pub(crate) mod status;
pub(crate) mod timer;
pub(crate) mod vault;
pub(crate) mod verify;
