//! Rising positions in little room: of each but the first only how much higher it is than the one before, in as many bytes
//! as that takes. In a room where much is said it is one.

use lavina_core::ids::Pos;

/// Bits of a number in one byte; the highest says that more follow (LEB128).
const BITS: u32 = 7;
const MORE: u8 = 1 << BITS;

/// Positions in rising order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    first: Pos,
    last: Pos,
    len: usize,
    /// The differences of all but the first to the one before.
    steps: Vec<u8>,
}

impl Positions {
    /// How many.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The lowest.
    pub fn first(&self) -> Option<Pos> {
        (self.len > 0).then_some(self.first)
    }

    /// One more at the end; one that is not higher than the last is there already, or comes too late.
    pub fn push(&mut self, pos: Pos) {
        if self.len == 0 {
            self.first = pos;
        } else if pos <= self.last {
            return;
        } else {
            self.step(pos.0 - self.last.0);
        }
        (self.last, self.len) = (pos, self.len + 1);
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = Pos> {
        let mut steps = self.steps.iter();
        let mut next = self.first();
        std::iter::from_fn(move || {
            let here = next?;
            next = read(&mut steps).map(|step| Pos(here.0 + step));
            Some(here)
        })
    }

    /// Keeps those for which it is true.
    pub fn retain(&mut self, keep: impl Fn(Pos) -> bool) {
        // Mostly all of them are: then nothing is made anew.
        if !self.iter().all(&keep) {
            let mut kept = Positions::default();
            self.iter().filter(|pos| keep(*pos)).for_each(|pos| kept.push(pos));
            kept.steps.shrink_to_fit();
            *self = kept;
        }
    }

    fn step(&mut self, mut step: u64) {
        if self.steps.len() == self.steps.capacity() {
            // A quarter more.
            self.steps.reserve_exact(8 + self.steps.len() / 4);
        }
        while step >= u64::from(MORE) {
            self.steps.push(step as u8 | MORE);
            step >>= BITS;
        }
        self.steps.push(step as u8);
    }
}

/// The next number.
fn read(bytes: &mut std::slice::Iter<'_, u8>) -> Option<u64> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = *bytes.next()?;
        number |= u64::from(byte & !MORE) << shift;
        if byte & MORE == 0 {
            return Some(number);
        }
        shift += BITS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn they_are_what_a_list_of_them_is(
            steps in proptest::collection::vec(prop_oneof![4 => 1..4u64, 1 => 0..1_000_000u64, 1 => Just(1 << 55)], 0..60),
            modulus in 1..5u64,
        ) {
            let (mut list, mut packed, mut at) = (Vec::new(), Positions::default(), 0);
            for step in steps {
                at += step;
                if list.last() != Some(&Pos(at)) {
                    list.push(Pos(at));
                }
                packed.push(Pos(at));
            }
            let same = |list: &[Pos], packed: &Positions| {
                packed.iter().eq(list.iter().copied())
                    && packed.len() == list.len()
                    && packed.first() == list.first().copied()
            };
            prop_assert!(same(&list, &packed));
            let keep = |pos: Pos| pos.0.is_multiple_of(modulus);
            list.retain(|pos| keep(*pos));
            packed.retain(keep);
            prop_assert!(same(&list, &packed));
        }
    }

    #[test]
    fn one_that_follows_takes_one_byte() {
        let mut packed = Positions::default();
        (1_000_000..1_001_000).for_each(|n| packed.push(Pos(n)));
        packed.push(Pos(5));
        assert_eq!((packed.len(), packed.steps.len()), (1_000, 999));
        assert!(packed.steps.capacity() < 1_300);
    }
}
