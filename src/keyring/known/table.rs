//! Heads of digests by open addressing: a slot is a number, empty where it is zero, and never emptied again.
//!
//! One hand adds at a time, anybody reads. A reader that has seen anything the writer did after adding a head finds it: the
//! slots before it on its way were filled earlier still, and so are seen filled.

#[cfg(not(all(test, feature = "model")))]
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(all(test, feature = "model"))]
use loom::sync::atomic::{AtomicU64, Ordering};

use crate::key::Digest;

/// The first eight bytes of a digest, which are as good as random; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::keyring) struct Head(u64);

impl Head {
    pub(in crate::keyring) const fn of(digest: &Digest) -> Self {
        Self::new(digest.as_bytes().first_chunk())
    }

    /// Of a digest of which the log tells the beginning.
    pub(in crate::keyring) const fn told(beginning: &[u8; 16]) -> Self {
        Self::new(beginning.first_chunk())
    }

    const fn new(bytes: Option<&[u8; 8]>) -> Self {
        // Both arrays are longer than eight bytes.
        let Some(bytes) = bytes else { return Self(1) };
        // The first byte weighs least: the store is read in the order of digests, and they would crowd the front of the table.
        let head = u64::from_le_bytes(*bytes);
        Self(if head == 0 { 1 } else { head })
    }
}

/// The table.
#[derive(Debug)]
pub(in crate::keyring) struct Table {
    slots: Box<[AtomicU64]>,
}

impl Default for Table {
    fn default() -> Self {
        Self::of(SMALLEST)
    }
}

impl Table {
    fn of(slots: usize) -> Self {
        Self { slots: (0..slots).map(|_| AtomicU64::new(0)).collect() }
    }

    /// With room for so many heads and for half as many new ones, at first.
    pub(super) fn for_about(heads: usize) -> Self {
        Self::of(heads.saturating_add(heads / 2).max(SMALLEST))
    }

    /// How many heads it has room for. So one takes 9 to 14 bytes, and some five slots are looked at for one that is not here.
    pub(super) fn room(&self) -> usize {
        self.slots.len() / 8 * 7
    }

    /// Half as large again, with all that is in it.
    pub(super) fn grown(&self) -> Self {
        let grown = Self::of(self.slots.len() + self.slots.len() / 2);
        let heads = self.slots.iter().map(|slot| slot.load(Ordering::Relaxed));
        for head in heads.filter(|head| *head != 0) {
            grown.add(Head(head));
        }
        grown
    }

    pub(in crate::keyring) fn holds(&self, head: Head) -> bool {
        let mut way = self.way(head).map(|slot| slot.load(Ordering::Relaxed));
        way.find(|found| *found == head.0 || *found == 0) == Some(head.0)
    }

    /// Adds a head where there is room; whether it was new.
    pub(in crate::keyring) fn add(&self, head: Head) -> bool {
        for slot in self.way(head) {
            match slot.load(Ordering::Relaxed) {
                0 => {
                    slot.store(head.0, Ordering::Relaxed);
                    return true;
                }
                found if found == head.0 => return false,
                _ => {}
            }
        }
        false
    }

    /// The slots to look at, in order.
    fn way(&self, head: Head) -> impl Iterator<Item = &AtomicU64> {
        // A head is to all heads as its place is to all places.
        let place = ((u128::from(head.0) * self.slots.len() as u128) >> 64) as usize;
        let (before, from) = self.slots.split_at(place);
        from.iter().chain(before)
    }
}

/// The model checker follows every slot.
const SMALLEST: usize = if cfg!(all(test, feature = "model")) { 2 } else { 1024 };
