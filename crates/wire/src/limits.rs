//! Every limit of the protocol, once.
//!
//! Times are milliseconds (`_MS`) or days (`_DAYS`), lengths are bytes.

use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS};

/// Sizes that an entry may have in whole. [SPEC 3.2]
pub const ENTRY_CLASSES: [usize; 6] = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20];
/// The largest entry. [SPEC 3.2]
pub const ENTRY_LEN_MAX: usize = 4 << 20;
/// What an entry holds besides its content: version, class, nonce, tag, length, kind. [SPEC 3.1]
pub const ENTRY_OVERHEAD: usize = 1 + 1 + 24 + 16 + 4 + 1;

/// Entries in one log. [SPEC 2.9]
pub const LOG_ENTRIES_MAX: u64 = 4_096;
/// Of those, places that only commits may take. [SPEC 2.9]
pub const LOG_COMMIT_RESERVE: u64 = 16;
/// Bytes of entries in one log. [SPEC 2.9]
pub const LOG_BYTES_MAX: u64 = 64 << 20;
/// Entries in a log whose flags drop the oldest. [SPEC 2.9]
pub const DROP_OLDEST_ENTRIES: u64 = 64;

/// Life of a header and of its nonces after the last append or renew. [SPEC 2.10]
pub const HEADER_LIFE_DAYS: u32 = 180;
/// Life of a tombstone. [SPEC 2.10]
pub const TOMBSTONE_LIFE_DAYS: u32 = 30;
/// Life of a recovery log and its entries after the last renew. [SPEC 2.10]
pub const RECOVERY_LIFE_DAYS: u32 = 400;

/// Logs in one `open`. [SPEC 4.5]
pub const OPEN_LOGS_MAX: usize = 64;
/// Logs that one append may create. [SPEC 4.6]
pub const NEXT_LOGS_MAX: usize = 2;
/// Bytes of one cast. [SPEC 4.8]
pub const CAST_LEN_MAX: usize = 4 << 10;
/// Bytes of an access code. [SPEC 7.3]
pub const ACCESS_CODE_LEN_MAX: usize = 64;
/// Key records in one answer. [SPEC 4.9]
pub const KEY_RECORDS_PER_ANSWER_MAX: usize = 128;

/// How often a share answers at most. [SPEC 4.14]
pub const SHARE_USES_MAX: u8 = 32;
/// How long a share is kept at most, after it was put or renewed. [SPEC 4.14]
pub const SHARE_DAYS_MAX: u16 = 400;
/// Keys that may give orders to wipe. [SPEC 4.15]
pub const WIPE_KEYS_MAX: usize = 8;

/// Payloads are padded to these lengths inside a stream. [SPEC 5.14]
pub const FRAME_CLASSES: [usize; 7] = [
    512,
    4_608,
    18 << 10,
    72 << 10,
    272 << 10,
    1_088 << 10,
    4_352 << 10,
];
/// Flags and length before the payload of a frame. [SPEC 5.13]
pub const FRAME_HEAD_LEN: usize = 4;
/// Tag after it. [SPEC 5.13]
pub const FRAME_TAG_LEN: usize = 16;
/// The longest message that fits a frame. [SPEC 5.14]
pub const MESSAGE_LEN_MAX: usize = (4_352 << 10) - FRAME_HEAD_LEN;
/// The longest frame on a carrier. [SPEC 5.16]
pub const CARRIER_FRAME_LEN_MAX: usize = (4_352 << 10) + FRAME_TAG_LEN;
/// The longest frame before a stream is open. [SPEC 5.16]
pub const HANDSHAKE_FRAME_LEN_MAX: usize = 4 << 10;

/// A key of a stream carries traffic no longer. [SPEC 5.11]
pub const STREAM_RATCHET_MS: u64 = 10 * MINUTE_MS;
/// A stream lives no longer. [SPEC 5.12]
pub const STREAM_LIFE_MS: u64 = 24 * HOUR_MS;
/// A relay makes a new stream key after that. [SPEC 5.4]
pub const STREAM_KEY_LIFE_MS: u64 = HOUR_MS;
/// A relay serves its key records for that long. [SPEC 5.4]
pub const KEY_RECORD_LIFE_MS: u64 = 30 * DAY_MS;
/// A key whose number is lower than the head's by no more may be another node's that is in use. [SPEC 5.21]
pub const KEY_BELOW_MAX_S: u64 = 2 * HOUR_MS / 1_000;
/// Heads that a client remembers of a relay's chain. [SPEC 5.7]
pub const CHAIN_RECENT_MAX: usize = 64;
/// Heads reported by peers that a client keeps until it can compare them. [SPEC 5.8]
pub const CHAIN_CLAIMS_MAX: usize = 16;
/// A client that was away longer takes a head that does not link without a report. [SPEC 5.6]
pub const CHAIN_AWAY_DAYS: u32 = 29;

/// Hosts in an invite link. [SPEC 7.5]
pub const LINK_HOSTS_MAX: usize = 4;
/// Bytes of a host name. [SPEC 7.2]
pub const HOST_LEN_MAX: usize = 253;
/// Characters of an invite link that are looked at. [SPEC 7.6]
pub const LINK_TEXT_LEN_MAX: usize = 4 << 10;
/// Longest time an invite link may be valid. [SPEC 8.40]
pub const INVITE_LIFE_MAX_MS: u64 = 30 * DAY_MS;
