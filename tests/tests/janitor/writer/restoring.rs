//! Putting rows back where something is in the way, or where the tables are not what they were.

use std::sync::Arc;

use dify_observe_core::dify::retention::restore::{CannotRestore, Counts, Destination, Existing, Restoration, RestoreError, Restored};
use dify_observe_core::dify::retention::{Cell, Piece, Rows};
use dify_observe_tests::Schema;
use dify_observe_tests::pgbouncer::PgBouncer;
use dify_observe_tests::postgres::Cluster;
use dify_observe_tests::retention::{Snapshot, populate};
use dify_observe_tests::simulator::live;

use super::deleting::populated;
use super::reading::{Scene, WRITE};

async fn begin(scene: &Scene, existing: Existing) -> Restoration {
    let mut tx = scene.database.read(WRITE.statement_timeout).await.unwrap();
    let destination = Destination::read(&mut tx).await.unwrap();
    tx.end().await.unwrap();
    Restoration::begin(&scene.database, Arc::new(destination), existing, WRITE).await.unwrap()
}

async fn put(scene: &Scene, existing: Existing, tables: &[Rows]) -> Result<Restored, RestoreError> {
    let mut restoration = begin(scene, existing).await;
    for rows in tables {
        restoration.put(&Piece::Rows(rows.clone())).await?;
    }
    restoration.commit().await
}

fn of(table: &str, tables: &[Rows]) -> Rows {
    tables.iter().find(|rows| rows.shape.table == table).unwrap().clone()
}

#[tokio::test]
async fn what_is_there_stays_unless_it_is_to_be_overwritten() {
    let database = populated("1.12.1", 60).await;
    let mut scene = Scene::of(&database).await;
    let run = scene.runs(1).await.remove(0);
    let tables = scene.rows(&run).await;
    let nodes = of("workflow_node_executions", &tables).rows.len() as u64;
    let before = Snapshot::take(&mut scene.connection).await.unwrap();
    assert!(nodes > 1);

    let all_there = put(&scene, Existing::Keep, &tables).await.unwrap();
    assert_eq!(all_there.tables["workflow_node_executions"], Counts { same: nodes, ..Counts::default() });
    assert_eq!(before, Snapshot::take(&mut scene.connection).await.unwrap());

    let sql = "UPDATE workflow_node_executions SET title = title || '!' WHERE id = '{id}'";
    let id = of("workflow_node_executions", &tables).rows[0].key;
    scene.execute(&sql.replace("{id}", &id.id.to_string())).await;
    let changed = Snapshot::take(&mut scene.connection).await.unwrap();
    let kept = put(&scene, Existing::Keep, &tables).await.unwrap();
    assert_eq!(kept.tables["workflow_node_executions"], Counts { same: nodes - 1, different: 1, ..Counts::default() });
    assert_eq!(kept.not_restored, [("workflow_node_executions".to_owned(), id)]);
    assert_eq!(changed, Snapshot::take(&mut scene.connection).await.unwrap());

    let overwritten = put(&scene, Existing::Overwrite, &tables).await.unwrap();
    assert_eq!(overwritten.tables["workflow_node_executions"], Counts { same: nodes - 1, overwritten: 1, ..Counts::default() });
    assert_eq!(overwritten.not_restored, []);
    assert_eq!(before, Snapshot::take(&mut scene.connection).await.unwrap());
}

#[tokio::test]
async fn what_would_be_done_can_be_asked_without_doing_it() {
    let database = populated("1.12.1", 60).await;
    let mut scene = Scene::of(&database).await;
    let run = scene.runs(1).await.remove(0);
    let tables = scene.rows(&run).await;
    scene.execute(&format!("DELETE FROM workflow_runs WHERE id = '{}'", run.id)).await;
    let before = Snapshot::take(&mut scene.connection).await.unwrap();
    let mut restoration = begin(&scene, Existing::Keep).await;
    for rows in tables {
        restoration.put(&Piece::Rows(rows)).await.unwrap();
    }
    let restored = restoration.cancel().await.unwrap();
    assert_eq!(restored.tables["workflow_runs"], Counts { inserted: 1, ..Counts::default() });
    assert_eq!(before, Snapshot::take(&mut scene.connection).await.unwrap());
}

