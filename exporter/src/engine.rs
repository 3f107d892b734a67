//! Between database and answer: steps the follower, records what it tells, makes it durable, and only then shows it.
//!
//! No value leaves the process that is not durable together with the position that produced it. Memory is disposable: when
//! anything fails between a step and the write, the state is read back from its file.

mod gauges;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use dify_observe_core::dify::catalog::Catalog;
use dify_observe_core::dify::follow::{Event, FollowError, FollowState, Follower, Position, Start, Step};
use dify_observe_core::dify::leader::Leadership;
use dify_observe_core::dify::session::{Database, DatabaseError};
use dify_observe_core::dify::statistics::CompletedDocuments;
use dify_observe_core::dify::time::Micros;
use dify_observe_core::labels::LabelRules;
use dify_observe_core::settings::{self, Settings};
use serde::{Deserialize, Serialize};
use tokio::time::timeout_at;
use tracing::{error, info, warn};

use crate::births::BirthRules;
use crate::cap::BusinessLabel;
use crate::catalogue;
use crate::collectors::{self, Findings, Report};
use crate::encode::{Answer, Format};
use crate::record::{self, SideState};
use crate::state::{self, Loaded, State, StateError};
use crate::store::{GaugeSet, Labels, Scheme, Totals};

/// How often the leader's lock is kept alive.
const LOCK_INTERVAL: Duration = Duration::from_secs(10);
/// Longest wait for the leader's lock: another Prometheus may wait behind this scrape, and a database that is well answers at once.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// Longest wait for the very first step, with which counting begins.
const BEGIN_PATIENCE: Duration = Duration::from_secs(5);
/// How long the first answer after a start waits for a Prometheus. A scraper that does not say it is one gets on after this.
const LONGEST_SNAPSHOT: Duration = Duration::from_secs(2 * 60);

type Durable = State<Option<FollowState>, Side>;

/// What families need to remember beside numbers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Side {
    recorded: SideState,
    documents: Option<CompletedDocuments>,
}

/// What the engine is made of.
#[derive(Debug)]
pub struct Parts {
    /// Reads what is new.
    pub follower: Follower,
    /// For names: apps, data sets, graphs.
    pub database: Database,
    /// The claim to be the only exporter of this database.
    pub leadership: Leadership,
    /// The state file.
    pub state_file: PathBuf,
    /// The configuration.
    pub settings: Settings,
    /// `[labels]`, checked.
    pub labels: LabelRules,
}

/// Everything behind `/metrics` and `/position`.
#[derive(Debug)]
pub struct Engine {
    parts: Parts,
    catalog: Catalog,
    state: Durable,
    scheme: Scheme,
    births: BirthRules,
    health: Health,
    /// The first answer after a start is the stored snapshot, unchanged: what a scrape adds to it would be lost in its
    /// first sample. Set until a Prometheus has seen it, or this time has come.
    snapshot_until: Option<Instant>,
    stepped_at: Option<Instant>,
    /// Events were taken from the follower and are not all counted yet.
    recording: bool,
    locked_at: Option<Instant>,
    slow: GaugeSet,
    reports: Vec<Report>,
}

/// What `/readyz` and the self metrics say.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// The last step read the database.
    pub up: bool,
    /// Another exporter counts for this database.
    pub follows_another: bool,
    /// The state could be written.
    pub state_writable: bool,
    /// A state was there and could not be used.
    pub state_lost: bool,
    /// Why the last step failed, without anything private.
    pub problem: Option<String>,
    /// The database was not asked yet, or could not be reached when it last was: whether it is back shows without a step.
    away: bool,
    step_seconds: f64,
    last_success: Option<Micros>,
}

