//! What a client knows of a relay's chain of stream keys.
//!
//! It judges no time: a relay that was restored from an older copy goes on from there, with numbers
//! that are higher again because they follow its clock. Its records then do not link to the head seen
//! before. That is reported once and followed, since the relay may have good reasons; a number *below*
//! the highest one is refused, because it can only be an old key (whose private half may be known), unless it
//! is so little below that it can be in use on another node of the relay. That must then be in the same chain.

use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};

use super::{IdentityHash, KeyRecord};
use crate::codec::{self, DecodeFault, List};
use crate::limits::{CHAIN_AWAY_DAYS, CHAIN_CLAIMS_MAX, CHAIN_RECENT_MAX, KEY_BELOW_MAX_S};
use crate::sign::VerifyKey;
use crate::time::Day;

/// A place in a chain: number and hash of a record. Travels in messages between members, too.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, TlsSize, TlsSerialize, TlsDeserializeBytes,
)]
pub struct Head {
    /// The record's number.
    pub number: u64,
    /// [`KeyRecord::hash`].
    pub hash: crate::secret::Private<[u8; 32]>,
}

/// How a verified record stands to the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainStep {
    /// It is the head, or was and may still be in use.
    Same,
    /// There was no head before.
    First,
    /// It follows the head directly.
    Linked,
    /// Others may lie between: ask for `Request::KeyRecords(after)` and hand them to
    /// [`KeyChain::walk`], then this one.
    Ahead {
        /// The head's number.
        after: u64,
    },
    /// It has the head's number and another hash.
    Conflict,
    /// It is a little below the head, and not known: ask for `Request::KeyRecords(after)` and see whether they lead to the
    /// head ([`KeyChain::trail`]).
    Below {
        /// Its number.
        after: u64,
    },
}

/// The record's number is too far below the highest verified one: the relay offers an old key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyBelow;

/// The relay was restored from an older copy, or shows two faces. To be shown once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainFault {
    /// A record does not follow the head that was seen before.
    NotLinked {
        /// The record's number.
        number: u64,
    },
    /// Somebody else saw another record under this number.
    TwoHeads {
        /// The number.
        number: u64,
    },
}

/// The state to be kept for each relay; small, and written after each change.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct KeyChain {
    relay: IdentityHash,
    /// The day on which the head was last confirmed.
    seen_day: u32,
    /// Newest last; the last is the head.
    #[tls_codec(with = "List::<CHAIN_RECENT_MAX>")]
    recent: Vec<Head>,
    /// What peers saw and this client cannot compare yet; sorted.
    #[tls_codec(with = "List::<CHAIN_CLAIMS_MAX>")]
    claims: Vec<Head>,
    /// Claims up to this number were reported as wrong.
    reported: u64,
}

impl KeyChain {
    /// A chain of which nothing is known yet.
    #[must_use]
    pub fn new(relay: IdentityHash) -> Self {
        KeyChain {
            relay,
            seen_day: 0,
            recent: Vec::new(),
            claims: Vec::new(),
            reported: 0,
        }
    }

    /// A chain of which nothing is known but its head: for whoever only has to refuse older keys.
    #[must_use]
    pub fn at(relay: IdentityHash, head: Option<Head>) -> Self {
        KeyChain {
            recent: head.into_iter().collect(),
            ..KeyChain::new(relay)
        }
    }

    /// The relay whose chain this is.
    #[must_use]
    pub fn relay(&self) -> IdentityHash {
        self.relay
    }

