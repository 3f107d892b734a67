//! Dify writes to what is being deleted. Whatever it wrote, and whenever: in the end nothing of it is lost, and no row hangs in the
//! air for longer than until the next run.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use dify_observe_tests::postgres::{Cluster, TestDatabase};
use dify_observe_tests::retention::Snapshot;
use dify_observe_tests::simulator::live;
use dify_observe_tests::simulator::value::naive;
use dify_observe_tests::{Schema, seed};
use rand::seq::IndexedRandom as _;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use uuid::{Builder, Uuid};

use crate::scene::{Scene, none};
use crate::setup::end;

/// A Dify that touches old rows. What it does is done to a second database as well, from which nobody deletes.
struct Disturber {
    rng: ChaCha8Rng,
    live: PgConnection,
    shadow: PgConnection,
    runs: Vec<Uuid>,
    nodes: Vec<Uuid>,
    messages: Vec<Uuid>,
    conversations: Vec<Uuid>,
    /// How often it came too late: the row was gone already.
    late: u32,
    /// How often it wrote.
    wrote: u32,
}

impl Disturber {
    async fn new(scene: &Scene, shadow: &TestDatabase, seed: u64) -> anyhow::Result<Self> {
        let due = |table: &str| -> Vec<Uuid> {
            let keys = scene.expected.must.get(table);
            keys.into_iter().flatten().filter_map(|key| key.parse().ok()).collect()
        };
        Ok(Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            live: scene.database.connect().await?,
            shadow: shadow.connect().await?,
            runs: due("workflow_runs"),
            nodes: due("workflow_node_executions"),
            messages: due("messages"),
            conversations: due("conversations"),
            late: 0,
            wrote: 0,
        })
    }

    /// One write of Dify's.
    async fn disturb(&mut self) -> anyhow::Result<()> {
        let now = naive(live::now());
        let id = Builder::from_random_bytes(self.rng.random()).into_uuid();
        match self.rng.random_range(0..9) {
            0 => self.update("workflow_runs", &self.runs.clone(), "total_steps = coalesce(total_steps, 0) + 1").await,
            1 => self.update("workflow_node_executions", &self.nodes.clone(), "elapsed_time = elapsed_time + 1").await,
            2 => self.update("messages", &self.messages.clone(), "answer = answer || ' (edited)'").await,
            3 => self.update("conversations", &self.conversations.clone(), &format!("updated_at = timestamp '{now}'")).await,
            // The user is back, with another question.
            4 => self.again("messages", &self.messages.clone(), &[("id", &id.to_string()), ("created_at", &now)]).await,
            // A worker is late.
            5 => {
                let nodes = self.nodes.clone();
                self.again("workflow_node_executions", &nodes, &[("id", &id.to_string()), ("node_execution_id", &id.to_string())]).await
            }
            6 => self.feedback(id, &now).await,
            7 => self.save(id, &now).await,
            _ => self.annotate(id, &now).await,
        }
    }

    /// Changes a row, if it is still there.
    async fn update(&mut self, table: &str, ids: &[Uuid], set: &str) -> anyhow::Result<()> {
        let Some(id) = ids.choose(&mut self.rng) else { return Ok(()) };
        self.both(&format!("UPDATE {table} SET {set} WHERE id = '{id}'")).await
    }

    /// Inserts a row like another one, which may be gone.
    async fn again(&mut self, table: &str, ids: &[Uuid], other: &[(&str, &str)]) -> anyhow::Result<()> {
        let Some(id) = ids.choose(&mut self.rng) else { return Ok(()) };
        let changes: Vec<String> = other.iter().map(|(column, value)| format!("'{column}', '{value}'")).collect();
        let row =
            format!("SELECT (jsonb_populate_record(t, jsonb_build_object({})))::text FROM {table} t WHERE id = '{id}'", changes.join(", "));
        let row: String = sqlx::query_scalar(AssertSqlSafe(row)).fetch_one(&mut self.shadow).await?;
        self.both(&format!("INSERT INTO {table} SELECT (r.r).* FROM (SELECT '{}'::{table} AS r) r", row.replace('\'', "''"))).await
    }

    async fn feedback(&mut self, id: Uuid, now: &str) -> anyhow::Result<()> {
        let Some(message) = self.messages.choose(&mut self.rng).copied() else { return Ok(()) };
        let of = self.of_message(message).await?;
        self.both(&format!(
            "INSERT INTO message_feedbacks (id, app_id, conversation_id, message_id, rating, from_source, created_at, updated_at)
             VALUES ('{id}', {of}, '{message}', 'dislike', 'user', '{now}', '{now}')"
        ))
        .await
    }

    async fn save(&mut self, id: Uuid, now: &str) -> anyhow::Result<()> {
        let Some(message) = self.messages.choose(&mut self.rng).copied() else { return Ok(()) };
        let of = self.of_message(message).await?;
        let app = of.split(',').next().unwrap_or_default();
        self.both(&format!(
            "INSERT INTO saved_messages (id, app_id, message_id, created_by_role, created_by, created_at)
             VALUES ('{id}', {app}, '{message}', 'end_user', '{id}', '{now}')"
        ))
        .await
    }

    async fn annotate(&mut self, id: Uuid, now: &str) -> anyhow::Result<()> {
        let Some(message) = self.messages.choose(&mut self.rng).copied() else { return Ok(()) };
        let of = self.of_message(message).await?;
        self.both(&format!(
            "INSERT INTO message_annotations (id, app_id, conversation_id, message_id, question, content, account_id, created_at, updated_at)
             VALUES ('{id}', {of}, '{message}', 'q', 'a', '{id}', '{now}', '{now}')"
        ))
        .await
    }

    /// App and conversation of a message, as values.
    async fn of_message(&mut self, message: Uuid) -> anyhow::Result<String> {
        let sql = format!("SELECT format('%L, %L', app_id, conversation_id) FROM messages WHERE id = '{message}'");
        Ok(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut self.shadow).await?)
    }

    /// What changed something in the one database changes it in the other.
    async fn both(&mut self, sql: &str) -> anyhow::Result<()> {
        let affected = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.live).await.context(sql.to_owned())?.rows_affected();
        if affected == 0 {
            self.late += 1;
            return Ok(());
        }
        self.wrote += 1;
        let shadowed = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.shadow).await?.rows_affected();
        ensure!(shadowed == affected, "the second database is another one: {sql}");
        Ok(())
    }
}

