//! The clock, so that tests can set it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Tells the time: the host's, or in tests one that stands still until it is moved.
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    Manual(Arc<Mutex<Hands>>),
}

#[derive(Debug)]
struct Hands {
    wall: SystemTime,
    monotonic: Instant,
}

impl Clock {
    /// The host's clock.
    pub fn system() -> Self {
        Clock::default()
    }

    /// A clock that shows `wall` until it is moved. Its clones move with it.
    pub fn manual(wall: SystemTime) -> Self {
        Clock(Source::Manual(Arc::new(Mutex::new(Hands { wall, monotonic: Instant::now() }))))
    }

    /// The wall clock, for what people read. It can jump; positions in the database follow the database's clock instead.
    pub fn now(&self) -> SystemTime {
        match &self.0 {
            Source::System => SystemTime::now(),
            Source::Manual(hands) => hands.lock().unwrap_or_else(PoisonError::into_inner).wall,
        }
    }

    /// The wall clock as microseconds since 1970.
    pub fn unix_micros(&self) -> i64 {
        let since_epoch = self.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)
    }

    /// The clock that only goes forward, for intervals.
    pub fn instant(&self) -> Instant {
        match &self.0 {
            Source::System => Instant::now(),
            Source::Manual(hands) => hands.lock().unwrap_or_else(PoisonError::into_inner).monotonic,
        }
    }

    /// Moves a manual clock forward, both hands. The system's clock is not ours to move: nothing happens.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(hands) = &self.0 {
            let mut hands = hands.lock().unwrap_or_else(PoisonError::into_inner);
            hands.wall += by;
            hands.monotonic += by;
        }
    }

    /// Sets the wall clock of a manual clock, backwards too, as an operator or NTP might.
    pub fn set_wall(&self, wall: SystemTime) {
        if let Source::Manual(hands) = &self.0 {
            hands.lock().unwrap_or_else(PoisonError::into_inner).wall = wall;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_moved() {
        let clock = Clock::manual(UNIX_EPOCH);
        let (clone, before) = (clock.clone(), clock.instant());
        clock.advance(Duration::from_secs(2));
        assert_eq!(clone.unix_micros(), 2_000_000);
        assert_eq!(clone.instant() - before, Duration::from_secs(2));
        clock.set_wall(UNIX_EPOCH);
        assert_eq!(clone.unix_micros(), 0);
        assert_eq!(clone.instant() - before, Duration::from_secs(2));
    }

    #[test]
    fn the_system_clock_cannot_be_moved() {
        let clock = Clock::system();
        clock.set_wall(UNIX_EPOCH);
        clock.advance(Duration::from_secs(1));
        assert!(clock.unix_micros() > 0);
    }
}
