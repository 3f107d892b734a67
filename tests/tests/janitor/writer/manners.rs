//! What the database has to bear: plans, locks, settings, and a pooler in between.

use std::time::Duration;

use dify_observe_core::dify::retention::delete::{self, Fate};
use dify_observe_core::dify::retention::revenants;
use dify_observe_core::dify::session::built_query;
use dify_observe_tests::Schema;
use dify_observe_tests::pgbouncer::PgBouncer;
use dify_observe_tests::postgres::{Cluster, TestDatabase};
use dify_observe_tests::retention::populate;
use dify_observe_tests::simulator::live;
use sqlx::{Connection as _, Row as _};

use super::deleting::populated;
use super::reading::{LIMITS, Scene, WRITE};

#[tokio::test]
async fn no_statement_reads_a_whole_table_in_any_schema() {
    for schema in Schema::all().unwrap() {
        let database = Cluster::shared().unwrap().database(&schema).await.unwrap();
        populate(&database, 7, 100, live::now()).await.unwrap();
        let mut scene = Scene::of(&database).await;
        enlarge(&mut scene).await;
        let statements = [delete::statements(&scene.ownership), revenants::statements(&scene.ownership)].concat();
        assert!(statements.len() > 30, "{}", schema.describe());
        for (table, statement) in statements {
            let plan = plan(&scene, &statement).await;
            assert!(!plan.contains(&format!("Seq Scan on {table}")), "{}: {statement}\n{plan}", schema.describe());
            // The parents are walked in the order in which they were given: the order of time.
            let outer = plan.find("Function Scan on p").unwrap_or_else(|| panic!("{plan}"));
            let inner = plan.find("Index Cond").unwrap_or_else(|| panic!("{plan}"));
            assert!(outer < inner && !plan.contains("Sort"), "{}: {statement}\n{plan}", schema.describe());
        }
    }
}

/// A handful of rows is read in any way, so every table gets a thousand more, with keys and parents of their own.
async fn enlarge(scene: &mut Scene) {
    for member in [scene.ownership.run.clone(), scene.ownership.conversation.clone()].concat() {
        let (table, column) = (&member.shape.table, &member.column);
        let sql = format!(
            "INSERT INTO {table} SELECT x.* FROM {table} t, generate_series(1, 1000) g, jsonb_populate_record(t,
               jsonb_build_object('id', gen_random_uuid(), '{column}', gen_random_uuid(),
                 'access_token', md5(random()::text), 'token', md5(random()::text), 'upload_file_id', gen_random_uuid(),
                 'agent_id', gen_random_uuid(), 'number', g)) x LIMIT 1000"
        );
        scene.execute(&sql).await;
    }
    for table in ["message_annotations", "saved_messages"] {
        let sql = format!(
            "INSERT INTO {table} SELECT x.* FROM {table} t, generate_series(1, 1000) g, jsonb_populate_record(t,
               jsonb_build_object('id', gen_random_uuid(), 'message_id', gen_random_uuid(), 'conversation_id', gen_random_uuid(), 'number', g)) x LIMIT 1000"
        );
        scene.execute(&sql).await;
    }
    scene.execute("ANALYZE").await;
}

/// The plan of a statement in a transaction of the janitor, for a handful of parents.
async fn plan(scene: &Scene, statement: &str) -> String {
    let ids = "00000000-0000-0000-0000-000000000001,00000000-0000-0000-0000-000000000002,00000000-0000-0000-0000-000000000003";
    let mut text = statement.replace("$1::int4[]", "'{0,1,2}'::int4[]");
    for number in 2..=5 {
        text = text.replace(&format!("${number}::uuid[]"), &format!("'{{{ids}}}'::uuid[]"));
    }
    let mut tx = scene.database.write(WRITE).await.unwrap();
    let lines = tx.fetch_all(built_query(format!("EXPLAIN {text}"))).await.unwrap();
    tx.rollback().await.unwrap();
    lines.iter().map(|line| line.get::<String, _>(0)).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn no_lock_is_stronger_than_what_dify_itself_takes() {
    let database = populated("1.12.1", 120).await;
    let mut scene = Scene::of(&database).await;
    let bundles = [scene.runs(5).await, scene.conversations(5).await].concat();
    let mut batch = scene.all_expected(&bundles).await;
    // The last row that is deleted of each kind is held by somebody else, so that all locks of the transaction can be seen.
    let held = format!(
        "BEGIN; SELECT FROM messages WHERE conversation_id = '{}' FOR UPDATE; SELECT FROM workflow_node_executions WHERE workflow_run_id = '{}' FOR UPDATE",
        bundles[9].id, bundles[4].id
    );
    let mut dify = database.connect().await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(held)).execute(&mut dify).await.unwrap();
    let patient = delete::DeleteLimits { lock_timeout: Duration::from_secs(60), ..LIMITS };
    for kind in [batch.split_off(5), batch] {
        let deletion = delete::delete(&scene.database, &scene.ownership, &kind, &patient);
        let watch = watch(&database, &mut scene.connection, &mut dify);
        let (deleted, modes) = tokio::join!(deletion, watch);
        assert!(deleted.unwrap().fates.iter().all(|fate| *fate == Fate::Deleted));
        assert!(modes.contains(&"RowExclusiveLock".to_owned()) && modes.contains(&"RowShareLock".to_owned()), "{modes:?}");
        let weak = ["AccessShareLock", "RowShareLock", "RowExclusiveLock"];
        assert!(modes.iter().all(|mode| weak.contains(&mode.as_str())), "{modes:?}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
            "BEGIN; SELECT FROM workflow_node_executions WHERE workflow_run_id = '{}' FOR UPDATE",
            bundles[4].id
        )))
        .execute(&mut dify)
        .await
        .unwrap();
    }
}

