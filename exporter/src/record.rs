//! stub
use crate::store::*;
use dify_observe_core::dify::catalog::Catalog;
use dify_observe_core::dify::follow::Event;
use dify_observe_core::labels::LabelRules;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;
/// x
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SideState {}
/// x
pub struct Context<'a> {
    /// x
    pub catalog: &'a Catalog,
    /// x
    pub labels: &'a LabelRules,
    /// x
    pub streak_length: u32,
}
/// x
pub fn record(e: &Event, _c: &Context<'_>, t: &mut Totals, _s: &mut SideState) {
    if let Event::RunClosed { run, .. } = e {
        let app = AppLabels { id: run.key.app_id, name: Arc::from("x") };
        t.add(&crate::catalogue::WORKFLOW_RUNS, Labels::of_app(&app, [&*run.run_type, &*run.triggered_from, &*run.status]), 1);
    }
}
/// x
pub fn gauges(_s: &SideState, _c: &Catalog, _g: &mut GaugeSet) {}
/// x
pub fn app_labels(_c: &Catalog, id: Uuid) -> AppLabels {
    AppLabels { id, name: Arc::from("x") }
}
