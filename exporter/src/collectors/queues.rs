//! Work that waits, as gauges.

use std::collections::BTreeMap;

use dify_observe_core::dify::statistics::{OverdueSchedule, WaitingTriggers};
use uuid::Uuid;

use super::app_labels;
use crate::catalogue;
use crate::store::{AppLabels, GaugeSet, Labels};

pub(super) fn triggers(waiting: &[WaitingTriggers], apps: &BTreeMap<Uuid, AppLabels>, gauges: &mut GaugeSet) {
    for triggers in waiting {
        let own = [triggers.trigger_type.clone(), triggers.status.clone()];
        gauges.set(&catalogue::TRIGGERS_WAITING, Labels::of_app(&app_labels(apps, triggers.app_id), own), triggers.triggers as f64);
    }
}

pub(super) fn schedules(overdue: &[OverdueSchedule], apps: &BTreeMap<Uuid, AppLabels>, gauges: &mut GaugeSet) {
    for schedule in overdue {
        let labels = Labels { app: Some(app_labels(apps, schedule.app_id)), ..Labels::default() };
        gauges.set(&catalogue::SCHEDULE_OVERDUE, labels, schedule.seconds);
    }
}