/// Waits until somebody waits for us, reads the locks of that session on tables, and lets go.
async fn watch(database: &TestDatabase, connection: &mut sqlx::PgConnection, dify: &mut sqlx::PgConnection) -> Vec<String> {
    let sql = "SELECT DISTINCT l.mode FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
         WHERE a.datname = $1 AND a.wait_event_type = 'Lock' AND l.locktype = 'relation'";
    let mut modes: Vec<String> = Vec::new();
    while modes.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        modes = sqlx::query_scalar(sql).bind(database.name()).fetch_all(&mut *connection).await.unwrap();
    }
    sqlx::raw_sql("ROLLBACK").execute(dify).await.unwrap();
    modes
}

#[test]
fn nobody_but_the_janitor_can_write() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut looked_at = 0;
    for package in ["exporter", "shipper"] {
        let mut folders = vec![root.join(package).join("src")];
        while let Some(folder) = folders.pop() {
            // The shipper may not be there yet.
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for path in entries.map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let Ok(text) = std::fs::read_to_string(&path) else { continue };
                assert!(!text.contains("WriteLimits") && !text.contains("WriteTx"), "{}", path.display());
                looked_at += 1;
            }
        }
    }
    assert!(looked_at > 50, "{looked_at} files");
}

#[tokio::test]
async fn limits_and_manners_are_set_for_the_transaction_alone() {
    let database = populated("1.12.1", 20).await;
    let scene = Scene::of(&database).await;
    let mut tx = scene.database.write(LIMITS_SHOWN).await.unwrap();
    for (name, wanted) in [
        ("statement_timeout", "250ms"),
        ("lock_timeout", "100ms"),
        ("idle_in_transaction_session_timeout", "1min"),
        ("plan_cache_mode", "force_custom_plan"),
        ("enable_seqscan", "off"),
        ("transaction_isolation", "read committed"),
        ("transaction_read_only", "off"),
        ("TimeZone", "UTC"),
    ] {
        let row = tx.fetch_one(built_query(format!("SELECT current_setting('{name}') AS value"))).await.unwrap();
        assert_eq!(row.get::<String, _>("value"), wanted, "{name}");
    }
    tx.rollback().await.unwrap();
    let mut tx = scene.database.read(WRITE.statement_timeout).await.unwrap();
    let row = tx.fetch_one(built_query("SELECT current_setting('lock_timeout') AS value".to_owned())).await.unwrap();
    assert_eq!(row.get::<String, _>("value"), "2s", "that of reading");
}

const LIMITS_SHOWN: dify_observe_core::dify::session::WriteLimits = dify_observe_core::dify::session::WriteLimits {
    statement_timeout: Duration::from_millis(250),
    lock_timeout: Duration::from_millis(100),
};

#[tokio::test]
async fn a_pooler_between_changes_nothing() {
    let cluster = Cluster::private(&[]).unwrap();
    let database = cluster.database(&Schema::load("1.17.1").unwrap()).await.unwrap();
    populate(&database, 7, 150, live::now()).await.unwrap();
    // One server connection for all: whatever is not bound to a transaction goes astray.
    let bouncer = PgBouncer::start(cluster.server().unwrap(), 1).unwrap();
    let mut scene = Scene::through(&database, &bouncer.url(database.name())).await.unwrap();
    let bundles = [scene.runs(30).await, scene.conversations(20).await].concat();
    let batch = scene.all_expected(&bundles).await;
    let (first, second) = batch.split_at(batch.len() / 2);
    let another = Scene::through(&database, &bouncer.url(database.name())).await.unwrap();
    let (first, second) = tokio::join!(
        delete::delete(&scene.database, &scene.ownership, first, &LIMITS),
        delete::delete(&another.database, &another.ownership, second, &LIMITS)
    );
    let fates = [first.unwrap().fates, second.unwrap().fates].concat();
    assert_eq!(fates, vec![Fate::Deleted; batch.len()]);
    scene.connection.close().await.unwrap();
}
