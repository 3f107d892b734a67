//! The statements of a deletion.

use super::Root;
use crate::dify::retention::ownership::{Member, Ownership, Path, Prefix};
use crate::dify::retention::parents::Find;
use crate::dify::retention::rows::Shape;

/// Deletes the rows of a member by their parents and says which these were, in arrays: a row each would cost more than deleting it.
pub(super) fn delete(shape: &Shape, column: &str, find: &Find) -> String {
    let table = &shape.table;
    let (second, seconds) = match second(shape) {
        Some(second) => (format!(", t.{second} AS second"), "array_agg(second)"),
        None => (String::new(), "NULL::uuid[]"),
    };
    format!(
        "-- retention_delete_{table}: {column}\n\
         WITH gone AS (DELETE FROM {table} t USING {} WHERE {} RETURNING p.bundle, t.id{second}, t.xmin AS version)\n\
         SELECT array_agg(bundle) AS bundles, array_agg(id) AS ids, {seconds} AS seconds, array_agg(version::text::bigint) AS versions FROM gone",
        find.relation(),
        find.condition(column)
    )
}

/// Locks the roots that nobody else has locked, and says what they are now.
pub(super) fn lock(root: Root) -> String {
    let (table, now) = match root {
        Root::Run => (root.table(), "t.status::text AS status, COALESCE(t.finished_at, t.created_at) AS ended_at"),
        Root::Conversation => (root.table(), "NULL::text AS status, GREATEST(t.created_at, t.updated_at) AS ended_at"),
    };
    format!(
        "-- retention_lock_{table}: id\n\
         SELECT p.bundle, t.xmin::text::bigint AS version, {now} FROM {} JOIN {table} t ON t.id = p.id FOR UPDATE OF t SKIP LOCKED",
        BY_ID.relation()
    )
}

/// Which roots are there, locked or not.
pub(super) fn present(root: Root) -> String {
    let table = root.table();
    format!("-- retention_present_{table}: id\nSELECT p.bundle FROM {} WHERE {}", BY_ID.relation(), BY_ID.exists(table, "id"))
}

/// Which bundles a table that is kept names.
pub(super) fn protects(table: &str, column: &str, find: &Find) -> String {
    format!("-- retention_protects_{table}: {column}\nSELECT p.bundle FROM {} WHERE {}", find.relation(), find.exists(table, column))
}

/// How many of these rows are there, by key, in any version.
pub(super) fn count(shape: &Shape) -> String {
    let (table, find) = (&shape.table, by_key(shape));
    format!("-- retention_count_{table}: id\nSELECT count(*) AS rows FROM {} WHERE {}", find.relation(), find.exists(table, "id"))
}

/// A parent's key is enough.
pub(super) const BY_ID: Find = Find::By(Prefix::None);

/// How rows of a table are found by their own keys.
pub(super) fn by_key(shape: &Shape) -> Find {
    Find::Key { second: second(shape).map(str::to_owned) }
}

/// How rows of a member are found.
pub(super) fn find(member: &Member) -> Find {
    Find::new(&member.path, second(&member.shape))
}

fn second(shape: &Shape) -> Option<&str> {
    shape.key.get(1).map(|position| shape.columns[*position].name.as_str())
}

/// Every statement that a deletion from this database may send, with the name of its table: for looking at their plans.
pub fn statements(ownership: &Ownership) -> Vec<(String, String)> {
    let mut statements = Vec::new();
    for root in [Root::Run, Root::Conversation] {
        statements.push((root.table().to_owned(), lock(root)));
        statements.push((root.table().to_owned(), present(root)));
        for member in ownership.members(root) {
            let table = &member.shape.table;
            statements.push((table.clone(), delete(&member.shape, &member.column, &find(member))));
            if member.path != Path::PrimaryKey {
                statements.push((table.clone(), delete(&member.shape, "id", &by_key(&member.shape))));
                statements.push((table.clone(), count(&member.shape)));
            }
        }
    }
    for lookup in ownership.checks.annotations.iter().chain(&ownership.checks.saved) {
        statements.push((lookup.table.to_owned(), protects(lookup.table, lookup.column, &Find::new(&lookup.path, None))));
    }
    statements.sort();
    statements.dedup();
    statements
}
