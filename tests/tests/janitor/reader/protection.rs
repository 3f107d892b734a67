//! What keeps a bundle from going, and what does not.

use std::sync::Arc;

use dify_observe_core::dify::retention::{Candidate, LoadLimits, Prefetched, Protection, Root, Snapshot, Wanted};
use dify_observe_core::dify::time::Micros;
use dify_observe_tests::Schema;
use dify_observe_tests::postgres::{Cluster, TestDatabase};
use uuid::Uuid;

use super::world::World;

const DAY: i64 = 86_400_000_000;

/// Days of the world's clock: all rows are dated by it.
fn day(number: i64) -> Micros {
    Micros(1_790_000_000_000_000 + number * DAY)
}

/// It is day 100; thirty days are kept, and a week is waited for runs that do not end.
fn wanted() -> Wanted {
    Wanted { older_than: day(70), stale_before: day(93) }
}

/// Makes rows out of a few words.
struct Story {
    database: TestDatabase,
    app: Uuid,
    workflow: Uuid,
}

impl Story {
    async fn begin(version: &str) -> Story {
        let database = Cluster::shared().unwrap().database(&Schema::load(version).unwrap()).await.unwrap();
        Story { database, app: Uuid::new_v4(), workflow: Uuid::new_v4() }
    }

    async fn sql(&self, sql: String) {
        self.database.execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:#}"));
    }

    fn at(day: Micros) -> String {
        format!("timestamp '1970-01-01' + {} * interval '1 microsecond'", day.0)
    }

    async fn workflow(&self, version: &str) {
        self.sql(format!(
            "INSERT INTO workflows (id, tenant_id, app_id, type, version, graph, features, created_by, updated_at)
             VALUES ('{}', '{}', '{}', 'workflow', '{version}', '{{}}', '{{}}', '{}', now())",
            self.workflow, self.app, self.app, self.app
        ))
        .await;
    }

    async fn run(&self, kind: &str, version: &str, status: &str, created: Micros, finished: Option<Micros>) -> Uuid {
        let id = Uuid::new_v4();
        let number = if self.database.schema().column("workflow_runs", "sequence_number").is_some() {
            ("sequence_number, ", "1, ")
        } else {
            ("", "")
        };
        self.sql(format!(
            "INSERT INTO workflow_runs ({}id, tenant_id, app_id, workflow_id, type, triggered_from, version, status, created_by_role, created_by, created_at, finished_at)
             VALUES ({}'{id}', '{}', '{}', '{}', '{kind}', 'app-run', '{version}', '{status}', 'account', '{}', {}, {})",
            number.0, number.1, self.app, self.app, self.workflow, self.app, Self::at(created), finished.map_or("NULL".into(), Self::at)
        ))
        .await;
        id
    }

