//! What was missed and what comes meanwhile overlap: the entries of a feed that came while the missed ones were being
//! read are among those, and after a failure of the store one that was read may come once more. Each is shown once.

use lavina_core::ids::Pos;

/// What of an account's feed a session was shown, at its beginning.
#[derive(Debug, Default)]
pub(crate) struct Overlap {
    /// Entries shown as they came begin here.
    live_from: Option<Pos>,
    /// Entries shown as missed; as many as one page has.
    late: Vec<Pos>,
}

impl Overlap {
    /// An entry comes; true: it is to be shown.
    pub fn live(&mut self, pos: Pos) -> bool {
        self.live_from.get_or_insert(pos);
        match self.late.binary_search(&pos) {
            Ok(at) => {
                self.late.remove(at);
                false
            }
            Err(_) => true,
        }
    }

    /// A missed entry was read, in order of positions; true: it is to be shown.
    pub fn late(&mut self, pos: Pos) -> bool {
        let shown = self.live_from.is_some_and(|from| pos >= from);
        if !shown {
            self.late.push(pos);
        }
        !shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_shown_once() {
        let mut overlap = Overlap::default();
        assert!(overlap.late(Pos(3)) && overlap.late(Pos(4)));
        // In doubt when it was read, and certain now.
        assert!(!overlap.live(Pos(4)) && overlap.live(Pos(5)));
        let mut overlap = Overlap::default();
        assert!(overlap.live(Pos(4)) && overlap.live(Pos(5)));
        assert!(overlap.late(Pos(3)) && !overlap.late(Pos(4)) && !overlap.late(Pos(5)));
    }
}
