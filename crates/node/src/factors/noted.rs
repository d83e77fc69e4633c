//! What is kept of factors: in the header's area what a locked device needs, in a record what only the open vault may know,
//! and in an empty vault's errands what is still to be destroyed.
//!
//! A place in the TPM and a share at a relay are noted before anything is made there, and stay noted until it is known that
//! nothing is there.

use emptyroom_tpm::{Enrolment, Place, ResetSecret};
use emptyroom_vault::{Change, Vault, WriteError};
use emptyroom_wire::address::{Host, RelayAddress, parse_hosts};
use emptyroom_wire::relay_key::IdentityHash;
use emptyroom_wire::share::ShareId;
use emptyroom_wire::sign::Signature;
use zeroize::Zeroizing;

use crate::api::Failure;
use crate::engine::own::read_failure;
use crate::shares::{RELAYS_MAX, SLOTS, unlock};

/// The record's name.
const NAME: &[u8] = b"nf";

/// The longest hosts of a relay, so that what five of them need has its place beside an enrolment.
pub(super) const HOSTS_LEN_MAX: usize = 150;

/// A share at a relay.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct At {
    pub(super) hosts: Vec<Host>,
    pub(super) relay: IdentityHash,
    pub(super) id: ShareId,
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
}

/// A place in the TPM that may be used, and what sets its tries back, once it was enrolled.
#[derive(Clone)]
pub(super) struct NotedPlace {
    pub(super) place: Place,
    pub(super) reset: Option<Zeroizing<[u8; 32]>>,
}

/// What the open vault knows of its factors.
#[derive(Clone, Default)]
pub(super) struct Noted {
    pub(super) places: Vec<NotedPlace>,
    pub(super) shares: Vec<At>,
    /// The relays that were chosen, with their access codes.
    pub(super) relays: Vec<RelayAddress>,
    /// Errands that could not be done before the mode was changed.
    pub(super) errands: Errands,
    /// When the factors were made anew.
    pub(super) refreshed_ms: u64,
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
        put_list(&mut out, &self.shares, put_at);
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
        let shares = reader.list(RELAYS_MAX, Reader::at)?;
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
}

/// What an open vault's header names.
pub(super) fn area_of(vault: &Vault) -> Area {
    let has_factors = vault.mode().asks_tpm() || vault.mode().asks_relays();
    let area = has_factors.then(|| Area::decode(vault.area()));
    area.flatten().unwrap_or_default()
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
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty() && self.deletes.is_empty()
    }
}

impl Noted {
    /// Whether something is, or may be, elsewhere.
    pub(super) fn has_something(&self) -> bool {
        !self.places.is_empty() || !self.shares.is_empty() || !self.errands.is_empty()
    }

    /// What is to be destroyed and was not, in words. Not what a vault left that a panic PIN ended: nobody shall see that there
    /// was one.
    // [SPEC 12.42]
    pub(super) fn left(&self, used: &Area) -> Vec<String> {
        let places = self.places.iter().map(|entry| entry.place);
        let places = places.filter(|place| Some(*place) != used.place());
        let in_tpm = places.map(|place| in_words(&place));
        let shares = self.shares.iter().filter(|at| !used.shares.contains(at));
        let at_relays = shares.map(|at| format!("a share at {}", hosts_text(&at.hosts)));
        in_tpm.chain(at_relays).collect()
    }

    pub(super) fn read(vault: &Vault) -> Result<Noted, Failure> {
        let record = vault.get(NAME).map_err(read_failure)?;
        let read = record.map(|record| Noted::decode(&record));
        match read {
            None => Ok(Noted::default()),
            Some(Some(noted)) => Ok(noted),
            Some(None) => Err(Failure::fault(
                "what the vault notes of its factors is damaged",
            )),
        }
    }

    /// Makes the record hold this; none where there is nothing.
    pub(super) fn write(&self, vault: &mut Vault) -> Result<(), WriteError> {
        let is_empty = !self.has_something() && self.relays.is_empty();
        if is_empty && matches!(vault.get(NAME), Ok(None)) {
            return Ok(());
        }
        vault.apply(vec![Change {
            key: NAME.to_vec(),
            value: (!is_empty).then(|| self.encode()),
        }])
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_list(&mut out, &self.places, |out, noted| {
            out.extend_from_slice(&noted.place.number().to_be_bytes());
            out.extend_from_slice(noted.reset.as_deref().unwrap_or(&[0; 32]));
        });
        put_list(&mut out, &self.shares, put_at);
        put_list(&mut out, &self.relays, |out, relay| {
            put_bytes(out, relay.with_code().as_bytes());
        });
        put_bytes(&mut out, &self.errands.encode());
        out.extend_from_slice(&self.refreshed_ms.to_be_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Noted> {
        let mut reader = Reader(bytes);
        Some(Noted {
            places: reader.list(usize::MAX, |reader| {
                let (place, reset) = (reader.place()?, Zeroizing::new(reader.array::<32>()?));
                let is_known = *reset != [0; 32];
                Some(NotedPlace {
                    place,
                    reset: is_known.then_some(reset),
                })
            })?,
            shares: reader.list(usize::MAX, Reader::at)?,
            relays: reader.list(RELAYS_MAX, |reader| {
                RelayAddress::parse(std::str::from_utf8(reader.bytes()?).ok()?).ok()
            })?,
            errands: Errands::decode(reader.bytes()?)?,
            refreshed_ms: u64::from_be_bytes(reader.array()?),
        })
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

fn put_at(out: &mut Vec<u8>, at: &At) {
    put_bytes(out, hosts_text(&at.hosts).as_bytes());
    out.extend_from_slice(&at.relay.0);
    out.extend_from_slice(at.id.expose());
}

/// Bytes with their length before them (2).
fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(0);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes.get(..usize::from(len)).unwrap_or_default());
}

/// A list with its count before it (2).
fn put_list<T>(out: &mut Vec<u8>, list: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    let count = u16::try_from(list.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&count.to_be_bytes());
    for item in list.iter().take(usize::from(count)) {
        put(out, item);
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::from(u16::from_be_bytes(self.array()?));
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    fn list<T>(&mut self, max: usize, read: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = usize::from(u16::from_be_bytes(self.array()?));
        if count > max {
            return None;
        }
        (0..count).map(|_| read(self)).collect()
    }

    fn place(&mut self) -> Option<Place> {
        Place::from_number(u32::from_be_bytes(self.array()?))
    }

    fn at(&mut self) -> Option<At> {
        let hosts = std::str::from_utf8(self.bytes()?).ok()?;
        let (first, others) = parse_hosts(hosts).ok()?;
        Some(At {
            hosts: [vec![first], others].concat(),
            relay: IdentityHash(self.array()?),
            id: ShareId::new(self.array()?),
        })
    }
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
