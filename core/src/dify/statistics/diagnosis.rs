//! What an operator's `check` asks the database, beside its schema.

use sqlx::Row;

use crate::dify::schema::Schema;
use crate::dify::session::{DatabaseError, ReadTx, built_query, query};
use crate::dify::time::Micros;

/// The server and our role on it.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerDiagnosis {
    /// `server_version`
    pub version: String,
    /// The database's name.
    pub database: String,
    /// Our role.
    pub role: String,
    /// It is a superuser.
    pub superuser: bool,
    /// It sees what the sessions of others do.
    pub sees_all: bool,
    /// The server is a standby.
    pub standby: bool,
    /// Seconds since the last transaction that a standby replayed.
    pub replay_age: Option<f64>,
    /// The server's clock.
    pub now: Micros,
}

/// Asks for the server and our role.
pub async fn server_diagnosis(tx: &mut ReadTx) -> Result<ServerDiagnosis, DatabaseError> {
    let row = tx.fetch_one(query(include_str!("../queries/check_server.sql"))).await?;
    Ok(ServerDiagnosis {
        version: row.try_get("version")?,
        database: row.try_get("database")?,
        role: row.try_get("role")?,
        superuser: row.try_get("superuser")?,
        sees_all: row.try_get("sees_all")?,
        standby: row.try_get("standby")?,
        replay_age: row.try_get("replay_age")?,
        now: row.try_get("now")?,
    })
}

/// The share of node executions that belong to no run, as the planner estimates it; `None` before the first ANALYZE.
pub async fn single_step_share(tx: &mut ReadTx) -> Result<Option<f64>, DatabaseError> {
    let row = tx.fetch_optional(query(include_str!("../queries/check_single_steps.sql"))).await?;
    Ok(row.map(|row| row.try_get("share")).transpose()?)
}

/// How many of the newest messages name a run, and how many of these runs are in `workflow_runs`. Runs without rows mean
/// that Dify stores executions elsewhere. `until` is a little before now, because runs may commit after their messages.
pub async fn runs_named_by_messages(tx: &mut ReadTx, since: Micros, until: Micros) -> Result<(i64, i64), DatabaseError> {
    let row = tx.fetch_one(query(include_str!("../queries/check_named_runs.sql")).bind(since).bind(until)).await?;
    Ok((row.try_get("named")?, row.try_get("found")?))
}

/// What walking the newest rows of a table costs.
#[derive(Clone, Debug, PartialEq)]
pub struct WalkCost {
    /// Rows since the time; counting ends at 100,000.
    pub rows: i64,
    /// The planner's cost of the follower's walk.
    pub cost: f64,
}

/// The cost of the follower's walk over the rows created since a time. For tables with an index on their time.
pub async fn walk_cost(tx: &mut ReadTx, table: &'static str, since: Micros) -> Result<WalkCost, DatabaseError> {
    let counted = format!(
        "-- check_walk: (created_at)\nSELECT count(*) AS rows FROM (SELECT FROM {table} WHERE created_at >= $1 ORDER BY created_at LIMIT 100000) w"
    );
    let rows = tx.fetch_one(built_query(counted).bind(since)).await?.try_get("rows")?;
    tx.set_local("SET LOCAL enable_seqscan = off").await?;
    let explained = format!("EXPLAIN SELECT created_at, id FROM {table} WHERE created_at >= $1 ORDER BY created_at, id LIMIT 20000");
    let plan = tx.fetch_one(built_query(explained).bind(since)).await?;
    let line: String = plan.try_get(0)?;
    let cost = line.split("..").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    Ok(WalkCost { rows, cost: cost.ok_or_else(|| DatabaseError::Value("the plan's cost".into()))? })
}

/// Pages of a table's heap.
pub async fn heap_pages(tx: &mut ReadTx, table: &'static str) -> Result<i64, DatabaseError> {
    let row = tx.fetch_one(query(include_str!("../queries/check_pages.sql")).bind(table)).await?;
    Ok(row.try_get::<Option<i64>, _>("pages")?.unwrap_or(0))
}

/// Releases by the head of their migrations.
const RELEASES: [(&str, &str); 30] = [
    ("a91b476a53de", "0.15"),
    ("08ec4f75af5e", "1.0.0"),
    ("f051706725cc", "1.0.1"),
    ("d20049ed0af6", "1.1"),
    ("6a9f914f656c", "1.2.0 to 1.3.1"),
    ("d28f2004b072", "1.4.0"),
    ("2adcbe1f5dfb", "1.4.1"),
    ("4474872b0ee6", "1.4.2 or 1.4.3"),
    ("0ab65e1cc7fa", "1.5"),
    ("58eb7bdb93fe", "1.6.0"),
    ("8bcc02c9bd07", "1.7.0 or 1.7.1"),
    ("532b3f888abf", "1.7.2"),
    ("0e154742a5fa", "1.8.0"),
    ("b95962a3885c", "1.8.1"),
    ("68519ad5cd18", "1.9.0 or 1.9.1"),
    ("ae662b25d9bc", "1.9.2"),
    ("669ffd70119c", "1.10.0"),
    ("09cfdda155d1", "1.10.1"),
    ("d57accd375ae", "1.11.0 or 1.11.1"),
    ("03ea244985ce", "1.11.2"),
    ("905527cc8fd3", "1.11.3 or 1.11.4"),
    ("788d3099ae3a", "1.12"),
    ("fce013ca180e", "1.13.0"),
    ("6b5f9f8b1a2c", "1.13.1 to 1.13.3"),
    ("227822d22895", "1.14.0"),
    ("a4f2d8c9b731", "1.14.1 or 1.14.2"),
    ("d9e8f7a6b5c4", "1.15.0"),
    ("7a1c2d9e4b60", "1.16.0"),
    ("6f5a9c2d8e1b", "1.16.1"),
    ("c3f1a9b2e6d4", "1.17.1"),
];

/// The release whose migrations end at this revision. One that is not known is a newer release or a fork; nothing depends on it.
pub fn release_of(revision: &str) -> Option<&'static str> {
    RELEASES.iter().find(|(head, _)| *head == revision).map(|(_, release)| *release)
}

/// Which Dify this is, in a sentence. A hint for people: what is there decides.
pub fn describe_release(schema: &Schema) -> String {
    match schema.alembic_revision.as_deref() {
        None => "the revision of Dify's schema cannot be read; nothing depends on it".to_owned(),
        Some(revision) => match release_of(revision) {
            Some(release) => format!("Dify {release} (migration {revision})"),
            None => format!("migration {revision} is of no release known here: a newer Dify, or a fork; what is there is used as it is"),
        },
    }
}
