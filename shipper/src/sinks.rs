//! The sinks of the configuration, made.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dify_observe_core::exit::Exit;
use dify_observe_core::settings::{SinkSettings, SinkType};

use crate::document::Kind;
use crate::elasticsearch::{ElasticsearchSink, Observer};
use crate::metrics::Metrics;
use crate::ndjson::NdjsonSink;
use crate::ndjson::place::Place;
use crate::pipeline::Shared;
use crate::sink::{Sink, SinkError};
use crate::stdout::StdoutSink;

/// A sink, and what only its type knows.
pub(crate) struct OpenSink {
    pub(crate) sink: Arc<dyn Sink>,
    dead_letters: Option<Box<dyn Fn() -> u64 + Send + Sync>>,
}

impl OpenSink {
    /// A sink that rejects nothing.
    pub(crate) fn plain(sink: impl Sink + 'static) -> Self {
        OpenSink { sink: Arc::new(sink), dead_letters: None }
    }

    fn engine(sink: ElasticsearchSink) -> Self {
        let sink = Arc::new(sink);
        let rejecting = sink.clone();
        OpenSink { sink, dead_letters: Some(Box::new(move || rejecting.dead_letters().count())) }
    }

    /// How many documents were rejected and wait for `replay`; `None` where nothing is ever rejected.
    pub(crate) fn dead_letters(&self) -> Option<u64> {
        self.dead_letters.as_ref().map(|count| count())
    }
}

impl fmt::Debug for OpenSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenSink").field("sink", &self.sink).finish_non_exhaustive()
    }
}

/// Makes a sink. It is not opened yet.
pub(crate) fn make(name: &str, settings: &SinkSettings, shared: &Shared) -> Result<OpenSink, SinkError> {
    Ok(match settings.r#type {
        SinkType::Elasticsearch => OpenSink::engine(engine(name, settings, shared)?),
        SinkType::Ndjson => OpenSink::plain(NdjsonSink::new(name, settings, &shared.state)?),
        SinkType::Stdout => OpenSink::plain(StdoutSink::default()),
    })
}

/// Makes a sink for a backfill: beside that of `run`, whose files and position are left alone.
pub(crate) fn make_for_backfill(name: &str, settings: &SinkSettings, shared: &Shared, stream: &str) -> Result<OpenSink, SinkError> {
    Ok(match settings.r#type {
        SinkType::Elasticsearch => OpenSink::engine(engine(name, settings, shared)?.for_backfill(stream, &shared.state)),
        SinkType::Ndjson => OpenSink::plain(NdjsonSink::backfill(name, settings, &shared.state, stream)?),
        SinkType::Stdout => OpenSink::plain(StdoutSink::default()),
    })
}

fn engine(name: &str, settings: &SinkSettings, shared: &Shared) -> Result<ElasticsearchSink, SinkError> {
    let observer = Counting { sink: name.to_owned(), metrics: shared.metrics.clone() };
    ElasticsearchSink::new(name, settings, &shared.settings.shipper, &shared.state, Arc::new(observer))
}

/// Counts what a search engine does with requests.
#[derive(Debug)]
struct Counting {
    sink: String,
    metrics: Arc<Metrics>,
}

impl Observer for Counting {
    fn bulk(&self, code: &str, duration: Duration, _bytes: u64) {
        self.metrics.bulk(&self.sink, code, duration);
    }

    fn retried(&self, reason: &'static str, documents: u64) {
        self.metrics.retried(&self.sink, reason, documents);
    }

    fn rejected(&self, kind: Kind, reason: &str, documents: u64) {
        self.metrics.rejected(&self.sink, kind, reason, documents);
    }
}

/// Looks at a sink without changing anything there: what it is, when all is well.
pub(crate) async fn probe(name: &str, settings: &SinkSettings, shared: &Shared) -> Result<String, SinkError> {
    Ok(match settings.r#type {
        SinkType::Elasticsearch => format!("{} with everything that `setup` makes", engine(name, settings, shared)?.probe().await?),
        SinkType::Ndjson => files(name, settings, shared).await?,
        SinkType::Stdout => "lines on standard output, from the beginning at every start".to_owned(),
    })
}

/// The folder that exists of a sink's path, and its bucket.
async fn files(name: &str, settings: &SinkSettings, shared: &Shared) -> Result<String, SinkError> {
    let unfit = |exit: Exit, problem: String| SinkError { problem, exit, fenced: false };
    let place = Place::of(name, settings, &shared.state).map_err(|problem| unfit(Exit::Configuration, problem))?;
    let there = place.root.ancestors().find(|folder| folder.exists());
    if there.is_none_or(|there| !there.is_dir()) {
        let problem = format!("{} is no folder and cannot become one: something else is in its way", place.root.display());
        return Err(unfit(Exit::Configuration, problem));
    }
    place.reach().await.map_err(|error| unfit(Exit::Unavailable, error.to_string()))?;
    let bucket = if place.bucket.is_some() { ", then in the bucket, which answers" } else { "" };
    Ok(format!("compressed files in {}{bucket}", place.root.display()))
}