impl Engine {
    /// Reads the state file. The database is not touched yet.
    pub fn open(parts: Parts) -> Result<Self, StateError> {
        let scheme = Scheme {
            app_name_label: parts.settings.exporter.app_name_label,
            business: BusinessLabel::of_rules(&parts.labels),
            max_series: parts.settings.exporter.max_series_per_family,
        };
        let mut health = Health { state_writable: true, away: true, ..Health::default() };
        let state = match state::read(&parts.state_file, Micros::now())? {
            Loaded::Found(state) => state,
            Loaded::Missing => fresh(&scheme),
            Loaded::Damaged { damage, kept } => {
                error!(reason = %damage, kept = %kept.display(), "the state cannot be used: counting begins anew from now");
                health.state_lost = true;
                fresh(&scheme)
            }
        };
        let was_stored = state.follow.is_some();
        let births = BirthRules::new(parts.settings.exporter.birth_hold);
        let slow = GaugeSet::new(scheme.clone());
        let mut engine = Engine {
            parts,
            catalog: Catalog::default(),
            state,
            scheme,
            births,
            health,
            snapshot_until: was_stored.then(|| Instant::now() + LONGEST_SNAPSHOT),
            stepped_at: None,
            recording: false,
            locked_at: None,
            slow,
            reports: Vec::new(),
        };
        engine.adopt();
        Ok(engine)
    }

    fn adopt(&mut self) {
        for family in self.state.totals.adopt(self.scheme.clone()) {
            warn!(family, "its labels or buckets were changed by the configuration: this family begins anew");
        }
    }

    /// What is well and what is not.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// What is covered, durably.
    pub fn position(&self) -> Option<Position> {
        self.state.follow.as_ref().map(FollowState::position)
    }

    /// When the position was last brought up to date, durably: by a write, or by a step that found nothing to write.
    pub fn covered_at(&self) -> Micros {
        self.health.last_success.unwrap_or(self.state.saved_at).max(self.state.saved_at)
    }

    /// Makes the first state, so that counting begins at the start of the process and not at the first scrape. Later only
    /// looks whether the database can be reached again.
    pub async fn begin(&mut self) {
        let deadline = Instant::now() + BEGIN_PATIENCE;
        if self.state.follow.is_none() {
            if self.hold_the_lock(deadline).await {
                self.advance(deadline).await;
                self.keep();
            }
        } else if !self.health.up && self.health.away {
            self.health.up = self.hold_the_lock(deadline).await || self.health.follows_another;
        }
    }

    /// Answers a scrape by `deadline`, whatever the database does: steps where that is due, and writes the answer to `out`.
    /// `by_prometheus` when the request bore Prometheus' timeout header; only such answers count for births.
    pub async fn answer(&mut self, by_prometheus: bool, deadline: Instant, format: Format, out: &mut Vec<u8>) {
        let may_count = self.hold_the_lock(deadline).await;
        let due = self.stepped_at.is_none_or(|at| at.elapsed() >= self.parts.settings.exporter.min_interval);
        if !self.shows_the_stored_snapshot() {
            if may_count && due {
                self.advance(deadline).await;
            }
            self.keep();
        } else if by_prometheus {
            self.snapshot_until = None;
        }
        if self.health.follows_another {
            let nothing = Totals::new(self.scheme.clone());
            let gauges = gauges::of_the_process(&self.scheme, &self.health, &self.state);
            Answer { totals: &nothing, gauges: &gauges }.encode(format, out);
            return;
        }
        let ticket = by_prometheus.then(|| self.state.totals.begin_answer());
        let gauges = self.gauges();
        Answer { totals: &self.state.totals, gauges: &gauges }.encode(format, out);
        if let Some(ticket) = ticket {
            self.state.totals.answered(ticket, Micros::now());
        }
    }

    /// Until a Prometheus has seen it, what was stored when the process started is what is shown, unchanged.
    fn shows_the_stored_snapshot(&self) -> bool {
        self.snapshot_until.is_some_and(|until| Instant::now() < until)
    }

    fn gauges(&self) -> GaugeSet {
        let mut gauges = gauges::of_the_process(&self.scheme, &self.health, &self.state);
        gauges::of_the_follower(&mut gauges, &self.parts.follower, &self.state, &self.catalog, &self.parts.settings.exporter);
        record::gauges(&self.state.side.recorded, &self.catalog, &mut gauges);
        gauges.replace_families(self.slow.clone());
        self.reports.iter().for_each(|report| report.describe(&mut gauges));
        gauges
    }

