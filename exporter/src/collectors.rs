//! What no index serves by time: asked for at long intervals, out of the way of scrapes.
//!
//! Each collector is one subject with its own turn, deadline and outcome: one that fails or is off silences no other, and
//! keeps its last values. What they find that must be durable (feedback, completed documents) is handed over, never counted
//! here: counters belong to whoever owns the state.

mod apps;
mod console;
mod database;
mod knowledge;
mod queues;
mod turn;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dify_observe_core::dify::follow::Detail;
use dify_observe_core::dify::records::Feedback;
use dify_observe_core::dify::schema::Schema;
use dify_observe_core::dify::session::{Database, DatabaseError, ReadTx};
use dify_observe_core::dify::statistics::{self, CompletedDocuments, IndexedDocument, Subject};
use dify_observe_core::dify::time::Micros;
use dify_observe_core::settings::Settings;
use uuid::Uuid;

use crate::catalogue;
use crate::store::{AppLabels, GaugeSet, Labels, Scheme, Totals};

use self::turn::Turn;
pub use self::turn::{Collector, Report};

/// Statements of one collector may take this many statement timeouts together.
const DEADLINE_FACTOR: u32 = 4;

/// What a round of collectors found.
#[derive(Debug)]
pub struct Findings {
    /// The families of all collectors, complete.
    pub gauges: GaugeSet,
    /// How each collector that is on fared.
    pub reports: Vec<Report>,
    /// Every feedback there is, when they were read in this round.
    pub feedbacks: Option<Vec<Feedback>>,
    /// Completions of documents that were not taken yet, and what to remember so that they are not taken again.
    pub documents: Option<(CompletedDocuments, Vec<IndexedDocument>)>,
}

/// Counts the completions of documents. The state that came with them must become durable together with these totals.
pub fn observe_documents(totals: &mut Totals, documents: &[IndexedDocument]) {
    for document in documents {
        let labels = Labels::global([document.dataset_id.to_string()]);
        totals.observe(&catalogue::DOCUMENT_INDEXING, labels, document.seconds, None);
    }
}

/// All collectors and when each is due.
#[derive(Debug)]
pub struct Collectors {
    database: Database,
    options: Options,
    scheme: Scheme,
    turns: Vec<Turn>,
    apps: BTreeMap<Uuid, AppLabels>,
}

/// The settings that collectors obey.
#[derive(Clone, Debug)]
struct Options {
    statement_timeout: Duration,
    interval: Duration,
    max_rows: u64,
    time_zone: chrono_tz::Tz,
}

/// What one turn brought.
#[derive(Debug)]
struct Gathered {
    gauges: GaugeSet,
    feedbacks: Option<Vec<Feedback>>,
    documents: Option<(CompletedDocuments, Vec<IndexedDocument>)>,
}

impl Collectors {
    /// The collectors that the settings ask for.
    pub fn new(database: Database, settings: &Settings, scheme: Scheme) -> Self {
        let subjects = Subject::ALL.into_iter().filter(|subject| *subject != Subject::Apps).map(Collector::Subject);
        // Apps come first: the others take names from them.
        let mut collectors = vec![Collector::Subject(Subject::Apps)];
        collectors.extend(subjects);
        if settings.exporter.console_statistics {
            collectors.push(Collector::Console);
        }
        let options = Options {
            statement_timeout: settings.postgres.statement_timeout,
            interval: settings.exporter.slow_interval,
            max_rows: settings.exporter.slow_max_rows,
            time_zone: settings.exporter.console_time_zone.parse().unwrap_or(chrono_tz::UTC),
        };
        let turns = collectors.into_iter().map(|collector| Turn::new(collector, scheme.clone())).collect();
        Collectors { database, options, scheme, turns, apps: BTreeMap::new() }
    }

    /// How long until a collector is due.
    pub fn next_due(&self) -> Duration {
        let now = Instant::now();
        self.turns.iter().map(|turn| turn.due_in(now, self.options.interval)).min().unwrap_or(self.options.interval)
    }

