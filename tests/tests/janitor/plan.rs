//! What `plan` says is what plain SQL says, and asking costs little however large the tables are.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use dify_observe_tests::Schema;
use dify_observe_tests::postgres::{Cluster, TestDatabase};
use dify_observe_tests::retention::{Keys, Rules, populate};
use dify_observe_tests::simulator::live;
use serde_json::Value;

use crate::scene::Scene;
use crate::setup::Setup;

async fn plan(setup: &Setup, more: &[&str]) -> anyhow::Result<Value> {
    let arguments: Vec<&str> = ["plan", "--format", "json"].iter().chain(more).copied().collect();
    Ok(serde_json::from_str(&setup.succeed(&arguments).await?.stdout)?)
}

fn number(value: &Value, path: &str) -> anyhow::Result<u64> {
    value.pointer(path).and_then(Value::as_u64).with_context(|| format!("no number at {path} of {value:#}"))
}

/// Rows that go, by table, without the tables of which none go.
fn rows_going(plan: &Value) -> anyhow::Result<BTreeMap<String, u64>> {
    let tables = plan["tables"].as_array().context("no tables")?;
    let line = |table: &Value| Ok((table["table"].as_str().context("no name")?.to_owned(), number(table, "/go_rows")?));
    Ok(tables.iter().map(line).collect::<anyhow::Result<BTreeMap<_, _>>>()?.into_iter().filter(|(_, rows)| *rows > 0).collect())
}

fn lengths(keys: &Keys) -> BTreeMap<String, u64> {
    keys.iter().filter(|(_, keys)| !keys.is_empty()).map(|(table, keys)| (table.clone(), keys.len() as u64)).collect()
}

/// Bundles by app: runs that no message names, and conversations.
async fn bundles(database: &TestDatabase) -> anyhow::Result<BTreeMap<String, i64>> {
    let mut connection = database.connect().await?;
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT app_id::text, count(*) FROM (
           SELECT app_id FROM conversations UNION ALL SELECT app_id FROM workflow_runs WHERE type IN ('workflow', 'rag-pipeline')
         ) b GROUP BY 1",
    )
    .fetch_all(&mut connection)
    .await?;
    Ok(rows.into_iter().collect())
}

#[tokio::test]
async fn exact_figures_are_those_of_plain_sql() -> anyhow::Result<()> {
    let seed = dify_observe_tests::seed("exact_figures_are_those_of_plain_sql");
    for schema in Schema::all()? {
        let scene = Scene::new(&schema, seed, 300).await?;
        let plan = plan(&scene.setup, &["--exact"]).await?;
        let (found, must, may) = (rows_going(&plan)?, lengths(&scene.expected.must), lengths(&scene.expected.may));
        ensure!(found == must || found == may, "{}: {found:#?} instead of {must:#?}", scene.what);
        for table in plan["tables"].as_array().context("no tables")? {
            let name = table["table"].as_str().context("no name")?;
            let rows = scene.before.tables.get(name).map_or(0, BTreeMap::len) as u64;
            ensure!(number(table, "/rows")? == rows, "{}: {table:#} instead of {rows} rows", scene.what);
            ensure!(table["rows_estimated"] == false && table["go_rows_estimated"] == false, "{table:#}");
        }
        check_bundles(&scene, &plan).await?;
        scene.is_untouched().await?;
    }
    Ok(())
}

/// Every bundle of every app goes or stays for a reason.
async fn check_bundles(scene: &Scene, plan: &Value) -> anyhow::Result<()> {
    let expected = bundles(&scene.database).await?;
    for app in plan["apps"].as_array().context("no apps")? {
        let stay: u64 = app["stay"].as_object().context("no reasons")?.values().filter_map(Value::as_u64).sum();
        let bundles = number(app, "/bundles")?;
        ensure!(number(app, "/go_bundles")? + stay == bundles, "{}: {app:#}", scene.what);
        // Runs of chats that no message names are bundles too, once they are old enough to be looked at.
        let least = expected.get(app["app_id"].as_str().unwrap_or_default()).copied().unwrap_or_default() as u64;
        ensure!(bundles >= least, "{}: {app:#} instead of at least {least} bundles", scene.what);
    }
    ensure!(number(plan, "/total/go_bundles")? > 0 && plan["total"]["stay"]["held"].as_u64() > Some(0), "{plan:#}");
    Ok(())
}

/// A database in which samples are needed: the same runs and nodes many times over.
async fn large() -> anyhow::Result<(TestDatabase, Rules)> {
    let database = Cluster::shared()?.database(&Schema::load("1.12.1")?).await?;
    let population = populate(&database, 4, 400, live::now()).await?;
    let copies = |table: &str, times: u32, which: &str| {
        format!(
            "INSERT INTO {table} SELECT (jsonb_populate_record(t, jsonb_build_object('id', gen_random_uuid()))).*
             FROM {table} t, generate_series(1, {times}) WHERE {which};"
        )
    };
    let script = copies("workflow_runs", 150, "type = 'workflow'") + &copies("workflow_node_executions", 20, "true") + "ANALYZE";
    database.execute(&script).await?;
    Ok((database, Rules::varied(&population.apps)))
}

