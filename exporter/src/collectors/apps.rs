//! Facts about apps.

use std::collections::BTreeMap;

use dify_observe_core::dify::statistics::AppFacts;
use uuid::Uuid;

use crate::catalogue;
use crate::store::{AppLabels, GaugeSet, Labels};

pub(super) fn facts(apps: &[AppFacts], gauges: &mut GaugeSet) {
    for app in apps {
        let tenant = app.tenant_id.to_string();
        let own = [tenant.as_str(), &app.mode, &app.status, &app.tags];
        gauges.info(&catalogue::APP, Labels::of_app(&AppLabels { id: app.id, name: app.name.clone() }, own));
    }
}

pub(super) fn labels(apps: &[AppFacts]) -> BTreeMap<Uuid, AppLabels> {
    apps.iter().map(|app| (app.id, AppLabels { id: app.id, name: app.name.clone() })).collect()
}
