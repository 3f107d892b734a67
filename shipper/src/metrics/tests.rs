use std::collections::BTreeSet;

use super::*;

/// Metrics in which every family has a series.
fn touched() -> Metrics {
    let metrics = Metrics::new();
    metrics.delivered("s", Kind::Message, Delivered { written: 3, known: 2, rejected: 1, expired: 1 }, 1000);
    metrics.bulk("s", "200", Duration::from_millis(20));
    metrics.retried("s", "busy", 2);
    metrics.rejected("s", Kind::Message, "mapping", 1);
    metrics.committed("s", Duration::from_millis(3));
    metrics.late(&[(follow::Kind::Run, 1), (follow::Kind::Message, 0), (follow::Kind::Trigger, 0)]);
    metrics.redacted("email", 5);
    let sink = || OfSink { sink: "s".to_owned() };
    metrics.dead_letters.get_or_create(&sink()).set(1);
    metrics.covered.get_or_create(&sink()).set(1.0);
    let labels = OfKindAndSink { kind: "runs", sink: "s".to_owned() };
    metrics.lag.get_or_create(&labels).set(1.0);
    metrics.position.get_or_create(&labels).set(1.0);
    metrics
}

fn rendered() -> String {
    touched().render(&Board::new(&["s".to_owned()]))
}

#[test]
fn what_is_exposed_is_what_is_listed() {
    let text = rendered();
    let exposed: BTreeSet<(String, String)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| line.split_once(' '))
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect();
    let listed = FAMILIES.iter().map(|((name, _), kind, _)| (format!("{PREFIX}_{name}"), (*kind).to_owned())).collect();
    assert_eq!(exposed, listed);
    for ((name, _), kind, labels) in FAMILIES {
        let head = format!("{PREFIX}_{name}");
        let line = text.lines().find(|line| line.starts_with(&head) && line[head.len()..].starts_with(['{', '_', ' '])).unwrap();
        for label in labels.split(", ").filter(|label| !label.is_empty()) {
            assert!(line.contains(&format!("{label}=\"")), "{name} ({kind}) has no label {label}: {line}");
        }
    }
}

#[test]
fn counts_are_what_was_counted() {
    let text = rendered();
    for line in [
        "dify_shipper_documents_total{kind=\"message\",sink=\"s\",result=\"written\"} 3",
        "dify_shipper_redactions_total{rule=\"email\"} 5",
        "dify_shipper_queue_bytes 0",
        "dify_shipper_database_up 0",
        "dify_shipper_sink_up{sink=\"s\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
}

#[test]
fn redactions_are_totals_and_never_go_back() {
    let metrics = Metrics::new();
    [5, 7, 7].into_iter().for_each(|total| metrics.redacted("email", total));
    assert!(metrics.render(&Board::new(&[])).contains("dify_shipper_redactions_total{rule=\"email\"} 7\n"));
}

/// `docs/shipping.md` holds the table between two marks.
#[test]
fn the_documentation_lists_every_metric() {
    const MARKS: [&str; 2] =
        ["<!-- metrics: made by `UPDATE_DOCS=1 cargo test -p dify-shipper --lib metrics` -->\n", "<!-- end of metrics -->"];
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/shipping.md");
    let found = std::fs::read_to_string(path).unwrap();
    let (before, rest) = found.split_once(MARKS[0]).expect("the mark before the table");
    let (_, after) = rest.split_once(MARKS[1]).expect("the mark after the table");
    let expected = format!("{before}{}\n{}\n{}{after}", MARKS[0], table(), MARKS[1]);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &expected).unwrap();
    } else {
        assert!(found == expected, "docs/shipping.md is stale: UPDATE_DOCS=1 cargo test -p dify-shipper --lib metrics");
    }
}
