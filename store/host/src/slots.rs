//! Connections by slot and generation: a name that was given out never comes to mean another one.

use lavina_core::ids::ConnId;

/// A table of values under [`ConnId`]s.
#[derive(Debug)]
pub struct Slots<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
    /// Emptied in this turn; not used again before [`Slots::recycle`], so that what the system still
    /// reports about the old one meets an empty slot.
    emptied: Vec<u32>,
    len: usize,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Default for Slots<T> {
    fn default() -> Slots<T> {
        Slots { entries: Vec::new(), free: Vec::new(), emptied: Vec::new(), len: 0 }
    }
}

impl<T> Slots<T> {
    /// Puts a value into a free slot.
    pub fn insert(&mut self, value: T) -> ConnId {
        self.len += 1;
        if let Some(slot) = self.free.pop() {
            let entry = &mut self.entries[slot as usize];
            debug_assert!(entry.value.is_none(), "a free slot is empty");
            entry.value = Some(value);
            return ConnId { slot, generation: entry.generation };
        }
        let slot = u32::try_from(self.entries.len()).expect("descriptors are fewer than 2^32");
        self.entries.push(Entry { generation: 0, value: Some(value) });
        ConnId { slot, generation: 0 }
    }

    /// The value of that name.
    pub fn get(&self, id: ConnId) -> Option<&T> {
        let entry = self.entries.get(id.slot as usize)?;
        entry.value.as_ref().filter(|_| entry.generation == id.generation)
    }

    /// The value of that name.
    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        let entry = self.entries.get_mut(id.slot as usize)?;
        entry.value.as_mut().filter(|_| entry.generation == id.generation)
    }

    /// Takes the value out; its name is void from here on.
    pub fn remove(&mut self, id: ConnId) -> Option<T> {
        let entry = self.entries.get_mut(id.slot as usize)?;
        if entry.generation != id.generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.emptied.push(id.slot);
        self.len -= 1;
        Some(value)
    }

    /// The full name of what is in a slot now.
    pub fn name(&self, slot: u32) -> Option<ConnId> {
        let entry = self.entries.get(slot as usize)?;
        entry.value.as_ref().map(|_| ConnId { slot, generation: entry.generation })
    }

    /// Lets emptied slots be used again.
    pub fn recycle(&mut self) {
        self.free.append(&mut self.emptied);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True: none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_never_reused() {
        let mut slots = Slots::default();
        let a = slots.insert('a');
        assert_eq!(slots.name(a.slot), Some(a));
        assert_eq!(slots.remove(a), Some('a'));
        let b = slots.insert('b');
        assert_ne!(a.slot, b.slot, "not before the turn is over");
        slots.recycle();
        let c = slots.insert('c');
        assert_eq!((a.slot, a.generation + 1), (c.slot, c.generation));
        assert_eq!(slots.remove(a), None);
        assert_eq!((slots.get(a), slots.get(c)), (None, Some(&'c')));
        assert_eq!(slots.len(), 2);
    }
}
