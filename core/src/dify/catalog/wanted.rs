//! What a batch of records refers to.

use uuid::Uuid;

use super::Ids;
use crate::dify::follow::Event;
use crate::dify::records::{Message, Node, Run};

/// Ids that have to be known before records can be told with names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Apps of all records.
    pub apps: Ids,
    /// Data sets, where the caller needs their names.
    pub datasets: Ids,
    /// End users, where the caller needs them.
    pub end_users: Ids,
    /// Workflows whose canvas has what rows lack.
    pub workflows: Ids,
}

impl Wanted {
    /// What these events refer to. End users only when `end_users` says so.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event>, end_users: bool) -> Self {
        let mut wanted = Wanted::default();
        for event in events {
            wanted.add(event, end_users);
        }
        wanted
    }

    fn add(&mut self, event: &Event, end_users: bool) {
        match event {
            Event::RunStarted(run) => self.add_run(run, &[], end_users),
            Event::RunClosed { run, nodes, .. } | Event::NodesSettled { run, nodes } | Event::RunCorrected { run, nodes } => {
                self.add_run(run, nodes, end_users);
            }
            Event::MessageClosed { message, .. } | Event::MessageCorrected { message, .. } => self.add_message(message, end_users),
            Event::TriggerClosed { log, .. } => drop(self.apps.insert(log.app_id)),
            Event::Feedback { feedback, .. } => drop(self.apps.insert(feedback.app_id)),
            Event::Vanished(_) => {}
        }
    }

    fn add_run(&mut self, run: &Run, nodes: &[Node], end_users: bool) {
        self.apps.insert(run.key.app_id);
        if end_users {
            self.end_users.extend(end_user_of_run(run));
        }
        if nodes.iter().any(needs_canvas) {
            self.workflows.insert(run.key.workflow_id);
        }
    }

    fn add_message(&mut self, message: &Message, end_users: bool) {
        self.apps.insert(message.app_id);
        if end_users {
            self.end_users.extend(message.from_end_user_id);
        }
    }
}

/// The end user behind a run, if it was one.
pub(crate) fn end_user_of_run(run: &Run) -> Option<Uuid> {
    matches!(&*run.created_by_role, "end_user" | "end-user").then_some(run.created_by)
}

/// A tool's name and a knowledge retrieval's data sets stand only on the canvas, and so does the model of a node that did
/// not succeed or whose data was truncated.
fn needs_canvas(node: &Node) -> bool {
    match &*node.node_type {
        "tool" | "knowledge-retrieval" => true,
        "llm" | "question-classifier" | "parameter-extractor" => {
            !node.process_data.as_deref().is_some_and(|data| data.contains("\"model_name\""))
        }
        "agent" => node.inputs.as_deref().is_none_or(|inputs| !inputs.contains("\"model\"")),
        _ => false,
    }
}
