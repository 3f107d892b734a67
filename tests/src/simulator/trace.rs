//! What one node of one run did, before it becomes rows.

use uuid::Uuid;

use super::{errors::Failure, json::Json, model::Usage, value::Micros};

/// The JSON columns of a node row; `None` is what the node leaves empty.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shape {
    pub(crate) inputs: Option<Json>,
    pub(crate) process_data: Option<Json>,
    pub(crate) outputs: Option<Json>,
    pub(crate) metadata: Option<Json>,
}

/// How a node ended.
#[derive(Debug, Clone)]
pub(crate) enum End {
    Succeeded,
    Failed(String),
    Handled(Failure),
    /// It never ends: its process died, or a stop was lost.
    Running,
    /// It waits for a person.
    Paused,
    /// A status that nobody has heard of.
    Odd(&'static str),
}

/// A failed attempt of a node that is tried again.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) start: Micros,
    pub(crate) end: Micros,
    pub(crate) failure: Failure,
}

/// The iteration or loop around a node.
#[derive(Debug, Clone)]
pub(crate) struct Inside {
    /// `iteration` or `loop`.
    pub(crate) word: &'static str,
    /// Node id of the container.
    pub(crate) id: String,
    /// Item or round.
    pub(crate) index: i64,
    /// Set for parallel iterations of the old engine.
    pub(crate) parallel_run: Option<String>,
}

/// The parallel branch of a node, which the old engine writes down.
#[derive(Debug, Clone)]
pub(crate) struct Branch {
    pub(crate) id: String,
    pub(crate) start_node: String,
}

/// One node execution.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    pub(crate) id: Uuid,
    pub(crate) execution_id: Uuid,
    pub(crate) node_id: String,
    pub(crate) node_type: &'static str,
    pub(crate) title: String,
    pub(crate) predecessor: Option<String>,
    pub(crate) inside: Option<Inside>,
    pub(crate) branch: Option<Branch>,
    pub(crate) start: Micros,
    pub(crate) end: Micros,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) state: End,
    pub(crate) shape: Shape,
    /// What its own model calls used; containers have none of their own.
    pub(crate) usage: Option<Usage>,
    /// Tokens of a child run that the node started.
    pub(crate) child_tokens: i64,
    /// Its outputs are written in full first and cut afterwards.
    pub(crate) large: bool,
    /// It was running when the run ended: only status, error and times are written.
    pub(crate) aborted: bool,
}

impl Trace {
    /// Ends the node at `at`, with nothing to show for it.
    pub(crate) fn cut(&mut self, at: Micros, state: End) {
        self.attempts.retain(|attempt| attempt.end <= at);
        self.end = at;
        self.state = state;
        self.shape = Shape::default();
        self.usage = None;
        self.child_tokens = 0;
        self.large = false;
        self.aborted = true;
    }

    /// Whether the node came to an end.
    pub(crate) fn ended(&self) -> bool {
        !matches!(self.state, End::Running | End::Paused)
    }
}
