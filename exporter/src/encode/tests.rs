//! Answers in all formats: compared with golden files, read back, and shown to promtool.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use dify_observe_core::dify::time::Micros;
use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model as model;
use prost::Message as _;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::{Answer, Format, gzip};
use crate::births::BirthRules;
use crate::cap::BusinessLabel;
use crate::store::{AppLabels, Exemplar, GaugeSet, Labels, Scheme, Totals};
use crate::{catalogue, store::FamilyKind};

/// A sample by its name and labels, `le` included.
type Samples = BTreeMap<(String, BTreeMap<String, String>), f64>;

fn scheme() -> Scheme {
    Scheme { business: [BusinessLabel { name: "category".into(), max_values: None }].into(), ..Scheme::default() }
}

fn app() -> AppLabels {
    AppLabels { id: Uuid::from_u128(0x0195_c6a2_7f3e_7b1c_9d00_0000_0000_0001), name: "Help \"desk\" \\ 服务\n2".into() }
}

fn record(totals: &mut Totals) {
    let runs = Labels::of_app(&app(), ["workflow", "app-run", "succeeded"]).with_business(&["billing".into()]);
    let exemplar = Exemplar { trace_id: Uuid::from_u128(0xabc), value: 0.0, timestamp: Micros(1_795_162_964_500_000) };
    totals.add_with_exemplar(&catalogue::WORKFLOW_RUNS, &runs, 3, Some(Exemplar { value: 1.0, ..exemplar }));
    for seconds in [0.1, 0.3, 45.0, 7200.0] {
        totals.observe(&catalogue::WORKFLOW_RUN_DURATION, &runs, seconds, Some(exemplar));
    }
    let cost = Labels::of_app(&app(), ["openai", "gpt-4o", "USD"]);
    totals.add_decimal(&catalogue::LLM_COST, &cost, Decimal::new(1_234_567, 7));
    totals.add_decimal(&catalogue::LLM_COST, &cost, Decimal::new(1, 7));
}

/// Shown and held series, all kinds, labels with everything that must be escaped.
fn totals() -> Totals {
    let mut totals = Totals::new(scheme());
    record(&mut totals);
    let ticket = totals.begin_answer();
    totals.answered(ticket, Micros(0));
    totals.ripen(BirthRules { answers: 1, hold: Duration::ZERO }, Micros(1));
    let held = Labels::of_app(&app(), ["workflow", "debugging", "failed"]).with_business(&["none".into()]);
    totals.add(&catalogue::WORKFLOW_RUNS, &held, 5);
    totals.observe(&catalogue::WORKFLOW_RUN_DURATION, &held, 5.0, None);
    totals
}

fn gauges() -> GaugeSet {
    let mut gauges = GaugeSet::new(scheme());
    gauges.set_global(&catalogue::UP, 1.0);
    gauges.set(&catalogue::DATABASE_ACTIVITY, Labels::global(["blocks_hit"]), 12345.0);
    gauges.set(&catalogue::WORKFLOW_OLDEST_OPEN_RUN, Labels::of_app(&app(), ["running"]), 12.5);
    gauges.info(&catalogue::APP, Labels::of_app(&app(), ["tenant", "workflow", "normal", "a,b"]));
    gauges.info(&catalogue::BUILD, Labels::global(["0.1.0"]));
    gauges
}

fn encoded(format: Format) -> Vec<u8> {
    let (totals, gauges) = (totals(), gauges());
    let mut out = Vec::new();
    Answer { totals: &totals, gauges: &gauges }.encode(format, &mut out);
    out
}

fn text(format: Format) -> String {
    String::from_utf8(encoded(format)).unwrap()
}

/// Compares with a golden file; `UPDATE_GOLDEN=1` writes it anew, for a person to look at the difference.
fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/encode/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "if this is meant: UPDATE_GOLDEN=1 cargo test -p dify-exporter golden");
}

#[test]
fn openmetrics_is_the_golden_one() {
    compare("openmetrics.txt", &text(Format::OpenMetrics));
}

#[test]
fn classic_text_is_the_golden_one() {
    compare("classic.txt", &text(Format::Text));
}

#[test]
fn every_format_says_the_same() {
    let classic = samples_of_text(&text(Format::Text));
    assert!(classic.len() > 40, "{}", classic.len());
    assert_eq!(samples_of_text(&text(Format::OpenMetrics)), classic);
    assert_eq!(samples_of_protobuf(&families()), classic);
}

#[test]
fn native_histograms_hold_what_the_classic_ones_hold() {
    for family in families() {
        for histogram in family.metric.iter().filter_map(|metric| metric.histogram.as_ref()) {
            let mut count = 0;
            let natives = histogram.positive_delta.iter().map(|delta| {
                count += delta;
                count
            });
            assert_eq!(natives.sum::<i64>() as u64 + histogram.zero_count, histogram.sample_count, "{}", family.name);
            let length: u32 = histogram.positive_span.iter().map(|span| span.length).sum();
            assert_eq!(length as usize, histogram.positive_delta.len());
            assert!(histogram.zero_threshold > 0.0, "this is how a server knows that a histogram is native");
            assert_eq!(histogram.bucket.last().map(|bucket| bucket.cumulative_count), Some(histogram.sample_count));
        }
    }
}

