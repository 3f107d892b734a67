//! The sinks: whether they can be reached, and whether everything is there that delivering needs.

use std::collections::BTreeMap;

use dify_observe_core::finding::{Finding, Level, Report};
use dify_observe_core::settings::SinkSettings;

use crate::pipeline::Shared;
use crate::sink::SinkError;
use crate::sinks;

pub(super) async fn look(shared: &Shared, configured: &BTreeMap<String, SinkSettings>, report: &mut Report) {
    for (name, settings) in configured {
        report.add(match sinks::probe(name, settings, shared).await {
            Ok(found) => Finding::new(Level::Ok, "sinks", format!("{name}: {found}")),
            Err(SinkError { problem, exit, .. }) => Finding::refusal(exit, "sinks", format!("{name}: {problem}")),
        });
    }
}
