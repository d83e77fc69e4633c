//! What lies outside of the vault, for whoever has no secret: one part for each thing that goes on while it is locked.
//!
//! A part is its kind (1 byte), its length (2) and its bytes; kinds rise. Who calls this holds the directory's lock, but for
//! reading what is only shown.

use std::io;
use std::path::Path;
use std::time::SystemTime;

use emptyroom_vault::{Directory, outside};
use emptyroom_wire::codec;
use emptyroom_wire::kill::{Left, Watched};
use emptyroom_wire::wipe::{OrderHash, WipeOrder};

use crate::deadman::Deadline;

const KIND_DEADLINE: u8 = 1;
const KIND_SWITCH: u8 = 2;
const KIND_HEARD: u8 = 3;
const KIND_ORDERED: u8 = 4;
const KIND_UNTOLD: u8 = 5;
const KIND_TROUBLE: u8 = 6;
const KIND_LEFT: u8 = 7;

/// The kinds of what belongs to the dead-man time.
pub(crate) const OF_DEADLINE: &[u8] = &[KIND_DEADLINE];
/// The kinds of what belongs to the switch.
pub(crate) const OF_SWITCH: &[u8] = &[
    KIND_SWITCH,
    KIND_HEARD,
    KIND_ORDERED,
    KIND_UNTOLD,
    KIND_TROUBLE,
    KIND_LEFT,
];

/// What keeps a switch from being relied on: since when, in unix milliseconds, and 0 where it does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// Its relay does not have it.
    pub(crate) gone_ms: u64,
    /// Somebody fills it.
    pub(crate) filled_ms: u64,
}

/// What lies outside of a vault.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Outside {
    pub(crate) deadline: Option<Deadline>,
    pub(crate) switch: Option<Watched>,
    /// When the switch's relay was heard last (unix milliseconds).
    pub(crate) heard_ms: Option<u64>,
    pub(crate) trouble: Trouble,
    /// An order of the switch that is being carried out, with its signatures.
    pub(crate) ordered: Option<WipeOrder>,
    /// One that was carried out, and is to be told. It destroys nothing any more.
    pub(crate) untold: Option<OrderHash>,
    /// What is left elsewhere of the vault that one of these destroys, or has destroyed, as far as that is known.
    pub(crate) left: Option<Left>,
    /// Parts that this version does not know or cannot understand. They are as if they were not there, and stay as they are.
    others: Vec<(u8, Vec<u8>)>,
}

/// What tells whether it is the same file as before.
pub(crate) type Stamp = (SystemTime, u64);

/// Nothing where there is no such file.
pub(crate) fn stamp(home: &Path) -> Option<Stamp> {
    let found = std::fs::metadata(home.join(outside::NAME)).ok()?;
    Some((found.modified().ok()?, found.len()))
}

impl Outside {
    /// What lies in a vault's directory; nothing where there is no such file.
    ///
    /// # Errors
    /// `InvalidData` where it is there and cannot be understood, else faults of the disk.
    pub(crate) fn read(directory: &dyn Directory) -> io::Result<Option<Self>> {
        let Some(content) = outside::read(directory)? else {
            return Ok(None);
        };
        let outside = Self::decode(&content).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Some(outside))
    }

    /// Changes a part of it. Where nothing is left there is no such file.
    ///
    /// # Errors
    /// Faults of the disk.
    pub(crate) fn change(
        directory: &dyn Directory,
        change: impl FnOnce(&mut Self),
    ) -> io::Result<()> {
        // What cannot be understood is replaced: the vault has its own record of what it put there.
        let mut outside = match Self::read(directory) {
            Err(e) if e.kind() != io::ErrorKind::InvalidData => return Err(e),
            found => found.ok().flatten().unwrap_or_default(),
        };
        change(&mut outside);
        if outside == Self::default() {
            return outside::remove(directory);
        }
        let mut content = outside.encode();
        // [SPEC 11.60] What nobody knows takes no place from what is known.
        if content.len() > outside::CONTENT_LEN_MAX {
            outside.others.clear();
            content = outside.encode();
        }
        outside::write(directory, &content)
    }

    // [SPEC 11.60]
    pub(crate) fn encode(&self) -> Vec<u8> {
        let switch = self.switch.as_ref().and_then(|part| part.encode().ok());
        let ordered = self
            .ordered
            .as_ref()
            .and_then(|part| codec::encode(part).ok());
        let parts = [
            (KIND_DEADLINE, self.deadline.map(|part| part.encode())),
            (KIND_SWITCH, switch),
            (KIND_HEARD, self.heard_ms.map(|ms| ms.to_be_bytes().into())),
            (KIND_ORDERED, ordered),
            (KIND_UNTOLD, self.untold.map(|order| order.0.into())),
            (KIND_TROUBLE, self.trouble.encode()),
            (KIND_LEFT, self.left.map(|left| vec![left.0])),
        ];
        let known = parts
            .into_iter()
            .filter_map(|(kind, part)| Some((kind, part?)));
        let mut parts: Vec<_> = known.collect();
        // What is set takes the place of what was not understood.
        for (kind, part) in &self.others {
            if parts.iter().all(|(known, _)| known != kind) {
                parts.push((*kind, part.clone()));
            }
        }
        parts.sort_unstable_by_key(|(kind, _)| *kind);
        let mut content = Vec::new();
        for (kind, part) in parts {
            let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
            content.push(kind);
            content.extend_from_slice(&length.to_be_bytes());
            content.extend_from_slice(&part);
        }
        content
    }

    /// Each part by itself: one that is not understood takes no other with it.
    pub(crate) fn decode(mut content: &[u8]) -> Option<Self> {
        let mut outside = Self::default();
        let mut last = 0;
        while let Some((kind, rest)) = content.split_first() {
            let (length, rest) = rest.split_first_chunk()?;
            let (part, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
            if *kind <= last {
                return None;
            }
            last = *kind;
            if outside.take(*kind, part).is_none() {
                outside.others.push((*kind, part.to_vec()));
            }
            content = rest;
        }
        Some(outside)
    }

    fn take(&mut self, kind: u8, part: &[u8]) -> Option<()> {
        match kind {
            KIND_DEADLINE => self.deadline = Some(Deadline::decode(part)?),
            KIND_SWITCH => self.switch = Some(Watched::decode(part)?),
            KIND_HEARD => self.heard_ms = Some(u64::from_be_bytes(part.try_into().ok()?)),
            KIND_ORDERED => self.ordered = Some(codec::decode(part).ok()?),
            KIND_UNTOLD => self.untold = Some(OrderHash(part.try_into().ok()?)),
            KIND_TROUBLE => self.trouble = Trouble::decode(part.try_into().ok()?)?,
            KIND_LEFT => self.left = Some(Left(u8::from_be_bytes(part.try_into().ok()?))),
            _ => return None,
        }
        Some(())
    }

    /// Whether there is a part of these kinds that cannot be understood.
    pub(crate) fn is_odd(&self, kinds: &[u8]) -> bool {
        self.others.iter().any(|(kind, _)| kinds.contains(kind))
    }

    /// Leaves none of these kinds that cannot be understood. For whoever has the vault open, which knows what it put there.
    pub(crate) fn drop_odd(&mut self, kinds: &[u8]) {
        self.others.retain(|(kind, _)| !kinds.contains(kind));
    }
}

