//! The roles that deploy/postgres/janitor-role.sql makes: enough for planning, enough for deleting, and for nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use dify_observe_core::dify::retention::ownership::known_tables;
use dify_observe_tests::Schema;
use dify_observe_tests::pgbouncer::PgBouncer;
use dify_observe_tests::postgres::{Cluster, TestDatabase};
use dify_observe_tests::retention::Rules;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::scene::Scene;
use crate::setup::Setup;

pub(crate) fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/postgres/janitor-role.sql")
}

/// Makes the role what the script makes of it, and returns the URL for it.
pub(crate) async fn grant(cluster: &Cluster, database: &TestDatabase, role: &str, execute: bool) -> anyhow::Result<String> {
    cluster.role(role).await?;
    database.psql(&script(), &[("role", role), ("execute", if execute { "1" } else { "0" })])?;
    Ok(database.url_as(role))
}

/// The error code of a statement that must fail.
async fn refused(role: &mut PgConnection, sql: &str) -> String {
    match sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(role).await {
        Ok(_) => "allowed".to_owned(),
        Err(error) => error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned(),
    }
}

#[test]
fn the_script_deletes_from_what_is_known_and_from_nothing_else() {
    let text = std::fs::read_to_string(script()).unwrap();
    let list = text.split("ARRAY[").nth(1).unwrap().split(']').next().unwrap();
    let listed: BTreeSet<&str> = list.split('\'').skip(1).step_by(2).collect();
    assert_eq!(listed, known_tables().collect::<BTreeSet<_>>());
}

#[tokio::test]
async fn on_every_schema_the_roles_are_enough() -> anyhow::Result<()> {
    const PLANNER: &str = "dify_observe_test_planner";
    const DELETER: &str = "dify_observe_test_deleter";
    let cluster = Cluster::shared()?;
    let seed = dify_observe_tests::seed("the_roles_are_enough");
    for schema in Schema::all()? {
        let mut scene = Scene::new(&schema, seed, 120).await?;
        let planner = grant(cluster, &scene.database, PLANNER, false).await?;
        let deleter = grant(cluster, &scene.database, DELETER, true).await?;
        scene.setup.set("POSTGRES__URL", &planner);
        scene.setup.succeed(&["plan"]).await?;
        scene.setup.succeed(&["plan", "--exact"]).await?;
        scene.setup.succeed(&["advise"]).await?;
        let check = scene.setup.run(&["check"]).await?;
        assert_eq!(check.code, Some(78), "{}: {}", scene.what, check.stdout);
        assert!(check.stdout.contains("may read but not delete") && check.stdout.contains("GRANT DELETE, INSERT ON"), "{}", check.stdout);
        scene.setup.set("POSTGRES__URL", &deleter);
        scene.setup.succeed(&["check"]).await?;
        scene.setup.prune().await?;
        scene.is_pruned().await?;
        scene.comes_back().await?;
    }
    Ok(())
}

#[tokio::test]
async fn through_pgbouncer_the_role_is_enough() -> anyhow::Result<()> {
    const ROLE: &str = "dify_observe_test_bounced_deleter";
    let cluster = Cluster::private(&[])?;
    let mut scene = Scene::on(&cluster, &Schema::load("1.12.1")?, dify_observe_tests::seed("the_role_is_enough"), 120).await?;
    grant(&cluster, &scene.database, ROLE, true).await?;
    let bouncer = PgBouncer::start_as(cluster.server()?, 5, ROLE)?;
    scene.setup.set("POSTGRES__URL", &bouncer.url(scene.database.name()));
    scene.setup.succeed(&["check"]).await?;
    scene.setup.prune().await?;
    scene.is_pruned().await
}

