//! What a scrape will cost the database.

use std::time::Duration;

use dify_observe_core::dify::schema::Schema;
use dify_observe_core::dify::session::{DatabaseError, ReadTx};
use dify_observe_core::dify::statistics::{heap_pages, walk_cost};
use dify_observe_core::dify::time::Micros;
use dify_observe_core::finding::{Finding, Level, Report};
use dify_observe_core::settings::Settings;

/// A lag that a pass without index should not exceed.
const BEARABLE: Duration = Duration::from_secs(300);

pub(super) async fn look(
    tx: &mut ReadTx,
    schema: &Schema,
    settings: &Settings,
    now: Micros,
    report: &mut Report,
) -> Result<(), DatabaseError> {
    for table in ["workflow_runs", "messages", "workflow_trigger_logs"] {
        if !schema.can_read_all(table, &["id", "created_at"]) {
            continue;
        }
        if schema.index_on(table, &["created_at"]).is_some() {
            let walk = walk_cost(tx, table, now.minus(settings.follow.overlap)).await?;
            let message = format!("{table}: a scrape walks the {} ids of the overlap, planner's cost {:.0}", walk.rows, walk.cost);
            report.add(Finding::new(Level::Ok, "cost per scrape", message));
        } else {
            let pages = heap_pages(tx, table).await?;
            report.add(pass(table, pages, settings.follow.scan_pages_per_second));
        }
    }
    Ok(())
}

/// Without an index a pass reads every page, at the pace of the settings.
fn pass(table: &str, pages: i64, pace: u32) -> Finding {
    let duration = Duration::from_secs(pages.unsigned_abs() / u64::from(pace.max(1)) + 1);
    let message = format!(
        "{table}: a pass reads {pages} pages and takes at least {}; new rows are seen at most that late",
        humantime::format_duration(duration)
    );
    Finding::new(if duration > BEARABLE { Level::Warning } else { Level::Ok }, "cost per scrape", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_that_takes_longer_than_five_minutes_is_a_warning() {
        assert_eq!(pass("workflow_runs", 100_000, 4096).level, Level::Ok);
        assert_eq!(pass("workflow_runs", 4_000_000, 4096).level, Level::Warning);
    }
}
