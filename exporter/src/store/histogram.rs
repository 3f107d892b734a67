//! One distribution: classic buckets, sparse native buckets, and an exact sum.

use serde::{Deserialize, Serialize};

use super::value::Exemplar;

/// Beyond this many native buckets the resolution is halved, as client libraries do.
const MOST_NATIVE_BUCKETS: usize = 160;
/// Values this close to 0 or closer are in the native zero bucket; the default of Prometheus' client libraries.
pub(crate) const ZERO_THRESHOLD: f64 = 2.938_735_877_055_719e-39;
/// The sum is kept in units of 10⁻¹².
const PICOS: f64 = 1e12;

/// One distribution.
///
/// The sum is a whole number of 10⁻¹² units: adding integers is exact and does not depend on the order, so a state that was
/// reached through crashes and replays equals the one that was reached without. A float sum, compensated or not, has
/// neither property. A value is rounded to 10⁻¹² once, when it is observed: far below what a float of seconds means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// One count for each bound, not cumulated, then those beyond the last one.
    buckets: Box<[u64]>,
    /// In units of 10⁻¹².
    sum: i128,
    native: Native,
    /// The last record of each classic bucket that had one, in order of buckets.
    #[serde(skip)]
    exemplars: Vec<(u8, Exemplar)>,
}

/// Buckets whose bounds are powers of 2^(2^-schema); only those that are not empty, in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Native {
    pub(crate) schema: i8,
    pub(crate) zero: u64,
    pub(crate) positive: Vec<(i32, u64)>,
    pub(crate) negative: Vec<(i32, u64)>,
}

impl Histogram {
    pub(crate) fn new(bounds: &[f64]) -> Self {
        Histogram {
            buckets: vec![0; bounds.len() + 1].into(),
            sum: 0,
            native: Native { schema: Native::FINEST_SCHEMA, ..Native::default() },
            exemplars: Vec::new(),
        }
    }

    /// Counts a value. Values that are not numbers, or infinite, are left out: they would spoil the sum for ever.
    pub(crate) fn observe(&mut self, bounds: &[f64], value: f64, exemplar: Option<Exemplar>) {
        if !value.is_finite() {
            return;
        }
        let bucket = bounds.partition_point(|bound| *bound < value).min(self.buckets.len() - 1);
        self.buckets[bucket] += 1;
        self.sum = self.sum.saturating_add((value * PICOS).round() as i128);
        self.native.count(value);
        if let (Some(exemplar), Ok(bucket)) = (exemplar, u8::try_from(bucket)) {
            // An exemplar must lie within its bucket.
            let exemplar = Exemplar { value, ..exemplar };
            match self.exemplars.binary_search_by_key(&bucket, |(of, _)| *of) {
                Ok(at) => self.exemplars[at].1 = exemplar,
                Err(at) => self.exemplars.insert(at, (bucket, exemplar)),
            }
        }
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The sum of the values, rounded once to the nearest float.
    pub fn sum(&self) -> f64 {
        self.sum as f64 / PICOS
    }

    /// The exact sum in units of 10⁻¹².
    pub fn sum_picos(&self) -> i128 {
        self.sum
    }

    /// Counts by bound, not cumulated, the last one beyond every bound.
    pub fn buckets(&self) -> &[u64] {
        &self.buckets
    }

    pub(crate) fn native(&self) -> &Native {
        &self.native
    }

    /// The last record in a classic bucket.
    pub(crate) fn exemplar(&self, bucket: usize) -> Option<&Exemplar> {
        let at = self.exemplars.binary_search_by_key(&bucket, |(of, _)| usize::from(*of)).ok()?;
        Some(&self.exemplars[at].1)
    }
}

impl Native {
    /// The finest resolution: eight buckets for each doubling, an error of at most 4.4 %.
    pub(crate) const FINEST_SCHEMA: i8 = 3;

    fn count(&mut self, value: f64) {
        if value.abs() <= ZERO_THRESHOLD {
            self.zero += 1;
            return;
        }
        let index = finest_index(value.abs());
        let index = coarser(index, Self::FINEST_SCHEMA - self.schema);
        let side = if value > 0.0 { &mut self.positive } else { &mut self.negative };
        match side.binary_search_by_key(&index, |(of, _)| *of) {
            Ok(at) => side[at].1 += 1,
            Err(at) => side.insert(at, (index, 1)),
        }
        while self.positive.len() + self.negative.len() > MOST_NATIVE_BUCKETS {
            self.halve();
        }
    }

