//! What must be so before anything is deleted. Each thing that is not so is one sentence, an exit code, and where there is one, the
//! statement that mends it.
//!
//! `run --execute` asks before it begins, and `check` says the same without running.

pub mod cleaners;
mod dependents;
mod rights;
mod server;
mod shape;
mod share;
mod space;

use dify_observe_core::dify::retention::Ownership;
use dify_observe_core::dify::schema::Schema;
use dify_observe_core::dify::session::{Database, DatabaseError};
use dify_observe_core::dify::time::Micros;
use dify_observe_core::finding::Report;
use dify_observe_core::settings::Settings;

pub use rights::mend as mend_rights;
pub use share::shares;

/// Looks at everything that can be known before the first row is read. The first finding that refuses ([`Report::refusal`]) is what the
/// run ends with; warnings are for the log. Reads only, in a few short statements.
///
/// `now` is this machine's clock.
pub async fn before_run(database: &Database, schema: &Schema, settings: &Settings, now: Micros) -> Result<Report, DatabaseError> {
    let mut report = Report::default();
    let Some(ownership) = shape::look(database, schema, settings, &mut report).await? else { return Ok(report) };
    let tables = tables(&ownership);
    let mut tx = database.read(settings.postgres.statement_timeout).await?;
    let role = server::look(&mut tx, now, &mut report).await?;
    rights::look(&mut tx, schema, &tables, &role, &mut report).await?;
    dependents::look(&mut tx, &tables, &mut report).await?;
    cleaners::look(&mut tx, schema, std::env::vars(), &mut report).await?;
    tx.end().await?;
    space::look(&settings.janitor.archive.url, &mut report);
    Ok(report)
}

/// The tables from which rows are deleted, each once.
pub fn tables(ownership: &Ownership) -> Vec<String> {
    let mut tables: Vec<String> = ownership.run.iter().chain(&ownership.conversation).map(|member| member.shape.table.clone()).collect();
    tables.sort();
    tables.dedup();
    tables
}
