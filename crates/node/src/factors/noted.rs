//! What is kept of factors: in the header's area what a locked device needs, in a record what only the open vault may know,
//! and in an empty vault's errands what is still to be destroyed.
//!
//! A place in the TPM and a share at a relay are noted before anything is made there, and stay noted until it is known that
//! nothing is there.

use emptyroom_tpm::{Enrolment, Identity, Place, ResetSecret};
use emptyroom_vault::{Change, Vault, WriteError};
use emptyroom_wire::address::{Host, RelayAddress};
use emptyroom_wire::relay_key::{Head, IdentityHash};
use emptyroom_wire::share::ShareId;
use emptyroom_wire::sign::Signature;
use emptyroom_wire::time::DAY_MS;
use zeroize::Zeroizing;

use super::chip::Of;
use crate::api::Failure;
use crate::clock;
use crate::engine::own::read_failure;
use crate::shares::{RELAYS_MAX, SLOTS, USES, unlock};
use bytes::{Reader, put_at, put_bytes, put_head, put_list};
pub(super) use pause::Pause;

mod bytes;
mod pause;

/// The record's name.
const NAME: &[u8] = b"nf";

/// So many shares are noted at most, so that the record has its place: more are only where relays take shares and delete none.
pub(super) const NOTED_SHARES_MAX: usize = 600;

/// So many errands of a kind are noted at most, for the same reason: more are only where there were many drills and nobody was there.
// [SPEC 11.121]
pub(super) const NOTED_ERRANDS_MAX: usize = 200;

/// The longest hosts of a relay, so that what five of them need has its place beside an enrolment.
pub(super) const HOSTS_LEN_MAX: usize = 110;

/// A share at a relay.
#[derive(Clone)]
pub(super) struct At {
    pub(super) hosts: Vec<Host>,
    pub(super) relay: IdentityHash,
    pub(super) id: ShareId,
    /// Where the relay's chain of keys was when the share was put: older keys are refused.
    pub(super) head: Option<Head>,
}

impl PartialEq for At {
    /// It is the same share whatever is known of its relay's keys.
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.relay == other.relay && self.hosts == other.hosts
    }
}

impl Eq for At {}

/// A share that may be at a relay.
#[derive(Clone)]
pub(super) struct NotedShare {
    pub(super) at: At,
    /// When it was noted: it ends by itself.
    pub(super) noted_ms: u64,
    /// How the relay's answer to the PIN begins, so that a wrong one shows.
    pub(super) answers: Begin,
    /// How many more answers it gives, as far as is known.
    pub(super) left: u8,
    /// How many of those that were noted with it open a copy of the disk; 0 until a header named it. With [`TPM_TOO`] where a key in
    /// the TPM is needed besides.
    pub(super) needed: u8,
}

/// The bit of a number needed that says so.
pub(super) const TPM_TOO: u8 = 0x80;

/// How an answer of a relay's function begins.
pub(super) type Begin = [u8; 16];

/// Why the factors were not made anew, and since when.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) since_ms: u64,
    pub(super) error: String,
    pub(super) text: String,
}

/// The order to delete one.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Delete {
    pub(super) at: At,
    pub(super) signature: Signature,
}

/// What stands in the header in clear: whom to ask.
#[derive(Clone, Default)]
pub(super) struct Area {
    pub(super) enrolment: Option<Enrolment>,
    pub(super) needed: usize,
    pub(super) shares: Vec<At>,
    /// Slot by slot, one value for each share.
    pub(super) masked: [Vec<[u8; 32]>; SLOTS],
}

/// What an empty vault remembers of the one that was in its place.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Errands {
    pub(super) places: Vec<Place>,
    pub(super) deletes: Vec<Delete>,
    pub(super) pause: Pause,
}

/// A place in the TPM that may be used, and what sets its tries back, once it was enrolled.
#[derive(Clone)]
pub(super) struct NotedPlace {
    pub(super) place: Place,
    pub(super) reset: Option<Zeroizing<[u8; 32]>>,
    /// The TPM that it is one of, where that is known.
    pub(super) tpm: Option<Identity>,
}

