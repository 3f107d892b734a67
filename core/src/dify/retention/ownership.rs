//! Which rows hang on a run or on a conversation, and how each is found: what is known of Dify, held against what this database has.
//!
//! Nothing is decided from a version number. A column that names a run, a message, a conversation, a node execution, a pause or a form
//! in a table that is not known here is reported as [`Reference`]: as long as such a table has rows, its parents must not be deleted.

mod checks;
mod known;

use std::fmt;
use std::sync::Arc;

use super::bundle::Root;
use super::rows::Shape;
use super::shapes::shape;
use crate::dify::schema::Schema;
use known::Link;

pub(super) use checks::{Checks, Lookup, NewestNode};
pub use known::{KEPT, Kept};

/// All that is deleted with a root, resolved against one database.
#[derive(Clone, Debug, PartialEq)]
pub struct Ownership {
    /// What a run bundle is made of: parents first, which is the order of restoring; deletion is the reverse. The first is the root.
    pub run: Vec<Member>,
    /// What a conversation bundle is made of, in the same order.
    pub conversation: Vec<Member>,
    /// Columns that name what we delete, in tables that are not known. Harmless as long as these tables are empty.
    pub unknown: Vec<Reference>,
    /// Tables that are read, not deleted: for what protects a bundle.
    pub(super) checks: Checks,
}

/// A table of which rows hang on a parent. A table whose rows can be found in two ways has two members, one after the other; a row
/// belongs to the first that finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The table.
    pub shape: Arc<Shape>,
    /// What its rows name.
    pub parent: Parent,
    /// The column that names the parent; `id` of a [`Path::PrimaryKey`].
    pub column: String,
    /// How its rows are found by the parent.
    pub path: Path,
}

/// What the rows of a member name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parent {
    /// It is the root itself.
    Root,
    /// A run of the bundle.
    Run,
    /// A message of the bundle.
    Message,
    /// The conversation.
    Conversation,
    /// `workflow_node_executions.id` of a row of the bundle.
    Node,
    /// `workflow_pauses.id` of a row of the bundle.
    Pause,
    /// `human_input_forms.id` of a row of the bundle.
    Form,
    /// `human_input_form_deliveries.id` of a row of the bundle.
    Delivery,
}

impl Parent {
    /// The table whose rows of the bundle are the parents, where these are known only once they are read.
    pub const fn table(self) -> Option<&'static str> {
        match self {
            Parent::Root | Parent::Run | Parent::Message | Parent::Conversation => None,
            Parent::Node => Some("workflow_node_executions"),
            Parent::Pause => Some("workflow_pauses"),
            Parent::Form => Some("human_input_forms"),
            Parent::Delivery => Some("human_input_form_deliveries"),
        }
    }
}

/// How rows are found by their parent without reading the whole table for every batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path {
    /// The parent's key is the primary key.
    PrimaryKey,
    /// Through an index.
    Index {
        /// The index's leading columns; the last one names the parent.
        columns: Vec<String>,
        /// What the columns before it hold.
        prefix: Prefix,
    },
    /// No index serves it: keys are collected for many bundles at once, in ranges of blocks (see [`mod@super::prefetch`]), and rows are
    /// then found by primary key.
    Prefetch,
}

/// What stands before the parent's column in an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// Nothing.
    None,
    /// `app_id`
    App,
    /// `tenant_id, app_id, workflow_id, triggered_from`: of the run; the last one is one of [`NODE_TRIGGERS`].
    Run,
}

/// What `workflow_node_executions.triggered_from` may be of a node that belongs to a run.
pub const NODE_TRIGGERS: [&str; 2] = ["workflow-run", "rag-pipeline-run"];

/// A column that names what we delete.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// The table.
    pub table: String,
    /// The column.
    pub column: String,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.table, self.column)
    }
}

/// Why nothing can be deleted from this database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownShape {
    /// A table that every Dify has is not there.
    #[error("table {table} is not there, which every supported Dify has; is this Dify's own database?")]
    MissingTable {
        /// The table.
        table: String,
    },
    /// A known table lacks the column by which its rows are found.
    #[error("table {table} has no column {column}, by which its rows are found; this version of dify-janitor does not know its shape")]
    MissingColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A known table has a primary key that is not Dify's.
    #[error("the primary key of table {table} is ({found}), not id; this version of dify-janitor does not know its shape")]
    Key {
        /// The table.
        table: String,
        /// Its key columns.
        found: String,
    },
    /// A column that names a parent is not a uuid.
    #[error("column {table}.{column} is {found}, not uuid; this version of dify-janitor does not know its shape")]
    NotUuid {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Its type.
        found: String,
    },
    /// The table is partitioned, which Dify's never are.
    #[error("table {table} is partitioned, which Dify's own tables are not; dify-janitor cannot delete from it")]
    Partitioned {
        /// The table.
        table: String,
    },
    /// No index serves finding its rows, and nothing else can.
    #[error(
        "no index of table {table} begins with {column}, so its rows cannot be found; create one: CREATE INDEX CONCURRENTLY dify_observe_{table}_{column} ON {table} ({column})"
    )]
    NoIndex {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// The role may not read it, so that it cannot be archived.
    #[error(
        "the database role may not read {table}.{column}, which is archived before it is deleted; run deploy/postgres/janitor-role.sql, or: GRANT SELECT ON {table} TO <role>"
    )]
    NotReadable {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
}