#[tokio::test]
async fn estimates_are_close_and_bounded() -> anyhow::Result<()> {
    let (database, rules) = large().await?;
    let setup = Setup::new(database.url(), &rules)?;
    let exact = plan(&setup, &["--exact"]).await?;
    database.count_statements().await?;
    let estimate = plan(&setup, &[]).await?;
    let used = database.statement_use("").await?;
    let blocks = database
        .count(
            "SELECT sum(pg_relation_size(oid) / 8192)::bigint FROM pg_class WHERE relname IN ('workflow_runs', 'workflow_node_executions')",
        )
        .await?;
    eprintln!("{} statements touched {} pages; the two tables alone have {blocks}", used.calls, used.buffers);
    ensure!(estimate["total"]["estimated"] == true, "the tables are too small for this test: {blocks} blocks");

    for (path, tolerance) in
        [("/total/bundles", 0.1), ("/total/rows", 0.1), ("/total/go_bundles", 0.15), ("/total/go_rows", 0.15), ("/total/go_bytes", 0.2)]
    {
        let (found, truth) = (number(&estimate, path)? as f64, number(&exact, path)? as f64);
        eprintln!("{path}: {found} estimated, {truth} counted");
        ensure!((found / truth - 1.0).abs() < tolerance, "{path}: {found} estimated, {truth} counted");
    }
    let share = |plan: &Value| anyhow::Ok(number(plan, "/total/go_bundles")? as f64 / number(plan, "/total/bundles")? as f64);
    ensure!((share(&estimate)? - share(&exact)?).abs() < 0.03, "{} instead of {}", share(&estimate)?, share(&exact)?);
    let shown = Setup::new(database.url(), &rules)?.with("JANITOR__PACE", "5000").with("JANITOR__ARCHIVE__URL", "s3://dify-archive/prod");
    eprintln!("{}", shown.with("JANITOR__WINDOW", "22:00-06:00").succeed(&["plan"]).await?.stdout);
    // A few statements for each table, and for each five hundred conversations.
    ensure!(used.calls < 150, "{used:?}");
    // Of each table at most 2000 blocks, twice for runs and conversations; the rest are look-ups by key.
    ensure!(used.buffers < 60_000, "{used:?}");
    Ok(())
}

#[tokio::test]
async fn a_newcomer_gets_a_page_that_fits_a_terminal() -> anyhow::Result<()> {
    let database = Cluster::shared()?.database(&Schema::load("1.17.1")?).await?;
    let population = populate(&database, 5, 300, live::now()).await?;
    let role = reader(&database).await?;
    let setup = Setup::new(&database.url_as(&role), &Rules::varied(&population.apps))?.with("JANITOR__PACE", "5000");
    let page = setup.succeed(&["plan"]).await?.stdout;
    eprintln!("{page}");
    ensure!(page.lines().all(|line| line.chars().count() <= 120 || line.starts_with("Archive: ")), "{page}");
    for part in
        ["Policies: default 30d; failed 60d; held held; short 10d.", "what stays", "workflow_node_executions", "Staying: ", "Going: "]
    {
        ensure!(page.contains(part), "{part:?} is not in\n{page}");
    }
    ensure!(page.contains("rows/s.") && page.contains("Nothing was changed."), "{page}");
    let one = population.apps[0].to_string();
    let of_one = plan(&setup, &["--app", &one]).await?;
    ensure!(of_one["apps"].as_array().map(Vec::len) == Some(1) && of_one["apps"][0]["app_id"] == one.as_str(), "{of_one:#}");
    let all = plan(&setup, &[]).await?;
    let same = |app: &&Value| app["app_id"] == one.as_str();
    let in_all = all["apps"].as_array().context("no apps")?.iter().find(same).context("the app is not there")?;
    ensure!(in_all["go_bundles"] == of_one["total"]["go_bundles"] && in_all["rows"] == of_one["total"]["rows"], "{in_all:#} {of_one:#}");
    Ok(())
}

/// What the documentation shows was really printed; this says that its lines are still those of today.
#[tokio::test]
async fn the_documentation_shows_what_is_printed() -> anyhow::Result<()> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/retention.md"))?;
    let shown = text.split("```\n").find(|block| block.starts_with("Database ")).context("no plan in docs/retention.md")?;
    let database = Cluster::shared()?.database(&Schema::load("1.17.1")?).await?;
    let population = populate(&database, 5, 300, live::now()).await?;
    let page = Setup::new(database.url(), &Rules::varied(&population.apps))?.with("JANITOR__PACE", "5000").succeed(&["plan"]).await?.stdout;
    ensure!(headings(shown) == headings(&page), "docs/retention.md shows {:#?}, plan prints {:#?}", headings(shown), headings(&page));
    Ok(())
}

