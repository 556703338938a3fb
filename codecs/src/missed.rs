//! What was missed and what comes meanwhile overlap: the entries of a feed that came while the missed ones were being
//! read are among those, and after a failure of the store one that was read may come once more. Each is shown once.

use lavina_core::ids::Pos;
use std::collections::VecDeque;

/// Entries shown as they came that are remembered; a page of missed ones has no more. Of those before, one may be shown
/// twice.
const SHOWN_MAX: usize = 1_024;

/// What of an account's feed a session was shown, at its beginning.
#[derive(Debug, Default)]
pub(crate) struct Overlap {
    /// Entries shown as they came, until the missed ones are read; then those shown as missed.
    shown: VecDeque<Pos>,
    /// The missed ones are read.
    read: bool,
}

impl Overlap {
    /// An entry comes and would be shown; true: it is to be.
    pub fn live(&mut self, pos: Pos) -> bool {
        if self.read {
            let known = self.shown.iter().position(|shown| *shown == pos);
            return known.and_then(|at| self.shown.remove(at)).is_none();
        }
        if self.shown.len() == SHOWN_MAX {
            self.shown.pop_front();
        }
        self.shown.push_back(pos);
        true
    }

    /// These missed entries were read; which of them are to be shown.
    pub fn missed(&mut self, mut read: Vec<Pos>) -> Vec<Pos> {
        read.retain(|pos| !self.shown.contains(pos));
        self.shown = if self.read { VecDeque::new() } else { read.iter().copied().collect() };
        self.read = true;
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_shown_once() {
        let mut overlap = Overlap::default();
        assert!(overlap.live(Pos(2)) && overlap.live(Pos(5)));
        assert_eq!(overlap.missed([1, 2, 3, 4, 5].map(Pos).to_vec()), [1, 3, 4].map(Pos));
        // In doubt when it was read, and certain now.
        assert!(!overlap.live(Pos(4)) && overlap.live(Pos(6)) && overlap.live(Pos(7)));
        let mut overlap = Overlap::default();
        (1..=1_100).for_each(|n| assert!(overlap.live(Pos(n))));
        assert_eq!(overlap.shown.len(), SHOWN_MAX);
    }
}
