//! Tables and indexes that are read to find out what may go, and are not deleted from.

use super::{Parent, Path, UnknownShape, index_path};
use crate::dify::schema::Schema;

/// What protects a bundle, and how it is looked up here.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Checks {
    /// An index serves runs in the order of `(created_at, id)`.
    pub(crate) runs_by_time: bool,
    /// An index holds `(conversation_id, workflow_run_id)` of the messages.
    pub(crate) messages_by_run: bool,
    /// Annotations, by what they name.
    pub(crate) annotations: Vec<Lookup>,
    /// Messages that an end user saved.
    pub(crate) saved: Option<Lookup>,
    /// The editor's variables name node executions.
    pub(crate) draft_variables: bool,
    /// How the newest row of a node is found, which the editor shows.
    pub(crate) newest_node: Option<NewestNode>,
    /// Pauses say when they ended.
    pub(crate) pauses: bool,
    /// `server_version_num`: ranges of blocks are served since 14.
    pub(crate) server_version: i32,
}

/// A table that is looked into by an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lookup {
    pub(crate) table: &'static str,
    pub(crate) column: &'static str,
    pub(crate) parent: Parent,
    pub(crate) path: Path,
}

/// How the newest row of a node of a draft workflow is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NewestNode {
    /// `(tenant_id, workflow_id, node_id, created_at)`
    ByTime,
    /// `(tenant_id, app_id, workflow_id, triggered_from, node_id)`
    ByTrigger,
}

impl Checks {
    pub(super) fn resolve(schema: &Schema) -> Result<Checks, UnknownShape> {
        let annotations = [
            lookup(schema, "message_annotations", "message_id", Parent::Message)?,
            lookup(schema, "message_annotations", "conversation_id", Parent::Conversation)?,
        ];
        Ok(Checks {
            runs_by_time: schema.index_on("workflow_runs", &["created_at", "id"]).is_some(),
            messages_by_run: schema.index_on("messages", &["conversation_id", "workflow_run_id"]).is_some(),
            annotations: annotations.into_iter().flatten().collect(),
            saved: lookup(schema, "saved_messages", "message_id", Parent::Message)?,
            draft_variables: draft_variables(schema)?,
            newest_node: newest_node(schema),
            pauses: schema.can_read_all("workflow_pauses", &["workflow_run_id", "resumed_at"]),
            server_version: schema.server_version,
        })
    }
}

/// How a table is looked into by a column; `None` where this Dify does not have the table.
fn lookup(schema: &Schema, table: &'static str, column: &'static str, parent: Parent) -> Result<Option<Lookup>, UnknownShape> {
    if !schema.has_table(table) {
        return Ok(None);
    }
    let path = index_path(schema, table, column)?;
    if !schema.can_read(table, column) {
        return Err(UnknownShape::NotReadable { table: table.to_owned(), column: column.to_owned() });
    }
    let path = path.ok_or_else(|| UnknownShape::NoIndex { table: table.to_owned(), column: column.to_owned() })?;
    Ok(Some(Lookup { table, column, parent, path }))
}

fn draft_variables(schema: &Schema) -> Result<bool, UnknownShape> {
    let (table, column) = ("workflow_draft_variables", "node_execution_id");
    match schema.column(table, column) {
        Some(found) if !found.readable => Err(UnknownShape::NotReadable { table: table.to_owned(), column: column.to_owned() }),
        found => Ok(found.is_some()),
    }
}

fn newest_node(schema: &Schema) -> Option<NewestNode> {
    let table = "workflow_node_executions";
    if schema.index_on(table, &["tenant_id", "workflow_id", "node_id", "created_at"]).is_some() {
        return Some(NewestNode::ByTime);
    }
    schema.index_on(table, &["tenant_id", "app_id", "workflow_id", "triggered_from", "node_id"]).map(|_| NewestNode::ByTrigger)
}
