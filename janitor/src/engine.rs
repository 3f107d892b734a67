//! A run: finishes what an earlier one left, heals what came back, then archives and deletes what is due, batch by batch.
//!
//! Every step leaves a state from which the next run goes on; `docs/architecture.md` lists them.

mod batch;
mod brake;
mod delete;
mod group;
mod halt;
mod heal;
mod patience;
mod recover;
mod sweep;
#[cfg(test)]
mod tests;
mod throttle;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dify_observe_core::dify::retention::{Drafts, Ownership};
use dify_observe_core::dify::schema::Schema;
use dify_observe_core::dify::session::Database;
use dify_observe_core::dify::time::Micros;
use dify_observe_core::settings::JanitorSettings;
use dify_observe_core::shutdown::Shutdown;
use uuid::Uuid;

use crate::archive::Archive;
use crate::budget::Budget;
use crate::guard::Guard;
use crate::lock::Lock;
use crate::metrics::Metrics;
use crate::pace::Pace;
use crate::policy::{Apps, Policies};
use crate::progress::Progress;
use crate::report::Report;
use brake::Brake;
use group::RowEstimate;
pub use halt::Halt;
use throttle::Throttle;

/// What a run is made of.
#[derive(Debug)]
pub struct Parts {
    /// Dify's database.
    pub database: Database,
    /// Names of sessions of ours that must not be waited for.
    pub sessions: Vec<String>,
    /// What the database offers.
    pub schema: Arc<Schema>,
    /// What hangs on what.
    pub ownership: Arc<Ownership>,
    /// Where rows go.
    pub archive: Archive,
    /// The configuration.
    pub settings: JanitorSettings,
    /// What goes and what stays.
    pub policies: Policies,
    /// What is known of apps.
    pub apps: Apps,
    /// What the command line leaves out.
    pub only: Only,
    /// Which database this is, for the archive's lists.
    pub identity: String,
    /// What may be used up.
    pub budget: Budget,
    /// Tells when to end.
    pub shutdown: Shutdown,
    /// Who is waited for.
    pub guard: Guard,
    /// That nobody else is at work.
    pub lock: Lock,
    /// What all runs counted.
    pub metrics: Metrics,
    /// The database's clock when the run began: every age counts from it.
    pub now: Micros,
    /// About what is due, by table.
    pub due: BTreeMap<String, DueRows>,
}

/// About what is due in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueRows {
    /// Rows.
    pub rows: u64,
    /// The oldest of them, where the table has a time.
    pub oldest: Option<Micros>,
}

/// What the command line leaves out; empty: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Only {
    /// Only these apps.
    pub apps: HashSet<Uuid>,
    /// Only what these policies let go.
    pub policies: HashSet<String>,
}

/// A run in progress.
#[derive(Debug)]
pub struct Engine {
    database: Database,
    schema: Arc<Schema>,
    ownership: Arc<Ownership>,
    archive: Archive,
    settings: JanitorSettings,
    policies: Policies,
    apps: Apps,
    only: Only,
    identity: String,
    held: HashMap<Uuid, Micros>,
    drafts: Arc<Drafts>,
    guard: Guard,
    brake: Brake,
    pace: Pace,
    estimate: RowEstimate,
    metrics: Metrics,
    report: Report,
    progress: Progress,
    now: Micros,
    due: BTreeMap<String, DueRows>,
    /// The end of the newest bundle that was deleted: what is older is gone, because the oldest go first.
    reached: Option<Micros>,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// What it did.
    pub report: Report,
    /// What went wrong, where something did.
    pub error: Option<anyhow::Error>,
    /// What all runs counted, this one included.
    pub metrics: Metrics,
}

impl Engine {
    /// Puts the parts together. Nothing is done yet.
    pub fn new(parts: Parts) -> Self {
        let Parts { database, settings, ownership, .. } = parts;
        let timeout = settings.statement_timeout;
        let tables = tables(&ownership);
        let throttle = Throttle::new(database.clone(), settings.throttle.clone(), timeout, parts.sessions, tables);
        let pause_file: Option<PathBuf> = settings.pause_file.clone();
        Engine {
            brake: Brake { shutdown: parts.shutdown, budget: parts.budget, pause_file, lock: parts.lock, throttle },
            pace: Pace::new(settings.pace, settings.transaction_target, u64::from(settings.transaction_rows)),
            database,
            schema: parts.schema,
            ownership,
            archive: parts.archive,
            settings,
            policies: parts.policies,
            apps: parts.apps,
            only: parts.only,
            identity: parts.identity,
            held: HashMap::new(),
            drafts: Arc::default(),
            guard: parts.guard,
            estimate: RowEstimate::default(),
            metrics: parts.metrics,
            report: Report::new(parts.now),
            progress: Progress::new(parts.due.values().map(|due| due.rows).sum(), "rows"),
            now: parts.now,
            due: parts.due,
            reached: None,
        }
    }

    /// Runs to the end, whatever it is.
    pub async fn run(mut self) -> Ended {
        let began = Instant::now();
        let error = match self.work().await {
            Ok(()) => None,
            Err(Halt { stop, error }) => {
                self.report.outcome = stop;
                error
            }
        };
        self.report.took = began.elapsed();
        self.count_what_is_left();
        self.brake.lock.release().await;
        let policies: Vec<String> = self.policies.names().map(ToString::to_string).collect();
        self.metrics.add(&self.report, policies, self.now.plus(self.report.took));
        Ended { report: self.report, error, metrics: self.metrics }
    }

    async fn work(&mut self) -> Result<(), Halt> {
        self.report.remaining.more = true;
        // Before anything else: a guard that does not answer must not be found out about after an hour of reading.
        self.guard.covered(self.now).await?;
        self.brake.check(&mut self.report).await?;
        self.held = self.archive.holds(self.now).await?;
        self.recover().await?;
        self.heal().await?;
        self.drafts = Arc::new(Drafts::read(&self.database, &self.ownership, self.read_timeout()).await?);
        self.sweep().await?;
        self.report.remaining.more = false;
        Ok(())
    }

    /// Rows that are due and still there: none, once everything was looked at and went; else what the plan had said, less what went.
    fn count_what_is_left(&mut self) {
        let all_went = !self.report.work_is_left();
        let cutoff = self.policies.loosest_cutoff(self.now);
        for (table, due) in &self.due {
            let deleted = self.report.tables.get(table).map_or(0, |figures| figures.rows_deleted);
            let rows = if all_went { 0 } else { due.rows.saturating_sub(deleted) };
            let oldest = due.oldest.max(self.reached).filter(|_| rows > 0);
            self.metrics.past_cutoff(table, rows, oldest.map_or(Duration::ZERO, |oldest| cutoff.since(oldest)));
        }
    }

    /// How long a statement that reads may take: passes and pages read more than what deletes.
    fn read_timeout(&self) -> Duration {
        self.settings.statement_timeout.max(Duration::from_secs(30))
    }
}

/// Every table that rows are deleted from.
fn tables(ownership: &Ownership) -> Vec<String> {
    let members = ownership.run.iter().chain(&ownership.conversation);
    let tables: HashSet<&str> = members.map(|member| member.shape.table.as_str()).collect();
    tables.into_iter().map(str::to_owned).collect()
}