#[tokio::test]
async fn another_row_with_a_unique_key_is_in_the_way() {
    let database = populated("1.12.1", 200).await;
    let mut scene = Scene::of(&database).await;
    let mut with_pause = Vec::new();
    for run in scene.runs(200).await {
        let tables = scene.rows(&run).await;
        if !of("workflow_pauses", &tables).rows.is_empty() {
            with_pause = tables;
            break;
        }
    }
    let pause = of("workflow_pauses", &with_pause).rows[0].key;
    scene.execute(&format!("UPDATE workflow_pauses SET id = gen_random_uuid() WHERE id = '{}'", pause.id)).await;
    let restored = put(&scene, Existing::Overwrite, &with_pause).await.unwrap();
    assert_eq!(restored.tables["workflow_pauses"], Counts { obstructed: 1, ..Counts::default() });
    assert_eq!(restored.not_restored, [("workflow_pauses".to_owned(), pause)]);
}

#[tokio::test]
async fn rows_of_another_version_find_their_columns_by_name() {
    let old = populated("1.2.0", 60).await;
    let mut there = Scene::of(&old).await;
    let run = there.runs(1).await.remove(0);
    let tables = there.rows(&run).await;
    let new = Cluster::shared().unwrap().database(&Schema::load("1.17.1").unwrap()).await.unwrap();
    let mut here = Scene::of(&new).await;
    let restored = put(&here, Existing::Keep, &tables).await.unwrap();
    assert_eq!(restored.left_out.into_iter().collect::<Vec<_>>(), ["workflow_runs.sequence_number"]);
    assert_eq!(restored.not_restored, []);
    let columns = "id, tenant_id, app_id, workflow_id, type, triggered_from, version, graph, inputs, status, outputs, error, elapsed_time,
        total_tokens, total_steps, created_by_role, created_by, created_at, finished_at, exceptions_count";
    let digest = format!("SELECT md5(string_agg(r::text, ',')) FROM (SELECT {columns} FROM workflow_runs WHERE id = '{}') r", run.id);
    let mut digests: Vec<Option<String>> = Vec::new();
    for scene in [&mut there, &mut here] {
        digests.push(sqlx::query_scalar(sqlx::AssertSqlSafe(digest.clone())).fetch_one(&mut scene.connection).await.unwrap());
    }
    assert!(digests[0].is_some() && digests[0] == digests[1], "{digests:?}");
}