#[test]
fn exemplars_are_in_openmetrics_and_protobuf_and_within_their_bucket() {
    let exemplar = "# {trace_id=\"00000000000000000000000000000abc\"} 45 1795162964.5\n";
    assert!(text(Format::OpenMetrics).contains(exemplar));
    assert!(!text(Format::Text).contains("trace_id"));
    let mut exemplars = 0;
    for family in families() {
        for bucket in family.metric.iter().filter_map(|metric| metric.histogram.as_ref()).flat_map(|histogram| &histogram.bucket) {
            if let Some(exemplar) = &bucket.exemplar {
                exemplars += 1;
                assert!(exemplar.value <= bucket.upper_bound && exemplar.timestamp.is_some());
            }
        }
    }
    assert_eq!(exemplars, 4);
}

#[test]
fn nothing_is_created() {
    for format in [Format::OpenMetrics, Format::Text] {
        assert!(!text(format).contains("_created"));
    }
}

#[test]
fn a_family_without_series_is_not_there() {
    let totals = Totals::new(Scheme::default());
    let mut out = Vec::new();
    Answer { totals: &totals, gauges: &GaugeSet::new(Scheme::default()) }.encode(Format::OpenMetrics, &mut out);
    assert_eq!(out, b"# EOF\n");
}

#[test]
fn gzip_reads_back() {
    let body = encoded(Format::Text);
    let mut read = Vec::new();
    flate2::read::GzDecoder::new(&*gzip(&body).unwrap()).read_to_end(&mut read).unwrap();
    assert_eq!(read, body);
}

/// Every family of the catalogue with a series, so that promtool sees every name and help text.
#[test]
#[expect(clippy::print_stderr, reason = "what is missing is skipped aloud")]
fn promtool_finds_nothing_in_the_classic_text() {
    let (mut totals, mut gauges) = (Totals::new(scheme()), GaugeSet::new(scheme()));
    for family in catalogue::all() {
        let labels = Labels::default_for(family);
        match family.kind {
            FamilyKind::Histogram(_) => totals.observe(family, labels, 1.0, None),
            FamilyKind::DecimalCounter => totals.add_decimal(family, labels, Decimal::ONE),
            FamilyKind::Counter => totals.add(family, labels, 1),
            FamilyKind::Gauge | FamilyKind::Info => gauges.set(family, labels, 1.0),
        }
    }
    let mut out = Vec::new();
    Answer { totals: &totals, gauges: &gauges }.encode(Format::Text, &mut out);
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = match command.spawn() {
        Ok(promtool) => promtool,
        Err(error) => {
            eprintln!("SKIPPED: promtool cannot be run: {error}");
            return;
        }
    };
    promtool.stdin.take().unwrap().write_all(&out).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.is_empty(), "{said}");
}

fn families() -> Vec<model::MetricFamily> {
    let bytes = encoded(Format::Protobuf);
    let mut rest = bytes.as_slice();
    let mut families = Vec::new();
    while !rest.is_empty() {
        families.push(model::MetricFamily::decode_length_delimited(&mut rest).unwrap());
    }
    families
}

fn samples_of_text(text: &str) -> Samples {
    text.lines().filter(|line| !line.starts_with('#')).map(sample_of_line).collect()
}

fn sample_of_line(line: &str) -> ((String, BTreeMap<String, String>), f64) {
    let line = line.split(" # {").next().unwrap();
    let name_end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, after) = rest.trim_start_matches(',').split_once("=\"").unwrap();
            let (value, after) = unescaped(after);
            labels.insert(label.to_owned(), value);
            rest = after;
        }
        rest = &rest[1..];
    }
    ((name.to_owned(), labels), rest.trim().parse().unwrap())
}

/// The text up to the closing quote, and what comes after it.
fn unescaped(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next().unwrap().1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    panic!("{text} does not end");
}

/// The samples that a server makes of protobuf.
fn samples_of_protobuf(families: &[model::MetricFamily]) -> Samples {
    let mut samples = Samples::new();
    for family in families {
        for metric in &family.metric {
            let labels: BTreeMap<String, String> = metric.label.iter().map(|pair| (pair.name.clone(), pair.value.clone())).collect();
            let mut put = |suffix: &str, le: Option<String>, value: f64| {
                let mut labels = labels.clone();
                labels.extend(le.map(|le| ("le".to_owned(), le)));
                assert!(samples.insert((format!("{}{suffix}", family.name), labels), value).is_none(), "twice");
            };
            match (&metric.counter, &metric.gauge, &metric.histogram) {
                (Some(counter), None, None) => put("", None, counter.value),
                (None, Some(gauge), None) => put("", None, gauge.value),
                (None, None, Some(histogram)) => {
                    put("_sum", None, histogram.sample_sum);
                    put("_count", None, histogram.sample_count as f64);
                    for bucket in &histogram.bucket {
                        let le = if bucket.upper_bound.is_infinite() { "+Inf".to_owned() } else { format!("{:?}", bucket.upper_bound) };
                        put("_bucket", Some(le), bucket.cumulative_count as f64);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
    samples
}
