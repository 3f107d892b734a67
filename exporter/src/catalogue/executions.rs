//! Workflow runs, their nodes, tools and triggers.

use super::buckets;
use crate::store::FamilyDef;

families! {
    WORKFLOW_RUNS = counter("dify_workflow_runs", "Workflow runs that are final, by how they ended")
        .labels(&["run_type", "triggered_from", "status"]).business();
    WORKFLOW_RUN_DURATION = histogram("dify_workflow_run_duration_seconds", "Execution time of final workflow runs as Dify measured it", buckets::DURATION)
        .labels(&["run_type", "triggered_from", "status"]).unit("seconds").business();
    WORKFLOW_RUN_WALL = histogram("dify_workflow_run_wall_seconds", "Time from start to end of workflow runs that were paused in between", buckets::WALL)
        .labels(&["run_type", "triggered_from", "status"]).unit("seconds").business();
    WORKFLOW_RUNS_STARTED = counter("dify_workflow_runs_started", "Workflow runs seen for the first time, in whatever status")
        .labels(&["run_type", "triggered_from"]).business();
    WORKFLOW_RUNS_STOPPED_BY_LIMIT = counter("dify_workflow_runs_stopped_by_limit", "Workflow runs stored as stopped that one of Dify's own limits ended: failures, unlike those that a person stopped")
        .labels(&["run_type", "triggered_from"]).business();
    WORKFLOW_RUNS_OPEN = gauge("dify_workflow_runs_open", "Workflow runs that are not final: running, stale (running for longer than exporter.stale_after) or paused")
        .labels(&["state"]);
    WORKFLOW_OLDEST_OPEN_RUN = gauge("dify_workflow_oldest_open_run_seconds", "Age of the oldest workflow run that is not final")
        .labels(&["state"]).unit("seconds");
    WORKFLOW_RUN_TOKENS = counter("dify_workflow_run_tokens", "Tokens of final workflow runs as stored with the run")
        .business();
    NODE_EXECUTIONS = counter("dify_node_executions", "Node executions that are final, by how they ended; retries are counted apart")
        .labels(&["node_type", "status"]).business();
    NODE_DURATION = histogram("dify_node_duration_seconds", "Execution time of final node executions", buckets::NODE_DURATION)
        .labels(&["node_type", "status"]).unit("seconds").business();
    NODE_SOFT_FAILURES = counter("dify_node_soft_failures", "Node executions stored as succeeded that did not do their work, such as an HTTP request answered with 500")
        .labels(&["node_type", "error_type"]).business();
    NODE_RETRIES = counter("dify_node_retries", "Failed attempts of nodes that were tried again")
        .labels(&["node_type"]).business();
    ERRORS = counter("dify_errors", "Failures by their first cause; what only stopped because something else had failed is not counted")
        .labels(&["scope", "error_type"]).business();
    FAILURE_STREAKS = counter("dify_failure_streaks", "Times that a tool, node or model failed exporter.streak_length times in a row")
        .labels(&["scope", "name"]);
    CONSECUTIVE_FAILURES = gauge("dify_consecutive_failures", "Failures in a row, up to now, of a tool, node or model")
        .labels(&["scope", "name"]);
    TOOL_CALLS = counter("dify_tool_calls", "Tool calls by how they ended")
        .labels(&["provider_type", "provider", "tool", "status"]).business();
    TOOL_CALL_DURATION = histogram("dify_tool_call_duration_seconds", "Duration of tool calls", buckets::NODE_DURATION)
        .labels(&["provider_type", "provider", "tool", "status"]).unit("seconds").business();
    TRIGGER_EVENTS = counter("dify_trigger_events", "Webhook, schedule and plugin triggers that are final, by how they ended")
        .labels(&["trigger_type", "status"]);
    TRIGGER_QUEUE = histogram("dify_trigger_queue_seconds", "Time from a trigger to the start of its run", buckets::QUEUE)
        .labels(&["trigger_type"]).unit("seconds");
    TRIGGERS_WAITING = gauge("dify_triggers_waiting", "Triggers that fired and whose run has not started")
        .labels(&["trigger_type", "status"]);
    SCHEDULE_OVERDUE = gauge("dify_schedule_overdue_seconds", "Time since a schedule should have fired and has not; 0 when none is overdue")
        .unit("seconds");
}
