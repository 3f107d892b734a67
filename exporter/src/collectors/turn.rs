//! The turns of one collector: when, how it went, and the values it last had.

use std::time::{Duration, Instant};

use dify_observe_core::dify::schema::Schema;
use dify_observe_core::dify::session::DatabaseError;
use dify_observe_core::dify::statistics::{Off, Subject};
use dify_observe_core::dify::time::Micros;

use super::Gathered;
use crate::catalogue;
use crate::store::{GaugeSet, Labels, Scheme};

/// One collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collector {
    /// A subject of the slow figures.
    Subject(Subject),
    /// Dify's own Monitoring page, for today.
    Console,
}

impl Collector {
    /// The value of the label `collector`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Collector::Subject(subject) => subject.as_str(),
            Collector::Console => "console",
        }
    }

    pub(super) fn gate(self, schema: &Schema, max_rows: u64) -> Result<(), Off> {
        match self {
            Collector::Subject(subject) => subject.gate(schema, max_rows),
            Collector::Console => Subject::Apps.gate(schema, max_rows),
        }
    }
}

/// How the last turn of a collector went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Which.
    pub collector: Collector,
    /// Whether its values are fresh.
    pub success: bool,
    /// How long it took.
    pub duration: Duration,
    /// When it last succeeded.
    pub last_success: Option<Micros>,
}

impl Report {
    /// Adds the collector's self metrics to a set.
    pub fn describe(&self, gauges: &mut GaugeSet) {
        let labels = Labels::global([self.collector.as_str()]);
        gauges.set(&catalogue::COLLECTOR_SUCCESS, &labels, f64::from(u8::from(self.success)));
        gauges.set(&catalogue::COLLECTOR_DURATION, &labels, self.duration.as_secs_f64());
        if let Some(time) = self.last_success {
            gauges.set(&catalogue::COLLECTOR_LAST_SUCCESS, &labels, time.as_secs_f64());
        }
    }
}

/// A collector, when it last had its turn, and what it found.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) collector: Collector,
    pub(super) gauges: GaugeSet,
    last: Option<Instant>,
    /// Outcome and duration of the last turn; `None` while the collector is off.
    outcome: Option<(bool, Duration)>,
    last_success: Option<Micros>,
    /// What the log was last told about why the collector is off or failing.
    complaint: Option<String>,
}

impl Turn {
    pub(super) fn new(collector: Collector, scheme: Scheme) -> Self {
        Turn { collector, gauges: GaugeSet::new(scheme), last: None, outcome: None, last_success: None, complaint: None }
    }

    pub(super) fn due_in(&self, now: Instant, interval: Duration) -> Duration {
        self.last.map_or(Duration::ZERO, |last| (last + interval).saturating_duration_since(now))
    }

    /// The collector cannot be on here. Its values go, because nothing keeps them true.
    pub(super) fn off(&mut self, reason: &Off, scheme: &Scheme) {
        self.last = Some(Instant::now());
        self.outcome = None;
        self.gauges = GaugeSet::new(scheme.clone());
        let reason = reason.to_string();
        if self.complaint.as_ref() != Some(&reason) {
            tracing::info!(collector = self.collector.as_str(), %reason, "families are off; `dify-exporter check` says how to switch them on");
            self.complaint = Some(reason);
        }
    }

    /// Takes the outcome of a turn; values of a failed one stay as they were.
    pub(super) fn done(&mut self, result: Result<Gathered, DatabaseError>, duration: Duration) -> Option<Gathered> {
        self.last = Some(Instant::now());
        self.outcome = Some((result.is_ok(), duration));
        match result {
            Ok(gathered) => {
                self.last_success = Some(Micros::now());
                self.complaint = None;
                self.gauges = gathered.gauges.clone();
                Some(gathered)
            }
            Err(error) => {
                let error = error.to_string();
                if self.complaint.as_ref() != Some(&error) {
                    tracing::warn!(collector = self.collector.as_str(), %error, "a collector failed; its last values stay");
                    self.complaint = Some(error);
                }
                None
            }
        }
    }

    pub(super) fn report(&self) -> Option<Report> {
        let (success, duration) = self.outcome?;
        Some(Report { collector: self.collector, success, duration, last_success: self.last_success })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn() -> Turn {
        Turn::new(Collector::Subject(Subject::Tables), Scheme::default())
    }

    fn gathered(bytes: f64) -> Gathered {
        let mut gauges = GaugeSet::new(Scheme::default());
        gauges.set_global(&catalogue::DATABASE_SIZE, bytes);
        Gathered { gauges, feedbacks: None, documents: None }
    }

    fn size(turn: &Turn) -> Option<f64> {
        turn.gauges.series(&catalogue::DATABASE_SIZE).next().map(|(_, value)| value)
    }

    #[test]
    fn a_failed_turn_keeps_the_values_and_says_so() {
        let mut turn = turn();
        turn.done(Ok(gathered(7.0)), Duration::ZERO);
        turn.done(Err(DatabaseError::Timeout), Duration::ZERO);
        assert_eq!(size(&turn), Some(7.0));
        let report = turn.report().unwrap();
        assert!(!report.success);
        assert!(report.last_success.is_some());
    }

    #[test]
    fn what_is_off_has_no_values_and_no_report() {
        let mut turn = turn();
        turn.done(Ok(gathered(7.0)), Duration::ZERO);
        turn.off(&Off::Missing { table: "documents", column: None }, &Scheme::default());
        assert_eq!(size(&turn), None);
        assert_eq!(turn.report(), None);
    }

    #[test]
    fn a_turn_is_due_at_once_and_then_after_the_interval() {
        let mut turn = turn();
        let (now, interval) = (Instant::now(), Duration::from_secs(300));
        assert_eq!(turn.due_in(now, interval), Duration::ZERO);
        turn.done(Err(DatabaseError::Timeout), Duration::ZERO);
        assert!(turn.due_in(Instant::now(), interval) > Duration::from_secs(200));
    }
}
