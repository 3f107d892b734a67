//! Bundles and their rows, read by plain SQL from one column to the next, without the janitor's own reader.

use std::sync::Arc;
use std::time::Duration;

use dify_observe_core::dify::retention::delete::{DeleteLimits, Expected};
use dify_observe_core::dify::retention::{
    Bundle, Cell, Column, Key, Member, Ownership, Parent, Root, Row, Rows, RunKey, Shape, UnknownShape, Wire,
};
use dify_observe_core::dify::schema::Schema;
use dify_observe_core::dify::session::{Database, WriteLimits};
use dify_observe_core::dify::time::Micros;
use dify_observe_tests::postgres::TestDatabase;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use uuid::Uuid;

/// Long enough for a loaded machine, short enough for a test that waits for a lock.
pub(super) const LIMITS: DeleteLimits =
    DeleteLimits { row_limit: 100_000, statement_timeout: Duration::from_secs(30), lock_timeout: Duration::from_millis(150) };

pub(super) const WRITE: WriteLimits = WriteLimits { statement_timeout: Duration::from_secs(60), lock_timeout: Duration::from_secs(5) };

/// What the code under test is given.
pub(crate) struct Scene {
    pub(crate) database: Database,
    pub(crate) ownership: Ownership,
    /// A connection of its own, as superuser.
    pub(crate) connection: PgConnection,
}

impl Scene {
    pub(crate) async fn of(database: &TestDatabase) -> Scene {
        Scene::through(database, database.url()).await.unwrap()
    }

    /// The code under test connects to another URL, of a pooler. An error where the schema is refused.
    pub(super) async fn through(database: &TestDatabase, url: &str) -> Result<Scene, UnknownShape> {
        let connection = database.connect().await.unwrap();
        let database = Database::new(url.parse().unwrap(), Duration::from_secs(20));
        let mut tx = database.read(Duration::from_secs(20)).await.unwrap();
        let schema = Schema::probe(&mut tx).await.unwrap();
        tx.end().await.unwrap();
        Ok(Scene { database, ownership: Ownership::resolve(&schema)?, connection })
    }

    /// Ended runs that no message names, oldest first.
    pub(super) async fn runs(&mut self, limit: i64) -> Vec<Bundle> {
        let sql = "SELECT r.id, r.tenant_id, r.app_id, r.workflow_id, r.status, COALESCE(r.finished_at, r.created_at) AS ended_at
             FROM workflow_runs r WHERE r.finished_at IS NOT NULL AND NOT EXISTS (SELECT FROM messages m WHERE m.workflow_run_id = r.id)
             ORDER BY ended_at LIMIT $1";
        let rows = sqlx::query(sql).bind(limit).fetch_all(&mut self.connection).await.unwrap();
        rows.iter().map(run_bundle).collect()
    }

    /// Conversations without an annotated or saved message, those with most messages first.
    pub(super) async fn conversations(&mut self, limit: i64) -> Vec<Bundle> {
        let sql = "SELECT c.id, c.app_id, (SELECT tenant_id FROM apps a WHERE a.id = c.app_id) AS tenant_id,
               GREATEST(c.created_at, c.updated_at, (SELECT max(created_at) FROM messages m WHERE m.conversation_id = c.id)) AS ended_at,
               ARRAY(SELECT id FROM messages m WHERE m.conversation_id = c.id ORDER BY created_at) AS messages,
               ARRAY(SELECT r.id FROM messages m JOIN workflow_runs r ON r.id = m.workflow_run_id
                     WHERE m.conversation_id = c.id ORDER BY m.created_at) AS runs,
               ARRAY(SELECT r.workflow_id FROM messages m JOIN workflow_runs r ON r.id = m.workflow_run_id
                     WHERE m.conversation_id = c.id ORDER BY m.created_at) AS workflows
             FROM conversations c
             WHERE NOT EXISTS (SELECT FROM saved_messages s JOIN messages m ON m.id = s.message_id WHERE m.conversation_id = c.id)
             ORDER BY (SELECT count(*) FROM messages m WHERE m.conversation_id = c.id) DESC, c.id LIMIT $1";
        let rows = sqlx::query(sql).bind(limit * 3).fetch_all(&mut self.connection).await.unwrap();
        let mut bundles = Vec::new();
        for bundle in rows.iter().map(conversation_bundle) {
            if !self.is_annotated(&bundle).await {
                bundles.push(bundle);
            }
        }
        bundles.truncate(usize::try_from(limit).unwrap());
        bundles
    }

    async fn is_annotated(&mut self, bundle: &Bundle) -> bool {
        let there: bool =
            sqlx::query_scalar("SELECT to_regclass('message_annotations') IS NOT NULL").fetch_one(&mut self.connection).await.unwrap();
        let sql = "SELECT EXISTS (SELECT FROM message_annotations WHERE conversation_id = $1 OR message_id = ANY($2))";
        there && sqlx::query_scalar(sql).bind(bundle.id).bind(&bundle.messages).fetch_one(&mut self.connection).await.unwrap()
    }

    /// A bundle as an archive would know it.
    pub(super) async fn expected(&mut self, bundle: &Bundle) -> Expected {
        let rows = self.rows(bundle).await;
        let number = |rows: &Rows| self.ownership.table_index(bundle.root, &rows.shape.table).unwrap();
        let rows = rows.iter().flat_map(|rows| rows.rows.iter().map(|row| (number(rows), row.key, row.xmin)).collect::<Vec<_>>()).collect();
        Expected { bundle: bundle.clone(), rows }
    }

