//! Whether the server has enough to do without us.

use std::time::{Duration, Instant};

use dify_observe_core::dify::retention::pressure::{self, Pressure};
use dify_observe_core::dify::session::{Database, DatabaseError};
use dify_observe_core::settings::ThrottleSettings;

/// A look is good for so long: short transactions do not cost a look each.
const FRESH: Duration = Duration::from_secs(1);

/// Looks at the server, and says for what to wait.
#[derive(Debug)]
pub(super) struct Throttle {
    database: Database,
    settings: ThrottleSettings,
    timeout: Duration,
    /// Sessions of ours, by their names: the locks of all binaries keep a transaction open and are not waited for.
    ours: Vec<String>,
    /// Tables that rows are deleted from.
    tables: Vec<String>,
    calm_at: Option<Instant>,
}

impl Throttle {
    pub(super) fn new(database: Database, settings: ThrottleSettings, timeout: Duration, ours: Vec<String>, tables: Vec<String>) -> Self {
        Throttle { database, settings, timeout, ours, tables, calm_at: None }
    }

    /// What to wait for, as a fixed word; nothing when the server has room for us.
    pub(super) async fn reason(&mut self) -> Result<Option<&'static str>, DatabaseError> {
        if self.calm_at.is_some_and(|at| at.elapsed() < FRESH) {
            return Ok(None);
        }
        let reason = match self.look().await? {
            Some(reason) => Some(reason),
            None => self.ask().await?,
        };
        self.calm_at = reason.is_none().then(Instant::now);
        Ok(reason)
    }

    async fn look(&self) -> Result<Option<&'static str>, DatabaseError> {
        let mut tx = self.database.read(self.timeout).await?;
        let pressure = Pressure::read(&mut tx, &self.ours).await?;
        tx.end().await?;
        Ok(judge(&pressure, &self.settings, &self.tables))
    }

    async fn ask(&self) -> Result<Option<&'static str>, DatabaseError> {
        let Some(statement) = &self.settings.query else { return Ok(None) };
        let value = pressure::ask(&self.database, statement, self.timeout).await?;
        Ok(value.is_some_and(|value| value > self.settings.query_limit).then_some("query"))
    }
}

/// What cannot be seen is not waited for: `check` says which right is missing.
fn judge(pressure: &Pressure, settings: &ThrottleSettings, tables: &[String]) -> Option<&'static str> {
    let lag = pressure.replicas.iter().filter_map(|replica| replica.seconds).fold(0.0, f64::max);
    if !settings.max_replica_lag.is_zero() && lag > settings.max_replica_lag.as_secs_f64() {
        return Some("replica_lag");
    }
    let sessions = pressure.active_sessions.unwrap_or(0);
    if settings.max_active_sessions.is_some_and(|most| sessions > i64::from(most)) {
        return Some("active_sessions");
    }
    let oldest = pressure.oldest_transaction.unwrap_or(0.0);
    if !settings.max_transaction_age.is_zero() && oldest > settings.max_transaction_age.as_secs_f64() {
        return Some("transaction_age");
    }
    (settings.autovacuum && pressure.vacuumed.iter().any(|table| tables.contains(table))).then_some("autovacuum")
}

#[cfg(test)]
mod tests {
    use dify_observe_core::dify::retention::pressure::Replica;

    use super::*;

    fn replica(seconds: Option<f64>) -> Replica {
        Replica { name: "r".to_owned(), bytes: None, seconds }
    }

    fn judged(change: impl FnOnce(&mut Pressure, &mut ThrottleSettings)) -> Option<&'static str> {
        let (mut pressure, mut settings) = (Pressure::default(), ThrottleSettings::default());
        change(&mut pressure, &mut settings);
        judge(&pressure, &settings, &["messages".to_owned()])
    }

    #[test]
    fn each_limit_is_waited_for_and_what_cannot_be_seen_is_not() {
        assert_eq!(judged(|_, _| {}), None);
        assert_eq!(judged(|p, _| p.replicas = vec![replica(None), replica(Some(10.0))]), None);
        assert_eq!(judged(|p, _| p.replicas = vec![replica(Some(0.0)), replica(Some(10.1))]), Some("replica_lag"));
        assert_eq!(judged(|p, _| p.active_sessions = Some(1000)), None, "there is no limit by default");
        let busy = |p: &mut Pressure, s: &mut ThrottleSettings| (p.active_sessions, s.max_active_sessions) = (Some(5), Some(4));
        assert_eq!(judged(busy), Some("active_sessions"));
        assert_eq!(judged(|p, _| p.oldest_transaction = Some(901.0)), Some("transaction_age"));
        assert_eq!(judged(|p, _| p.vacuumed = vec!["accounts".to_owned()]), None);
        assert_eq!(judged(|p, _| p.vacuumed = vec!["messages".to_owned()]), Some("autovacuum"));
    }

    #[test]
    fn limits_can_be_switched_off() {
        let off = |p: &mut Pressure, s: &mut ThrottleSettings| {
            *p = Pressure {
                oldest_transaction: Some(1e6),
                replicas: vec![replica(Some(1e6))],
                vacuumed: vec!["messages".to_owned()],
                ..Pressure::default()
            };
            (s.max_replica_lag, s.max_transaction_age, s.autovacuum) = (Duration::ZERO, Duration::ZERO, false);
        };
        assert_eq!(judged(off), None);
    }
}
