//! `dify-exporter check`: configuration and database from the operator's chair.
//!
//! Everything that could make a family missing or dear is looked at, said in one sentence, and where a statement or a
//! setting would mend it, that is printed ready to be copied. Nothing is written.

mod access;
mod cost;
mod grants;
mod records;
mod server;

use std::io::Write as _;

use dify_observe_core::bootstrap::Context;
use dify_observe_core::dify::schema::Schema;
use dify_observe_core::dify::session::{Database, DatabaseError, ReadTx};
use dify_observe_core::dify::statistics::{Off, Subject, server_diagnosis};
use dify_observe_core::exit::{Exit, ResultExt as _};
use dify_observe_core::finding::{Finding, Level, Report};
use dify_observe_core::settings::Settings;

use crate::cli::{CheckArgs, TextFormat};

/// Looks, prints, and ends with what `serve` would end with.
pub async fn run(context: Context, args: CheckArgs) -> anyhow::Result<Exit> {
    let settings = &context.settings;
    let options = settings.postgres.connect_options()?.application_name("dify-exporter check");
    let database = Database::new(options, settings.postgres.connect_timeout);
    let report = inspect(&database, settings).await.or_exit(Exit::Unavailable)?;
    let mut out = std::io::stdout().lock();
    match args.format {
        TextFormat::Text => report.print(&mut out)?,
        TextFormat::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
    }
    Ok(report.exit())
}

/// Looks at everything. Fails only when the database cannot be asked at all.
pub async fn inspect(database: &Database, settings: &Settings) -> Result<Report, DatabaseError> {
    let timeout = settings.postgres.statement_timeout;
    let mut report = Report::default();
    let mut tx = database.read(timeout).await?;
    let server = server_diagnosis(&mut tx).await?;
    let schema = Schema::probe(&mut tx).await?;
    tx.end().await?;
    server::look(&server, &mut report);
    server::dify(&schema, &mut report);
    if let Err(error) = schema.require_dify() {
        report.not_dify(error.to_string(), grants::mend_all(&schema, &server.role));
        return Ok(report);
    }
    access::look(&schema, settings, &mut report);
    grants::look(&schema, settings, &server.role, &mut report);
    slow_families(&schema, settings, &server.role, &mut report);
    // Each of the rest reads rows: one that is denied or too slow costs its own lines only.
    let mut tx = database.read(timeout).await?;
    let read = records::single_steps(&mut tx, &schema, &mut report).await;
    attempt("single-step node executions", read, tx, &mut report);
    let mut tx = database.read(timeout).await?;
    let read = records::logstore(&mut tx, &schema, server.now, &mut report).await;
    attempt("whether runs are stored here", read, tx, &mut report);
    let mut tx = database.read(timeout).await?;
    let read = cost::look(&mut tx, &schema, settings, server.now, &mut report).await;
    attempt("the cost of a scrape", read, tx, &mut report);
    Ok(report)
}

fn attempt(what: &str, read: Result<(), DatabaseError>, tx: ReadTx, report: &mut Report) {
    if let Err(error) = read {
        report.add(Finding::new(Level::Note, "records", format!("{what} could not be looked at: {error}")));
    }
    // The connection is closed right after; how the transaction ends is all the same.
    drop(tx);
}

/// Families of the slow collectors that are off, and why.
fn slow_families(schema: &Schema, settings: &Settings, role: &str, report: &mut Report) {
    let mut on = Vec::new();
    for subject in Subject::ALL {
        match subject.gate(schema, settings.exporter.slow_max_rows) {
            Ok(()) => on.push(subject.as_str()),
            Err(off) => {
                let level = if matches!(off, Off::Missing { .. }) { Level::Note } else { Level::Warning };
                let mend = off.mend(role);
                report.add(Finding::new(level, "slow families", format!("{subject} are off: {off}")).mended_by(mend));
            }
        }
    }
    report.add(Finding::new(Level::Ok, "slow families", format!("on: {}", on.join(", "))));
}
