//! Bundles over the row limit: several transactions, with an end in between.

use dify_observe_core::dify::retention::delete::{DeleteLimits, Expected, Fate, Large, delete, finish};
use dify_observe_tests::postgres::TestDatabase;
use dify_observe_tests::retention::Snapshot;
use uuid::Uuid;

use super::deleting::populated;
use super::reading::{LIMITS, Scene};

const STEPS: DeleteLimits = DeleteLimits { row_limit: 100, ..LIMITS };

/// A run with hundreds of node executions.
async fn large(version: &str) -> (TestDatabase, Scene, Expected) {
    let database = populated(version, 60).await;
    let mut scene = Scene::of(&database).await;
    let run = scene.runs(1).await.remove(0);
    let sql = format!(
        "INSERT INTO workflow_node_executions SELECT (jsonb_populate_record(n, jsonb_build_object('id', gen_random_uuid()))).*
         FROM workflow_node_executions n, generate_series(1, 450)
         WHERE n.id = (SELECT id FROM workflow_node_executions WHERE workflow_run_id = '{}' LIMIT 1)",
        run.id
    );
    scene.execute(&sql).await;
    let expected = scene.expected(&run).await;
    (database, scene, expected)
}

/// Takes this many steps, or all of them.
async fn steps(large: &mut Large<'_>, scene: &Scene, limits: &DeleteLimits, most: usize) -> u64 {
    let mut rows = 0;
    for _ in 0..most {
        let Some(step) = large.step(&scene.database, &scene.ownership, limits).await.unwrap() else { break };
        let deleted: u64 = step.rows.values().sum();
        assert!(deleted <= limits.row_limit as u64, "{deleted} rows in one transaction");
        rows += deleted;
    }
    rows
}

#[tokio::test]
async fn a_large_bundle_goes_in_several_transactions() {
    for version in ["1.2.0", "1.12.1"] {
        let (_database, scene, expected) = large(version).await;
        let untouched = delete(&scene.database, &scene.ownership, std::slice::from_ref(&expected), &STEPS).await.unwrap();
        assert_eq!((untouched.fates, untouched.statements), (vec![Fate::TooLarge], 0));
        let mut large = Large::new(&expected);
        let rows = steps(&mut large, &scene, &STEPS, usize::MAX).await;
        assert_eq!((large.fate(), rows), (Some(Fate::Deleted), expected.rows.len() as u64), "{version}");
    }
}

#[tokio::test]
async fn a_begun_bundle_is_finished_whatever_has_become_of_its_root() {
    let (_database, mut scene, expected) = large("1.12.1").await;
    let begun = steps(&mut Large::new(&expected), &scene, &STEPS, 2).await;
    assert_eq!(begun, 200);
    let before = Snapshot::take(&mut scene.connection).await.unwrap();
    // In another order, as it comes out of an archive, and with another limit.
    let mut archived = expected.clone();
    archived.rows.reverse();
    let mut large = Large::unfinished(&archived);
    let rest = steps(&mut large, &scene, &DeleteLimits { row_limit: 70, ..LIMITS }, usize::MAX).await;
    assert_eq!((large.fate(), begun + rest), (Some(Fate::Deleted), expected.rows.len() as u64));
    let gone = before.gone_in(&Snapshot::take(&mut scene.connection).await.unwrap());
    assert_eq!(gone.values().map(|keys| keys.len() as u64).sum::<u64>(), rest);
}

#[tokio::test]
async fn a_begun_bundle_is_small_enough_for_a_higher_limit() {
    let (_database, scene, expected) = large("1.8.1").await;
    let begun = steps(&mut Large::new(&expected), &scene, &STEPS, 3).await;
    let finished = finish(&scene.database, &scene.ownership, std::slice::from_ref(&expected), &LIMITS).await.unwrap();
    assert_eq!(finished.fates, [Fate::Deleted]);
    assert_eq!(finished.rows.values().sum::<u64>() + begun, expected.rows.len() as u64);
}

#[tokio::test]
async fn a_begun_bundle_that_changes_is_torn() {
    for (name, sql) in [
        ("a row that is left", "UPDATE workflow_node_executions SET title = title WHERE workflow_run_id = '{run}'"),
        ("the root", "UPDATE workflow_runs SET status = 'running' WHERE id = '{run}'"),
    ] {
        let (_database, mut scene, expected) = large("1.12.1").await;
        steps(&mut Large::new(&expected), &scene, &STEPS, 2).await;
        scene.execute(&sql.replace("{run}", &expected.bundle.id.to_string())).await;
        let mut unfinished = Large::unfinished(&expected);
        steps(&mut unfinished, &scene, &STEPS, usize::MAX).await;
        assert_eq!(unfinished.fate(), Some(Fate::Torn), "{name}");
        let small = finish(&scene.database, &scene.ownership, std::slice::from_ref(&expected), &LIMITS).await.unwrap();
        assert_eq!(small.fates, [Fate::Torn], "{name}");
    }
}

#[tokio::test]
async fn a_child_that_is_added_on_the_way_tears_a_begun_bundle() {
    let (_database, mut scene, expected) = large("1.11.4").await;
    let mut large = Large::new(&expected);
    steps(&mut large, &scene, &STEPS, 2).await;
    let sql = format!(
        "INSERT INTO workflow_node_executions SELECT (jsonb_populate_record(n, '{{\"id\": \"{}\"}}')).*
         FROM workflow_node_executions n WHERE workflow_run_id = '{}' LIMIT 1",
        Uuid::new_v4(),
        expected.bundle.id
    );
    scene.execute(&sql).await;
    steps(&mut large, &scene, &STEPS, usize::MAX).await;
    assert_eq!(large.fate(), Some(Fate::Torn));
    assert_eq!(scene.runs(1).await[0].id, expected.bundle.id, "the root stays");
}

#[tokio::test]
async fn a_large_bundle_that_had_not_begun_is_judged_again() {
    for sql in [
        "UPDATE workflow_runs SET status = 'running' WHERE id = '{run}'",
        "UPDATE workflow_node_executions SET title = title WHERE workflow_run_id = '{run}'",
    ] {
        let (_database, mut scene, expected) = large("1.12.1").await;
        scene.execute(&sql.replace("{run}", &expected.bundle.id.to_string())).await;
        for mut large in [Large::new(&expected), Large::unfinished(&expected)] {
            let rows = steps(&mut large, &scene, &STEPS, usize::MAX).await;
            assert_eq!((large.fate(), rows), (Some(Fate::Changed), 0), "{sql}");
        }
    }
}
