//! What a run did and why it stopped, for people and for programs.

mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use dify_observe_core::dify::time::Micros;
use dify_observe_core::exit::Exit;
use serde::{Serialize, Serializer};

pub use text::write_text;

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// Everything that was due was looked at.
    Completed,
    /// The time budget is used up.
    TimeBudget,
    /// The window of the day has closed, or is not open yet.
    Window,
    /// `--max-rows` is reached.
    MaxRows,
    /// SIGTERM or SIGINT.
    Signal,
    /// The pause file is there.
    Paused,
    /// The database was too busy for too long.
    Throttled,
    /// Exporter or shipper have not taken in what was to be deleted, or cannot be asked.
    Guarded,
    /// Another dify-janitor is at work.
    Locked,
    /// Something about the database or the configuration forbids a run.
    Refused,
    /// The database cannot be had.
    Database,
    /// The archive cannot be had, or gives back something else than was written.
    Archive,
    /// Any other failure.
    Failed,
}

impl Stop {
    /// All of them: the values of the label `reason` of `dify_janitor_last_run_outcome`.
    pub const ALL: [Stop; 13] = [
        Stop::Completed,
        Stop::TimeBudget,
        Stop::Window,
        Stop::MaxRows,
        Stop::Signal,
        Stop::Paused,
        Stop::Throttled,
        Stop::Guarded,
        Stop::Locked,
        Stop::Refused,
        Stop::Database,
        Stop::Archive,
        Stop::Failed,
    ];

    /// A fixed word for labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Stop::Completed => "completed",
            Stop::TimeBudget => "time_budget",
            Stop::Window => "window",
            Stop::MaxRows => "max_rows",
            Stop::Signal => "signal",
            Stop::Paused => "paused",
            Stop::Throttled => "throttled",
            Stop::Guarded => "guarded",
            Stop::Locked => "locked",
            Stop::Refused => "refused",
            Stop::Database => "database",
            Stop::Archive => "archive",
            Stop::Failed => "failed",
        }
    }

    /// Whether the run is one that an operator calls good: it did what it could within the limits that were set for it.
    pub const fn is_success(self) -> bool {
        matches!(self, Stop::Completed | Stop::TimeBudget | Stop::Window | Stop::MaxRows | Stop::Signal | Stop::Paused)
    }
}

/// What became of a bundle that was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BundleResult {
    /// Archived, verified and deleted.
    Deleted,
    /// Dify changed it between archiving and deleting: the next run takes it.
    Changed,
    /// Somebody held its row: the next run takes it.
    Locked,
    /// It became one that stays between archiving and deleting.
    Protected,
    /// Somebody else had deleted it.
    Gone,
    /// Exporter or shipper have not taken it in yet.
    Guarded,
    /// Archived, and given up before it was deleted, because the run ended: the next run takes it.
    Postponed,
}

impl BundleResult {
    /// A fixed word for labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            BundleResult::Deleted => "deleted",
            BundleResult::Changed => "changed",
            BundleResult::Locked => "locked",
            BundleResult::Protected => "protected",
            BundleResult::Gone => "gone",
            BundleResult::Guarded => "guarded",
            BundleResult::Postponed => "postponed",
        }
    }
}

/// Figures of one table.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TableReport {
    /// Rows deleted.
    pub rows_deleted: u64,
    /// Rows written to the archive.
    pub rows_archived: u64,
    /// Bytes that they take in the archive, compressed.
    pub bytes_archived: u64,
    /// Time spent in its statements that delete, in seconds.
    #[serde(rename = "delete_seconds", serialize_with = "seconds")]
    pub delete_time: Duration,
}

/// What was left over by a run that did not end well, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Recovered {
    /// Batches that were found unfinished, and are done now.
    pub batches: u64,
    /// Bundles in them that were gone from the database: the archive keeps them.
    pub gone: u64,
    /// Bundles in them of which a part was gone, and that were finished.
    pub finished: u64,
    /// Bundles in them of which a part was gone and the rest changed: the part was put back.
    pub put_back: u64,
    /// Bundles in them that were still there: taken out of the archive, to be looked at anew.
    pub untouched: u64,
}

/// What a run did.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Why it ended.
    pub outcome: Stop,
    /// One sentence, where it ended for a reason that somebody should look at.
    pub problem: Option<String>,
    /// When it began, UTC.
    #[serde(serialize_with = "time")]
    pub started_at: Micros,
    /// How long it took, in seconds.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub took: Duration,
    /// Bundles that were due, by what became of them.
    pub bundles: BTreeMap<BundleResult, u64>,
    /// Bundles that stay, by the reason; young ones are not looked at and not counted.
    pub stays: BTreeMap<String, u64>,
    /// Bundles deleted, by the policy that let them go.
    pub policies: BTreeMap<String, u64>,
    /// Figures by table.
    pub tables: BTreeMap<String, TableReport>,
    /// Batches written to the archive.
    pub batches: u64,
    /// What an earlier run had left.
    pub recovered: Recovered,
    /// Bundles that came back after their deletion and were made whole.
    pub revenants: u64,
    /// Time waited, by the reason, in seconds.
    #[serde(rename = "throttled_seconds", serialize_with = "seconds_by")]
    pub throttled: BTreeMap<String, Duration>,
    /// What is still due.
    pub remaining: Remaining,
}

