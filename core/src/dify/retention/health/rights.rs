//! Rights that a role lacks, as the statements that give them.

use crate::dify::ddl::grant;
use crate::dify::retention::pressure::Rights;
use crate::dify::schema::Schema;

/// PostgreSQL wants UPDATE on at least one column of a table whose rows are locked. These are columns without consequence, of which nothing
/// is ever written; they are in every Dify since 1.0.
pub const LOCK_COLUMNS: [(&str, &str); 2] = [("workflow_runs", "total_steps"), ("conversations", "read_at")];

/// What is only read: names for policies and reports, and what keeps a run or a conversation from going. The counterpart of
/// `deploy/postgres/janitor-role.sql`.
const READ: [(&str, &[&str]); 7] = [
    ("apps", &["id", "tenant_id", "name", "mode", "status"]),
    ("tags", &["id", "type", "name"]),
    ("tag_bindings", &["tag_id", "target_id"]),
    ("workflows", &["id", "tenant_id", "app_id", "version"]),
    ("message_annotations", &["id", "app_id", "conversation_id", "message_id"]),
    ("saved_messages", &["id", "app_id", "message_id"]),
    ("workflow_draft_variables", &["id", "app_id", "node_execution_id"]),
];

/// The statements that give `role` what it lacks to read what is only read.
pub fn missing_reads(schema: &Schema, role: &str) -> Vec<String> {
    let refused = |table: &str, column: &&str| schema.column(table, column).is_some_and(|column| !column.readable);
    let missing = READ.iter().map(|(table, columns)| {
        let columns: Vec<&str> = columns.iter().copied().filter(|column| refused(table, column)).collect();
        (!columns.is_empty()).then(|| grant("SELECT", &columns, table, role))
    });
    missing.flatten().collect()
}

/// The statements that give `role` what it lacks to read `tables`, or with `execute` also to delete from them and to put rows back.
pub fn missing_rights(tables: &[Rights], role: &str, execute: bool) -> Vec<String> {
    let mut statements = Vec::new();
    for table in tables.iter().filter(|table| table.present) {
        let mut rights = Vec::new();
        if !table.select {
            rights.push("SELECT");
        }
        if execute && !table.delete {
            rights.push("DELETE");
        }
        if execute && !table.insert {
            rights.push("INSERT");
        }
        if !rights.is_empty() {
            statements.push(grant(&rights.join(", "), &[], &table.table, role));
        }
        let lock = LOCK_COLUMNS.iter().find(|(name, _)| *name == table.table);
        if let Some((_, column)) = lock.filter(|_| execute && !table.lock) {
            statements.push(grant("UPDATE", &[column], &table.table, role));
        }
    }
    statements
}
