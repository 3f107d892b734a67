//! How fast rows come, beside PostgreSQL's own COPY of the same rows:
//! `cargo test --profile fast -p dify-observe-tests --test janitor reader::speed -- --ignored --nocapture`

use std::sync::Arc;
use std::time::{Duration, Instant};

use dify_observe_core::dify::retention::{Bundle, LoadLimits, Piece, Root, Snapshot, Wanted};
use dify_observe_core::dify::time::Micros;
use dify_observe_tests::Schema;
use dify_observe_tests::postgres::{Cluster, TestDatabase};

use super::world::World;
use crate::writer::reading::Scene;
use crate::writer::speed::{SETTINGS, load};

/// Bundles of a batch.
const BATCH: usize = 500;
/// Bundles that are read.
const BUNDLES: usize = 20_000;

#[tokio::test]
#[ignore = "a measurement: it loads half a million rows"]
async fn wide_nodes() {
    for version in ["1.2.0", "1.12.1"] {
        let cluster = Cluster::private(&SETTINGS).unwrap();
        let database = cluster.database(&Schema::load(version).unwrap()).await.unwrap();
        load(&mut Scene::of(&database).await).await;
        let world = World::open(&database).await;
        let began = Instant::now();
        let anything = Wanted { older_than: Micros::now().plus(Duration::from_secs(86_400)), stale_before: Micros::MIN };
        let mut bundles = world.due(Root::Run, anything).await;
        eprintln!("{version}: {} candidates in {:?}", bundles.len(), began.elapsed());
        bundles.sort_by_key(|bundle| bundle.ended_at);
        bundles.truncate(BUNDLES);
        // The second time is warm.
        for _ in 0..2 {
            let (rows, took) = read(&world, &bundles).await;
            eprintln!("{version}: {rows} rows in {took:?}, {:.0} a second", rows as f64 / took.as_secs_f64());
        }
        copy(&database, version);
    }
}

async fn read(world: &World, bundles: &[Bundle]) -> (usize, Duration) {
    let (began, mut rows) = (Instant::now(), 0);
    for batch in bundles.chunks(BATCH) {
        let (ownership, limits) = (Arc::clone(&world.ownership), LoadLimits::default());
        let mut snapshot = Snapshot::begin(&world.database, ownership, batch.into(), Arc::default(), limits).await.unwrap();
        while let Some(piece) = snapshot.next().await.unwrap() {
            if let Piece::Rows(piece) = piece {
                rows += piece.rows.len();
            }
        }
        snapshot.end().await.unwrap();
    }
    (rows, began.elapsed())
}

fn copy(database: &TestDatabase, version: &str) {
    let script = tempfile::NamedTempFile::new().unwrap();
    let rows = BUNDLES * 8;
    let sql = format!("\\copy (SELECT * FROM workflow_node_executions LIMIT {rows}) TO '/dev/null' WITH (FORMAT binary)");
    std::fs::write(script.path(), sql).unwrap();
    let began = Instant::now();
    database.psql(script.path(), &[]).unwrap();
    eprintln!("{version}: COPY of {rows} rows: {:.0} a second", rows as f64 / began.elapsed().as_secs_f64());
}
