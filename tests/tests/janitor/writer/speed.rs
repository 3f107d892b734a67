//! How fast rows go, on more of them than a test needs:
//! `cargo test --profile fast -p dify-observe-tests --test janitor writer::speed -- --ignored --nocapture`

use std::time::{Duration, Instant};

use dify_observe_core::dify::retention::delete::{DeleteLimits, Expected, Fate, delete};
use dify_observe_core::dify::retention::{Bundle, Key, Root, RunKey};
use dify_observe_core::dify::time::Micros;
use dify_observe_tests::Schema;
use dify_observe_tests::postgres::Cluster;
use sqlx::Row as _;
use uuid::Uuid;

use super::reading::Scene;

const RUNS: i64 = 70_000;
const NODES: i64 = 8;

/// As Dify's own Docker Compose file starts PostgreSQL.
pub(crate) const SETTINGS: [(&str, &str); 5] = [
    ("shared_buffers", "128MB"),
    ("work_mem", "4MB"),
    ("maintenance_work_mem", "64MB"),
    ("effective_cache_size", "4096MB"),
    ("autovacuum", "off"),
];

/// What tests switch off: pages and commits cost here what they cost there.
const DURABLE: [(&str, &str); 3] = [("fsync", "on"), ("full_page_writes", "on"), ("synchronous_commit", "on")];

#[tokio::test]
#[ignore = "a measurement: it loads half a million rows"]
async fn half_a_million_nodes() {
    for version in ["1.2.0", "1.12.1"] {
        let cluster = Cluster::private(&[SETTINGS.as_slice(), &DURABLE].concat()).unwrap();
        let database = cluster.database(&Schema::load(version).unwrap()).await.unwrap();
        let mut scene = Scene::of(&database).await;
        load(&mut scene).await;
        for runs in [100, 250, 500] {
            let expected = oldest(&mut scene, RUNS / 6).await;
            measure(&mut scene, &expected, runs, version).await;
        }
        let expected = oldest(&mut scene, RUNS / 6).await;
        bare(&mut scene, &expected, version).await;
    }
}

/// Runs of forty apps and their nodes in the order of time, a node of three kilobytes on disk.
pub(crate) async fn load(scene: &mut Scene) {
    let app = "md5((n % 40)::text || 'app')::uuid";
    let run = "md5(n::text || 'run')::uuid";
    let at = format!("timestamp '2026-06-01' + interval '90 days' * n / {RUNS}");
    let common = format!("md5('tenant')::uuid, {app}, md5((n % 40)::text || 'workflow')::uuid");
    scene
        .execute(&format!(
            "CREATE UNLOGGED TABLE noise AS SELECT i, string_agg(md5(i::text || k), '') AS text
               FROM generate_series(0, 996) i, generate_series(1, 140) k GROUP BY 1;
             INSERT INTO workflow_runs (id, tenant_id, app_id, workflow_id, {} type, triggered_from, version, graph, inputs, status, outputs,
               elapsed_time, total_tokens, total_steps, created_by_role, created_by, created_at, finished_at)
             SELECT {run}, {common}, {} 'workflow', 'app-run', 'v', left(text, 3000), '{{}}', 'succeeded', '{{}}',
               1, 1, {NODES}, 'end_user', {run}, {at}, {at} + interval '1 second'
             FROM generate_series(1::bigint, {RUNS}) n JOIN noise ON i = n % 997 ORDER BY n;
             INSERT INTO workflow_node_executions (id, tenant_id, app_id, workflow_id, triggered_from, workflow_run_id, index, node_id,
               node_type, title, inputs, process_data, outputs, status, elapsed_time, execution_metadata, created_at, finished_at,
               created_by_role, created_by, node_execution_id)
             SELECT gen_random_uuid(), {common}, 'workflow-run', {run}, k, 'node' || k, 'llm', 'Title', left(text, 500), right(text, 400),
               left(text, (200 + (n * 31 + k * 997) % 4000)::int), 'succeeded', 1, '{{\"total_tokens\": 5}}', {at}, {at} + interval '1 second',
               'end_user', {run}, gen_random_uuid()
             FROM generate_series(1::bigint, {RUNS}) n CROSS JOIN generate_series(1, {NODES}) k JOIN noise ON i = (n * 7 + k) % 997
             ORDER BY n, k",
            sequence(scene, "sequence_number,"),
            sequence(scene, "n::int,"),
        ))
        .await;
    for statement in ["VACUUM ANALYZE workflow_runs", "VACUUM ANALYZE workflow_node_executions", "CHECKPOINT"] {
        scene.execute(statement).await;
    }
}

/// A column that Dify had until 1.4.3 and that must have a value.
fn sequence<'a>(scene: &Scene, text: &'a str) -> &'a str {
    let has_it = scene.ownership.run[0].shape.columns.iter().any(|column| column.name == "sequence_number");
    if has_it { text } else { "" }
}