/// The headings of the tables and the beginnings of the sentences.
fn headings(page: &str) -> Vec<String> {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines = page.lines().map(words).filter(|words| !words.is_empty());
    let heading = |words: &Vec<String>| match words[0].as_str() {
        "app" | "table" | "New" | "Nothing" => Some(words.join(" ")),
        "Database" | "Policies:" | "A" | "Staying:" | "Going:" | "It" | "Archive:" | "Note:" => Some(words[0].clone()),
        _ => None,
    };
    let mut headings: Vec<String> = lines.filter_map(|words| heading(&words)).collect();
    headings.dedup();
    headings
}

/// A role that may read and nothing else.
async fn reader(database: &TestDatabase) -> anyhow::Result<String> {
    let role = format!("{}_reader", database.name());
    Cluster::shared()?.role(&role).await?;
    database.execute(&format!("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")).await?;
    Ok(role)
}

#[tokio::test]
async fn an_empty_database_and_one_without_old_rows_say_so() -> anyhow::Result<()> {
    let database = Cluster::shared()?.database(&Schema::load("1.12.1")?).await?;
    let setup = Setup::new(database.url(), &Rules::default())?;
    let page = setup.succeed(&["plan"]).await?.stdout;
    ensure!(page.contains("no workflow runs and no conversations"), "{page}");
    populate(&database, 6, 100, live::now()).await?;
    let setup = Setup::new(database.url(), &Rules { age: 365 * 86_400, ..Rules::default() })?;
    for more in [&[][..], &["--exact"]] {
        let page = setup.succeed(&[&["plan"], more].concat()).await?.stdout;
        ensure!(page.contains("Going: nothing.") && page.contains(" young"), "{page}");
    }
    Ok(())
}

#[tokio::test]
async fn a_plan_that_would_be_refused_says_so() -> anyhow::Result<()> {
    let database = Cluster::shared()?.database(&Schema::load("1.12.1")?).await?;
    populate(&database, 9, 300, live::now()).await?;
    let rules = Rules { age: 3600, ..Rules::default() };
    let with_share = |share: &str| anyhow::Ok(Setup::new(database.url(), &rules)?.with("JANITOR__MAX_SHARE", share));
    let page = with_share("0.5")?.succeed(&["plan"]).await?.stdout;
    ensure!(page.contains("Note: run --execute refuses: policy \"default\""), "{page}");
    let page = with_share("1")?.succeed(&["plan"]).await?.stdout;
    ensure!(!page.contains("refuses"), "{page}");
    Ok(())
}

#[tokio::test]
async fn five_hundred_apps_are_twenty_lines_and_a_sum() -> anyhow::Result<()> {
    let database = Cluster::shared()?.database(&Schema::load("1.12.1")?).await?;
    populate(&database, 7, 100, live::now()).await?;
    let script =
        "INSERT INTO workflow_runs SELECT (jsonb_populate_record(t, jsonb_build_object('id', gen_random_uuid(), 'app_id', a.id))).*
                  FROM workflow_runs t, (SELECT gen_random_uuid() AS id FROM generate_series(1, 500)) a
                  WHERE t.id IN (SELECT id FROM workflow_runs WHERE type = 'workflow' LIMIT 3);
                  ANALYZE";
    database.execute(script).await?;
    let page = Setup::new(database.url(), &Rules::default())?.succeed(&["plan"]).await?.stdout;
    ensure!(page.lines().filter(|line| line.starts_with("(gone) ")).count() <= 20, "{page}");
    ensure!(page.contains(" more apps"), "{page}");
    Ok(())
}

#[tokio::test]
async fn a_policy_that_names_nothing_is_refused() -> anyhow::Result<()> {
    let database = Cluster::shared()?.database(&Schema::load("1.12.1")?).await?;
    populate(&database, 8, 50, live::now()).await?;
    for (key, value, expected) in [
        ("JANITOR__POLICIES__LEGAL__APPS", "Nowhere", "janitor.policies.legal.apps names \"Nowhere\""),
        ("JANITOR__POLICIES__LEGAL__TAGS", "leagl hold", "janitor.policies.legal.tags names \"leagl hold\""),
    ] {
        let setup = Setup::new(database.url(), &Rules::default())?.with(key, value).with("JANITOR__POLICIES__LEGAL__HOLD", "true");
        let finished = setup.run(&["plan"]).await?;
        let said = crate::setup::sentence(&finished)?;
        ensure!(finished.code == Some(64) && said.starts_with(expected), "{:?} {said}", finished.code);
    }
    Ok(())
}
