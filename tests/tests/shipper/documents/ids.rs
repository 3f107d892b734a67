//! Which documents there must be, by plain SQL.

use dify_observe_tests::postgres::TestDatabase;
use dify_shipper::document::Kind;

/// What ended, or was given up: all but what waits for a person.
const RUNS: &str = "SELECT id::text FROM workflow_runs WHERE status <> 'paused'";

const NODES: &str = "\
    SELECT n.id::text FROM workflow_node_executions n JOIN workflow_runs r ON r.id = n.workflow_run_id WHERE r.status <> 'paused'";

const MESSAGES: &str = "SELECT id::text FROM messages WHERE status <> 'paused'";

/// A tool node is one call, an agent node as many as its log has, an agent's thought as many as it has names of tools.
const TOOL_CALLS: &str = "\
    SELECT n.id || '-0' FROM workflow_node_executions n JOIN workflow_runs r ON r.id = n.workflow_run_id
        WHERE r.status <> 'paused' AND n.node_type = 'tool'
    UNION ALL
    SELECT n.id || '-' || call FROM workflow_node_executions n JOIN workflow_runs r ON r.id = n.workflow_run_id,
        generate_series(0, (length(n.execution_metadata) - length(replace(n.execution_metadata, '\"label\": \"CALL ', ''))) / 15 - 1) call
        WHERE r.status <> 'paused' AND n.node_type = 'agent'
    UNION ALL
    SELECT t.id || '-' || call FROM message_agent_thoughts t JOIN messages m ON m.id = t.message_id,
        generate_series(0, cardinality(array_remove(string_to_array(t.tool, ';'), '')) - 1) call
        WHERE m.status <> 'paused'";

/// A chatflow's message repeats what its nodes found.
const RETRIEVALS: &str = "\
    SELECT n.id || '-0' FROM workflow_node_executions n JOIN workflow_runs r ON r.id = n.workflow_run_id
        WHERE r.status <> 'paused' AND n.node_type = 'knowledge-retrieval' AND n.status = 'succeeded' AND n.outputs LIKE '%\"result\":%'
    UNION ALL
    SELECT m.id || '-0' FROM messages m LEFT JOIN apps a ON a.id = m.app_id
        WHERE m.status <> 'paused' AND m.workflow_run_id IS NULL AND a.mode <> 'advanced-chat' AND m.message_metadata ~ '\"retriever_resources\": ?\\[\\{'";

const FEEDBACKS: &str = "SELECT id::text FROM message_feedbacks";

/// The ids that documents of a kind must have, sorted.
pub(crate) async fn expected(database: &TestDatabase, kind: Kind) -> anyhow::Result<Vec<String>> {
    let sql = match kind {
        Kind::WorkflowRun => RUNS,
        Kind::NodeExecution => NODES,
        Kind::Message => MESSAGES,
        Kind::ToolCall => TOOL_CALLS,
        Kind::Retrieval => RETRIEVALS,
        Kind::Feedback => FEEDBACKS,
        Kind::Log => return Ok(Vec::new()),
    };
    let mut connection = database.connect().await?;
    let mut ids: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut connection).await?;
    ids.sort_unstable();
    Ok(ids)
}
