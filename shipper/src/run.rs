//! `dify-shipper run`: a pipeline for each sink, behind HTTP.

mod http;
mod lead;
mod watch;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use dify_observe_core::admin::{self, Listener, Readiness, Web};
use dify_observe_core::bootstrap::Context;
use dify_observe_core::dify::leader::Leadership;
use dify_observe_core::dify::session::Database;
use dify_observe_core::exit::{Exit, ResultExt as _};
use dify_observe_core::labels::LabelRules;
use dify_observe_core::redaction::Redactor;
use dify_observe_core::settings::{Settings, SinkSettings};
use dify_observe_core::shutdown::Shutdown;
use dify_observe_core::state_dir::StateDir;
use futures_util::future::join_all;
use tokio::sync::watch as channel;

use crate::board::Board;
use crate::cli::{PROGRAM, RunArgs};
use crate::metrics::Metrics;
use crate::pipeline::{Pipeline, Reads, Role, Shared};
use crate::sink::SinkError;

/// The shipper's folder below `state_dir`.
pub(crate) const STATE: &str = "shipper";

/// Runs until it is told to end, or until everything is shipped.
pub async fn run(context: Context, args: RunArgs) -> anyhow::Result<Exit> {
    let Context { settings, shutdown, .. } = context;
    let state = StateDir::open(&settings.state_dir, STATE)?;
    let leadership = Leadership::new(connect(&settings, "dify-shipper lock")?, &lock_name(&settings));
    let sinks = settings.shipper.sinks();
    let shared = Arc::new(share(settings, &sinks, state.path())?);
    let ended =
        if args.once { once(&shared, sinks, leadership, shutdown).await } else { serve(&shared, sinks, leadership, shutdown).await };
    shared.reads.database.close().await;
    ended
}

/// One leader for each namespace of a database.
pub(crate) fn lock_name(settings: &Settings) -> String {
    format!("{}/{}", PROGRAM.name, settings.shipper.namespace)
}

/// A pool of its own for each purpose: reading, and the leader's lock.
pub(crate) fn connect(settings: &Settings, application: &str) -> anyhow::Result<Database> {
    let options = settings.postgres.connect_options()?.application_name(application);
    Ok(Database::new(options, settings.postgres.connect_timeout))
}

/// What all pipelines share.
pub(crate) fn share(settings: Settings, sinks: &BTreeMap<String, SinkSettings>, state: &Path) -> anyhow::Result<Shared> {
    let labels = LabelRules::from_settings(&settings.labels).context("failed to read [labels]")?;
    let redactor = Redactor::new(&settings.redaction).or_exit(Exit::Configuration)?;
    Ok(Shared {
        labels: Arc::new(labels),
        redactor: Arc::new(redactor),
        reads: Reads::new(connect(&settings, PROGRAM.name)?),
        board: Arc::new(Board::new(sinks.keys())),
        metrics: Arc::new(Metrics::new()),
        state: state.to_owned(),
        sinks: sinks.len(),
        settings,
    })
}

fn pipelines(shared: &Arc<Shared>, sinks: BTreeMap<String, SinkSettings>) -> impl Iterator<Item = Pipeline> {
    let shared = shared.clone();
    sinks.into_iter().map(move |(name, settings)| Pipeline { name, settings, shared: shared.clone() })
}

async fn serve(
    shared: &Arc<Shared>,
    sinks: BTreeMap<String, SinkSettings>,
    leadership: Leadership,
    shutdown: Shutdown,
) -> anyhow::Result<Exit> {
    let settings = &shared.settings.shipper;
    let web = Web::load(settings.web_config_file.as_deref())?;
    let listener = Listener::bind(&settings.listen)?;
    let (tell, role) = channel::channel(Role::Unknown);
    let lead = tokio::spawn(lead::hold(leadership, tell, shared.clone(), shutdown.clone()));
    let working: Vec<_> = pipelines(shared, sinks).map(|pipeline| tokio::spawn(pipeline.run(role.clone(), shutdown.clone()))).collect();
    let readiness = Readiness::new();
    let watching = tokio::spawn(watch::watch(watch::Ready::new(&readiness), shared.clone(), role.clone()));
    let router = admin::router(readiness, watch::landing(shared, role), http::routes(shared.clone()));
    admin::serve(listener, router, web, shutdown).await?;
    for pipeline in working {
        // One that panicked has said so.
        let _ended = pipeline.await;
    }
    watching.abort();
    lead.abort();
    Ok(Exit::Done)
}

async fn once(
    shared: &Arc<Shared>,
    sinks: BTreeMap<String, SinkSettings>,
    mut leadership: Leadership,
    shutdown: Shutdown,
) -> anyhow::Result<Exit> {
    if !leadership.hold().await? {
        let message = "another dify-shipper ships from this database into this namespace: end it, or leave the work to it";
        return Err(anyhow::anyhow!(message)).or_exit(Exit::TryLater);
    }
    let (tell, _role) = channel::channel(Role::Leader);
    let lead = tokio::spawn(lead::hold(leadership, tell, shared.clone(), shutdown.clone()));
    // A sink that cannot go on stops no other.
    let ended = join_all(pipelines(shared, sinks).map(|pipeline| {
        let shutdown = shutdown.clone();
        async move {
            let name = pipeline.name.clone();
            pipeline.once(shutdown).await.map_err(|failure| of_sink(&name, &failure))
        }
    }))
    .await;
    lead.abort();
    ended.into_iter().collect::<anyhow::Result<()>>()?;
    if shutdown.is_finishing() {
        return Err(anyhow::anyhow!("stopped before everything was shipped: the rest is shipped by the next run")).or_exit(Exit::TryLater);
    }
    Ok(Exit::Done)
}

/// A failure with the name of its sink and the exit it asks for.
pub(crate) fn of_sink(name: &str, failure: &SinkError) -> anyhow::Error {
    let exit = failure.exit;
    dify_observe_core::exit::WithExit::new(exit, anyhow::anyhow!("sink {name}: {}", failure.problem)).into()
}