impl Trouble {
    // [SPEC 11.60]
    fn encode(self) -> Option<Vec<u8>> {
        let bytes = [self.gone_ms.to_be_bytes(), self.filled_ms.to_be_bytes()];
        (self != Self::default()).then(|| bytes.concat())
    }

    fn decode(bytes: &[u8; 16]) -> Option<Self> {
        let (gone, rest) = bytes.split_first_chunk()?;
        let trouble = Self {
            gone_ms: u64::from_be_bytes(*gone),
            filled_ms: u64::from_be_bytes(rest.try_into().ok()?),
        };
        (trouble != Self::default()).then_some(trouble)
    }
}

#[cfg(test)]
mod tests {
    use emptyroom_vault::os::OsDirectory;
    use emptyroom_wire::address::Host;
    use emptyroom_wire::kill::KillCode;
    use emptyroom_wire::relay_key::IdentityHash;

    use super::*;
    use crate::deadman::tests::{Machine, begun};
    use crate::switch::tests::order;

    fn part(kind: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        [&[kind], &length[..], bytes].concat()
    }

    /// As much of it as there is place for.
    // [SPEC 11.60]
    #[test]
    fn what_nobody_knows_takes_no_place_from_what_is_known() {
        let home = std::env::temp_dir().join(format!(
            "emptyroom-node-{}-outside-full",
            std::process::id()
        ));
        let directory = OsDirectory::create(&home).unwrap();
        let rest = vec![1; outside::CONTENT_LEN_MAX - 3];
        outside::write(&directory, &part(9, &rest)).unwrap();
        let heard = |outside: &mut Outside| outside.heard_ms = Some(7);
        Outside::change(&directory, heard).unwrap();
        let left = Outside::read(&directory).unwrap().unwrap();
        assert!(left.heard_ms == Some(7) && left.others.is_empty());
        std::fs::remove_dir_all(&home).unwrap();
    }

    // [SPEC 11.60]
    #[test]
    fn a_part_that_is_not_understood_takes_no_other_with_it() {
        let hosts = vec![Host::parse("relay.example:443").unwrap()];
        let code = KillCode::new([1; 16]);
        let outside = Outside {
            deadline: Some(begun(14, &Machine::new())),
            switch: Some(code.watched(hosts, IdentityHash([3; 32]))),
            heard_ms: Some(7),
            ordered: Some(order(&code)),
            trouble: Trouble {
                gone_ms: 0,
                filled_ms: 9,
            },
            untold: Some(OrderHash([5; 32])),
            left: Some(Left::TPM),
            ..Outside::default()
        };
        let whole = outside.encode();
        assert!(Outside::decode(&whole) == Some(outside.clone()));
        // By a later version: kept as it is.
        let more = [whole.clone(), part(9, b"later")].concat();
        let found = Outside::decode(&more).unwrap();
        assert!(found.deadline == outside.deadline && found.switch == outside.switch);
        assert!(!found.is_odd(OF_DEADLINE) && !found.is_odd(OF_SWITCH));
        assert_eq!(found.encode(), more);
        // A switch that is none, beside a deadline.
        let deadline = outside.deadline.unwrap().encode();
        let odd = [part(1, &deadline), part(2, b"none"), part(3, &[0; 8])].concat();
        let found = Outside::decode(&odd).unwrap();
        assert!(found.deadline == outside.deadline && found.switch.is_none());
        assert!(found.is_odd(OF_SWITCH) && found.heard_ms == Some(0));
        // Whoever knows less of it leaves it there, until there is another in its place.
        assert_eq!(found.encode(), odd);
        let mut set = found.clone();
        set.switch.clone_from(&outside.switch);
        let again = Outside::decode(&set.encode()).unwrap();
        assert!(again.switch == outside.switch && !again.is_odd(OF_SWITCH));
        let mut without = found;
        without.drop_odd(OF_SWITCH);
        let left = [part(1, &deadline), part(3, &[0; 8])].concat();
        assert_eq!(without.encode(), left);
        for broken in [
            &whole[..whole.len() - 1],
            &[part(2, b""), part(1, b"")].concat(),
        ] {
            assert!(Outside::decode(broken).is_none());
        }
    }
}
