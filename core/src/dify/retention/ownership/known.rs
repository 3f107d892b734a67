//! What is known of Dify's tables, of all versions together: who hangs on whom, and what is kept on purpose.

use super::Parent;
use crate::dify::retention::bundle::Root;

/// A table whose rows go with a root.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) table: &'static str,
    /// Every Dify has it.
    pub(super) required: bool,
    /// The ways in which its rows are found; columns that a version lacks are left out.
    pub(super) links: &'static [Link],
}

/// A column that names a parent.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) parent: Parent,
    pub(super) column: &'static str,
}

const fn link(parent: Parent, column: &'static str) -> Link {
    Link { parent, column }
}

const fn required(table: &'static str, links: &'static [Link]) -> Known {
    Known { table, required: true, links }
}

const fn optional(table: &'static str, links: &'static [Link]) -> Known {
    Known { table, required: false, links }
}

/// A run with everything below it, parents first.
const OF_RUN: &[Known] = &[
    required("workflow_runs", &[link(Parent::Root, "id")]),
    required("workflow_node_executions", &[link(Parent::Run, "workflow_run_id")]),
    optional("workflow_node_execution_offload", &[link(Parent::Node, "node_execution_id")]),
    optional("workflow_app_logs", &[link(Parent::Run, "workflow_run_id")]),
    optional("workflow_trigger_logs", &[link(Parent::Run, "workflow_run_id")]),
    optional("workflow_pauses", &[link(Parent::Run, "workflow_run_id")]),
    optional("workflow_pause_reasons", &[link(Parent::Pause, "pause_id")]),
    optional("human_input_forms", &[link(Parent::Run, "workflow_run_id")]),
    optional("human_input_form_deliveries", &[link(Parent::Form, "form_id")]),
    optional("human_input_form_recipients", &[link(Parent::Form, "form_id"), link(Parent::Delivery, "delivery_id")]),
    optional("human_input_form_upload_tokens", &[link(Parent::Form, "form_id")]),
    optional("human_input_form_upload_files", &[link(Parent::Form, "form_id")]),
    optional("execution_extra_contents", &[link(Parent::Run, "workflow_run_id")]),
];

/// A conversation with its messages and their runs and everything below them, parents first.
const OF_CONVERSATION: &[Known] = &[
    required("conversations", &[link(Parent::Root, "id")]),
    required("workflow_runs", &[link(Parent::Run, "id")]),
    required("messages", &[link(Parent::Conversation, "conversation_id")]),
    required("workflow_node_executions", &[link(Parent::Run, "workflow_run_id")]),
    optional("workflow_node_execution_offload", &[link(Parent::Node, "node_execution_id")]),
    optional("workflow_app_logs", &[link(Parent::Run, "workflow_run_id")]),
    optional("workflow_trigger_logs", &[link(Parent::Run, "workflow_run_id")]),
    optional("workflow_pauses", &[link(Parent::Run, "workflow_run_id")]),
    optional("workflow_pause_reasons", &[link(Parent::Pause, "pause_id")]),
    // Agent apps ask without a run.
    optional("human_input_forms", &[link(Parent::Run, "workflow_run_id"), link(Parent::Conversation, "conversation_id")]),
    optional("human_input_form_deliveries", &[link(Parent::Form, "form_id")]),
    optional("human_input_form_recipients", &[link(Parent::Form, "form_id"), link(Parent::Delivery, "delivery_id")]),
    optional("human_input_form_upload_tokens", &[link(Parent::Form, "form_id")]),
    optional("human_input_form_upload_files", &[link(Parent::Form, "form_id")]),
    optional("execution_extra_contents", &[link(Parent::Run, "workflow_run_id"), link(Parent::Message, "message_id")]),
    optional("message_agent_thoughts", &[link(Parent::Message, "message_id")]),
    optional("message_chains", &[link(Parent::Message, "message_id")]),
    optional("message_files", &[link(Parent::Message, "message_id")]),
    optional("message_feedbacks", &[link(Parent::Message, "message_id"), link(Parent::Conversation, "conversation_id")]),
    optional("dataset_retriever_resources", &[link(Parent::Message, "message_id")]),
    optional("app_annotation_hit_histories", &[link(Parent::Message, "message_id")]),
    optional("workflow_conversation_variables", &[link(Parent::Conversation, "conversation_id")]),
    optional("tool_conversation_variables", &[link(Parent::Conversation, "conversation_id")]),
    optional("pinned_conversations", &[link(Parent::Conversation, "conversation_id")]),
    optional("agent_debug_conversations", &[link(Parent::Conversation, "conversation_id")]),
];

