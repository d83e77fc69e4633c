//! The bodies of messages.

use tls_codec::{
    DeserializeBytes as _, Serialize as _, TlsDeserializeBytes, TlsSerialize, TlsSize, VLBytes,
};
use zeroize::Zeroize as _;

use super::ContentFault;
use crate::api::{Burn, Text};
use crate::extension;
use crate::position::Position;

/// Longest text in bytes of UTF-8.
pub const TEXT_LEN_MAX: usize = 16 << 10;
/// Most gaps that one receipt reports.
pub const GAPS_MAX: usize = 64;

const TEXT: u16 = 1;
const RECEIPT: u16 = 2;
const TIMER: u16 = 3;
const SEEN: u16 = 4;

const BURN_NEVER: u32 = 0;
const BURN_ON_READ: u32 = 1;

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A text for people.
    Text(TextMessage),
    /// What its sender has received and read.
    Receipt(Receipt),
    /// From now on, new messages of the conversation disappear like this.
    Timer(TimerChange),
    /// Nothing: "I am in this group", sent once by every device in every new group.
    Seen,
    /// Something that a later version says and that may be skipped. Never sent.
    Ignored(u16),
}

/// One and the same for all attempts to send one message; shown once.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, TlsSize, TlsSerialize, TlsDeserializeBytes,
)]
pub struct IntentId(pub [u8; 16]);

/// A text.
#[derive(Clone, PartialEq, Eq)]
pub struct TextMessage {
    /// Which message it is, however often it is sent.
    pub intent: IntentId,
    /// When its sender wrote it, in ms since 1970 by his clock.
    pub sent_at_ms: u64,
    /// When it disappears.
    pub burn: Burn,
    /// At most [`TEXT_LEN_MAX`] bytes, not empty.
    pub text: Text,
}

/// A change of the conversation's timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerChange {
    /// Which change it is, however often it is sent.
    pub intent: IntentId,
    /// When it was made, in ms since 1970 by its maker's clock.
    pub changed_at_ms: u64,
    /// The new timer.
    pub burn: Burn,
}

/// Cumulative: everything below a position, but the gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Receipt {
    /// Everything before this place was received and is durable, or is in a gap.
    pub delivered: Option<Position>,
    /// Everything before this place was read by a person.
    pub read: Option<Position>,
    /// What was missing below the higher of both, rising, at most [`GAPS_MAX`].
    pub gaps: Vec<Gap>,
}

/// Entries that never came.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, TlsSize, TlsSerialize, TlsDeserializeBytes,
)]
pub struct Gap {
    /// The first one missing.
    pub from: Position,
    /// The number after the last one missing, in the same log.
    pub until_seq: u64,
}

/// A body that breaks a rule of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// Not the form of its kind.
    Malformed,
    /// No text in a text.
    TextEmpty,
    /// A text longer than [`TEXT_LEN_MAX`].
    TextTooLong,
    /// A text that is not UTF-8.
    TextNotUtf8,
    /// A timer below 5 seconds or above 4 weeks.
    Timer,
    /// Gaps that are too many, empty, overlapping, out of order or above what was delivered.
    Gaps,
    /// A body that exists to be skipped, not to be sent.
    NotSendable,
}

#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
struct WireText {
    intent: IntentId,
    sent_at_ms: u64,
    burn: u32,
    text: VLBytes,
}

#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
struct WireTimer {
    intent: IntentId,
    changed_at_ms: u64,
    burn: u32,
}

impl Body {
    pub(super) fn encode(&self) -> Result<(u16, Vec<u8>), BodyFault> {
        let encoded = match self {
            Self::Text(message) => (TEXT, encode_text(message)?.tls_serialize_detached()),
            Self::Receipt(receipt) => (RECEIPT, receipt.check()?.tls_serialize_detached()),
            Self::Timer(change) => {
                let wire = WireTimer {
                    intent: change.intent,
                    changed_at_ms: change.changed_at_ms,
                    burn: encode_burn(change.burn)?,
                };
                (TIMER, wire.tls_serialize_detached())
            }
            Self::Seen => (SEEN, Ok(Vec::new())),
            Self::Ignored(_) => return Err(BodyFault::NotSendable),
        };
        let (kind, bytes) = encoded;
        bytes
            .map(|bytes| (kind, bytes))
            .map_err(|_| BodyFault::Malformed)
    }

