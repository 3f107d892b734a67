//! Failures in a row, of tools, nodes and models.

use std::collections::BTreeMap;

use dify_observe_core::dify::catalog::Catalog;
use dify_observe_core::dify::records::Word;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::subject::Subject;
use crate::catalogue;
use crate::store::{AppLabels, GaugeSet, Labels, Totals};

/// Most things whose failures are followed. Beyond, those that do not fail are forgotten, then new ones are not taken.
const MOST: usize = 10_000;

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Scope {
    Tool,
    Node,
    Model,
}

impl Scope {
    const fn as_str(self) -> &'static str {
        match self {
            Scope::Tool => "tool",
            Scope::Node => "node",
            Scope::Model => "model",
        }
    }
}

/// What a record says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Success,
    Failure,
    Nothing,
}

/// Failures in a row, by app. What has failed once stays, with 0 after a success: a gauge that disappears looks like one
/// that was never there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Streaks(BTreeMap<(Uuid, Scope, Word), u32>);

impl Streaks {
    /// Takes a verdict in. A streak is counted once, when it reaches `length`. What somebody tries out while building an
    /// app says nothing.
    pub(super) fn tell(&mut self, subject: &Subject, scope: Scope, name: &Word, verdict: Verdict, length: u32, totals: &mut Totals) {
        if subject.debugging || verdict == Verdict::Nothing {
            return;
        }
        let key = (subject.app.id, scope, name.clone());
        if verdict == Verdict::Success {
            if let Some(failures) = self.0.get_mut(&key) {
                *failures = 0;
            }
            return;
        }
        if !self.0.contains_key(&key) && !self.has_room() {
            return;
        }
        let failures = self.0.entry(key).or_default();
        *failures = failures.saturating_add(1);
        let labels = subject.labels([scope.as_str().into(), name.clone()]);
        if *failures == length.max(1) {
            totals.add(&catalogue::FAILURE_STREAKS, labels, 1);
        } else {
            // Born with the first failure, so that it can be shown by the time the streak is long enough.
            totals.touch(&catalogue::FAILURE_STREAKS, labels);
        }
    }

    fn has_room(&mut self) -> bool {
        if self.0.len() >= MOST {
            self.0.retain(|_, failures| *failures > 0);
        }
        self.0.len() < MOST
    }

    pub(super) fn gauges(&self, catalog: &Catalog, gauges: &mut GaugeSet) {
        for ((app_id, scope, name), failures) in &self.0 {
            let app = AppLabels { id: *app_id, name: catalog.app(*app_id).name.clone() };
            let labels = Labels { app: Some(app), own: vec![scope.as_str().into(), name.clone()], business: Vec::new() };
            gauges.set(&catalogue::CONSECUTIVE_FAILURES, labels, f64::from(*failures));
        }
    }
}
