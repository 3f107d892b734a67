//! Whether this is a Dify of which every table is understood.

use dify_observe_core::dify::retention::Ownership;
use dify_observe_core::dify::retention::health::has_rows;
use dify_observe_core::dify::schema::Schema;
use dify_observe_core::dify::session::{Database, DatabaseError};
use dify_observe_core::exit::Exit;
use dify_observe_core::finding::{Finding, Level, Report};
use dify_observe_core::settings::Settings;

/// Which rows hang on which, where that is understood. A table that is not known and names runs, messages, conversations or nodes is
/// harmless as long as it is empty: deleting its parents would leave orphans there, or break what needs them.
pub(super) async fn look(
    database: &Database,
    schema: &Schema,
    settings: &Settings,
    report: &mut Report,
) -> Result<Option<Ownership>, DatabaseError> {
    if let Err(error) = schema.require_dify() {
        let mend = super::rights::mend(database, settings, schema).await?;
        report.not_dify(error.to_string(), mend);
        return Ok(None);
    }
    let ownership = match Ownership::resolve(schema) {
        Ok(ownership) => ownership,
        Err(error) => {
            let mend = super::rights::mend(database, settings, schema).await?;
            report.add(Finding::refusal(Exit::NotDify, "shape", error.to_string()).mended_by(mend));
            return Ok(None);
        }
    };
    for reference in &ownership.unknown {
        let mut tx = database.read(settings.postgres.statement_timeout).await?;
        let finding = match has_rows(&mut tx, &reference.table, &reference.column).await {
            Ok(Some(false)) => {
                let message = format!("table {} is not known here, and empty: nothing is lost", reference.table);
                Some(Finding::new(Level::Note, "shape", message))
            }
            Ok(Some(true)) => Some(unknown(&reference.table, &reference.column, "and holds rows")),
            Ok(None) => Some(unknown(&reference.table, &reference.column, "and this role may not see whether it holds rows")),
            Err(DatabaseError::Timeout) => {
                Some(unknown(&reference.table, &reference.column, "and is too large to see whether it holds rows"))
            }
            Err(error) => return Err(error),
        };
        report.findings.extend(finding);
        // Reading is over; how the transaction ends is all the same.
        drop(tx);
    }
    Ok(Some(ownership))
}

fn unknown(table: &str, column: &str, state: &str) -> Finding {
    let message = format!(
        "table {table} names what is deleted (its column {column}), is not known to this version of dify-janitor, {state}: deleting could \
         leave its rows without what they hang on. A newer dify-janitor may know it; otherwise please report the table"
    );
    Finding::refusal(Exit::NotDify, "shape", message)
}