impl Ownership {
    /// Holds what is known of Dify against this database.
    pub fn resolve(schema: &Schema) -> Result<Ownership, UnknownShape> {
        Ok(Ownership {
            run: members(schema, Root::Run)?,
            conversation: members(schema, Root::Conversation)?,
            unknown: unknown(schema),
            checks: Checks::resolve(schema)?,
        })
    }

    /// What a bundle of this kind is made of.
    pub fn members(&self, root: Root) -> &[Member] {
        match root {
            Root::Run => &self.run,
            Root::Conversation => &self.conversation,
        }
    }

    /// Position of the first member with this table: how rows of a table are named where a number has to do.
    pub fn table_index(&self, root: Root, table: &str) -> Option<u16> {
        let position = self.members(root).iter().position(|member| member.shape.table == table)?;
        u16::try_from(position).ok()
    }

    /// Whether keys of some member have to be collected for many bundles at once.
    pub fn needs_prefetch(&self, root: Root) -> bool {
        self.members(root).iter().any(|member| member.path == Path::Prefetch)
    }
}

/// The tables of which rows go with a root, of all versions of Dify together.
pub fn known_tables() -> impl Iterator<Item = &'static str> {
    let mut tables: Vec<&str> = [Root::Run, Root::Conversation].into_iter().flat_map(known::tables).map(|known| known.table).collect();
    tables.sort_unstable();
    tables.dedup();
    tables.into_iter()
}

fn members(schema: &Schema, root: Root) -> Result<Vec<Member>, UnknownShape> {
    let mut members = Vec::new();
    for known in known::tables(root) {
        if !known.required && !schema.has_table(known.table) {
            continue;
        }
        let shape = shape(schema, known.table)?;
        let present: Vec<&Link> = known.links.iter().filter(|link| schema.column(known.table, link.column).is_some()).collect();
        if present.is_empty() {
            return Err(UnknownShape::MissingColumn { table: known.table.to_owned(), column: known.links[0].column.to_owned() });
        }
        for link in present {
            let path = path(schema, known.table, link)?;
            members.push(Member { shape: Arc::clone(&shape), parent: link.parent, column: link.column.to_owned(), path });
        }
    }
    Ok(members)
}

fn path(schema: &Schema, table: &str, link: &Link) -> Result<Path, UnknownShape> {
    if link.column == "id" {
        return Ok(Path::PrimaryKey);
    }
    if let Some(path) = index_path(schema, table, link.column)? {
        return Ok(path);
    }
    // The parents of the others are known only while a batch is read: too late for a pass over the whole table.
    match link.parent {
        Parent::Run | Parent::Message => Ok(Path::Prefetch),
        Parent::Conversation if table != "messages" => Ok(Path::Prefetch),
        _ => Err(UnknownShape::NoIndex { table: table.to_owned(), column: link.column.to_owned() }),
    }
}

/// The index through which rows are found by a uuid column, where there is one.
fn index_path(schema: &Schema, table: &str, column: &str) -> Result<Option<Path>, UnknownShape> {
    match schema.column(table, column) {
        None => return Err(UnknownShape::MissingColumn { table: table.to_owned(), column: column.to_owned() }),
        Some(found) if found.data_type != "uuid" => {
            return Err(UnknownShape::NotUuid { table: table.to_owned(), column: column.to_owned(), found: found.data_type.clone() });
        }
        Some(_) => {}
    }
    let prefixes: [(Prefix, &[&str]); 3] =
        [(Prefix::None, &[]), (Prefix::App, &["app_id"]), (Prefix::Run, &["tenant_id", "app_id", "workflow_id", "triggered_from"])];
    for (prefix, leading) in prefixes {
        let columns: Vec<&str> = leading.iter().copied().chain([column]).collect();
        if schema.index_on(table, &columns).is_some() {
            return Ok(Some(Path::Index { columns: columns.into_iter().map(str::to_owned).collect(), prefix }));
        }
    }
    Ok(None)
}

/// Columns that name what we delete, in tables or columns that are not known.
fn unknown(schema: &Schema) -> Vec<Reference> {
    let mut unknown = Vec::new();
    for table in schema.table_names() {
        let columns = schema.table(table).into_iter().flat_map(|table| table.columns.keys());
        let foreign = columns.filter(|column| known::names_a_parent(column) && !known::is_known(table, column));
        unknown.extend(foreign.map(|column| Reference { table: table.to_owned(), column: column.clone() }));
    }
    unknown.sort();
    unknown
}

#[cfg(test)]
mod tests;
