//! The unit of retention: what is kept or goes as a whole.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::dify::time::Micros;

/// What a bundle is built around.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Root {
    /// A row of `workflow_runs` that no message needs: of a workflow, or of a chatflow whose message is gone.
    Run,
    /// A row of `conversations`, with its messages and their runs.
    Conversation,
}

impl Root {
    /// The table of the root row.
    pub const fn table(self) -> &'static str {
        match self {
            Root::Run => "workflow_runs",
            Root::Conversation => "conversations",
        }
    }
}

/// What a run's node executions are found by before Dify 1.12, beside tenant and app.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunKey {
    /// `workflow_runs.id`
    pub id: Uuid,
    /// `workflow_runs.workflow_id`
    pub workflow_id: Uuid,
}

/// A root row and the keys by which all that hangs on it is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// What it is built around.
    pub root: Root,
    /// Primary key of the root row.
    pub id: Uuid,
    /// The tenant; all zeroes for a conversation whose app is gone.
    pub tenant_id: Uuid,
    /// The app.
    pub app_id: Uuid,
    /// Status of the run, of a run bundle.
    pub status: Option<String>,
    /// What its age counts from: the run's end (its beginning where no end is stored), the newest sign of life of the conversation.
    pub ended_at: Micros,
    /// Newest `created_at` among its runs and messages: what must be covered by exporter and shipper.
    pub newest: Micros,
    /// Its runs: one, or those that the messages of the conversation name.
    pub runs: Vec<RunKey>,
    /// Its messages; none of a run bundle.
    pub messages: Vec<Uuid>,
}

impl Bundle {
    /// The UTC day of its end, as days since 1970-01-01: the day under which it is archived.
    pub fn day(&self) -> i32 {
        i32::try_from(self.ended_at.0.div_euclid(86_400_000_000)).unwrap_or(i32::MAX)
    }
}
