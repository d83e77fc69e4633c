//! A stream that is open: requests that wait for an answer, handles that were given.

use std::collections::{BTreeMap, VecDeque};

use emptyroom_wire::op::{Answer, FromClient, FromRelay, Handle, OpenOutcome, Request};
use emptyroom_wire::proof::StreamBinding;
use emptyroom_wire::relay_key::KeyRecord;
use emptyroom_wire::sign::VerifyKey;
use emptyroom_wire::stream::{ClientStream, Opened};
use emptyroom_wire::time::Mono;

use super::LinkOut;
use crate::api::{LinkId, RelayTrouble};
use crate::store::key::ConversationId;

/// Without an answer for this long the link counts as dead.
// [SPEC 10.41]
const ANSWER_MS_MAX: u64 = 60_000;
/// Without anything heard for this long the relay is asked whether it lives.
const QUIET_MS: u64 = 240_000;
/// Requests under way at most, whatever the relay allows.
const REQUESTS_MAX: usize = 256;

/// Which of a conversation's logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// The log it lives in now: log 0, or the current generation's.
    Main,
    /// Its recovery log.
    Recovery,
    /// A log it left, for one last entry.
    Former,
}

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Route {
    pub(crate) conversation: ConversationId,
    pub(crate) role: Role,
    /// Which use of that role: answers to an earlier one are dropped.
    pub(crate) channel: u32,
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Create,
    Open,
    Append,
    Trim(u64),
    Renew,
    Leave,
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    Conversation(Route, Op),
    Destroy(u64),
    Link(LinkOp),
}

/// The link's own requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkOp {
    Ping,
    KeyRecords,
}

/// An open stream.
pub(crate) struct Session {
    id: LinkId,
    stream: ClientStream,
    identity: VerifyKey,
    record: KeyRecord,
    requests_max: usize,
    next_id: u32,
    under_way: BTreeMap<u32, UnderWay>,
    waiting: VecDeque<(Tag, Request)>,
    handles: BTreeMap<Handle, Route>,
    heard: Mono,
}

struct UnderWay {
    tag: Tag,
    kind: Kind,
    since: Mono,
}

/// Which answers fit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Create,
    Open,
    Append,
    KeyRecords,
}

impl Session {
    pub(super) fn new(id: LinkId, opened: Opened, now: Mono) -> Self {
        let allowed = usize::from(opened.terms.requests_max);
        Self {
            id,
            stream: opened.stream,
            identity: opened.identity,
            record: opened.signed.record,
            requests_max: allowed.clamp(1, REQUESTS_MAX),
            next_id: 0,
            under_way: BTreeMap::new(),
            waiting: VecDeque::new(),
            handles: BTreeMap::new(),
            heard: now,
        }
    }

    pub(crate) fn id(&self) -> LinkId {
        self.id
    }

    pub(super) fn identity(&self) -> &VerifyKey {
        &self.identity
    }

    pub(super) fn record(&self) -> &KeyRecord {
        &self.record
    }

    /// What proofs on this stream are bound to.
    pub(crate) fn binding(&self) -> StreamBinding {
        self.stream.binding()
    }

    /// Sends a request, or keeps it until the relay takes more. Each conversation has a few at most, so the queue is bounded.
    pub(super) fn request(
        &mut self,
        now: Mono,
        tag: Tag,
        request: Request,
        out: &mut Vec<LinkOut>,
    ) {
        self.waiting.push_back((tag, request));
        self.send_waiting(now, out);
    }

    /// Key records were asked for and have not come.
    pub(super) fn asks_for_key_records(&self) -> bool {
        let asked = Tag::Link(LinkOp::KeyRecords);
        let waits = self.waiting.iter().any(|(tag, _)| *tag == asked);
        waits || self.under_way.values().any(|sent| sent.tag == asked)
    }

    /// Does what is due. False: the stream is over.
    pub(super) fn tick(&mut self, now: Mono, out: &mut Vec<LinkOut>) -> bool {
        let late = |under_way: &UnderWay| now.ms_since(under_way.since) >= ANSWER_MS_MAX;
        if now >= self.stream.ends_at() || self.under_way.values().any(late) {
            return false;
        }
        if let Some(frame) = self.stream.turn(now) {
            out.push(LinkOut::Frame(self.id, frame));
        }
        if now.ms_since(self.heard) >= QUIET_MS && self.under_way.is_empty() {
            self.request(now, Tag::Link(LinkOp::Ping), Request::Ping, out);
        }
        true
    }