/// What the open vault knows of its factors.
#[derive(Clone, Default)]
pub(super) struct Noted {
    pub(super) places: Vec<NotedPlace>,
    pub(super) shares: Vec<NotedShare>,
    /// The relays that were chosen, with their access codes.
    pub(super) relays: Vec<RelayAddress>,
    /// Errands that could not be done before the mode was changed.
    pub(super) errands: Errands,
    /// When some were added last.
    pub(super) errands_ms: u64,
    /// When the factors were made anew.
    pub(super) refreshed_ms: u64,
    /// Relays that are chosen as soon as the header names this share, which is put at one of them.
    pub(super) chosen: Option<(ShareId, Vec<RelayAddress>)>,
    /// Why the factors were not made anew.
    pub(super) failed: Option<Failed>,
    /// Relays that answered wrongly at the last opening.
    pub(super) wrong: Vec<String>,
}

/// How long a share stays after it was put or renewed, where no dead-man time says otherwise.
// [SPEC 11.54]
pub(super) const LEASE_DAYS: u16 = 400;

/// After so long nothing is left of a share, also where the clock was a year behind when it was noted: twice the longest lease.
// [SPEC 11.121]
const FORGOTTEN_DAYS: u64 = 800;

/// 2026 began: a clock that said less when something was noted was not set yet.
const NOTED_MS_MIN: u64 = 1_767_225_600_000;

/// Whether a relay has a share no more that was noted then, whatever became of it; not where either time is not known.
fn is_over(noted_ms: u64, certain_ms: Option<u64>) -> bool {
    let over_ms = noted_ms.saturating_add(FORGOTTEN_DAYS * DAY_MS);
    noted_ms >= NOTED_MS_MIN && certain_ms.is_some_and(|now_ms| now_ms > over_ms)
}

impl NotedPlace {
    pub(super) fn reset_secret(&self) -> Option<ResetSecret> {
        self.reset.as_deref().map(ResetSecret::new)
    }
}

