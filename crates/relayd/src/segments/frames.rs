//! An append-only file of sealed frames: the form of the journal, and of each segment's index.
//!
//! ```text
//! file  = magic (8) ‖ marker (8, random) ‖ frames
//! frame = marker (8) ‖ number (8) ‖ length (4) ‖ sealed (group (8) ‖ bond (8, random) ‖ last (1) ‖ content)
//! ```
//!
//! Frames are written in groups, a group is synced before the next is written, and a group counts only if it is whole. So a
//! crash can leave the last group torn, in any way, and no other: a frame that does not open before a frame of a later group is
//! damage, and is told apart from a crash by looking for one. All frames of a group have the same bond, so that one which a full disk
//! cut off and the one that was written in its place never count as one.

use std::io;

use emptyroom_relay::store::StoreFailure;
use emptyroom_wire::secret::Secret32;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use super::disk::{DiskFile, synced};
use crate::data::{io_failure, open_failure};
use crate::seal::{self, NONCE_LEN};

const MAGIC: &[u8; 8] = b"ERFRAM01";
const MARKER_LEN: usize = 8;
/// A file without frames is so long.
pub(super) const FILE_HEAD: usize = MAGIC.len() + MARKER_LEN;
const FRAME_HEAD: usize = MARKER_LEN + 8 + 4;
const BOND_LEN: usize = 8;
/// Group number, bond and flag.
const INNER_HEAD: usize = 8 + BOND_LEN + 1;
/// No frame is longer.
const SEALED_MAX: usize = 64 * 1024 * 1024;

/// What a frame adds before its content.
pub(super) const ROOM: usize = FRAME_HEAD + NONCE_LEN + INNER_HEAD;

/// Takes a group of frames.
pub(super) type TakeGroup<'a> = dyn FnMut(Vec<Frame>) -> Result<(), Unreadable> + 'a;

/// Why a file does not give what was written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It holds something else.
    Damaged(&'static str),
    /// The disk.
    Failed(StoreFailure),
}

