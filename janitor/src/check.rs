//! `dify-janitor check`: configuration, database, rights, archive and guards from the operator's chair.
//!
//! Says what `run --execute` would say before its first row, and how rows will be found. Writes nothing to the database; in the archive it
//! writes one small object and removes it.

mod access;
mod outside;
mod plans;

use std::io::Write as _;

use dify_observe_core::bootstrap::Context;
use dify_observe_core::dify::retention::Ownership;
use dify_observe_core::dify::schema::Schema;
use dify_observe_core::dify::session::{Database, DatabaseError};
use dify_observe_core::dify::statistics::{ServerDiagnosis, describe_release, server_diagnosis};
use dify_observe_core::dify::time::Micros;
use dify_observe_core::exit::{Exit, ResultExt as _};
use dify_observe_core::finding::{Finding, Level, Report};
use dify_observe_core::settings::Settings;

use crate::cli::{CheckArgs, TextFormat};
use crate::{plan, refuse};
pub(crate) use access::{SMALL, members};

/// Looks, prints, and ends with what `run --execute` would end with before its first row.
pub async fn run(context: Context, args: CheckArgs) -> anyhow::Result<Exit> {
    let settings = &context.settings;
    let options = settings.postgres.connect_options()?.application_name("dify-janitor check");
    let database = Database::new(options, settings.postgres.connect_timeout);
    let mut report = Report::default();
    plans::look(settings, &mut report);
    inspect(&database, settings, Micros::now(), &mut report).await.or_exit(Exit::Unavailable)?;
    outside::look(settings, &mut report).await;
    let mut out = std::io::stdout().lock();
    match args.format {
        TextFormat::Text => report.print(&mut out)?,
        TextFormat::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
    }
    Ok(report.exit())
}

/// Looks at the database. Fails only when it cannot be asked at all.
pub async fn inspect(database: &Database, settings: &Settings, now: Micros, report: &mut Report) -> Result<(), DatabaseError> {
    let mut tx = database.read(settings.postgres.statement_timeout).await?;
    let server = server_diagnosis(&mut tx).await?;
    let schema = Schema::probe(&mut tx).await?;
    tx.end().await?;
    describe(&server, &schema, report);
    let before_run = refuse::before_run(database, &schema, settings, now).await?;
    let clean = before_run.findings.iter().all(|finding| finding.level < Level::Warning);
    report.not_dify |= before_run.not_dify;
    report.findings.extend(before_run.findings);
    if let Ok(ownership) = Ownership::resolve(&schema) {
        if clean {
            let message = "the role has every right, every table is understood, and no other cleaner is seen";
            report.add(Finding::new(Level::Ok, "rights", message));
        }
        access::look(&ownership, &schema, report);
        match plan::make(database, settings, plan::Question::default()).await {
            Ok(plan) => report.findings.extend(refuse::shares(&plan, settings.janitor.max_share)),
            Err(error) => report.add(Finding::refusal(Exit::of(&error), "policies", format!("{error:#}"))),
        }
    }
    Ok(())
}

fn describe(server: &ServerDiagnosis, schema: &Schema, report: &mut Report) {
    let place = if server.standby { "a standby" } else { "the primary" };
    let message = format!("PostgreSQL {}, {place}, database {}, role {}", server.version, server.database, server.role);
    report.add(Finding::new(Level::Ok, "server", message));
    if server.superuser {
        let message = "the role is a superuser; one that can only do what is needed: deploy/postgres/janitor-role.sql makes it";
        report.add(Finding::new(Level::Warning, "server", message));
    }
    report.add(Finding::new(Level::Ok, "Dify", describe_release(schema)));
}
