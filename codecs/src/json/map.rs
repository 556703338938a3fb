//! Objects: pairs sorted by key, in one piece of memory. A hostile object costs no more than its pairs.

use super::Json;
use lavina_core::text::Str;

/// The pairs of an object, sorted by key (by code point), each key once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Map(Vec<(Str, Json)>);

impl Map {
    /// No pairs.
    pub const fn new() -> Map {
        Map(Vec::new())
    }

    fn find(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(k, _)| k.as_str().cmp(key))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Json> {
        self.find(key).ok().and_then(|at| self.0.get(at)).map(|(_, v)| v)
    }

    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Json> {
        let at = self.find(key).ok()?;
        self.0.get_mut(at).map(|(_, v)| v)
    }

    /// Whether the key is there.
    pub fn contains(&self, key: &str) -> bool {
        self.find(key).is_ok()
    }

    /// Sets a key and gives what it was. Costs a move of what is sorted after it; to make large objects, collect.
    pub fn insert(&mut self, key: impl Into<Str>, value: impl Into<Json>) -> Option<Json> {
        let (key, value) = (key.into(), value.into());
        match self.find(&key) {
            Ok(at) => self.0.get_mut(at).map(|(_, v)| std::mem::replace(v, value)),
            Err(at) => {
                self.0.insert(at, (key, value));
                None
            }
        }
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: &str) -> Option<Json> {
        self.find(key).ok().map(|at| self.0.remove(at).1)
    }

    /// Keeps only those pairs.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &mut Json) -> bool) {
        self.0.retain_mut(|(k, v)| keep(k, v));
    }

    /// How many pairs.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pairs by key.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Str, &Json)> + ExactSizeIterator {
        self.0.iter().map(|(k, v)| (k, v))
    }

    /// The keys, sorted.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &Str> + ExactSizeIterator {
        self.0.iter().map(|(k, _)| k)
    }

    /// The values, by key.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &Json> + ExactSizeIterator {
        self.0.iter().map(|(_, v)| v)
    }

    /// Those pairs; the last of a key counts.
    pub fn of<const N: usize>(pairs: [(Str, Json); N]) -> Map {
        pairs.into_iter().collect()
    }

    /// Sorts the pairs; `None` when a key comes twice.
    pub(super) fn strict(mut pairs: Vec<(Str, Json)>) -> Option<Map> {
        pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        let twice = pairs.windows(2).any(|w| matches!(w, [(a, _), (b, _)] if a == b));
        (!twice).then_some(Map(pairs))
    }
}

impl<K: Into<Str>> FromIterator<(K, Json)> for Map {
    /// The last pair of a key counts.
    fn from_iter<I: IntoIterator<Item = (K, Json)>>(pairs: I) -> Map {
        let mut pairs: Vec<(Str, Json)> = pairs.into_iter().map(|(k, v)| (k.into(), v)).collect();
        pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        pairs.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                std::mem::swap(later, kept);
            }
            same
        });
        Map(pairs)
    }
}

impl IntoIterator for Map {
    type Item = (Str, Json);
    type IntoIter = std::vec::IntoIter<(Str, Json)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
