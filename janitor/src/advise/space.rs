//! Disk space that deleted rows leave behind. PostgreSQL uses it for new rows and does not give it back by itself.

use dify_observe_core::dify::ddl::quoted;
use dify_observe_core::dify::retention::health::TableHealth;

use super::{Advice, Facts, Topic, about, size};

/// Less than this is not worth a lock.
const WORTH: i64 = 1 << 30;
/// And less than this share of the table neither: it will be used again soon.
const SHARE: f64 = 0.3;
/// Copying a table with its indexes.
const COPY_PER_SECOND: f64 = 100e6;

impl Facts<'_> {
    pub(super) fn about_space(&self) -> Vec<Advice> {
        self.tables.iter().filter_map(about_table).collect()
    }
}

fn about_table(table: &TableHealth) -> Option<Advice> {
    let dead = dead_bytes(table);
    let free = table.heap_waste().unwrap_or(0) + table.toast_waste().unwrap_or(0);
    let waste = free.max(dead).min(table.heap_bytes + table.toast_bytes);
    if waste < WORTH || (waste as f64) < SHARE * (table.heap_bytes + table.toast_bytes) as f64 {
        return None;
    }
    let stays = table.bytes() - waste;
    let name = quoted(&table.name);
    Some(Advice {
        topic: Topic::Space,
        table: Some(table.name.clone()),
        advice: format!(
            "{}: nothing has to be done; to give space back to the system, rewrite it once, after the first large run",
            table.name
        ),
        why: format!(
            "of {} about {} hold no rows any more, at a rough estimate ({} dead rows wait for VACUUM); new rows use that space again, so that the table \
             stops growing by itself",
            size(table.heap_bytes + table.toast_bytes),
            size(waste),
            table.dead_rows + table.toast_dead_rows
        ),
        price: format!(
            "VACUUM: nobody is locked out, and nothing but the very end of the table is given back. pg_repack: an extension to install; locks \
             only for moments, needs {0} free beside the table. VACUUM FULL: locks out every reader and writer of the table for {1}, needs {0} free",
            size(stays),
            about(stays as f64 / COPY_PER_SECOND)
        ),
        statements: vec![
            format!("VACUUM (ANALYZE) {name};"),
            format!("-- pg_repack --table={name} --no-order --dbname=dify"),
            format!("-- VACUUM FULL {name};"),
        ],
    })
}

fn dead_bytes(table: &TableHealth) -> i64 {
    let rows = table.rows.unwrap_or(table.live_rows).max(0) + table.dead_rows;
    if rows == 0 { 0 } else { (table.heap_bytes as f64 * table.dead_rows as f64 / rows as f64) as i64 }
}
