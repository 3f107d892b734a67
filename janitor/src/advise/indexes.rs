//! Indexes that are missing, unfinished, or no longer needed.

use dify_observe_core::dify::ddl::{create_index, quoted};
use dify_observe_core::dify::retention::health::{OurIndex, TableHealth};

use super::{Advice, Facts, Topic, about, size};
use crate::check::SMALL;

/// Header and pointer of an index entry, and what pages leave free.
const ENTRY: f64 = 12.0;
const FILL: f64 = 0.9;
/// A modest disk, and one core that sorts. CONCURRENTLY reads the table twice.
const READ_PER_SECOND: f64 = 200e6;
const ROWS_PER_SECOND: f64 = 500e3;

impl Facts<'_> {
    pub(super) fn about_indexes(&self) -> Vec<Advice> {
        let mut advice = Vec::new();
        advice.extend(self.indexes.iter().filter_map(|index| self.about_ours(index)));
        if self.schema.index_on("workflow_runs", &["created_at", "id"]).is_none() {
            let why = "without it, old runs are found in one pass over the table for each run of the janitor, and new ones by the exporter \
                       in slow passes; Dify itself has this index since 1.11.3";
            advice.extend(self.missing("workflow_runs", &["created_at", "id"], 24.0, why));
        }
        for (table, column) in &self.without_index {
            let why = "without it, the rows that hang on a batch are found in passes over the whole table, once for many batches";
            advice.extend(self.missing(table, &[column], 16.0, why));
        }
        advice
    }

    /// An index whose keys have `width` bytes, where the table is large enough to be worth one.
    fn missing(&self, table: &str, columns: &[&str], width: f64, why: &str) -> Option<Advice> {
        let health = self.table(table)?;
        let rows = health.rows.unwrap_or(health.live_rows);
        // One that is there and unfinished is dropped first; the advice to build it comes when it is gone.
        let unfinished = self.indexes.iter().any(|index| index.table == table && !index.valid && index.columns == columns);
        if rows < SMALL || unfinished {
            return None;
        }
        Some(Advice {
            topic: Topic::Index,
            table: Some(table.to_owned()),
            advice: format!("build an index on {table} ({})", columns.join(", ")),
            why: format!("{table} has about {rows} rows ({}); {why}", size(health.heap_bytes + health.toast_bytes)),
            price: price(health, rows, width),
            statements: vec![create_index(table, columns)],
        })
    }

    fn about_ours(&self, index: &OurIndex) -> Option<Advice> {
        let drop = vec![format!("DROP INDEX CONCURRENTLY {};", quoted(&index.name))];
        let price = "some milliseconds, after the statements that use the table now; locks nobody out".to_owned();
        let table = Some(index.table.clone());
        if !index.valid {
            // A build that is at work looks just like one that failed.
            let why = format!("a build of {} was never finished: it is used by nothing, and every write keeps it up to date", index.name);
            let advice = format!("drop the unfinished index {}", index.name);
            return (!index.busy).then_some(Advice { topic: Topic::Index, table, advice, why, price, statements: drop });
        }
        let columns: Vec<&str> = index.columns.iter().map(String::as_str).collect();
        let twin = self.schema.table(&index.table)?.indexes.iter().find(|other| {
            let same = other.columns.iter().map(String::as_str).take(columns.len()).eq(columns.iter().copied());
            other.name != index.name && !other.partial && same
        })?;
        let why = format!("Dify has one of its own now, {}, that serves the same; ours takes {} for nothing", twin.name, size(index.bytes));
        Some(Advice { topic: Topic::Index, table, advice: format!("drop our index {}", index.name), why, price, statements: drop })
    }
}

fn price(table: &TableHealth, rows: i64, width: f64) -> String {
    let bytes = rows as f64 * (width + ENTRY) / FILL;
    let seconds = 2.0 * table.heap_bytes as f64 / READ_PER_SECOND + rows as f64 / ROWS_PER_SECOND;
    format!(
        "about {} of disk and {}; locks nobody out, but waits for every older transaction to end, and every write has one index more to keep. \
         Drop it before an upgrade of Dify that brings the same (advise says so afterwards, too)",
        size(bytes as i64),
        about(seconds)
    )
}
