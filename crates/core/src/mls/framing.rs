//! Reads of an MLS message what policy judges before any key is used: kind, epoch, sender, proposals, the new leaf.
//!
//! OpenMLS parses the same bytes again and verifies them. It hides some of these parts and reports private failures before
//! public ones; the verdict that all members must share is therefore made here and on its public errors only.

/// What an MLS message is, on its face.
pub(super) enum Face<'a> {
    /// A PrivateMessage with an application message in it.
    Application(Head<'a>),
    /// A PublicMessage with a commit in it.
    Commit(CommitFace<'a>),
    /// Anything else: proposals, welcomes, encrypted commits, key packages.
    Other,
}

/// What every framed message begins with.
pub(super) struct Head<'a> {
    pub(super) group_id: &'a [u8],
    pub(super) epoch: u64,
}

/// Who sends a commit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    Member(u32),
    Joiner,
    Other,
}

/// What a commit proposes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Proposals {
    None,
    ExternalInit,
    Other,
}

/// The public parts of a commit.
pub(super) struct CommitFace<'a> {
    pub(super) head: Head<'a>,
    pub(super) sender: Sender,
    pub(super) note: &'a [u8],
    pub(super) proposals: Proposals,
    /// The committer's new leaf, if there is a path.
    pub(super) leaf: Option<LeafFace<'a>>,
}

/// Of a leaf: its keys and what a Basic credential holds.
pub(super) struct LeafFace<'a> {
    pub(super) encryption_key: &'a [u8],
    pub(super) signature_key: &'a [u8],
    pub(super) certificate: Option<&'a [u8]>,
}

const MLS_10: u16 = 1;
const PUBLIC_MESSAGE: u16 = 1;
const PRIVATE_MESSAGE: u16 = 2;
const APPLICATION: u8 = 1;
const COMMIT: u8 = 3;
const SENDER_MEMBER: u8 = 1;
const SENDER_NEW_MEMBER_COMMIT: u8 = 4;
const PROPOSAL_BY_VALUE: u8 = 1;
const EXTERNAL_INIT: u16 = 6;
const BASIC: u16 = 1;

/// The face of a message; `None` if the bytes end too early or hold a length in another than its shortest form.
pub(super) fn face(bytes: &[u8]) -> Option<Face<'_>> {
    let mut input = Reader(bytes);
    if input.u16()? != MLS_10 {
        return Some(Face::Other);
    }
    match input.u16()? {
        PRIVATE_MESSAGE => private(input),
        PUBLIC_MESSAGE => public(input),
        _ => Some(Face::Other),
    }
}

fn private(mut input: Reader<'_>) -> Option<Face<'_>> {
    let head = head(&mut input)?;
    Some(match input.u8()? {
        APPLICATION => Face::Application(head),
        _ => Face::Other,
    })
}

fn public(mut input: Reader<'_>) -> Option<Face<'_>> {
    let head = head(&mut input)?;
    let sender = match input.u8()? {
        SENDER_MEMBER => Sender::Member(input.u32()?),
        SENDER_NEW_MEMBER_COMMIT => Sender::Joiner,
        _ => Sender::Other,
    };
    if sender == Sender::Other {
        return Some(Face::Other);
    }
    let note = input.opaque()?;
    if input.u8()? != COMMIT {
        return Some(Face::Other);
    }
    let proposals = proposals(Reader(input.opaque()?));
    let leaf = match input.u8()? {
        0 => None,
        1 => Some(leaf(&mut input)?),
        _ => return None,
    };
    Some(Face::Commit(CommitFace {
        head,
        sender,
        note,
        proposals,
        leaf,
    }))
}

fn head<'a>(input: &mut Reader<'a>) -> Option<Head<'a>> {
    Some(Head {
        group_id: input.opaque()?,
        epoch: input.u64()?,
    })
}

fn proposals(mut list: Reader<'_>) -> Proposals {
    if list.0.is_empty() {
        return Proposals::None;
    }
    let mut external_init = || {
        (list.u8()? == PROPOSAL_BY_VALUE && list.u16()? == EXTERNAL_INIT).then_some(())?;
        list.opaque()?;
        list.0.is_empty().then_some(())
    };
    match external_init() {
        Some(()) => Proposals::ExternalInit,
        None => Proposals::Other,
    }
}

fn leaf<'a>(input: &mut Reader<'a>) -> Option<LeafFace<'a>> {
    let encryption_key = input.opaque()?;
    let signature_key = input.opaque()?;
    let certificate = match input.u16()? {
        BASIC => Some(input.opaque()?),
        _ => None,
    };
    Some(LeafFace {
        encryption_key,
        signature_key,
        certificate,
    })
}

/// Reads TLS presentation language from the front of a slice.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// `opaque x<V>`: a length of 1, 2 or 4 bytes in its shortest form [RFC9420 §2.1.2], then as many bytes.
    fn opaque(&mut self) -> Option<&'a [u8]> {
        let (len, shortest_above) = match *self.0.first()? >> 6 {
            0 => (u32::from(self.u8()?), 0),
            1 => (u32::from(self.u16()? & 0x3fff), 0x40),
            2 => (self.u32()? & 0x3fff_ffff, 0x4000),
            _ => return None,
        };
        if len < shortest_above {
            return None;
        }
        self.take(usize::try_from(len).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_has_one_form() {
        assert_eq!(Reader(&[1, 7]).opaque(), Some(&[7][..]));
        assert_eq!(Reader(&[0x40, 1, 7]).opaque(), None);
        assert_eq!(Reader(&[0x80, 0, 0, 1, 7]).opaque(), None);
        assert_eq!(Reader(&[0xc0, 0, 0, 1, 7]).opaque(), None);
        assert_eq!(Reader(&[2, 7]).opaque(), None);
        assert_eq!(Reader(&[]).opaque(), None);
    }

    #[test]
    fn only_an_external_init_by_value_is_one() {
        assert!(proposals(Reader(&[])) == Proposals::None);
        assert!(proposals(Reader(&[1, 0, 6, 1, 9])) == Proposals::ExternalInit);
        assert!(proposals(Reader(&[2, 0, 6, 1, 9])) == Proposals::Other);
        assert!(proposals(Reader(&[1, 0, 3, 1, 9])) == Proposals::Other);
        assert!(proposals(Reader(&[1, 0, 6, 1, 9, 1])) == Proposals::Other);
    }
}