    /// Whether this process may count: it has the lock. Where the database cannot be asked, it does not count but shows
    /// what it has.
    async fn hold_the_lock(&mut self, deadline: Instant) -> bool {
        if self.parts.leadership.is_held() && self.locked_at.is_some_and(|at| at.elapsed() < LOCK_INTERVAL) {
            return true;
        }
        let deadline = deadline.min(Instant::now() + LOCK_PATIENCE);
        match timeout_at(deadline.into(), self.parts.leadership.hold()).await.unwrap_or_else(|_| Err(no_answer())) {
            Ok(true) => {
                self.locked_at = Some(Instant::now());
                self.health.follows_another = false;
                true
            }
            Ok(false) => {
                if !self.health.follows_another {
                    warn!("another exporter counts for this database: answering with self metrics only until it is gone");
                }
                self.health.follows_another = true;
                self.health.up = true;
                false
            }
            Err(error) => {
                self.failed(&FollowError::Database(error));
                false
            }
        }
    }

    /// Steps until nothing more comes, or the deadline is near. A step that is not done by then is cut off.
    async fn advance(&mut self, deadline: Instant) {
        let began = Instant::now();
        let last_begin = began + deadline.saturating_duration_since(began).mul_f64(0.8);
        let mut steps = 0;
        loop {
            match timeout_at(deadline.into(), self.step(steps > 0)).await {
                Ok(Ok(more)) => {
                    self.succeeded(began.elapsed());
                    steps += 1;
                    if !more || Instant::now() >= last_begin {
                        break;
                    }
                }
                Ok(Err(error)) => {
                    self.failed(&error);
                    self.revert();
                    break;
                }
                Err(_) => {
                    self.cut_off(steps);
                    break;
                }
            }
        }
        self.stepped_at = Some(Instant::now());
    }

    /// What was recorded by the steps before stays; the step that was cut off left no trace, or is undone with them.
    fn cut_off(&mut self, steps_before: u32) {
        self.parts.follower.cut_off();
        if std::mem::take(&mut self.recording) {
            self.revert();
        }
        if steps_before == 0 {
            self.failed(&FollowError::Database(no_answer()));
        }
    }

    async fn step(&mut self, continues: bool) -> Result<bool, FollowError> {
        let start = self.start();
        let Step::Done { events, late, another_database, more, changed } =
            self.parts.follower.step(&mut self.state.follow, start, continues).await?
        else {
            return Ok(false);
        };
        if changed {
            self.state.totals.mark_dirty();
        }
        if another_database {
            warn!("another database is behind the URL: totals stay, and its records are counted from now on");
            self.state.totals.add(&catalogue::DATABASE_CHANGES, Labels::default(), 1);
            self.state.side.recorded.reset(Micros::now());
            self.catalog.clear();
        }
        for (kind, late) in late.into_iter().filter(|(_, late)| *late > 0) {
            self.state.totals.add(&catalogue::LATE_RECORDS, Labels::global([kind.as_str()]), late);
        }
        // The follower has told these events and will not tell them again.
        self.recording = true;
        let recorded = self.record(&events).await;
        self.recording = false;
        recorded?;
        Ok(more)
    }

    async fn record(&mut self, events: &[Event]) -> Result<(), DatabaseError> {
        if events.is_empty() {
            return Ok(());
        }
        let mut tx = self.parts.database.read(self.parts.settings.postgres.statement_timeout).await?;
        self.catalog.prepare(&mut tx, events, self.parts.follower.schema(), &self.parts.labels).await?;
        tx.end().await?;
        let context = record::Context {
            catalog: &self.catalog,
            labels: &self.parts.labels,
            streak_length: self.parts.settings.exporter.streak_length,
        };
        for event in events {
            record::record(event, &context, &mut self.state.totals, &mut self.state.side.recorded);
        }
        Ok(())
    }