/// A copy of a scene's database; sessions of the test need a moment to be gone.
async fn copy(scene: &Scene) -> anyhow::Result<TestDatabase> {
    let mut last = None;
    for _ in 0..100 {
        match Cluster::shared()?.copy_of(&scene.database).await {
            Ok(copy) => return Ok(copy),
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(last.context("no attempt")?)
}

/// After another run nothing hangs in the air, and with what the archive holds everything is there in its last state.
async fn nothing_was_lost(scene: &Scene, shadow: &TestDatabase) -> anyhow::Result<()> {
    for _ in 0..2 {
        scene.setup.prune().await?;
    }
    scene.no_new_orphans().await?;
    // What is there in another state than the archived one is left alone, and said.
    let restored = scene.setup.run(&["restore", "--from", "1970-01-02", "--execute"]).await?;
    ensure!(matches!(restored.code, Some(0 | 1)), "{restored:?}");
    let wanted = Snapshot::take(&mut shadow.connect().await?).await?;
    none(&scene.what, &wanted.differences(&scene.now().await?)).with_context(|| format!("{}\n{}", restored.stdout, restored.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_dify_writes_meanwhile_is_never_lost() -> anyhow::Result<()> {
    let seed = seed("what_dify_writes_meanwhile");
    for (number, schema) in Schema::all()?.into_iter().enumerate().filter(|(number, _)| seed::soak() || number % 2 == seed as usize % 2) {
        let scene = Scene::new(&schema, seed + number as u64, 300).await?;
        let shadow = copy(&scene).await?;
        let mut disturber = Disturber::new(&scene, &shadow, seed).await?;
        let slow = scene.setup.twin()?.with("JANITOR__PACE", "250");
        let mut janitor = slow.start(&["run", "--execute"])?;
        while janitor.ended()?.is_none() {
            disturber.disturb().await?;
            let pause = disturber.rng.random_range(5..120);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        let finished = end(janitor).await?;
        ensure!(finished.code == Some(0), "{}: {:?}\n{}\n{}", scene.what, finished.code, finished.stdout, finished.stderr);
        ensure!(disturber.wrote > 10 && disturber.late > 0, "{}: {} writes, {} of them late", scene.what, disturber.wrote, disturber.late);
        nothing_was_lost(&scene, &shadow).await?;
        eprintln!("{}: {} writes of Dify's, {} came too late", scene.what, disturber.wrote, disturber.late);
    }
    Ok(())
}

/// A run that looked dead is archived and deleted; then its process ends it after all, and Dify inserts it again.
#[tokio::test]
async fn a_run_that_ends_after_its_deletion_gets_its_nodes_back() -> anyhow::Result<()> {
    let seed = seed("a_run_that_ends_after_its_deletion");
    let schema = Schema::load("1.12.1")?;
    let scene = Scene::new(&schema, seed, 300).await?;
    let shadow = copy(&scene).await?;
    let mut connection = shadow.connect().await?;
    let due: Vec<String> = scene.expected.must["workflow_runs"].iter().cloned().collect();
    let run: String = sqlx::query_scalar(
        "SELECT r.id::text FROM workflow_runs r JOIN workflow_node_executions n ON n.workflow_run_id = r.id
         WHERE r.id::text = ANY ($1) AND r.id NOT IN (SELECT workflow_run_id FROM messages WHERE workflow_run_id IS NOT NULL)
         GROUP BY r.id ORDER BY count(*) DESC LIMIT 1",
    )
    .bind(&due)
    .fetch_one(&mut connection)
    .await?;
    scene.setup.prune().await?;
    scene.is_pruned().await?;
    let end =
        format!("UPDATE workflow_runs SET status = 'succeeded', outputs = '{{}}', finished_at = '2026-01-02 03:04:05' WHERE id = '{run}'");
    shadow.execute(&end).await?;
    let row: String = sqlx::query_scalar(AssertSqlSafe(format!("SELECT r::text FROM workflow_runs r WHERE id = '{run}'")))
        .fetch_one(&mut connection)
        .await?;
    connection.close().await?;
    scene
        .database
        .execute(&format!("INSERT INTO workflow_runs SELECT (r.r).* FROM (SELECT '{}'::workflow_runs AS r) r", row.replace('\'', "''")))
        .await?;
    let said = scene.setup.prune().await?;
    let nodes = format!("SELECT count(*) FROM workflow_node_executions WHERE workflow_run_id = '{run}'");
    ensure!(
        scene.database.count(&nodes).await? == shadow.count(&nodes).await?,
        "its nodes are not back:\n{}\n{}",
        said.stdout,
        said.stderr
    );
    nothing_was_lost(&scene, &shadow).await
}

/// An annotation of an answer, and a bookmark, that came while their conversations were being deleted: the conversations come back for
/// them.
#[tokio::test]
async fn what_was_annotated_or_saved_too_late_comes_back() -> anyhow::Result<()> {
    let seed = seed("what_was_annotated_or_saved_too_late");
    let scene = Scene::new(&Schema::load("1.12.1")?, seed, 300).await?;
    let shadow = copy(&scene).await?;
    let mut disturber = Disturber::new(&scene, &shadow, seed).await?;
    scene.setup.prune().await?;
    scene.is_pruned().await?;
    let (messages, now) = (std::mem::take(&mut disturber.messages), naive(live::now()));
    let [annotation, saved] = [(); 2].map(|()| Builder::from_random_bytes(disturber.rng.random()).into_uuid());
    let (first, last) = (messages.first().context("no message is due")?, messages.last().context("no message is due")?);
    disturber.messages = vec![*first];
    disturber.annotate(annotation, &now).await?;
    disturber.messages = vec![*last];
    disturber.save(saved, &now).await?;
    drop(disturber);
    scene.setup.prune().await?;
    for message in [first, last] {
        ensure!(
            scene.database.count(&format!("SELECT count(*) FROM messages WHERE id = '{message}'")).await? == 1,
            "{message} is not back"
        );
    }
    nothing_was_lost(&scene, &shadow).await
}
