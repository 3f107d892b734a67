//! `dify-exporter backfill`: the past as OpenMetrics with the records' own times, for
//! `promtool tsdb create-blocks-from openmetrics`.
//!
//! It owns exactly the records that `serve` does not: those created before `serve` began, less those that were open then.
//! The counters run from 0 at the oldest record to their sum at the seam, where those of `serve` begin at 0 again: an
//! ordinary reset. Time is cut into steps; a series has a sample at the end of each step in which it moved, one at the step
//! before (so that the increase lies in the right step), and now and then one in between so that it does not go stale.

mod ownership;
mod samples;
mod timeline;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::Duration;

use anyhow::Context as _;
use dify_observe_core::bootstrap::Context;
use dify_observe_core::dify::catalog::Catalog;
use dify_observe_core::dify::follow::{Detail, Event, Fetch, FollowError, History};
use dify_observe_core::dify::session::Database;
use dify_observe_core::dify::statistics::{self, CompletedDocuments, Subject};
use dify_observe_core::dify::time::Micros;
use dify_observe_core::exit::{Exit, ResultExt as _};
use dify_observe_core::labels::LabelRules;
use dify_observe_core::settings::Settings;

use crate::cap::BusinessLabel;
use crate::cli::BackfillArgs;
use crate::record::{self, SideState};
use crate::store::{Scheme, Totals};

use samples::Samples;
use timeline::{Item, Timeline};

/// A statement may take long here: nobody waits for a scrape.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(120);

/// Writes the past to a file or to standard output.
pub async fn run(context: Context, args: BackfillArgs) -> anyhow::Result<Exit> {
    let settings = &context.settings;
    let mut range = ownership::range(settings, &args)?;
    if let Some(from) = args.from {
        range.from = range.from.max(from);
    }
    let labels = LabelRules::from_settings(&settings.labels).context("failed to read [labels]")?;
    let options = settings.postgres.connect_options()?.application_name("dify-exporter backfill");
    let database = Database::new(options, settings.postgres.connect_timeout);
    let fetch = Fetch { detail: Detail::Metrics, inputs: labels.needs_inputs() };
    let history = History::open(database.clone(), &settings.follow, STATEMENT_TIMEOUT, fetch, range.clone()).await.map_err(exit_of)?;
    let out: Box<dyn Write> = match args.output.to_str() {
        Some("-") => Box::new(std::io::stdout().lock()),
        _ => Box::new(File::create(&args.output).with_context(|| format!("failed to create {}", args.output.display()))?),
    };
    let scheme = Scheme {
        app_name_label: settings.exporter.app_name_label,
        business: BusinessLabel::of_rules(&labels),
        max_series: settings.exporter.max_series_per_family,
    };
    let samples = Samples::new(BufWriter::with_capacity(1 << 20, out), &args.labels, args.step);
    let until = range.until;
    let mut backfill = Backfill {
        database,
        history,
        catalog: Catalog::default(),
        labels,
        streak_length: settings.exporter.streak_length,
        totals: Totals::new(scheme),
        side: SideState::default(),
        timeline: Timeline::new(range.from, until),
        samples,
        until,
        records: 0,
    };
    backfill.load_side_tables(settings).await?;
    backfill.write().await?;
    let (records, lines) = (backfill.records, backfill.samples.lines());
    tracing::info!(records, samples = lines, %until, "the past was written");
    eprint_summary(records, lines, until);
    Ok(Exit::Done)
}

#[expect(clippy::print_stderr, reason = "standard output is the file; a person wants to know how it went all the same")]
fn eprint_summary(records: u64, lines: u64, until: Micros) {
    eprintln!(
        "{records} records until {until} in {lines} samples; load them with: promtool tsdb create-blocks-from openmetrics FILE DATA_DIR"
    );
}

fn exit_of(error: FollowError) -> anyhow::Error {
    let exit = match error {
        FollowError::Database(_) => Exit::Unavailable,
        FollowError::NotDify(_) => Exit::NotDify,
    };
    dify_observe_core::exit::WithExit::new(exit, error).into()
}

struct Backfill<W> {
    database: Database,
    history: History,
    catalog: Catalog,
    labels: LabelRules,
    streak_length: u32,
    totals: Totals,
    side: SideState,
    timeline: Timeline,
    samples: Samples<W>,
    until: Micros,
    records: u64,
}

impl<W: Write> Backfill<W> {
    /// Feedback and documents have tables that are read whole anyway, where they are small enough.
    async fn load_side_tables(&mut self, settings: &Settings) -> anyhow::Result<()> {
        let max_rows = settings.exporter.slow_max_rows;
        let schema = self.history.schema().clone();
        let mut tx = self.database.read(STATEMENT_TIMEOUT).await.or_exit(Exit::Unavailable)?;
        if Subject::Feedbacks.gate(&schema, max_rows).is_ok() {
            let limit = u32::try_from(max_rows).unwrap_or(u32::MAX - 1);
            let feedbacks = statistics::feedbacks(&mut tx, Detail::Metrics, limit).await?.unwrap_or_default();
            feedbacks.into_iter().for_each(|feedback| self.timeline.add_feedback(feedback));
        }
        if Subject::Documents.gate(&schema, max_rows).is_ok() {
            let mut completed = CompletedDocuments::since(Micros::MIN);
            loop {
                let documents = completed.read(&mut tx).await?;
                if documents.is_empty() {
                    break;
                }
                documents.into_iter().for_each(|document| self.timeline.add_document(document));
            }
        }
        tx.end().await?;
        Ok(())
    }

    /// Walks through time, step by step, jumping over steps in which nothing happened.
    async fn write(&mut self) -> anyhow::Result<()> {
        while let Some(at) = self.next_at().await? {
            // Never beyond the seam: a sample among those of `serve` would look like two resets.
            let end = self.samples.end_of_step(at).min(self.until);
            self.take(end).await?;
            self.samples.write(end, &mut self.totals).context("failed to write")?;
        }
        self.samples.finish().context("failed to write")
    }

    async fn next_at(&mut self) -> anyhow::Result<Option<Micros>> {
        let unread = self.history.next_at().await?;
        let waiting = self.timeline.next_at();
        Ok(unread.into_iter().chain(waiting).min())
    }

    /// Counts everything that happened before `end`.
    async fn take(&mut self, end: Micros) -> anyhow::Result<()> {
        while let Some(events) = self.history.page(end).await? {
            self.records += events.iter().filter(|event| !matches!(event, Event::RunStarted(_))).count() as u64;
            events.into_iter().for_each(|event| self.timeline.add(event));
            // What ended within the step is counted page by page, so that only what goes on beyond it is kept.
            self.count(end).await?;
        }
        self.count(end).await
    }

    async fn count(&mut self, end: Micros) -> anyhow::Result<()> {
        let mut events = Vec::new();
        for item in self.timeline.take_before(end) {
            match item {
                Item::Event(event) => events.push(*event),
                Item::Document(document) => crate::collectors::observe_documents(&mut self.totals, &[document]),
            }
        }
        if events.is_empty() {
            return Ok(());
        }
        let mut tx = self.database.read(STATEMENT_TIMEOUT).await?;
        self.catalog.prepare(&mut tx, &events, Some(self.history.schema()), &self.labels).await?;
        tx.end().await?;
        let context = record::Context { catalog: &self.catalog, labels: &self.labels, streak_length: self.streak_length };
        for event in &events {
            record::record(event, &context, &mut self.totals, &mut self.side);
        }
        Ok(())
    }
}
