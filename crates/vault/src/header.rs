//! The header: everything that a secret opens, in one block of fixed layout.
//!
//! Four equal slots, of which any may hold the vault key; a body that says which root the record
//! keys are under; an area that says whom to ask besides. What is unused is random or sealed, so that
//! the header looks the same whatever is in use.
//!
//! Version 1 is read, and written only until its vault has been opened once.

mod file;
mod slots;

pub(crate) use file::{HeaderFile, HeaderOpenFault, NAMES, ReplaceError};
pub(crate) use slots::{Chosen, Found, Others, Places, Unlocked, Wrapping, draw_places, try_all};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::derive::{ABSENT, KdfParams, LABEL_AREA, subkey};
use crate::factors::Mode;
use crate::memory::{KEY_LEN, LockedBytes, LockedKey};
use crate::random::Random;
use crate::seal::{OVERHEAD, open_into, seal_into};

/// The format version this program writes, and the highest it reads.
pub(crate) const VERSION: u16 = 2;
/// Length of one copy.
pub(crate) const COPY_LEN: usize = 4096;

const MAGIC: &[u8; 16] = b"emptyroom vault\0";
pub(crate) const SLOTS: usize = 4;
pub(crate) const SLOT_LEN: usize = 256;
const CLEAR_LEN: usize = 72;
const BODY_PLAIN_LEN: usize = 120;
const BODY_LEN: usize = BODY_PLAIN_LEN + OVERHEAD;
const AREA_LEN: usize = COPY_LEN - CLEAR_LEN - 8 - SLOTS * SLOT_LEN - BODY_LEN - CHECKSUM_LEN;
const ERRANDS_LEN: usize = AREA_LEN - OVERHEAD;
const CHECKSUM_LEN: usize = 32;

/// Why a copy is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// It is damaged or torn.
    Corrupt,
    /// A newer program wrote it.
    Newer(u16),
}

/// One copy's content.
#[derive(Clone)]
pub(crate) struct Header {
    /// 1 or 2. What is sealed is bound to it.
    pub(crate) version: u16,
    pub(crate) mode: Mode,
    pub(crate) kdf: KdfParams,
    pub(crate) salt: [u8; KEY_LEN],
    pub(crate) sequence: u64,
    pub(crate) slots: [[u8; SLOT_LEN]; SLOTS],
    body: [u8; BODY_LEN],
    /// With factors in clear, for whoever opens; else sealed.
    pub(crate) area: [u8; AREA_LEN],
}

/// What the body holds: where the record keys are, and the root they are sealed under.
pub(crate) struct Body {
    pub(crate) root: LockedKey,
    /// Which of the two key files counts: 0 or 1.
    pub(crate) active: u8,
    /// Sectors in the key file.
    pub(crate) sectors: u32,
    /// Whether the table may hold records whose keys are dead.
    pub(crate) sweep: bool,
    /// Key files, journal and table are still to be made, after a panic.
    pub(crate) to_be_made: bool,
    pub(crate) others: Others,
}

impl Header {
    /// A new header without factors: slots and area random, body not yet sealed.
    pub(crate) fn new(random: &Random, kdf: KdfParams) -> Self {
        Header {
            version: VERSION,
            mode: Mode::Passphrase,
            kdf,
            salt: random.array(),
            sequence: 0,
            slots: [(); SLOTS].map(|()| random.array()),
            body: random.array(),
            area: random.array(),
        }
    }

    /// The fields that slots are bound to: magic, version, factors, derivation parameters, salt.
    pub(crate) fn clear(&self) -> [u8; CLEAR_LEN] {
        let mut out = Writer::new([0; CLEAR_LEN]);
        out.put(MAGIC);
        out.put(&self.version.to_be_bytes());
        out.put(&[self.mode.byte()]);
        out.put(&[0; 5]);
        out.put(&self.kdf.memory_kib.to_be_bytes());
        out.put(&self.kdf.passes.to_be_bytes());
        out.put(&self.kdf.lanes.to_be_bytes());
        out.put(&[0; 4]);
        out.put(&self.salt);
        out.bytes
    }

