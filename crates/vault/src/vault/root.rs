//! The root of the record keys, and the end.

use super::{Vault, write_error};
use crate::error::{Part, WriteError};
use crate::header::{Body, Header, Others, ReplaceError};
use crate::store::Fault;

/// From the last moment at which no key had been killed to the rotation, in milliseconds: an hour less the minute within which
/// [`Vault::rotate_if_due`] is to be called.
pub const ROTATION_PERIOD_MS: u64 = 59 * 60 * 1000;

impl Vault {
    /// Replaces the root of the record keys and overwrites the old one.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn rotate(&mut self) -> Result<(), WriteError> {
        self.rotate_to(self.keys.table.sectors())
    }

    /// [`Vault::rotate`] if a key was killed nearly an hour ago (on any clock that does not go back,
    /// in milliseconds). To be called at least every minute. Says whether it did.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn rotate_if_due(&mut self, now_mono_ms: u64) -> Result<bool, WriteError> {
        let since = *self.untouched_at_ms.get_or_insert(now_mono_ms);
        let due = self.rotation_due && now_mono_ms.saturating_sub(since) >= ROTATION_PERIOD_MS;
        if due {
            // [SPEC 11.22]
            self.rotate()?;
        }
        if due || !self.rotation_due {
            self.untouched_at_ms = Some(now_mono_ms);
        }
        Ok(due)
    }

    /// Rotates the root if a key was killed, closes everything and forgets all keys.
    ///
    /// # Errors
    /// See [`WriteError`]. The vault is closed and its keys are forgotten all the same.
    pub fn lock(mut self) -> Result<(), WriteError> {
        let settled = self.settle();
        if settled.is_ok() {
            self.remove_dead_rows();
        }
        let rotated = match settled {
            Ok(()) if self.rotation_due => self.rotate(),
            other => other,
        };
        let closed = self.store.close().map_err(write_error);
        let synced = self.keys.sync_journal();
        rotated?;
        closed?;
        synced.map_err(|e| write_error(e.into()))
    }

    /// Rotates, with room for at least `sectors` sectors of keys.
    pub(super) fn rotate_to(&mut self, sectors: u32) -> Result<(), WriteError> {
        if let Some(kind) = self.broken {
            return Err(WriteError::Io(kind));
        }
        self.settle_header()?;
        let header = self.header.current().clone();
        let others = self.others.copy();
        self.rotate_with(header, sectors, others)
    }

    pub(super) fn rotate_with(
        &mut self,
        header: Header,
        sectors: u32,
        others: Others,
    ) -> Result<(), WriteError> {
        if let Some(kind) = self.broken {
            return Err(WriteError::Io(kind));
        }
        let rotation = self
            .keys
            .begin_rotation(&self.unlocked.vault, sectors)
            .map_err(|e| self.key_file_error(e.into()))?;
        let body = Body {
            root: rotation.root.root.copy(),
            active: rotation.active,
            sectors: rotation.sectors(),
            sweep: !self.dead_rows.is_empty(),
            to_be_made: false,
            others,
        };
        match self.write_header(header, &body) {
            Ok(()) => {
                self.keys.finish_rotation(rotation);
                self.others = body.others;
                self.rotation_due = false;
                self.keys
                    .scrub_idle()
                    .map_err(|e| self.key_file_error(e.into()))
            }
            Err(ReplaceError::OldRemains(e)) => {
                // The new root counts; the old one is overwritten before the next change.
                self.keys.finish_rotation(rotation);
                self.others = body.others;
                Err(self.key_file_error(e.into()))
            }
            Err(ReplaceError::NotReplaced(e)) => Err(self.key_file_error(e.into())),
        }
    }

    /// The number of the header that counts: another one after a change that was made, whatever failed then.
    #[must_use]
    pub fn header_number(&self) -> u64 {
        self.header.current().sequence
    }

    /// Makes both copies of the header the one in memory, after a failure. Before that, what only another one names must not be
    /// destroyed: a write that failed may have reached the disk.
    ///
    /// # Errors
    /// See [`WriteError`]. Which header counts is not known then.
    pub fn settle_header(&mut self) -> Result<(), WriteError> {
        if let Some(kind) = self.broken {
            return Err(WriteError::Io(kind));
        }
        self.header
            .mirror()
            .map_err(|e| self.key_file_error(e.into()))
    }

    fn write_header(&mut self, header: Header, body: &Body) -> Result<(), ReplaceError> {
        let (unlocked, random, errands) = (&self.unlocked, &self.random, &self.errands);
        self.header.replace(header, |header| {
            header.seal(unlocked, random, body, errands);
        })
    }

    /// A failed write of header, key file or journal. A full disk passes; after any other fault
    /// nothing more is written.
    pub(super) fn key_file_error(&mut self, fault: Fault) -> WriteError {
        match fault {
            Fault::Full => WriteError::Full,
            Fault::Corrupt => WriteError::Corrupt(Part::Keys),
            Fault::Io(kind) => {
                self.broken = Some(kind);
                WriteError::Io(kind)
            }
        }
    }
}
