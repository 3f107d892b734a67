//! How much at once, and how long to rest after it. Pure: it is told what was done and how long that took.

use std::time::Duration;

/// Rows that every transaction may have: fewer cost more for their commit than for themselves.
const FEWEST_ROWS: u64 = 50;
/// A transaction has at most this share of a second's rows, so that a slow pace is a trickle and no surf.
const SHARE_OF_SECOND: f64 = 0.25;
/// How fast a transaction may grow. Shrinking is not bounded.
const GROWTH: f64 = 1.5;
/// Weight of the newest transaction in the rows a second that the next one is sized by.
const NEWEST: f64 = 0.3;

/// Sizes transactions by measured latency, and keeps to a number of rows a second.
#[derive(Clone, Debug)]
pub struct Pace {
    rows_per_second: Option<u64>,
    target: Duration,
    most_rows: u64,
    rows: u64,
    speed: Option<f64>,
}

impl Pace {
    /// At most `rows_per_second` (0: as many as can be), in transactions of `most_rows` at most that take about `target`.
    pub fn new(rows_per_second: u64, target: Duration, most_rows: u64) -> Self {
        let most_rows = most_rows.max(1);
        let share = match rows_per_second {
            0 => most_rows,
            rows => ((rows as f64 * SHARE_OF_SECOND) as u64).max(FEWEST_ROWS),
        };
        let most_rows = most_rows.min(share);
        let rows_per_second = Some(rows_per_second).filter(|rows| *rows > 0);
        // Begins small: nothing is known about this server yet.
        Pace { rows_per_second, target, most_rows, rows: most_rows.min(1000), speed: None }
    }

    /// Rows that the next transaction should have.
    pub fn transaction_rows(&self) -> u64 {
        self.rows
    }

    /// A transaction that deleted `rows` was committed after `took`: how long to rest now.
    ///
    /// A paced run rests at least as long as it worked, however slow the server is: never more than half of the time is ours.
    pub fn rest_after(&mut self, rows: u64, took: Duration) -> Duration {
        self.resize(rows, took);
        let Some(rows_per_second) = self.rows_per_second else { return Duration::ZERO };
        let due = Duration::from_secs_f64(rows as f64 / rows_per_second as f64);
        due.saturating_sub(took).max(took)
    }

    /// Whether a transaction could be smaller than the next one is to be.
    pub fn can_shrink(&self) -> bool {
        self.rows > FEWEST_ROWS.min(self.most_rows)
    }

    /// A transaction ran into a timeout and was rolled back.
    pub fn timed_out(&mut self) {
        self.rows = (self.rows / 2).max(FEWEST_ROWS.min(self.most_rows));
        self.speed = None;
    }

    fn resize(&mut self, rows: u64, took: Duration) {
        if rows == 0 {
            return;
        }
        let newest = rows as f64 / took.as_secs_f64().max(1e-6);
        let speed = self.speed.map_or(newest, |speed| speed + NEWEST * (newest - speed));
        self.speed = Some(speed);
        let wanted = (speed * self.target.as_secs_f64()).min(self.rows as f64 * GROWTH);
        self.rows = (wanted as u64).clamp(FEWEST_ROWS.min(self.most_rows), self.most_rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_millis(200);

    /// Deletes `total` rows on a server that does `speed` rows a second after `latency`, and returns (seconds, seconds of work, the
    /// longest transaction after the first ten).
    fn run(pace: &mut Pace, total: u64, speed: f64, latency: Duration) -> (f64, f64, Duration) {
        let (mut left, mut time, mut work, mut longest) = (total, 0.0, 0.0, Duration::ZERO);
        for transaction in 0.. {
            if left == 0 {
                break;
            }
            let rows = pace.transaction_rows().min(left);
            let took = latency + Duration::from_secs_f64(rows as f64 / speed);
            left -= rows;
            work += took.as_secs_f64();
            time += (took + pace.rest_after(rows, took)).as_secs_f64();
            if transaction > 10 {
                longest = longest.max(took);
            }
        }
        (time, work, longest)
    }

    #[test]
    fn the_pace_is_kept_and_not_missed_by_much() {
        let mut pace = Pace::new(5000, TARGET, 10_000);
        let (time, ..) = run(&mut pace, 100_000, 80_000.0, Duration::from_millis(1));
        assert!((19.9..21.0).contains(&time), "{time}");
        assert_eq!(pace.transaction_rows(), 1250, "a quarter of a second's rows");
    }

    #[test]
    fn a_slow_server_gets_half_of_the_time() {
        let mut pace = Pace::new(5000, TARGET, 10_000);
        let (time, work, _) = run(&mut pace, 10_000, 1000.0, Duration::from_millis(1));
        assert!((work / time - 0.5).abs() < 0.01, "{work} of {time}");
    }

    #[test]
    fn transactions_take_about_their_target_on_any_server() {
        for speed in [2_000.0, 20_000.0, 200_000.0] {
            let mut pace = Pace::new(0, TARGET, 1_000_000);
            let (time, work, longest) = run(&mut pace, 400_000, speed, Duration::from_millis(2));
            assert_eq!(time, work, "unpaced runs do not rest");
            assert!(longest < TARGET.mul_f64(1.3) && longest > TARGET.mul_f64(0.6), "{speed}: {longest:?}");
        }
    }

    #[test]
    fn a_server_that_becomes_slow_is_followed() {
        let mut pace = Pace::new(0, TARGET, 100_000);
        run(&mut pace, 500_000, 100_000.0, Duration::ZERO);
        let before = pace.transaction_rows();
        let (.., longest) = run(&mut pace, 100_000, 5_000.0, Duration::ZERO);
        assert!(before > 15_000 && pace.transaction_rows() < 1200 && longest < 2 * TARGET, "{before}, {longest:?}");
    }

    #[test]
    fn timeouts_shrink_transactions_but_not_to_nothing() {
        let mut pace = Pace::new(0, TARGET, 10_000);
        (0..20).for_each(|_| pace.timed_out());
        assert_eq!(pace.transaction_rows(), FEWEST_ROWS);
        let mut tiny = Pace::new(0, TARGET, 3);
        tiny.timed_out();
        assert_eq!(tiny.transaction_rows(), 3, "never more than was allowed");
    }
}
