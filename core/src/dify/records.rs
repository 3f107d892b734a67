//! One struct for each kind of row that Dify writes, as the rest of the project sees it.
//!
//! Statuses and types are open sets (Dify adds values without a migration), so they are text with questions, never closed
//! enums. What a column may lack in some version or some row is an `Option`. JSON columns are read tolerantly, and only
//! what the caller's [`Detail`](super::follow::Detail) asks for is fetched.

use std::sync::Arc;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::time::Micros;

/// A word out of a small open set (status, node type, mode …), shared between the many rows that hold it.
pub type Word = Arc<str>;

/// The four columns that, with the run's id, lead to a run's node executions through an index in every Dify version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RunKey {
    /// `workflow_runs.id`
    pub id: Uuid,
    /// `workflow_runs.tenant_id`
    pub tenant_id: Uuid,
    /// `workflow_runs.app_id`; the pipeline's id for knowledge pipelines, the snippet's for snippets
    pub app_id: Uuid,
    /// `workflow_runs.workflow_id`: the id of that version of the workflow
    pub workflow_id: Uuid,
}

/// A text or JSON value that is fetched up to a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Value {
    /// `error`
    Error,
    /// `inputs`
    Inputs,
    /// `outputs`
    Outputs,
    /// `process_data`
    ProcessData,
    /// `execution_metadata`
    ExecutionMetadata,
    /// `message_metadata`
    Metadata,
    /// `query`
    Query,
    /// `answer`
    Answer,
    /// `thought`
    Thought,
    /// `observation`
    Observation,
    /// `tool_input`
    ToolInput,
    /// `tool_meta_str`
    ToolMeta,
}

impl Value {
    /// The column it stands in.
    pub const fn column(self) -> &'static str {
        match self {
            Value::Error => "error",
            Value::Inputs => "inputs",
            Value::Outputs => "outputs",
            Value::ProcessData => "process_data",
            Value::ExecutionMetadata => "execution_metadata",
            Value::Metadata => "message_metadata",
            Value::Query => "query",
            Value::Answer => "answer",
            Value::Thought => "thought",
            Value::Observation => "observation",
            Value::ToolInput => "tool_input",
            Value::ToolMeta => "tool_meta_str",
        }
    }
}

/// Which of a record's values were longer than their limit and were cut. What is cut may end in the middle of anything:
/// of a JSON text, of a word, of a secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cuts(u16);

impl Cuts {
    /// The same, and this value too.
    #[must_use]
    pub const fn with(self, value: Value) -> Self {
        Cuts(self.0 | 1 << value as u8)
    }

    /// Whether this value was cut.
    pub const fn has(self, value: Value) -> bool {
        self.0 & (1 << value as u8) != 0
    }

    /// Whether nothing was cut.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// A row of `workflow_runs`. `graph` is never read: it is a copy of the whole canvas.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The run's identity and the way to its nodes.
    pub key: RunKey,
    /// `type`: workflow, chat, rag-pipeline, snippet …
    pub run_type: Word,
    /// `triggered_from`: debugging, app-run, webhook, schedule …
    pub triggered_from: Word,
    /// `version`: `draft`, or the publish time as text
    pub version: Word,
    /// `status` as stored.
    pub status: Word,
    /// `error`; NULL and the empty text (Celery repository) are both `None`. Cut at 8 KiB.
    pub error: Option<String>,
    /// `elapsed_time` in seconds; 0 while running
    pub elapsed_seconds: f64,
    /// `total_tokens`
    pub total_tokens: i64,
    /// `total_steps`
    pub total_steps: Option<i32>,
    /// `exceptions_count`
    pub exceptions_count: Option<i32>,
    /// `created_by_role`: account, end_user
    pub created_by_role: Word,
    /// `created_by`: an account or an end user
    pub created_by: Uuid,
    /// `created_at`, UTC
    pub created_at: Micros,
    /// `finished_at`, UTC
    pub finished_at: Option<Micros>,
    /// `inputs` where the caller asked for them (label rules, documents); non-strict JSON text, cut at the byte budget
    pub inputs: Option<String>,
    /// `outputs`, documents only
    pub outputs: Option<String>,
    /// Which values were cut.
    pub cuts: Cuts,
    /// `xmin`: another number means that the row was written again. Documents only, else 0.
    pub row_version: u32,
}

