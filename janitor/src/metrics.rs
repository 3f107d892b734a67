//! What dify-janitor counts, over all of its runs.
//!
//! A run is a short process whose numbers are handed over as a file, or pushed: a counter that began at 0 every night would show
//! nothing to a rate. So they are kept in `state_dir`.

mod render;

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use dify_observe_core::dify::time::Micros;
use serde::{Deserialize, Serialize};

use crate::report::{Report, Stop};

/// Upper bounds of `dify_janitor_batch_duration_seconds`.
const BUCKETS: [f64; 10] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Name of the file in the state folder.
pub const FILE: &str = "metrics.json";

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metrics {
    last_success: BTreeMap<String, f64>,
    last_outcome: Option<String>,
    rows_deleted: BTreeMap<String, u64>,
    rows_past_cutoff: BTreeMap<String, u64>,
    seconds_past_cutoff: BTreeMap<String, f64>,
    bytes_archived: u64,
    bundles: BTreeMap<String, u64>,
    revenants: u64,
    throttled_seconds: BTreeMap<String, f64>,
    batches: Histogram,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Histogram {
    counts: [u64; BUCKETS.len() + 1],
    sum: f64,
}

impl Metrics {
    /// What earlier runs counted; nothing where there is no file, or one that cannot be read: a counter may begin anew.
    pub fn load(path: &Path) -> Self {
        std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Keeps them for the next run.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let new = path.with_extension("new");
        let mut file = std::fs::File::create(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    }

    /// A batch went from reading its first row to its end.
    pub fn batch_took(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS.len());
        self.batches.counts[bucket] += 1;
        self.batches.sum += seconds;
    }

    /// How many rows are past their cutoff and still there, and how far the oldest of them is past it.
    pub fn past_cutoff(&mut self, table: &str, rows: u64, oldest: Duration) {
        self.rows_past_cutoff.insert(table.to_owned(), rows);
        self.seconds_past_cutoff.insert(table.to_owned(), oldest.as_secs_f64());
    }

    /// Adds what a run did. `policies` are those that were in force.
    pub fn add(&mut self, report: &Report, policies: impl IntoIterator<Item = String>, now: Micros) {
        self.last_outcome = Some(report.outcome.as_str().to_owned());
        if report.outcome.is_success() {
            self.last_success.extend(policies.into_iter().map(|policy| (policy, now.as_secs_f64())));
        }
        for (table, figures) in &report.tables {
            *self.rows_deleted.entry(table.clone()).or_default() += figures.rows_deleted;
            self.bytes_archived += figures.bytes_archived;
        }
        for (result, count) in &report.bundles {
            *self.bundles.entry(result.as_str().to_owned()).or_default() += count;
        }
        for (reason, time) in &report.throttled {
            *self.throttled_seconds.entry(reason.clone()).or_default() += time.as_secs_f64();
        }
        self.revenants += report.revenants;
    }

    /// The text that Prometheus, its Pushgateway and the node exporter's textfile collector read (format 0.0.4).
    pub fn render(&self) -> String {
        let mut page = render::Page::default();
        page.gauge("last_success_timestamp_seconds", "When a run last ended well, by policy", "policy", &self.last_success);
        let outcomes = Stop::ALL.map(|stop| (stop.as_str(), u64::from(self.last_outcome.as_deref() == Some(stop.as_str()))));
        page.gauge("last_run_outcome", "Why the last run ended: 1 for the reason", "reason", outcomes);
        page.counter("rows_deleted_total", "Rows deleted", "table", &self.rows_deleted);
        page.gauge("rows_past_cutoff", "Rows that are due and still there, as far as the last run saw", "table", &self.rows_past_cutoff);
        let help = "How far the oldest row that is due and still there is past its cutoff";
        page.gauge("seconds_past_cutoff", help, "table", &self.seconds_past_cutoff);
        page.single_counter("bytes_archived_total", "Bytes written to the archive, compressed", self.bytes_archived);
        page.counter("bundles_total", "Bundles that were due, by what became of them", "result", &self.bundles);
        page.single_counter("revenants_total", "Bundles that came back after their deletion and were made whole", self.revenants);
        page.counter("throttled_seconds_total", "Time waited for the database", "reason", &self.throttled_seconds);
        let help = "Time of a batch from its first row read to its end";
        page.histogram("batch_duration_seconds", help, &BUCKETS, &self.batches.counts, self.batches.sum);
        page.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::BundleResult;

    fn report() -> Report {
        let mut report = Report::new(Micros(0));
        report.count(BundleResult::Deleted, 2);
        report.table("messages").rows_deleted = 7;
        report.table("messages").bytes_archived = 100;
        report.waited("replica_lag", Duration::from_millis(500));
        report
    }

    #[test]
    fn counters_go_on_from_run_to_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        for _ in 0..2 {
            let mut metrics = Metrics::load(&path);
            metrics.add(&report(), ["default".to_owned()], Micros::from_secs(1_800_000_000));
            metrics.batch_took(Duration::from_millis(700));
            metrics.save(&path).unwrap();
        }
        let text = Metrics::load(&path).render();
        for line in [
            "dify_janitor_rows_deleted_total{table=\"messages\"} 14",
            "dify_janitor_bytes_archived_total 200",
            "dify_janitor_bundles_total{result=\"deleted\"} 4",
            "dify_janitor_throttled_seconds_total{reason=\"replica_lag\"} 1",
            "dify_janitor_last_success_timestamp_seconds{policy=\"default\"} 1800000000",
            "dify_janitor_last_run_outcome{reason=\"completed\"} 1",
            "dify_janitor_last_run_outcome{reason=\"guarded\"} 0",
            "dify_janitor_batch_duration_seconds_bucket{le=\"0.5\"} 0",
            "dify_janitor_batch_duration_seconds_bucket{le=\"1\"} 2",
            "dify_janitor_batch_duration_seconds_bucket{le=\"+Inf\"} 2",
            "dify_janitor_batch_duration_seconds_sum 1.4",
            "dify_janitor_batch_duration_seconds_count 2",
            "# TYPE dify_janitor_rows_deleted_total counter",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn a_bad_night_keeps_the_last_success() {
        let mut metrics = Metrics::default();
        metrics.add(&report(), ["default".to_owned()], Micros::from_secs(1));
        metrics.add(&Report { outcome: Stop::Database, ..report() }, ["default".to_owned()], Micros::from_secs(2));
        let text = metrics.render();
        assert!(text.contains("dify_janitor_last_success_timestamp_seconds{policy=\"default\"} 1\n"), "{text}");
        assert!(text.contains("dify_janitor_last_run_outcome{reason=\"database\"} 1\n"), "{text}");
    }

    #[test]
    fn an_unreadable_file_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        std::fs::write(&path, "{").unwrap();
        assert_eq!(Metrics::load(&path), Metrics::default());
    }
}
