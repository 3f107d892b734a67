//! What the follower hands to its consumer: final records, each once.

use serde::{Deserialize, Serialize};

use crate::dify::records::{Feedback, Message, Node, Run, Thought, TriggerLog};

/// How much of a row the consumer needs; it decides which columns are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// What the exporter measures: no content, and JSON columns only where a measured value lives in them.
    Metrics,
    /// What the shipper writes: content columns too, within the byte budget.
    Documents,
}

/// Why a record is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Closed {
    /// Its row says so.
    Ended,
    /// Its row still said "running" after `follow.abandon_after`. It is counted once, as abandoned, whatever comes later.
    Abandoned,
}

/// What happened to a feedback since it was last read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FeedbackAction {
    /// Seen for the first time.
    Created,
    /// Another rating or comment.
    Changed,
    /// The row is gone.
    Withdrawn,
}

/// The kinds of records that are followed by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// `workflow_runs`, with their node executions
    Run,
    /// `messages`, with their agent thoughts
    Message,
    /// `workflow_trigger_logs`
    Trigger,
}

impl Kind {
    /// Fixed word for labels and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Run => "runs",
            Kind::Message => "messages",
            Kind::Trigger => "triggers",
        }
    }
}

/// One fact about the database, told exactly once over the life of the state it is kept with.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A run was seen for the first time, in whatever status.
    RunStarted(Run),
    /// A run is final. `nodes` are its node executions except those that an earlier [`Event::NodesSettled`] told.
    RunClosed {
        /// The final row.
        run: Run,
        /// Every node execution of the run not told before. Stored statuses: what they mean is decided by
        /// [`settle`](crate::dify::outcome::settle).
        nodes: Vec<Node>,
        /// Why it is final.
        closed: Closed,
    },
    /// Node executions that are final although their run is not (it is paused), or that appeared after it was closed.
    NodesSettled {
        /// The run they belong to.
        run: Run,
        /// Only those that are final and were not told before.
        nodes: Vec<Node>,
    },
    /// A message is final.
    MessageClosed {
        /// The final row.
        message: Message,
        /// Its agent thoughts, by position; empty for anything but agent apps.
        thoughts: Vec<Thought>,
        /// Why it is final.
        closed: Closed,
    },
    /// A trigger's log row is final.
    TriggerClosed {
        /// The final row.
        log: TriggerLog,
        /// Why it is final.
        closed: Closed,
    },
    /// A feedback was given, changed or withdrawn.
    Feedback {
        /// The row; as last seen when it was withdrawn.
        feedback: Feedback,
        /// What happened to it.
        action: FeedbackAction,
    },
    /// A run that was told before is another now: it was abandoned and has ended after all, or its row or one of its node
    /// executions was written again, or one more appeared. Only with [`Detail::Documents`].
    RunCorrected {
        /// The row as it is now. It has ended.
        run: Run,
        /// All of its node executions as they are now, changed or not.
        nodes: Vec<Node>,
    },
    /// A message that was told before is another now. Only with [`Detail::Documents`].
    MessageCorrected {
        /// The row as it is now.
        message: Message,
        /// All of its agent thoughts, by position.
        thoughts: Vec<Thought>,
    },
    /// A record that had been seen open was deleted before anybody saw it final.
    Vanished(Kind),
}
