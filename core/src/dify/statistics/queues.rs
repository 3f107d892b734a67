//! Work that waits: triggers without a run, schedules that should have fired.

use sqlx::Row;
use uuid::Uuid;

use crate::dify::records::Word;
use crate::dify::session::{DatabaseError, ReadTx, query};
use crate::dify::time::Micros;

/// Triggers that fired and whose run has not begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingTriggers {
    /// `workflow_trigger_logs.app_id`
    pub app_id: Uuid,
    /// `trigger_type`
    pub trigger_type: Word,
    /// `status`: pending, queued, retrying
    pub status: Word,
    /// Rows; counting ends at 100,000 over all apps.
    pub triggers: i64,
}

/// Counts the triggers that wait.
pub async fn waiting_triggers(tx: &mut ReadTx) -> Result<Vec<WaitingTriggers>, DatabaseError> {
    let mut waiting = Vec::new();
    for row in tx.fetch_all(query(include_str!("../queries/statistics_waiting.sql"))).await? {
        waiting.push(WaitingTriggers {
            app_id: row.try_get("app_id")?,
            trigger_type: row.try_get::<String, _>("trigger_type")?.into(),
            status: row.try_get::<String, _>("status")?.into(),
            triggers: row.try_get("triggers")?,
        });
    }
    Ok(waiting)
}

/// How late the most overdue schedule of an app is.
#[derive(Clone, Debug, PartialEq)]
pub struct OverdueSchedule {
    /// `workflow_schedule_plans.app_id`
    pub app_id: Uuid,
    /// Seconds since it should have fired; 0 when none is late.
    pub seconds: f64,
}

/// Reads how late each app's schedules are. `now` is the server's clock.
pub async fn overdue_schedules(tx: &mut ReadTx, now: Micros) -> Result<Vec<OverdueSchedule>, DatabaseError> {
    let mut overdue = Vec::new();
    for row in tx.fetch_all(query(include_str!("../queries/statistics_overdue.sql")).bind(now)).await? {
        overdue.push(OverdueSchedule { app_id: row.try_get("app_id")?, seconds: row.try_get("seconds")? });
    }
    Ok(overdue)
}
