//! What a role's statements cost in the database, as PostgreSQL counts it.

use std::collections::HashMap;

use anyhow::Context as _;
use sqlx::{PgConnection, Row as _};

/// Use of one statement, or of several together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Use {
    /// Executions.
    pub(crate) calls: f64,
    /// Milliseconds of executing.
    pub(crate) executing: f64,
    /// Milliseconds of planning.
    pub(crate) planning: f64,
    /// Rows returned.
    pub(crate) rows: f64,
    /// Pages touched, in the server's cache or not.
    pub(crate) pages: f64,
}

impl Use {
    /// Executing and planning, in milliseconds.
    pub(crate) fn time(&self) -> f64 {
        self.executing + self.planning
    }

    fn plus(&self, other: &Use, sign: f64) -> Use {
        Use {
            calls: self.calls + sign * other.calls,
            executing: self.executing + sign * other.executing,
            planning: self.planning + sign * other.planning,
            rows: self.rows + sign * other.rows,
            pages: self.pages + sign * other.pages,
        }
    }

    /// The same for each of `count`.
    pub(crate) fn per(&self, count: f64) -> Use {
        let divide = |number: f64| number / count.max(1.0);
        Use {
            calls: divide(self.calls),
            executing: divide(self.executing),
            planning: divide(self.planning),
            rows: divide(self.rows),
            pages: divide(self.pages),
        }
    }
}

/// Use of statements by their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Statements(HashMap<String, Use>);

impl Statements {
    /// Everything that a role's statements in this database have cost so far.
    pub(crate) async fn of_role(connection: &mut PgConnection, role: &str) -> anyhow::Result<Self> {
        let rows = sqlx::query(
            "SELECT s.query, s.calls::float8, s.total_exec_time, s.total_plan_time, s.rows::float8,
               (s.shared_blks_hit + s.shared_blks_read)::float8
             FROM pg_stat_statements s JOIN pg_roles r ON r.oid = s.userid
             WHERE r.rolname = $1 AND s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        .bind(role)
        .fetch_all(connection)
        .await
        .context("failed to read pg_stat_statements")?;
        let mut statements = HashMap::new();
        for row in rows {
            let found = Use { calls: row.get(1), executing: row.get(2), planning: row.get(3), rows: row.get(4), pages: row.get(5) };
            let known: &mut Use = statements.entry(name(row.get(0))).or_default();
            *known = known.plus(&found, 1.0);
        }
        Ok(Self(statements))
    }

    /// What was added since an earlier look.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let difference = |(name, now): (&String, &Use)| {
            let before = earlier.0.get(name).cloned().unwrap_or_default();
            (name.clone(), now.plus(&before, -1.0))
        };
        Self(self.0.iter().map(difference).filter(|(_, used)| used.calls > 0.0).collect())
    }

    /// All together.
    pub(crate) fn total(&self) -> Use {
        self.0.values().fold(Use::default(), |sum, used| sum.plus(used, 1.0))
    }

    /// By name, the dearest first.
    pub(crate) fn by_cost(&self) -> Vec<(&str, &Use)> {
        let mut all: Vec<_> = self.0.iter().map(|(name, used)| (name.as_str(), used)).collect();
        all.sort_by(|a, b| b.1.time().total_cmp(&a.1.time()));
        all
    }

    /// The use of one statement.
    pub(crate) fn named(&self, name: &str) -> Option<&Use> {
        self.0.get(name)
    }
}

/// Statements are named by a comment in their first line; others by their beginning.
fn name(text: &str) -> String {
    match text.trim_start().strip_prefix("-- ") {
        Some(rest) => rest.lines().next().unwrap_or(rest).trim().to_owned(),
        None => text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(60).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_named_by_its_comment_or_its_beginning() {
        assert_eq!(name("-- follow_runs: workflow_run_pkey\nSELECT 1"), "follow_runs: workflow_run_pkey");
        assert_eq!(name("SET  LOCAL\n jit = off"), "SET LOCAL jit = off");
    }

    #[test]
    fn a_difference_leaves_out_what_did_not_run() {
        let used = |calls| Use { calls, executing: calls * 2.0, ..Use::default() };
        let of = |list: &[(&str, f64)]| Statements(list.iter().map(|(name, calls)| ((*name).to_owned(), used(*calls))).collect());
        let difference = of(&[("a", 5.0), ("b", 1.0), ("c", 2.0)]).since(&of(&[("a", 2.0), ("b", 1.0)]));
        assert_eq!(difference.total(), used(5.0));
        assert_eq!(difference.named("b"), None);
        assert_eq!(difference.by_cost().iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["a", "c"]);
    }
}
