//! Rights that are missing, and what documents lack without them.

use dify_observe_core::dify::ddl::grant;
use dify_observe_core::dify::schema::Schema;
use dify_observe_core::finding::{Finding, Level, Report};

/// Table, columns, and what they are for. The counterpart of `deploy/postgres/shipper-role.sql`.
pub(crate) const WANTED: [(&str, &str, &str); 11] = [
    ("apps", "id tenant_id name mode status", "names and modes of apps"),
    ("tags", "id type name", "tags of apps"),
    ("tag_bindings", "tag_id target_id", "tags of apps"),
    ("datasets", "id tenant_id name", "names of data sets"),
    ("workflows", "id version graph", "the model of failed model calls, names of tools"),
    ("end_users", "id session_id created_at", "sessions, new and returning users"),
    (
        "workflow_runs",
        "id tenant_id app_id workflow_id type triggered_from version status inputs outputs error elapsed_time total_tokens total_steps \
         exceptions_count created_by_role created_by created_at finished_at",
        "runs",
    ),
    (
        "workflow_node_executions",
        "id tenant_id app_id workflow_id triggered_from workflow_run_id index predecessor_node_id node_id node_type title inputs \
         process_data outputs status error elapsed_time execution_metadata created_at finished_at",
        "node executions, model calls, tools, retrievals",
    ),
    (
        "messages",
        "id app_id conversation_id workflow_run_id model_provider model_id app_mode query answer inputs status error invoke_from \
         from_source from_end_user_id from_account_id message_tokens answer_tokens total_price currency provider_response_latency \
         agent_based message_metadata parent_message_id created_at updated_at",
        "questions and answers",
    ),
    (
        "message_agent_thoughts",
        "id message_id position created_at thought observation tool tool_input tool_meta_str message_token answer_token total_price currency",
        "tool calls of agent apps",
    ),
    ("message_feedbacks", "id app_id message_id rating content from_source created_at updated_at", "feedback"),
];

/// Columns of a table that are there and may not be read.
fn refused<'a>(schema: &Schema, table: &str, columns: &'a str) -> Vec<&'a str> {
    let refused = |column: &&str| schema.column(table, column).is_some_and(|column| !column.readable);
    columns.split_whitespace().filter(refused).collect()
}

/// Every missing right in one go, for a role that cannot even begin.
pub(super) fn mend_all(schema: &Schema, role: &str) -> Option<String> {
    let missing = WANTED.iter().map(|(table, columns, _)| (table, refused(schema, table, columns)));
    let grants: Vec<String> =
        missing.filter(|(_, refused)| !refused.is_empty()).map(|(table, refused)| grant("SELECT", &refused, table, role)).collect();
    (!grants.is_empty()).then(|| grants.join("\n"))
}

pub(super) fn look(schema: &Schema, role: &str, report: &mut Report) {
    let before = report.findings.len();
    for (table, columns, purpose) in WANTED {
        let refused = refused(schema, table, columns);
        if !refused.is_empty() {
            let message = format!("the role may not read {} of {table}: for {purpose}", refused.join(", "));
            report.add(Finding::new(Level::Warning, "rights", message).mended_by(grant("SELECT", &refused, table, role)));
        }
    }
    if report.findings.len() == before {
        report.add(Finding::new(Level::Ok, "rights", "the role may read everything that documents are made of"));
    }
}