/// Whether a run with this status has ended. An unknown status counts as ended when `finished_at` is set.
pub(crate) fn run_has_ended(status: &str, finished_at: Option<Micros>) -> bool {
    match status {
        "succeeded" | "failed" | "stopped" | "partial-succeeded" => true,
        "running" | "paused" | "scheduled" => false,
        _ => finished_at.is_some(),
    }
}

impl Run {
    /// Whether the stored status says that the run has ended. An unknown status counts as ended when `finished_at` is set.
    pub fn has_ended(&self) -> bool {
        run_has_ended(&self.status, self.finished_at)
    }

    /// Waiting for a person; never abandoned.
    pub fn is_paused(&self) -> bool {
        &*self.status == "paused"
    }
}

/// A row of `workflow_node_executions` that belongs to a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// `id`
    pub id: Uuid,
    /// `index`: order of start within the run; restarts after a resume
    pub index: i32,
    /// `node_id`: the node's id on the canvas
    pub node_id: Word,
    /// `node_type`: llm, tool, code …
    pub node_type: Word,
    /// `title`: free text by the author
    pub title: String,
    /// `predecessor_node_id`
    pub predecessor_node_id: Option<Word>,
    /// `status` as stored.
    pub status: Word,
    /// `error`, cut at 8 KiB. May be set on `succeeded` rows (a retry that helped): never count errors by it.
    pub error: Option<String>,
    /// `elapsed_time` in seconds
    pub elapsed_seconds: f64,
    /// `created_at`
    pub created_at: Micros,
    /// `finished_at`
    pub finished_at: Option<Micros>,
    /// `execution_metadata`, non-strict JSON text
    pub execution_metadata: Option<String>,
    /// `process_data`: for [`Detail::Metrics`](super::follow::Detail) only where it may hold the model and its usage
    pub process_data: Option<String>,
    /// `outputs`: for [`Detail::Metrics`](super::follow::Detail) only for node types whose outputs are measured
    pub outputs: Option<String>,
    /// `inputs`: for [`Detail::Metrics`](super::follow::Detail) only for agent nodes (their model)
    pub inputs: Option<String>,
    /// Which values were cut.
    pub cuts: Cuts,
    /// `xmin`: another number means that the row was written again. Documents only, else 0.
    pub row_version: u32,
}

/// A row of `messages` in its final state.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// `id`
    pub id: Uuid,
    /// `app_id`
    pub app_id: Uuid,
    /// `conversation_id`
    pub conversation_id: Uuid,
    /// `parent_message_id`; NULL in the first message of a conversation and in old rows; may be the nil UUID
    pub parent_message_id: Option<Uuid>,
    /// `workflow_run_id`, set for chatflows by a later update
    pub workflow_run_id: Option<Uuid>,
    /// `model_provider`; NULL for chatflows
    pub model_provider: Option<Word>,
    /// `model_id`; NULL for chatflows
    pub model_id: Option<Word>,
    /// `app_mode` (1.9.2 and newer), else the app's mode
    pub app_mode: Option<Word>,
    /// `status`: normal, error, paused
    pub status: Word,
    /// `error`, cut at 8 KiB
    pub error: Option<String>,
    /// `invoke_from`; NULL in old rows
    pub invoke_from: Option<Word>,
    /// `from_source`: api, console
    pub from_source: Word,
    /// `from_end_user_id`
    pub from_end_user_id: Option<Uuid>,
    /// `from_account_id`
    pub from_account_id: Option<Uuid>,
    /// `message_tokens` (input)
    pub message_tokens: i64,
    /// `answer_tokens` (output)
    pub answer_tokens: i64,
    /// `total_price`, exact
    pub total_price: Option<Decimal>,
    /// `currency`
    pub currency: Word,
    /// `provider_response_latency` in seconds: the whole answer
    pub response_seconds: f64,
    /// `query`, documents only
    pub query: Option<String>,
    /// `answer`, documents only
    pub answer: Option<String>,
    /// Whether `answer` is not empty.
    pub has_answer: bool,
    /// `agent_based`
    pub agent_based: bool,
    /// `message_metadata`, non-strict JSON text (usage, retriever_resources, annotation_reply), cut at the byte budget
    pub metadata: Option<String>,
    /// `inputs` where the caller asked for them
    pub inputs: Option<String>,
    /// `created_at`
    pub created_at: Micros,
    /// `updated_at`
    pub updated_at: Micros,
    /// No older message of the conversation exists: this message started it.
    pub starts_conversation: bool,
    /// Which values were cut.
    pub cuts: Cuts,
    /// `xmin`: another number means that the row was written again. Documents only, else 0.
    pub row_version: u32,
}