impl From<StoreFailure> for Unreadable {
    fn from(failure: StoreFailure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Unreadable> for StoreFailure {
    fn from(why: Unreadable) -> Self {
        match why {
            Unreadable::Damaged(what) => StoreFailure::Broken(what),
            Unreadable::Failed(failure) => failure,
        }
    }
}

/// A frame to be appended, in a buffer that was used before: content goes behind the room.
pub(super) fn empty(mut buffer: Vec<u8>) -> Vec<u8> {
    buffer.clear();
    buffer.resize(ROOM, 0);
    buffer
}

/// How a file that was read ends.
#[derive(Clone, Copy)]
pub(super) struct Tail {
    /// Its length, a torn group included.
    len: u64,
    /// Where the last whole group begins.
    last_group: u64,
}

/// The file, open at its end.
pub(super) struct Frames<F> {
    file: F,
    key: Secret32,
    label: Vec<u8>,
    marker: [u8; MARKER_LEN],
    /// Where the next frame goes, and its number.
    end: u64,
    number: u64,
    /// The number of the next group.
    group: u64,
    /// How it was found after a crash, until it is mended.
    unsure: Option<Tail>,
}

impl<F: DiskFile> Frames<F> {
    /// Begins a file, durable.
    pub(super) fn begin(
        file: F,
        key: Secret32,
        label: Vec<u8>,
        rng: &mut ChaCha20Rng,
    ) -> io::Result<Self> {
        let mut marker = [0; MARKER_LEN];
        rng.fill_bytes(&mut marker);
        let mut head = [0; FILE_HEAD];
        let (magic, random) = head.split_at_mut(MAGIC.len());
        magic.copy_from_slice(MAGIC);
        random.copy_from_slice(&marker);
        file.set_len(0)?;
        file.write_at(0, &head)?;
        synced(file.sync())?;
        Ok(Self {
            file,
            key,
            label,
            marker,
            end: FILE_HEAD as u64,
            number: 0,
            group: 0,
            unsure: None,
        })
    }

    /// Reads a file from its beginning, hands each whole group to `take`, and changes nothing. `None` if it was never begun. A last
    /// group that is not whole is damage where a crash can have left none; else [`Self::doubt`] is for it.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub(super) fn read(
        file: F,
        key: Secret32,
        label: Vec<u8>,
        may_be_torn: bool,
        take: &mut TakeGroup<'_>,
    ) -> Result<Option<(Self, Tail)>, Unreadable> {
        let failed = |e: io::Error| open_failure(&e, "reading frames");
        let len = file.len().map_err(failed)?;
        if len < FILE_HEAD as u64 {
            return Ok(None);
        }
        let mut head = [0; FILE_HEAD];
        file.read_at(0, &mut head).map_err(failed)?;
        if len == FILE_HEAD as u64 && !head.starts_with(MAGIC) {
            return Ok(None);
        }
        let marker = head
            .strip_prefix(MAGIC)
            .and_then(|rest| rest.first_chunk())
            .ok_or(Unreadable::Damaged("it has no head"))?;
        let mut frames = Self {
            file,
            key,
            label,
            marker: *marker,
            end: FILE_HEAD as u64,
            number: 0,
            group: 0,
            unsure: None,
        };
        let tail = frames.read_groups(len, may_be_torn, take)?;
        Ok(Some((frames, tail)))
    }

    fn read_groups(
        &mut self,
        len: u64,
        may_be_torn: bool,
        take: &mut TakeGroup<'_>,
    ) -> Result<Tail, Unreadable> {
        let (mut at, mut number) = (self.end, self.number);
        let mut last_group = self.end;
        let (mut frames, mut bond) = (Vec::new(), None);
        while let Some(frame) = self.frame_at(at, len)? {
            let is_next = frame.number == number && frame.group == self.group;
            if !is_next || *bond.get_or_insert(frame.bond) != frame.bond {
                break;
            }
            at = frame.end;
            number += 1;
            let last = frame.last;
            frames.push(frame);
            if last {
                take(std::mem::take(&mut frames))?;
                bond = None;
                last_group = self.end;
                (self.end, self.number) = (at, number);
                self.group += 1;
            }
        }
        if self.end < len && (!may_be_torn || self.later_group_follows(len)?) {
            return Err(Unreadable::Damaged("a part of it does not open"));
        }
        Ok(Tail { len, last_group })
    }

    /// After a crash it may end with a torn group. And the process may have been killed between writing the last whole group and its sync,
    /// which may even have failed. [`Self::mend`] comes before anything is appended or relies on it.
    pub(super) fn doubt(&mut self, tail: Tail) {
        self.unsure = Some(tail);
    }

    pub(super) fn is_unsure(&self) -> bool {
        self.unsure.is_some()
    }

    /// Cuts off a torn group, and writes the last whole one again.
    ///
    /// # Errors
    /// [`StoreFailure`].
    pub(super) fn mend(&mut self) -> Result<(), StoreFailure> {
        let Some(tail) = self.unsure else {
            return Ok(());
        };
        if self.end < tail.len {
            let cut = self.file.set_len(self.end);
            cut.map_err(|e| io_failure(&e, "cutting a torn frame"))?;
        }
        let again = || {
            let len = self.end.saturating_sub(tail.last_group);
            let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
            self.file.read_at(tail.last_group, &mut bytes)?;
            self.file.write_at(tail.last_group, &bytes)
        };
        again().map_err(|e: io::Error| io_failure(&e, "writing a group again"))?;
        self.sync()?;
        self.unsure = None;
        Ok(())
    }

    /// Reads what was appended before, once more.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub(super) fn read_again(&self, take: &mut TakeGroup<'_>) -> Result<(), Unreadable> {
        let mut at = FILE_HEAD as u64;
        while at < self.end {
            let frame = self.frame_at(at, self.end)?;
            let frame = frame.ok_or(Unreadable::Damaged("a part of it does not open"))?;
            at = frame.end;
            take(vec![frame])?;
        }
        Ok(())
    }

    /// Whether there is a frame of a later group than the one that is not whole.
    fn later_group_follows(&self, len: u64) -> Result<bool, StoreFailure> {
        const STEP: usize = 1024 * 1024;
        let mut at = self.end;
        while at < len {
            let window = usize::try_from(len - at)
                .unwrap_or(usize::MAX)
                .min(STEP + MARKER_LEN);
            let mut bytes = vec![0; window];
            self.file
                .read_at(at, &mut bytes)
                .map_err(|e| io_failure(&e, "reading frames"))?;
            for (offset, found) in bytes.windows(MARKER_LEN).enumerate() {
                if found == self.marker
                    && let Some(frame) = self.frame_at(at + offset as u64, len)?
                    && frame.group > self.group
                {
                    return Ok(true);
                }
            }
            at += STEP as u64;
        }
        Ok(false)
    }

    fn frame_at(&self, at: u64, len: u64) -> Result<Option<Frame>, StoreFailure> {
        let failed = |e: io::Error| io_failure(&e, "reading frames");
        let begin = at.saturating_add(FRAME_HEAD as u64);
        if begin > len {
            return Ok(None);
        }
        let mut head = [0; FRAME_HEAD];
        self.file.read_at(at, &mut head).map_err(failed)?;
        let Some((number, sealed_len)) = self.parse_head(&head) else {
            return Ok(None);
        };
        let end = begin.saturating_add(sealed_len as u64);
        if sealed_len > SEALED_MAX || end > len {
            return Ok(None);
        }
        let mut sealed = vec![0; sealed_len];
        self.file.read_at(begin, &mut sealed).map_err(failed)?;
        let plain = seal::open(&self.key, &self.aad(number), sealed);
        Ok(plain.and_then(|plain| Frame::parse(number, end, plain)))
    }

