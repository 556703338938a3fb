//! Counts of stream management (XEP-0198 §4 and §5): 32 bits that begin anew after the last.

/// A count of handled or sent stanzas, modulo 2³².
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count(pub u32);

impl Count {
    /// One more.
    pub fn next(self) -> Count {
        Count(self.0.wrapping_add(1))
    }

    /// How many stanzas `self` is after `earlier`.
    pub fn since(self, earlier: Count) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// The value of an `h` attribute.
    pub fn parse(h: &str) -> Option<Count> {
        // `parse` alone would allow a sign.
        if h.is_empty() || !h.bytes().all(|b| b.is_ascii_digit()) { None } else { h.parse().ok().map(Count) }
    }
}

/// The peer says that it has handled more than it was sent; the stream has to end (XEP-0198 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("acknowledged {h}, but only {sent} were sent")]
pub struct TooHigh {
    /// What the peer claims.
    pub h: u32,
    /// What it was sent.
    pub sent: u32,
}

/// How many more stanzas are acknowledged by `h`, of those sent after `acked` and up to `sent`.
///
/// # Errors
/// [`TooHigh`] if `h` lies outside of what may be acknowledged.
pub fn newly_acked(acked: Count, sent: Count, h: Count) -> Result<u32, TooHigh> {
    let newly = h.since(acked);
    if newly > sent.since(acked) { Err(TooHigh { h: h.0, sent: sent.0 }) } else { Ok(newly) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn counts_go_round() {
        assert_eq!(Count(u32::MAX).next(), Count(0));
        assert_eq!(newly_acked(Count(u32::MAX - 1), Count(3), Count(1)), Ok(3));
        assert_eq!(newly_acked(Count(5), Count(5), Count(5)), Ok(0));
        assert!(newly_acked(Count(5), Count(5), Count(6)).is_err());
        assert!(newly_acked(Count(5), Count(7), Count(4)).is_err());
    }

    #[test]
    fn h_is_a_plain_number() {
        assert_eq!(Count::parse("4294967295"), Some(Count(u32::MAX)));
        for bad in ["", "-1", "+1", "4294967296", "1 ", "0x1"] {
            assert_eq!(Count::parse(bad), None);
        }
    }

    proptest! {
        #[test]
        fn only_what_was_sent_can_be_acknowledged(acked: u32, outstanding in 0u32..10_000, claim in 0u32..20_000) {
            let sent = Count(acked.wrapping_add(outstanding));
            let got = newly_acked(Count(acked), sent, Count(acked.wrapping_add(claim)));
            prop_assert_eq!(got.ok(), (claim <= outstanding).then_some(claim));
        }
    }
}
