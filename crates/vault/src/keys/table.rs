//! The record keys in memory: which exist, which are assigned, which are dead.

use crate::memory::{KEY_LEN, LockedBytes};
use crate::random::Random;

/// Keys per sector.
pub(crate) const KEYS_PER_SECTOR: usize = 112;
/// Generation (4 bytes, big-endian) and key.
const ENTRY_LEN: usize = 4 + KEY_LEN;
/// What a sector holds.
pub(crate) const SECTOR_PLAIN_LEN: usize = 4056;

/// Which key seals a record: its slot, and how many keys died in that slot before it.
///
/// A record whose generation is not the slot's present one is dead: its key no longer exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyRef {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl KeyRef {
    pub(crate) fn sector(self) -> u32 {
        let per_sector = u32::try_from(KEYS_PER_SECTOR).expect("a small constant");
        self.slot / per_sector
    }
}

/// Every key of the vault, and the use of its slots.
pub(crate) struct KeyTable {
    bytes: LockedBytes,
    sectors: u32,
    /// One bit per slot of each sector: a record refers to it.
    used: Vec<u128>,
    /// Free slots that are not assigned before they have new keys.
    tainted: Vec<u128>,
    /// Where the search for a free slot goes on.
    cursor: u32,
    free: usize,
}

impl KeyTable {
    /// A table of zero keys, to be loaded or filled.
    pub(crate) fn new(sectors: u32) -> Self {
        let count = to_usize(sectors);
        KeyTable {
            bytes: LockedBytes::zeroed(count * SECTOR_PLAIN_LEN),
            sectors,
            used: vec![0; count],
            tainted: vec![0; count],
            cursor: 0,
            free: count * KEYS_PER_SECTOR,
        }
    }

    /// A copy with `sectors` sectors (not fewer), where every slot that no record uses has a new
    /// random key.
    pub(crate) fn renewed(&self, sectors: u32, random: &Random) -> Self {
        let mut next = KeyTable::new(sectors.max(self.sectors));
        for (out, byte) in next.bytes.bytes_mut().iter_mut().zip(self.bytes.bytes()) {
            *out = *byte;
        }
        for (sector, bits) in self.used.iter().enumerate() {
            if let Some(used) = next.used.get_mut(sector) {
                *used = *bits;
            }
        }
        next.cursor = self.cursor;
        next.recount();
        for slot in 0..next.slots() {
            if !next.is_used(slot) {
                // [SPEC 11.17]
                next.new_key(slot, random);
            }
        }
        next
    }

    pub(crate) fn sectors(&self) -> u32 {
        self.sectors
    }

    pub(crate) fn slots(&self) -> u32 {
        let per_sector = u32::try_from(KEYS_PER_SECTOR).expect("a small constant");
        self.sectors.saturating_mul(per_sector)
    }

    pub(crate) fn is_locked(&self) -> bool {
        self.bytes.is_locked()
    }

    /// The key, if it still lives.
    pub(crate) fn key(&self, key: KeyRef) -> Option<&[u8; KEY_LEN]> {
        let (generation, bytes) = self.entry(key.slot)?.split_first_chunk::<4>()?;
        // [SPEC 11.14]
        if u32::from_be_bytes(*generation) != key.generation {
            return None;
        }
        bytes.first_chunk()
    }

    pub(crate) fn is_alive(&self, key: KeyRef) -> bool {
        self.key(key).is_some()
    }

    /// Number of slots that can be assigned.
    pub(crate) fn free(&self) -> usize {
        self.free
    }

    /// Number of slots that can be assigned after the next rotation.
    pub(crate) fn tainted(&self) -> usize {
        let tainted = self.tainted.iter();
        tainted.map(|bits| to_usize(bits.count_ones())).sum()
    }

    /// Assigns `count` slots, or none if there are not as many.
    pub(crate) fn assign(&mut self, count: usize) -> Option<Vec<KeyRef>> {
        if self.free < count {
            return None;
        }
        let mut assigned = Vec::with_capacity(count);
        let mut left = self.slots();
        while assigned.len() < count && left > 0 {
            let slot = self.cursor;
            self.cursor = (slot + 1) % self.slots().max(1);
            left -= 1;
            if self.is_used(slot) || bit(&self.tainted, slot) {
                continue;
            }
            if let Some(generation) = self.generation(slot) {
                let key = KeyRef { slot, generation };
                if let Some(word) = self.used.get_mut(to_usize(key.sector())) {
                    set_bit(word, key, true);
                    assigned.push(key);
                }
            }
        }
        self.recount();
        Some(assigned)
    }