#[tokio::test]
async fn what_has_no_place_is_refused_by_name() {
    let database = populated("1.12.1", 60).await;
    let mut scene = Scene::of(&database).await;
    let run = scene.runs(1).await.remove(0);
    let tables = scene.rows(&run).await;
    let refusals = [
        (
            "DELETE FROM workflow_runs; ALTER TABLE workflow_runs ADD COLUMN region text NOT NULL",
            CannotRestore::NoDefault { table: "workflow_runs".into(), column: "region".into() },
        ),
        (
            "ALTER TABLE workflow_runs DROP COLUMN region, ALTER COLUMN created_at TYPE date",
            CannotRestore::Type {
                table: "workflow_runs".into(),
                column: "created_at".into(),
                archived: "timestamp without time zone".into(),
                now: "date".into(),
            },
        ),
        ("ALTER TABLE workflow_runs RENAME TO other_runs", CannotRestore::NoTable { table: "workflow_runs".into() }),
    ];
    for (sql, wanted) in refusals {
        scene.execute(sql).await;
        match put(&scene, Existing::Keep, &tables).await {
            Err(RestoreError::Cannot(found)) => assert_eq!(found, wanted),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_text_that_is_too_long_now_is_an_error_that_does_not_quote_it() {
    let database = populated("1.12.1", 60).await;
    let mut scene = Scene::of(&database).await;
    let run = scene.runs(1).await.remove(0);
    let tables = scene.rows(&run).await;
    scene.execute("DELETE FROM workflow_runs; ALTER TABLE workflow_runs ALTER COLUMN version TYPE character varying(2)").await;
    let error = put(&scene, Existing::Keep, &tables).await.unwrap_err().to_string();
    assert!(error.contains("22001"), "{error}");
}

/// Larger than what is held at once, with characters of several bytes at every border.
fn large_text() -> String {
    "漢字 \\u0000 \"quoted\" ".repeat(600_000)
}

#[tokio::test]
async fn a_large_value_comes_back_in_slices_through_a_pooler() {
    let cluster = Cluster::private(&[]).unwrap();
    let database = cluster.database(&Schema::load("1.12.1").unwrap()).await.unwrap();
    populate(&database, 7, 60, live::now()).await.unwrap();
    let bouncer = PgBouncer::start(cluster.server().unwrap(), 1).unwrap();
    let mut scene = Scene::through(&database, &bouncer.url(database.name())).await.unwrap();
    let conversation = scene.conversations(1).await.remove(0);
    let json = format!("{{\"b\": [ 1.50 ], \"a\": \"{}\"}}", "漢".repeat(3_000_000));
    sqlx::query("UPDATE messages SET answer = $1, message = $2::json, query = '' WHERE id = $3")
        .bind(large_text())
        .bind(json)
        .bind(conversation.messages[0])
        .execute(&mut scene.connection)
        .await
        .unwrap();
    let mut messages = of("messages", &scene.rows(&conversation).await);
    let before = Snapshot::take(&mut scene.connection).await.unwrap();
    scene.execute(&format!("DELETE FROM messages WHERE conversation_id = '{}'", conversation.id)).await;

    let slices = cut(&mut messages, 1 << 20);
    assert!(slices.len() > 20, "{}", slices.len());
    let mut unfinished = begin(&scene, Existing::Keep).await;
    unfinished.put(&Piece::Rows(messages.clone())).await.unwrap();
    unfinished.put(&slices[0]).await.unwrap();
    assert!(matches!(unfinished.commit().await, Err(RestoreError::Incomplete { .. })));

    let all = messages.rows.len() as u64;
    for (existing, wanted) in [
        (Existing::Keep, Counts { inserted: all, ..Counts::default() }),
        (Existing::Keep, Counts { same: all, ..Counts::default() }),
        (Existing::Overwrite, Counts { same: all - 1, overwritten: 1, ..Counts::default() }),
    ] {
        let mut restoration = begin(&scene, existing).await;
        restoration.put(&Piece::Rows(messages.clone())).await.unwrap();
        for slice in &slices {
            restoration.put(slice).await.unwrap();
        }
        assert_eq!(restoration.commit().await.unwrap().tables["messages"], wanted);
        assert_eq!(before.differences(&Snapshot::take(&mut scene.connection).await.unwrap()), Vec::<String>::new());
        // For the next round: the last byte of the large text is another one.
        if wanted.same == all {
            let sql = format!("UPDATE messages SET answer = left(answer, -1) || '!' WHERE id = '{}'", conversation.messages[0]);
            scene.execute(&sql).await;
        }
    }
}

/// Takes the large values out of rows, as the reader does, and cuts them without regard for characters.
fn cut(rows: &mut Rows, length: usize) -> Vec<Piece> {
    let mut slices = Vec::new();
    let shape = Arc::clone(&rows.shape);
    for row in &mut rows.rows {
        for (column, cell) in row.cells.iter_mut().enumerate() {
            let Cell::Bytes(bytes) = cell else { continue };
            if bytes.len() <= 8 << 20 {
                continue;
            }
            for (sequence, bytes) in bytes.chunks(length).enumerate() {
                let sequence = u32::try_from(sequence).unwrap();
                slices.push(Piece::Slice { shape: Arc::clone(&shape), key: row.key, column, sequence, bytes: bytes.to_vec() });
            }
            *cell = Cell::Large(bytes.len() as u64);
        }
    }
    slices
}
