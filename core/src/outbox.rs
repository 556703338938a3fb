//! What is to be sent on one session: events at once, answers in the order of their requests, and,
//! where the protocol acknowledges, units kept until they are.

use crate::projection::{Hole, Pieces};
use alloc::{boxed::Box, collections::VecDeque, sync::Arc, vec::Vec};

/// A drained buffer larger than this gives its memory back.
const KEEP: usize = 16 * 1024;

/// A place in the order of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);

/// The output of one session.
///
/// `bytes[sent..]` waits to be sent. With [`Outbox::retain`] what was sent stays until acknowledged. Small, as there is
/// one for each connection: what only some need is in a box.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    /// What waits, instead of `bytes`: shared with others that send the same.
    lent: Option<Arc<[u8]>>,
    sent: usize,
    /// `bytes[..offered]` was shown for sending: some of it may be on its way, so no unit may end in it.
    offered: usize,
    /// What is kept, where units are.
    kept: Option<Box<Kept>>,
    slots: VecDeque<Waiting>,
    first: u32,
}

/// What is kept until it is acknowledged.
#[derive(Debug, Default)]
struct Kept {
    /// The counted, unacknowledged units.
    units: VecDeque<Unit>,
    /// How many bytes were dropped from the front since the start.
    base: u64,
    acked: u32,
    /// Marked units that are not acknowledged.
    marked: u32,
}

/// A counted unit.
#[derive(Clone, Copy, Debug)]
struct Unit {
    /// Where it begins: `base` plus its place.
    start: u64,
    len: u32,
    /// Somebody wants to know when it is acknowledged, see [`Outbox::mark`].
    marked: bool,
}

/// A place in an encoding: so many units, bytes and holes come before it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Begin {
    pub unit: usize,
    pub byte: usize,
    pub hole: usize,
}

/// Counted units on their way to another connection.
#[derive(Debug, Default)]
pub struct Again {
    bytes: Vec<u8>,
    units: VecDeque<Unit>,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Ends of units in `bytes`, and whether they count.
    units: Vec<(usize, bool)>,
    done: bool,
    /// Its last unit is to be marked.
    marked: bool,
}

impl Outbox {
    /// Writes a unit at once.
    pub fn write(&mut self, unit: &[u8], counted: bool) {
        self.own();
        self.bytes.extend_from_slice(unit);
        self.count(unit.len(), counted);
    }

