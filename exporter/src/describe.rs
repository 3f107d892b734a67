//! The catalogue for people (Markdown, which is docs/metrics.md) and for programs (JSON).

use std::fmt::Write as _;
use std::io::Write as _;

use dify_observe_core::exit::Exit;
use serde_json::{Value, json};

use crate::catalogue;
use crate::cli::{DescribeArgs, DescribeFormat};
use crate::store::{FamilyDef, FamilyKind, Scope};

const INTRODUCTION: &str = "\
<!-- Written by `dify-exporter describe`; a test says when it is stale. Change exporter/src/catalogue/ instead. -->

# Metrics of dify-exporter

Names are as dashboards and alerts use them. Histograms have `_bucket`, `_sum` and `_count`, and come as native histograms
too where Prometheus asks for protobuf (`--enable-feature=native-histograms`). Exemplars (`trace_id` is the run's or
message's id as 32 hex digits) are on histograms in OpenMetrics and protobuf (`--enable-feature=exemplar-storage`).

- **app** families have the labels `app_id` and `app` (the name; off by `exporter.app_name_label = false`). A renamed app is a
  new series: the old one ends once its last value was scraped, the new one is born at 0.
- **+** after the labels: the operator's own labels (`[labels]`) are added.
- A new label set is exposed as 0 until three scrapes of a Prometheus were answered and `exporter.birth_hold` has passed:
  Prometheus takes the first value of a series for its beginning, and would lose what was counted before. A look by `curl`
  or a browser does not count as a scrape.
- Counters and histograms go on across restarts. Above `exporter.max_series_per_family` label sets of a family, what
  is new is counted with `other` as its app, names and business labels (`dify_exporter_series_folded_total` grows).
- What is a counter or a histogram counts each record once; gauges are found anew.
";

/// Runs the command.
pub fn run(args: &DescribeArgs) -> anyhow::Result<Exit> {
    let text = match args.format {
        DescribeFormat::Markdown => markdown(),
        DescribeFormat::Json => format!("{:#}\n", json()),
    };
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        // `describe | head` is no failure.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(Exit::Done),
    }
}

/// The catalogue as Markdown.
pub fn markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    for group in catalogue::GROUPS {
        write!(text, "\n## {}\n\n| metric | type | labels | |\n|---|---|---|---|\n", group.title).expect(INTO_MEMORY);
        for family in group.families {
            let (name, kind, labels, help) = (family.exposed_name(), kind(family), markdown_labels(family), family.help);
            writeln!(text, "| `{name}` | {kind} | {labels} | {help} |").expect(INTO_MEMORY);
        }
    }
    text.push_str("\n## Upper bounds of the classic histograms\n\n| metric | `le` |\n|---|---|\n");
    for family in catalogue::all() {
        if let FamilyKind::Histogram(bounds) = family.kind {
            let bounds: Vec<String> = bounds.iter().map(f64::to_string).collect();
            writeln!(text, "| `{}` | {} |", family.name, bounds.join(", ")).expect(INTO_MEMORY);
        }
    }
    text
}

/// The catalogue as JSON: a list of objects.
pub fn json() -> Value {
    let groups = catalogue::GROUPS.iter();
    groups.flat_map(|group| group.families.iter().map(|family| family_json(group.title, family))).collect()
}

const INTO_MEMORY: &str = "writing into memory cannot fail";

fn kind(family: &FamilyDef) -> &'static str {
    match family.kind {
        FamilyKind::Counter | FamilyKind::DecimalCounter => "counter",
        FamilyKind::Histogram(_) => "histogram",
        FamilyKind::Gauge => "gauge",
        FamilyKind::Info => "info",
    }
}

fn markdown_labels(family: &FamilyDef) -> String {
    let app = (family.scope != Scope::Global).then(|| "app".to_owned());
    let own = family.labels.iter().map(|label| format!("`{label}`"));
    let labels: Vec<String> = app.into_iter().chain(own).collect();
    let business = if family.business_labels { " +" } else { "" };
    format!("{}{business}", labels.join(", "))
}

fn family_json(group: &str, family: &FamilyDef) -> Value {
    let bounds = match family.kind {
        FamilyKind::Histogram(bounds) => json!(bounds),
        _ => Value::Null,
    };
    json!({
        "name": family.exposed_name(),
        "group": group,
        "type": kind(family),
        "help": family.help,
        "unit": family.unit,
        "app": family.scope != Scope::Global,
        "labels": family.labels,
        "business_labels": family.business_labels,
        "buckets": bounds,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_documentation_is_not_stale() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, markdown()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(written == markdown(), "docs/metrics.md is stale: dify-exporter describe > docs/metrics.md");
    }

    #[test]
    fn the_json_has_every_family() {
        let families = json();
        let families = families.as_array().unwrap();
        assert_eq!(families.len(), catalogue::all().count());
        assert!(families.iter().any(|family| family["name"] == "dify_workflow_runs_total" && family["business_labels"] == true));
        assert!(families.iter().any(|family| family["name"] == "dify_app_info" && family["type"] == "info"));
    }

    #[test]
    fn cells_hold_no_pipe() {
        assert!(catalogue::all().all(|family| !family.help.contains('|')));
    }
}