    async fn node(&self, run: Option<Uuid>, node_id: &str, created: Micros) -> Uuid {
        let id = Uuid::new_v4();
        let (triggered_from, run) = run.map_or(("single-step", "NULL".to_owned()), |run| ("workflow-run", format!("'{run}'")));
        self.sql(format!(
            "INSERT INTO workflow_node_executions (id, tenant_id, app_id, workflow_id, triggered_from, workflow_run_id, index, node_execution_id,
               node_id, node_type, title, status, elapsed_time, created_by_role, created_by, created_at)
             VALUES ('{id}', '{}', '{}', '{}', '{triggered_from}', {run}, 1, '{id}', '{node_id}', 'llm', 'LLM', 'succeeded', 1, 'account', '{}', {})",
            self.app, self.app, self.workflow, self.app, Self::at(created)
        ))
        .await;
        id
    }

    async fn conversation(&self, at: Micros) -> Uuid {
        let id = Uuid::new_v4();
        self.sql(format!(
            "INSERT INTO conversations (id, app_id, mode, name, inputs, status, from_source, created_at, updated_at)
             VALUES ('{id}', '{}', 'advanced-chat', 'chat', '{{}}', 'normal', 'api', {at}, {at})",
            self.app,
            at = Self::at(at)
        ))
        .await;
        id
    }

    async fn message(&self, conversation: Uuid, run: Option<Uuid>, at: Micros) -> Uuid {
        let id = Uuid::new_v4();
        self.sql(format!(
            "INSERT INTO messages (id, app_id, conversation_id, workflow_run_id, inputs, query, message, message_unit_price, answer, answer_unit_price,
               currency, from_source, created_at, updated_at)
             VALUES ('{id}', '{}', '{conversation}', {}, '{{}}', 'q', '[]', 0, 'a', 0, 'USD', 'api', {at}, {at})",
            self.app,
            run.map_or("NULL".into(), |run| format!("'{run}'")),
            at = Self::at(at)
        ))
        .await;
        id
    }

    async fn candidates(&self, root: Root) -> Vec<Candidate> {
        World::open(&self.database).await.candidates(root, wanted()).await
    }

    /// What protects a root; an error where it is no candidate.
    async fn protection(&self, root: Root, id: Uuid) -> Result<Option<Protection>, &'static str> {
        let candidates = self.candidates(root).await;
        candidates.into_iter().find(|candidate| candidate.bundle.id == id).map(|candidate| candidate.protected).ok_or("no candidate")
    }
}

const BOTH_SHAPES: [&str; 2] = ["1.2.0", "1.12.1"];

#[tokio::test]
async fn age_counts_from_the_end() {
    for version in BOTH_SHAPES {
        let story = Story::begin(version).await;
        let long = story.run("workflow", "1", "succeeded", day(60), Some(day(71))).await;
        let short = story.run("workflow", "1", "succeeded", day(60), Some(day(69))).await;
        assert_eq!(story.protection(Root::Run, long).await, Err("no candidate"));
        assert_eq!(story.protection(Root::Run, short).await, Ok(None));
    }
}

#[tokio::test]
async fn runs_that_never_end_go_when_nothing_was_heard_of_them() {
    for version in BOTH_SHAPES {
        let story = Story::begin(version).await;
        let dead = story.run("workflow", "1", "running", day(50), None).await;
        story.node(Some(dead), "a", day(50)).await;
        let alive = story.run("workflow", "1", "running", day(50), None).await;
        story.node(Some(alive), "a", day(99)).await;
        let paused = story.run("workflow", "1", "paused", day(50), None).await;
        assert_eq!(story.protection(Root::Run, dead).await, Ok(None), "{version}");
        assert_eq!(story.protection(Root::Run, alive).await, Ok(Some(Protection::Open)), "{version}");
        assert_eq!(story.protection(Root::Run, paused).await, Ok(Some(Protection::Paused)), "{version}");
    }
}

#[tokio::test]
async fn a_run_that_was_resumed_lately_is_not_dead() {
    let story = Story::begin("1.12.1").await;
    let run = story.run("workflow", "1", "running", day(50), None).await;
    story
        .sql(format!(
            "INSERT INTO workflow_pauses (id, workflow_id, workflow_run_id, state_object_key, resumed_at, created_at, updated_at)
             VALUES ('{run}', '{}', '{run}', 'key', {at}, {at}, {at})",
            story.workflow,
            at = Story::at(day(98))
        ))
        .await;
    assert_eq!(story.protection(Root::Run, run).await, Ok(Some(Protection::Open)));
}

