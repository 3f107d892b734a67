//! From the configuration to an engine that may begin: or why it may not.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use chrono::Utc;
use dify_observe_core::bootstrap::Context;
use dify_observe_core::dify::retention::health::server_health;
use dify_observe_core::dify::retention::{Ownership, survey};
use dify_observe_core::dify::schema::Schema;
use dify_observe_core::dify::session::Database;
use dify_observe_core::dify::time::Micros;
use dify_observe_core::exit::{Exit, WithExit};
use dify_observe_core::finding::{Finding, Level};
use dify_observe_core::settings::Settings;
use dify_observe_core::state_dir::StateDir;
use tracing::warn;
use uuid::Uuid;

use super::{NAME, connect};
use crate::archive::Archive;
use crate::budget::{Budget, Hours, UsedUp};
use crate::cli::RunArgs;
use crate::engine::{DueRows, Halt, Only, Parts};
use crate::guard::Guard;
use crate::lock::{self, Lock};
use crate::metrics::Metrics;
use crate::plan::{self, Plan};
use crate::policy::{Apps, Policies, check_names};
use crate::refuse;
use crate::report::Stop;

/// Names of sessions whose open transactions are locks, or are ours.
const SESSIONS: [&str; 4] = [NAME, lock::SESSION, "dify-exporter", "dify-shipper"];

/// Puts together what a run needs, in the order in which a mistake is cheapest to find.
pub(crate) async fn parts(context: Context, args: &RunArgs, state_dir: &StateDir, metrics: Metrics) -> Result<Parts, Halt> {
    let Context { settings, shutdown, .. } = context;
    let janitor = settings.janitor.clone();
    let budget = budget(&settings, args)?;
    let guard = Guard::new(&janitor).map_err(refused)?;
    let policies = Policies::new(&janitor);
    let database = connect(&settings, NAME)?;
    let schema = probe(&database, &settings).await?;
    refuse(&database, &schema, &settings).await?;
    let ownership = Ownership::resolve(&schema).map_err(|error| refused(WithExit::new(Exit::NotDify, error)))?;
    check_names(&database, &schema, &policies, settings.postgres.statement_timeout).await.map_err(refused)?;
    let plan = plan::make(&database, &settings, plan::Question::default()).await.map_err(refused)?;
    if let Some(halt) = refuse::shares(&plan, janitor.max_share).as_ref().and_then(refusal) {
        return Err(halt);
    }
    let only = only(&database, &policies, &settings, args).await?;
    let archive = Archive::open(&janitor.archive, state_dir.path())?;
    archive.prove_writable().await?;
    let lock = Lock::take(connect(&settings, lock::SESSION)?, &archive, state_dir).await?;
    Ok(Parts {
        now: clock(&database, &settings).await?,
        database,
        sessions: SESSIONS.map(str::to_owned).to_vec(),
        schema: Arc::new(schema),
        ownership: Arc::new(ownership),
        archive,
        policies,
        apps: Apps::default(),
        only,
        identity: settings.postgres.target().unwrap_or_default(),
        settings: janitor,
        budget,
        shutdown,
        guard,
        lock,
        metrics,
        due: due(&plan),
    })
}

/// What is due, as the plan's samples say.
fn due(plan: &Plan) -> BTreeMap<String, DueRows> {
    let rows = |table: &plan::TableFigures| DueRows { rows: table.go_rows, oldest: table.oldest };
    plan.tables.iter().map(|table| (table.table.clone(), rows(table))).collect()
}

fn refused(error: impl Into<anyhow::Error>) -> Halt {
    Halt::failure(Stop::Refused, error)
}

fn budget(settings: &Settings, args: &RunArgs) -> Result<Budget, Halt> {
    let janitor = &settings.janitor;
    let hours = janitor.window.map(|window| Hours { window, zone: janitor.zone() });
    let budget = Budget::new(args.time_budget.or(janitor.time_budget), hours, args.max_rows);
    match budget.used_up(std::time::Instant::now(), Utc::now(), 0) {
        Some(UsedUp::Window) => {
            let window = janitor.window.map(|window| window.to_string()).unwrap_or_default();
            let sentence = format!("it is not time yet: janitor.window is {window} ({})", janitor.time_zone);
            Err(Halt::failure(Stop::Window, anyhow::anyhow!(sentence)))
        }
        _ => Ok(budget),
    }
}

async fn probe(database: &Database, settings: &Settings) -> Result<Schema, Halt> {
    let mut tx = database.read(settings.postgres.statement_timeout).await?;
    let schema = Schema::probe(&mut tx).await?;
    tx.end().await?;
    Ok(schema)
}

/// The database's clock: ages count from it, because that is how Dify dates its rows.
async fn clock(database: &Database, settings: &Settings) -> Result<Micros, Halt> {
    let mut tx = database.read(settings.postgres.statement_timeout).await?;
    let now = server_health(&mut tx).await?.now;
    tx.end().await?;
    Ok(now)
}

async fn refuse(database: &Database, schema: &Schema, settings: &Settings) -> Result<(), Halt> {
    let findings = refuse::before_run(database, schema, settings, Micros::now()).await?;
    for finding in findings.findings.iter().filter(|finding| finding.level == Level::Warning) {
        warn!(subject = finding.subject, mend = finding.mend.as_deref(), "{}", finding.message);
    }
    findings.refusal().and_then(refusal).map_or(Ok(()), Err)
}

/// What refuses, as one sentence.
fn refusal(finding: &Finding) -> Option<Halt> {
    let mend = finding.mend.as_ref().map(|mend| format!("; run: {}", mend.replace('\n', " "))).unwrap_or_default();
    let exit = finding.exit?;
    Some(refused(WithExit::new(exit, anyhow::anyhow!("{}{mend}", finding.message))))
}

/// What the command line leaves out. A name that nothing bears would leave out everything, in silence.
async fn only(database: &Database, policies: &Policies, settings: &Settings, args: &RunArgs) -> Result<Only, Halt> {
    let wrong = |what: &str, name: &str| refused(WithExit::new(Exit::Usage, anyhow::anyhow!("{what} {name:?}")));
    if let Some(name) = args.policies.iter().find(|name| !policies.names().any(|known| **known == **name)) {
        return Err(wrong("--policy names no policy of [janitor.policies]:", name));
    }
    let mut apps = HashSet::new();
    for app in &args.apps {
        if let Ok(id) = Uuid::try_parse(app) {
            apps.insert(id);
            continue;
        }
        let mut tx = database.read(settings.postgres.statement_timeout).await?;
        let named = survey::apps_named(&mut tx, std::slice::from_ref(app)).await?;
        tx.end().await?;
        if named.is_empty() {
            return Err(wrong("--app names no app of this Dify:", app));
        }
        apps.extend(named);
    }
    Ok(Only { apps, policies: args.policies.iter().cloned().collect() })
}
