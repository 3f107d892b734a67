//! The server: can it be written to, and do its clock and ours agree.

use std::time::Duration;

use dify_observe_core::dify::retention::health::{ServerHealth, server_health};
use dify_observe_core::dify::session::{DatabaseError, ReadTx};
use dify_observe_core::dify::time::Micros;
use dify_observe_core::exit::Exit;
use dify_observe_core::finding::{Finding, Level, Report};

/// A cutoff is days away; clocks that differ by more than this are not only a little off.
const MAX_SKEW: Duration = Duration::from_secs(5 * 60);

/// Returns the name of our role.
pub(super) async fn look(tx: &mut ReadTx, now: Micros, report: &mut Report) -> Result<String, DatabaseError> {
    let server = server_health(tx).await?;
    judge(&server, now, report);
    Ok(server.role)
}

fn judge(server: &ServerHealth, now: Micros, report: &mut Report) {
    if server.standby {
        let message = "this server is a standby, from which nothing can be deleted: let postgres.url name the primary \
                       (plan, advise and check may ask a standby)";
        report.add(Finding::refusal(Exit::Unavailable, "server", message));
    }
    let skew = now.since(server.now).max(server.now.since(now));
    if skew > MAX_SKEW {
        let message = format!(
            "this machine's clock says {now}, the database server's says {}: one of them is wrong, so that what is old enough cannot be \
             told; set the clocks (NTP)",
            server.now
        );
        report.add(Finding::refusal(Exit::Configuration, "server", message));
    }
    if server.read_only && !server.standby {
        let mend = format!("ALTER ROLE {} RESET default_transaction_read_only;", dify_observe_core::dify::ddl::quoted(&server.role));
        let message = format!("transactions of role {} are read-only by default, as those of a role that only plans", server.role);
        report.add(Finding::new(Level::Note, "server", message).mended_by(mend));
    }
    if !server.sees_all {
        let mend = format!("GRANT pg_read_all_stats TO {};", dify_observe_core::dify::ddl::quoted(&server.role));
        let message =
            "the role does not see what other sessions do: deleting cannot give way to load, long transactions and lag of replicas";
        report.add(Finding::new(Level::Warning, "server", message).mended_by(mend));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(change: impl FnOnce(&mut ServerHealth), now: Micros) -> Report {
        let mut server = ServerHealth {
            role: "dify_janitor".to_owned(),
            database: "dify".to_owned(),
            standby: false,
            read_only: false,
            sees_all: true,
            now: Micros::from_secs(1_000_000),
            autovacuum: true,
            scale_factor: 0.2,
            threshold: 50,
            max_wal_bytes: 1 << 30,
            checkpoint_seconds: 300.0,
            oldest_snapshot_seconds: None,
            oldest_prepared_seconds: None,
            idle_slots: None,
        };
        change(&mut server);
        let mut report = Report::default();
        judge(&server, now, &mut report);
        report
    }

    #[test]
    fn clocks_may_differ_a_little_in_either_direction() {
        for (seconds, refused) in [(1_000_000, false), (1_000_299, false), (999_701, false), (1_000_301, true), (0, true)] {
            let report = judged(|_| {}, Micros::from_secs(seconds));
            assert_eq!(report.exit() == Exit::Configuration, refused, "{seconds}: {report:?}");
        }
    }

    #[test]
    fn a_standby_refuses_and_a_blind_role_only_warns() {
        let now = Micros::from_secs(1_000_000);
        assert_eq!(judged(|server| server.standby = true, now).exit(), Exit::Unavailable);
        let blind = judged(|server| server.sees_all = false, now);
        assert_eq!((blind.exit(), blind.findings[0].level), (Exit::Done, Level::Warning));
        assert!(judged(|_| {}, now).findings.is_empty());
    }
}