    fn parse_head(&self, head: &[u8; FRAME_HEAD]) -> Option<(u64, usize)> {
        let rest = head.strip_prefix(&self.marker)?;
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let len = u32::from_be_bytes(*rest.first_chunk()?);
        Some((u64::from_be_bytes(*number), usize::try_from(len).ok()?))
    }

    fn aad(&self, number: u64) -> Vec<u8> {
        let mut aad = self.label.clone();
        aad.extend_from_slice(&number.to_be_bytes());
        aad
    }

    /// Seals a group of frames where they stand and writes it. Not durable before [`Self::sync`].
    ///
    /// # Errors
    /// [`StoreFailure::Full`]: nothing was written. Else [`StoreFailure::Broken`].
    pub(super) fn append(
        &mut self,
        group: &mut [Vec<u8>],
        rng: &mut ChaCha20Rng,
    ) -> Result<(), StoreFailure> {
        if group.is_empty() {
            return Ok(());
        }
        self.mend()?;
        let mut bond = [0; BOND_LEN];
        rng.fill_bytes(&mut bond);
        let count = group.len();
        let (mut end, mut number) = (self.end, self.number);
        for (nth, frame) in group.iter_mut().enumerate() {
            self.seal_frame(frame, number, (bond, nth + 1 == count), rng)?;
            if let Err(error) = self.file.write_at(end, frame) {
                let failure = io_failure(&error, "writing frames");
                // A part may be there; without it the file is as it was.
                let cut = self.file.set_len(self.end).and_then(|()| self.file.sync());
                return Err(cut.map_or(StoreFailure::Broken("cutting frames"), |()| failure));
            }
            end += frame.len() as u64;
            number += 1;
        }
        self.end = end;
        self.number = number;
        self.group += 1;
        Ok(())
    }

    /// Fills the room before the content and seals it in place.
    fn seal_frame(
        &self,
        frame: &mut Vec<u8>,
        number: u64,
        (bond, last): ([u8; BOND_LEN], bool),
        rng: &mut ChaCha20Rng,
    ) -> Result<(), StoreFailure> {
        let too_long = StoreFailure::Broken("a frame is too long");
        let mut inner = [0; INNER_HEAD];
        let parts: [&[u8]; 3] = [&self.group.to_be_bytes(), &bond, &[u8::from(last)]];
        fill(&mut inner, &parts);
        if let Some(room) = frame.get_mut(FRAME_HEAD + NONCE_LEN..ROOM) {
            room.copy_from_slice(&inner);
        }
        seal::seal_from(frame, FRAME_HEAD, &self.key, &self.aad(number), rng)?;
        let sealed = frame.len().saturating_sub(FRAME_HEAD);
        let len = u32::try_from(sealed).ok().filter(|_| sealed <= SEALED_MAX);
        let len = len.ok_or(too_long)?.to_be_bytes();
        let parts: [&[u8]; 3] = [&self.marker, &number.to_be_bytes(), &len];
        if let Some(head) = frame.get_mut(..FRAME_HEAD) {
            fill(head, &parts);
        }
        Ok(())
    }

    /// Makes everything appended durable.
    ///
    /// # Errors
    /// [`StoreFailure`]; it is unknown then what is durable.
    pub(super) fn sync(&self) -> Result<(), StoreFailure> {
        self.file
            .sync()
            .map_err(|_| StoreFailure::Broken("sync of frames"))
    }

    /// Its length in bytes.
    pub(super) fn len(&self) -> u64 {
        self.end
    }

    /// Whether nothing was appended.
    pub(super) fn is_empty(&self) -> bool {
        self.number == 0
    }
}

/// Writes parts one behind the other.
fn fill(bytes: &mut [u8], parts: &[&[u8]]) {
    let parts = parts.iter().flat_map(|part| part.iter());
    bytes
        .iter_mut()
        .zip(parts)
        .for_each(|(to, from)| *to = *from);
}

/// A frame that was read.
pub(super) struct Frame {
    number: u64,
    group: u64,
    bond: [u8; BOND_LEN],
    last: bool,
    plain: Vec<u8>,
    end: u64,
}

impl Frame {
    fn parse(number: u64, end: u64, plain: Vec<u8>) -> Option<Self> {
        let (group, rest) = plain.split_first_chunk::<8>()?;
        let (bond, rest) = rest.split_first_chunk()?;
        Some(Self {
            number,
            group: u64::from_be_bytes(*group),
            bond: *bond,
            last: *rest.first()? == 1,
            plain,
            end,
        })
    }

    pub(super) fn content(&self) -> &[u8] {
        self.plain.get(INNER_HEAD..).unwrap_or_default()
    }
}
