//! Dify's own Monitoring page, to the unit.
//!
//! The figures are defined by Dify's console API (`/console/api/apps/<id>/statistics/…`): per app and per day of a time
//! zone, with filters, divisors and roundings of their own that differ from the exporter's counters on purpose. Days and
//! windows are computed by the server from bound values, so the session's time zone has no influence.

mod answer;
mod figures;
mod rounding;

use uuid::Uuid;

use super::schema::Schema;
use super::session::{DatabaseError, ReadTx, query};

pub use answer::answer;
pub use figures::{Day, Figures, Window, read};

/// One of the twelve questions of the Monitoring page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// Messages sent.
    DailyMessages,
    /// Conversations with a message.
    DailyConversations,
    /// End users with a message; console users count as none.
    DailyEndUsers,
    /// Tokens and their price.
    TokenCosts,
    /// Messages per conversation that began on the day.
    AverageSessionInteractions,
    /// Likes per thousand messages.
    UserSatisfactionRate,
    /// Milliseconds until the answer was complete.
    AverageResponseTime,
    /// Tokens of answers per second of waiting.
    TokensPerSecond,
    /// Runs of workflows.
    WorkflowDailyConversations,
    /// People who ran a workflow.
    WorkflowDailyTerminals,
    /// Tokens of runs.
    WorkflowTokenCosts,
    /// Runs per person.
    WorkflowAverageAppInteractions,
}

impl Endpoint {
    /// All of them, in the order of Dify's page.
    pub const ALL: [Endpoint; 12] = [
        Endpoint::DailyMessages,
        Endpoint::DailyConversations,
        Endpoint::DailyEndUsers,
        Endpoint::TokenCosts,
        Endpoint::AverageSessionInteractions,
        Endpoint::UserSatisfactionRate,
        Endpoint::AverageResponseTime,
        Endpoint::TokensPerSecond,
        Endpoint::WorkflowDailyConversations,
        Endpoint::WorkflowDailyTerminals,
        Endpoint::WorkflowTokenCosts,
        Endpoint::WorkflowAverageAppInteractions,
    ];

    /// The part of its path that follows the app's id.
    pub const fn path(self) -> &'static str {
        match self {
            Endpoint::DailyMessages => "statistics/daily-messages",
            Endpoint::DailyConversations => "statistics/daily-conversations",
            Endpoint::DailyEndUsers => "statistics/daily-end-users",
            Endpoint::TokenCosts => "statistics/token-costs",
            Endpoint::AverageSessionInteractions => "statistics/average-session-interactions",
            Endpoint::UserSatisfactionRate => "statistics/user-satisfaction-rate",
            Endpoint::AverageResponseTime => "statistics/average-response-time",
            Endpoint::TokensPerSecond => "statistics/tokens-per-second",
            Endpoint::WorkflowDailyConversations => "workflow/statistics/daily-conversations",
            Endpoint::WorkflowDailyTerminals => "workflow/statistics/daily-terminals",
            Endpoint::WorkflowTokenCosts => "workflow/statistics/token-costs",
            Endpoint::WorkflowAverageAppInteractions => "workflow/statistics/average-app-interactions",
        }
    }

    /// Whether Dify answers it for apps of this mode.
    pub fn applies_to(self, mode: &str) -> bool {
        match self {
            Endpoint::AverageSessionInteractions => matches!(mode, "chat" | "agent-chat" | "advanced-chat" | "agent"),
            Endpoint::AverageResponseTime => mode == "completion",
            Endpoint::WorkflowAverageAppInteractions => mode == "workflow",
            Endpoint::WorkflowDailyConversations | Endpoint::WorkflowDailyTerminals | Endpoint::WorkflowTokenCosts => {
                matches!(mode, "workflow" | "advanced-chat")
            }
            _ => mode != "workflow",
        }
    }
}

