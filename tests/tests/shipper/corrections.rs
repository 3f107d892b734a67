//! What was told and is another now is told again, with all that belongs to it; and only to whoever makes documents.

use std::time::Duration;

use dify_observe_core::dify::follow::{Closed, Detail, Event};
use dify_observe_core::settings::follow::FollowSettings;
use dify_observe_tests::Schema;
use dify_observe_tests::postgres::{Cluster, TestDatabase};
use uuid::Uuid;

use crate::records::{Reading, load_history};

/// Looked at again one and four seconds after it was told; given up after five.
fn settings() -> FollowSettings {
    FollowSettings {
        trail: [1, 4, 3600].map(Duration::from_secs).to_vec(),
        abandon_after: Duration::from_secs(5),
        ..FollowSettings::default()
    }
}

async fn one(database: &TestDatabase, sql: &str) -> Uuid {
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut database.connect().await.unwrap()).await.unwrap()
}

fn corrected_runs(events: &[Event]) -> Vec<(Uuid, usize, String)> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::RunCorrected { run, nodes } => Some((run.key.id, nodes.len(), run.status.to_string())),
            _ => None,
        })
        .collect()
}

async fn seconds(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

/// Waits until something is told, for at most twenty seconds.
async fn next(reading: &mut Reading) -> Vec<Event> {
    for _ in 0..40 {
        let events = reading.drain().await;
        if !events.is_empty() {
            return events;
        }
        seconds(0.5).await;
    }
    panic!("nothing was told");
}

#[tokio::test]
async fn rows_that_change_after_they_were_told_are_told_again() {
    let cluster = Cluster::shared().unwrap();
    for version in ["1.8.1", "1.12.1"] {
        let database = cluster.database(&Schema::load(version).unwrap()).await.unwrap();
        load_history(&database, 11, 60).await;
        let mut documents = Reading::new(database.url(), Detail::Documents, settings());
        let mut metrics = Reading::new(database.url(), Detail::Metrics, settings());
        assert!(!documents.drain().await.is_empty() && !metrics.drain().await.is_empty());
        let told = tokio::time::Instant::now();
        let run = one(&database, "SELECT r.id FROM workflow_runs r WHERE status = 'succeeded' AND EXISTS (SELECT 1 FROM workflow_node_executions n WHERE n.workflow_run_id = r.id) ORDER BY id LIMIT 1").await;
        let nodes =
            database.count(&format!("SELECT count(*) FROM workflow_node_executions WHERE workflow_run_id = '{run}'")).await.unwrap();
        let other = one(&database, &format!("SELECT r.id FROM workflow_runs r WHERE status = 'succeeded' AND id <> '{run}' AND EXISTS (SELECT 1 FROM workflow_node_executions n WHERE n.workflow_run_id = r.id) ORDER BY id LIMIT 1")).await;
        let others =
            database.count(&format!("SELECT count(*) FROM workflow_node_executions WHERE workflow_run_id = '{other}'")).await.unwrap();

        // A node is written again, and a run.
        database.execute(&format!("UPDATE workflow_node_executions SET outputs = '{{\"late\": 1}}' WHERE id = (SELECT id FROM workflow_node_executions WHERE workflow_run_id = '{run}' ORDER BY id LIMIT 1)")).await.unwrap();
        database.execute(&format!("UPDATE workflow_runs SET outputs = '{{\"late\": 1}}' WHERE id = '{other}'")).await.unwrap();
        let events = next(&mut documents).await;
        let mut corrected = corrected_runs(&events);
        corrected.sort_unstable();
        let mut expected = vec![(run, nodes as usize, "succeeded".to_owned()), (other, others as usize, "succeeded".to_owned())];
        expected.sort_unstable();
        assert_eq!((&corrected, events.len()), (&expected, 2), "{version}");
        assert!(events.iter().any(|event| matches!(event, Event::RunCorrected { nodes, .. } if nodes.iter().any(|node| node.outputs.as_deref() == Some("{\"late\": 1}")))));
        assert!(
            events.iter().any(|event| matches!(event, Event::RunCorrected { run, .. } if run.outputs.as_deref() == Some("{\"late\": 1}")))
        );
        assert!(documents.drain().await.is_empty(), "each change is told once");

        // A node appears; nothing else has changed.
        database
            .execute(&format!(
                "INSERT INTO workflow_node_executions SELECT more.* FROM (SELECT * FROM workflow_node_executions WHERE workflow_run_id = '{run}' LIMIT 1) n,
                   LATERAL jsonb_populate_record(NULL::workflow_node_executions, to_jsonb(n) || jsonb_build_object('id', gen_random_uuid(), 'node_execution_id', gen_random_uuid())) more"
            ))
            .await
            .unwrap();
        let events = next(&mut documents).await;
        assert_eq!((corrected_runs(&events), events.len()), (vec![(run, nodes as usize + 1, "succeeded".to_owned())], 1), "{version}");
        tokio::time::sleep_until(told + Duration::from_secs(6)).await;
        assert!(documents.drain().await.is_empty());

        // Whoever counts is told of the new node alone.
        let counted = next(&mut metrics).await;
        assert!(matches!(&*counted, [Event::NodesSettled { nodes, .. }] if nodes.len() == 1), "{version}: {counted:?}");
    }
}

#[tokio::test]
async fn what_was_given_up_and_ends_after_all_is_told_again() {
    let cluster = Cluster::shared().unwrap();
    for version in ["1.8.1", "1.12.1"] {
        let database = cluster.database(&Schema::load(version).unwrap()).await.unwrap();
        load_history(&database, 13, 60).await;
        let run = one(&database, "SELECT r.id FROM workflow_runs r WHERE status = 'succeeded' AND EXISTS (SELECT 1 FROM workflow_node_executions n WHERE n.workflow_run_id = r.id) ORDER BY id LIMIT 1").await;
        let message = one(
            &database,
            "SELECT id FROM messages WHERE status = 'normal' AND answer <> '' AND workflow_run_id IS NULL ORDER BY id LIMIT 1",
        )
        .await;
        let seven_seconds_ago = "(now() AT TIME ZONE 'UTC') - interval '7 s'";
        database
            .execute(&format!(
                "UPDATE workflow_runs SET status = 'running', finished_at = NULL, created_at = {seven_seconds_ago} WHERE id = '{run}';
                 UPDATE messages SET answer = '', message_metadata = NULL, created_at = {seven_seconds_ago} WHERE id = '{message}'"
            ))
            .await
            .unwrap();
        let mut documents = Reading::new(database.url(), Detail::Documents, settings());
        let mut metrics = Reading::new(database.url(), Detail::Metrics, settings());
        for reading in [&mut documents, &mut metrics] {
            let events = reading.drain().await;
            let given_up = |event: &&Event| match event {
                Event::RunClosed { run: closed, closed: Closed::Abandoned, .. } => closed.key.id == run,
                Event::MessageClosed { message: closed, closed: Closed::Abandoned, .. } => closed.id == message,
                _ => false,
            };
            assert_eq!(events.iter().filter(given_up).count(), 2, "{version}");
            let position = reading.state.as_ref().unwrap().position();
            assert!(!position.open.contains(&run) && !position.open.contains(&message), "what was told is not open");
        }
        // A successor, too, goes on watching.
        documents.state = documents.state.map(|state| state.without_ledger());
        documents.drain().await;
        database
            .execute(&format!(
                "UPDATE workflow_runs SET status = 'succeeded', finished_at = now() AT TIME ZONE 'UTC' WHERE id = '{run}';
                 UPDATE messages SET answer = 'after all' WHERE id = '{message}'"
            ))
            .await
            .unwrap();
        let mut events = next(&mut documents).await;
        for _ in 0..10 {
            seconds(0.5).await;
            events.extend(documents.drain().await);
        }
        let ended = events.iter().filter(|event| matches!(event, Event::RunCorrected { run: ended, nodes } if ended.key.id == run && ended.has_ended() && !nodes.is_empty()));
        assert!(ended.count() >= 1, "{version}: {events:?}");
        let answered = events.iter().filter(|event| matches!(event, Event::MessageCorrected { message: told, .. } if told.id == message && told.answer.as_deref() == Some("after all")));
        assert_eq!(answered.count(), 1, "{version}");
        assert!(metrics.drain().await.is_empty(), "who only counts is told of none of it");
    }
}