    /// Replaces the key by a new one of the next generation. Says whether it was alive.
    pub(crate) fn kill(&mut self, key: KeyRef, random: &Random) -> bool {
        if !self.is_alive(key) {
            return false;
        }
        if let Some(entry) = self.entry_mut(key.slot) {
            for (out, byte) in entry
                .iter_mut()
                .zip(key.generation.wrapping_add(1).to_be_bytes())
            {
                *out = byte;
            }
        }
        self.new_key(key.slot, random);
        true
    }

    /// The use of a sector's slots.
    pub(crate) fn used(&self, sector: u32) -> u128 {
        self.used.get(to_usize(sector)).copied().unwrap_or(0)
    }

    /// Sets the use of some sectors' slots; `false` if there is no such sector or slot.
    pub(crate) fn update_used(&mut self, changes: impl IntoIterator<Item = (u32, u128)>) -> bool {
        let mut fits = true;
        for (sector, bits) in changes {
            match self.used.get_mut(to_usize(sector)) {
                Some(used) => *used = bits,
                None => fits = false,
            }
            fits &= bits >> KEYS_PER_SECTOR == 0;
        }
        self.recount();
        fits
    }

    /// Sets the use of all slots, as the table of records has it. Gives the keys of slots that were
    /// used before and are not now, or `None` if there is no such sector or slot.
    pub(crate) fn load_used(
        &mut self,
        all: impl IntoIterator<Item = (u32, u128)>,
    ) -> Option<Vec<KeyRef>> {
        let count = self.used.len();
        let before = std::mem::replace(&mut self.used, vec![0; count]);
        let fits = self.update_used(all);
        let freed = (0..self.slots()).filter(|slot| bit(&before, *slot) && !self.is_used(*slot));
        let freed = freed
            .filter_map(|slot| {
                let generation = self.generation(slot)?;
                Some(KeyRef { slot, generation })
            })
            .collect();
        fits.then_some(freed)
    }

    /// No slot is assigned before it has a new key: what the free ones have may have been used by
    /// what a crash interrupted.
    pub(crate) fn taint_free(&mut self) {
        for (used, tainted) in self.used.iter().zip(&mut self.tainted) {
            *tainted = !used & ((1 << KEYS_PER_SECTOR) - 1);
        }
        self.recount();
    }

    /// A sector's bytes, as they are sealed.
    pub(crate) fn sector(&self, sector: u32) -> &[u8] {
        let start = to_usize(sector) * SECTOR_PLAIN_LEN;
        self.bytes
            .bytes()
            .get(start..start + SECTOR_PLAIN_LEN)
            .unwrap_or_default()
    }

    pub(crate) fn sector_mut(&mut self, sector: u32) -> &mut [u8] {
        let start = to_usize(sector) * SECTOR_PLAIN_LEN;
        self.bytes
            .bytes_mut()
            .get_mut(start..start + SECTOR_PLAIN_LEN)
            .unwrap_or_default()
    }

    fn recount(&mut self) {
        let taken: usize = self
            .used
            .iter()
            .zip(&self.tainted)
            .map(|(used, tainted)| to_usize((used | tainted).count_ones()))
            .sum();
        self.free = (to_usize(self.sectors) * KEYS_PER_SECTOR).saturating_sub(taken);
    }

    fn is_used(&self, slot: u32) -> bool {
        bit(&self.used, slot)
    }

    fn generation(&self, slot: u32) -> Option<u32> {
        self.entry(slot)?
            .first_chunk()
            .map(|g| u32::from_be_bytes(*g))
    }

    fn new_key(&mut self, slot: u32, random: &Random) {
        if let Some(key) = self.entry_mut(slot).and_then(|entry| entry.get_mut(4..)) {
            random.fill(key);
        }
    }

    fn entry(&self, slot: u32) -> Option<&[u8]> {
        let start = entry_start(slot);
        self.bytes.bytes().get(start..start + ENTRY_LEN)
    }

