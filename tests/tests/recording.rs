//! What the recorder makes of rows that a real Dify wrote, with the names that the catalogue finds for them.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use dify_exporter::catalogue;
use dify_exporter::record::{self, Context, SideState};
use dify_exporter::store::{FamilyDef, Labels, Scheme, Totals};
use dify_observe_core::dify::catalog::{Catalog, Wanted};
use dify_observe_core::dify::follow::{Detail, Event, Fetch, Follower, Start, Step};
use dify_observe_core::dify::schema::Schema as Probed;
use dify_observe_core::dify::session::Database;
use dify_observe_core::dify::time::Micros;
use dify_observe_core::labels::LabelRules;
use dify_observe_core::settings::follow::FollowSettings;
use dify_observe_tests::Schema;
use dify_observe_tests::fixtures;
use dify_observe_tests::postgres::{Cluster, TestDatabase};
use sqlx::postgres::PgConnectOptions;
use uuid::Uuid;

const TIMEOUT: Duration = Duration::from_secs(20);

fn connect(database: &TestDatabase) -> anyhow::Result<Database> {
    Ok(Database::new(PgConnectOptions::from_str(database.url())?, TIMEOUT))
}

/// Everything in the database, recorded.
async fn recorded(database: &TestDatabase) -> anyhow::Result<Totals> {
    let settings = FollowSettings { settle: Duration::ZERO, interrupt_after: Duration::ZERO, ..FollowSettings::default() };
    let mut follower = Follower::new(connect(database)?, settings, TIMEOUT, Fetch { detail: Detail::Metrics, inputs: false });
    let (mut state, mut catalog, labels) = (None, Catalog::default(), LabelRules::default());
    let (mut totals, mut side) = (Totals::new(Scheme::default()), SideState::default());
    loop {
        let Step::Done { events, more, .. } = follower.step(&mut state, Start::Beginning, false).await? else {
            anyhow::bail!("a single server cannot be behind itself")
        };
        let mut tx = connect(database)?.read(TIMEOUT).await?;
        catalog.prepare(&mut tx, &events, follower.schema(), &labels).await?;
        tx.end().await?;
        let context = Context { catalog: &catalog, labels: &labels, streak_length: 3 };
        events.iter().for_each(|event: &Event| record::record(event, &context, &mut totals, &mut side));
        if !more {
            return Ok(totals);
        }
    }
}

/// Counters of a family over all apps, by the family's own labels.
fn sums(totals: &Totals, family: &'static FamilyDef) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for series in totals.exposed(family) {
        let values: Vec<&str> = series.label_values().collect();
        let app = dify_exporter::store::AppLabels { id: values[0].parse().unwrap_or(Uuid::nil()), name: Arc::from(values[1]) };
        let count = totals.counter(family, Labels::of_app(&app, values[2..].iter().copied()));
        *sums.entry(values[2..].join(" ")).or_default() += count;
    }
    sums.retain(|_, count| *count > 0);
    sums
}

fn words(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    pairs.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect()
}

async fn real(version: &str) -> anyhow::Result<(TestDatabase, Totals)> {
    let database = Cluster::shared()?.database(&Schema::load(version)?).await?;
    fixtures::load_real_rows(&database, version).await?;
    let totals = recorded(&database).await?;
    Ok((database, totals))
}

#[tokio::test]
async fn the_tokens_of_real_rows_are_those_of_nodes_and_messages_each_once() -> anyhow::Result<()> {
    for version in fixtures::REAL_VERSIONS {
        let (database, totals) = real(version).await?;
        let nodes = database
            .count(
                "SELECT COALESCE(sum((n.execution_metadata::jsonb->>'total_tokens')::bigint), 0)::bigint FROM workflow_node_executions n \
                 JOIN workflow_runs r ON r.id = n.workflow_run_id WHERE n.node_type NOT IN ('iteration', 'loop') \
                 AND (n.node_type <> 'tool' OR n.execution_metadata::jsonb->'tool_info'->>'provider_type' <> 'workflow')",
            )
            .await?;
        let messages = database
            .count("SELECT COALESCE(sum(message_tokens + answer_tokens), 0)::bigint FROM messages WHERE model_id IS NOT NULL")
            .await?;
        let by_type = sums(&totals, &catalogue::LLM_TOKENS);
        assert_eq!(by_type.values().sum::<u64>(), u64::try_from(nodes + messages)?, "{version}: {by_type:?}");
        let runs = sums(&totals, &catalogue::WORKFLOW_RUN_TOKENS).values().sum::<u64>();
        let stored = database.count("SELECT sum(total_tokens)::bigint FROM workflow_runs").await?;
        assert_eq!(runs, u64::try_from(stored)?, "{version}");
    }
    Ok(())
}

