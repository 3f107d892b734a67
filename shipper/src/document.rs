//! One document, ready to be sent, and what must be known of it to send it to the right place.

use std::sync::Arc;

use bytes::Bytes;
use dify_observe_core::dify::catalog::App;
use dify_observe_core::dify::records::Word;
use dify_observe_core::dify::time::Micros;

/// The kinds of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A workflow run, with a summary of its nodes.
    WorkflowRun,
    /// One execution of a node.
    NodeExecution,
    /// A question and its answer.
    Message,
    /// A call of a tool, by a tool node, an agent node or an agent app.
    ToolCall,
    /// A search in one or more data sets.
    Retrieval,
    /// What a person thought of an answer.
    Feedback,
    /// A line of a log file.
    Log,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 7] =
        [Kind::WorkflowRun, Kind::NodeExecution, Kind::Message, Kind::ToolCall, Kind::Retrieval, Kind::Feedback, Kind::Log];

    /// Its name in index names, settings and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::WorkflowRun => "workflow_run",
            Kind::NodeExecution => "node_execution",
            Kind::Message => "message",
            Kind::ToolCall => "tool_call",
            Kind::Retrieval => "retrieval",
            Kind::Feedback => "feedback",
            Kind::Log => "log",
        }
    }

    /// The kind of a name.
    pub fn parse(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A document, ready to be sent.
#[derive(Clone, Debug)]
pub struct Document {
    /// What it is.
    pub kind: Kind,
    /// `_id`: made of the record, the same whenever it is made again. No document of another record of the kind has it.
    pub id: String,
    /// Which state of the record it shows: made of the row, and larger for a later state. The larger one replaces the smaller one.
    pub revision: u64,
    /// The record's own time, which never changes: it decides the index.
    pub time: Micros,
    /// One JSON object on one line, without the line break. Redacted.
    pub source: Bytes,
    /// What filters look at.
    pub scope: Scope,
}

/// What filters of sinks look at.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The app, with tenant and tags.
    pub app: Arc<App>,
    /// The final status (`dify.status`), where the kind has one.
    pub status: Option<Word>,
}

impl Document {
    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        self.source.len() + self.id.len() + 128
    }
}
