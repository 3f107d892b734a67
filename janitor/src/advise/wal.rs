//! What deleting writes into the log of changes.

use super::{Advice, Facts, Topic, size};

/// WAL of one deleted row, with VACUUM's part, as measured on rows of node executions (full images of their pages are most of it).
const BYTES_PER_ROW: i64 = 3_700;

impl Facts<'_> {
    pub(super) fn about_wal(&self) -> Option<Advice> {
        let pace = i64::try_from(self.settings.janitor.pace).unwrap_or(i64::MAX);
        if pace == 0 {
            return None;
        }
        let per_second = pace.saturating_mul(BYTES_PER_ROW);
        let per_checkpoint = (per_second as f64 * self.server.checkpoint_seconds) as i64;
        // A deletion takes about half of max_wal_size between two checkpoints.
        if per_checkpoint < self.server.max_wal_bytes {
            return None;
        }
        let every = self.server.max_wal_bytes as f64 / 2.0 / per_second as f64;
        let wanted = (per_checkpoint / (1 << 30) + 1).min(16);
        Some(Advice {
            topic: Topic::Wal,
            table: None,
            advice: format!("raise max_wal_size to {wanted} GB while a large first run is under way"),
            why: format!(
                "at janitor.pace = {pace} deleting writes up to {} of WAL a second, so that with max_wal_size = {} a checkpoint is forced about every \
                 {every:.0} s instead of every {:.0} s, and each makes Dify's writes dearer for a while",
                size(per_second),
                size(self.server.max_wal_bytes),
                self.server.checkpoint_seconds
            ),
            price: format!("up to {wanted} GB of disk for pg_wal, and a longer recovery after a crash; a lower janitor.pace does the same"),
            statements: vec![format!("ALTER SYSTEM SET max_wal_size = '{wanted}GB';\nSELECT pg_reload_conf();")],
        })
    }
}
