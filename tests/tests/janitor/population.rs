//! The data that the other tests stand on holds what it says it holds.

use std::collections::BTreeSet;

use dify_observe_tests::Schema;
use dify_observe_tests::postgres::Cluster;
use dify_observe_tests::retention::{Rules, Snapshot, expected, orphans, populate, references};
use dify_observe_tests::simulator::live;

#[tokio::test]
async fn something_hangs_on_everything_in_every_schema() {
    let seed = dify_observe_tests::seed("something_hangs_on_everything");
    let cluster = Cluster::shared().unwrap();
    for schema in Schema::all().unwrap() {
        let database = cluster.database(&schema).await.unwrap();
        let now = live::now();
        let population = populate(&database, seed, 500, now).await.unwrap();
        let mut connection = database.connect().await.unwrap();
        let snapshot = Snapshot::take(&mut connection).await.unwrap();
        let referring: BTreeSet<String> = references(&mut connection).await.unwrap().into_iter().map(|reference| reference.table).collect();
        // Agents that wait for a form are configuration, not history.
        let empty: Vec<&String> =
            referring.iter().filter(|table| snapshot.tables[*table].is_empty() && !table.starts_with("agent_workspace")).collect();
        assert!(empty.is_empty(), "{}: {empty:?} hold nothing", schema.describe());

        let rules = Rules::varied(&population.apps);
        let expected = expected(&mut connection, &rules, now).await.unwrap();
        for table in &referring {
            let (there, going) = (snapshot.tables[table].len(), expected.must.get(table).map_or(0, BTreeSet::len));
            eprintln!("{:8} {table:36} {there:6} {going:6}", schema.version);
            assert!(going < there || there < 5, "{}: everything in {table} goes", schema.describe());
        }
        for root in ["workflow_runs", "conversations", "messages", "workflow_node_executions"] {
            assert!(expected.must.get(root).is_some_and(|keys| keys.len() > 5), "{}: too few {root} go", schema.describe());
        }
        assert!(!orphans(&mut connection).await.unwrap().is_empty(), "Dify's own orphans are missing");
    }
}
