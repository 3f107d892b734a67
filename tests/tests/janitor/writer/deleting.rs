//! What goes, and what makes a bundle stay.

use std::collections::BTreeSet;
use std::sync::Arc;

use dify_observe_core::dify::retention::delete::{Expected, Fate, delete, finish};
use dify_observe_core::dify::retention::restore::{Destination, Existing, Restoration};
use dify_observe_core::dify::retention::{Piece, Protection, Root, Rows, revenants};
use dify_observe_tests::Schema;
use dify_observe_tests::postgres::{Cluster, TestDatabase};
use dify_observe_tests::retention::{Snapshot, orphans, populate};
use dify_observe_tests::simulator::live;
use sqlx::Connection as _;

use super::reading::{LIMITS, Scene, WRITE};

/// A populated database of this version.
pub(super) async fn populated(version: &str, arrivals: u64) -> TestDatabase {
    let database = Cluster::shared().unwrap().database(&Schema::load(version).unwrap()).await.unwrap();
    populate(&database, 7, arrivals, live::now()).await.unwrap();
    database
}

#[tokio::test]
async fn what_was_read_is_deleted_and_comes_back_byte_for_byte_in_every_schema() {
    let seed = dify_observe_tests::seed("what_was_read_is_deleted");
    let cluster = Cluster::shared().unwrap();
    for schema in Schema::test_set(seed).unwrap() {
        let database = cluster.database(&schema).await.unwrap();
        populate(&database, seed, 400, live::now()).await.unwrap();
        let mut scene = match Scene::through(&database, database.url()).await {
            Ok(scene) => scene,
            // A mutation may have dropped the only index by which rows are found.
            Err(error) => {
                assert!(!schema.mutations.is_empty(), "{}: {error}", schema.describe());
                continue;
            }
        };
        let bundles = [scene.runs(60).await, scene.conversations(40).await].concat();
        let batch = scene.all_expected(&bundles).await;
        let mut rows = Vec::new();
        for bundle in &bundles {
            rows.push(scene.rows(bundle).await);
        }
        let before = Snapshot::take(&mut scene.connection).await.unwrap();
        let in_the_air = orphans(&mut scene.connection).await.unwrap();

        let deleted = delete(&scene.database, &scene.ownership, &batch, &LIMITS).await.unwrap();
        assert_eq!(deleted.fates, vec![Fate::Deleted; batch.len()], "{}", schema.describe());
        let members = scene.ownership.run.len() + scene.ownership.conversation.len();
        // For each kind of root: BEGIN, the lock, three checks and the end; and one for each way to a table.
        assert!(deleted.statements as usize <= members + 12, "{}: {} statements", schema.describe(), deleted.statements);
        let after = Snapshot::take(&mut scene.connection).await.unwrap();
        let wanted: u64 = batch.iter().map(|expected| expected.rows.len() as u64).sum();
        assert_eq!(deleted.rows.values().sum::<u64>(), wanted);
        let gone = before.gone_in(&after);
        assert_eq!(gone.values().map(|keys| keys.len() as u64).sum::<u64>(), wanted, "{}", schema.describe());
        assert_eq!(before.news_in(&after), Vec::<String>::new());
        let tables: BTreeSet<String> =
            rows.iter().flatten().filter(|rows| !rows.rows.is_empty()).map(|rows| rows.shape.table.clone()).collect();
        assert_eq!(tables, gone.keys().cloned().collect(), "{}", schema.describe());
        // These name what is gone, and stay on purpose.
        let kept = ["tool_files ", "workflow_archive_logs ", "workflow_draft_variables "];
        let new: Vec<String> = orphans(&mut scene.connection).await.unwrap().difference(&in_the_air).cloned().collect();
        let new: Vec<&String> = new.iter().filter(|line| !kept.iter().any(|kept| line.starts_with(kept))).collect();
        assert!(new.is_empty(), "{}: {new:?}", schema.describe());

        restore(&scene, rows).await;
        let back = Snapshot::take(&mut scene.connection).await.unwrap();
        assert_eq!(before.differences(&back), Vec::<String>::new(), "{}", schema.describe());
        eprintln!(
            "{}: {} bundles, {wanted} rows of {} tables, {} statements",
            schema.version,
            batch.len(),
            tables.len(),
            deleted.statements
        );
    }
}