/// What of the page can be computed here, and by which of Dify's historical definitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Messages sent from the debugger are left out of every figure (Dify 1.9.0 and newer).
    pub without_debugger: bool,
    /// They are left out of the number of conversations (Dify 1.7.0 and newer).
    pub conversations_without_debugger: bool,
    /// Messages can be read.
    pub messages: bool,
    /// Likes can be read.
    pub likes: bool,
    /// Conversations can be read.
    pub sessions: bool,
    /// Runs can be read.
    pub runs: bool,
}

/// Alembic heads of the releases before 1.7.0, the last ones that counted the debugger's conversations.
const BEFORE_1_7: [&str; 10] = [
    "a91b476a53de",
    "08ec4f75af5e",
    "f051706725cc",
    "d20049ed0af6",
    "6a9f914f656c",
    "d28f2004b072",
    "2adcbe1f5dfb",
    "4474872b0ee6",
    "0ab65e1cc7fa",
    "58eb7bdb93fe",
];

impl Rules {
    /// Decides from the schema. The debugger left all figures in 1.9.0, the release that brought offloaded values, so the
    /// table of those is the sign; only for the older seam, which left no trace in the schema, the revision is asked.
    pub fn of(schema: &Schema) -> Rules {
        let before_1_7 = schema.alembic_revision.as_deref().is_some_and(|revision| BEFORE_1_7.contains(&revision));
        let without_debugger = schema.has_table("workflow_node_execution_offload") || schema.column("messages", "app_mode").is_some();
        Rules {
            without_debugger,
            conversations_without_debugger: without_debugger || !before_1_7,
            messages: schema.can_read_all("messages", &MESSAGE_COLUMNS),
            likes: schema.can_read_all("messages", &["id", "app_id", "created_at", "invoke_from"])
                && schema.can_read_all("message_feedbacks", &["id", "message_id", "rating"]),
            sessions: schema.can_read_all("messages", &["id", "conversation_id", "invoke_from"])
                && schema.can_read_all("conversations", &["id", "app_id", "created_at"]),
            runs: schema.can_read_all("workflow_runs", &RUN_COLUMNS),
        }
    }

    /// Whether the figures behind `endpoint` can be read.
    pub fn can_answer(&self, endpoint: Endpoint) -> bool {
        match endpoint {
            Endpoint::UserSatisfactionRate => self.likes,
            Endpoint::AverageSessionInteractions => self.sessions,
            Endpoint::WorkflowDailyConversations
            | Endpoint::WorkflowDailyTerminals
            | Endpoint::WorkflowTokenCosts
            | Endpoint::WorkflowAverageAppInteractions => self.runs,
            _ => self.messages,
        }
    }
}

const MESSAGE_COLUMNS: [&str; 9] = [
    "app_id",
    "created_at",
    "invoke_from",
    "conversation_id",
    "from_end_user_id",
    "message_tokens",
    "answer_tokens",
    "total_price",
    "provider_response_latency",
];
const RUN_COLUMNS: [&str; 6] = ["tenant_id", "app_id", "triggered_from", "created_at", "created_by", "total_tokens"];

/// An app as the page needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// `apps.id`
    pub id: Uuid,
    /// `apps.tenant_id`
    pub tenant_id: Uuid,
    /// `apps.name`
    pub name: String,
    /// `apps.mode`
    pub mode: String,
}

/// All apps by name, at most 10,000.
pub async fn apps(tx: &mut ReadTx) -> Result<Vec<App>, DatabaseError> {
    use sqlx::Row;
    let rows = tx.fetch_all(query(include_str!("queries/console_apps.sql"))).await?;
    let app = |row: &sqlx::postgres::PgRow| {
        Ok(App { id: row.try_get("id")?, tenant_id: row.try_get("tenant_id")?, name: row.try_get("name")?, mode: row.try_get("mode")? })
    };
    rows.iter().map(app).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mode_has_the_endpoints_of_its_page() {
        let count = |mode| Endpoint::ALL.iter().filter(|endpoint| endpoint.applies_to(mode)).count();
        assert_eq!(count("workflow"), 4);
        assert_eq!(count("chat"), 7);
        assert_eq!(count("completion"), 7);
        assert_eq!(count("advanced-chat"), 10);
    }
}
