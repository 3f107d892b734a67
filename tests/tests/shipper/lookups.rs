//! What documents say beyond a record's own row, against PostgreSQL: right, through indexes, and with less where less may be read.

use std::collections::HashMap;

use dify_observe_core::dify::catalog::Wanted;
use dify_observe_core::dify::follow::{Detail, Event, FeedbackAction, KnownFeedbacks};
use dify_observe_core::dify::lookups::Lookups;
use dify_observe_core::dify::schema::Schema as Probed;
use dify_observe_core::dify::statistics;
use dify_observe_core::dify::time::Micros;
use dify_observe_core::settings::follow::FollowSettings;
use dify_observe_tests::postgres::{Cluster, TestDatabase};
use dify_observe_tests::{Schema, seed};
use uuid::Uuid;

use crate::records::{Reading, TIMEOUT, connect, load_history};

/// Everything that a shipper that starts now is told: records, and feedbacks.
async fn everything(database: &TestDatabase) -> Vec<Event> {
    let mut events = Reading::new(database.url(), Detail::Documents, FollowSettings::default()).drain().await;
    let connection = connect(database.url());
    let mut tx = connection.read(TIMEOUT).await.unwrap();
    let feedbacks = statistics::feedbacks(&mut tx, Detail::Documents, 10_000).await.unwrap().unwrap();
    tx.end().await.unwrap();
    connection.close().await;
    events.extend(KnownFeedbacks::default().compare(feedbacks, Micros::MIN));
    events
}

/// Looks up in batches, as the shipper does.
async fn look_up(url: &str, events: &[Event]) -> Vec<Lookups> {
    let connection = connect(url);
    let mut found = Vec::new();
    for batch in events.chunks(97) {
        let mut tx = connection.read(TIMEOUT).await.unwrap();
        let probed = Probed::probe(&mut tx).await.unwrap();
        found.push(Lookups::read(&mut tx, &probed, batch).await.unwrap());
        tx.end().await.unwrap();
    }
    connection.close().await;
    found
}

type Places = HashMap<Uuid, (i64, Option<Uuid>, Option<String>)>;

async fn places(database: &TestDatabase) -> Places {
    let mut connection = database.connect().await.unwrap();
    let rows: Vec<(Uuid, i64, Option<Uuid>, Option<String>)> = sqlx::query_as(
        "SELECT id, row_number() OVER w, lag(id) OVER w, lag((SELECT rating::text FROM message_feedbacks f WHERE f.message_id = m.id
           ORDER BY created_at DESC LIMIT 1)) OVER w
         FROM messages m WINDOW w AS (PARTITION BY conversation_id ORDER BY created_at, id)",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    rows.into_iter().map(|(id, number, previous, rating)| (id, (number, previous, rating))).collect()
}

async fn conversations(database: &TestDatabase) -> HashMap<Uuid, (Uuid, Uuid)> {
    let mut connection = database.connect().await.unwrap();
    let rows: Vec<(Uuid, Uuid, Uuid)> =
        sqlx::query_as("SELECT workflow_run_id, conversation_id, id FROM messages WHERE workflow_run_id IS NOT NULL")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    rows.into_iter().map(|(run, conversation, message)| (run, (conversation, message))).collect()
}

/// Counts of what was compared, so that a test of nothing is seen.
#[derive(Debug, Default)]
struct Compared {
    later_turns: usize,
    rated_before: usize,
    runs: usize,
    feedbacks: usize,
}

fn compare(events: &[Event], found: &[Lookups], places: &Places, conversations: &HashMap<Uuid, (Uuid, Uuid)>) -> Compared {
    let mut compared = Compared::default();
    for (batch, lookups) in events.chunks(97).zip(found) {
        for event in batch {
            match event {
                Event::MessageClosed { message, .. } => {
                    let turn = lookups.turn(message.id).expect("a short conversation");
                    let (number, previous, rating) = &places[&message.id];
                    assert_eq!(i64::from(turn.number), *number);
                    assert_eq!(turn.previous.as_ref().map(|previous| previous.message_id), *previous);
                    let before = turn.previous.as_ref().and_then(|previous| previous.feedback.as_deref());
                    assert_eq!(before, rating.as_deref());
                    compared.later_turns += usize::from(*number > 1);
                    compared.rated_before += usize::from(rating.is_some());
                }
                Event::RunClosed { run, .. } => {
                    assert_eq!(lookups.conversation_of(run.key.id), conversations.get(&run.key.id).copied(), "{:?}", run.key);
                    compared.runs += usize::from(conversations.contains_key(&run.key.id));
                }
                Event::Feedback { feedback, action } => {
                    assert_eq!(*action, FeedbackAction::Created);
                    assert!(feedback.row_version() > 0);
                    let rated = lookups.rated(feedback.message_id).expect("its message is there");
                    assert!(rated.query.is_some(), "{rated:?}");
                    assert_eq!(lookups.comment(feedback.id), Some(&*format!("comment of {}", feedback.id)));
                    let mut wanted = Wanted::default();
                    lookups.want(&mut wanted);
                    assert!(wanted.apps.contains(&rated.app_id));
                    assert!(rated.from_end_user_id.is_none_or(|person| wanted.end_users.contains(&person)));
                    compared.feedbacks += 1;
                }
                _ => {}
            }
        }
    }
    compared
}

