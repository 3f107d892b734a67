//! How many bulk requests at a time an engine can take, found out: one more after each round that went well, half of them after one that
//! was too much.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// Hands out permits.
#[derive(Debug)]
pub(crate) struct Pressure {
    most: f64,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    limit: f64,
    in_flight: u32,
}

/// The right to have one request under way.
#[derive(Debug)]
pub(crate) struct Permit<'a>(&'a Pressure);

impl Pressure {
    /// At most `most` at a time, and two to begin with.
    pub(crate) fn new(most: u32) -> Self {
        let most = f64::from(most.max(1));
        Pressure { most, state: Mutex::new(State { limit: most.min(2.0), in_flight: 0 }), changed: Notify::new() }
    }

    /// Waits for a permit.
    pub(crate) async fn permit(&self) -> Permit<'_> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on a change is noticed, also one before the await.
            changed.as_mut().enable();
            if self.take() {
                return Permit(self);
            }
            changed.await;
        }
    }

    fn take(&self) -> bool {
        self.with(|state| {
            let free = f64::from(state.in_flight + 1) <= state.limit;
            state.in_flight += u32::from(free);
            free
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Permit<'_> {
    /// The request went well.
    pub(crate) fn went_well(self) {
        self.0.with(|state| state.limit = (state.limit + 1.0 / state.limit).min(self.0.most));
    }

    /// The engine said that it is too much.
    pub(crate) fn was_too_much(self) {
        self.0.with(|state| state.limit = (state.limit / 2.0).max(1.0));
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.with(|state| state.in_flight -= 1);
        self.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_grows_to_what_is_allowed_and_halves_when_it_is_too_much() {
        let pressure = Pressure::new(4);
        for _ in 0..100 {
            pressure.permit().await.went_well();
        }
        assert!((pressure.with(|state| state.limit) - 4.0).abs() < 1e-9);
        pressure.permit().await.was_too_much();
        assert!((pressure.with(|state| state.limit) - 2.0).abs() < 1e-9);
        for _ in 0..3 {
            pressure.permit().await.was_too_much();
        }
        assert!((pressure.with(|state| state.limit) - 1.0).abs() < 1e-9);
    }

    #[tokio::test]
    async fn a_permit_that_is_dropped_makes_room() {
        let pressure = Pressure::new(1);
        let first = pressure.permit().await;
        assert!(!pressure.take());
        let waiting = pressure.permit();
        let release = async {
            tokio::task::yield_now().await;
            drop(first);
        };
        let (_second, ()) = tokio::join!(waiting, release);
        assert_eq!(pressure.with(|state| state.in_flight), 1);
    }
}
