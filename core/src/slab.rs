//! Slots with generations: an index never names something else than it named before.

use alloc::vec::Vec;

/// Slots that are made at once.
const CHUNK: usize = 32;

/// A table of slots. It grows by small pieces that stay where they are: one that doubles would hold up to twice what it
/// has, and three times that while it is copied.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    /// All but the last are full.
    chunks: Vec<Vec<Entry<T>>>,
    free: Vec<u32>,
    /// The generation that a new slot begins with.
    first: u32,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    /// An empty table whose slots begin with this generation: where names outlive the process (a session that
    /// is to be resumed), a random one, so that they name nothing else after a restart.
    pub fn new(first: u32) -> Slab<T> {
        Slab { chunks: Vec::new(), free: Vec::new(), first }
    }

    /// Puts in what `make` makes for the slot and generation it is given.
    pub fn insert_with(&mut self, make: impl FnOnce(u32, u32) -> T) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| self.grow());
        if let Some(entry) = self.entry(slot) {
            entry.value = Some(make(slot, entry.generation));
        }
        slot
    }

    /// One more slot.
    fn grow(&mut self) -> u32 {
        if self.chunks.last().is_none_or(|last| last.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let before = (self.chunks.len() - 1) * CHUNK;
        let entry = Entry { generation: self.first, value: None };
        let last = self.chunks.last_mut().map_or(0, |last| {
            last.push(entry);
            last.len() - 1
        });
        (before + last) as u32
    }

    fn entry(&mut self, slot: u32) -> Option<&mut Entry<T>> {
        self.chunks.get_mut(slot as usize / CHUNK)?.get_mut(slot as usize % CHUNK)
    }

    pub fn remove(&mut self, slot: u32) -> Option<T> {
        let entry = self.entry(slot)?;
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(slot);
        Some(value)
    }

    pub fn get(&self, slot: u32) -> Option<&T> {
        self.chunks.get(slot as usize / CHUNK)?.get(slot as usize % CHUNK)?.value.as_ref()
    }

    pub fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.entry(slot)?.value.as_mut()
    }

    /// The slots in use, in order.
    pub fn keys(&self) -> impl Iterator<Item = u32> + '_ {
        self.chunks.iter().flatten().enumerate().filter(|(_, e)| e.value.is_some()).map(|(i, _)| i as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_names_one_thing_only() {
        let mut slab = Slab::new(7);
        let mut names = Vec::new();
        for _ in 0..3 {
            let slot = slab.insert_with(|slot, generation| names.push((slot, generation)));
            assert_eq!(slab.remove(slot), Some(()));
            assert!(slab.get(slot).is_none() && slab.remove(slot).is_none());
        }
        assert_eq!(names, [(0, 7), (0, 8), (0, 9)]);
        assert_eq!(slab.insert_with(|_, _| ()), 0);
        assert_eq!(slab.insert_with(|_, _| ()), 1);
        assert_eq!(slab.keys().collect::<Vec<_>>(), [0, 1]);
        let many = 3 * CHUNK as u32;
        assert!((2..many).all(|n| slab.insert_with(|_, _| ()) == n));
        assert!(slab.keys().eq(0..many));
        assert!(slab.get(many - 1).is_some() && slab.get(many).is_none() && slab.remove(many).is_none());
    }
}