#[tokio::test]
async fn what_is_looked_up_is_what_the_tables_say_and_goes_by_indexes() {
    let seed = seed("what_is_looked_up_is_what_the_tables_say");
    let cluster = Cluster::private(&[("autovacuum", "off")]).unwrap();
    for schema in Schema::all().unwrap() {
        let database = cluster.database(&schema).await.unwrap();
        load_history(&database, seed, 250).await;
        database.execute("UPDATE message_feedbacks SET content = 'comment of ' || id").await.unwrap();
        let events = everything(&database).await;
        database.execute("ANALYZE; SELECT pg_stat_reset()").await.unwrap();
        let found = look_up(database.url(), &events).await;
        let mut connection = database.connect().await.unwrap();
        let tables = ["messages", "message_feedbacks", "workflow_runs", "workflow_node_executions"];
        let scans: Vec<(String, i64, i64)> = sqlx::query_as(
            "SELECT relname::text, seq_scan, COALESCE(idx_scan, 0) FROM pg_stat_user_tables WHERE relname = ANY($1) ORDER BY 1",
        )
        .bind(tables)
        .fetch_all(&mut connection)
        .await
        .unwrap();
        assert!(scans.iter().all(|(_, scans, _)| *scans == 0), "{}: {scans:?}", schema.describe());
        assert!(scans.iter().any(|(table, _, used)| table == "messages" && *used > 0), "{scans:?}");
        let compared = compare(&events, &found, &places(&database).await, &conversations(&database).await);
        let Compared { later_turns, runs, feedbacks, .. } = compared;
        assert!(later_turns > 0 && runs > 0 && feedbacks > 0, "{}: {compared:?}", schema.describe());
    }
}

#[tokio::test]
async fn what_may_not_be_read_is_left_out() {
    let cluster = Cluster::shared().unwrap();
    let schema = Schema::load("1.12.1").unwrap();
    let database = cluster.database(&schema).await.unwrap();
    load_history(&database, 5, 120).await;
    let events = everything(&database).await;
    // Metrics need no content: the exporter's role has neither comments nor answers.
    let found = look_up(&database.exporter_role().unwrap(), &events).await;
    let feedbacks: Vec<_> =
        events.iter().filter_map(|event| if let Event::Feedback { feedback, .. } = event { Some(feedback) } else { None }).collect();
    assert!(!feedbacks.is_empty());
    for feedback in feedbacks {
        assert!(found.iter().all(|lookups| lookups.comment(feedback.id).is_none()));
    }
    let turns = events.iter().filter_map(|event| if let Event::MessageClosed { message, .. } = event { Some(message.id) } else { None });
    assert!(turns.into_iter().all(|id| found.iter().any(|lookups| lookups.turn(id).is_some())));
    // And nothing at all may be there.
    database
        .execute("DROP TABLE message_feedbacks, message_agent_thoughts; ALTER TABLE messages DROP COLUMN workflow_run_id, DROP COLUMN message_metadata, DROP COLUMN query; DROP INDEX message_app_id_idx")
        .await
        .unwrap();
    let found = look_up(database.url(), &events).await;
    assert!(found.iter().any(|lookups| {
        events.iter().any(|event| matches!(event, Event::MessageClosed { message, .. } if lookups.turn(message.id).is_some()))
    }));
}

#[tokio::test]
async fn a_conversation_that_never_ends_costs_a_bounded_look() {
    let cluster = Cluster::shared().unwrap();
    let database = cluster.database(&Schema::load("1.12.1").unwrap()).await.unwrap();
    load_history(&database, 7, 60).await;
    let events = everything(&database).await;
    // All messages in one conversation, and twenty times as many.
    database
        .execute(
            "UPDATE messages SET conversation_id = '00000000-0000-4000-8000-000000000001';
             INSERT INTO messages SELECT more.* FROM messages original, generate_series(1, 1 + 1001 / (SELECT count(*) FROM messages)::int) copy,
               LATERAL jsonb_populate_record(NULL::messages, to_jsonb(original) || jsonb_build_object('id', md5(id::text || copy)::uuid)) more;
             ANALYZE messages",
        )
        .await
        .unwrap();
    let mut moved = events;
    for event in &mut moved {
        if let Event::MessageClosed { message, .. } = event {
            message.conversation_id = Uuid::from_u128(0x0000_0000_0000_4000_8000_0000_0000_0001);
        }
    }
    let found = look_up(database.url(), &moved).await;
    let messages: Vec<Uuid> =
        moved.iter().filter_map(|event| if let Event::MessageClosed { message, .. } = event { Some(message.id) } else { None }).collect();
    assert!(!messages.is_empty());
    assert!(messages.iter().all(|id| found.iter().all(|lookups| lookups.turn(*id).is_none())));
}
