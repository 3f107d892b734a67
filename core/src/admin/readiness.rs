//! Readiness: a latch that every named condition must let go of.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

/// Whether the process can do its work, and if not, why. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, State>>>);

#[derive(Clone, Debug)]
enum State {
    Met,
    Missing(String),
}

/// One thing that must be so before the process is ready. Its owner says when it is and when it is no longer.
#[derive(Clone, Debug)]
pub struct Condition {
    name: &'static str,
    readiness: Readiness,
}

impl Readiness {
    /// Without conditions: ready.
    pub fn new() -> Self {
        Readiness::default()
    }

    /// Adds a condition, which is missing until its owner says otherwise.
    pub fn condition(&self, name: &'static str) -> Condition {
        self.set(name, State::Missing("starting".to_owned()));
        Condition { name, readiness: self.clone() }
    }

    /// Whether every condition is met.
    pub fn is_ready(&self) -> bool {
        self.lock().values().all(|state| matches!(state, State::Met))
    }

    /// One line per condition.
    pub fn report(&self) -> String {
        let mut report = String::from(if self.is_ready() { "ready\n" } else { "not ready\n" });
        for (name, state) in self.lock().iter() {
            let state = match state {
                State::Met => "ok",
                State::Missing(reason) => reason,
            };
            // Writing to a string cannot fail.
            let _infallible = writeln!(report, "{name}: {state}");
        }
        report
    }

    fn set(&self, name: &'static str, state: State) {
        self.lock().insert(name, state);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Condition {
    /// It is met.
    pub fn ready(&self) {
        self.readiness.set(self.name, State::Met);
    }

    /// It is not met (any more), for this reason: one line, no secrets, no content.
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.readiness.set(self.name, State::Missing(reason.into().replace('\n', " ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_every_condition_is_met_and_not_longer() {
        let readiness = Readiness::new();
        assert!(readiness.is_ready());
        let (database, state) = (readiness.condition("database"), readiness.condition("state"));
        database.ready();
        assert!(!readiness.is_ready());
        state.ready();
        assert_eq!(readiness.report(), "ready\ndatabase: ok\nstate: ok\n");
        state.not_ready("disk\nfull");
        assert_eq!(readiness.report(), "not ready\ndatabase: ok\nstate: disk full\n");
    }
}