    /// One turn of each collector that is due, one after another. Fails only when not even the schema can be read.
    /// `completed` comes out of the durable state: what it has is not taken again.
    pub async fn round(&mut self, completed: &CompletedDocuments) -> Result<Findings, DatabaseError> {
        let schema = self.probe().await?;
        let (mut feedbacks, mut documents) = (None, None);
        for index in 0..self.turns.len() {
            let collector = self.turns[index].collector;
            if !self.turns[index].due_in(Instant::now(), self.options.interval).is_zero() {
                continue;
            }
            if let Err(reason) = collector.gate(&schema, self.options.max_rows) {
                self.turns[index].off(&reason, &self.scheme);
                continue;
            }
            let begun = Instant::now();
            let result = self.collect(collector, &schema, completed).await;
            let unreachable = matches!(result, Err(DatabaseError::Unreachable(_)));
            if let Some(gathered) = self.turns[index].done(result, begun.elapsed()) {
                feedbacks = gathered.feedbacks.or(feedbacks);
                documents = gathered.documents.or(documents);
            }
            if unreachable {
                // The others would only wait in vain, one after another. They stay due.
                break;
            }
        }
        let mut gauges = GaugeSet::new(self.scheme.clone());
        for turn in &self.turns {
            gauges.replace_families(turn.gauges.clone());
        }
        Ok(Findings { gauges, reports: self.turns.iter().filter_map(Turn::report).collect(), feedbacks, documents })
    }

    async fn probe(&self) -> Result<Schema, DatabaseError> {
        let mut tx = self.database.read(self.options.statement_timeout).await?;
        let schema = Schema::probe(&mut tx).await?;
        tx.end().await?;
        Ok(schema)
    }

    /// One turn within its deadline.
    async fn collect(&mut self, collector: Collector, schema: &Schema, completed: &CompletedDocuments) -> Result<Gathered, DatabaseError> {
        let deadline = self.options.statement_timeout * DEADLINE_FACTOR;
        match tokio::time::timeout(deadline, self.gather(collector, schema, completed)).await {
            Ok(result) => result,
            Err(_) => Err(DatabaseError::Timeout),
        }
    }

    async fn gather(&mut self, collector: Collector, schema: &Schema, completed: &CompletedDocuments) -> Result<Gathered, DatabaseError> {
        let mut gathered = Gathered { gauges: GaugeSet::new(self.scheme.clone()), feedbacks: None, documents: None };
        let mut tx = self.database.read(self.options.statement_timeout).await?;
        match collector {
            Collector::Subject(subject) => self.gather_subject(subject, schema, completed, &mut tx, &mut gathered).await?,
            Collector::Console => {
                let time_zone = self.options.time_zone;
                console::today(&mut tx, schema, time_zone, &mut gathered.gauges).await?;
            }
        }
        tx.end().await?;
        Ok(gathered)
    }

    async fn gather_subject(
        &mut self,
        subject: Subject,
        schema: &Schema,
        completed: &CompletedDocuments,
        tx: &mut ReadTx,
        gathered: &mut Gathered,
    ) -> Result<(), DatabaseError> {
        let gauges = &mut gathered.gauges;
        match subject {
            Subject::Tables => database::tables(&statistics::table_figures(tx).await?, gauges),
            Subject::OldestRows => database::oldest_rows(&statistics::oldest_rows(tx, schema).await?, gauges),
            Subject::Sessions => database::sessions(&statistics::sessions(tx).await?, gauges),
            Subject::Activity => database::activity(&statistics::activity(tx).await?, gauges),
            Subject::Documents => {
                knowledge::documents(&statistics::document_counts(tx).await?, gauges);
                let mut completed = completed.clone();
                let taken = completed.read(tx).await?;
                gathered.documents = Some((completed, taken));
            }
            Subject::Uploads => knowledge::uploads(&statistics::upload_bytes(tx).await?, gauges),
            Subject::Datasets => knowledge::datasets(&statistics::dataset_facts(tx).await?, gauges),
            Subject::Triggers => queues::triggers(&statistics::waiting_triggers(tx).await?, &self.apps, gauges),
            Subject::Schedules => queues::schedules(&statistics::overdue_schedules(tx, Micros::now()).await?, &self.apps, gauges),
            Subject::Feedbacks => {
                let limit = u32::try_from(self.options.max_rows).unwrap_or(u32::MAX - 1);
                gathered.feedbacks = statistics::feedbacks(tx, Detail::Metrics, limit).await?;
            }
            Subject::Apps => {
                let facts = statistics::app_facts(tx, schema).await?;
                apps::facts(&facts, gauges);
                self.apps = apps::labels(&facts);
            }
        }
        Ok(())
    }
}

/// The labels of an app; one that is not there any more is called "deleted", as everywhere.
fn app_labels(apps: &BTreeMap<Uuid, AppLabels>, id: Uuid) -> AppLabels {
    apps.get(&id).cloned().unwrap_or_else(|| AppLabels { id, name: Arc::from("deleted") })
}
