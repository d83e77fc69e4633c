//! The lines of a conversation: numbering, texts, what is unread, when they end.
//!
//! A line is one record with a key of its own, so that deleting it is destroying that key. Beside it stand small records
//! without any text: the queue, the index of what was sent, the index of running timers.

use emptyroom_wire::time::Wall;
use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};

use crate::api::{Burn, FailedWhy, GapKind, Line, LineBody, LineId, MessageState, Notice, Side};
use crate::content::IntentId;
use crate::position::Position;
use crate::records;
use crate::restart;
use crate::store::key::{self, ConversationId};
use crate::store::value::{Flag, StoredBurn, StoredText};
use crate::store::{Store, Value};

const VERSION: u16 = 1;

/// A user who reads nothing is not sent more than this; what comes then waits at the relay.
// [SPEC 8.59]
pub(crate) const UNREAD_MAX: u64 = 4_096;

/// Numbers of a conversation's lines.
#[derive(Default, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct Lines {
    /// The last number given.
    last: u64,
    /// Everything up to here was read.
    read_to: u64,
    /// Received messages and notices above `read_to`.
    unread: u64,
}

/// One line as it is stored.
#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct LineRecord {
    pub(crate) at_ms: u64,
    pub(crate) expires_at_ms: Option<u64>,
    pub(crate) content: LineContent,
}

/// What a line holds.
#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
#[repr(u8)]
pub(crate) enum LineContent {
    #[tls_codec(discriminant = 1)]
    Received(ReceivedLine),
    #[tls_codec(discriminant = 2)]
    Sent(SentLine),
    /// A change of the timer by this side; sent like a message.
    #[tls_codec(discriminant = 3)]
    OwnTimer(OwnTimerLine),
    #[tls_codec(discriminant = 4)]
    PeerTimer(StoredBurn),
    #[tls_codec(discriminant = 5)]
    Joined,
    #[tls_codec(discriminant = 6)]
    Gap(GapLine),
    #[tls_codec(discriminant = 7)]
    Restarted(RestartedLine),
}

#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct ReceivedLine {
    pub(crate) text: StoredText,
    pub(crate) sent_at_ms: u64,
    pub(crate) burn: StoredBurn,
    /// The place after its entry: what a receipt says once it is read.
    pub(crate) after: Position,
}

#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct SentLine {
    pub(crate) text: StoredText,
    pub(crate) intent: IntentId,
    pub(crate) burn: StoredBurn,
    /// Days the relay may keep it: 1, 7 or 30.
    pub(crate) days: u8,
    pub(crate) state: u8,
}

#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct OwnTimerLine {
    pub(crate) intent: IntentId,
    pub(crate) burn: StoredBurn,
}

#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct GapLine {
    pub(crate) loss: Flag,
    pub(crate) entries: u64,
}

#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct RestartedLine {
    pub(crate) by_me: Flag,
    pub(crate) reason: u8,
    pub(crate) unlinked: Flag,
}

impl Lines {
    /// Adds a line; received messages and notices of others count as unread.
    pub(crate) fn add(
        &mut self,
        store: &mut Store<'_>,
        id: ConversationId,
        record: &LineRecord,
    ) -> LineId {
        self.last += 1;
        if record.counts_as_unread() {
            self.unread += 1;
        }
        let line = LineId(self.last);
        write(store, id, line, record);
        line
    }

    /// The last number given.
    pub(crate) fn last(&self) -> LineId {
        LineId(self.last)
    }

    pub(crate) fn unread(&self) -> u64 {
        self.unread
    }

    /// Its user has not read that far.
    pub(crate) fn is_unread(&self, line: LineId) -> bool {
        line.0 > self.read_to
    }

    /// No more may be fetched before the user read some.
    pub(crate) fn is_full(&self) -> bool {
        self.unread >= UNREAD_MAX
    }

    /// Marks everything up to `up_to` as read; gives the lines that were not before, oldest first.
    pub(crate) fn read(
        &mut self,
        store: &Store<'_>,
        id: ConversationId,
        up_to: LineId,
    ) -> Vec<(LineId, LineRecord)> {
        let mut read = Vec::new();
        let up_to = up_to.0.min(self.last);
        let mut after = id.line(self.read_to);
        let mut done = self.read_to >= up_to;
        while !done {
            let page = store.scan(&id.lines(), Some(&after), PAGE_LEN, false);
            done = page.len() < PAGE_LEN;
            for (key, value) in page {
                let line = key::last_number(&key).unwrap_or(u64::MAX);
                if line > up_to {
                    done = true;
                    break;
                }
                after = key;
                if let Some(record) = parse(&value)
                    && record.counts_as_unread()
                {
                    self.unread = self.unread.saturating_sub(1);
                    read.push((LineId(line), record));
                }
            }
        }
        self.read_to = self.read_to.max(up_to);
        read
    }

    /// Deletes a line with everything that points at it but the index of what was sent, which finds nothing then.
    pub(crate) fn delete(
        &mut self,
        store: &mut Store<'_>,
        id: ConversationId,
        line: LineId,
    ) -> bool {
        let Some(record) = get(store, id, line) else {
            return false;
        };
        if line.0 > self.read_to && record.counts_as_unread() {
            self.unread = self.unread.saturating_sub(1);
        }
        if let Some(at) = record.expires_at_ms {
            store.delete(&id.expiry(at, line.0));
        }
        store.delete(&id.line(line.0));
        true
    }

