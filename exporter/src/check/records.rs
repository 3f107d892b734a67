//! Records that are not where one would look for them.

use std::time::Duration;

use dify_observe_core::dify::schema::Schema;
use dify_observe_core::dify::session::{DatabaseError, ReadTx};
use dify_observe_core::dify::statistics::{runs_named_by_messages, single_step_share};
use dify_observe_core::dify::time::Micros;
use dify_observe_core::finding::{Finding, Level, Report};

/// Node executions that belong to no run: somebody tried one node in the editor. They are not counted.
pub(super) async fn single_steps(tx: &mut ReadTx, schema: &Schema, report: &mut Report) -> Result<(), DatabaseError> {
    let rows = schema.table("workflow_node_executions").and_then(|table| table.rows_estimate);
    let message = match (rows, single_step_share(tx).await?) {
        (Some(rows), Some(share)) => {
            let single = rows as f64 * share;
            format!(
                "about {single:.0} of {rows} node executions are single steps of the editor, which belong to no run and are not counted"
            )
        }
        _ => "how many node executions are single steps of the editor is not known before the table's first ANALYZE".to_owned(),
    };
    report.add(Finding::new(Level::Note, "records", message));
    Ok(())
}

/// Messages name runs that are not here: Dify was told to store executions elsewhere.
pub(super) async fn logstore(tx: &mut ReadTx, schema: &Schema, now: Micros, report: &mut Report) -> Result<(), DatabaseError> {
    let readable = schema.can_read_all("messages", &["workflow_run_id", "created_at"]) && schema.can_read("workflow_runs", "id");
    if !readable || schema.index_on("messages", &["created_at"]).is_none() {
        return Ok(());
    }
    let (since, until) = (now.minus(Duration::from_secs(24 * 3600)), now.minus(Duration::from_secs(120)));
    let (named, found) = runs_named_by_messages(tx, since, until).await?;
    if named >= 5 && found == 0 {
        let message = format!(
            "the last {named} chatflow messages name runs that are not in workflow_runs: Dify seems to store executions elsewhere \
             (logstore, CORE_WORKFLOW_EXECUTION_REPOSITORY); with LOGSTORE_DUAL_WRITE_ENABLED=true they come here too"
        );
        report.add(Finding::new(Level::Warning, "records", message));
    }
    Ok(())
}
