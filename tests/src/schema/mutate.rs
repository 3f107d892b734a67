//! A schema that no Dify ever had, as next week's release may have it.
//!
//! Dify releases weekly; whatever a release adds, or an operator dropped, must not stop us. A mutation adds columns and tables,
//! and takes away one optional table and one secondary index, all decided by a seed.

use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{Column, Index, Key, Schema, Table};

/// Tables that are read, if they are there.
const FOLLOWED: [&str; 11] = [
    "workflow_runs",
    "workflow_node_executions",
    "messages",
    "conversations",
    "message_feedbacks",
    "message_agent_thoughts",
    "workflow_app_logs",
    "apps",
    "workflows",
    "end_users",
    "documents",
];

/// Tables without which runs, nodes and messages can still be read; an older Dify lacks most of them.
const OPTIONAL: [&str; 16] = [
    "message_feedbacks",
    "message_agent_thoughts",
    "message_annotations",
    "dataset_retriever_resources",
    "dataset_queries",
    "workflow_app_logs",
    "workflow_node_execution_offload",
    "workflow_pauses",
    "workflow_pause_reasons",
    "workflow_trigger_logs",
    "workflow_schedule_plans",
    "workflow_archive_logs",
    "tag_bindings",
    "documents",
    "upload_files",
    "tool_files",
];

/// Types of added columns with a default; odd ones on purpose.
const ADDED_TYPES: [(&str, &str); 8] = [
    ("text", "''"),
    ("jsonb", "'{}'::jsonb"),
    ("numeric", "0"),
    ("timestamp with time zone", "CURRENT_TIMESTAMP"),
    ("text[]", "'{}'::text[]"),
    ("inet", "'127.0.0.1'::inet"),
    ("interval", "'1 hour'::interval"),
    ("boolean", "false"),
];

const ADDED_NAMES: [&str; 8] = ["priority", "region", "trace_context", "billing_state", "error_code", "revision", "labels", "checksum"];

impl Schema {
    /// This schema with additions and omissions decided by `seed`; the same seed always makes the same schema.
    pub fn mutated(&self, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut schema = self.clone();
        schema.add_columns(&mut random);
        schema.add_tables(&mut random);
        schema.drop_optional_table(&mut random);
        schema.drop_secondary_index(&mut random);
        schema
    }

    fn add_columns(&mut self, random: &mut ChaCha8Rng) {
        let mut tables: Vec<&str> = FOLLOWED.into_iter().filter(|table| self.has_table(table)).collect();
        tables.shuffle(random);
        let count = random.random_range(2..=tables.len());
        for name in tables.into_iter().take(count) {
            let Some(table) = self.tables.get_mut(name) else { continue };
            let column = added_column(random);
            // In the middle as well: a restored or rebuilt table has its columns in any order.
            let place = random.random_range(1..=table.columns.len());
            self.mutations.push(format!("column {name}.{} {} added at place {place}", column.name, column.sql_type));
            table.columns.insert(place, column);
        }
    }

    fn add_tables(&mut self, random: &mut ChaCha8Rng) {
        for number in 0..random.random_range(1..=3) {
            let name = format!("workflow_{}_{number}", ADDED_NAMES[random.random_range(0..ADDED_NAMES.len())]);
            let id = Column { name: "id".into(), sql_type: "uuid".into(), not_null: true, default: None, generated: false };
            let run = Column { name: "workflow_run_id".into(), not_null: false, ..id.clone() };
            let table = Table {
                columns: vec![id, run, added_column(random)],
                primary_key: Some(Key { name: format!("{name}_pkey"), columns: vec!["id".into()] }),
                indexes: vec![Index { name: format!("{name}_run_idx"), unique: false, definition: "btree (workflow_run_id)".into() }],
                ..Table::default()
            };
            self.mutations.push(format!("table {name} added"));
            self.tables.insert(name, table);
        }
    }

    fn drop_optional_table(&mut self, random: &mut ChaCha8Rng) {
        let present: Vec<&str> = OPTIONAL.into_iter().filter(|table| self.has_table(table)).collect();
        if let Some(table) = present.choose(random) {
            self.tables.remove(*table);
            self.mutations.push(format!("table {table} missing"));
        }
    }

    fn drop_secondary_index(&mut self, random: &mut ChaCha8Rng) {
        let secondary: Vec<(&str, usize)> = FOLLOWED
            .into_iter()
            .flat_map(|table| (0..self.tables.get(table).map_or(0, |found| found.indexes.len())).map(move |place| (table, place)))
            .collect();
        if let Some((name, place)) = secondary.choose(random)
            && let Some(table) = self.tables.get_mut(*name)
        {
            let index = table.indexes.remove(*place);
            self.mutations.push(format!("index {} on {name} missing", index.name));
        }
    }
}

fn added_column(random: &mut ChaCha8Rng) -> Column {
    let (sql_type, default) = ADDED_TYPES[random.random_range(0..ADDED_TYPES.len())];
    let base = ADDED_NAMES[random.random_range(0..ADDED_NAMES.len())];
    let not_null = random.random_bool(0.5);
    Column {
        // The suffix keeps the name apart from any column that Dify has or will have.
        name: format!("{base}_of_tomorrow"),
        sql_type: sql_type.into(),
        not_null,
        default: not_null.then(|| default.to_owned()),
        generated: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_schema() {
        let schema = Schema::load("1.12.1").unwrap();
        assert_eq!(schema.mutated(7), schema.mutated(7));
        assert_ne!(schema.mutated(7).mutations, schema.mutated(8).mutations);
    }

    #[test]
    fn seeds_reach_the_index_on_run_time_and_the_one_on_nodes() {
        let schema = Schema::load("1.12.1").unwrap();
        let all: Vec<String> = (0..500).flat_map(|seed| schema.mutated(seed).mutations).collect();
        for index in ["workflow_run_created_at_id_idx", "workflow_node_execution_workflow_run_id_idx"] {
            assert!(all.iter().any(|mutation| mutation.contains(index)), "{index} is never dropped");
        }
    }

    #[test]
    fn what_reading_needs_is_never_taken_away() {
        let schema = Schema::load("1.17.1").unwrap();
        for seed in 0..200 {
            let mutated = schema.mutated(seed);
            for table in ["workflow_runs", "workflow_node_executions", "messages", "apps"] {
                let key = &mutated.tables[table].primary_key;
                assert!(key.is_some(), "{table} under seed {seed}");
            }
        }
    }
}
