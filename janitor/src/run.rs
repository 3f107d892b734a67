//! `dify-janitor run`: everything around a run of the engine.

pub(crate) mod prepare;

use std::io::Write as _;

use anyhow::Context as _;
use dify_observe_core::bootstrap::Context;
use dify_observe_core::dify::session::Database;
use dify_observe_core::dify::time::Micros;
use dify_observe_core::exit::{Exit, WithExit};
use dify_observe_core::settings::Settings;
use dify_observe_core::state_dir::StateDir;
use tracing::{info, warn};

use crate::cli::{PlanArgs, RunArgs, TableFormat, TextFormat};
use crate::engine::{Ended, Engine, Halt};
use crate::metrics::{self, Metrics};
use crate::report::{Report, Stop, write_text};
use crate::{plan, push};

/// The program's name: in logs, in `pg_stat_activity`, and of its folder below `state_dir`.
pub const NAME: &str = "dify-janitor";

/// Archives, verifies and deletes, or without `--execute` says what would go.
pub async fn run(context: Context, args: RunArgs) -> anyhow::Result<Exit> {
    if !args.execute {
        let format = match args.format {
            TextFormat::Text => TableFormat::Table,
            TextFormat::Json => TableFormat::Json,
        };
        return plan::run(context, PlanArgs { exact: false, apps: args.apps, format }).await;
    }
    let settings = context.settings.janitor.clone();
    let state_dir = StateDir::open(&context.settings.state_dir, NAME)?;
    let path = state_dir.file(metrics::FILE);
    let ended = match prepare::parts(context, &args, &state_dir, Metrics::load(&path)).await {
        Ok(parts) => Engine::new(parts).run().await,
        Err(halt) => not_begun(halt, Metrics::load(&path)),
    };
    if let Err(error) = ended.metrics.save(&path) {
        warn!(reason = %error, "the counters could not be kept for the next run");
    }
    for error in push::publish(&settings, &ended.metrics.render()).await {
        warn!(reason = %error, "metrics were not delivered");
    }
    tell(ended, args.format)
}

/// A run that ended before its first step.
fn not_begun(halt: Halt, mut metrics: Metrics) -> Ended {
    let mut report = Report::new(Micros::now());
    report.outcome = halt.stop;
    report.remaining.more = true;
    metrics.add(&report, [], Micros::now());
    Ended { report, error: halt.error, metrics }
}

/// A pool of connections that introduce themselves as `name`.
pub(crate) fn connect(settings: &Settings, name: &str) -> Result<Database, Halt> {
    let options = settings.postgres.connect_options().map_err(|error| Halt::failure(Stop::Refused, error))?.application_name(name);
    Ok(Database::new(options, settings.postgres.connect_timeout))
}

/// Prints the report, and ends as it asks for.
fn tell(ended: Ended, format: TextFormat) -> anyhow::Result<Exit> {
    let Ended { mut report, error, .. } = ended;
    report.problem = error.as_ref().map(|error| format!("{error:#}"));
    info!(
        outcome = report.outcome.as_str(),
        rows.deleted = report.rows_deleted(),
        duration_ms = u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX),
        "the run is over"
    );
    let mut out = std::io::stdout().lock();
    match format {
        TextFormat::Text => write_text(&report, &mut out)?,
        TextFormat::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
    }
    out.flush().context("failed to print the report")?;
    match (error, report.outcome) {
        // Somebody has to look at these, whatever was deleted before.
        (Some(error), Stop::Database | Stop::Archive | Stop::Refused | Stop::Failed) => Err(error),
        (Some(error), _) if report.exit() != Exit::Done => Err(WithExit::new(report.exit(), error).into()),
        _ => Ok(report.exit()),
    }
}