    /// Writes an encoding at once, its holes filled by `fill`.
    pub fn write_pieces<'a>(&mut self, pieces: &Pieces, fill: impl Fn(Hole) -> &'a [u8]) {
        self.write_from(pieces, Begin::default(), fill);
    }

    /// The same without what stands before that place.
    pub(crate) fn write_from<'a>(&mut self, pieces: &Pieces, from: Begin, fill: impl Fn(Hole) -> &'a [u8]) {
        self.own();
        let (mut at, mut holes) = (from.byte, pieces.holes[from.hole..].iter().peekable());
        for &(end, counted) in &pieces.units[from.unit..] {
            let begin = self.bytes.len();
            while let Some(&&(place, hole)) = holes.peek().filter(|h| h.0 <= end) {
                self.bytes.extend_from_slice(&pieces.bytes[at..place]);
                self.bytes.extend_from_slice(fill(hole));
                at = place;
                holes.next();
            }
            self.bytes.extend_from_slice(&pieces.bytes[at..end]);
            at = end;
            self.count(self.bytes.len() - begin, counted);
        }
    }

    /// Sends from these bytes, if nothing else waits and nothing is kept: true. Units in them do not count.
    pub(crate) fn lend(&mut self, bytes: &Arc<[u8]>) -> bool {
        let free = self.kept.is_none() && self.bytes.is_empty() && self.lent.is_none();
        if free {
            self.lent = Some(bytes.clone());
        }
        free
    }

    /// Takes what is left of lent bytes to itself.
    fn own(&mut self) {
        if let Some(lent) = self.lent.take() {
            self.bytes.extend_from_slice(&lent[self.sent..]);
            self.offered = self.offered.saturating_sub(self.sent);
            self.sent = 0;
        }
    }

    fn all(&self) -> &[u8] {
        self.lent.as_deref().unwrap_or(&self.bytes)
    }

    /// Takes a place in the order of answers.
    pub fn slot(&mut self) -> Slot {
        if self.slots.capacity() == 0 {
            // Most sessions have one request under way; some for long.
            self.slots.reserve_exact(1);
        }
        self.slots.push_back(Waiting::default());
        Slot(self.first.wrapping_add(self.slots.len() as u32 - 1))
    }

    /// Writes a unit of an answer: at once if the slot is the first, else when it becomes that.
    pub fn answer(&mut self, slot: Slot, unit: &[u8], counted: bool) {
        self.answer_with(slot, counted, |out| out.extend_from_slice(unit));
    }

    /// The same for a unit that is made where it waits: `write` appends it.
    pub fn answer_with(&mut self, slot: Slot, counted: bool, write: impl FnOnce(&mut Vec<u8>)) {
        if self.is_turn(slot) {
            self.own();
            let begin = self.bytes.len();
            write(&mut self.bytes);
            self.count(self.bytes.len() - begin, counted);
        } else if let Some(w) = self.slots.get_mut(slot.0.wrapping_sub(self.first) as usize) {
            write(&mut w.bytes);
            w.units.push((w.bytes.len(), counted));
        }
    }

    /// The slot's answer is complete.
    pub fn done(&mut self, slot: Slot) {
        if let Some(w) = self.slots.get_mut(slot.0.wrapping_sub(self.first) as usize) {
            w.done = true;
        }
        while self.slots.front().is_some_and(|w| w.done) {
            self.slots.pop_front();
            self.first = self.first.wrapping_add(1);
            if let Some(next) = self.slots.front_mut() {
                let (bytes, units) = (core::mem::take(&mut next.bytes), core::mem::take(&mut next.units));
                let (mut at, marked) = (0, core::mem::take(&mut next.marked));
                for (end, counted) in units {
                    self.write(&bytes[at..end], counted);
                    at = end;
                }
                if marked {
                    self.mark_last();
                }
            }
        }
    }

    /// Marks the unit, a counted one, that was just written into this slot: [`Outbox::marked`] tells whether it is
    /// acknowledged. Units are marked in the order of their slots. Without [`Outbox::retain`] nothing is marked.
    pub fn mark(&mut self, slot: Slot) {
        match slot.0.wrapping_sub(self.first) {
            0 => self.mark_last(),
            n => {
                if let Some(w) = self.slots.get_mut(n as usize) {
                    w.marked = true;
                }
            }
        }
    }

    /// Marked units that are written and not acknowledged; they are the last that were marked.
    pub fn marked(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.marked as usize)
    }

    /// Nobody wants to know any more.
    pub fn unmark(&mut self) {
        if let Some(kept) = &mut self.kept {
            kept.units.iter_mut().for_each(|u| u.marked = false);
            kept.marked = 0;
        }
        self.slots.iter_mut().for_each(|w| w.marked = false);
    }

    /// The slot that is given out next.
    pub fn next_slot(&self) -> Slot {
        Slot(self.first.wrapping_add(self.slots.len() as u32))
    }

    /// True: the slot is not done, or one before it is not.
    pub fn is_open(&self, slot: Slot) -> bool {
        (slot.0.wrapping_sub(self.first) as usize) < self.slots.len()
    }

    /// Slots not done yet.
    pub fn open(&self) -> usize {
        self.slots.len()
    }

    /// Counted units are kept from here on until acknowledged; the count begins at zero.
    pub fn retain(&mut self) {
        self.own();
        self.kept = Some(Box::default());
    }

    /// True: units are retained.
    pub fn retains(&self) -> bool {
        self.kept.is_some()
    }

    /// Counted units since [`Outbox::retain`], modulo 2^32.
    pub fn counted(&self) -> u32 {
        self.kept.as_ref().map_or(0, |kept| kept.acked.wrapping_add(kept.units.len() as u32))
    }

    /// Counted units not acknowledged.
    pub fn unacked(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.units.len())
    }

    /// The client has taken `total` counted units (modulo 2^32). False: more than there were.
    pub fn acked(&mut self, total: u32) -> bool {
        let Some(kept) = &mut self.kept else { return total == 0 };
        let n = total.wrapping_sub(kept.acked) as usize;
        if n > kept.units.len() {
            return false;
        }
        kept.marked -= kept.units.drain(..n).filter(|u| u.marked).count() as u32;
        kept.acked = total;
        self.shrink();
        true
    }

    /// What waits to be sent.
    pub fn pending(&self) -> &[u8] {
        &self.all()[self.sent..]
    }

    /// What waits to be sent, shown to be sent now.
    pub fn offer(&mut self) -> &[u8] {
        self.offered = self.all().len();
        self.pending()
    }

    /// So many of the pending bytes are sent.
    pub fn sent(&mut self, n: usize) {
        let len = self.all().len();
        self.sent = (self.sent + n).min(len);
        if self.kept.is_none() && self.sent == len {
            self.lent = None;
            self.bytes.clear();
            (self.sent, self.offered) = (0, 0);
            if self.bytes.capacity() > KEEP {
                self.bytes = Vec::new();
            }
        } else {
            // Whoever does not take it all at once does not keep the whole for the rest.
            self.own();
            self.shrink();
        }
    }

    /// The connection is new: what is counted and unacknowledged is taken out, to be sent again with
    /// [`Outbox::again`] after the word that the session goes on. What did not count is dropped.
    pub fn rewind(&mut self) -> Again {
        self.own();
        let mut again = Again::default();
        if let Some(kept) = &mut self.kept {
            for unit in kept.units.drain(..) {
                let from = (unit.start - kept.base) as usize;
                again.units.push_back(Unit { start: again.bytes.len() as u64, ..unit });
                again.bytes.extend_from_slice(&self.bytes[from..from + unit.len as usize]);
            }
            kept.base = 0;
        }
        (self.bytes, self.sent, self.offered) = (Vec::new(), 0, 0);
        again
    }

    /// Sends again what [`Outbox::rewind`] took out. Nothing that counts may have been written between.
    pub fn again(&mut self, again: Again) {
        self.own();
        if let Some(kept) = &mut self.kept {
            debug_assert!(kept.units.is_empty(), "counted units between rewind and again");
            let shift = kept.base + self.bytes.len() as u64;
            kept.units = again.units.into_iter().map(|u| Unit { start: u.start + shift, ..u }).collect();
        }
        self.bytes.extend_from_slice(&again.bytes);
    }

    /// True: what is written into this slot goes out at once.
    pub fn is_turn(&self, slot: Slot) -> bool {
        slot.0 == self.first && !self.slots.is_empty()
    }

    /// Bytes held: waiting, kept and in slots.
    pub fn held(&self) -> usize {
        self.all().len() + self.slots.iter().map(|w| w.bytes.len()).sum::<usize>()
    }

    /// Everything waiting is dropped (at its limit); slots stay. What was offered stays too: a unit half
    /// sent would run into the last word.
    pub fn clear(&mut self) {
        self.own();
        self.bytes.truncate(self.offered.max(self.sent));
        if let Some(kept) = &mut self.kept {
            kept.units.clear();
            kept.marked = 0;
        }
        for w in &mut self.slots {
            w.bytes.clear();
            w.units.clear();
            w.marked = false;
        }
    }

    /// Gives memory back that an idle session does not need.
    pub fn release(&mut self) {
        if self.bytes.is_empty() && self.bytes.capacity() > 0 {
            self.bytes = Vec::new();
        }
        if self.slots.is_empty() && self.slots.capacity() > 0 {
            self.slots = VecDeque::new();
        }
        if let Some(kept) = self.kept.as_mut().filter(|kept| kept.units.is_empty()) {
            kept.units = VecDeque::new();
        }
    }

    fn count(&mut self, len: usize, counted: bool) {
        if let Some(kept) = self.kept.as_mut().filter(|_| counted) {
            let start = kept.base + (self.bytes.len() - len) as u64;
            kept.units.push_back(Unit { start, len: len as u32, marked: false });
        }
    }

    fn mark_last(&mut self) {
        let Some(kept) = &mut self.kept else { return };
        if let Some(unit) = kept.units.back_mut().filter(|u| !u.marked) {
            unit.marked = true;
            kept.marked += 1;
        }
    }

    /// Drops the front that is both sent and needed no more, when it is large enough to be worth it.
    fn shrink(&mut self) {
        let first = self.kept.as_ref().and_then(|kept| Some(kept.units.front()?.start - kept.base));
        let needed = first.map_or(self.sent, |first| (first as usize).min(self.sent));
        if needed >= 4096 || needed == self.bytes.len() {
            self.bytes.drain(..needed);
            if let Some(kept) = &mut self.kept {
                kept.base += needed as u64;
            }
            self.sent -= needed;
            self.offered = self.offered.saturating_sub(needed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(o: &mut Outbox) -> Vec<u8> {
        let out = o.pending().to_vec();
        o.sent(out.len());
        out
    }

    #[test]
    fn an_answer_made_in_place_goes_behind_what_is_lent() {
        let mut o = Outbox::default();
        let slot = o.slot();
        assert!(o.lend(&Arc::from(&b"lent"[..])));
        o.answer_with(slot, false, |out| out.extend_from_slice(b" own"));
        assert_eq!(take(&mut o), b"lent own");
    }

    #[test]
    fn answers_keep_the_order_of_requests_and_events_go_at_once() {
        let mut o = Outbox::default();
        let (a, b) = (o.slot(), o.slot());
        o.answer_with(b, false, |out| out.push(b'b'));
        o.done(b);
        o.write(b"e", false);
        assert_eq!(take(&mut o), b"e");
        o.answer(a, b"a", false);
        assert_eq!(take(&mut o), b"a");
        o.done(a);
        assert_eq!(take(&mut o), b"b");
        assert_eq!(o.open(), 0);
        let c = o.slot();
        o.answer_with(c, false, |out| out.push(b'c'));
        o.done(c);
        assert_eq!(take(&mut o), b"c");
    }

    #[test]
    fn lent_bytes_are_sent_as_its_own_would_be() {
        let bytes: Arc<[u8]> = Arc::from(&b"one\ntwo\n"[..]);
        let mut o = Outbox::default();
        assert!(o.lend(&bytes) && !o.lend(&bytes));
        assert_eq!((o.held(), o.offer()), (8, &b"one\ntwo\n"[..]));
        o.sent(5);
        assert_eq!((Arc::strong_count(&bytes), o.pending()), (1, &b"wo\n"[..]));
        assert!(!o.lend(&bytes));
        // What was shown for sending is not cut off by a last word.
        o.clear();
        o.write(b"bye\n", false);
        assert_eq!(take(&mut o), b"wo\nbye\n");
        assert!(o.lend(&bytes));
        o.write(b"three\n", false);
        assert_eq!(take(&mut o), b"one\ntwo\nthree\n");
        assert!(o.lend(&bytes));
        assert_eq!(take(&mut o), *bytes);
        // Units that are kept for being sent again are its own.
        assert!(o.lend(&bytes));
        o.retain();
        assert!(Arc::strong_count(&bytes) == 1 && !o.lend(&bytes));
    }

    #[test]
    fn a_unit_half_sent_is_not_cut_off() {
        let mut o = Outbox::default();
        o.write(b"one\n", false);
        o.write(b"two\n", false);
        assert_eq!(o.offer(), b"one\ntwo\n");
        o.sent(2);
        o.write(b"three\n", false);
        o.clear();
        o.write(b"bye\n", false);
        assert_eq!(take(&mut o), b"e\ntwo\nbye\n");
        o.write(b"four\n", false);
        o.clear();
        assert!(o.pending().is_empty());
    }

    #[test]
    fn a_rewind_sends_the_counted_units_again() {
        let mut o = Outbox::default();
        o.write(b"before", true);
        o.retain();
        for (unit, counted) in [(&b"one"[..], true), (b"r", false), (b"two", true), (b"three", true)] {
            o.write(unit, counted);
        }
        assert_eq!(take(&mut o), b"beforeonertwothree");
        assert_eq!((o.counted(), o.unacked()), (3, 3));
        assert!(o.acked(1));
        assert!(!o.acked(4));
        let again = o.rewind();
        o.write(b"resumed", false);
        o.again(again);
        assert_eq!(take(&mut o), b"resumedtwothree");
        assert!(o.acked(3));
        let again = o.rewind();
        o.again(again);
        assert!(o.pending().is_empty());
        assert_eq!(o.counted(), 3);
    }

    #[test]
    fn marked_units_are_told_from_others_until_they_are_acknowledged() {
        let mut o = Outbox::default();
        let a = o.slot();
        o.answer(a, b"a", true);
        o.mark(a);
        o.done(a);
        assert_eq!(o.marked(), 0);
        o.retain();
        let (a, b) = (o.next_slot(), { o.slot() });
        assert_eq!(a, b);
        let b = o.slot();
        o.answer(b, b"b", true);
        o.mark(b);
        o.done(b);
        assert_eq!((o.marked(), o.is_open(a), o.is_open(b)), (0, true, true));
        o.write(b"e", true);
        o.done(a);
        assert_eq!((o.marked(), o.is_open(a), o.is_open(b), o.counted()), (1, false, false, 2));
        assert!(o.acked(1));
        assert_eq!(o.marked(), 1);
        let again = o.rewind();
        assert_eq!(o.marked(), 1);
        o.again(again);
        assert!(o.acked(2));
        assert_eq!(o.marked(), 0);
        let c = o.slot();
        o.answer(c, b"c", true);
        o.mark(c);
        o.done(c);
        o.unmark();
        assert!(o.acked(3));
        assert_eq!(o.marked(), 0);
    }

    #[test]
    fn holes_are_filled_unit_by_unit() {
        let mut p = Pieces::default();
        p.bytes().extend_from_slice(b"<a to=");
        p.hole(Hole(1));
        p.bytes().extend_from_slice(b"/>");
        p.end(true);
        p.bytes().extend_from_slice(b"<b/>");
        p.end(true);
        let mut o = Outbox::default();
        o.retain();
        o.write_pieces(&p, |_| b"me");
        assert_eq!(o.counted(), 2);
        assert!(o.acked(1));
        let again = o.rewind();
        o.again(again);
        assert_eq!(take(&mut o), b"<b/>");
    }
}
