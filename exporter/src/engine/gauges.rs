//! What is known at each scrape without asking anybody: the process itself, the follower, the open runs.

use dify_observe_core::dify::catalog::Catalog;
use dify_observe_core::dify::follow::{FollowState, Follower, OpenState};
use dify_observe_core::dify::time::Micros;
use dify_observe_core::settings::ExporterSettings;

use super::{Durable, Health};
use crate::catalogue;
use crate::record::app_labels;
use crate::store::{GaugeSet, Labels, Scheme};

fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

/// Self metrics that need no state: also what a second exporter answers with.
pub(super) fn of_the_process(scheme: &Scheme, health: &Health, state: &Durable) -> GaugeSet {
    let mut gauges = GaugeSet::new(scheme.clone());
    gauges.set_global(&catalogue::UP, flag(health.up));
    gauges.set_global(&catalogue::STATE_WRITABLE, flag(health.state_writable));
    gauges.set_global(&catalogue::STATE_LOST, flag(health.state_lost));
    gauges.set_global(&catalogue::STATE_SAVED, state.saved_at.as_secs_f64());
    gauges.info(&catalogue::BUILD, Labels::global([env!("CARGO_PKG_VERSION")]));
    gauges
}

/// Where the follower stands, and which runs are open.
pub(super) fn of_the_follower(gauges: &mut GaugeSet, follower: &Follower, state: &Durable, catalog: &Catalog, settings: &ExporterSettings) {
    let Some(follow) = state.follow.as_ref() else { return };
    let status = follow.status(follower.settings());
    for (kind, lag) in status.lag {
        gauges.set(&catalogue::LAG, Labels::global([kind.as_str()]), lag.as_secs_f64());
        gauges.set(&catalogue::HORIZON, Labels::global([kind.as_str()]), status.horizon.as_secs_f64());
    }
    open_runs(gauges, follow, catalog, settings);
}

fn open_runs(gauges: &mut GaugeSet, follow: &FollowState, catalog: &Catalog, settings: &ExporterSettings) {
    let now = Micros::now();
    for open in follow.open_runs(now, settings.stale_after) {
        let state = match open.state {
            OpenState::Running => "running",
            OpenState::Stale => "stale",
            OpenState::Paused => "paused",
        };
        let labels = Labels::of_app(&app_labels(catalog, open.app_id), [state]);
        gauges.set(&catalogue::WORKFLOW_RUNS_OPEN, &labels, open.count as f64);
        gauges.set(&catalogue::WORKFLOW_OLDEST_OPEN_RUN, &labels, now.since(open.oldest).as_secs_f64());
    }
}
