//! The relay's own numbers. Those that clients must know too are in [`emptyroom_wire::limits`].

use emptyroom_wire::time::{MINUTE_MS, SECOND_MS};

/// Bytes of a log's 64 MiB that only commits may fill: 16 of 64 KiB. [SPEC 6.11]
pub const COMMIT_RESERVE_BYTES: u64 = 1 << 20;
/// A log's last day is rounded up to a multiple of this, so that its rows move seldom and say little. [SPEC 6.21]
pub const LIFE_ROUNDING_DAYS: u32 = 8;

/// Logs that the descendants of one log may make in a day with `next`. [SPEC 6.30]
pub const BUDGET_LOGS_PER_DAY: u32 = 256;
/// Bytes that they may append in a day. [SPEC 6.30]
pub const BUDGET_BYTES_PER_DAY: u64 = 256 << 20;
/// What each byte of an entry costs that lives as long as its log, 400 days and more where others live 30. [SPEC 6.32]
pub const BUDGET_LIFE_FACTOR: u64 = 16;
/// What a log takes from the budget at once, so that not each append touches it.
pub const BUDGET_CHUNK_BYTES: u64 = 1 << 20;

/// Handles on one stream. [SPEC 4.46]
pub const HANDLES_MAX: usize = 1_024;
/// Requests of one stream that are not answered yet. [SPEC 4.47]
pub const REQUESTS_MAX: usize = 64;
/// Refused proofs and codes after which a stream is ended. [SPEC 4.48]
pub const OFFENCES_MAX: u32 = 8;
/// Pushes that the casts of one stream make in a second, before a further cast is refused as busy. [SPEC 4.63]
pub const CAST_PUSHES_PER_SECOND: usize = 1_024;
/// Streams on one relay, unless configured otherwise.
pub const STREAMS_MAX: usize = 65_536;

/// How long a connection may take to open its stream. [SPEC 6.50]
pub const OPENING_TIMEOUT_MS: u64 = 30 * SECOND_MS;
/// How long a reader may take nothing while something waits for it. [SPEC 6.51]
pub const SLOW_READER_MS: u64 = 2 * MINUTE_MS;
/// Unsent bytes of a connection above which nothing more is read from the store for it; live entries are then read later.
pub const UNSENT_HIGH_BYTES: usize = 1 << 20;
/// Unsent bytes above which a connection is ended: it asks and does not listen. [SPEC 6.51]
pub const UNSENT_MAX_BYTES: usize = 8 << 20;
/// Unsent bytes of all connections above which it is crowded, unless configured otherwise. At twice as many the connection with
/// most of them is ended. [SPEC 6.51]
pub const UNSENT_TOTAL_BYTES: usize = 256 << 20;
/// While it is crowded, a connection with so many unsent gets no more entries. [SPEC 6.51]
pub const UNSENT_WHEN_CROWDED_BYTES: usize = 64 << 10;
/// Handles on all streams together, unless configured otherwise. [SPEC 4.46]
pub const HANDLES_TOTAL_MAX: usize = 1 << 21;
/// A stream has no more handles than this part of those that are free on all streams together. [SPEC 6.146]
pub const HANDLES_FREE_PART: usize = 512;
/// Unless it has so few. [SPEC 6.146]
pub const HANDLES_FEW: usize = 32;
/// Handles of one stream on one log: an entry is pushed to each. [SPEC 6.147]
pub const HANDLES_PER_LOG_MAX: usize = 16;

/// Clients come back at so many in a second, about, where the operator asks for nothing slower. [SPEC 6.160]
pub const RECONNECTS_PER_SECOND: usize = 500;
/// But within this: no client waits longer. [SPEC 10.40]
pub const SPREAD_S_MAX: usize = 600;

/// Reads of stored entries that wait for the store at a time.
pub const READS_MAX: usize = 32;
/// Bytes of entries that one read of the store takes.
pub const READ_BYTES: usize = 256 << 10;
/// The same while it is crowded. [SPEC 6.51]
pub const READ_BYTES_CROWDED: usize = 16 << 10;
/// Operations in one batch to the store.
pub const BATCH_OPS_MAX: usize = 1_024;
/// Entries that one batch removes by trimming and destroying, or gives another last day. [SPEC 6.55]
pub const BATCH_REACH_MAX: usize = 8_192;
/// Seconds after which it is worth asking a relay again whose store was away.
pub const AWAY_RETRY_S: u32 = 3;
/// Seconds after which it is worth asking a busy relay again.
pub const BUSY_RETRY_S: u32 = 1;
/// Seconds after which it is worth asking a relay again whose disk is full or failed.
pub const FULL_RETRY_S: u32 = 60;
/// Bytes of entries in one batch to the store.
pub const BATCH_BYTES_MAX: usize = 16 << 20;
/// Bytes of entries that may wait for the store; beyond it whoever has most waiting is refused as busy. [SPEC 6.52]
pub const QUEUE_BYTES_MAX: usize = 64 << 20;
/// Operations that may wait for the store, of some 500 bytes each, where no entries do: each takes its part of those bytes. [SPEC 6.52]
pub const QUEUE_OPS_MAX: usize = 1 << 18;
/// What the store does for a connection before the next one has its turn, in bytes of entries: five small ones. [SPEC 6.145]
pub const TURN_BYTES: usize = 32 << 10;
/// An operation takes as much of a turn as so many bytes of entries.
pub const TURN_OP_BYTES: usize = 2 << 10;
/// Bytes that are read cost this part of bytes that are written.
pub const TURN_READ_SHARE: usize = 16;

/// Key records that are kept at most. [SPEC 6.42]
pub const KEY_RECORDS_MAX: usize = 16_384;
/// Milliseconds between two looks of a node at all its open logs. [SPEC 6.233]
pub const SWEEP_EVERY_MS: u64 = 30_000;
/// Logs that a node looks at at once. [SPEC 6.233]
pub const SWEEP_LOGS: usize = 512;