    fn entry_mut(&mut self, slot: u32) -> Option<&mut [u8]> {
        let start = entry_start(slot);
        self.bytes.bytes_mut().get_mut(start..start + ENTRY_LEN)
    }
}

fn entry_start(slot: u32) -> usize {
    let slot = to_usize(slot);
    (slot / KEYS_PER_SECTOR) * SECTOR_PLAIN_LEN + (slot % KEYS_PER_SECTOR) * ENTRY_LEN
}

fn bit(bits: &[u128], slot: u32) -> bool {
    let slot = to_usize(slot);
    bits.get(slot / KEYS_PER_SECTOR)
        .is_some_and(|word| word & (1u128 << (slot % KEYS_PER_SECTOR)) != 0)
}

/// Sets a slot's bit in the word of its sector.
pub(crate) fn set_bit(word: &mut u128, key: KeyRef, on: bool) {
    let mask = 1u128 << (to_usize(key.slot) % KEYS_PER_SECTOR);
    *word = if on { *word | mask } else { *word & !mask };
}

/// `u32` fits in `usize` on every machine this runs on.
pub(crate) fn to_usize(n: u32) -> usize {
    usize::try_from(n).expect("at least 32-bit addresses")
}

/// The keys of a sector.
pub(super) fn keys_of(plain: &[u8; SECTOR_PLAIN_LEN]) -> impl Iterator<Item = &[u8; KEY_LEN]> {
    let entries = plain.chunks_exact(ENTRY_LEN);
    entries.filter_map(|entry| entry.last_chunk())
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    fn random(seed: u64) -> Random {
        Random::new(Box::new(ChaCha20Rng::seed_from_u64(seed)))
    }

    fn table() -> KeyTable {
        KeyTable::new(2).renewed(2, &random(1))
    }

    #[test]
    fn every_slot_is_assigned_once() {
        let mut table = table();
        let mut slots: Vec<u32> = Vec::new();
        for count in [1, 100, 123] {
            slots.extend(table.assign(count).unwrap().iter().map(|key| key.slot));
        }
        slots.sort_unstable();
        assert_eq!(slots, (0..224).collect::<Vec<_>>());
        assert_eq!(table.free(), 0);
        assert!(table.assign(1).is_none());
    }

    #[test]
    fn a_killed_key_is_another_key() {
        let (mut table, random) = (table(), random(2));
        let key = table.assign(1).unwrap()[0];
        let before = *table.key(key).unwrap();
        assert!(table.kill(key, &random));
        assert!(table.key(key).is_none());
        assert!(!table.kill(key, &random), "it dies once");
        let next = KeyRef {
            generation: key.generation + 1,
            ..key
        };
        assert_ne!(*table.key(next).unwrap(), before);
    }

    #[test]
    fn unassigned_keys_are_new_after_a_rotation_and_assigned_ones_the_same() {
        let (mut table, random) = (table(), random(2));
        let kept = table.assign(1).unwrap()[0];
        let failed = table.assign(1).unwrap()[0];
        let lost = *table.key(failed).unwrap();
        assert_eq!(table.load_used([(0, 1 << kept.slot)]), Some(vec![failed]));
        let next = table.renewed(3, &random);
        assert_eq!(next.free(), 335);
        assert_eq!(next.key(kept), table.key(kept));
        assert_ne!(*next.key(failed).unwrap(), lost);
    }

    #[test]
    fn a_use_that_does_not_fit_is_refused() {
        let mut table = table();
        assert!(table.load_used([(1, (1 << KEYS_PER_SECTOR) - 1)]).is_some());
        assert!(table.load_used([(2, 1)]).is_none());
        assert!(table.load_used([(0, 1 << KEYS_PER_SECTOR)]).is_none());
    }

    #[test]
    fn tainted_keys_are_free_after_a_rotation() {
        let mut table = table();
        table.assign(10).unwrap();
        table.taint_free();
        assert_eq!((table.free(), table.tainted()), (0, 214));
        assert!(table.assign(1).is_none());
        let mut next = table.renewed(2, &random(2));
        assert_eq!((next.free(), next.tainted()), (214, 0));
        assert_eq!(next.assign(214).unwrap().len(), 214);
    }
}
