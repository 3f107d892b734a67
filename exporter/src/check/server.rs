//! The server, the role, and which Dify this is.

use dify_observe_core::dify::ddl::quoted;
use dify_observe_core::dify::schema::Schema;
use dify_observe_core::dify::statistics::{ServerDiagnosis, describe_release};
use dify_observe_core::finding::{Finding, Level, Report};

/// PostgreSQL 14 and newer can read a range of blocks; what is older is slow where no index serves the time of runs.
const TID_RANGES_SINCE: i32 = 140_000;

pub(super) fn look(server: &ServerDiagnosis, report: &mut Report) {
    let place = if server.standby { "a standby" } else { "the primary" };
    let message = format!("PostgreSQL {}, {place}, database {}, role {}", server.version, server.database, server.role);
    report.add(Finding::new(Level::Ok, "server", message));
    if let Some(age) = server.replay_age {
        let message = format!("the standby replayed its last transaction {age:.0} s ago; metrics lag by as much as it lags");
        report.add(Finding::new(Level::Note, "server", message));
    }
    if server.superuser {
        let message = "the role is a superuser; a role that can only read is enough: deploy/postgres/exporter-role.sql makes it";
        report.add(Finding::new(Level::Warning, "server", message));
    }
    if !server.sees_all {
        let mend = format!("GRANT pg_read_all_stats TO {};", quoted(&server.role));
        let message = "the role does not see other sessions: longest transaction and idle in transaction are missing";
        report.add(Finding::new(Level::Note, "server", message).mended_by(mend));
    }
}

pub(super) fn dify(schema: &Schema, report: &mut Report) {
    report.add(Finding::new(Level::Ok, "Dify", describe_release(schema)));
    if schema.server_version < TID_RANGES_SINCE && schema.index_on("workflow_runs", &["created_at"]).is_none() {
        let message = "PostgreSQL before 14 reads ranges of blocks slowly, and runs have no index on their time: new ones are seen late";
        report.add(Finding::new(Level::Warning, "Dify", message));
    }
}
