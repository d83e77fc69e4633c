//! What of a vault lies in files, as found by somebody who knows all that its owner knew, and all that
//! the vault has forgotten since.

use std::collections::BTreeSet;

use crate::derive::stretch;
use crate::factors::Answers;
use crate::header::{COPY_LEN, Found as Opened, Header, try_all};
use crate::keys::{Root, SECTOR_LEN};
use crate::memory::{KEY_LEN, LockedKey};
use crate::record::open_row;
use crate::secret::Passphrase;

/// What was found of a vault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Places where its texts stand as they are.
    pub texts: usize,
    /// Headers that its secret opens.
    pub headers: usize,
    /// Record keys.
    pub keys: usize,
    /// Values that one of those keys opens.
    pub values: usize,
}

impl Found {
    /// Whether nothing was.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Found::default()
    }
}

/// A name, and its row as it lies in the table.
pub(crate) type Row = (Vec<u8>, Vec<u8>);

/// What the search knows of a vault.
pub(crate) struct Known {
    secret: Passphrase,
    salt: [u8; KEY_LEN],
    stretched: LockedKey,
    root: Root,
    sectors: u32,
    rows: Vec<Row>,
    /// What every value begins with.
    marker: Vec<u8>,
}

/// The root in a header, and how many sectors there are under it.
fn open(header: &Header, stretched: &LockedKey) -> Option<(Root, u32)> {
    let Opened::Vault(key) = try_all(header, stretched, &Answers::default()).found() else {
        return None;
    };
    let unlocked = crate::header::Unlocked::new(key);
    let body = header.open_body(&unlocked.header).ok()?;
    Some((Root::new(&unlocked.vault, body.root), body.sectors))
}

impl Known {
    /// Opens a header with the secret, and keeps what is in it. Nothing if it does not open.
    pub(crate) fn of(
        header: &Header,
        secret: Passphrase,
        rows: Vec<Row>,
        marker: Vec<u8>,
    ) -> Option<Self> {
        let stretched = stretch(&secret, &header.salt, header.kdf).ok()?;
        let (root, sectors) = open(header, &stretched)?;
        Some(Known {
            secret,
            salt: header.salt,
            stretched,
            root,
            sectors,
            rows,
            marker,
        })
    }

    /// The same vault, with another header and other rows. Nothing if the secret does not open it.
    pub(crate) fn renew(&mut self, header: &Header, rows: Vec<Row>) -> Option<()> {
        (self.root, self.sectors) = open(header, &self.stretched)?;
        self.rows = rows;
        Some(())
    }

    pub(crate) fn secret(&self) -> &Passphrase {
        &self.secret
    }

    /// Searches whole files.
    pub(crate) fn look(&self, files: &[Vec<u8>]) -> Found {
        let blocks = || files.iter().flat_map(|bytes| bytes.chunks(SECTOR_LEN));
        let keys: BTreeSet<[u8; KEY_LEN]> = blocks()
            .flat_map(|block| self.root.keys_in(block, self.sectors))
            .collect();
        // Every row against every key: that nothing opens must not hang on slot or generation.
        let opens = |(name, row): &&Row| {
            keys.iter().any(|key| {
                open_row(key, name, row).is_ok_and(|value| value.starts_with(&self.marker))
            })
        };
        Found {
            texts: files.iter().map(|bytes| self.texts_in(bytes)).sum(),
            headers: blocks().filter(|block| self.opens(block)).count(),
            keys: keys.len(),
            values: self.rows.iter().filter(opens).count(),
        }
    }

    fn texts_in(&self, bytes: &[u8]) -> usize {
        let windows = bytes.windows(self.marker.len());
        windows.filter(|window| *window == self.marker).count()
    }

    /// Whether this is a header that the secret opens.
    fn opens(&self, block: &[u8]) -> bool {
        if block.len() != COPY_LEN {
            return false;
        }
        let Ok(header) = Header::decode(block) else {
            return false;
        };
        let other = (header.salt != self.salt)
            .then(|| stretch(&self.secret, &header.salt, header.kdf).ok())
            .flatten();
        let found = try_all(
            &header,
            other.as_ref().unwrap_or(&self.stretched),
            &Answers::default(),
        )
        .found();
        matches!(found, Opened::Vault(_) | Opened::Recovery(_))
    }
}
