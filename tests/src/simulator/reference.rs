//! The plain reference: every row that was ever written, in its last state, and whether it is gone.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::value::{Micros, Row, Statement, Value, Write, get, id_of, overlay};

/// A row and its fate.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The last state that was written.
    pub row: Row,
    /// When the row became visible for the first time.
    pub first_seen: Micros,
    /// When its last change became visible.
    pub last_changed: Micros,
    /// When it was deleted, if it is gone.
    pub deleted_at: Option<Micros>,
    /// How often it was written.
    pub versions: u32,
}

impl Entry {
    /// A column; NULL when it was never written.
    pub fn get(&self, column: &str) -> &Value {
        get(&self.row, column).unwrap_or(&Value::Null)
    }

    /// The text of a column; empty when it has none.
    pub fn text(&self, column: &str) -> &str {
        self.get(column).as_str().unwrap_or_default()
    }
}

/// All rows ever written, by table and primary key.
#[derive(Debug, Clone, Default)]
pub struct Reference {
    tables: BTreeMap<&'static str, BTreeMap<Uuid, Entry>>,
}

impl Reference {
    /// Takes in a transaction, as the database would.
    pub fn apply(&mut self, write: &Write) {
        for statement in &write.statements {
            self.statement(statement, write.at);
        }
    }

    fn statement(&mut self, statement: &Statement, at: Micros) {
        let table = self.tables.entry(statement.table()).or_default();
        match statement {
            Statement::Insert { row, .. } => put(table, row, at),
            Statement::Ensure { row, .. } => {
                if table.get(&id_of(row)).is_none_or(|entry| entry.deleted_at.is_some()) {
                    put(table, row, at);
                }
            }
            Statement::Update { id, set, .. } => {
                change(table, *id, set, at);
            }
            Statement::Merge { set, row, .. } => {
                if !change(table, id_of(row), set, at) {
                    put(table, row, at);
                }
            }
            Statement::Delete { id, .. } => {
                if let Some(entry) = table.get_mut(id).filter(|entry| entry.deleted_at.is_none()) {
                    entry.deleted_at = Some(at);
                }
            }
        }
    }

    /// The names of the tables that were written.
    pub fn tables(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.tables.keys().copied()
    }

    /// Every row ever written to a table, the deleted ones too.
    pub fn ever<'a>(&'a self, table: &str) -> impl Iterator<Item = (Uuid, &'a Entry)> + 'a {
        self.tables.get(table).into_iter().flatten().map(|(id, entry)| (*id, entry))
    }

    /// The rows of a table that are still there.
    pub fn present<'a>(&'a self, table: &str) -> impl Iterator<Item = (Uuid, &'a Entry)> + 'a {
        self.ever(table).filter(|(_, entry)| entry.deleted_at.is_none())
    }

    /// One row, deleted or not.
    pub fn row(&self, table: &str, id: Uuid) -> Option<&Entry> {
        self.tables.get(table)?.get(&id)
    }

    /// One transaction per table that inserts every row ever written in its last state: for a database that plain SQL can
    /// be run on as if nothing had ever been deleted.
    pub fn all_rows(&self) -> Vec<Write> {
        let writes = self.tables.iter().map(|(table, rows)| Write {
            at: 0,
            lane: 0,
            statements: rows.values().map(|entry| Statement::Ensure { table, row: entry.row.clone() }).collect(),
        });
        writes.collect()
    }
}

fn put(table: &mut BTreeMap<Uuid, Entry>, row: &Row, at: Micros) {
    let entry = table.entry(id_of(row)).or_insert_with(|| Entry {
        row: Row::new(),
        first_seen: at,
        last_changed: at,
        deleted_at: None,
        versions: 0,
    });
    entry.row = row.clone();
    entry.last_changed = at;
    entry.deleted_at = None;
    entry.versions += 1;
}

/// Whether there was a row to change.
fn change(table: &mut BTreeMap<Uuid, Entry>, id: Uuid, set: &Row, at: Micros) -> bool {
    let Some(entry) = table.get_mut(&id).filter(|entry| entry.deleted_at.is_none()) else { return false };
    overlay(&mut entry.row, set);
    entry.last_changed = at;
    entry.versions += 1;
    true
}