/// Puts the rows of each bundle back, and says that all of them were missing.
async fn restore(scene: &Scene, bundles: Vec<Vec<Rows>>) {
    let mut tx = scene.database.read(WRITE.statement_timeout).await.unwrap();
    let destination = Arc::new(Destination::read(&mut tx).await.unwrap());
    tx.end().await.unwrap();
    for bundle in bundles {
        let wanted: u64 = bundle.iter().map(|rows| rows.rows.len() as u64).sum();
        let mut restoration = Restoration::begin(&scene.database, destination.clone(), Existing::Keep, WRITE).await.unwrap();
        for rows in bundle {
            restoration.put(&Piece::Rows(rows)).await.unwrap();
        }
        let restored = restoration.commit().await.unwrap();
        assert_eq!(restored.tables.values().map(|counts| counts.inserted).sum::<u64>(), wanted);
        assert!(restored.not_restored.is_empty() && restored.left_out.is_empty());
    }
}

/// Two runs and two conversations of which the first of each is to be left alone.
struct Disturbed {
    /// Goes with the last value.
    _database: TestDatabase,
    scene: Scene,
    batch: Vec<Expected>,
}

impl Disturbed {
    async fn new(version: &str) -> Disturbed {
        let database = populated(version, 120).await;
        let mut scene = Scene::of(&database).await;
        let bundles = [scene.runs(2).await, scene.conversations(2).await].concat();
        let batch = scene.all_expected(&bundles).await;
        Disturbed { _database: database, scene, batch }
    }

    fn run(&self) -> String {
        self.batch[0].bundle.id.to_string()
    }

    fn conversation(&self) -> String {
        self.batch[2].bundle.id.to_string()
    }

    fn message(&self) -> String {
        self.batch[2].bundle.messages[0].to_string()
    }

    /// The fates of the two that were disturbed; the others are deleted, and of the disturbed ones nothing is.
    async fn fates(mut self) -> (Fate, Fate) {
        let before = Snapshot::take(&mut self.scene.connection).await.unwrap();
        let deleted = delete(&self.scene.database, &self.scene.ownership, &self.batch, &LIMITS).await.unwrap();
        let after = Snapshot::take(&mut self.scene.connection).await.unwrap();
        assert_eq!((deleted.fates[1], deleted.fates[3]), (Fate::Deleted, Fate::Deleted));
        let stays = |fate: Fate| fate != Fate::Deleted;
        let gone: usize = before.gone_in(&after).values().map(BTreeSet::len).sum();
        let deletable = self.batch.iter().zip(&deleted.fates).filter(|(_, fate)| !stays(**fate)).map(|(expected, _)| expected.rows.len());
        assert_eq!(gone, deletable.sum::<usize>(), "of a bundle that stays nothing is deleted");
        assert_eq!(before.news_in(&after), Vec::<String>::new());
        (deleted.fates[0], deleted.fates[2])
    }
}

#[tokio::test]
async fn a_changed_row_saves_its_bundle() {
    let mut disturbed = Disturbed::new("1.12.1").await;
    let sql = format!(
        "UPDATE workflow_node_executions SET title = title WHERE workflow_run_id = '{}'; UPDATE messages SET answer = answer WHERE id = '{}'",
        disturbed.run(),
        disturbed.message()
    );
    disturbed.scene.execute(&sql).await;
    assert_eq!(disturbed.fates().await, (Fate::Changed, Fate::Changed));
}

