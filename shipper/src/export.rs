//! `dify-shipper export`: records or usage of a time range as a file for spreadsheets and notebooks, straight from the database.
//!
//! Read as a backfill reads, page by page, and written as it is read: memory does not grow with the range. The same fields, content mode,
//! redaction and names of people as documents have.

mod columns;
mod csv;
mod ndjson;
mod output;
mod parquet;
mod usage;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use dify_observe_core::bootstrap::Context;
use dify_observe_core::dify::follow::{Detail, Event, FeedbackAction, Fetch, History, HistoryRange};
use dify_observe_core::dify::schema::Schema;
use dify_observe_core::dify::statistics::{self, Subject};
use dify_observe_core::dify::time::Micros;
use dify_observe_core::exit::{Exit, ResultExt as _};
use dify_observe_core::settings::SinkSettings;

use crate::cli::{ExportArgs, ExportFormat, ExportKind};
use crate::document::Kind;
use crate::filter::Filter;
use crate::pipeline::{Maker, Shared};
use crate::progress::Progress;
use crate::run;

use columns::{Cell, Column};
use output::Output;
use usage::Usage;

/// A statement may take long here: somebody waits for the file, not for a page.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(120);
/// What usage is summed up over, and in which portions records are read.
const DAY: Duration = Duration::from_secs(86_400);
/// Feedback looked up at a time.
const CHUNK: usize = 500;

/// What a file is made of: rows of cells, in the order of its columns.
trait Sheet {
    /// Adds a row.
    fn row(&mut self, cells: Vec<Cell>) -> anyhow::Result<()>;

    /// Adds a document as it is, where the shape of the file allows that: then there is no need for cells.
    fn document(&mut self, _id: &str, _source: &[u8]) -> anyhow::Result<bool> {
        Ok(false)
    }

    /// Writes what is left.
    fn finish(self: Box<Self>) -> anyhow::Result<()>;
}

/// Writes the file.
pub async fn run(context: Context, args: ExportArgs) -> anyhow::Result<Exit> {
    let settings = context.settings;
    let now = Micros::now();
    let range = (args.from.unwrap_or(Micros(0)), args.to.unwrap_or(now).min(now));
    if range.0 >= range.1 {
        return Err(anyhow::anyhow!("--to is not after --from: there is nothing between them")).or_exit(Exit::Usage);
    }
    if args.bom && args.format != ExportFormat::Csv {
        return Err(anyhow::anyhow!("--bom belongs to --format csv: leave it out, the other formats are UTF-8 by themselves"))
            .or_exit(Exit::Usage);
    }
    let state = settings.state_dir.join(run::STATE);
    let shared = Arc::new(run::share(settings, &Default::default(), &state)?);
    let columns = match document_kind(args.kind) {
        Some(kind) => columns::of_documents(kind, shared.labels.names()),
        None => usage::columns(),
    };
    let output = Output::open(&args.output)?;
    let sheet: Box<dyn Sheet> = match args.format {
        ExportFormat::Csv => Box::new(csv::Csv::new(output.writer()?, &columns, args.bom)?),
        ExportFormat::Ndjson => Box::new(ndjson::Ndjson::new(output.writer()?, &columns)),
        ExportFormat::Parquet => Box::new(parquet::Parquet::new(output.writer()?, &columns)?),
    };
    let mut export = Export::new(&shared, &args, columns, sheet);
    let written = export.read(range.0, range.1).await;
    let ended = written.and_then(|()| export.sheet.finish());
    shared.reads.database.close().await;
    output.close(ended)?;
    Ok(Exit::Done)
}

fn document_kind(kind: ExportKind) -> Option<Kind> {
    Some(match kind {
        ExportKind::WorkflowRun => Kind::WorkflowRun,
        ExportKind::NodeExecution => Kind::NodeExecution,
        ExportKind::Message => Kind::Message,
        ExportKind::ToolCall => Kind::ToolCall,
        ExportKind::Retrieval => Kind::Retrieval,
        ExportKind::Feedback => Kind::Feedback,
        ExportKind::Usage => return None,
    })
}

struct Export {
    shared: Arc<Shared>,
    kind: Option<Kind>,
    filter: Filter,
    maker: Maker,
    usage: Usage,
    columns: Vec<Column>,
    sheet: Box<dyn Sheet>,
    rows: u64,
}

