//! Prometheus stores what it is given, and the harness reads back exactly that.

use std::time::Duration;

use dify_observe_tests::prometheus::{Options, Prometheus, Scrape, check_metrics, sums};

#[tokio::test]
async fn backfilled_samples_are_read_back_raw() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("old.om");
    let start = chrono::Utc::now().timestamp() - 7_200;
    let mut text = String::from("# TYPE runs counter\n");
    for (step, value) in [0, 3, 7, 2].into_iter().enumerate() {
        text.push_str(&format!("runs_total{{app=\"a\"}} {value} {}\n", start + 60 * step as i64));
    }
    text.push_str("# EOF\n");
    std::fs::write(&file, text).unwrap();
    let prometheus = Prometheus::start(&Options { blocks_from: vec![file], ..Options::default() }).await.unwrap();
    let series = prometheus.samples("runs_total", "1d").await.unwrap();
    assert_eq!(series[0].samples.len(), 4);
    assert_eq!(sums(&series, &["app"])[&vec!["a".to_owned()]], 9.0);
}

#[tokio::test]
async fn a_scraped_target_is_up() {
    let first = Prometheus::start(&Options::default()).await.unwrap();
    let target = first.url().trim_start_matches("http://");
    let options =
        Options { scrapes: vec![Scrape::new("other", target, Duration::from_secs(1))], native_histograms: true, ..Options::default() };
    let second = Prometheus::start(&options).await.unwrap();
    second.wait_for("up{job=\"other\"}", |value| value == 1.0).await.unwrap();
}

#[test]
fn promtool_finds_a_counter_without_total() {
    assert!(check_metrics("# HELP runs_total Runs.\n# TYPE runs_total counter\nruns_total 1\n").unwrap().is_empty());
    assert!(!check_metrics("# HELP runs Runs.\n# TYPE runs counter\nruns 1\n").unwrap().is_empty());
}
