//! The record of what is noted as bytes, and what areas and errands are made of.

use emptyroom_tpm::{Identity, Place};
use emptyroom_wire::address::{RelayAddress, parse_hosts};
use emptyroom_wire::relay_key::{Head, IdentityHash};
use emptyroom_wire::secret::Private;
use emptyroom_wire::share::ShareId;
use zeroize::Zeroizing;

use super::{At, Begin, Errands, Failed, Noted, NotedPlace, NotedShare, hosts_text};
use crate::shares::{RELAYS_MAX, USES};

impl Noted {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_list(&mut out, &self.places, |out, noted| {
            out.extend_from_slice(&noted.place.number().to_be_bytes());
            out.extend_from_slice(noted.reset.as_deref().unwrap_or(&[0; 32]));
        });
        put_list(&mut out, &self.shares, |out, noted| put_at(out, &noted.at));
        put_relays(&mut out, &self.relays);
        put_bytes(&mut out, &self.errands.encode());
        out.extend_from_slice(&self.refreshed_ms.to_be_bytes());
        for noted in &self.shares {
            out.extend_from_slice(&noted.noted_ms.to_be_bytes());
            out.extend_from_slice(&noted.answers);
            put_head(&mut out, &noted.at);
        }
        put_list(&mut out, self.chosen.as_slice(), |out, (id, relays)| {
            out.extend_from_slice(id.expose());
            put_relays(out, relays);
        });
        put_list(&mut out, self.failed.as_slice(), |out, failed| {
            out.extend_from_slice(&failed.since_ms.to_be_bytes());
            put_bytes(out, failed.error.as_bytes());
            put_bytes(out, failed.text.as_bytes());
        });
        put_list(&mut out, &self.wrong, |out, name| {
            put_bytes(out, name.as_bytes());
        });
        for noted in &self.places {
            out.extend_from_slice(&noted.tpm.unwrap_or([0; 34]));
        }
        for noted in &self.shares {
            out.extend_from_slice(&[noted.left, noted.needed]);
        }
        out.extend_from_slice(&self.errands_ms.to_be_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Noted> {
        let mut reader = Reader(bytes);
        let mut noted = Noted {
            places: reader.list(usize::MAX, |reader| {
                let (place, reset) = (reader.place()?, Zeroizing::new(reader.array::<32>()?));
                let is_known = *reset != [0; 32];
                Some(NotedPlace {
                    place,
                    reset: is_known.then_some(reset),
                    tpm: None,
                })
            })?,
            shares: reader.list(usize::MAX, |reader| {
                Some(NotedShare {
                    at: reader.at()?,
                    noted_ms: 0,
                    answers: Begin::default(),
                    left: USES,
                    needed: 0,
                })
            })?,
            relays: reader.relays()?,
            // What cannot be read cannot be ended, and must not stop the rest.
            errands: Errands::decode(reader.bytes()?).unwrap_or_default(),
            refreshed_ms: u64::from_be_bytes(reader.array()?),
            ..Noted::default()
        };
        // Of before there was more to note.
        if reader.0.is_empty() {
            return Some(noted);
        }
        // As far as it goes: places and shares are what counts.
        let _ = noted.decode_rest(&mut reader);
        Some(noted)
    }

    fn decode_rest(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        for noted in &mut self.shares {
            noted.noted_ms = u64::from_be_bytes(reader.array()?);
            noted.answers = reader.array()?;
            noted.at.head = reader.head()?;
        }
        let chosen = reader.list(1, |reader| {
            Some((ShareId::new(reader.array()?), reader.relays()?))
        })?;
        self.chosen = chosen.into_iter().next();
        let failed = reader.list(1, |reader| {
            Some(Failed {
                since_ms: u64::from_be_bytes(reader.array()?),
                error: reader.text()?,
                text: reader.text()?,
            })
        })?;
        self.failed = failed.into_iter().next();
        self.wrong = reader.list(RELAYS_MAX, Reader::text)?;
        for noted in &mut self.places {
            let tpm: Identity = reader.array()?;
            noted.tpm = (tpm != [0; 34]).then_some(tpm);
        }
        // Of before it was noted.
        if reader.0.len() < self.shares.len() * 2 {
            return Some(());
        }
        for noted in &mut self.shares {
            [noted.left, noted.needed] = reader.array()?;
        }
        if !reader.0.is_empty() {
            self.errands_ms = u64::from_be_bytes(reader.array()?);
        }
        Some(())
    }
}

pub(super) fn put_at(out: &mut Vec<u8>, at: &At) {
    put_bytes(out, hosts_text(&at.hosts).as_bytes());
    out.extend_from_slice(&at.relay.0);
    out.extend_from_slice(at.id.expose());
}

/// Number and hash of a head; a number of zero for none.
pub(super) fn put_head(out: &mut Vec<u8>, at: &At) {
    let (number, hash) = at
        .head
        .map_or((0, [0; 32]), |head| (head.number, head.hash.0));
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&hash);
}

pub(super) fn put_relays(out: &mut Vec<u8>, relays: &[RelayAddress]) {
    put_list(out, relays, |out, relay| {
        put_bytes(out, relay.with_code().as_bytes());
    });
}

/// Bytes with their length before them (2).
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(0);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes.get(..usize::from(len)).unwrap_or_default());
}

/// A list with its count before it (2).
pub(super) fn put_list<T>(out: &mut Vec<u8>, list: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    let count = u16::try_from(list.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&count.to_be_bytes());
    for item in list.iter().take(usize::from(count)) {
        put(out, item);
    }
}

/// What is left to be read.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::from(u16::from_be_bytes(self.array()?));
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(super) fn list<T>(
        &mut self,
        max: usize,
        read: impl Fn(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let count = usize::from(u16::from_be_bytes(self.array()?));
        if count > max {
            return None;
        }
        (0..count).map(|_| read(self)).collect()
    }

    pub(super) fn place(&mut self) -> Option<Place> {
        Place::from_number(u32::from_be_bytes(self.array()?))
    }

    pub(super) fn at(&mut self) -> Option<At> {
        let hosts = std::str::from_utf8(self.bytes()?).ok()?;
        let (first, others) = parse_hosts(hosts).ok()?;
        Some(At {
            hosts: [vec![first], others].concat(),
            relay: IdentityHash(self.array()?),
            id: ShareId::new(self.array()?),
            head: None,
        })
    }

    pub(super) fn at_with_head(&mut self) -> Option<At> {
        let at = self.at()?;
        let head = self.head()?;
        Some(At { head, ..at })
    }

    pub(super) fn head(&mut self) -> Option<Option<Head>> {
        let number = u64::from_be_bytes(self.array()?);
        let hash = Private(self.array()?);
        Some((number > 0).then_some(Head { number, hash }))
    }

    pub(super) fn relays(&mut self) -> Option<Vec<RelayAddress>> {
        self.list(RELAYS_MAX, |reader| {
            RelayAddress::parse(std::str::from_utf8(reader.bytes()?).ok()?).ok()
        })
    }

    pub(super) fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }
}
