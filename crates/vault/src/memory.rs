//! Secrets in memory that is not swapped: whole pages of their own, locked where the system lets us,
//! zeroed before they are given back.

use zeroize::Zeroize;

use crate::os::sys;

/// A key's length in bytes, everywhere in the vault.
pub(crate) const KEY_LEN: usize = 32;

/// Secret bytes on pages of their own.
///
/// The pages lie inside a larger allocation of the ordinary allocator, so that no other secret
/// shares a page with them (locks do not nest) and nothing here is unsafe.
pub(crate) struct LockedBytes {
    allocation: Box<[u8]>,
    start: usize,
    len: usize,
    pages_len: usize,
    locked: bool,
}

impl LockedBytes {
    /// `len` zero bytes.
    pub(crate) fn zeroed(len: usize) -> Self {
        let page = sys::page_size();
        let pages_len = len.div_ceil(page).max(1) * page;
        let mut allocation = vec![0u8; pages_len + page].into_boxed_slice();
        let start = allocation.as_ptr().align_offset(page).min(page);
        let locked = allocation
            .get_mut(start..start + pages_len)
            .is_some_and(sys::lock_memory);
        LockedBytes {
            allocation,
            start,
            len,
            pages_len,
            locked,
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.allocation
            .get(self.start..self.start + self.len)
            .unwrap_or_default()
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.allocation
            .get_mut(self.start..self.start + self.len)
            .unwrap_or_default()
    }

    /// Whether the system keeps these pages in memory.
    pub(crate) fn is_locked(&self) -> bool {
        self.locked
    }
}

impl Drop for LockedBytes {
    fn drop(&mut self) {
        if let Some(pages) = self
            .allocation
            .get_mut(self.start..self.start + self.pages_len)
        {
            pages.zeroize();
            sys::unlock_memory(pages);
        }
    }
}

/// One key in locked memory.
pub(crate) struct LockedKey(LockedBytes);

impl LockedKey {
    /// A key that `fill` writes.
    pub(crate) fn new(fill: impl FnOnce(&mut [u8])) -> Self {
        let mut bytes = LockedBytes::zeroed(KEY_LEN);
        fill(bytes.bytes_mut());
        LockedKey(bytes)
    }

    /// The same key once more.
    pub(crate) fn copy(&self) -> Self {
        LockedKey::new(|out| out.copy_from_slice(self.expose()))
    }

    pub(crate) fn expose(&self) -> &[u8; KEY_LEN] {
        self.0
            .bytes()
            .first_chunk()
            .expect("made with exactly this length")
    }

    pub(crate) fn is_locked(&self) -> bool {
        self.0.is_locked()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_aligned_and_hold_what_was_written() {
        for len in [1, 32, 4096, 4097, 100_000] {
            let mut bytes = LockedBytes::zeroed(len);
            assert_eq!(bytes.bytes().len(), len);
            assert_eq!(bytes.bytes().as_ptr().align_offset(4096), 0);
            bytes.bytes_mut().fill(7);
            assert!(bytes.bytes().iter().all(|b| *b == 7));
        }
    }

    #[test]
    fn a_key_is_what_was_filled_in() {
        let key = LockedKey::new(|out| out.fill(9));
        assert_eq!(key.expose(), &[9; 32]);
    }
}
