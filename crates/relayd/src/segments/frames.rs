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

use super::disk::DiskFile;
use crate::data::io_failure;
use crate::seal;

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

/// Takes the contents of a group of frames.
pub(super) type TakeGroup<'a> = dyn FnMut(&[Vec<u8>]) -> Result<(), StoreFailure> + 'a;

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
        file.sync()?;
        Ok(Self {
            file,
            key,
            label,
            marker,
            end: FILE_HEAD as u64,
            number: 0,
            group: 0,
        })
    }

    /// Reads a file from its beginning and hands each whole group to `take`. `None` if it was never begun. A last group that is not
    /// whole is cut off, or damage where a crash can have left none.
    ///
    /// # Errors
    /// [`StoreFailure::Broken`] if it is damaged.
    pub(super) fn open(
        file: F,
        key: Secret32,
        label: Vec<u8>,
        may_be_torn: bool,
        take: &mut TakeGroup<'_>,
    ) -> Result<Option<Self>, StoreFailure> {
        let failed = |e: io::Error| io_failure(&e, "reading frames");
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
            .ok_or(StoreFailure::Broken("a file of frames has no head"))?;
        let mut frames = Self {
            file,
            key,
            label,
            marker: *marker,
            end: FILE_HEAD as u64,
            number: 0,
            group: 0,
        };
        frames.read_groups(len, may_be_torn, take)?;
        Ok(Some(frames))
    }

    fn read_groups(
        &mut self,
        len: u64,
        may_be_torn: bool,
        take: &mut TakeGroup<'_>,
    ) -> Result<(), StoreFailure> {
        let (mut at, mut number) = (self.end, self.number);
        let mut last_group = self.end;
        let (mut contents, mut bond) = (Vec::new(), None);
        while let Some(frame) = self.frame_at(at, len)? {
            let is_next = frame.number == number && frame.group == self.group;
            if !is_next || *bond.get_or_insert(frame.bond) != frame.bond {
                break;
            }
            at = frame.end;
            number += 1;
            contents.push(frame.content);
            if frame.last {
                take(&contents)?;
                (contents, bond) = (Vec::new(), None);
                last_group = self.end;
                (self.end, self.number) = (at, number);
                self.group += 1;
            }
        }
        if self.end < len && (!may_be_torn || self.later_group_follows(len)?) {
            return Err(StoreFailure::Broken("a file of frames is damaged"));
        }
        if self.end < len {
            let cut = self.file.set_len(self.end);
            cut.map_err(|e| io_failure(&e, "cutting a torn frame"))?;
        }
        self.make_durable(last_group)
    }

    /// The process may have been killed between writing the last group and its sync, which may even have failed: it is written again.
    fn make_durable(&self, from: u64) -> Result<(), StoreFailure> {
        let again = || {
            let mut bytes = vec![0; usize::try_from(self.end - from).unwrap_or(0)];
            self.file.read_at(from, &mut bytes)?;
            self.file.write_at(from, &bytes)
        };
        again().map_err(|e: io::Error| io_failure(&e, "writing a group again"))?;
        self.sync()
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
        let plain = seal::open(&self.key, &self.aad(number), &sealed);
        Ok(plain.and_then(|plain| Frame::parse(number, end, &plain)))
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

    /// Writes a group of frames. Not durable before [`Self::sync`].
    ///
    /// # Errors
    /// [`StoreFailure::Full`]: nothing was written. Else [`StoreFailure::Broken`].
    pub(super) fn append(
        &mut self,
        contents: &[Vec<u8>],
        rng: &mut ChaCha20Rng,
    ) -> Result<(), StoreFailure> {
        if contents.is_empty() {
            return Ok(());
        }
        let mut bond = [0; BOND_LEN];
        rng.fill_bytes(&mut bond);
        let mut bytes = Vec::new();
        let mut number = self.number;
        for (nth, content) in contents.iter().enumerate() {
            let mut plain = Vec::with_capacity(INNER_HEAD + content.len());
            plain.extend_from_slice(&self.group.to_be_bytes());
            plain.extend_from_slice(&bond);
            plain.push(u8::from(nth + 1 == contents.len()));
            plain.extend_from_slice(content);
            let sealed = seal::seal(&self.key, &self.aad(number), &plain, rng)?;
            let len = u32::try_from(sealed.len())
                .ok()
                .filter(|_| sealed.len() <= SEALED_MAX)
                .ok_or(StoreFailure::Broken("a frame is too long"))?;
            bytes.extend_from_slice(&self.marker);
            bytes.extend_from_slice(&number.to_be_bytes());
            bytes.extend_from_slice(&len.to_be_bytes());
            bytes.extend_from_slice(&sealed);
            number += 1;
        }
        if let Err(error) = self.file.write_at(self.end, &bytes) {
            let failure = io_failure(&error, "writing frames");
            // A part may be there; without it the file is as it was.
            let cut = self.file.set_len(self.end).and_then(|()| self.file.sync());
            return Err(cut.map_or(StoreFailure::Broken("cutting frames"), |()| failure));
        }
        self.end += bytes.len() as u64;
        self.number = number;
        self.group += 1;
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

struct Frame {
    number: u64,
    group: u64,
    bond: [u8; BOND_LEN],
    last: bool,
    content: Vec<u8>,
    end: u64,
}

impl Frame {
    fn parse(number: u64, end: u64, plain: &[u8]) -> Option<Self> {
        let (group, rest) = plain.split_first_chunk::<8>()?;
        let (bond, rest) = rest.split_first_chunk()?;
        let (last, content) = rest.split_first()?;
        Some(Self {
            number,
            group: u64::from_be_bytes(*group),
            bond: *bond,
            last: *last == 1,
            content: content.to_vec(),
            end,
        })
    }
}
