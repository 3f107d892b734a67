//! When dead rows are removed, and what keeps them from it.

use dify_observe_core::dify::ddl::quoted;
use dify_observe_core::dify::retention::health::TableHealth;

use super::{Advice, Facts, Topic, size};

/// More dead rows than this before autovacuum begins is a burden, and then a long one.
const MANY: i64 = 500_000;
/// The share of dead rows that suits tables of millions of rows.
const SHARE: &str = "0.02";
/// Vacuum that is held back for longer than this is worth a look.
const LONG: f64 = 3600.0;

impl Facts<'_> {
    pub(super) fn about_vacuum(&self) -> Vec<Advice> {
        let mut advice = Vec::new();
        advice.extend(self.off());
        advice.extend(self.held_back());
        for table in &self.tables {
            advice.extend(self.never_analysed(table));
            advice.extend(self.begins_late(table));
        }
        advice
    }

    fn off(&self) -> Option<Advice> {
        if !self.server.autovacuum {
            return Some(Advice {
                topic: Topic::Vacuum,
                table: None,
                advice: "switch autovacuum on".to_owned(),
                why: "autovacuum = off: the space of deleted rows is never used again, and statistics grow stale".to_owned(),
                price: "none to speak of: it is throttled by default".to_owned(),
                statements: vec!["ALTER SYSTEM SET autovacuum = on;\nSELECT pg_reload_conf();".to_owned()],
            });
        }
        let off: Vec<&TableHealth> = self.tables.iter().filter(|table| !table.autovacuum).collect();
        let names: Vec<&str> = off.iter().map(|table| table.name.as_str()).collect();
        (!off.is_empty()).then(|| Advice {
            topic: Topic::Vacuum,
            table: None,
            advice: format!("switch autovacuum on for {}", names.join(", ")),
            why: "autovacuum_enabled = false was set for them: the space of deleted rows is never used again".to_owned(),
            price: "none to speak of; a brief lock that waits for no reader or writer".to_owned(),
            statements: names.iter().map(|name| format!("ALTER TABLE {} RESET (autovacuum_enabled);", quoted(name))).collect(),
        })
    }

    /// VACUUM removes nothing that somebody might still see.
    fn held_back(&self) -> Option<Advice> {
        let price = "that session's own work".to_owned();
        let make = |advice: &str, why: String, statement: &str, price: String| {
            Some(Advice {
                topic: Topic::Vacuum,
                table: None,
                advice: advice.to_owned(),
                why,
                price,
                statements: vec![statement.to_owned()],
            })
        };
        if let Some(seconds) = self.server.oldest_prepared_seconds.filter(|seconds| *seconds > LONG) {
            let why = format!("one has been open for {:.0} hours: VACUUM can remove no row that was deleted since", seconds / 3600.0);
            return make(
                "end the prepared transaction that was forgotten",
                why,
                "SELECT gid, prepared, owner FROM pg_prepared_xacts;",
                price,
            );
        }
        if let Some(seconds) = self.server.oldest_snapshot_seconds.filter(|seconds| *seconds > LONG) {
            let why = format!("one has been open for {:.1} hours: VACUUM can remove no row that was deleted since", seconds / 3600.0);
            let statement = "SELECT pid, usename, application_name, state, xact_start FROM pg_stat_activity WHERE backend_xmin IS NOT NULL ORDER \
                             BY xact_start LIMIT 5;";
            return make("find out who keeps a transaction open for so long", why, statement, price);
        }
        let slots = self.server.idle_slots.as_ref()?;
        let why = format!("nobody reads from {slots}: the server keeps all WAL since, and a deletion writes gigabytes of it");
        let statement = "SELECT slot_name, slot_type, restart_lsn, xmin, catalog_xmin FROM pg_replication_slots WHERE NOT active;";
        make(
            "drop replication slots that nobody uses, before the disk is full",
            why,
            statement,
            "a standby that comes back must be copied anew".to_owned(),
        )
    }

    fn never_analysed(&self, table: &TableHealth) -> Option<Advice> {
        (table.rows.is_none() && table.live_rows > 10_000).then(|| Advice {
            topic: Topic::Vacuum,
            table: Some(table.name.clone()),
            advice: format!("analyse {}", table.name),
            why: format!("it has about {} rows and was never analysed, so that plans and estimates are guesses", table.live_rows),
            price: "seconds: it reads a sample".to_owned(),
            statements: vec![format!("ANALYZE {};", quoted(&table.name))],
        })
    }

    fn begins_late(&self, table: &TableHealth) -> Option<Advice> {
        let begins_at = table.vacuum_begins_at(&self.server);
        if !table.autovacuum || begins_at < MANY {
            return None;
        }
        let rows = table.rows.unwrap_or(table.live_rows);
        let last = table.vacuumed_at.map_or_else(|| "never".to_owned(), |time| time.to_string());
        Some(Advice {
            topic: Topic::Vacuum,
            table: Some(table.name.clone()),
            advice: format!("let autovacuum come to {} earlier and for shorter", table.name),
            why: format!(
                "with about {rows} rows it begins at {begins_at} dead ones ({} are dead now; last vacuumed: {last}); until then new rows cannot use their space, and \
                 the table grows ({} now)",
                table.dead_rows,
                size(table.bytes())
            ),
            price: "a brief lock that waits for no reader or writer; autovacuum runs more often and each time less long".to_owned(),
            statements: vec![format!(
                "ALTER TABLE {} SET (autovacuum_vacuum_scale_factor = {SHARE}, autovacuum_analyze_scale_factor = {SHARE}, \
                 toast.autovacuum_vacuum_scale_factor = {SHARE});",
                quoted(&table.name)
            )],
        })
    }
}