    /// The highest record verified.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        self.recent.last().copied()
    }

    /// How a record that the relay offers stands to the head; changes nothing. The signature must
    /// have been verified.
    ///
    /// # Errors
    /// [`KeyBelow`] if it must not be used.
    pub fn step(&self, record: &KeyRecord) -> Result<ChainStep, KeyBelow> {
        let Some(head) = self.head() else {
            return Ok(ChainStep::First);
        };
        if record.number < head.number {
            return self.step_below(record, head);
        }
        if record.number == head.number {
            let same = record.hash(&self.relay) == head.hash.0;
            return Ok(if same {
                ChainStep::Same
            } else {
                ChainStep::Conflict
            });
        }
        let linked = record.previous == head.hash.0;
        Ok(if linked {
            ChainStep::Linked
        } else {
            ChainStep::Ahead { after: head.number }
        })
    }

    /// Whether a record below the head may be in use on another node.
    fn step_below(&self, record: &KeyRecord, head: Head) -> Result<ChainStep, KeyBelow> {
        // [SPEC 5.6] [SPEC 5.21]
        if head.number - record.number > KEY_BELOW_MAX_S {
            return Err(KeyBelow);
        }
        let known = Head::of(record, &self.relay);
        if self.recent.contains(&known) {
            return Ok(ChainStep::Same);
        }
        Ok(ChainStep::Below {
            after: record.number,
        })
    }

    /// What must lead from a record below the head to the head.
    #[must_use]
    pub fn trail(&self, from: &KeyRecord) -> Option<Trail> {
        Some(Trail {
            relay: self.relay,
            last: from.hash(&self.relay),
            head: self.head()?,
        })
    }

    /// Follows records as the relay serves them, oldest first, each becoming the head. Records that
    /// are not above the head, or not signed, are passed over.
    ///
    /// Gives what must be shown. A client that was away for 29 days or more may find that the relay
    /// does not serve the next record any more; the first step is then not reported.
    pub fn walk(
        &mut self,
        identity: &VerifyKey,
        records: &[KeyRecord],
        today: Day,
    ) -> Vec<ChainFault> {
        let mut faults = Vec::new();
        let mut away = today.0 >= self.seen_day.saturating_add(CHAIN_AWAY_DAYS);
        for record in records {
            if record.verify(identity).is_err() {
                continue;
            }
            match self.step(record) {
                Ok(ChainStep::Same) => {}
                // Comes before the head, and is [`Trail`]'s to judge.
                Ok(ChainStep::Below { .. }) => continue,
                Ok(ChainStep::First | ChainStep::Linked) => self.take(record, &mut faults),
                Ok(ChainStep::Ahead { .. } | ChainStep::Conflict) => {
                    // [SPEC 5.7]
                    if !away {
                        faults.push(ChainFault::NotLinked {
                            number: record.number,
                        });
                    }
                    self.take(record, &mut faults);
                }
                Err(KeyBelow) => continue,
            }
            away = false;
            self.seen_day = today.0;
        }
        faults
    }

    /// Compares the head that a peer's message carries for the same relay; what cannot be compared
    /// yet is kept.
    pub fn claim(&mut self, claim: Head) -> Option<ChainFault> {
        // [SPEC 5.8]
        if let Some(own) = self.recent.iter().find(|own| own.number == claim.number) {
            let number = own.number;
            return (own.hash != claim.hash)
                .then_some(())
                .and_then(|()| self.report(number));
        }
        let newest = self.head().is_none_or(|head| claim.number > head.number);
        if newest && !self.claims.contains(&claim) {
            self.claims.push(claim);
            self.claims.sort_unstable();
            if self.claims.len() > CHAIN_CLAIMS_MAX {
                self.claims.pop();
            }
        }
        None
    }

    /// The bytes for the vault.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self).expect("both lists are kept within their limits")
    }

    /// The state out of the vault.
    ///
    /// # Errors
    /// A [`DecodeFault`] if the bytes are none.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeFault> {
        codec::decode(bytes)
    }

    /// Makes a record the head and compares what peers said of it and of those passed over.
    fn take(&mut self, record: &KeyRecord, faults: &mut Vec<ChainFault>) {
        let head = Head::of(record, &self.relay);
        self.recent.retain(|own| own.number < head.number);
        self.recent.push(head);
        if self.recent.len() > CHAIN_RECENT_MAX {
            self.recent.remove(0);
        }
        let due: Vec<Head> = self
            .claims
            .iter()
            .filter(|claim| claim.number <= head.number)
            .copied()
            .collect();
        self.claims.retain(|claim| claim.number > head.number);
        for claim in due {
            if claim != head {
                faults.extend(self.report(claim.number));
            }
        }
    }

    fn report(&mut self, number: u64) -> Option<ChainFault> {
        if number <= self.reported {
            return None;
        }
        self.reported = number;
        Some(ChainFault::TwoHeads { number })
    }
}

impl Head {
    /// The place of this record of a relay.
    #[must_use]
    pub fn of(record: &KeyRecord, relay: &IdentityHash) -> Self {
        Head {
            number: record.number,
            hash: crate::secret::Private(record.hash(relay)),
        }
    }
}

/// The records between one below the head and the head, as they come.
pub struct Trail {
    relay: IdentityHash,
    last: [u8; 32],
    head: Head,
}

impl Trail {
    /// Whether the head has been reached, in which case all is well; none as long as that is open. Records are to be handed in as
    /// the relay serves them, oldest first.
    ///
    /// # Errors
    /// They lead elsewhere.
    pub fn follow(
        &mut self,
        identity: &VerifyKey,
        records: &[KeyRecord],
    ) -> Result<bool, ChainFault> {
        // [SPEC 5.21]
        for record in records {
            let number = record.number;
            let astray = Err(ChainFault::NotLinked { number });
            if record.verify(identity).is_err() || record.previous != self.last {
                return astray;
            }
            let reached = Head::of(record, &self.relay);
            if reached == self.head {
                return Ok(true);
            }
            if number >= self.head.number {
                return astray;
            }
            self.last = reached.hash.0;
        }
        Ok(false)
    }

    /// What it is when no more records come before the head was reached.
    #[must_use]
    pub fn cut_short(&self) -> ChainFault {
        ChainFault::NotLinked {
            number: self.head.number,
        }
    }
}

impl core::fmt::Display for KeyBelow {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the relay offers an older stream key than it did before")
    }
}

impl std::error::Error for KeyBelow {}

impl core::fmt::Display for ChainFault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            ChainFault::NotLinked { .. } => {
                "the relay's stream keys do not follow those seen before"
            }
            ChainFault::TwoHeads { .. } => "the relay shows somebody else other stream keys",
        })
    }
}
