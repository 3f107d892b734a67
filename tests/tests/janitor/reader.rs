//! What core reads for dify-janitor: which rows hang on what, what may go, and the rows themselves, on every Dify schema.

mod plans;
mod protection;
mod speed;
mod values;
mod world;

use std::collections::BTreeSet;

use dify_observe_core::dify::retention::{Path, Root, UnknownShape};
use dify_observe_tests::Schema;
use dify_observe_tests::postgres::Cluster;
use dify_observe_tests::retention::{Rules, expected, populate};
use dify_observe_tests::simulator::live;

use world::World;

#[tokio::test]
async fn every_version_is_known_completely() {
    let cluster = Cluster::shared().unwrap();
    for schema in Schema::all().unwrap() {
        let database = cluster.database(&schema).await.unwrap();
        let ownership = World::open(&database).await.ownership;
        assert_eq!(ownership.unknown, [], "{}", schema.describe());
        let unindexed = [Root::Run, Root::Conversation].into_iter().flat_map(|root| ownership.members(root));
        let unindexed: BTreeSet<String> = unindexed
            .filter(|member| member.path == Path::Prefetch)
            .map(|member| format!("{}.{}", member.shape.table, member.column))
            .collect();
        let expected: &[&str] = match schema.version.as_str() {
            "1.2.0" => &["workflow_app_logs.workflow_run_id", "workflow_conversation_variables.conversation_id"],
            "1.17.1" => &["human_input_forms.conversation_id"],
            _ => &[],
        };
        assert_eq!(unindexed, expected.iter().map(|name| (*name).to_owned()).collect(), "{}", schema.describe());
    }
}

#[tokio::test]
async fn what_no_dify_ever_was_is_known_or_refused_with_a_reason() {
    let cluster = Cluster::shared().unwrap();
    let first = dify_observe_tests::seed("what_no_dify_ever_was_is_known_or_refused");
    let versions = Schema::all().unwrap();
    for offset in 0..24 {
        let schema = versions[offset % versions.len()].mutated(first + offset as u64);
        let database = cluster.database(&schema).await.unwrap();
        let added: BTreeSet<String> = schema
            .mutations
            .iter()
            .filter_map(|mutation| mutation.strip_prefix("table ")?.strip_suffix(" added"))
            .map(|table| format!("{table}.workflow_run_id"))
            .collect();
        match World::resolve(&database).await {
            Ok(ownership) => {
                let unknown: BTreeSet<String> = ownership.unknown.iter().map(ToString::to_string).collect();
                assert_eq!(unknown, added, "{}", schema.describe());
            }
            Err(refused) => {
                let dropped = schema.mutations.iter().any(|mutation| mutation.starts_with("index ") || mutation.contains(" missing"));
                assert!(dropped && matches!(refused, UnknownShape::NoIndex { .. }), "{}: {refused}", schema.describe());
            }
        }
    }
}

#[tokio::test]
async fn what_cannot_be_put_back_is_refused_with_a_reason() {
    let cluster = Cluster::shared().unwrap();
    let database = cluster.database(&Schema::load("1.12.1").unwrap()).await.unwrap();
    for (change, back, sentence) in [
        (
            "ALTER TABLE message_files DROP CONSTRAINT message_file_pkey",
            "ALTER TABLE message_files ADD CONSTRAINT message_file_pkey PRIMARY KEY (id)",
            "the primary key of table message_files is ()",
        ),
        (
            "ALTER TABLE workflow_pauses ALTER workflow_run_id TYPE text",
            "ALTER TABLE workflow_pauses ALTER workflow_run_id TYPE uuid USING workflow_run_id::uuid",
            "workflow_pauses.workflow_run_id is text, not uuid",
        ),
        (
            "ALTER TABLE message_files RENAME message_id TO message",
            "ALTER TABLE message_files RENAME message TO message_id",
            "message_files has no column message_id",
        ),
        ("ALTER TABLE conversations RENAME TO talks", "ALTER TABLE talks RENAME TO conversations", "table conversations is not there"),
        (
            "DROP INDEX message_annotation_message_idx",
            "CREATE INDEX message_annotation_message_idx ON message_annotations (message_id)",
            "CREATE INDEX CONCURRENTLY dify_observe_message_annotations_message_id",
        ),
    ] {
        database.execute(change).await.unwrap();
        let refused = World::resolve(&database).await.unwrap_err().to_string();
        assert!(refused.contains(sentence), "{change}: {refused}");
        database.execute(back).await.unwrap();
    }
    World::resolve(&database).await.unwrap();
}

/// Both ways: what plain SQL says must go, table by table and key by key, is what is found and read.
#[tokio::test]
async fn what_is_read_is_what_plain_sql_says_is_due_on_every_schema() {
    let seed = dify_observe_tests::seed("what_is_read_is_what_plain_sql_says_is_due");
    let cluster = Cluster::shared().unwrap();
    for schema in Schema::test_set(seed).unwrap() {
        let database = cluster.database(&schema).await.unwrap();
        let now = live::now();
        populate(&database, seed, 400, now).await.unwrap();
        let world = match World::resolve(&database).await {
            Ok(ownership) => World::with(&database, ownership),
            Err(refused) => {
                eprintln!("{}: {refused}", schema.describe());
                continue;
            }
        };
        let mut connection = database.connect().await.unwrap();
        let rules = Rules::default();
        let expected = expected(&mut connection, &rules, now).await.unwrap();
        let mut found = world.everything_due(&rules, now).await;
        // A table that is not known is none of ours; the engine refuses while it has rows.
        found.retain(|_, keys| !keys.is_empty());
        for (table, keys) in &expected.must {
            let ours = found.remove(table).unwrap_or_default();
            let missing: Vec<&String> = keys.difference(&ours).collect();
            let surplus: Vec<&String> = ours.difference(keys).collect();
            assert!(missing.is_empty(), "{}: {table} misses {} of {}: {missing:?}", schema.describe(), missing.len(), keys.len());
            assert!(surplus.is_empty(), "{}: {table} has {} too many: {surplus:?}", schema.describe(), surplus.len());
        }
        assert!(found.is_empty(), "{}: {:?}", schema.describe(), found.keys());
    }
}
