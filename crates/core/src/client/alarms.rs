//! Alarms: what must not pass by because nobody listened when it was told. Each is kept until it was told, and shown for a month.

use emptyroom_wire::relay_key::IdentityHash;
use emptyroom_wire::time::{DAY_MS, Wall};
use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};

use super::{Client, LoadError, VERSION};
use crate::api::{Alarm, AlarmKind, Event, RelayTrouble};
use crate::records;
use crate::store::key::{self, ConversationId};
use crate::store::value::Flag;
use crate::store::{Store, Value};

/// Alarms that are kept: the oldest goes.
// [SPEC 10.43]
const ALARMS_MAX: usize = 64;
/// One that was told is shown for so long.
const SHOWN_MS: u64 = 30 * DAY_MS;
/// What goes on after it was told is told again after that.
const AGAIN_MS: u64 = DAY_MS;

/// What is kept of them.
#[derive(Default)]
pub(super) struct Alarms {
    kept: Vec<Kept>,
    changed: bool,
}

#[derive(Clone, Copy, Debug, TlsSize, TlsSerialize, TlsDeserializeBytes)]
struct Kept {
    relay: IdentityHash,
    /// 0: none.
    conversation: u32,
    kind: u8,
    at_ms: u64,
    told: Flag,
}

impl Alarms {
    pub(super) fn load(store: &Store<'_>) -> Result<Self, LoadError> {
        let kept = match store.get(key::ALARMS) {
            Some(record) => records::decode(VERSION, &record)?,
            None => Vec::new(),
        };
        Ok(Self {
            kept,
            changed: false,
        })
    }

    /// Their record, if it is another than the one that was written last.
    pub(super) fn unsaved(&mut self) -> Option<Value> {
        std::mem::take(&mut self.changed).then(|| Value::new(records::encode(VERSION, &self.kept)))
    }

    fn raise(&mut self, new: Kept) {
        let same = |kept: &&mut Kept| {
            (kept.relay, kept.conversation, kept.kind) == (new.relay, new.conversation, new.kind)
        };
        match self.kept.iter_mut().find(same) {
            Some(kept) if !kept.told.0 || new.at_ms.saturating_sub(kept.at_ms) < AGAIN_MS => return,
            Some(kept) => *kept = new,
            None => self.kept.push(new),
        }
        self.changed = true;
        self.kept
            .retain(|kept| !kept.told.0 || new.at_ms.saturating_sub(kept.at_ms) < SHOWN_MS);
        if self.kept.len() > ALARMS_MAX {
            self.kept.remove(0);
        }
    }

    /// All of them were told.
    pub(super) fn told(&mut self) {
        for kept in self.kept.iter_mut().filter(|kept| !kept.told.0) {
            kept.told = Flag(true);
            self.changed = true;
        }
    }
}

impl Client {
    /// Keeps what this step tells and nobody may hear.
    // [SPEC 10.43]
    pub(super) fn keep_alarms(&mut self) {
        let now_ms = self.clock.now().0;
        for event in &self.step.events {
            let (relay, conversation, kind) = match event {
                Event::RelayTrouble {
                    relay,
                    conversation,
                    kind,
                } => {
                    let known = self
                        .relays
                        .iter()
                        .find(|(_, known)| known.link.name() == *relay);
                    let Some((relay, _)) = known else { continue };
                    let conversation = conversation.as_ref().and_then(|name| self.named(name));
                    (*relay, conversation, AlarmKind::Relay(*kind))
                }
                Event::ConversationOver { conversation } => {
                    let Some(id) = self.named(conversation) else {
                        continue;
                    };
                    let Some(relay) = self.conversations.get(&id).map(|found| found.relay()) else {
                        continue;
                    };
                    (relay, Some(id), AlarmKind::ConversationOver)
                }
                _ => continue,
            };
            self.alarms.raise(Kept {
                relay,
                conversation: conversation.map_or(0, |id| id.0),
                kind: code(kind),
                at_ms: now_ms,
                told: Flag(false),
            });
        }
    }

    /// Those of relays and conversations that are still known.
    pub(super) fn alarms(&self) -> Vec<Alarm> {
        let kept = self.alarms.kept.iter();
        let alarm = |kept: &Kept| {
            let conversation = match kept.conversation {
                0 => None,
                id => Some(self.conversations.get(&ConversationId(id))?.name()),
            };
            Some(Alarm {
                relay: self.relays.get(&kept.relay)?.link.name(),
                conversation,
                kind: kind(kept.kind)?,
                at: Wall(kept.at_ms),
                told: kept.told.0,
            })
        };
        kept.filter_map(alarm).collect()
    }
}

const OVER: u8 = 100;

const TROUBLES: &[RelayTrouble] = &[
    RelayTrouble::RolledBack,
    RelayTrouble::TwoHistories,
    RelayTrouble::LogLost,
    RelayTrouble::Withheld,
    RelayTrouble::WrongSequence,
    RelayTrouble::ForeignEntry,
    RelayTrouble::KeyChain,
    RelayTrouble::WrongIdentity,
    RelayTrouble::WrongCertificate,
    RelayTrouble::Malformed,
    RelayTrouble::WrongAnswer,
];

/// The number of a kind in records.
fn code(kind: AlarmKind) -> u8 {
    let trouble = match kind {
        AlarmKind::Relay(trouble) => trouble,
        AlarmKind::ConversationOver => return OVER,
    };
    let found = TROUBLES.iter().position(|known| *known == trouble);
    found.and_then(|at| u8::try_from(at).ok()).unwrap_or(OVER)
}

fn kind(code: u8) -> Option<AlarmKind> {
    match code {
        OVER => Some(AlarmKind::ConversationOver),
        code => TROUBLES
            .get(usize::from(code))
            .map(|known| AlarmKind::Relay(*known)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(conversation: u32, at_ms: u64) -> Kept {
        Kept {
            relay: IdentityHash([1; 32]),
            conversation,
            kind: code(AlarmKind::Relay(RelayTrouble::KeyChain)),
            at_ms,
            told: Flag(false),
        }
    }

    #[test]
    fn every_kind_has_its_number() {
        let all = TROUBLES.iter().map(|known| AlarmKind::Relay(*known));
        for known in all.chain([AlarmKind::ConversationOver]) {
            assert_eq!(kind(code(known)), Some(known));
        }
        assert_eq!(kind(77), None);
    }

    // [SPEC 10.43]
    #[test]
    fn what_goes_on_is_told_once_a_day_and_the_oldest_goes() {
        let mut alarms = Alarms::default();
        alarms.raise(kept(1, 1));
        alarms.raise(kept(1, 2));
        assert_eq!(alarms.kept.len(), 1);
        assert!(alarms.unsaved().is_some() && alarms.unsaved().is_none());
        alarms.told();
        alarms.raise(kept(1, DAY_MS));
        assert!(alarms.kept[0].told.0);
        alarms.raise(kept(1, DAY_MS + 1));
        assert!(!alarms.kept[0].told.0);
        alarms.told();
        alarms.raise(kept(2, 32 * DAY_MS));
        assert_eq!(alarms.kept.len(), 1, "the other one was told a month ago");
        for n in 0..100 {
            alarms.raise(kept(n + 3, 32 * DAY_MS));
        }
        assert_eq!(alarms.kept.len(), ALARMS_MAX);
        assert_eq!(alarms.kept.last().map(|kept| kept.conversation), Some(102));
    }
}
