//! A map for few entries: a sorted vector. Where each of a great many owners has a map of none, one or two
//! entries, it takes just the room of these; a tree takes that of eleven with the first.

use alloc::vec::Vec;
use core::{borrow::Borrow, fmt, mem};

/// An ordered map. Looking up takes logarithmic time, inserting and removing linear time: it is meant for
/// at most some hundred entries.
#[derive(Clone, PartialEq, Eq)]
pub struct VecMap<K, V> {
    entries: Vec<(K, V)>,
}

impl<K, V> Default for VecMap<K, V> {
    fn default() -> VecMap<K, V> {
        VecMap::new()
    }
}

impl<K, V> VecMap<K, V> {
    /// An empty map; takes no memory.
    pub const fn new() -> VecMap<K, V> {
        VecMap { entries: Vec::new() }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True: none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All entries, by key.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> + Clone {
        self.entries.iter().map(|(k, v)| (k, v))
    }

    /// All keys, in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> + Clone {
        self.entries.iter().map(|(k, _)| k)
    }

    /// All values, by key.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + Clone {
        self.entries.iter().map(|(_, v)| v)
    }

    /// All values, by key.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut V> {
        self.entries.iter_mut().map(|(_, v)| v)
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        self.entries = Vec::new();
    }
}

impl<K: Ord, V> VecMap<K, V> {
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.entries.binary_search_by(|(k, _)| k.borrow().cmp(key))
    }

    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.find(key).ok().map(|i| &self.entries[i].1)
    }

    /// The value of a key.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.find(key).ok().map(|i| &mut self.entries[i].1)
    }

    /// True: there is a value of this key.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.find(key).is_ok()
    }

    /// Sets the value of a key; gives back the one before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(i) => Some(mem::replace(&mut self.entries[i].1, value)),
            Err(i) => {
                self.put(i, key, value);
                None
            }
        }
    }

    /// The value of a key, made if there was none.
    pub fn or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let i = match self.find(&key) {
            Ok(i) => i,
            Err(i) => {
                self.put(i, key, make());
                i
            }
        };
        &mut self.entries[i].1
    }

    /// The value of a key, made if there was none.
    pub fn or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        self.or_insert_with(key, V::default)
    }

    /// Takes the value of a key out; the memory of the last one is given back.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let i = self.find(key).ok()?;
        let (_, value) = self.entries.remove(i);
        self.spare();
        Some(value)
    }

    /// Keeps the entries that `keep` says yes to.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.entries.retain_mut(|(k, v)| keep(k, v));
        self.spare();
    }

    /// The entries from this key on, in order.
    pub fn from<Q: Ord + ?Sized>(&self, key: &Q) -> impl DoubleEndedIterator<Item = (&K, &V)> + Clone
    where
        K: Borrow<Q>,
    {
        let at = self.find(key).unwrap_or_else(|at| at);
        self.entries[at..].iter().map(|(k, v)| (k, v))
    }

    fn put(&mut self, at: usize, key: K, value: V) {
        let len = self.entries.len();
        if len == self.entries.capacity() {
            // Half as much again, but exactly one for the first.
            self.entries.reserve_exact(1 + len / 2);
        }
        self.entries.insert(at, (key, value));
    }

    /// Gives memory back when most of it is unused.
    fn spare(&mut self) {
        let len = self.entries.len();
        if len == 0 {
            self.entries = Vec::new();
        } else if self.entries.capacity() > 4 * len + 4 {
            self.entries.shrink_to(2 * len);
        }
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for VecMap<K, V> {
    /// Of equal keys the last one's value stays.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(iter: I) -> VecMap<K, V> {
        let mut map = VecMap::new();
        for (key, value) in iter {
            map.insert(key, value);
        }
        map
    }
}

impl<'a, K, V> IntoIterator for &'a VecMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = core::iter::Map<core::slice::Iter<'a, (K, V)>, fn(&'a (K, V)) -> (&'a K, &'a V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.iter().map(|(k, v)| (k, v))
    }
}

impl<K, V> IntoIterator for VecMap<K, V> {
    type Item = (K, V);
    type IntoIter = alloc::vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for VecMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8, u16),
        Remove(u8),
        OrDefault(u8),
        Set(u8, u16),
        Retain(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        let key = 0..12u8;
        prop_oneof![
            3 => (key.clone(), any::<u16>()).prop_map(|(k, v)| Step::Insert(k, v)),
            3 => key.clone().prop_map(Step::Remove),
            1 => key.clone().prop_map(Step::OrDefault),
            1 => (key.clone(), any::<u16>()).prop_map(|(k, v)| Step::Set(k, v)),
            1 => key.prop_map(Step::Retain),
        ]
    }

    proptest! {
        #[test]
        fn it_does_what_a_tree_does(steps in proptest::collection::vec(step(), 0..60)) {
            let (mut map, mut tree) = (VecMap::new(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Insert(k, v) => prop_assert_eq!(map.insert(k, v), tree.insert(k, v)),
                    Step::Remove(k) => prop_assert_eq!(map.remove(&k), tree.remove(&k)),
                    Step::OrDefault(k) => prop_assert_eq!(map.or_default(k), tree.entry(k).or_default()),
                    Step::Set(k, v) => {
                        prop_assert_eq!(map.contains_key(&k), tree.contains_key(&k));
                        map.get_mut(&k).into_iter().for_each(|x| *x = v);
                        tree.get_mut(&k).into_iter().for_each(|x| *x = v);
                        prop_assert_eq!(map.get(&k), tree.get(&k));
                    }
                    Step::Retain(n) => {
                        map.retain(|k, _| *k != n);
                        tree.retain(|k, _| *k != n);
                    }
                }
                prop_assert!(map.iter().eq(tree.iter()) && map.keys().eq(tree.keys()));
                prop_assert!(map.values().eq(tree.values()) && map.len() == tree.len());
                prop_assert_eq!(map.is_empty(), tree.is_empty());
                prop_assert!(map.from(&5).eq(tree.range(5..)) && (&map).into_iter().eq(tree.iter()));
            }
            let again: VecMap<u8, u16> = map.clone().into_iter().rev().collect();
            prop_assert_eq!(again, map);
        }
    }

    #[test]
    fn it_takes_no_more_memory_than_it_needs() {
        let mut map = VecMap::new();
        assert_eq!(map.entries.capacity(), 0);
        map.insert(1, ());
        assert_eq!(map.entries.capacity(), 1);
        (0..100).for_each(|n| assert!(map.insert(n, ()).is_none() || n == 1));
        assert!(map.entries.capacity() <= 150);
        (1..100).for_each(|n| assert!(map.remove(&n).is_some()));
        assert!(map.entries.capacity() <= 8);
        map.remove(&0);
        assert_eq!(map.entries.capacity(), 0);
    }
}