/// What hangs on a root.
pub(super) const fn tables(root: Root) -> &'static [Known] {
    match root {
        Root::Run => OF_RUN,
        Root::Conversation => OF_CONVERSATION,
    }
}

/// A column that names what we delete, in a row that stays.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    /// Why the row stays, or why the column is no way to find it.
    pub why: &'static str,
}

const fn kept(table: &'static str, column: &'static str, why: &'static str) -> Kept {
    Kept { table, column, why }
}

/// What names a deleted row and stays.
pub const KEPT: &[Kept] = &[
    kept("workflow_archive_logs", "workflow_run_id", "Dify's own catalogue of the runs that it archived itself"),
    kept("message_annotations", "conversation_id", "user-made knowledge; its conversation stays whole"),
    kept("message_annotations", "message_id", "user-made knowledge; its conversation stays whole"),
    kept("saved_messages", "message_id", "an end user's bookmark; its conversation stays whole"),
    kept("workflow_draft_variables", "node_execution_id", "what the editor shows; the run of that node stays whole"),
    kept("tool_files", "conversation_id", "the only record of an object in Dify's storage, which goes first"),
    kept("messages", "conversation_id", "found through the conversation"),
    kept("messages", "workflow_run_id", "a message goes with its conversation; a run that a message names is no root"),
    kept("messages", "parent_message_id", "names a message of the same conversation"),
    kept("workflow_node_executions", "node_execution_id", "the row's own id, as text"),
    kept("workflow_pause_reasons", "form_id", "found through its pause"),
    kept("execution_extra_contents", "form_id", "found through the run and the message"),
    kept("agent_workspace_bindings", "pending_form_id", "state of an agent's sandbox, which Dify retires itself"),
];

/// Columns of these names, and those that end in `_` and one of these names, hold the id of something that we delete.
const PARENT_COLUMNS: [&str; 7] =
    ["workflow_run_id", "message_id", "conversation_id", "node_execution_id", "pause_id", "form_id", "delivery_id"];

/// Whether a column of this name holds the id of something that we delete.
pub(super) fn names_a_parent(column: &str) -> bool {
    PARENT_COLUMNS.iter().any(|name| column.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('_')))
}

/// Whether it is known what is to be done with the column.
pub(super) fn is_known(table: &str, column: &str) -> bool {
    let links = OF_RUN.iter().chain(OF_CONVERSATION).filter(|known| known.table == table).flat_map(|known| known.links);
    links.into_iter().any(|link| link.column == column) || KEPT.iter().any(|kept| kept.table == table && kept.column == column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_a_prefix_are_references_too() {
        for column in ["workflow_run_id", "parent_message_id", "pending_form_id", "source_conversation_id"] {
            assert!(names_a_parent(column), "{column}");
        }
        for column in ["platform_id", "workflow_id", "app_id", "transform_id", "message_chain_id"] {
            assert!(!names_a_parent(column), "{column}");
        }
    }

    #[test]
    fn parents_stand_before_their_children_and_ways_to_one_table_together() {
        for root in [Root::Run, Root::Conversation] {
            let tables = tables(root);
            for (place, known) in tables.iter().enumerate() {
                for parent in known.links.iter().filter_map(|link| link.parent.table()) {
                    assert!(tables[..place].iter().any(|before| before.table == parent), "{} before {}", parent, known.table);
                }
                assert!(!tables[..place].iter().any(|before| before.table == known.table), "{} twice", known.table);
            }
        }
    }
}
