//! No statement of the reader reads a whole table of a large database.

use dify_observe_core::dify::retention::statements::statements;
use dify_observe_tests::Schema;
use dify_observe_tests::postgres::Cluster;
use dify_observe_tests::retention::{Rules, populate};
use dify_observe_tests::simulator::live;
use sqlx::{AssertSqlSafe, Row as _};

use super::world::World;

/// The plan for values that are not known, which is what a driver that prepares may get.
async fn plan(connection: &mut sqlx::PgConnection, text: &str) -> String {
    let parameters = (1..10).take_while(|number| text.contains(&format!("${number}"))).count();
    let values = vec!["NULL"; parameters].join(", ");
    let values = if parameters == 0 { String::new() } else { format!("({values})") };
    sqlx::raw_sql(AssertSqlSafe(format!("PREPARE looked_at AS {text}")))
        .execute(&mut *connection)
        .await
        .unwrap_or_else(|error| panic!("{text}: {error}"));
    let rows = sqlx::raw_sql(AssertSqlSafe(format!("EXPLAIN EXECUTE looked_at{values}"))).fetch_all(&mut *connection).await.unwrap();
    sqlx::raw_sql("DEALLOCATE looked_at").execute(connection).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn every_statement_finds_its_rows_through_an_index_or_a_range_of_blocks() {
    let cluster = Cluster::shared().unwrap();
    let seed = dify_observe_tests::seed("every_statement_finds_its_rows");
    for schema in Schema::test_set(seed).unwrap() {
        let database = cluster.database(&schema).await.unwrap();
        let Ok(ownership) = World::resolve(&database).await else { continue };
        let mut connection = database.connect().await.unwrap();
        sqlx::raw_sql("SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off").execute(&mut connection).await.unwrap();
        let statements = statements(&ownership);
        assert!(statements.len() > 50, "{}", statements.len());
        for (name, text) in statements {
            let plan = plan(&mut connection, &text).await;
            assert!(!plan.contains("Seq Scan"), "{name} on {}:\n{text}\n{plan}", schema.describe());
            let in_blocks = text.contains("ctid");
            assert_eq!(plan.contains("Tid Range Scan"), in_blocks, "{name} on {}:\n{text}\n{plan}", schema.describe());
        }
    }
}

/// What really happens: PostgreSQL counts how often it read a table from end to end.
#[tokio::test]
async fn nothing_is_read_from_end_to_end_on_any_schema() {
    let seed = dify_observe_tests::seed("nothing_is_read_from_end_to_end");
    let cluster = Cluster::private(&[("autovacuum", "off")]).unwrap();
    for schema in Schema::all().unwrap() {
        let database = cluster.database(&schema).await.unwrap();
        let now = live::now();
        populate(&database, seed, 300, now).await.unwrap();
        database.execute("ANALYZE; SELECT pg_stat_reset()").await.unwrap();
        let world = World::open(&database).await;
        let found = world.everything_due(&Rules::default(), now).await;
        assert!(found.len() > 5, "{:?}", found.keys());
        world.database.close().await;
        let mut connection = database.connect().await.unwrap();
        let scanned: Vec<(String, i64)> =
            sqlx::query_as("SELECT relname::text, seq_scan FROM pg_stat_user_tables WHERE seq_scan > 0 AND relname <> 'alembic_version'")
                .fetch_all(&mut connection)
                .await
                .unwrap();
        assert!(scanned.is_empty(), "{}: {scanned:?}", schema.describe());
        let used: i64 =
            sqlx::query_scalar("SELECT sum(idx_scan)::bigint FROM pg_stat_user_tables").fetch_one(&mut connection).await.unwrap();
        assert!(used > 0, "nothing was counted");
    }
}
