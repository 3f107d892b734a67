//! What the exporter answers is what Prometheus stores, in every format, and what the documentation lists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use dify_observe_tests::postgres::{Cluster, TestDatabase};
use dify_observe_tests::process;
use dify_observe_tests::prometheus::{Options, Prometheus, Scrape, check_metrics};
use dify_observe_tests::simulator::Faults;
use dify_observe_tests::{Schema, seed};

use crate::exporter::{Exporter, Metrics, Setup, load_history, traffic, write_all};

const MINUTE: i64 = 60_000_000;

/// An exporter that has counted a history with every kind of fault, and more that was written while it ran.
async fn with_everything(version: &str, seed: u64) -> (TestDatabase, Exporter) {
    let schema = Schema::load(version).unwrap();
    let database = Cluster::shared().unwrap().database(&schema).await.unwrap();
    let options = |arrivals, before| {
        let faults = Faults { longest_pause: 2_000_000, ..Faults::many() };
        dify_observe_tests::simulator::Options { faults, time_scale: 0.1, ..traffic(&schema, arrivals, before, 10 * MINUTE).unwrap() }
    };
    load_history(&database, seed, options(250, 15 * MINUTE)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let rule = "[labels.topic]\nsource = \"app_name\"\npattern = \"^\\\\w+\"\n";
    let file = folder.path().join("dify-observe.toml");
    std::fs::write(&file, rule).unwrap();
    let setup = Setup::new(database.url())
        .with("DIFY_OBSERVE__EXPORTER__START", "beginning")
        .with("DIFY_OBSERVE__EXPORTER__CONSOLE_STATISTICS", "true")
        .with("DIFY_OBSERVE_CONFIG", &file.display().to_string());
    let exporter = setup.start().await.unwrap();
    exporter.settled().await.unwrap();
    write_all(&database, seed, options(60, 3 * MINUTE)).await.unwrap();
    (database, exporter)
}

/// Labels as text to compare: `le` by its number, without what Prometheus adds, and without empty ones, which it drops.
fn key(name: &str, labels: &BTreeMap<String, String>) -> String {
    let labels = labels.iter().filter(|(name, value)| !value.is_empty() && !["__name__", "job", "instance"].contains(&name.as_str()));
    let labels: Vec<String> = labels
        .map(|(name, value)| match value.parse::<f64>() {
            Ok(number) if name == "le" => format!("le={number}"),
            _ => format!("{name}={value:?}"),
        })
        .collect();
    format!("{name} {}", labels.join(","))
}

fn by_key(metrics: &Metrics) -> BTreeMap<String, f64> {
    metrics.samples().iter().map(|(name, labels, value)| (key(name, labels), *value)).collect()
}

/// Everything that Prometheus has of a job, as of now.
async fn stored(prometheus: &Prometheus, job: &str) -> BTreeMap<String, f64> {
    let all = prometheus.query(&format!("{{job={job:?},__name__=~\"dify_.*\"}}")).await;
    all.unwrap().into_iter().map(|(labels, value)| (key(&labels["__name__"], &labels), value)).collect()
}

/// Waits until Prometheus has scraped twice more.
async fn two_more_scrapes(prometheus: &Prometheus, job: &str) {
    let counted = format!("sum(count_over_time(up{{job={job:?}}}[1h]))");
    let before = prometheus.wait_for(&counted, |count| count > 0.0).await.unwrap();
    prometheus.wait_for(&counted, |count| count >= before + 2.0).await.unwrap();
    assert_eq!(prometheus.value(&format!("up{{job={job:?}}}")).await.unwrap(), Some(1.0));
}

/// Scrapes until the counters rest.
async fn at_rest(exporter: &Exporter) {
    let mut last = BTreeMap::new();
    let mut same = 0;
    exporter
        .scrape_until("counters at rest", |metrics| metrics.value("dify_workflow_runs_total").is_some_and(|runs| runs > 0.0))
        .await
        .unwrap();
    for _ in 0..500 {
        let metrics = exporter.scrape().await.unwrap();
        let counters: BTreeMap<String, f64> = by_key(&metrics).into_iter().filter(|(key, _)| key.contains("_total ")).collect();
        same = if counters == last { same + 1 } else { 0 };
        if same >= 6 {
            return;
        }
        last = counters;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the counters never rest");
}

fn prometheus_of(exporter: &Exporter, native_histograms: bool) -> Options {
    let scrape = Scrape::new("dify", exporter.address(), Duration::from_secs(1));
    Options { scrapes: vec![scrape], native_histograms, ..Options::default() }
}

#[tokio::test]
async fn prometheus_stores_openmetrics_and_protobuf_as_answered() {
    let (database, exporter) = with_everything("1.17.1", seed("prometheus_stores_what_is_answered")).await;
    let text = Prometheus::start(&prometheus_of(&exporter, false)).await.unwrap();
    let native = Prometheus::start(&prometheus_of(&exporter, true)).await.unwrap();
    at_rest(&exporter).await;
    let before = exporter.scrape().await.unwrap();
    two_more_scrapes(&text, "dify").await;
    two_more_scrapes(&native, "dify").await;
    let (from_text, from_native) = (stored(&text, "dify").await, stored(&native, "dify").await);
    let after = by_key(&exporter.scrape().await.unwrap());

    let histograms: BTreeSet<&str> =
        before.families.iter().filter(|(_, kind)| kind == "histogram").map(|(name, _)| name.as_str()).collect();
    assert!(histograms.len() > 5 && from_text.len() > 500, "{histograms:?} {}", from_text.len());
    for (key, value) in by_key(&before) {
        let steady = after.get(&key) == Some(&value);
        let same = |stored: &BTreeMap<String, f64>, what: &str| match stored.get(&key) {
            None => panic!("{what} does not have {key}"),
            Some(found) => {
                assert!(!steady || *found == value || (found.is_nan() && value.is_nan()), "{what} has {found} for {key}, not {value}");
            }
        };
        same(&from_text, "OpenMetrics");
        let name = key.split(' ').next().unwrap_or_default();
        let of_histogram =
            ["_bucket", "_sum", "_count"].iter().any(|end| name.strip_suffix(end).is_some_and(|base| histograms.contains(base)));
        if !of_histogram {
            same(&from_native, "protobuf");
        }
    }
    native_histograms_are_complete(&native, &before, &histograms).await;
    exemplars_lead_to_runs(&text, "dify_workflow_run_duration_seconds_bucket", &database).await;
    exemplars_lead_to_runs(&native, "dify_workflow_run_duration_seconds", &database).await;
    types_are_known(&text, &before).await;
}

/// Every histogram has, as a native one, the count and the sum of the classic one.
async fn native_histograms_are_complete(native: &Prometheus, answer: &Metrics, histograms: &BTreeSet<&str>) {
    for name in histograms {
        for (function, end) in [("histogram_count", "count"), ("histogram_sum", "sum")] {
            let found = native.query(&format!("{function}({name}{{job=\"dify\"}})")).await.unwrap();
            let found: BTreeMap<String, f64> = found.iter().map(|(labels, value)| (key("", labels), *value)).collect();
            let expected = answer.all(&format!("{name}_{end}"));
            assert_eq!(found.len(), expected.len(), "{name}");
            for (labels, value) in expected {
                let found = found[&key("", labels)];
                assert!((found - value).abs() <= 1e-9 * value.abs(), "{function} of {name}{labels:?} is {found}, not {value}");
            }
        }
    }
}

/// An exemplar's trace is a run that exists.
async fn exemplars_lead_to_runs(prometheus: &Prometheus, selector: &str, database: &TestDatabase) {
    let series = prometheus.exemplars(selector).await.unwrap();
    let ids: Vec<String> = series
        .iter()
        .flat_map(|series| series["exemplars"].as_array().cloned().unwrap_or_default())
        .map(|exemplar| exemplar["labels"]["trace_id"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert!(!ids.is_empty(), "no exemplars of {selector}");
    for id in &ids {
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        let found = database.count(&format!("SELECT count(*) FROM workflow_runs WHERE id = '{id}'")).await.unwrap();
        assert_eq!(found, 1, "{id} is no run");
    }
}

/// Prometheus knows the type and the help of every family.
async fn types_are_known(prometheus: &Prometheus, answer: &Metrics) {
    let metadata = prometheus.get("/api/v1/metadata", &[]).await.unwrap();
    for (name, kind) in &answer.families {
        let openmetrics_name = if kind == "counter" { name.trim_end_matches("_total") } else { name };
        let info_name = name.trim_end_matches("_info");
        let known = [name.as_str(), openmetrics_name, info_name].into_iter().map(|name| &metadata[name][0]).find(|entry| !entry.is_null());
        let Some(known) = known else { panic!("Prometheus knows nothing of {name}") };
        let expected = if name.ends_with("_info") { "info" } else { kind };
        assert_eq!(known["type"], expected, "{name}");
        assert!(known["help"].as_str().is_some_and(|help| help.len() > 10), "{name}: {known}");
    }
}

#[tokio::test]
async fn promtool_and_the_catalogue_agree_with_every_answer() {
    let first = seed("promtool_and_the_catalogue");
    let documented = documented_families();
    let mut seen = BTreeSet::new();
    for (number, version) in ["1.2.0", "1.17.1"].into_iter().enumerate() {
        let (_database, exporter) = with_everything(version, first + number as u64).await;
        at_rest(&exporter).await;
        let answer = exporter.scrape().await.unwrap();
        let findings = check_metrics(&answer.text).unwrap();
        assert!(findings.is_empty(), "{version}: promtool says:\n{}", findings.join("\n"));
        for (name, kind) in answer.families {
            assert!(documented.contains_key(&name), "{name} is not in docs/metrics.md");
            let expected = if documented[&name] == "info" { "gauge" } else { &documented[&name] };
            assert_eq!(kind, expected, "{name}");
            seen.insert(name);
        }
    }
    // What such a history cannot show: nothing waits, nothing is lost, folded or unreadable.
    let unseen: Vec<&String> = documented.keys().filter(|name| !seen.contains(*name)).collect();
    assert!(unseen.len() <= 15, "documented and never seen: {unseen:?}");
}

fn documented_families() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(docs("metrics.md")).unwrap();
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
        let kind = cells.next()?;
        ["counter", "gauge", "histogram", "info"].contains(&kind).then(|| (name.to_owned(), kind.to_owned()))
    });
    rows.collect()
}

fn docs(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file)
}

#[tokio::test]
async fn describe_prints_the_documented_catalogue() {
    let described = process::run("dify-exporter", &["describe"], &[]).await.unwrap();
    assert_eq!(described.code, Some(0), "{}", described.stderr);
    assert!(described.stdout == std::fs::read_to_string(docs("metrics.md")).unwrap(), "run: dify-exporter describe > docs/metrics.md");
    let json = process::run("dify-exporter", &["describe", "--format", "json"], &[]).await.unwrap();
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json.as_array().map(Vec::len), Some(documented_families().len()));
}