#[tokio::test]
async fn what_the_editor_shows_stays_as_long_as_there_is_a_draft() {
    for version in BOTH_SHAPES {
        let story = Story::begin(version).await;
        story.workflow("draft").await;
        let first = story.run("workflow", "draft", "succeeded", day(10), Some(day(10))).await;
        let second = story.run("workflow", "draft", "succeeded", day(11), Some(day(11))).await;
        let third = story.run("workflow", "draft", "succeeded", day(12), Some(day(12))).await;
        for (run, node, at) in [(first, "a", 10), (first, "b", 10), (second, "a", 11), (third, "a", 12)] {
            story.node(Some(run), node, day(at)).await;
        }
        let shown = Ok(Some(Protection::DraftView));
        assert_eq!(story.protection(Root::Run, first).await, shown, "{version}: b was not executed again");
        assert_eq!(story.protection(Root::Run, second).await, Ok(None), "{version}");
        assert_eq!(story.protection(Root::Run, third).await, shown, "{version}");
        story.node(None, "b", day(13)).await;
        assert_eq!(story.protection(Root::Run, first).await, Ok(None), "{version}: b was executed alone since");
        story.sql("DELETE FROM workflows".into()).await;
        assert_eq!(story.protection(Root::Run, third).await, Ok(None), "{version}: there is no editor any more");
    }
}

#[tokio::test]
async fn what_a_draft_variable_comes_from_stays() {
    let story = Story::begin("1.12.1").await;
    let run = story.run("workflow", "draft", "succeeded", day(10), Some(day(10))).await;
    let node = story.node(Some(run), "a", day(10)).await;
    assert_eq!(story.protection(Root::Run, run).await, Ok(None));
    story
        .sql(format!(
            "INSERT INTO workflow_draft_variables (app_id, node_id, name, description, selector, value_type, value, visible, editable, node_execution_id)
             VALUES ('{}', 'a', 'x', '', '', 'string', '1', true, true, '{node}')",
            story.app
        ))
        .await;
    assert_eq!(story.protection(Root::Run, run).await, Ok(Some(Protection::DraftView)));
    let conversation = story.conversation(day(10)).await;
    story.message(conversation, Some(run), day(10)).await;
    assert_eq!(story.protection(Root::Conversation, conversation).await, Ok(Some(Protection::DraftView)));
}

#[tokio::test]
async fn a_conversation_is_as_old_as_its_newest_message_and_stays_while_a_run_is_open() {
    for version in BOTH_SHAPES {
        let story = Story::begin(version).await;
        let young = story.conversation(day(10)).await;
        story.message(young, None, day(10)).await;
        let newest = story.message(young, None, day(90)).await;
        let candidates = story.candidates(Root::Conversation).await;
        let bundle = &candidates[0].bundle;
        assert_eq!((bundle.ended_at, bundle.newest, bundle.messages.last()), (day(90), day(90), Some(&newest)), "{version}");

        let waiting = story.conversation(day(10)).await;
        let run = story.run("chat", "1", "paused", day(10), None).await;
        story.message(waiting, Some(run), day(10)).await;
        assert_eq!(story.protection(Root::Conversation, waiting).await, Ok(Some(Protection::Paused)), "{version}");

        let stuck = story.conversation(day(10)).await;
        let run = story.run("chat", "1", "running", day(10), None).await;
        story.message(stuck, Some(run), day(10)).await;
        assert_eq!(story.protection(Root::Conversation, stuck).await, Ok(None), "{version}");
        story.node(Some(run), "a", day(99)).await;
        assert_eq!(story.protection(Root::Conversation, stuck).await, Ok(Some(Protection::Open)), "{version}");
    }
}