impl Export {
    fn new(shared: &Arc<Shared>, args: &ExportArgs, columns: Vec<Column>, sheet: Box<dyn Sheet>) -> Self {
        let kind = document_kind(args.kind);
        let wanted = SinkSettings {
            kinds: kind.iter().map(|kind| kind.as_str().to_owned()).collect(),
            apps: args.apps.clone(),
            ..SinkSettings::default()
        };
        let filter = Filter::new(&wanted);
        let maker = Maker::new(shared, filter.clone());
        let usage = Usage::new(&shared.settings.shipper);
        Export { shared: shared.clone(), kind, filter, maker, usage, columns, sheet, rows: 0 }
    }

    async fn read(&mut self, from: Micros, to: Micros) -> anyhow::Result<()> {
        let fetch = match self.kind {
            Some(_) => self.maker.fetch(),
            None => Fetch { detail: Detail::Metrics, inputs: false },
        };
        let range = HistoryRange { from, until: to, except: Default::default(), as_of: Micros::now() };
        let follow = &self.shared.settings.follow;
        let mut history = History::open(self.shared.reads.database.clone(), follow, STATEMENT_TIMEOUT, fetch, range)
            .await
            .map_err(|error| dify_observe_core::exit::WithExit::new(crate::pipeline::exit_of(&error), error))?;
        let schema = history.schema().clone();
        if self.kind == Some(Kind::Feedback) {
            return self.feedback(&schema, from, to).await;
        }
        let mut progress = None;
        while let Some(at) = history.next_at().await? {
            let progress = progress.get_or_insert_with(|| Progress::new(at, to));
            let end = end_of_day(at).min(to);
            while let Some(events) = history.page(end).await? {
                self.take(&events, &schema).await?;
                progress.tell(at, self.rows);
            }
            for row in self.usage.end_of_day() {
                self.rows += 1;
                self.sheet.row(row)?;
            }
            progress.tell(end, self.rows);
        }
        Ok(())
    }

    async fn take(&mut self, events: &[Event], schema: &Arc<Schema>) -> anyhow::Result<()> {
        let found = self.maker.look_up(events, schema, STATEMENT_TIMEOUT).await?;
        if self.kind.is_none() {
            for event in events {
                self.usage.add(event, self.maker.catalog(), |app| self.filter.takes_app(app));
            }
            return Ok(());
        }
        let mut documents = Vec::new();
        for event in events {
            self.maker.make(event, &found, &mut documents);
            for document in documents.drain(..) {
                self.rows += 1;
                if !self.sheet.document(&document.id, &document.source)? {
                    self.sheet.row(columns::cells(&self.columns, &document.id, &document.source)?)?;
                }
            }
        }
        Ok(())
    }

    /// The table of feedback has no index on the time, and is small.
    async fn feedback(&mut self, schema: &Arc<Schema>, from: Micros, to: Micros) -> anyhow::Result<()> {
        let max_rows = self.shared.settings.shipper.slow_max_rows;
        Subject::Feedbacks.gate(schema, max_rows).map_err(|off| anyhow::anyhow!("feedback cannot be read: {off}"))?;
        let mut tx = self.shared.reads.database.read(STATEMENT_TIMEOUT).await?;
        let limit = u32::try_from(max_rows).unwrap_or(u32::MAX - 1);
        let rows = statistics::feedbacks(&mut tx, Detail::Documents, limit).await?;
        tx.end().await?;
        let mut rows = rows.context("there is more feedback than shipper.slow_max_rows allows: raise it for this export")?;
        rows.retain(|feedback| (from..to).contains(&feedback.created_at));
        rows.sort_by_key(|feedback| (feedback.created_at, feedback.id));
        let events: Vec<Event> = rows.into_iter().map(|feedback| Event::Feedback { feedback, action: FeedbackAction::Created }).collect();
        for chunk in events.chunks(CHUNK) {
            self.take(chunk, schema).await?;
        }
        Ok(())
    }
}

fn end_of_day(at: Micros) -> Micros {
    let day = i64::try_from(DAY.as_micros()).unwrap_or(i64::MAX);
    Micros((at.0.div_euclid(day) + 1).saturating_mul(day))
}
