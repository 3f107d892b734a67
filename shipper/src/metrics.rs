//! What the shipper says about itself at `/metrics`, in OpenMetrics.
//!
//! Labels are names of kinds, sinks and rules, codes and reasons; never anything that a person wrote.

use std::fmt::Write as _;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use dify_observe_core::dify::follow;
use dify_observe_core::dify::time::Micros;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

use crate::board::Board;
use crate::cli::PROGRAM;
use crate::document::Kind;
use crate::pipeline::Meter;
use crate::sink::Delivered;

/// The format of an answer.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const PREFIX: &str = "dify_shipper";
/// Upper bounds of durations of requests and commits.
const BUCKETS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

type Decimal = Gauge<f64, AtomicU64>;

/// A family: its name without prefix and suffix, and what it means.
type About = (&'static str, &'static str);

const DOCUMENTS: About =
    ("documents", "Documents by what became of them: written, known (there already, in this or a later state), rejected, expired");
const BYTES: About = ("bytes", "Bytes of acknowledged documents, before compression");
const BULK_REQUESTS: About = ("bulk_requests", "Bulk requests by the status of their answers, or error");
const BULK_DURATION: About = ("bulk_duration_seconds", "How long bulk requests took");
const RETRIES: About = ("retries", "Documents and requests that were sent again, by reason");
const REJECTED: About = ("rejected", "Documents that the sink rejected for good; they are in the dead letters");
const EXPIRED: About = ("expired", "Documents that were not sent because they are older than the sink keeps");
const DEAD_LETTERS: About = ("dead_letters", "Rejected documents that wait for `dify-shipper replay`");
const QUEUE: About = ("queue_bytes", "Bytes of documents in memory, of at most shipper.queue_bytes");
const LAG: About = ("lag_seconds", "How far what is covered is behind the database's clock, when it last answered");
const POSITION: About = ("position_timestamp_seconds", "Every record created before this time and not open is in the sink, durably");
const COVERED: About = ("covered_timestamp_seconds", "When the sink's position was last brought up to date with the database");
const COMMITS: About = ("commit_duration_seconds", "How long writing the position took");
const SINK_UP: About = ("sink_up", "Whether the sink takes documents: 0 while it is away, full, busy, or cannot go on");
const REDACTIONS: About = ("redactions", "Pieces of text that a redaction rule removed");
const LATE: About = ("late_records", "Records that only a later walk found: they committed late");
const CHANGED: About = ("database_changes", "How often another database was found behind the URL");
const UP: About = ("database_up", "Whether the database answered when it was last asked");
const LEADER: About = ("leader", "Whether this instance ships: 0 while another one does");
const BUILD: About = ("build", "The version of the program");