    /// Seals body and area. `errands` must fit, see [`fits_area`]; with factors there are none.
    pub(crate) fn seal(
        &mut self,
        unlocked: &Unlocked,
        random: &Random,
        body: &Body,
        errands: &[u8],
    ) {
        if self.version >= 2 && self.mode == Mode::Passphrase {
            self.seal_errands(&unlocked.vault, random, errands);
        }
        self.seal_body(&unlocked.header, random, body);
    }

    /// Puts into the area, in clear, what says whom to ask; the rest of it is random.
    pub(crate) fn fill_area(&mut self, random: &Random, content: &[u8]) {
        self.area = random.array();
        for (out, byte) in self.area.iter_mut().zip(content) {
            *out = *byte;
        }
    }

    fn seal_errands(&mut self, vault: &LockedKey, random: &Random, errands: &[u8]) {
        // [SPEC 11.46]
        let mut plain = [0; ERRANDS_LEN];
        let len = u16::try_from(errands.len()).unwrap_or(0).to_be_bytes();
        for (out, byte) in plain.iter_mut().zip(len.iter().chain(errands)) {
            *out = *byte;
        }
        let key = subkey(vault, LABEL_AREA);
        seal_into(key.expose(), &[], random, &plain, &mut self.area);
    }

    /// What is left to be done for a vault that was here before; nothing where factors are used.
    pub(crate) fn open_errands(&self, vault: &LockedKey) -> Result<Vec<u8>, HeaderFault> {
        if self.version < 2 || self.mode != Mode::Passphrase {
            return Ok(Vec::new());
        }
        let mut plain = [0; ERRANDS_LEN];
        let key = subkey(vault, LABEL_AREA);
        open_into(key.expose(), &[], &self.area, &mut plain).map_err(|_| HeaderFault::Corrupt)?;
        let mut reader = Reader(&plain);
        let len = usize::from(u16::from_be_bytes(reader.take()?));
        let errands = reader.0.get(..len).ok_or(HeaderFault::Corrupt)?;
        Ok(errands.to_vec())
    }

    /// Seals the body under the header key, bound to everything else. [SPEC 11.42]
    fn seal_body(&mut self, key: &LockedKey, random: &Random, body: &Body) {
        let mut plain = LockedBytes::zeroed(BODY_PLAIN_LEN);
        let (panic, recovery) = (body.others.panic.as_ref(), body.others.recovery.as_ref());
        for (out, byte) in plain.bytes_mut().iter_mut().zip(
            body.root
                .expose()
                .iter()
                .chain(&[
                    body.active,
                    u8::from(body.sweep),
                    u8::from(body.to_be_made),
                    u8::from(panic.is_some()) | u8::from(recovery.is_some()) << 1,
                ])
                .chain(&body.sectors.to_be_bytes())
                .chain(panic.map_or(&ABSENT, LockedKey::expose))
                .chain(recovery.map_or(&ABSENT, LockedKey::expose)),
        ) {
            *out = *byte;
        }
        let context = self.body_context();
        seal_into(
            key.expose(),
            &context,
            random,
            plain.bytes(),
            &mut self.body,
        );
    }

    /// Opens the body with the header key.
    pub(crate) fn open_body(&self, key: &LockedKey) -> Result<Body, HeaderFault> {
        let mut plain = LockedBytes::zeroed(BODY_PLAIN_LEN);
        open_into(
            key.expose(),
            &self.body_context(),
            &self.body,
            plain.bytes_mut(),
        )
        .map_err(|_| HeaderFault::Corrupt)?;
        let key = |bytes: &[u8; KEY_LEN]| LockedKey::new(|out| out.copy_from_slice(bytes));
        let mut reader = Reader(plain.bytes());
        let root = Zeroizing::new(reader.take::<KEY_LEN>()?);
        let [active, sweep, to_be_made, others] = reader.take::<4>()?;
        let sectors = u32::from_be_bytes(reader.take()?);
        let panic = Zeroizing::new(reader.take::<KEY_LEN>()?);
        let recovery = Zeroizing::new(reader.take::<KEY_LEN>()?);
        if active > 1 || sectors == 0 || to_be_made > 1 || others > 3 {
            return Err(HeaderFault::Corrupt);
        }
        Ok(Body {
            root: key(&root),
            active,
            sectors,
            sweep: sweep != 0,
            to_be_made: to_be_made == 1,
            others: Others {
                panic: (others & 1 != 0).then(|| key(&panic)),
                recovery: (others & 2 != 0).then(|| key(&recovery)),
            },
        })
    }

