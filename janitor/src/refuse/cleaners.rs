//! Dify's own cleaners. They delete without an archive and leave orphans; beside them nobody can say where a row went.
//!
//! The database does not know how Dify is configured, so this looks for what can be seen: Dify's switches in our own environment (where
//! Dify's `.env` is our `env_file` too), a session that is deleting right now, and the memory of `pg_stat_statements`.

use dify_observe_core::dify::retention::health::{Deleter, PastCleaner, other_deleters, past_cleaners};
use dify_observe_core::dify::schema::Schema;
use dify_observe_core::dify::session::{DatabaseError, ReadTx};
use dify_observe_core::dify::statistics::release_of;
use dify_observe_core::exit::Exit;
use dify_observe_core::finding::{Finding, Level, Report};

/// Dify's variables that switch a cleaner on, and what it deletes.
pub const SWITCHES: [(&str, &str); 3] = [
    ("WORKFLOW_LOG_CLEANUP_ENABLED", "workflow runs, and whole conversations even if they go on"),
    ("ENABLE_WORKFLOW_RUN_CLEANUP_TASK", "workflow runs, also those that a conversation needs"),
    ("ENABLE_CLEAN_MESSAGES", "messages, with their annotations and bookmarks"),
];

/// Releases in which `WORKFLOW_LOG_CLEANUP_ENABLED` is on where nobody says otherwise.
const ON_BY_DEFAULT: [&str; 4] = ["1.8.0", "1.8.1", "1.9.0 or 1.9.1", "1.9.2"];

pub(super) async fn look(
    tx: &mut ReadTx,
    schema: &Schema,
    environment: impl Iterator<Item = (String, String)>,
    report: &mut Report,
) -> Result<(), DatabaseError> {
    let environment: Vec<(String, String)> = environment.collect();
    report.findings.extend(switched_on(&environment).map(on));
    report.findings.extend(other_deleters(tx).await?.first().map(active));
    report.findings.extend(past_cleaners(tx).await?.unwrap_or_default().iter().map(past));
    report.findings.extend(on_by_default(schema).and_then(|release| default_of(release, &environment)));
    Ok(())
}

/// The release, if it is one that cleans where nobody says otherwise.
pub fn on_by_default(schema: &Schema) -> Option<&'static str> {
    schema.alembic_revision.as_deref().and_then(release_of).filter(|release| ON_BY_DEFAULT.contains(release))
}

/// The switches that are on, with what they delete.
fn switched_on(environment: &[(String, String)]) -> impl Iterator<Item = (&'static str, &'static str)> {
    SWITCHES.into_iter().filter(|(switch, _)| value_of(switch, environment).is_some_and(is_true))
}

fn value_of<'a>(switch: &str, environment: &'a [(String, String)]) -> Option<&'a str> {
    environment.iter().find(|(name, _)| name == switch).map(|(_, value)| value.as_str())
}

/// As Dify's own library reads a switch.
fn is_true(value: &str) -> bool {
    ["1", "true", "t", "yes", "y", "on"].contains(&value.trim().to_ascii_lowercase().as_str())
}

fn on((switch, what): (&str, &str)) -> Finding {
    let message = format!(
        "Dify's own cleaner is on ({switch} in this environment): it deletes {what}, without an archive; switch it off in Dify and restart \
         its worker and beat"
    );
    Finding::refusal(Exit::Configuration, "Dify's cleaners", message).mended_by(format!("{switch}=false"))
}

fn active(deleter: &Deleter) -> Finding {
    let message = format!(
        "another session (process {}, role {}) is deleting rows of {} by lists of ids right now, as Dify's cleaners do: wait for its end, \
         and switch it off for good",
        deleter.pid, deleter.role, deleter.table
    );
    Finding::refusal(Exit::TryLater, "Dify's cleaners", message)
}

fn past(cleaner: &PastCleaner) -> Finding {
    let message = format!(
        "pg_stat_statements remembers {} statements in the shape of Dify's own cleaners, which deleted {} rows of {}: if one of them is \
         still on, rows go without an archive",
        cleaner.calls, cleaner.rows, cleaner.table
    );
    let mend = SWITCHES.map(|(switch, _)| format!("{switch}=false")).join("\n");
    Finding::new(Level::Warning, "Dify's cleaners", message).mended_by(mend)
}

/// A warning, where the environment does not say how it is.
fn default_of(release: &str, environment: &[(String, String)]) -> Option<Finding> {
    let (switch, what) = SWITCHES[0];
    if value_of(switch, environment).is_some() {
        return None;
    }
    let message = format!(
        "in Dify {release} {switch} is on where it is not set (Dify's docker files set it to false, other installations may not): it \
         deletes {what} after 30 days, without an archive"
    );
    Some(Finding::new(Level::Warning, "Dify's cleaners", message).mended_by(format!("{switch}=false")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_switch_that_is_on_refuses_and_says_which() {
        for value in ["true", "True", " on ", "1"] {
            let found: Vec<_> = switched_on(&environment(&[("ENABLE_CLEAN_MESSAGES", value), ("PATH", "true")])).map(on).collect();
            assert_eq!((found.len(), found[0].exit), (1, Some(Exit::Configuration)), "{value}");
            assert_eq!(found[0].mend.as_deref(), Some("ENABLE_CLEAN_MESSAGES=false"));
        }
        for value in ["false", "", "0", "off"] {
            assert_eq!(switched_on(&environment(&[("ENABLE_CLEAN_MESSAGES", value)])).count(), 0, "{value}");
        }
    }

    #[test]
    fn releases_that_clean_by_default_are_warned_of_unless_it_is_said() {
        assert_eq!(default_of("1.8.1", &[]).unwrap().level, Level::Warning);
        assert_eq!(default_of("1.8.1", &environment(&[("WORKFLOW_LOG_CLEANUP_ENABLED", "false")])), None);
        let of = |revision: &str| {
            let mut schema = Schema::default();
            schema.alembic_revision = Some(revision.to_owned());
            on_by_default(&schema)
        };
        let releases = ["0e154742a5fa", "b95962a3885c", "68519ad5cd18", "ae662b25d9bc"].map(of);
        assert_eq!(releases, ON_BY_DEFAULT.map(Some));
        assert_eq!(of("788d3099ae3a"), None);
        assert_eq!(on_by_default(&Schema::default()), None);
    }
}