    /// Merges each pair of neighbours. Prometheus takes a coarser schema for the same histogram, not for a reset.
    fn halve(&mut self) {
        self.schema -= 1;
        for side in [&mut self.positive, &mut self.negative] {
            let mut merged: Vec<(i32, u64)> = Vec::with_capacity(side.len() / 2 + 1);
            for (index, count) in side.drain(..) {
                let index = coarser(index, 1);
                match merged.last_mut() {
                    Some((last, sum)) if *last == index => *sum += count,
                    _ => merged.push((index, count)),
                }
            }
            *side = merged;
        }
    }
}

/// The bucket of a positive value in the finest schema: the smallest `i` with `value <= 2^(i/8)`, that is
/// `ceil(log2(value) * 8)` without the logarithm's rounding at the bounds.
fn finest_index(value: f64) -> i32 {
    /// 2^(k/8 - 1) for k in 0..8: the bounds within [0.5, 1).
    const BOUNDS: [f64; 8] = [
        0.5,
        0.545_253_866_332_628_8,
        0.594_603_557_501_360_5,
        0.648_419_777_325_504_8,
        0.707_106_781_186_547_5,
        0.771_105_412_703_970_4,
        0.840_896_415_253_714_5,
        0.917_004_043_204_671_2,
    ];
    let (fraction, exponent) = fraction_and_exponent(value);
    let within = BOUNDS.partition_point(|bound| *bound < fraction);
    i32::try_from(within).unwrap_or(0) + (exponent - 1) * 8
}

/// `value = fraction * 2^exponent` with the fraction in [0.5, 1), for a positive finite value (C's `frexp`).
fn fraction_and_exponent(value: f64) -> (f64, i32) {
    // 2^54 lifts a subnormal into the normal range.
    let (value, lifted) = if value < f64::MIN_POSITIVE { (value * 18_014_398_509_481_984.0, 54) } else { (value, 0) };
    let bits = value.to_bits();
    let exponent = i32::try_from((bits >> 52) & 0x7ff).unwrap_or(0) - 1022;
    (f64::from_bits((bits & !(0x7ff << 52)) | (1022 << 52)), exponent - lifted)
}

/// The bucket that contains bucket `index` when the schema is `steps` coarser: `ceil(index / 2^steps)`.
fn coarser(index: i32, steps: i8) -> i32 {
    -(-index >> steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_bounds_are_inclusive_above() {
        for (value, index) in [(1.0, 0), (1.000_000_1, 1), (2.0, 8), (0.5, -8), (0.500_000_1, -7), (4.0, 16), (1024.0, 80), (3.0, 13)] {
            assert_eq!(finest_index(value), index, "{value}");
        }
        assert_eq!(finest_index(f64::MIN_POSITIVE / 4.0), -8 * 1024);
    }

    #[test]
    fn the_index_is_the_logarithm() {
        let mut value = 1.1e-6;
        while value < 1e9 {
            assert_eq!(finest_index(value), (value.log2() * 8.0).ceil() as i32, "{value}");
            value *= 1.037;
        }
    }

    #[test]
    fn coarser_buckets_contain_the_finer_ones() {
        for (fine, coarse) in [(0, 0), (1, 1), (2, 1), (3, 2), (-1, 0), (-2, -1), (-3, -1)] {
            assert_eq!(coarser(fine, 1), coarse);
        }
        assert_eq!(coarser(13, 3), 2);
    }

    #[test]
    fn resolution_gives_way_before_memory_does() {
        let mut histogram = Histogram::new(&[]);
        let mut value = 1e-12;
        for _ in 0..2000 {
            histogram.observe(&[], value, None);
            value *= 1.03;
        }
        assert!(histogram.native.positive.len() <= MOST_NATIVE_BUCKETS);
        assert!(histogram.native.schema < Native::FINEST_SCHEMA);
        assert_eq!(histogram.native.positive.iter().map(|(_, count)| count).sum::<u64>(), 2000);
        assert!(histogram.native.positive.is_sorted());
    }

    #[test]
    fn the_sum_is_exact_in_any_order() {
        let values: Vec<f64> = (1..1000).map(|i| f64::from(i) * 0.1).collect();
        let (mut forth, mut back) = (Histogram::new(&[1.0]), Histogram::new(&[1.0]));
        values.iter().for_each(|v| forth.observe(&[1.0], *v, None));
        values.iter().rev().for_each(|v| back.observe(&[1.0], *v, None));
        assert_eq!(forth, back);
        assert_eq!(forth.sum(), 49_950.0);
        assert_eq!(forth.buckets(), &[10, 989]);
    }

    #[test]
    fn what_is_not_a_number_is_left_out_and_negative_values_are_kept_apart() {
        let mut histogram = Histogram::new(&[0.0, 1.0]);
        for value in [f64::NAN, f64::INFINITY, -2.0, 0.0, 0.5] {
            histogram.observe(&[0.0, 1.0], value, None);
        }
        assert_eq!((histogram.count(), histogram.sum()), (3, -1.5));
        assert_eq!((histogram.native.zero, histogram.native.negative.as_slice()), (1, &[(8, 1)][..]));
    }
}