#[tokio::test]
async fn a_root_that_is_not_what_was_judged_stays() {
    let mut disturbed = Disturbed::new("1.12.1").await;
    // As read, but the policy saw an earlier version.
    let sql = format!(
        "UPDATE workflow_runs SET status = 'running', finished_at = NULL WHERE id = '{}';
         UPDATE conversations SET updated_at = updated_at + interval '1 year' WHERE id = '{}'",
        disturbed.run(),
        disturbed.conversation()
    );
    disturbed.scene.execute(&sql).await;
    for place in [0, 2] {
        let bundle = disturbed.batch[place].bundle.clone();
        disturbed.batch[place] = disturbed.scene.expected(&bundle).await;
    }
    assert_eq!(disturbed.fates().await, (Fate::Changed, Fate::Changed));
}

#[tokio::test]
async fn a_new_child_saves_its_bundle() {
    let mut disturbed = Disturbed::new("1.12.1").await;
    let sql = format!(
        "INSERT INTO workflow_node_executions SELECT (jsonb_populate_record(n, '{{\"id\": \"{}\"}}')).*
           FROM workflow_node_executions n WHERE workflow_run_id = '{}' LIMIT 1;
         INSERT INTO message_feedbacks (app_id, conversation_id, message_id, rating, from_source)
           SELECT app_id, conversation_id, id, 'like', 'user' FROM messages WHERE id = '{}'",
        uuid::Uuid::new_v4(),
        disturbed.run(),
        disturbed.message()
    );
    disturbed.scene.execute(&sql).await;
    assert_eq!(disturbed.fates().await, (Fate::Changed, Fate::Changed));
}

#[tokio::test]
async fn a_new_message_saves_its_conversation_and_a_vanished_child_its_run() {
    let mut disturbed = Disturbed::new("1.2.0").await;
    let sql = format!(
        "DELETE FROM workflow_node_executions WHERE id = (SELECT id FROM workflow_node_executions WHERE workflow_run_id = '{}' LIMIT 1);
         INSERT INTO messages SELECT (jsonb_populate_record(m, '{{\"id\": \"{}\"}}')).* FROM messages m WHERE id = '{}'",
        disturbed.run(),
        uuid::Uuid::new_v4(),
        disturbed.message()
    );
    disturbed.scene.execute(&sql).await;
    assert_eq!(disturbed.fates().await, (Fate::Changed, Fate::Changed));
}

#[tokio::test]
async fn what_was_annotated_or_saved_since_stays() {
    for (version, table) in
        [("1.2.0", "saved_messages"), ("1.17.1", "saved_messages"), ("1.2.0", "message_annotations"), ("1.17.1", "message_annotations")]
    {
        let mut disturbed = Disturbed::new(version).await;
        let (columns, values, protection) = match table {
            "saved_messages" => ("created_by", "app_id", Protection::Saved),
            _ => ("question, content, account_id", "'asked', 'kept', app_id", Protection::Annotated),
        };
        let sql = format!(
            "INSERT INTO {table} (app_id, message_id, {columns}) SELECT app_id, id, {values} FROM messages WHERE id = '{}'",
            disturbed.message()
        );
        disturbed.scene.execute(&sql).await;
        assert_eq!(disturbed.fates().await, (Fate::Deleted, Fate::NotAnymore(protection)), "{version}");
    }
}

#[tokio::test]
async fn what_somebody_else_deleted_is_gone() {
    let mut disturbed = Disturbed::new("1.14.2").await;
    let sql = format!(
        "DELETE FROM workflow_runs WHERE id = '{}'; DELETE FROM conversations WHERE id = '{}'",
        disturbed.run(),
        disturbed.conversation()
    );
    disturbed.scene.execute(&sql).await;
    assert_eq!(disturbed.fates().await, (Fate::Gone, Fate::Gone));
}

#[tokio::test]
async fn a_locked_root_or_child_is_left_and_the_others_go() {
    for sql in [
        "SELECT FROM workflow_runs WHERE id = '{run}' FOR UPDATE; SELECT FROM conversations WHERE id = '{conversation}' FOR UPDATE",
        "UPDATE workflow_node_executions SET title = title WHERE workflow_run_id = '{run}'; UPDATE messages SET answer = answer WHERE id = '{message}'",
    ] {
        let disturbed = Disturbed::new("1.12.1").await;
        let sql = sql.replace("{run}", &disturbed.run()).replace("{conversation}", &disturbed.conversation());
        let sql = sql.replace("{message}", &disturbed.message());
        let mut dify = disturbed._database.connect().await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("BEGIN; {sql}"))).execute(&mut dify).await.unwrap();
        assert_eq!(disturbed.fates().await, (Fate::Locked, Fate::Locked));
        dify.close().await.unwrap();
    }
}