    pub(super) async fn all_expected(&mut self, bundles: &[Bundle]) -> Vec<Expected> {
        let mut batch = Vec::new();
        for bundle in bundles {
            batch.push(self.expected(bundle).await);
        }
        batch
    }

    /// The rows of a bundle, whole, parents first.
    pub(super) async fn rows(&mut self, bundle: &Bundle) -> Vec<Rows> {
        let mut tables: Vec<Rows> = Vec::new();
        for member in self.ownership.members(bundle.root).to_vec() {
            let parents = parents(&member, bundle, &tables);
            let found = read(&mut self.connection, &member.shape, &member.column, &parents).await;
            if let Some(known) = tables.iter_mut().find(|rows| rows.shape.table == member.shape.table) {
                let new: Vec<Row> = found.into_iter().filter(|row| !known.rows.iter().any(|other| other.key == row.key)).collect();
                known.rows.extend(new);
            } else {
                tables.push(Rows { shape: member.shape, rows: found });
            }
        }
        tables
    }

    pub(super) async fn execute(&mut self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

fn run_bundle(row: &PgRow) -> Bundle {
    let ended_at: Micros = row.get("ended_at");
    Bundle {
        root: Root::Run,
        id: row.get("id"),
        tenant_id: row.get("tenant_id"),
        app_id: row.get("app_id"),
        status: row.get("status"),
        ended_at,
        newest: ended_at,
        runs: vec![RunKey { id: row.get("id"), workflow_id: row.get("workflow_id") }],
        messages: Vec::new(),
    }
}

fn conversation_bundle(row: &PgRow) -> Bundle {
    let ended_at: Micros = row.get("ended_at");
    let runs: Vec<Uuid> = row.get("runs");
    let workflows: Vec<Uuid> = row.get("workflows");
    Bundle {
        root: Root::Conversation,
        id: row.get("id"),
        tenant_id: row.get::<Option<Uuid>, _>("tenant_id").unwrap_or_default(),
        app_id: row.get("app_id"),
        status: None,
        ended_at,
        newest: ended_at,
        runs: runs.into_iter().zip(workflows).map(|(id, workflow_id)| RunKey { id, workflow_id }).collect(),
        messages: row.get("messages"),
    }
}

fn parents(member: &Member, bundle: &Bundle, tables: &[Rows]) -> Vec<Uuid> {
    match member.parent {
        Parent::Root | Parent::Conversation => vec![bundle.id],
        Parent::Run => bundle.runs.iter().map(|run| run.id).collect(),
        Parent::Message => bundle.messages.clone(),
        parent => {
            let rows = tables.iter().find(|rows| Some(rows.shape.table.as_str()) == parent.table());
            rows.into_iter().flat_map(|rows| rows.rows.iter().map(|row| row.key.id)).collect()
        }
    }
}

async fn read(connection: &mut PgConnection, shape: &Arc<Shape>, column: &str, parents: &[Uuid]) -> Vec<Row> {
    let columns: Vec<String> = shape.columns.iter().map(selected).collect();
    let sql = format!(
        "SELECT xmin::text::bigint AS row_version, {} FROM {} WHERE {column} = ANY($1) ORDER BY ctid",
        columns.join(", "),
        shape.table
    );
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(parents).fetch_all(connection).await.unwrap();
    rows.iter().map(|row| decode(shape, row)).collect()
}

fn selected(column: &Column) -> String {
    let name = format!("\"{}\"", column.name);
    match column.wire {
        Wire::Int32 | Wire::Int64 => format!("{name}::bigint AS {name}"),
        Wire::Text | Wire::Cast => format!("{name}::text AS {name}"),
        _ => name,
    }
}

fn decode(shape: &Arc<Shape>, row: &PgRow) -> Row {
    let cells: Vec<Cell> = shape.columns.iter().map(|column| cell(column, row)).collect();
    let id = |place: &usize| match cells[*place] {
        Cell::Uuid(id) => id,
        _ => panic!("the key of {} is no uuid", shape.table),
    };
    let key = Key { id: id(&shape.key[0]), second: shape.key.get(1).map(id) };
    Row { bundle: 0, key, xmin: u32::try_from(row.get::<i64, _>("row_version")).unwrap(), cells }
}

fn cell(column: &Column, row: &PgRow) -> Cell {
    let name = column.name.as_str();
    match column.wire {
        Wire::Bool => row.get::<Option<bool>, _>(name).map(Cell::Bool),
        Wire::Int32 | Wire::Int64 => row.get::<Option<i64>, _>(name).map(Cell::Int),
        Wire::Double => row.get::<Option<f64>, _>(name).map(|value| Cell::Double(value.to_bits())),
        Wire::Timestamp => row.get::<Option<Micros>, _>(name).map(|value| Cell::Timestamp(value.0)),
        Wire::Uuid => row.get::<Option<Uuid>, _>(name).map(Cell::Uuid),
        Wire::Bytes => row.get::<Option<Vec<u8>>, _>(name).map(Cell::Bytes),
        Wire::Text | Wire::Cast => row.get::<Option<String>, _>(name).map(|value| Cell::Bytes(value.into_bytes())),
    }
    .unwrap_or(Cell::Null)
}
