//! `dify-exporter serve`: the engine behind HTTP.

mod http;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use dify_observe_core::admin::{self, Condition, Landing, Listener, Readiness, Web};
use dify_observe_core::bootstrap;
use dify_observe_core::dify::follow::{Detail, Fetch, Follower};
use dify_observe_core::dify::leader::Leadership;
use dify_observe_core::dify::session::Database;
use dify_observe_core::exit::Exit;
use dify_observe_core::labels::LabelRules;
use dify_observe_core::settings::Settings;
use dify_observe_core::shutdown::Shutdown;
use dify_observe_core::state_dir::StateDir;
use tokio::sync::Mutex;
use tracing::warn;

use crate::collectors::Collectors;
use crate::engine::{Engine, Parts};

/// The program's name: in logs, in `pg_stat_activity`, and of its folder below `state_dir`.
const NAME: &str = "dify-exporter";

/// Runs until it is told to end.
pub async fn run(context: bootstrap::Context) -> anyhow::Result<Exit> {
    let bootstrap::Context { settings, shutdown, .. } = context;
    let labels = LabelRules::from_settings(&settings.labels).context("failed to read [labels]")?;
    let web = Web::load(settings.exporter.web_config_file.as_deref())?;
    let state_dir = StateDir::open(&settings.state_dir, NAME)?;
    let listener = Listener::bind(&settings.exporter.listen)?;
    let database = connect(&settings)?;
    let fetch = Fetch { detail: Detail::Metrics, inputs: labels.needs_inputs() };
    let follower = Follower::new(database.clone(), settings.follow.clone(), settings.postgres.statement_timeout, fetch);
    let leadership = Leadership::new(connect(&settings)?, NAME);
    let parts =
        Parts { follower, database: database.clone(), leadership, state_file: state_dir.file("state"), settings: settings.clone(), labels };
    let engine = Engine::open(parts)?;
    let collectors = Collectors::new(database.clone(), &settings, engine.scheme().clone());
    let engine = Arc::new(Mutex::new(engine));

    let readiness = Readiness::new();
    let ready = Ready { database: readiness.condition("database"), state: readiness.condition("state") };
    let watch = tokio::spawn(watch(engine.clone(), ready, shutdown.clone()));
    let slow = tokio::spawn(collect_slowly(engine.clone(), collectors, shutdown.clone()));
    let landing =
        Landing::new(NAME, env!("CARGO_PKG_VERSION"), "Prometheus metrics of a self-hosted Dify, counted from its execution records")
            .link("/metrics", "the metrics")
            .link("/position", "up to where records are counted, for tools that prune");
    let router = admin::router(readiness, landing, http::routes(engine));
    admin::serve(listener, router, web, shutdown).await?;
    watch.abort();
    slow.abort();
    database.close().await;
    Ok(Exit::Done)
}

fn connect(settings: &Settings) -> anyhow::Result<Database> {
    let options = settings.postgres.connect_options()?.application_name(NAME);
    Ok(Database::new(options, settings.postgres.connect_timeout))
}

/// Conditions of `/readyz`.
#[derive(Debug)]
struct Ready {
    database: Condition,
    state: Condition,
}

impl Ready {
    async fn tell(&self, engine: &Mutex<Engine>) {
        let health = engine.lock().await.health().clone();
        match (health.up, health.problem) {
            (true, _) => self.database.ready(),
            (false, problem) => self.database.not_ready(problem.unwrap_or_else(|| "not reached yet".to_owned())),
        }
        if health.state_writable {
            self.state.ready();
        } else {
            self.state.not_ready("the state cannot be written: the numbers stand still");
        }
    }
}

/// Makes the first state, and looks after readiness.
async fn watch(engine: Arc<Mutex<Engine>>, ready: Ready, shutdown: Shutdown) {
    loop {
        engine.lock().await.begin().await;
        ready.tell(&engine).await;
        if !shutdown.sleep(Duration::from_millis(500)).await {
            return;
        }
    }
}

/// Gives the slow collectors their turns, out of the way of scrapes.
async fn collect_slowly(engine: Arc<Mutex<Engine>>, mut collectors: Collectors, shutdown: Shutdown) {
    loop {
        let completed = engine.lock().await.completed_documents();
        if let Some(completed) = completed.filter(|_| collectors.next_due().is_zero()) {
            match collectors.round(&completed).await {
                Ok(findings) => engine.lock().await.absorb(findings).await,
                Err(error) => warn!(kind = error.kind(), reason = %error, "slow collectors could not read the database"),
            }
        }
        if !shutdown.sleep(collectors.next_due().clamp(Duration::from_millis(500), Duration::from_secs(2))).await {
            return;
        }
    }
}
