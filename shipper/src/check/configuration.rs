//! What the configuration means, in words: what is shipped where, and what documents show of people.

use std::collections::BTreeMap;

use dify_observe_core::finding::{Finding, Level, Report};
use dify_observe_core::settings::{ContentMode, Settings, SinkSettings, SinkType, Start, UserIds};
use humantime::format_duration;

const SUBJECT: &str = "configuration";

pub(super) fn look(settings: &Settings, sinks: &BTreeMap<String, SinkSettings>, report: &mut Report) {
    let shipper = &settings.shipper;
    let mut ok = |message: String| report.add(Finding::new(Level::Ok, SUBJECT, message));
    for (name, sink) in sinks {
        ok(format!("sink {name} is given {}; documents are {}", given(sink), kept(sink)));
    }
    let start = match shipper.start {
        Start::Now => {
            "a sink without a position begins with what is created from now on; `dify-shipper backfill` ships the past".to_owned()
        }
        Start::Beginning => "a sink without a position begins with the oldest record".to_owned(),
        Start::At(time) => format!("a sink without a position begins with what was created at {time} or later"),
    };
    ok(start);
    ok(match shipper.content {
        ContentMode::Off => "documents carry no inputs, outputs, questions and answers (shipper.content = \"off\")".to_owned(),
        ContentMode::Truncated => format!("documents carry the first {} bytes of each content field, redacted", shipper.content_bytes),
        ContentMode::Full => "documents carry content as far as it was fetched (follow.value_bytes), redacted".to_owned(),
    });
    ok(match shipper.user_ids {
        UserIds::Plain => "people's ids are shipped as Dify stores them; shipper.user_ids = \"hashed\" ships keyed hashes".to_owned(),
        UserIds::Hashed => "people's ids are shipped as keyed hashes".to_owned(),
    });
    if settings.shipper.sinks.is_empty() {
        let message = format!("no sink is configured: documents go into files below {}", settings.state_dir.display());
        report.add(Finding::new(Level::Note, SUBJECT, message));
    }
    let alone: Vec<&str> = sinks.iter().filter(|(_, sink)| sink.r#type != SinkType::Elasticsearch).map(|(name, _)| name.as_str()).collect();
    if !alone.is_empty() {
        let message = format!(
            "{}: the position is on this host, so run one instance (a StatefulSet with `replicas: 1`); a successor elsewhere begins anew",
            alone.join(", ")
        );
        report.add(Finding::new(Level::Note, SUBJECT, message));
    }
}

/// What the filter of a sink lets pass.
fn given(sink: &SinkSettings) -> String {
    let conditions =
        [("kinds", &sink.kinds), ("apps", &sink.apps), ("tags", &sink.tags), ("tenants", &sink.tenants), ("statuses", &sink.statuses)];
    let parts: Vec<String> = conditions
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(what, list)| format!("only {what} {}", list.join(", ")))
        .collect();
    if parts.is_empty() { "every document".to_owned() } else { parts.join("; ") }
}

fn kept(sink: &SinkSettings) -> String {
    match sink.r#type {
        SinkType::Stdout => "not kept".to_owned(),
        _ => format!("deleted after {}", format_duration(sink.delete_after)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_reads_as_a_sentence() {
        assert_eq!(given(&SinkSettings::default()), "every document");
        let sink = SinkSettings { kinds: vec!["message".into(), "feedback".into()], statuses: vec!["failed".into()], ..Default::default() };
        assert_eq!(given(&sink), "only kinds message, feedback; only statuses failed");
    }
}