#[tokio::test]
async fn finishing_again_what_is_deleted_changes_nothing() {
    let mut disturbed = Disturbed::new("1.11.4").await;
    let (database, ownership) = (&disturbed.scene.database, &disturbed.scene.ownership);
    let first = finish(database, ownership, &disturbed.batch, &LIMITS).await.unwrap();
    assert_eq!(first.fates, [Fate::Deleted; 4]);
    let before = Snapshot::take(&mut disturbed.scene.connection).await.unwrap();
    let again = finish(database, ownership, &disturbed.batch, &LIMITS).await.unwrap();
    assert_eq!((again.fates, again.rows.len()), (vec![Fate::Deleted; 4], 0));
    assert_eq!(before, Snapshot::take(&mut disturbed.scene.connection).await.unwrap());
}

#[tokio::test]
async fn finishing_judges_again_what_had_not_begun() {
    let mut disturbed = Disturbed::new("1.11.4").await;
    let sql = format!(
        "UPDATE workflow_node_executions SET title = title WHERE workflow_run_id = '{}';
         INSERT INTO saved_messages (app_id, message_id, created_by) SELECT app_id, id, app_id FROM messages WHERE id = '{}'",
        disturbed.run(),
        disturbed.message()
    );
    disturbed.scene.execute(&sql).await;
    let finished = finish(&disturbed.scene.database, &disturbed.scene.ownership, &disturbed.batch, &LIMITS).await.unwrap();
    assert_eq!(finished.fates, [Fate::Changed, Fate::Deleted, Fate::NotAnymore(Protection::Saved), Fate::Deleted]);
}

#[tokio::test]
async fn what_comes_back_is_found() {
    for version in ["1.2.0", "1.8.1", "1.17.1"] {
        let mut disturbed = Disturbed::new(version).await;
        disturbed.scene.execute("CREATE TABLE kept_runs AS SELECT * FROM workflow_runs; CREATE TABLE kept_messages AS SELECT * FROM messages; CREATE TABLE kept_nodes AS SELECT * FROM workflow_node_executions").await;
        let (run, other_run, message) = (disturbed.run(), disturbed.batch[1].bundle.id, disturbed.message());
        delete(&disturbed.scene.database, &disturbed.scene.ownership, &disturbed.batch, &LIMITS).await.unwrap();
        let bundles: Vec<_> = disturbed.batch.iter().map(|expected| expected.bundle.clone()).collect();
        let (database, ownership) = (&disturbed.scene.database, &disturbed.scene.ownership);
        assert_eq!(revenants(database, ownership, &bundles, WRITE.statement_timeout).await.unwrap(), []);

        let sql = format!(
            "INSERT INTO workflow_runs SELECT * FROM kept_runs WHERE id = '{run}'; INSERT INTO messages SELECT * FROM kept_messages WHERE id = '{message}';
             INSERT INTO workflow_node_executions SELECT * FROM kept_nodes WHERE workflow_run_id = '{other_run}' LIMIT 1"
        );
        disturbed.scene.execute(&sql).await;
        let (database, ownership) = (&disturbed.scene.database, &disturbed.scene.ownership);
        let back = revenants(database, ownership, &bundles, WRITE.statement_timeout).await.unwrap();
        let back: Vec<_> =
            back.iter().map(|one| (one.bundle, one.root, one.tables.iter().map(String::as_str).collect::<Vec<_>>())).collect();
        let wanted = [(0, true, vec!["workflow_runs"]), (1, false, vec!["workflow_node_executions"]), (2, false, vec!["messages"])];
        assert_eq!(back, wanted, "{version}");
        assert_eq!(bundles[2].root, Root::Conversation);
    }
}