    pub(super) fn wake_at(&self) -> Mono {
        let oldest = self
            .under_way
            .values()
            .map(|under_way| under_way.since)
            .min();
        let silence = match oldest {
            Some(since) => since.plus_ms(ANSWER_MS_MAX),
            None => self.heard.plus_ms(QUIET_MS),
        };
        silence
            .min(self.stream.wake_at())
            .min(self.stream.ends_at())
    }

    /// Takes a frame. Gives key records if that is what came.
    ///
    /// # Errors
    /// The relay's fault: hang up.
    pub(super) fn frame(
        &mut self,
        now: Mono,
        frame: &[u8],
        out: &mut Vec<LinkOut>,
    ) -> Result<Option<Vec<KeyRecord>>, RelayTrouble> {
        let message = self
            .stream
            .open(now, frame)
            .map_err(|_| RelayTrouble::Malformed)?;
        self.heard = now;
        let Some(message) = message else {
            return Ok(None);
        };
        match FromRelay::decode(&message).map_err(|_| RelayTrouble::Malformed)? {
            FromRelay::Push(handle, push) => {
                // A push may cross a leave on its way: handles that nobody holds are no fault.
                if let Some(route) = self.handles.get(&handle) {
                    out.push(LinkOut::Push(*route, push));
                }
                Ok(None)
            }
            FromRelay::Answer(id, answer) => {
                let asked = self
                    .under_way
                    .remove(&id)
                    .ok_or(RelayTrouble::WrongAnswer)?;
                // [SPEC 10.23]
                if !asked.kind.fits(&answer) {
                    return Err(RelayTrouble::WrongAnswer);
                }
                let records = self.answered(asked.tag, answer, out)?;
                self.send_waiting(now, out);
                Ok(records)
            }
        }
    }

    fn answered(
        &mut self,
        tag: Tag,
        answer: Answer,
        out: &mut Vec<LinkOut>,
    ) -> Result<Option<Vec<KeyRecord>>, RelayTrouble> {
        if let (Tag::Conversation(route, Op::Open), Answer::Opened(opened)) = (tag, &answer)
            && let Some(OpenOutcome::Open(log)) = opened.logs.first()
            && self.handles.insert(log.handle, route).is_some()
        {
            return Err(RelayTrouble::WrongAnswer);
        }
        match (tag, answer) {
            (Tag::Link(_), Answer::KeyRecords(records)) => Ok(Some(records.records)),
            (Tag::Link(_), _) => Ok(None),
            (tag, answer) => {
                out.push(LinkOut::Answer(tag, answer));
                Ok(None)
            }
        }
    }

    fn send_waiting(&mut self, now: Mono, out: &mut Vec<LinkOut>) {
        while self.under_way.len() < self.requests_max {
            let Some((tag, request)) = self.waiting.pop_front() else {
                return;
            };
            if let Request::Leave(handle) = &request {
                self.handles.remove(handle);
            }
            let kind = Kind::of(&request);
            self.next_id = self.next_id.wrapping_add(1);
            let id = self.next_id;
            let message = FromClient { id, request }.encode();
            // What is too long for the protocol, and what comes when the stream is over, gets no answer: the link ends soon.
            if let Some(frame) = message
                .ok()
                .and_then(|message| self.stream.seal(now, &message).ok())
            {
                out.push(LinkOut::Frame(self.id, frame));
            }
            self.under_way.insert(
                id,
                UnderWay {
                    tag,
                    kind,
                    since: now,
                },
            );
        }
    }
}

impl Kind {
    fn of(request: &Request) -> Self {
        match request {
            Request::Create(_) => Self::Create,
            Request::Open(_) => Self::Open,
            Request::Append(_) => Self::Append,
            Request::KeyRecords(_) => Self::KeyRecords,
            _ => Self::Plain,
        }
    }

    fn fits(self, answer: &Answer) -> bool {
        match answer {
            Answer::Refused(_) => true,
            Answer::Done => self == Self::Plain,
            Answer::Created => self == Self::Create,
            Answer::Opened(opened) => self == Self::Open && opened.logs.len() == 1,
            Answer::Appended(_) | Answer::Stale(_) => self == Self::Append,
            Answer::KeyRecords(_) => self == Self::KeyRecords,
            // Nothing that a conversation asks for.
            Answer::Evaluated(_) | Answer::Wiped(_) => false,
        }
    }
}
