//! Latencies, in buckets about three percent wide.

/// Buckets of each power of two.
const FINE: u64 = 32;

/// How often each duration came.
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: vec![0; (64 * FINE) as usize], count: 0 }
    }
}

impl Histogram {
    /// Counts one.
    pub fn add(&mut self, value: u64) {
        self.buckets[index(value)] += 1;
        self.count += 1;
    }

    /// The value that so many of a thousand do not exceed; zero when there are none.
    pub fn per_mille(&self, of: u64) -> u64 {
        let wanted = (self.count * of).div_ceil(1_000).max(1);
        let mut seen = 0;
        let found = self.buckets.iter().position(|n| {
            seen += n;
            seen >= wanted
        });
        found.map_or(0, |i| least(i as u64))
    }
}

fn index(value: u64) -> usize {
    if value < FINE {
        return value as usize;
    }
    let power = u64::from(value.ilog2());
    let shift = power - u64::from(FINE.ilog2());
    ((shift + 1) * FINE + (value >> shift) - FINE) as usize
}

/// The least value of a bucket.
fn least(index: u64) -> u64 {
    match index / FINE {
        0 => index,
        n => (FINE + index % FINE) << (n - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_many_is_about_right() {
        let mut h = Histogram::default();
        assert_eq!(h.per_mille(500), 0);
        (1..=100_000).for_each(|v| h.add(v));
        for (of, want) in [(500, 50_000.0), (990, 99_000.0), (1_000, 100_000.0)] {
            let got = h.per_mille(of) as f64;
            assert!((got / want - 1.0).abs() < 0.04, "{of}: {got}");
        }
        for value in [0, 1, 31, 32, 33, 1_000, u64::from(u32::MAX), u64::MAX / 2] {
            let bucket = least(index(value) as u64);
            assert!(bucket <= value && value - bucket <= value / FINE, "{value} {bucket}");
        }
    }
}