#[tokio::test]
async fn every_model_and_tool_of_real_rows_has_a_name() -> anyhow::Result<()> {
    let (_database, totals) = real("1.8.1").await?;
    for family in [&catalogue::LLM_REQUESTS, &catalogue::TOOL_CALLS] {
        let named = sums(&totals, family);
        let nameless: Vec<_> = named.keys().filter(|labels| labels.starts_with("unknown")).collect();
        assert!(!named.is_empty() && nameless.is_empty(), "{}: {named:?}", family.name);
    }
    let tools = sums(&totals, &catalogue::TOOL_CALLS);
    assert_eq!(tools["workflow c3953c93-0dc5-4d94-9c49-76d2b69d7b4c ask_shop failed"], 2, "{tools:?}");
    assert_eq!(tools["plugin demo/shop/shop broken_lookup failed"], 6, "three of nodes, three of agents: {tools:?}");
    assert!(tools.keys().any(|labels| labels.starts_with("dataset-retrieval ")), "{tools:?}");
    Ok(())
}

/// Counted by hand in the rows: see the facts about retries, branches and containers in docs/metrics-semantics.md.
#[tokio::test]
async fn the_failures_of_real_rows_have_one_cause_each() -> anyhow::Result<()> {
    let (database, totals) = real("1.8.1").await?;
    let failed = database.count("SELECT count(*) FROM workflow_runs WHERE status IN ('failed', 'stopped')").await?;
    let errors = sums(&totals, &catalogue::ERRORS);
    let of_runs: u64 = errors.iter().filter(|(labels, _)| labels.starts_with("run ")).map(|(_, count)| count).sum();
    assert_eq!(of_runs, u64::try_from(failed)?, "{errors:?}");
    assert_eq!(errors["run stopped"], 6);
    let messages = database.count("SELECT count(*) FROM messages WHERE status = 'error'").await?;
    let of_messages: u64 = errors.iter().filter(|(labels, _)| labels.starts_with("message ")).map(|(_, count)| count).sum();
    assert_eq!(of_messages, u64::try_from(messages)?);
    assert!(!errors.contains_key("node other") || errors["node other"] <= 2, "only the agents' \"Unknown error\" says nothing: {errors:?}");
    let nodes = sums(&totals, &catalogue::NODE_EXECUTIONS);
    // Six models were running when somebody stopped the run; one branch and one loop when another node failed.
    assert_eq!((nodes["llm aborted"], nodes["loop aborted"]), (7, 1), "{nodes:?}");
    assert_eq!(nodes["iteration failed"], 1);
    assert_eq!(sums(&totals, &catalogue::NODE_RETRIES), words(&[("llm", 7)]));
    Ok(())
}

#[tokio::test]
async fn every_answer_of_a_real_knowledge_base_is_a_hit_or_a_miss() -> anyhow::Result<()> {
    let (_database, totals) = real("1.8.1").await?;
    let retrievals = sums(&totals, &catalogue::RETRIEVALS);
    assert!(retrievals.keys().all(|labels| labels.ends_with(" hit") || labels.ends_with(" miss")));
    assert!(retrievals.keys().any(|labels| labels.ends_with(" hit")), "{retrievals:?}");
    Ok(())
}

#[tokio::test]
async fn the_catalogue_reads_every_schema() -> anyhow::Result<()> {
    let mut schemas = Schema::all()?;
    let seed = dify_observe_tests::seed("the_catalogue_reads_every_schema");
    schemas.push(schemas[seed as usize % schemas.len()].mutated(seed));
    for schema in schemas {
        let database = Cluster::shared()?.database(&schema).await?;
        let mut tx = connect(&database)?.read(TIMEOUT).await?;
        let probed = Probed::probe(&mut tx).await?;
        let id = Uuid::from_u128(7);
        let ids = || [id].into_iter().collect();
        let wanted = Wanted { apps: ids(), datasets: ids(), end_users: ids(), workflows: ids() };
        let mut catalog = Catalog::default();
        let read = catalog.read(&mut tx, &probed, &wanted, Micros(0)).await;
        read.map_err(|error| anyhow::anyhow!("{}: {error}", schema.describe()))?;
        catalog.refresh_all_apps(&mut tx, &probed, Micros(0)).await.map_err(|error| anyhow::anyhow!("{}: {error}", schema.describe()))?;
        tx.end().await?;
        assert!(catalog.app(id).is_deleted() && catalog.end_user(id).is_none());
    }
    Ok(())
}