impl Message {
    /// Dify has no "running" status: a message in flight is `normal` with an empty answer and no metadata.
    pub fn is_filled(&self) -> bool {
        match &*self.status {
            "error" => true,
            "paused" => false,
            _ => self.has_answer || self.metadata.is_some(),
        }
    }
}

/// A row of `message_agent_thoughts`: one model call of an agent-chat app, with the tools it asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Thought {
    /// `id`
    pub id: Uuid,
    /// `message_id`
    pub message_id: Uuid,
    /// `position` within the message
    pub position: i32,
    /// `thought`, documents only: what the model said
    pub thought: Option<String>,
    /// `observation`, documents only: JSON keyed by tool name, or plain text in old rows
    pub observation: Option<String>,
    /// `tool_input`, documents only: JSON keyed by tool name, or plain text in old rows
    pub tool_input: Option<String>,
    /// `tool`: names joined by `;`, repeated when a tool was called twice
    pub tool: Option<String>,
    /// `tool_meta_str`: JSON keyed by tool name: the only source of tool latency and tool error
    pub tool_meta: Option<String>,
    /// `message_token` (input)
    pub message_tokens: i64,
    /// `answer_token` (output)
    pub answer_tokens: i64,
    /// `total_price`
    pub total_price: Option<Decimal>,
    /// `currency`
    pub currency: Option<Word>,
    /// `created_at`
    pub created_at: Micros,
    /// Which values were cut.
    pub cuts: Cuts,
}

/// A row of `workflow_trigger_logs` (1.10 and newer).
#[derive(Clone, Debug, PartialEq)]
pub struct TriggerLog {
    /// `id`
    pub id: Uuid,
    /// `tenant_id`
    pub tenant_id: Uuid,
    /// `app_id`
    pub app_id: Uuid,
    /// `workflow_run_id`: set by the last update; `rate_limited` and `failed` ones may have none
    pub workflow_run_id: Option<Uuid>,
    /// `trigger_type`: trigger-webhook, trigger-schedule, trigger-plugin
    pub trigger_type: Word,
    /// `status`: pending, queued, running, succeeded, paused, failed, rate_limited, retrying
    pub status: Word,
    /// `created_at`: when the trigger fired
    pub created_at: Micros,
    /// `triggered_at`: when a worker took it
    pub triggered_at: Option<Micros>,
    /// `finished_at`
    pub finished_at: Option<Micros>,
    /// `created_at` of the run it started: the queue delay's other end
    pub run_created_at: Option<Micros>,
}

impl TriggerLog {
    /// Whether the stored status says that nothing more will happen. An unknown status counts as ended when `finished_at` is set.
    pub fn has_ended(&self) -> bool {
        match &*self.status {
            "succeeded" | "failed" | "rate_limited" => true,
            "pending" | "queued" | "running" | "paused" | "retrying" => false,
            _ => self.finished_at.is_some(),
        }
    }
}

/// A row of `message_feedbacks`, without its comment.
#[derive(Clone, Debug, PartialEq)]
pub struct Feedback {
    /// `id`
    pub id: Uuid,
    /// `app_id`
    pub app_id: Uuid,
    /// `message_id`
    pub message_id: Uuid,
    /// `rating`: like, dislike
    pub rating: Word,
    /// `from_source`: user, admin
    pub source: Word,
    /// `created_at`
    pub created_at: Micros,
    /// `updated_at`
    pub updated_at: Micros,
    /// A hash of rating and comment: another value means that the person changed their mind. For documents its upper half is
    /// the row's version.
    pub version: u64,
}

impl Feedback {
    /// `xmin`: a larger number for a row that was written later. Only where it was read for documents.
    pub fn row_version(&self) -> u32 {
        (self.version >> 32) as u32
    }
}
