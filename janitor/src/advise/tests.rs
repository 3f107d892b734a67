//! Advice from figures, without a database.

use super::*;

const GIB: i64 = 1 << 30;

fn server() -> ServerHealth {
    ServerHealth {
        role: "dify_janitor".to_owned(),
        database: "dify".to_owned(),
        standby: false,
        read_only: false,
        sees_all: true,
        now: dify_observe_core::dify::time::Micros(0),
        autovacuum: true,
        scale_factor: 0.2,
        threshold: 50,
        max_wal_bytes: 64 * GIB,
        checkpoint_seconds: 300.0,
        oldest_snapshot_seconds: None,
        oldest_prepared_seconds: None,
        idle_slots: None,
    }
}

/// A table without waste.
fn table(name: &str, rows: i64) -> TableHealth {
    TableHealth {
        name: name.to_owned(),
        heap_bytes: rows * 1024,
        toast_bytes: rows * 2048,
        index_bytes: rows * 100,
        rows: Some(rows),
        toast_rows: Some(rows),
        row_width: Some(1024.0 - 36.0),
        live_rows: rows,
        dead_rows: 0,
        toast_dead_rows: 0,
        vacuumed_at: None,
        own_scale_factor: None,
        own_threshold: None,
        autovacuum: true,
        row_security: false,
    }
}

/// Advice for a database whose tables have no columns and no indexes, as far as the schema says.
fn advised(change: impl FnOnce(&mut Facts<'_>)) -> Vec<Advice> {
    let (settings, schema) = (Settings::default(), Schema::default());
    let mut facts = Facts {
        settings: &settings,
        schema: &schema,
        without_index: Vec::new(),
        server: server(),
        tables: Vec::new(),
        indexes: Vec::new(),
        cleaners: Vec::new(),
    };
    change(&mut facts);
    facts.advice()
}

fn only(advice: Vec<Advice>) -> Advice {
    assert_eq!(advice.len(), 1, "{advice:#?}");
    advice.into_iter().next().unwrap()
}

#[test]
fn a_small_healthy_database_needs_nothing() {
    let advice = advised(|facts| facts.tables = vec![table("workflow_runs", 10_000), table("messages", 10_000)]);
    assert_eq!(advice, []);
    let mut out = Vec::new();
    print(&advice, &mut out).unwrap();
    assert!(String::from_utf8(out).unwrap().starts_with("nothing to advise"));
}

#[test]
fn a_large_table_without_an_index_on_time_gets_one() {
    let advice = advised(|facts| facts.tables = vec![table("workflow_runs", 400_000)]);
    let index = only(advice);
    assert_eq!((index.topic, index.table.as_deref()), (Topic::Index, Some("workflow_runs")));
    assert!(
        index.statements[0].contains("CREATE INDEX CONCURRENTLY dify_observe_workflow_runs_created_at_id ON workflow_runs"),
        "{index:?}"
    );
    assert!(index.why.contains("400000 rows") && index.price.contains("15 MiB"), "{index:?}");
}

#[test]
fn rows_that_no_index_finds_get_one_where_there_are_many() {
    let with = |rows| {
        advised(|facts| {
            facts.tables = vec![table("workflow_app_logs", rows)];
            facts.without_index = vec![("workflow_app_logs".to_owned(), "workflow_run_id".to_owned())];
        })
    };
    assert!(only(with(60_000)).statements[0].ends_with("ON workflow_app_logs (workflow_run_id);"));
    assert_eq!(with(40_000), []);
}

#[test]
fn an_unfinished_index_is_dropped_before_it_is_built_again() {
    let index = |busy| OurIndex {
        name: "dify_observe_workflow_runs_created_at_id".to_owned(),
        table: "workflow_runs".to_owned(),
        columns: vec!["created_at".to_owned(), "id".to_owned()],
        valid: false,
        bytes: 8192,
        busy,
    };
    let with = |busy| {
        advised(|facts| {
            facts.tables = vec![table("workflow_runs", 400_000)];
            facts.indexes = vec![index(busy)];
        })
    };
    assert_eq!(only(with(false)).statements, ["DROP INDEX CONCURRENTLY dify_observe_workflow_runs_created_at_id;"]);
    // Somebody is building it right now.
    assert_eq!(with(true), []);
}

#[test]
fn autovacuum_that_begins_late_is_told_to_begin_earlier() {
    let settled = |table: &mut TableHealth| table.own_scale_factor = Some(0.02);
    let mut large = table("workflow_node_executions", 8_000_000);
    let late = only(advised(|facts| facts.tables = vec![large.clone()]));
    assert!(late.why.contains("1600050") && late.statements[0].contains("toast.autovacuum_vacuum_scale_factor"), "{late:?}");
    settled(&mut large);
    assert_eq!(advised(|facts| facts.tables = vec![large]), []);
}

#[test]
fn what_keeps_vacuum_from_its_work_is_named() {
    let held = only(advised(|facts| facts.server.oldest_snapshot_seconds = Some(7200.0)));
    assert!(held.why.contains("2.0 hours") && held.statements[0].contains("backend_xmin"), "{held:?}");
    let off = only(advised(|facts| facts.server.autovacuum = false));
    assert!(off.statements[0].contains("autovacuum = on"), "{off:?}");
    let slot = only(advised(|facts| facts.server.idle_slots = Some("old_standby".to_owned())));
    assert!(slot.why.contains("old_standby"), "{slot:?}");
}

#[test]
fn waste_is_advised_on_with_its_locks_when_it_is_large() {
    let mut bloated = table("messages", 500_000);
    bloated.own_scale_factor = Some(0.02);
    bloated.toast_bytes = 8 * GIB;
    let advice = only(advised(|facts| facts.tables = vec![bloated.clone()]));
    assert_eq!(advice.topic, Topic::Space);
    assert!(
        advice.price.contains("VACUUM FULL: locks out every reader") && advice.statements.iter().any(|line| line.contains("pg_repack"))
    );
    // Statements that lock are comments: nobody pastes them by accident.
    assert!(advice.statements.iter().filter(|line| line.contains("FULL")).all(|line| line.starts_with("--")));
    bloated.toast_bytes = 500_000 * 2048 + GIB / 2;
    assert_eq!(advised(|facts| facts.tables = vec![bloated]), []);
}

#[test]
fn a_pace_that_forces_checkpoints_is_named_with_both_ways_out() {
    let wal = only(advised(|facts| facts.server.max_wal_bytes = GIB));
    assert!(wal.statements[0].contains("max_wal_size = '6GB'") && wal.price.contains("lower janitor.pace"), "{wal:?}");
}

#[test]
fn traces_of_difys_cleaners_come_first() {
    let cleaner = PastCleaner { table: "messages", calls: 3, rows: 3000 };
    let advice = advised(|facts| {
        facts.cleaners = vec![cleaner];
        facts.server.max_wal_bytes = GIB;
    });
    assert_eq!(advice[0].topic, Topic::Dify);
    assert!(advice[0].why.contains("3000 rows of messages") && advice[0].statements.contains(&"ENABLE_CLEAN_MESSAGES=false".to_owned()));
}

#[test]
fn sizes_and_times_read_well() {
    let sizes = [0, 1536, 20 << 20, 3 * GIB, 5 << 40].map(size);
    assert_eq!(sizes, ["0.0 KiB", "1.5 KiB", "20 MiB", "3.0 GiB", "5.0 TiB"]);
    let times = [1.0, 42.0, 300.0, 8000.0].map(about);
    assert_eq!(times, ["some seconds", "about 50 seconds", "about 5 minutes", "about 3 hours"]);
}