    pub(super) fn decode(kind: u16, bytes: &[u8]) -> Result<Self, ContentFault> {
        match kind {
            TEXT => decode_text(bytes).map(Self::Text),
            RECEIPT => decode_receipt(bytes).map(Self::Receipt),
            TIMER => decode_timer(bytes).map(Self::Timer),
            SEEN if bytes.is_empty() => Ok(Self::Seen),
            SEEN => Err(BodyFault::Malformed),
            // [SPEC 9.3]
            _ if extension::may_be_ignored(kind) => Ok(Self::Ignored(kind)),
            _ => return Err(ContentFault::Critical(kind)),
        }
        .map_err(ContentFault::Body)
    }
}

impl Receipt {
    // [SPEC 9.8]
    fn check(&self) -> Result<&Self, BodyFault> {
        let highest = self.delivered.max(self.read).unwrap_or_default();
        let below = |gap: &Gap| {
            let end = Position {
                next_seq: gap.until_seq,
                ..gap.from
            };
            gap.from < end && end <= highest
        };
        let rising = self.gaps.is_sorted_by(|a, b| {
            let end = Position {
                next_seq: a.until_seq,
                ..a.from
            };
            end < b.from
        });
        if self.gaps.len() <= GAPS_MAX && rising && self.gaps.iter().all(below) {
            Ok(self)
        } else {
            Err(BodyFault::Gaps)
        }
    }
}

fn encode_text(message: &TextMessage) -> Result<WireText, BodyFault> {
    Ok(WireText {
        intent: message.intent,
        sent_at_ms: message.sent_at_ms,
        burn: encode_burn(message.burn)?,
        text: check_text(message.text.expose())?
            .as_bytes()
            .to_vec()
            .into(),
    })
}

fn decode_text(bytes: &[u8]) -> Result<TextMessage, BodyFault> {
    let wire = WireText::tls_deserialize_exact_bytes(bytes).map_err(|_| BodyFault::Malformed)?;
    let text = String::from_utf8(wire.text.into()).map_err(|error| {
        error.into_bytes().zeroize();
        BodyFault::TextNotUtf8
    })?;
    let text = Text::new(text);
    check_text(text.expose())?;
    Ok(TextMessage {
        intent: wire.intent,
        sent_at_ms: wire.sent_at_ms,
        burn: decode_burn(wire.burn)?,
        text,
    })
}

// [SPEC 9.5]
fn check_text(text: &str) -> Result<&str, BodyFault> {
    match text.len() {
        0 => Err(BodyFault::TextEmpty),
        1..=TEXT_LEN_MAX => Ok(text),
        _ => Err(BodyFault::TextTooLong),
    }
}

fn decode_receipt(bytes: &[u8]) -> Result<Receipt, BodyFault> {
    let receipt = Receipt::tls_deserialize_exact_bytes(bytes).map_err(|_| BodyFault::Malformed)?;
    receipt.check()?;
    Ok(receipt)
}

fn decode_timer(bytes: &[u8]) -> Result<TimerChange, BodyFault> {
    let wire = WireTimer::tls_deserialize_exact_bytes(bytes).map_err(|_| BodyFault::Malformed)?;
    Ok(TimerChange {
        intent: wire.intent,
        changed_at_ms: wire.changed_at_ms,
        burn: decode_burn(wire.burn)?,
    })
}

fn encode_burn(burn: Burn) -> Result<u32, BodyFault> {
    match burn {
        Burn::Never => Ok(BURN_NEVER),
        Burn::OnRead => Ok(BURN_ON_READ),
        Burn::After(time) => u32::try_from(time.ms()).map_err(|_| BodyFault::Timer),
    }
}

// [SPEC 9.6]
fn decode_burn(burn: u32) -> Result<Burn, BodyFault> {
    match burn {
        BURN_NEVER => Ok(Burn::Never),
        BURN_ON_READ => Ok(Burn::OnRead),
        ms => Burn::after_ms(u64::from(ms)).map_err(|_| BodyFault::Timer),
    }
}

impl std::fmt::Debug for IntentId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IntentId(private)")
    }
}

impl std::fmt::Debug for TextMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TextMessage(private)")
    }
}

impl std::fmt::Display for BodyFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Malformed => "a message's body has another form than its kind",
            Self::TextEmpty => "a text without text",
            Self::TextTooLong => "a text longer than 16 KiB",
            Self::TextNotUtf8 => "a text that is not utf-8",
            Self::Timer => "a timer below 5 seconds or above 4 weeks",
            Self::Gaps => "a receipt with impossible gaps",
            Self::NotSendable => "a body of this kind is never sent",
        })
    }
}

impl std::error::Error for BodyFault {}
