//! What Dify's own Monitoring page shows for today (`exporter.console_statistics`): Dify's definitions, to the unit, except
//! that times are in seconds.

use crate::store::FamilyDef;

families! {
    CONSOLE_MESSAGES = gauge("dify_console_messages", "Total messages of today on Dify's Monitoring page");
    CONSOLE_CONVERSATIONS = gauge("dify_console_conversations", "Conversations with a message of today on Dify's Monitoring page");
    CONSOLE_END_USERS = gauge("dify_console_end_users", "Active users of today on Dify's Monitoring page");
    CONSOLE_TOKENS = gauge("dify_console_tokens", "Token usage of today on Dify's Monitoring page");
    CONSOLE_COST = gauge("dify_console_cost", "Cost of today on Dify's Monitoring page, which prints it as USD whatever the currency");
    CONSOLE_AVERAGE_SESSION_INTERACTIONS = gauge("dify_console_average_session_interactions", "Average interactions of today's conversations on Dify's Monitoring page");
    CONSOLE_USER_SATISFACTION = gauge("dify_console_user_satisfaction_per_mille", "Likes per thousand messages of today on Dify's Monitoring page");
    CONSOLE_AVERAGE_RESPONSE = gauge("dify_console_average_response_seconds", "Average response time of today on Dify's Monitoring page, which prints milliseconds")
        .unit("seconds");
    CONSOLE_TOKENS_PER_SECOND = gauge("dify_console_tokens_per_second", "Token output speed of today on Dify's Monitoring page");
    CONSOLE_WORKFLOW_RUNS = gauge("dify_console_workflow_runs", "Workflow runs of today on Dify's Monitoring page, which counts those of the app itself only");
    CONSOLE_WORKFLOW_END_USERS = gauge("dify_console_workflow_end_users", "Workflow users of today on Dify's Monitoring page");
    CONSOLE_WORKFLOW_TOKENS = gauge("dify_console_workflow_tokens", "Workflow token usage of today on Dify's Monitoring page");
    CONSOLE_WORKFLOW_AVERAGE_INTERACTIONS = gauge("dify_console_workflow_average_interactions", "Average workflow runs per user of today on Dify's Monitoring page");
}
