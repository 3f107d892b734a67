//! How many different ones were seen within any window of the last 30 days, in bounded memory.
//!
//! A HyperLogLog keeps, for each of its registers, the largest rank that it saw. This one keeps, for each register, every
//! rank that could be the largest of some window that ends later (a "list of future possible maxima"): a rank is dropped
//! once a later one is as large. One sketch so answers every window to the minute, takes a few bytes for each person while
//! they are few, and about 100 KiB when they are a million. The standard error is 2.3 %.

use serde::{Deserialize, Serialize};

/// 2048 registers.
const PRECISION: u32 = 11;
const REGISTERS: usize = 1 << PRECISION;
/// Ranks are 1 to this: the leading zeros of the rest of the hash, and one.
const MOST_RANK: usize = (64 - PRECISION + 1) as usize;

/// Who was seen when.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sketch {
    /// By register, then by minute; within a register, later entries have smaller ranks.
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    register: u16,
    rank: u8,
    minute: u32,
}

impl Sketch {
    /// Somebody, by a uniformly distributed hash, was seen in this minute. Order does not matter. Says whether that changed
    /// anything.
    pub(super) fn insert(&mut self, hash: u64, minute: u32) -> bool {
        let register = (hash >> (64 - PRECISION)) as u16;
        let rank = ((hash << PRECISION).leading_zeros().min(64 - PRECISION) + 1) as u8;
        let start = self.entries.partition_point(|entry| entry.register < register);
        let end = start + self.entries[start..].partition_point(|entry| entry.register == register);
        let own = &self.entries[start..end];
        if own.iter().any(|entry| entry.minute >= minute && entry.rank >= rank) {
            return false;
        }
        let new = Entry { register, rank, minute };
        let mut kept: Vec<Entry> = own.iter().copied().filter(|entry| entry.minute > minute || entry.rank > rank).collect();
        kept.insert(kept.partition_point(|entry| entry.minute <= minute), new);
        self.entries.splice(start..end, kept);
        true
    }

    /// How many were seen in this minute or later.
    pub(super) fn count_since(&self, minute: u32) -> f64 {
        let mut of_rank = [0_usize; MOST_RANK + 1];
        let mut seen = 0;
        let mut last = None;
        // The first entry of a register that is young enough has its largest rank.
        for entry in self.entries.iter().filter(|entry| entry.minute >= minute) {
            if last != Some(entry.register) {
                last = Some(entry.register);
                of_rank[usize::from(entry.rank)] += 1;
                seen += 1;
            }
        }
        of_rank[0] = REGISTERS - seen;
        estimate(&of_rank)
    }

    /// Forgets what was seen before this minute.
    pub(super) fn forget_before(&mut self, minute: u32) {
        self.entries.retain(|entry| entry.minute >= minute);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Ertl's estimator (arXiv 1702.01284): unbiased for few and for many, without tables or thresholds.
fn estimate(of_rank: &[usize; MOST_RANK + 1]) -> f64 {
    let m = REGISTERS as f64;
    if of_rank[0] == REGISTERS {
        return 0.0;
    }
    let mut z = m * tau(1.0 - of_rank[MOST_RANK] as f64 / m);
    for count in of_rank[1..MOST_RANK].iter().rev() {
        z = 0.5 * (z + *count as f64);
    }
    z += m * sigma(of_rank[0] as f64 / m);
    m * m / (2.0 * std::f64::consts::LN_2 * z)
}

fn sigma(mut x: f64) -> f64 {
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn few_are_counted_nearly_exactly() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut sketch = Sketch::default();
        assert_eq!(sketch.count_since(0), 0.0);
        for number in 1..=20 {
            sketch.insert(rng.random(), 5);
            let counted = sketch.count_since(0);
            assert!((counted - f64::from(number)).abs() < 1.0, "{counted} of {number}");
        }
    }

    #[test]
    fn the_error_stays_within_four_standard_errors() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for people in [100, 1_000, 5_000, 20_000, 100_000] {
            let mut sketch = Sketch::default();
            for _ in 0..people {
                sketch.insert(rng.random(), 5);
            }
            let off = sketch.count_since(0) / f64::from(people) - 1.0;
            assert!(off.abs() < 4.0 * 0.023, "{people}: {off}");
        }
    }

    #[test]
    fn seeing_somebody_again_changes_no_count_but_moves_them_into_younger_windows() {
        let mut sketch = Sketch::default();
        assert!(sketch.insert(0x1234_5678_9abc_def0, 10));
        assert!(!sketch.insert(0x1234_5678_9abc_def0, 10));
        assert_eq!((sketch.count_since(0).round(), sketch.count_since(11).round()), (1.0, 0.0));
        assert!(sketch.insert(0x1234_5678_9abc_def0, 20));
        assert_eq!((sketch.count_since(0).round(), sketch.count_since(11).round()), (1.0, 1.0));
        assert!(!sketch.insert(0x1234_5678_9abc_def0, 15));
        assert_eq!(sketch.entries.len(), 1);
    }

    /// Every window equals a plain HyperLogLog of those seen in it, whatever the order of insertion.
    #[test]
    fn every_window_is_that_of_a_sketch_of_its_own() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let seen: Vec<(u64, u32)> =
            (0..20_000).map(|_| (rng.random_range(0..3_000_u64).wrapping_mul(0x9e37_79b9_7f4a_7c15), rng.random_range(0..1000))).collect();
        let mut sketch = Sketch::default();
        for (hash, minute) in &seen {
            sketch.insert(*hash, *minute);
        }
        for since in [0, 250, 500, 900, 999, 1000] {
            let mut plain = Sketch::default();
            for (hash, _) in seen.iter().filter(|(_, minute)| *minute >= since) {
                plain.insert(*hash, 0);
            }
            assert_eq!(sketch.count_since(since), plain.count_since(0), "since {since}");
        }
        let before = sketch.count_since(500);
        sketch.forget_before(500);
        assert_eq!((sketch.count_since(500), sketch.count_since(0)), (before, before));
    }

    #[test]
    fn it_stays_small() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let mut sketch = Sketch::default();
        for number in 0..200_000_u32 {
            sketch.insert(rng.random(), number / 5);
        }
        assert!(sketch.entries.len() * size_of::<Entry>() < 160 * 1024, "{}", sketch.entries.len());
    }
}
