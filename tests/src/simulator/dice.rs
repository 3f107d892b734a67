//! Every random choice of the simulator: one seeded generator, no clock, no thread.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use uuid::{Builder, Uuid};

use super::value::{MILLISECOND, Micros};

/// A seeded source of choices.
#[derive(Debug, Clone)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// The same seed and stream always give the same choices.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(stream);
        Self(generator)
    }

    /// True with the given probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.0.random::<f64>() < probability
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        if high <= low { low } else { self.0.random_range(low..=high) }
    }

    /// A number in `0..1`.
    pub fn unit(&mut self) -> f64 {
        self.0.random()
    }

    /// One of the items.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.0.random_range(0..items.len())]
    }

    /// The position of a weight, chosen in proportion to it.
    pub fn weighted(&mut self, weights: &[f64]) -> usize {
        let mut rest = self.unit() * weights.iter().sum::<f64>();
        for (position, weight) in weights.iter().enumerate() {
            rest -= weight;
            if rest < 0.0 {
                return position;
            }
        }
        weights.len().saturating_sub(1)
    }

    /// An exponentially distributed number with this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// A duration with this median and a long tail to the right, as service times have.
    pub fn duration(&mut self, median_ms: i64) -> Micros {
        let spread = (self.unit() + self.unit() + self.unit() - 1.5) * 1.2;
        let tail = if self.chance(0.03) { 1.5 + 4.0 * self.unit() } else { 1.0 };
        ((median_ms * MILLISECOND) as f64 * spread.exp() * tail) as Micros + self.between(50, 999)
    }

    /// A random (version 4) id.
    pub fn uuid(&mut self) -> Uuid {
        Builder::from_random_bytes(self.0.random()).into_uuid()
    }

    /// A time-ordered (version 7) id.
    pub fn uuid7(&mut self, at: Micros) -> Uuid {
        Builder::from_unix_timestamp_millis((at / MILLISECOND).max(0) as u64, &self.0.random()).into_uuid()
    }

    /// Lower-case hexadecimal digits.
    pub fn hex(&mut self, digits: usize) -> String {
        (0..digits).map(|_| char::from(*self.pick(b"0123456789abcdef"))).collect()
    }
}