#[tokio::test]
async fn the_deleting_role_deletes_what_is_known_and_changes_nothing() -> anyhow::Result<()> {
    const ROLE: &str = "dify_observe_test_limited";
    let cluster = Cluster::shared()?;
    let known: BTreeSet<&str> = known_tables().collect();
    for schema in Schema::all()? {
        let database = cluster.database(&schema).await?;
        let url = grant(cluster, &database, ROLE, true).await?;
        let mut role = PgConnection::connect(&url).await?;
        for (table, description) in &schema.tables {
            let what = format!("{}, {table}", schema.describe());
            let deleted = refused(&mut role, &format!("DELETE FROM \"{table}\"")).await;
            assert_eq!(deleted == "allowed", known.contains(table.as_str()), "{what}: {deleted}");
            assert_eq!(refused(&mut role, &format!("TRUNCATE \"{table}\"")).await, "42501", "{what}");
            assert_eq!(refused(&mut role, &format!("DROP TABLE \"{table}\"")).await, "42501", "{what}");
            for column in description.columns.iter().filter(|column| !column.generated) {
                let harmless = [("workflow_runs", "total_steps"), ("conversations", "read_at")].contains(&(table, &column.name));
                let updated = refused(&mut role, &format!("UPDATE \"{table}\" SET \"{0}\" = \"{0}\"", column.name)).await;
                assert_eq!(updated == "allowed", harmless, "{what}.{}: {updated}", column.name);
            }
        }
        for secret in ["accounts", "providers", "api_tokens", "app_model_configs"] {
            if schema.has_table(secret) {
                assert_eq!(refused(&mut role, &format!("SELECT * FROM {secret}")).await, "42501", "{}, {secret}", schema.describe());
            }
        }
        for statement in [
            "CREATE TABLE mine (id int)",
            "CREATE INDEX mine ON messages (id)",
            "VACUUM FULL messages",
            "ALTER TABLE messages SET (fillfactor = 50)",
        ] {
            // VACUUM of a table that is not ours is skipped with a warning, and does nothing.
            assert_ne!(refused(&mut role, statement).await == "allowed", !statement.starts_with("VACUUM"), "{statement}");
        }
        role.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_planning_role_writes_nothing_and_reads_no_knowledge_of_people() -> anyhow::Result<()> {
    const ROLE: &str = "dify_observe_test_reading";
    let cluster = Cluster::shared()?;
    for schema in Schema::all()? {
        let database = cluster.database(&schema).await?;
        // What it was once allowed is taken away.
        grant(cluster, &database, ROLE, true).await?;
        let url = grant(cluster, &database, ROLE, false).await?;
        let mut role = PgConnection::connect(&url).await?;
        // Also for a client that asks for writing transactions.
        assert_eq!(refused(&mut role, "SET default_transaction_read_only = off").await, "allowed");
        for table in schema.tables.keys() {
            assert_eq!(refused(&mut role, &format!("DELETE FROM \"{table}\"")).await, "42501", "{}, {table}", schema.describe());
        }
        for column in ["question", "content"] {
            let sql = format!("SELECT {column} FROM message_annotations");
            assert_eq!(refused(&mut role, &sql).await, "42501", "{}: {sql}", schema.describe());
        }
        let lock = "SELECT id FROM workflow_runs FOR UPDATE";
        assert_eq!(refused(&mut role, lock).await, "42501");
        role.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_script_does_not_touch_somebody_elses_role() -> anyhow::Result<()> {
    let cluster = Cluster::shared()?;
    let database = cluster.database(&Schema::load("1.12.1")?).await?;
    cluster.role("dify_observe_test_of_dify").await?;
    database.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO dify_observe_test_of_dify").await?;
    for role in ["dify_observe_test_of_dify", "postgres"] {
        let error = database.psql(&script(), &[("role", role)]).unwrap_err().to_string();
        assert!(error.contains("for dify-janitor alone"), "{error}");
    }
    let rights = "SELECT count(*) FROM information_schema.table_privileges \
                  WHERE grantee = 'dify_observe_test_of_dify' AND privilege_type = 'UPDATE' AND table_name = 'messages'";
    assert_eq!(database.count(rights).await?, 1);
    Ok(())
}

#[tokio::test]
async fn what_check_prints_is_all_that_a_role_needs() -> anyhow::Result<()> {
    const ROLE: &str = "dify_observe_test_newcomer";
    let cluster = Cluster::shared()?;
    for version in ["1.2.0", "1.17.1"] {
        let database = cluster.database(&Schema::load(version)?).await?;
        cluster.role(ROLE).await?;
        let setup = Setup::new(&database.url_as(ROLE), &Rules::default())?;
        // First it may not even read; then it may not delete. Each time, check prints what is missing.
        for _ in 0..3 {
            let report: serde_json::Value = serde_json::from_str(&setup.run(&["check", "--format", "json"]).await?.stdout)?;
            for mend in report["findings"].as_array().unwrap().iter().filter_map(|finding| finding["mend"].as_str()) {
                let statements: Vec<&str> = mend.lines().filter(|line| line.starts_with("GRANT ")).collect();
                database.execute(&statements.join("\n")).await?;
            }
        }
        let finished = setup.run(&["check"]).await?;
        assert_eq!(finished.code, Some(0), "{version}: {}", finished.stdout);
    }
    Ok(())
}
