//! How late rows commit after their own time, and the overlap that follows from it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::dify::time::Micros;

const HOUR: i64 = 3_600_000_000;
const LONGEST_OVERLAP: Duration = Duration::from_secs(30 * 60);

/// The worst lateness seen in each of the last 24 hours.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Lateness {
    /// (hour since the epoch, worst lateness in µs), oldest first
    hours: Vec<(i64, i64)>,
}

impl Lateness {
    /// Notes that a row appeared `late` after the time it bears.
    pub(crate) fn note(&mut self, now: Micros, late: Duration) {
        let late = i64::try_from(late.as_micros()).unwrap_or(i64::MAX);
        let hour = now.0.div_euclid(HOUR);
        match self.hours.last_mut() {
            Some((last, worst)) if *last == hour => *worst = late.max(*worst),
            _ => self.hours.push((hour, late)),
        }
        self.hours.retain(|(past, _)| hour - past < 24);
    }

    /// The overlap to keep: twice the worst lateness of the last day, at least `least`, at most half an hour.
    pub(crate) fn overlap(&self, now: Micros, least: Duration) -> Duration {
        let hour = now.0.div_euclid(HOUR);
        let worst = self.hours.iter().filter(|(past, _)| hour - past < 24).map(|(_, late)| *late).max().unwrap_or(0);
        Duration::from_micros(worst.unsigned_abs().saturating_mul(2)).min(LONGEST_OVERLAP).max(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Duration = Duration::from_secs(120);

    #[test]
    fn doubles_the_worst_of_a_day_within_bounds() {
        let mut lateness = Lateness::default();
        let now = Micros::from_secs(1_000_000);
        assert_eq!(lateness.overlap(now, LEAST), LEAST);
        lateness.note(now, Duration::from_secs(300));
        lateness.note(now, Duration::from_secs(10));
        assert_eq!(lateness.overlap(now, LEAST), Duration::from_secs(600));
        lateness.note(now, Duration::from_secs(7200));
        assert_eq!(lateness.overlap(now, LEAST), LONGEST_OVERLAP);
        assert_eq!(lateness.overlap(Micros::from_secs(1_000_000 + 25 * 3600), LEAST), LEAST);
    }
}
