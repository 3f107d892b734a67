//! The server, the role, which Dify this is, and the ways to new rows.

use dify_observe_core::dify::ddl::create_index;
use dify_observe_core::dify::leader::Leadership;
use dify_observe_core::dify::schema::Schema;
use dify_observe_core::dify::session::DatabaseError;
use dify_observe_core::dify::statistics::{ServerDiagnosis, Subject, describe_release, server_diagnosis};
use dify_observe_core::exit::Exit;
use dify_observe_core::finding::{Finding, Level, Report};

use super::rights;
use crate::pipeline::Shared;
use crate::run;

pub(super) async fn look(shared: &Shared, report: &mut Report) {
    let (server, schema) = match probe(shared).await {
        Ok(found) => found,
        Err(error) => {
            let exit = if error.is_transient() { Exit::Unavailable } else { Exit::NotDify };
            return report.add(Finding::refusal(exit, "server", error.to_string()));
        }
    };
    describe(&server, report);
    report.add(Finding::new(Level::Ok, "Dify", describe_release(&schema)));
    if let Err(error) = schema.require_dify() {
        return report.not_dify(error.to_string(), rights::mend_all(&schema, &server.role));
    }
    access(&schema, report);
    rights::look(&schema, &server.role, report);
    feedback(&schema, shared.settings.shipper.slow_max_rows, &server.role, report);
    leader(shared, report).await;
}

async fn probe(shared: &Shared) -> Result<(ServerDiagnosis, Schema), DatabaseError> {
    let mut tx = shared.reads.database.read(shared.settings.postgres.statement_timeout).await?;
    let server = server_diagnosis(&mut tx).await?;
    let schema = Schema::probe(&mut tx).await?;
    tx.end().await?;
    Ok((server, schema))
}

fn describe(server: &ServerDiagnosis, report: &mut Report) {
    let place = if server.standby { "a standby" } else { "the primary" };
    let message = format!("PostgreSQL {}, {place}, database {}, role {}", server.version, server.database, server.role);
    report.add(Finding::new(Level::Ok, "server", message));
    if let Some(age) = server.replay_age {
        let message = format!("the standby replayed its last transaction {age:.0} s ago; shipping lags by as much as it lags");
        report.add(Finding::new(Level::Note, "server", message));
    }
    if server.superuser {
        let message = "the role is a superuser; a role that can only read is enough: deploy/postgres/shipper-role.sql makes it";
        report.add(Finding::new(Level::Warning, "server", message));
    }
}

/// The prefix that leads to a run's nodes in Dify before 1.12.
const RUN_PREFIX: [&str; 5] = ["tenant_id", "app_id", "workflow_id", "triggered_from", "workflow_run_id"];

fn access(schema: &Schema, report: &mut Report) {
    for (table, what) in [("workflow_runs", "runs"), ("messages", "messages")] {
        report.add(match schema.index_on(table, &["created_at"]) {
            Some(index) => Finding::new(Level::Ok, "access", format!("{what} are found by time through {}", index.name)),
            None => {
                let message =
                    format!("{what} have no index on their time: the table is read in passes, and new ones are seen when one comes by");
                Finding::new(Level::Warning, "access", message).mended_by(create_index(table, &["created_at", "id"]))
            }
        });
    }
    let nodes = "workflow_node_executions";
    let index = schema.index_on(nodes, &["workflow_run_id"]).or_else(|| schema.index_on(nodes, &RUN_PREFIX));
    report.add(match index {
        Some(index) => Finding::new(Level::Ok, "access", format!("node executions are found by run through {}", index.name)),
        None => {
            let message = "no index leads from a run to its node executions: every run that ends reads the whole table";
            Finding::new(Level::Warning, "access", message).mended_by(create_index(nodes, &["workflow_run_id"]))
        }
    });
    if schema.has_table("message_agent_thoughts") && schema.index_on("message_agent_thoughts", &["message_id"]).is_none() {
        let message = "no index leads from a message to its agent thoughts: tool calls of agent apps are not shipped";
        let mend = create_index("message_agent_thoughts", &["message_id"]);
        report.add(Finding::new(Level::Warning, "access", message).mended_by(mend));
    }
}

fn feedback(schema: &Schema, max_rows: u64, role: &str, report: &mut Report) {
    report.add(match Subject::Feedbacks.gate(schema, max_rows) {
        Ok(()) => Finding::new(Level::Ok, "feedback", "feedback is followed, with its changes"),
        Err(off) => {
            let mend = off.mend(role).map(|mend| mend.replace("exporter.", "shipper."));
            let reason = off.to_string().replace("exporter.", "shipper.");
            Finding::new(Level::Warning, "feedback", format!("feedback is not shipped: {reason}")).mended_by(mend)
        }
    });
}

/// Whether another instance ships. The lock is let go again at once.
async fn leader(shared: &Shared, report: &mut Report) {
    let Ok(database) = run::connect(&shared.settings, "dify-shipper check") else { return };
    let mut leadership = Leadership::new(database.clone(), &run::lock_name(&shared.settings));
    let message = match leadership.hold().await {
        Ok(true) => "no other instance ships from this database into this namespace".to_owned(),
        Ok(false) => "another instance ships from this database into this namespace: `run` would stand by".to_owned(),
        Err(error) => format!("whether another instance ships could not be looked at: {error}"),
    };
    drop(leadership);
    database.close().await;
    report.add(Finding::new(Level::Ok, "leader", message));
}