/// Every family: prefix-free name, type, labels, meaning. `docs/shipping.md` lists them.
const FAMILIES: [(About, &str, &str); 20] = [
    (DOCUMENTS, "counter", "kind, sink, result"),
    (BYTES, "counter", "sink"),
    (BULK_REQUESTS, "counter", "sink, code"),
    (BULK_DURATION, "histogram", "sink"),
    (RETRIES, "counter", "sink, reason"),
    (REJECTED, "counter", "kind, sink, reason"),
    (EXPIRED, "counter", "kind"),
    (DEAD_LETTERS, "gauge", "sink"),
    (QUEUE, "gauge", ""),
    (LAG, "gauge", "kind, sink"),
    (POSITION, "gauge", "kind, sink"),
    (COVERED, "gauge", "sink"),
    (COMMITS, "histogram", "sink"),
    (SINK_UP, "gauge", "sink"),
    (REDACTIONS, "counter", "rule"),
    (LATE, "counter", "kind"),
    (CHANGED, "counter", ""),
    (UP, "gauge", ""),
    (LEADER, "gauge", ""),
    (BUILD, "info", "version"),
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfDocuments {
    kind: &'static str,
    sink: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSink {
    sink: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCode {
    sink: String,
    code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfReason {
    sink: String,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRejected {
    kind: &'static str,
    sink: String,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKindAndSink {
    kind: &'static str,
    sink: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRule {
    rule: String,
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

type Durations = Family<OfSink, Histogram, fn() -> Histogram>;

/// All families.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    documents: Family<OfDocuments, Counter>,
    bytes: Family<OfSink, Counter>,
    bulk_requests: Family<OfCode, Counter>,
    bulk_duration: Durations,
    retries: Family<OfReason, Counter>,
    rejected: Family<OfRejected, Counter>,
    expired: Family<OfKind, Counter>,
    dead_letters: Family<OfSink, Gauge>,
    queue: Gauge,
    lag: Family<OfKindAndSink, Decimal>,
    position: Family<OfKindAndSink, Decimal>,
    covered: Family<OfSink, Decimal>,
    commits: Durations,
    sink_up: Family<OfSink, Gauge>,
    redactions: Family<OfRule, Counter>,
    late: Family<OfKind, Counter>,
    changed: Counter,
    up: Gauge,
    leader: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register(BUILD.0, BUILD.1, Info::new([("version", PROGRAM.version)]));
        Metrics {
            documents: register(&mut registry, DOCUMENTS, Family::default()),
            bytes: register(&mut registry, BYTES, Family::default()),
            bulk_requests: register(&mut registry, BULK_REQUESTS, Family::default()),
            bulk_duration: register(&mut registry, BULK_DURATION, Family::new_with_constructor(histogram)),
            retries: register(&mut registry, RETRIES, Family::default()),
            rejected: register(&mut registry, REJECTED, Family::default()),
            expired: register(&mut registry, EXPIRED, Family::default()),
            dead_letters: register(&mut registry, DEAD_LETTERS, Family::default()),
            queue: register(&mut registry, QUEUE, Gauge::default()),
            lag: register(&mut registry, LAG, Family::default()),
            position: register(&mut registry, POSITION, Family::default()),
            covered: register(&mut registry, COVERED, Family::default()),
            commits: register(&mut registry, COMMITS, Family::new_with_constructor(histogram)),
            sink_up: register(&mut registry, SINK_UP, Family::default()),
            redactions: register(&mut registry, REDACTIONS, Family::default()),
            late: register(&mut registry, LATE, Family::default()),
            changed: register(&mut registry, CHANGED, Counter::default()),
            up: register(&mut registry, UP, Gauge::default()),
            leader: register(&mut registry, LEADER, Gauge::default()),
            registry,
        }
    }

    pub(crate) fn delivered(&self, sink: &str, kind: Kind, delivered: Delivered, bytes: usize) {
        let Delivered { written, known, rejected, expired } = delivered;
        for (result, count) in [("written", written), ("known", known), ("rejected", rejected), ("expired", expired)] {
            let labels = OfDocuments { kind: kind.as_str(), sink: sink.to_owned(), result };
            self.documents.get_or_create(&labels).inc_by(count);
        }
        self.bytes.get_or_create(&OfSink { sink: sink.to_owned() }).inc_by(bytes as u64);
        if expired > 0 {
            self.expired.get_or_create(&OfKind { kind: kind.as_str() }).inc_by(expired);
        }
    }

    pub(crate) fn bulk(&self, sink: &str, code: &str, took: Duration) {
        self.bulk_requests.get_or_create(&OfCode { sink: sink.to_owned(), code: code.to_owned() }).inc();
        self.bulk_duration.get_or_create(&OfSink { sink: sink.to_owned() }).observe(took.as_secs_f64());
    }

    pub(crate) fn retried(&self, sink: &str, reason: &str, count: u64) {
        self.retries.get_or_create(&OfReason { sink: sink.to_owned(), reason: reason.to_owned() }).inc_by(count);
    }

    pub(crate) fn rejected(&self, sink: &str, kind: Kind, reason: &str, count: u64) {
        let labels = OfRejected { kind: kind.as_str(), sink: sink.to_owned(), reason: reason.to_owned() };
        self.rejected.get_or_create(&labels).inc_by(count);
    }

    pub(crate) fn committed(&self, sink: &str, took: Duration) {
        self.commits.get_or_create(&OfSink { sink: sink.to_owned() }).observe(took.as_secs_f64());
    }

    pub(crate) fn late(&self, late: &[(follow::Kind, u64); 3]) {
        for (kind, count) in late.iter().filter(|(_, count)| *count > 0) {
            self.late.get_or_create(&OfKind { kind: kind.as_str() }).inc_by(*count);
        }
    }

    pub(crate) fn database_changed(&self) {
        self.changed.inc();
    }

    pub(crate) fn redacted(&self, rule: &str, total: u64) {
        let counter = self.redactions.get_or_create(&OfRule { rule: rule.to_owned() });
        counter.inc_by(total.saturating_sub(counter.get()));
    }

    pub(crate) fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Everything, as Prometheus reads it.
    pub(crate) fn render(&self, board: &Board) -> String {
        let claimed = board.sinks().values().filter_map(|state| state.memory.as_ref()).map(Meter::claimed).sum::<usize>();
        self.queue.set(i64::try_from(claimed).unwrap_or(i64::MAX));
        self.up.set(i64::from(board.database_problem().is_none()));
        for (name, state) in board.sinks().iter() {
            let sink = || OfSink { sink: name.clone() };
            let works = state.sink.is_some() && state.trouble().is_none();
            self.sink_up.get_or_create(&sink()).set(i64::from(works));
            if let Some(waiting) = state.sink.as_ref().and_then(|sink| sink.dead_letters()) {
                self.dead_letters.get_or_create(&sink()).set(i64::try_from(waiting).unwrap_or(i64::MAX));
            }
            let Some(at) = state.covered_at else { continue };
            self.covered.get_or_create(&sink()).set(at.as_secs_f64());
            for (kind, lag) in state.lag.iter().filter(|(kind, _)| *kind != follow::Kind::Trigger) {
                let labels = OfKindAndSink { kind: kind.as_str(), sink: name.clone() };
                // What stands still falls behind, whatever it was when it was last known.
                let since = Micros::now().since(at);
                self.lag.get_or_create(&labels).set((*lag + since).as_secs_f64());
                self.position.get_or_create(&labels).set(at.minus(*lag).as_secs_f64());
            }
        }
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _infallible = encode(&mut text, &self.registry);
        text
    }
}

fn register<M: Metric + Clone>(registry: &mut Registry, (name, help): About, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

/// The families as a table for people.
pub fn table() -> String {
    let mut text = "| metric | type | labels | |\n|---|---|---|---|\n".to_owned();
    for ((name, help), kind, labels) in FAMILIES {
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let labels: Vec<String> = labels.split(", ").filter(|label| !label.is_empty()).map(|label| format!("`{label}`")).collect();
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "| `{PREFIX}_{name}{suffix}` | {kind} | {} | {help} |", labels.join(", "));
    }
    text
}

#[cfg(test)]
mod tests;