    fn body_context(&self) -> Vec<u8> {
        let mut context = self.to_the_slots_end();
        if self.version >= 2 {
            context.extend_from_slice(&self.area);
        }
        context
    }

    fn to_the_slots_end(&self) -> Vec<u8> {
        let mut bytes = self.clear().to_vec();
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        for slot in &self.slots {
            bytes.extend_from_slice(slot);
        }
        bytes
    }

    /// One copy as it lies in the file.
    pub(crate) fn encode(&self) -> [u8; COPY_LEN] {
        let mut out = Writer::new([0; COPY_LEN]);
        out.put(&self.to_the_slots_end());
        out.put(&self.body);
        out.put(&self.area);
        let content = out.bytes.split_last_chunk::<CHECKSUM_LEN>();
        let checksum = Sha256::digest(content.map_or(&[][..], |(content, _)| content));
        out.put(&checksum);
        out.bytes
    }

    /// Reads one copy.
    pub(crate) fn decode(copy: &[u8]) -> Result<Header, HeaderFault> {
        // [SPEC 11.8]
        let (content, checksum) = copy
            .first_chunk::<COPY_LEN>()
            .and_then(|copy| copy.split_last_chunk::<CHECKSUM_LEN>())
            .ok_or(HeaderFault::Corrupt)?;
        if Sha256::digest(content).as_slice() != checksum {
            return Err(HeaderFault::Corrupt);
        }
        let mut reader = Reader(content);
        if reader.take::<16>()? != *MAGIC {
            return Err(HeaderFault::Corrupt);
        }
        let version = u16::from_be_bytes(reader.take()?);
        // [SPEC 11.9]
        if version > VERSION {
            return Err(HeaderFault::Newer(version));
        }
        let [mode] = reader.take::<1>()?;
        let mode = Mode::of_byte(mode).ok_or(HeaderFault::Corrupt)?;
        let padding = reader.take::<5>()?;
        let kdf = KdfParams {
            memory_kib: u32::from_be_bytes(reader.take()?),
            passes: u32::from_be_bytes(reader.take()?),
            lanes: u32::from_be_bytes(reader.take()?),
        };
        let padding_too = reader.take::<4>()?;
        let has_mode = version >= 2 || mode == Mode::Passphrase;
        let padded = padding == [0; 5] && padding_too == [0; 4];
        if version == 0 || !has_mode || !padded || !kdf.is_allowed() {
            return Err(HeaderFault::Corrupt);
        }
        let salt = reader.take()?;
        let sequence = u64::from_be_bytes(reader.take()?);
        let mut slots = [[0; SLOT_LEN]; SLOTS];
        for slot in &mut slots {
            *slot = reader.take()?;
        }
        Ok(Header {
            version,
            mode,
            kdf,
            salt,
            sequence,
            slots,
            body: reader.take()?,
            area: reader.take()?,
        })
    }
}

/// Whether the area has room for so many bytes, in clear or as errands.
pub(crate) fn fits_area(bytes: &[u8]) -> bool {
    bytes.len() <= ERRANDS_LEN - 2
}

/// Fills an array from the front; what does not fit is a mistake of this file.
struct Writer<const N: usize> {
    bytes: [u8; N],
    at: usize,
}

impl<const N: usize> Writer<N> {
    fn new(bytes: [u8; N]) -> Self {
        Writer { bytes, at: 0 }
    }

    fn put(&mut self, part: &[u8]) {
        self.bytes
            .get_mut(self.at..self.at + part.len())
            .expect("the layout's lengths add up")
            .copy_from_slice(part);
        self.at += part.len();
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], HeaderFault> {
        let (head, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or(HeaderFault::Corrupt)?;
        self.0 = rest;
        Ok(*head)
    }
}
