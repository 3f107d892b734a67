//! The ways to new rows: indexes on time, and from a run to its nodes.

use dify_observe_core::dify::ddl::create_index;
use dify_observe_core::dify::schema::Schema;
use dify_observe_core::finding::{Finding, Level, Report};
use dify_observe_core::settings::Settings;

pub(super) fn look(schema: &Schema, settings: &Settings, report: &mut Report) {
    by_time(schema, settings, report, "workflow_runs", "runs", true);
    by_time(schema, settings, report, "messages", "messages", true);
    by_time(schema, settings, report, "workflow_trigger_logs", "trigger logs", false);
    nodes(schema, report);
    let thoughts = schema.has_table("message_agent_thoughts") && schema.index_on("message_agent_thoughts", &["message_id"]).is_none();
    if thoughts {
        let message = "no index leads from a message to its agent thoughts: tool calls of agent apps are not counted";
        let mend = create_index("message_agent_thoughts", &["message_id"]);
        report.add(Finding::new(Level::Warning, "access", message).mended_by(mend));
    }
}

fn by_time(schema: &Schema, settings: &Settings, report: &mut Report, table: &str, what: &str, needed: bool) {
    let Some(found) = schema.table(table) else {
        if needed {
            report.add(Finding::new(Level::Error, "access", format!("there is no table {table}")));
        }
        return;
    };
    if let Some(index) = schema.index_on(table, &["created_at"]) {
        report.add(Finding::new(Level::Ok, "access", format!("{what} are found by time through {}", index.name)));
        return;
    }
    let rows = found.rows_estimate.map_or_else(|| "an unknown number of".to_owned(), |rows| format!("about {rows}"));
    let message = format!(
        "{what} ({rows} rows) have no index on their time: the table is read in passes of block ranges, at most {} pages a second; \
         new ones are seen when a pass comes by",
        settings.follow.scan_pages_per_second
    );
    report.add(Finding::new(Level::Warning, "access", message).mended_by(create_index(table, &["created_at", "id"])));
}

/// The prefix that leads to a run's nodes in Dify before 1.12.
const RUN_PREFIX: [&str; 5] = ["tenant_id", "app_id", "workflow_id", "triggered_from", "workflow_run_id"];

fn nodes(schema: &Schema, report: &mut Report) {
    let table = "workflow_node_executions";
    let index = schema.index_on(table, &["workflow_run_id"]).or_else(|| schema.index_on(table, &RUN_PREFIX));
    report.add(match index {
        Some(index) => Finding::new(Level::Ok, "access", format!("node executions are found by run through {}", index.name)),
        None => {
            let message = "no index leads from a run to its node executions: every closed run reads the whole table";
            Finding::new(Level::Warning, "access", message).mended_by(create_index(table, &["workflow_run_id"]))
        }
    });
}
