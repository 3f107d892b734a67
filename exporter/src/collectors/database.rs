//! Tables and sessions as gauges.

use dify_observe_core::dify::statistics::{Activity, OldestRow, Sessions, TableFigures};

use crate::catalogue;
use crate::store::{GaugeSet, Labels};

pub(super) fn tables(tables: &[TableFigures], gauges: &mut GaugeSet) {
    for table in tables {
        for (part, bytes) in [("heap", table.heap_bytes), ("toast", table.toast_bytes), ("indexes", table.index_bytes)] {
            gauges.set(&catalogue::TABLE_SIZE, Labels::global([table.name.as_str(), part]), bytes as f64);
        }
        let name = Labels::global([table.name.as_str()]);
        if let Some(rows) = table.rows {
            gauges.set(&catalogue::TABLE_ROWS, &name, rows as f64);
        }
        if let Some(rows) = table.dead_rows {
            gauges.set(&catalogue::TABLE_DEAD_ROWS, &name, rows as f64);
        }
    }
}

pub(super) fn oldest_rows(rows: &[OldestRow], gauges: &mut GaugeSet) {
    for row in rows {
        gauges.set(&catalogue::TABLE_OLDEST_ROW, Labels::global([row.table]), row.created_at.as_secs_f64());
    }
}

pub(super) fn sessions(sessions: &Sessions, gauges: &mut GaugeSet) {
    for (state, connections) in &sessions.connections {
        gauges.set(&catalogue::DATABASE_CONNECTIONS, Labels::global([state.as_str()]), *connections as f64);
    }
    gauges.set_global(&catalogue::DATABASE_CONNECTIONS_MAX, sessions.max_connections as f64);
    if let Some(seconds) = sessions.longest_transaction {
        gauges.set_global(&catalogue::DATABASE_LONGEST_TRANSACTION, seconds);
    }
    if let Some(seconds) = sessions.oldest_idle_in_transaction {
        gauges.set_global(&catalogue::DATABASE_OLDEST_IDLE_IN_TRANSACTION, seconds);
    }
}

pub(super) fn activity(activity: &Activity, gauges: &mut GaugeSet) {
    gauges.set_global(&catalogue::DATABASE_SIZE, activity.size_bytes as f64);
    for (kind, count) in &activity.counters {
        gauges.set(&catalogue::DATABASE_ACTIVITY, Labels::global([*kind]), *count as f64);
    }
}
