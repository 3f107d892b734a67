//! Whether the role may read, delete and put back.

use dify_observe_core::dify::retention::health::{missing_reads, missing_rights, table_health};
use dify_observe_core::dify::retention::ownership::known_tables;
use dify_observe_core::dify::retention::pressure::{may_use_temporary_tables, rights};
use dify_observe_core::dify::schema::Schema;
use dify_observe_core::dify::session::{Database, DatabaseError, ReadTx};
use dify_observe_core::exit::Exit;
use dify_observe_core::finding::{Finding, Level, Report};
use dify_observe_core::settings::Settings;

pub(super) async fn look(
    tx: &mut ReadTx,
    schema: &Schema,
    tables: &[String],
    role: &str,
    report: &mut Report,
) -> Result<(), DatabaseError> {
    let rights = rights(tx, tables).await?;
    let mut missing = missing_rights(&rights, role, true);
    missing.extend(missing_reads(schema, role));
    if !missing.is_empty() {
        let only_plan = rights.iter().all(|table| !table.delete);
        let message = if only_plan {
            format!("role {role} may read but not delete: plan, advise and check work; for run --execute, {SCRIPT}, or")
        } else {
            format!("role {role} lacks rights that run --execute needs: {SCRIPT}, or")
        };
        report.add(Finding::refusal(Exit::NotDify, "rights", message).mended_by(missing.join("\n")));
    }
    if !may_use_temporary_tables(tx).await? {
        let message = format!("role {role} may not make temporary tables: values over 8 MiB could not be restored");
        report.add(Finding::new(Level::Warning, "rights", message));
    }
    for table in table_health(tx, tables).await?.iter().filter(|table| table.row_security) {
        let message = format!(
            "row-level security of table {} can hide rows from role {role}: what is not seen would be left behind without its parent; give \
             the role BYPASSRLS, or a policy that shows everything",
            table.name
        );
        report.add(Finding::refusal(Exit::NotDify, "rights", message));
    }
    Ok(())
}

const SCRIPT: &str = "run deploy/postgres/janitor-role.sql with -v execute=1";

/// What a role that cannot even read lacks for planning, as statements; `None` when rights are not what is missing.
pub async fn mend(database: &Database, settings: &Settings, schema: &Schema) -> Result<Option<String>, DatabaseError> {
    let present: Vec<String> = known_tables().filter(|table| schema.has_table(table)).map(str::to_owned).collect();
    let mut tx = database.read(settings.postgres.statement_timeout).await?;
    let role = dify_observe_core::dify::retention::health::server_health(&mut tx).await?.role;
    let mut missing = missing_rights(&rights(&mut tx, &present).await?, &role, false);
    missing.extend(missing_reads(schema, &role));
    tx.end().await?;
    Ok((!missing.is_empty()).then(|| missing.join("\n")))
}