#[tokio::test]
async fn saved_and_annotated_messages_keep_their_conversation() {
    for version in BOTH_SHAPES {
        let story = Story::begin(version).await;
        let mut conversations = Vec::new();
        for _ in 0..4 {
            let conversation = story.conversation(day(10)).await;
            conversations.push((conversation, story.message(conversation, None, day(10)).await));
        }
        let [(plain, _), (saved, message), (annotated, of_message), (named, _)] = conversations[..] else { unreachable!() };
        story
            .sql(format!(
                "INSERT INTO saved_messages (app_id, message_id, created_by_role, created_by) VALUES ('{app}', '{message}', 'end_user', '{app}');
                 INSERT INTO message_annotations (app_id, message_id, content, question, account_id) VALUES ('{app}', '{of_message}', 'c', 'q', '{app}');
                 INSERT INTO message_annotations (app_id, conversation_id, content, question, account_id) VALUES ('{app}', '{named}', 'c', 'q', '{app}')",
                app = story.app
            ))
            .await;
        for (conversation, protection) in [
            (plain, None),
            (saved, Some(Protection::Saved)),
            (annotated, Some(Protection::Annotated)),
            (named, Some(Protection::Annotated)),
        ] {
            assert_eq!(story.protection(Root::Conversation, conversation).await, Ok(protection), "{version}");
        }
    }
}

#[tokio::test]
async fn a_run_is_a_root_only_if_no_message_names_it_however_old_the_message() {
    for version in BOTH_SHAPES {
        let story = Story::begin(version).await;
        let named = story.run("chat", "1", "succeeded", day(10), Some(day(10))).await;
        let left_over = story.run("chat", "1", "succeeded", day(10), Some(day(10))).await;
        let of_workflow = story.run("workflow", "1", "succeeded", day(10), Some(day(10))).await;
        let conversation = story.conversation(day(1)).await;
        story.message(conversation, Some(named), day(2)).await;
        let due = World::open(&story.database).await.due(Root::Run, wanted()).await;
        let mut due: Vec<Uuid> = due.into_iter().map(|bundle| bundle.id).collect();
        due.sort();
        let mut expected = vec![left_over, of_workflow];
        expected.sort();
        assert_eq!(due, expected, "{version}");
    }
}

#[tokio::test]
async fn a_conversation_of_a_deleted_app_has_the_tenant_of_its_runs() {
    let story = Story::begin("1.2.0").await;
    let conversation = story.conversation(day(10)).await;
    let run = story.run("chat", "1", "succeeded", day(10), Some(day(10))).await;
    story.node(Some(run), "a", day(10)).await;
    story.message(conversation, Some(run), day(10)).await;
    let world = World::open(&story.database).await;
    let due = world.due(Root::Conversation, wanted()).await;
    assert_eq!(due[0].tenant_id, story.app);
    let pieces = world.load(&due, LoadLimits::default()).await;
    assert_eq!(pieces.len(), 4, "conversation, run, message, node: {pieces:?}");
}

#[tokio::test]
async fn a_conversation_that_changed_since_it_was_completed_is_left_out() {
    let story = Story::begin("1.12.1").await;
    let mut conversations = Vec::new();
    for _ in 0..3 {
        let conversation = story.conversation(day(10)).await;
        story.message(conversation, None, day(10)).await;
        conversations.push(conversation);
    }
    let world = World::open(&story.database).await;
    let due = world.due(Root::Conversation, wanted()).await;
    story.message(due[1].id, None, day(99)).await;
    let run = story.run("chat", "1", "running", day(99), None).await;
    story.sql(format!("UPDATE messages SET workflow_run_id = '{run}' WHERE conversation_id = '{}'", due[2].id)).await;
    let (ownership, prefetched) = (Arc::clone(&world.ownership), Arc::new(Prefetched::default()));
    let mut snapshot = Snapshot::begin(&world.database, ownership, due.clone().into(), prefetched, LoadLimits::default()).await.unwrap();
    assert_eq!(snapshot.changed(), [1, 2]);
    // What happens after the first statement is not seen.
    story.sql("DELETE FROM messages; DELETE FROM conversations".into()).await;
    let mut rows = 0;
    while let Some(piece) = snapshot.next().await.unwrap() {
        let dify_observe_core::dify::retention::Piece::Rows(piece) = piece else { panic!("{piece:?}") };
        assert!(piece.rows.iter().all(|row| row.bundle == 0), "{piece:?}");
        rows += piece.rows.len();
    }
    assert_eq!(rows, 2, "the conversation and its message");
}