async fn oldest(scene: &mut Scene, runs: i64) -> Vec<Expected> {
    let sql = "SELECT r.id, r.tenant_id, r.app_id, r.workflow_id, r.finished_at, r.xmin::text::bigint AS version,
           array_agg(n.id) AS nodes, array_agg(n.xmin::text::bigint) AS versions
         FROM (SELECT *, xmin FROM workflow_runs ORDER BY created_at LIMIT $1) r JOIN workflow_node_executions n ON n.workflow_run_id = r.id
         GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY r.finished_at";
    let rows = sqlx::query(sql).bind(runs).fetch_all(&mut scene.connection).await.unwrap();
    let nodes = scene.ownership.table_index(Root::Run, "workflow_node_executions").unwrap();
    let version = |number: i64| u32::try_from(number).unwrap();
    let key = |id: Uuid| Key { id, second: None };
    let expected = |row: &sqlx::postgres::PgRow| {
        let (id, ended_at): (Uuid, Micros) = (row.get("id"), row.get("finished_at"));
        let keys = row.get::<Vec<Uuid>, _>("nodes").into_iter().zip(row.get::<Vec<i64>, _>("versions"));
        let mut rows = vec![(0, key(id), version(row.get("version")))];
        rows.extend(keys.map(|(id, xmin)| (nodes, key(id), version(xmin))));
        let bundle = Bundle {
            root: Root::Run,
            id,
            tenant_id: row.get("tenant_id"),
            app_id: row.get("app_id"),
            status: Some("succeeded".to_owned()),
            ended_at,
            newest: ended_at,
            runs: vec![RunKey { id, workflow_id: row.get("workflow_id") }],
            messages: Vec::new(),
        };
        Expected { bundle, rows }
    };
    rows.iter().map(expected).collect()
}

async fn measure(scene: &mut Scene, expected: &[Expected], runs: usize, version: &str) {
    let limits =
        DeleteLimits { row_limit: 10_000, statement_timeout: Duration::from_millis(2000), lock_timeout: Duration::from_millis(100) };
    let wal = "SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint";
    let before: i64 = sqlx::query_scalar(wal).fetch_one(&mut scene.connection).await.unwrap();
    let (mut nodes, mut statements, mut times) = (0, 0, Vec::new());
    let started = Instant::now();
    for batch in expected.chunks(runs) {
        let deleted = delete(&scene.database, &scene.ownership, batch, &limits).await.unwrap();
        assert!(deleted.fates.iter().all(|fate| *fate == Fate::Deleted));
        nodes += deleted.rows["workflow_node_executions"];
        statements += deleted.statements;
        times.push(deleted.longest);
    }
    let took = started.elapsed();
    let after: i64 = sqlx::query_scalar(wal).fetch_one(&mut scene.connection).await.unwrap();
    times.sort();
    eprintln!(
        "{version}, {runs} runs a transaction: {nodes} nodes in {took:.1?}: {:.0} nodes/s, {} B of WAL a node, {} transactions of {:.1?} (median) to {:.1?}, {:.1} statements each",
        nodes as f64 / took.as_secs_f64(),
        (after - before) / i64::try_from(nodes).unwrap(),
        times.len(),
        times[times.len() / 2],
        times[times.len() - 1],
        f64::from(statements) / times.len() as f64,
    );
}

/// The fastest known way, which looks at nothing: the nodes through the index by run, then the runs.
async fn bare(scene: &mut Scene, expected: &[Expected], version: &str) {
    let by_run = if version == "1.2.0" {
        "n.tenant_id = r.tenant_id AND n.app_id = r.app_id AND n.workflow_id = r.workflow_id AND n.triggered_from = 'workflow-run' AND "
    } else {
        ""
    };
    let nodes = format!(
        "DELETE FROM workflow_node_executions n USING unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[]) AS r(id, tenant_id, app_id, workflow_id)
         WHERE {by_run} n.workflow_run_id = r.id"
    );
    let (mut deleted, started) = (0, Instant::now());
    for batch in expected.chunks(250) {
        let of = |value: fn(&Bundle) -> Uuid| batch.iter().map(|expected| value(&expected.bundle)).collect::<Vec<Uuid>>();
        let ids = of(|bundle| bundle.id);
        scene.execute("BEGIN; SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_bitmapscan = off").await;
        let query = sqlx::query(sqlx::AssertSqlSafe(nodes.clone())).bind(&ids).bind(of(|bundle| bundle.tenant_id));
        let query = query.bind(of(|bundle| bundle.app_id)).bind(of(|bundle| bundle.runs[0].workflow_id));
        deleted += query.execute(&mut scene.connection).await.unwrap().rows_affected();
        sqlx::query("DELETE FROM workflow_runs WHERE id = ANY($1)").bind(&ids).execute(&mut scene.connection).await.unwrap();
        scene.execute("COMMIT").await;
    }
    let took = started.elapsed();
    eprintln!("{version}, bare statements: {deleted} nodes in {took:.1?}: {:.0} nodes/s", deleted as f64 / took.as_secs_f64());
}
