//! How long a run may go on: its time budget, the hours of the day in which it may work, and the rows it may delete.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use dify_observe_core::settings::Window;

/// The hours of the day in which may be worked, on the clock of one time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    /// From when to when.
    pub window: Window,
    /// Whose clock.
    pub zone: Tz,
}

impl Hours {
    /// Whether it is one of them. The clock on the wall decides: an hour that summer time repeats counts twice, one that it skips not at
    /// all.
    pub fn contain(&self, now: DateTime<Utc>) -> bool {
        self.window.contains(now.with_timezone(&self.zone).time())
    }
}

/// What a run may use up.
#[derive(Clone, Debug)]
pub struct Budget {
    started: Instant,
    time: Option<Duration>,
    hours: Option<Hours>,
    rows: Option<u64>,
}

/// What is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsedUp {
    /// The time budget.
    Time,
    /// The hours of the day.
    Window,
    /// The rows.
    Rows,
}

impl Budget {
    /// Begins now. What is `None` has no limit.
    pub fn new(time: Option<Duration>, hours: Option<Hours>, rows: Option<u64>) -> Self {
        Budget { started: Instant::now(), time, hours, rows }
    }

    /// What is used up after `deleted` rows, if anything is.
    pub fn used_up(&self, instant: Instant, now: DateTime<Utc>, deleted: u64) -> Option<UsedUp> {
        if self.hours.is_some_and(|hours| !hours.contain(now)) {
            return Some(UsedUp::Window);
        }
        if self.time.is_some_and(|time| instant.saturating_duration_since(self.started) >= time) {
            return Some(UsedUp::Time);
        }
        self.rows.is_some_and(|rows| deleted >= rows).then_some(UsedUp::Rows)
    }

    /// Rows that may still be deleted after `deleted`.
    pub fn rows_left(&self, deleted: u64) -> u64 {
        self.rows.map_or(u64::MAX, |rows| rows.saturating_sub(deleted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn hours(window: &str, zone: Tz) -> Hours {
        Hours { window: Window::parse(window).unwrap(), zone }
    }

    #[test]
    fn the_clock_on_the_wall_of_the_zone_decides() {
        let night = hours("02:00-03:00", Tz::Europe__Berlin);
        assert!(night.contain(at("2026-07-01T00:30:00Z")) && !night.contain(at("2026-01-01T00:30:00Z")));
        // 2026-10-25: the hour from 2 to 3 is there twice. 2026-03-29: not at all.
        assert!(night.contain(at("2026-10-25T00:30:00Z")) && night.contain(at("2026-10-25T01:30:00Z")));
        assert!((0..24).all(|hour| !night.contain(at(&format!("2026-03-29T{hour:02}:30:00Z")))));
    }

    #[test]
    fn each_limit_ends_a_run() {
        let now = at("2026-01-31T12:00:00Z");
        let budget = Budget::new(Some(Duration::from_secs(60)), Some(hours("08:00-20:00", Tz::UTC)), Some(100));
        let start = budget.started;
        assert_eq!(budget.used_up(start, now, 99), None);
        assert_eq!(budget.used_up(start + Duration::from_secs(60), now, 0), Some(UsedUp::Time));
        assert_eq!(budget.used_up(start, now, 100), Some(UsedUp::Rows));
        assert_eq!(budget.used_up(start, at("2026-01-31T20:00:00Z"), 0), Some(UsedUp::Window));
        assert_eq!((budget.rows_left(30), budget.rows_left(130)), (70, 0));
        assert_eq!(Budget::new(None, None, None).used_up(start + Duration::from_secs(1 << 30), now, u64::MAX), None);
    }
}
