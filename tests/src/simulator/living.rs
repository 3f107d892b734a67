//! What the simulated Dify has in its tables right now, as far as those who delete need to know.

use std::collections::{HashMap, VecDeque};

use uuid::Uuid;

use super::value::{Micros, Row, Statement, Value, Write, get};

/// A row by table and primary key.
pub(crate) type Key = (&'static str, Uuid);

/// A run or conversation that could be deleted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Root {
    pub(crate) id: Uuid,
    pub(crate) app: Uuid,
    pub(crate) since: Micros,
}

/// Columns by which rows hang on a run, a conversation, a message or another row.
const PARENTS: [&str; 5] = ["workflow_run_id", "conversation_id", "message_id", "pause_id", "node_execution_id"];

/// An index over the rows that were written, without their contents.
#[derive(Debug, Default)]
pub(crate) struct Living {
    runs: VecDeque<Root>,
    conversations: VecDeque<Root>,
    messages: VecDeque<Root>,
    children: HashMap<Uuid, Vec<Key>>,
    ended: HashMap<Uuid, bool>,
    limit: usize,
}

impl Living {
    /// Remembers at most this many runs, conversations and messages each; older ones are never deleted.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Takes note of a transaction.
    pub(crate) fn note(&mut self, write: &Write) {
        for statement in &write.statements {
            match statement {
                Statement::Insert { table, row } => self.add(table, row, write.at),
                Statement::Merge { table, row, .. } => {
                    if !self.ended.contains_key(&super::value::id_of(row)) {
                        self.add(table, row, write.at);
                    }
                    self.note_end(table, row);
                }
                Statement::Update { table, set, id } => self.link(table, *id, set),
                Statement::Delete { table, id } => self.forget(table, *id),
                Statement::Ensure { .. } => {}
            }
        }
    }

    fn add(&mut self, table: &'static str, row: &Row, at: Micros) {
        let id = super::value::id_of(row);
        self.ended.insert(id, false);
        self.link(table, id, row);
        let app = get(row, "app_id").and_then(Value::as_uuid).unwrap_or_default();
        let roots = match table {
            "workflow_runs" => &mut self.runs,
            "conversations" => &mut self.conversations,
            "messages" => &mut self.messages,
            _ => return,
        };
        roots.push_back(Root { id, app, since: at });
        if roots.len() > self.limit
            && let Some(old) = roots.pop_front()
        {
            self.children.remove(&old.id);
            self.ended.remove(&old.id);
        }
    }

    fn note_end(&mut self, table: &str, row: &Row) {
        if table == "workflow_runs" {
            let ended = get(row, "finished_at").is_some_and(|value| !value.is_null());
            self.ended.insert(super::value::id_of(row), ended);
        }
    }

    fn link(&mut self, table: &'static str, id: Uuid, row: &Row) {
        for parent in PARENTS.iter().filter_map(|column| get(row, column).and_then(Value::as_uuid)) {
            let children = self.children.entry(parent).or_default();
            if !children.contains(&(table, id)) {
                children.push((table, id));
            }
        }
    }

    fn forget(&mut self, table: &str, id: Uuid) {
        match table {
            "workflow_runs" => self.runs.retain(|root| root.id != id),
            "conversations" => self.conversations.retain(|root| root.id != id),
            "messages" => self.messages.retain(|root| root.id != id),
            _ => return,
        }
        self.children.remove(&id);
        self.ended.remove(&id);
    }

    pub(crate) fn runs(&self) -> &VecDeque<Root> {
        &self.runs
    }

    pub(crate) fn conversations(&self) -> &VecDeque<Root> {
        &self.conversations
    }

    pub(crate) fn messages(&self) -> &VecDeque<Root> {
        &self.messages
    }

    pub(crate) fn ended(&self, run: Uuid) -> bool {
        self.ended.get(&run).copied().unwrap_or(false)
    }

    /// Rows of the given tables that hang on a row, deepest first, each once.
    pub(crate) fn below(&self, id: Uuid, tables: &[&str]) -> Vec<Key> {
        let mut found = Vec::new();
        self.collect(id, tables, &mut found);
        found
    }

    fn collect(&self, id: Uuid, tables: &[&str], found: &mut Vec<Key>) {
        let Some(children) = self.children.get(&id) else { return };
        for key in children.iter().filter(|(table, _)| tables.contains(table)) {
            if !found.contains(key) {
                self.collect(key.1, tables, found);
                found.push(*key);
            }
        }
    }
}