    fn start(&self) -> Start {
        match self.parts.settings.exporter.start {
            // A lost state must not count everything a second time.
            _ if self.health.state_lost => Start::Now,
            settings::Start::Now => Start::Now,
            settings::Start::Beginning => Start::Beginning,
            settings::Start::At(time) => Start::At(time),
        }
    }

    /// Makes durable what changed. Where that fails, the numbers stand still.
    fn keep(&mut self) {
        let now = Micros::now();
        self.state.totals.ripen(self.births, now);
        if !self.state.totals.is_dirty() {
            return;
        }
        self.state.side.recorded.expire(now);
        let saved_before = std::mem::replace(&mut self.state.saved_at, now);
        match tokio::task::block_in_place(|| state::write(&self.parts.state_file, &self.state)) {
            Ok(()) => {
                self.state.totals.saved();
                if !std::mem::replace(&mut self.health.state_writable, true) {
                    info!("the state can be written again");
                }
            }
            Err(error) => {
                if std::mem::replace(&mut self.health.state_writable, false) {
                    error!(reason = %error, source = std::error::Error::source(&error).map(ToString::to_string), "the state cannot be written: the numbers stand still");
                }
                self.state.saved_at = saved_before;
                self.revert();
            }
        }
    }

    /// Goes back to what is durable.
    fn revert(&mut self) {
        if !self.state.totals.is_dirty() {
            return;
        }
        self.state = match state::read(&self.parts.state_file, Micros::now()) {
            Ok(Loaded::Found(state)) => state,
            Ok(Loaded::Missing) => fresh(&self.scheme),
            Ok(Loaded::Damaged { .. }) | Err(_) => {
                self.health.state_lost = true;
                fresh(&self.scheme)
            }
        };
        self.adopt();
    }

    fn succeeded(&mut self, took: Duration) {
        if !std::mem::replace(&mut self.health.up, true) {
            info!("reading the database");
        }
        self.health.problem = None;
        self.health.step_seconds = took.as_secs_f64();
        self.health.last_success = Some(Micros::now());
    }

    fn failed(&mut self, error: &FollowError) {
        let problem = error.to_string();
        if std::mem::replace(&mut self.health.up, false) || self.health.problem.as_ref() != Some(&problem) {
            warn!(kind = error.kind(), reason = %problem, "the database could not be read: showing what was counted before");
        }
        self.health.problem = Some(problem);
        self.health.away = matches!(error, FollowError::Database(DatabaseError::Unreachable(_)));
        // Whether the lock is still ours has to be asked anew.
        self.locked_at = None;
    }

    /// The scheme of all label sets.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// What the collector of documents has to start from; `None` before the first state.
    pub fn completed_documents(&self) -> Option<CompletedDocuments> {
        let follow = self.state.follow.as_ref()?;
        Some(self.state.side.documents.clone().unwrap_or_else(|| CompletedDocuments::since(follow.started_at())))
    }

    /// Takes over what a round of slow collectors found.
    pub async fn absorb(&mut self, findings: Findings) {
        self.slow = findings.gauges;
        self.reports = findings.reports;
        if self.health.follows_another || self.shows_the_stored_snapshot() {
            return;
        }
        let Some(follow) = self.state.follow.as_mut() else { return };
        let start = follow.started_at();
        let events = findings.feedbacks.map(|rows| follow.feedbacks.compare(rows, start)).unwrap_or_default();
        if !events.is_empty() {
            self.state.totals.mark_dirty();
        }
        if let Err(error) = self.record(&events).await {
            self.failed(&FollowError::Database(error));
            return self.revert();
        }
        if let Some((completed, documents)) = findings.documents {
            collectors::observe_documents(&mut self.state.totals, &documents);
            self.state.side.documents = Some(completed);
            self.state.totals.mark_dirty();
        }
        self.keep();
    }
}

fn no_answer() -> DatabaseError {
    DatabaseError::Unreachable("no answer before the scrape had to be answered".to_owned())
}

fn fresh(scheme: &Scheme) -> Durable {
    let mut side = Side::default();
    side.recorded.begin(Micros::now());
    State { saved_at: Micros::default(), follow: None, side, totals: Totals::new(scheme.clone()) }
}