/// What is still due when a run ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Remaining {
    /// Bundles that are known to be due and are still there.
    pub bundles: u64,
    /// Whether there may be more, because the run ended before it had looked at everything.
    pub more: bool,
}

impl Report {
    /// Begins now.
    pub fn new(started_at: Micros) -> Self {
        Report {
            outcome: Stop::Completed,
            problem: None,
            started_at,
            took: Duration::ZERO,
            bundles: BTreeMap::new(),
            stays: BTreeMap::new(),
            policies: BTreeMap::new(),
            tables: BTreeMap::new(),
            batches: 0,
            recovered: Recovered::default(),
            revenants: 0,
            throttled: BTreeMap::new(),
            remaining: Remaining::default(),
        }
    }

    /// Counts bundles.
    pub fn count(&mut self, result: BundleResult, bundles: u64) {
        *self.bundles.entry(result).or_default() += bundles;
    }

    /// Counts bundles that were due and stayed, and that the next run will find again where they are due still.
    pub fn leave(&mut self, result: BundleResult, bundles: u64) {
        if bundles == 0 {
            return;
        }
        self.count(result, bundles);
        if !matches!(result, BundleResult::Gone | BundleResult::Protected) {
            self.remaining.bundles += bundles;
        }
    }

    /// Counts bundles that stay.
    pub fn stay(&mut self, reason: &str, bundles: u64) {
        match self.stays.get_mut(reason) {
            Some(count) => *count += bundles,
            None => drop(self.stays.insert(reason.to_owned(), bundles)),
        }
    }

    /// Counts time waited.
    pub fn waited(&mut self, reason: &str, time: Duration) {
        *self.throttled.entry(reason.to_owned()).or_default() += time;
    }

    /// The figures of a table.
    pub fn table(&mut self, table: &str) -> &mut TableReport {
        self.tables.entry(table.to_owned()).or_default()
    }

    /// Bundles of one result.
    pub fn bundles(&self, result: BundleResult) -> u64 {
        self.bundles.get(&result).copied().unwrap_or(0)
    }

    /// Rows deleted, of all tables.
    pub fn rows_deleted(&self) -> u64 {
        self.tables.values().map(|table| table.rows_deleted).sum()
    }

    /// Whether anything is known, or supposed, to be due still.
    pub fn work_is_left(&self) -> bool {
        self.remaining.bundles > 0 || self.remaining.more
    }

    /// How the process ends that ran this. A run that deleted something, or had nothing to delete, did well; one that was kept from
    /// everything asks to be tried again later.
    pub fn exit(&self) -> Exit {
        match self.outcome {
            Stop::Database | Stop::Archive => Exit::Unavailable,
            Stop::Refused | Stop::Failed => Exit::Failed,
            Stop::Locked => Exit::TryLater,
            _ if self.rows_deleted() > 0 || !self.work_is_left() => Exit::Done,
            Stop::Completed if self.bundles(BundleResult::Guarded) == 0 => Exit::Done,
            _ => Exit::TryLater,
        }
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(milliseconds(*duration))
}

fn seconds_by<S: Serializer>(durations: &BTreeMap<String, Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(durations.iter().map(|(reason, duration)| (reason, milliseconds(*duration))))
}

/// Seconds to the millisecond.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_millis() as f64 / 1e3
}

fn time<S: Serializer>(time: &Micros, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcome: Stop, deleted: u64, remaining: Remaining) -> Report {
        let mut report = Report { outcome, remaining, ..Report::new(Micros(0)) };
        report.table("messages").rows_deleted = deleted;
        report
    }

    #[test]
    fn a_night_that_ran_out_of_time_did_not_fail() {
        let left = Remaining { bundles: 1, more: true };
        for outcome in [Stop::TimeBudget, Stop::Window, Stop::MaxRows, Stop::Signal, Stop::Paused, Stop::Throttled, Stop::Guarded] {
            assert_eq!(report(outcome, 1, left.clone()).exit(), Exit::Done, "{outcome:?}");
            assert_eq!(report(outcome, 0, left.clone()).exit(), Exit::TryLater, "{outcome:?}");
            assert_eq!(report(outcome, 0, Remaining::default()).exit(), Exit::Done, "{outcome:?}");
        }
    }

    #[test]
    fn nothing_to_do_is_done_and_everything_guarded_is_not() {
        assert_eq!(report(Stop::Completed, 0, Remaining::default()).exit(), Exit::Done);
        let mut guarded = report(Stop::Completed, 0, Remaining { bundles: 2, more: false });
        guarded.count(BundleResult::Guarded, 2);
        assert_eq!(guarded.exit(), Exit::TryLater);
        guarded.table("messages").rows_deleted = 1;
        assert_eq!(guarded.exit(), Exit::Done);
    }

    #[test]
    fn trouble_is_told_whatever_was_deleted() {
        for (outcome, exit) in [(Stop::Database, Exit::Unavailable), (Stop::Archive, Exit::Unavailable), (Stop::Failed, Exit::Failed)] {
            assert_eq!(report(outcome, 7, Remaining::default()).exit(), exit);
        }
    }

    #[test]
    fn words_of_labels_and_of_json_are_the_same() {
        for stop in Stop::ALL {
            assert_eq!(serde_json::to_value(stop).unwrap(), stop.as_str());
        }
        assert_eq!(serde_json::to_value(BundleResult::Postponed).unwrap(), BundleResult::Postponed.as_str());
    }
}
