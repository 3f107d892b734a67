//! `dify-shipper check`: configuration, database and sinks from the operator's chair.
//!
//! Whatever would make a document poorer, late or impossible is said in one sentence, and where a statement or a setting mends it, that is
//! printed ready to be copied. Nothing is written.

mod configuration;
mod database;
mod places;
mod rights;

use std::io::Write as _;

use dify_observe_core::bootstrap::Context;
use dify_observe_core::exit::Exit;
use dify_observe_core::finding::Report;

use crate::cli::{CheckArgs, TextFormat};
use crate::run;

/// Looks, prints, and ends with what `run` would end with.
pub async fn run(context: Context, args: CheckArgs) -> anyhow::Result<Exit> {
    let settings = context.settings;
    let sinks = settings.shipper.sinks();
    let state = settings.state_dir.join(run::STATE);
    let shared = run::share(settings, &sinks, &state)?;
    let mut report = Report::default();
    configuration::look(&shared.settings, &sinks, &mut report);
    database::look(&shared, &mut report).await;
    places::look(&shared, &sinks, &mut report).await;
    shared.reads.database.close().await;
    let mut out = std::io::stdout().lock();
    match args.format {
        TextFormat::Text => report.print(&mut out)?,
        TextFormat::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
    }
    Ok(report.exit())
}