    /// Unread lines, oldest first.
    pub(crate) fn list_unread(
        &self,
        store: &Store<'_>,
        id: ConversationId,
        limit: usize,
    ) -> Vec<Line> {
        let mut found = Vec::new();
        let mut after = id.line(self.read_to);
        loop {
            let page = store.scan(&id.lines(), Some(&after), PAGE_LEN, false);
            let more = page.len() == PAGE_LEN;
            for (key, value) in page {
                if let (Some(line), Some(record)) = (key::last_number(&key), parse(&value))
                    && record.counts_as_unread()
                {
                    found.push(self.shown(LineId(line), &record));
                }
                after = key;
                if found.len() >= limit {
                    return found;
                }
            }
            if !more {
                return found;
            }
        }
    }

    /// Lines before `before`, oldest first, at most `limit`.
    pub(crate) fn history(
        &self,
        store: &Store<'_>,
        id: ConversationId,
        before: Option<LineId>,
        limit: usize,
    ) -> Vec<Line> {
        let after = before.map(|line| id.line(line.0));
        let mut found: Vec<Line> = store
            .scan(&id.lines(), after.as_deref(), limit, true)
            .into_iter()
            .filter_map(|(key, value)| {
                let line = LineId(key::last_number(&key)?);
                parse(&value).map(|record| self.shown(line, &record))
            })
            .collect();
        found.reverse();
        found
    }

    /// A line as its user sees it.
    pub(crate) fn shown(&self, id: LineId, record: &LineRecord) -> Line {
        let expires_at = record.expires_at_ms.map(Wall);
        let body = match &record.content {
            LineContent::Received(line) => LineBody::Received {
                text: line.text.text(),
                sent_at: Wall(line.sent_at_ms),
                burn: line.burn.0,
                read: id.0 <= self.read_to,
                expires_at,
            },
            LineContent::Sent(line) => LineBody::Sent {
                text: line.text.text(),
                burn: line.burn.0,
                state: state_of(line.state),
                expires_at,
            },
            LineContent::OwnTimer(line) => timer_notice(Side::Me, line.burn.0),
            LineContent::PeerTimer(burn) => timer_notice(Side::Peer, burn.0),
            LineContent::Joined => LineBody::Notice(Notice::Joined),
            LineContent::Gap(line) => LineBody::Notice(Notice::Gap {
                kind: if line.loss.0 {
                    GapKind::Loss
                } else {
                    GapKind::RanOutOrWithheld
                },
                entries: line.entries,
            }),
            LineContent::Restarted(line) => LineBody::Notice(Notice::Restarted {
                by: if line.by_me.0 { Side::Me } else { Side::Peer },
                reason: restart::reason(line.reason)
                    .unwrap_or(crate::api::RestartReason::StateLost),
                unlinked: line.unlinked.0,
            }),
        };
        Line {
            id,
            at: Wall(record.at_ms),
            body,
        }
    }
}

fn timer_notice(by: Side, burn: Burn) -> LineBody {
    LineBody::Notice(Notice::TimerChanged { by, burn })
}

impl LineRecord {
    fn counts_as_unread(&self) -> bool {
        !matches!(
            self.content,
            LineContent::Sent(_) | LineContent::OwnTimer(_)
        )
    }
}

/// Reads a line.
pub(crate) fn get(store: &Store<'_>, id: ConversationId, line: LineId) -> Option<LineRecord> {
    store.get(&id.line(line.0)).and_then(|value| parse(&value))
}

/// Writes a line.
pub(crate) fn write(store: &mut Store<'_>, id: ConversationId, line: LineId, record: &LineRecord) {
    store.put(
        id.line(line.0),
        Value::new(records::encode(VERSION, record)),
    );
}

/// Starts a line's timer, or moves it.
pub(crate) fn expire_at(
    store: &mut Store<'_>,
    id: ConversationId,
    line: LineId,
    record: &mut LineRecord,
    at: Wall,
) {
    if let Some(old) = record.expires_at_ms {
        store.delete(&id.expiry(old, line.0));
    }
    record.expires_at_ms = Some(at.0);
    store.put(id.expiry(at.0, line.0), Value::new(Vec::new()));
    write(store, id, line, record);
}

fn parse(value: &[u8]) -> Option<LineRecord> {
    records::decode(VERSION, value).ok()
}

/// How a message's state is stored.
pub(crate) fn state_code(state: MessageState) -> u8 {
    match state {
        MessageState::Queued => 1,
        MessageState::Sent => 2,
        MessageState::Delivered => 3,
        MessageState::Read => 4,
        MessageState::Failed(FailedWhy::RanOut) => 5,
        MessageState::Failed(FailedWhy::ConversationOver) => 6,
        MessageState::Failed(FailedWhy::RelayRefused) => 7,
    }
}

/// The state that was stored.
pub(crate) fn state_of(code: u8) -> MessageState {
    match code {
        2 => MessageState::Sent,
        3 => MessageState::Delivered,
        4 => MessageState::Read,
        5 => MessageState::Failed(FailedWhy::RanOut),
        6 => MessageState::Failed(FailedWhy::ConversationOver),
        7 => MessageState::Failed(FailedWhy::RelayRefused),
        _ => MessageState::Queued,
    }
}

const PAGE_LEN: usize = 256;