impl Area {
    // [SPEC 11.46]
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(
            &mut out,
            &self
                .enrolment
                .as_ref()
                .map_or_else(Vec::new, Enrolment::encode),
        );
        out.push(u8::try_from(self.needed).unwrap_or(0));
        put_list(&mut out, &self.shares, |out, at| {
            put_at(out, at);
            put_head(out, at);
        });
        for value in self.masked.iter().flatten() {
            out.extend_from_slice(value);
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Area> {
        let mut reader = Reader(bytes);
        let enrolment = match reader.bytes()? {
            [] => None,
            bytes => Some(Enrolment::decode(bytes).ok()?),
        };
        let needed = usize::from(reader.byte()?);
        let shares = reader.list(RELAYS_MAX, Reader::at_with_head)?;
        let mut masked: [Vec<[u8; 32]>; SLOTS] = Default::default();
        for slot in &mut masked {
            for _ in &shares {
                slot.push(reader.array()?);
            }
        }
        Some(Area {
            enrolment,
            needed,
            shares,
            masked,
        })
    }

    pub(super) fn to_ask(&self) -> Option<unlock::Area> {
        let ids = self.shares.iter().map(|at| at.id.clone()).collect();
        unlock::Area::new(self.needed, ids, self.masked.clone())
    }

    pub(super) fn place(&self) -> Option<Place> {
        self.enrolment.as_ref().map(Enrolment::place)
    }

    /// The same, with the TPM that it is one of.
    pub(super) fn place_of(&self) -> Option<Of> {
        let enrolment = self.enrolment.as_ref()?;
        Some((enrolment.place(), Some(enrolment.identity())))
    }

    /// What is left of its shares when these are gone, in words, where it is enough to open a copy of the disk.
    pub(super) fn left(&self, gone: &[ShareId]) -> Option<String> {
        let there = self.shares.iter().filter(|at| !gone.contains(&at.id));
        let there: Vec<String> = there.map(|at| hosts_text(&at.hosts)).collect();
        let opens = !self.shares.is_empty() && there.len() >= self.needed;
        opens.then(|| format!("its shares at the relays {}", there.join(", ")))
    }

    /// Whether this share opens the vault.
    pub(super) fn names(&self, id: &ShareId) -> bool {
        self.shares.iter().any(|at| at.id == *id)
    }
}

/// What an open vault's header names, for whoever destroys the rest.
///
/// # Errors
/// It is damaged: then nothing is known to be the rest.
pub(super) fn area_known(vault: &Vault) -> Result<Area, Failure> {
    let has_factors = vault.mode().asks_tpm() || vault.mode().asks_relays();
    let area = if has_factors {
        Area::decode(vault.area())
    } else {
        Some(Area::default())
    };
    area.ok_or_else(super::damaged)
}

/// What an open vault's header names; nothing where it is damaged.
pub(super) fn area_of(vault: &Vault) -> Area {
    area_known(vault).unwrap_or_default()
}

impl Errands {
    // [SPEC 11.57]
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_list(&mut out, &self.places, |out, place| {
            out.extend_from_slice(&place.number().to_be_bytes());
        });
        put_list(&mut out, &self.deletes, |out, delete| {
            put_at(out, &delete.at);
            out.extend_from_slice(&delete.signature.0);
        });
        self.pause.put(&mut out);
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Errands> {
        let mut reader = Reader(bytes);
        Some(Errands {
            places: reader.list(usize::MAX, Reader::place)?,
            deletes: reader.list(usize::MAX, |reader| {
                Some(Delete {
                    at: reader.at()?,
                    signature: Signature(reader.array()?),
                })
            })?,
            pause: Pause::read(&mut reader),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty() && self.deletes.is_empty()
    }

    /// Takes away those that are done.
    pub(super) fn strike(&mut self, done: &Errands) {
        self.places.retain(|place| !done.places.contains(place));
        self.deletes.retain(|delete| !done.deletes.contains(delete));
    }

    /// The same, after its orders were tried then, if they were.
    // [SPEC 11.122]
    pub(super) fn tried(&mut self, done: &Errands, tried_ms: Option<u64>) {
        self.strike(done);
        match tried_ms {
            _ if self.deletes.is_empty() || !done.deletes.is_empty() => {
                self.pause = Pause::default();
            }
            Some(tried_ms) => self.pause.in_vain(tried_ms),
            None => {}
        }
    }
}

/// Adds those that are not there; of more than [`NOTED_ERRANDS_MAX`] the oldest go. Says whether there were some.
fn add<T: PartialEq>(list: &mut Vec<T>, others: Vec<T>) -> bool {
    let before = list.len();
    for other in others {
        if !list.contains(&other) {
            list.push(other);
        }
    }
    let is_changed = list.len() > before;
    list.drain(..list.len().saturating_sub(NOTED_ERRANDS_MAX));
    is_changed
}

impl Noted {
    /// Whether something is, or may be, elsewhere.
    pub(super) fn has_something(&self) -> bool {
        !self.places.is_empty() || !self.shares.is_empty() || !self.errands.is_empty()
    }

    /// Notes errands; says whether some are new.
    pub(super) fn add_errands(&mut self, errands: Errands) -> bool {
        let places = add(&mut self.errands.places, errands.places);
        let is_changed = add(&mut self.errands.deletes, errands.deletes) || places;
        if is_changed {
            self.errands_ms = clock::now().wall.0;
            // [SPEC 11.122]
            self.errands.pause = Pause::default();
        }
        is_changed
    }

    /// Whether no relay has any more what the errands are to delete, by a clock that is right.
    pub(super) fn are_errands_over(&self, certain_ms: Option<u64>) -> bool {
        is_over(self.errands_ms, certain_ms)
    }

    /// The shares that no relay has any more, by a clock that is right.
    pub(super) fn over(&self, certain_ms: Option<u64>) -> Vec<ShareId> {
        let shares = self.shares.iter();
        let over = shares.filter(|share| is_over(share.noted_ms, certain_ms));
        over.map(|share| share.at.id.clone()).collect()
    }

    /// What is to be destroyed and was not, in words. Not what a vault left that a panic PIN ended: nobody shall see that there
    /// was one.
    // [SPEC 12.42]
    pub(super) fn left(&self, used: &Area) -> Vec<String> {
        let places = self.places.iter().map(|entry| entry.place);
        let places = places.filter(|place| Some(*place) != used.place());
        let in_tpm = places.map(|place| in_words(&place));
        let shares = self.unused(used);
        let at_relays = shares.map(|at| format!("a share at {}", hosts_text(&at.hosts)));
        in_tpm.chain(at_relays).collect()
    }

    /// The shares that the header does not name.
    pub(super) fn unused(&self, used: &Area) -> impl Iterator<Item = &At> {
        let shares = self.shares.iter().map(|noted| &noted.at);
        shares.filter(|at| !used.names(&at.id))
    }

    /// How many more attempts the relays of a header allow, as far as is known.
    pub(super) fn attempts(&self, area: &Area) -> u32 {
        let named = self.shares.iter().filter(|share| area.names(&share.at.id));
        let mut left: Vec<u8> = named.map(|share| share.left).collect();
        left.sort_unstable_by(|a, b| b.cmp(a));
        let least = left.get(area.needed.saturating_sub(1));
        u32::from(least.copied().unwrap_or(USES))
    }

    /// Whether a key in the TPM is noted that the header does not name.
    pub(super) fn is_left_in_tpm(&self, used: &Area) -> bool {
        let mut places = self.places.iter();
        places.any(|entry| Some(entry.place) != used.place())
    }

    /// The relays that still have enough shares of a header before this one for a copy of the disk to open: those of one refresh were noted
    /// together. Where a key in the TPM is needed besides, only if one is left.
    // [SPEC 11.53]
    pub(super) fn old_shares(&self, used: &Area, is_left_in_tpm: bool) -> Vec<String> {
        let is_used = |share: &NotedShare| used.names(&share.at.id);
        let old = self.shares.iter().filter(|share| !is_used(share));
        let together = |share: &NotedShare| {
            let same = |other: &&NotedShare| other.noted_ms == share.noted_ms && !is_used(other);
            self.shares.iter().filter(same).count()
        };
        let opens = |share: &NotedShare| {
            let (needed, tpm_too) = (share.needed & !TPM_TOO, share.needed & TPM_TOO != 0);
            needed > 0 && together(share) >= usize::from(needed) && (is_left_in_tpm || !tpm_too)
        };
        let old = old.filter(|share| opens(share));
        let mut names: Vec<String> = old.map(|share| hosts_text(&share.at.hosts)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The relays that were chosen, by what the header names.
    pub(super) fn relays_of(&self, area: &Area) -> &[RelayAddress] {
        match &self.chosen {
            Some((id, relays)) if area.names(id) => relays,
            _ => &self.relays,
        }
    }

    pub(super) fn read(vault: &Vault) -> Result<Noted, Failure> {
        let damaged = || {
            Failure::fault("what the vault notes of its factors is damaged").hint(
                "`emptyroom vault mode passphrase` makes that anew; choose the mode again then. Older shares and keys that it named are lost from sight: shares end with their time",
            )
        };
        let record = vault.get(NAME).map_err(read_failure)?;
        record.map_or_else(
            || Ok(Noted::default()),
            |record| Noted::decode(&record).ok_or_else(damaged),
        )
    }

    /// The same, for a change of what opens the vault: it must not hang on a record that is damaged. Of what that named only what the
    /// header names, too, is known: that is to be destroyed as soon as another header counts.
    // [SPEC 11.121]
    pub(super) fn read_or_new(vault: &Vault) -> Result<Noted, Failure> {
        let record = vault.get(NAME).map_err(read_failure)?;
        Ok(record.map_or_else(Noted::default, |record| {
            Noted::decode(&record).unwrap_or_else(|| Noted::of(&area_of(vault)))
        }))
    }

    /// What a header names.
    fn of(area: &Area) -> Noted {
        let places = area.place_of().into_iter();
        let tpm_too = area.enrolment.as_ref().map_or(0, |_| TPM_TOO);
        let (needed, now_ms) = (u8::try_from(area.needed), clock::now().wall.0);
        let share = |at: &At| NotedShare {
            at: at.clone(),
            noted_ms: now_ms,
            answers: Begin::default(),
            left: USES,
            needed: needed.unwrap_or(TPM_TOO - 1) | tpm_too,
        };
        Noted {
            places: places
                .map(|(place, tpm)| NotedPlace {
                    place,
                    reset: None,
                    tpm,
                })
                .collect(),
            shares: area.shares.iter().map(share).collect(),
            ..Noted::default()
        }
    }

    /// Makes the record hold this; none where there is nothing.
    pub(super) fn write(&self, vault: &mut Vault) -> Result<(), WriteError> {
        let is_empty = !self.has_something() && self.relays.is_empty() && self.failed.is_none();
        if is_empty && matches!(vault.get(NAME), Ok(None)) {
            return Ok(());
        }
        vault.apply(vec![Change {
            key: NAME.to_vec(),
            value: (!is_empty).then(|| self.encode()),
        }])
    }
}

/// A place as its owner finds it in the TPM.
pub(super) fn in_words(place: &Place) -> String {
    format!("index {:#010x} of the TPM", place.number())
}

/// The hosts of a relay, as they are written.
pub(super) fn hosts_text(hosts: &[Host]) -> String {
    let hosts: Vec<String> = hosts.iter().map(Host::to_string).collect();
    hosts.join(",")
}

/// An area, as a locked device reads it: any bytes.
pub(crate) fn fuzz_area(data: &[u8]) {
    if let Some(area) = Area::decode(data) {
        let encoded = area.encode();
        let again = Area::decode(&encoded).map(|area| area.encode());
        assert!(
            again.is_some_and(|again| again == encoded),
            "what is read can be written"
        );
        let _ = area.to_ask();
    }
}
