//! `[janitor.throttle]`: when deleting gives way.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// When deleting gives way: it waits, between two transactions, for as long as one of these is exceeded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ThrottleSettings {
    /// How far a replica may be behind in replaying. Needs the role `pg_monitor`. `0s` does not look at replicas.
    #[serde(with = "humantime_serde")]
    pub max_replica_lag: Duration,
    /// How many other sessions may be busy at the same time. When not set: any number.
    pub max_active_sessions: Option<u32>,
    /// How old the oldest other transaction may be: as long as it is open, what was deleted cannot be cleaned up. `0s` does not look.
    #[serde(with = "humantime_serde")]
    pub max_transaction_age: Duration,
    /// Whether to wait while autovacuum works on a table that rows are deleted from.
    pub autovacuum: bool,
    /// A statement of your own that yields one number, such as `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'`.
    /// Deleting waits while it is above `query_limit`. It runs in a read-only transaction with `janitor.statement_timeout`.
    pub query: Option<String>,
    /// The limit of `query`.
    pub query_limit: f64,
}

impl Default for ThrottleSettings {
    fn default() -> Self {
        ThrottleSettings {
            max_replica_lag: Duration::from_secs(10),
            max_active_sessions: None,
            max_transaction_age: Duration::from_secs(15 * 60),
            autovacuum: true,
            query: None,
            query_limit: 0.0,
        }
    }
}

impl ThrottleSettings {
    pub(super) fn validate(&self) -> Result<(), (&'static str, String)> {
        if self.max_active_sessions == Some(0) {
            return Err(("max_active_sessions", "is 0, so that nothing would ever be done: write 1 or more".to_owned()));
        }
        if self.query.as_ref().is_some_and(|query| query.trim().is_empty()) {
            return Err(("query", "is empty: write a statement that yields one number, or leave the key out".to_owned()));
        }
        if self.query_limit.is_nan() {
            return Err(("query_limit", "is not a number".to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_wait_for_ever_is_refused() {
        let refused = |settings: ThrottleSettings| settings.validate().unwrap_err().0;
        let default = ThrottleSettings::default;
        assert_eq!(refused(ThrottleSettings { max_active_sessions: Some(0), ..default() }), "max_active_sessions");
        assert_eq!(refused(ThrottleSettings { query: Some(" ".to_owned()), ..default() }), "query");
        assert_eq!(refused(ThrottleSettings { query_limit: f64::NAN, ..default() }), "query_limit");
        assert_eq!(default().validate(), Ok(()));
    }
}
