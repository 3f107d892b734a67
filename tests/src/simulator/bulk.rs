//! Finished history, fast: whole stories are folded into their final rows and streamed through COPY.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, anyhow};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row as _};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{
    Options, Simulation,
    apply::Target,
    reference::Reference,
    value::{Micros, Row, Statement, Value, Write, id_of},
};

/// A COPY is sent when its lines are this long.
const CHUNK: usize = 1 << 20;

/// What was loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Requests.
    pub stories: u64,
    /// Rows of all tables.
    pub rows: u64,
}

/// How a bulk load is done.
#[derive(Debug, Clone)]
pub struct Load {
    /// The database.
    pub url: String,
    /// Decides the world and the traffic.
    pub seed: u64,
    /// What to simulate; `arrivals` is the number of requests.
    pub options: Options,
    /// Generator threads; each has a connection of its own.
    pub jobs: usize,
    /// Secondary indexes of the large tables are dropped before and made again afterwards.
    pub rebuild_indexes: bool,
}

/// Lines for one table, all with the same columns.
struct Chunk {
    copy: String,
    lines: String,
}

/// Loads history; `progress` gets the number of requests so far, from time to time.
pub async fn load(load: &Load, mut progress: impl FnMut(Loaded)) -> Result<Loaded> {
    let mut connection = PgConnection::connect(&load.url).await.context("the database of the simulator")?;
    let target = Arc::new(Target::probe(&mut connection).await?);
    for write in Simulation::new(load.seed, load.options.clone()).setup(load.seed) {
        target.apply(&mut connection, &write).await?;
    }
    let indexes = if load.rebuild_indexes { drop_indexes(&mut connection).await? } else { Vec::new() };
    let done = Arc::new(AtomicU64::new(0));
    let loaded = run_jobs(load, &target, &done, &mut progress).await;
    // The indexes come back even when the load has failed.
    for definition in indexes {
        sqlx::query(AssertSqlSafe(definition)).execute(&mut connection).await.context("an index")?;
    }
    let loaded = loaded?;
    sqlx::query("ANALYZE").execute(&mut connection).await?;
    connection.close().await?;
    Ok(loaded)
}

async fn run_jobs(load: &Load, target: &Arc<Target>, done: &Arc<AtomicU64>, progress: &mut impl FnMut(Loaded)) -> Result<Loaded> {
    let jobs = load.jobs.max(1);
    let stopped = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for job in 0..jobs {
        let (sender, receiver) = mpsc::channel(4);
        let options = share(&load.options, job, jobs);
        let (seed, target, done, stopped) = (load.seed, Arc::clone(target), Arc::clone(done), Arc::clone(&stopped));
        thread::spawn(move || generate(seed, options, &target, &sender, &done, &stopped));
        writers.push(tokio::spawn(copy_all(load.url.clone(), receiver)));
    }
    let mut loaded = Loaded::default();
    let mut tick = tokio::time::interval(std::time::Duration::from_secs(1));
    while !writers.is_empty() {
        tokio::select! {
            _ = tick.tick() => progress(Loaded { stories: done.load(Ordering::Relaxed), ..loaded }),
            rows = &mut writers[0] => {
                drop(writers.remove(0));
                match rows.map_err(|error| anyhow!(error)).and_then(|rows| rows) {
                    Ok(rows) => loaded.rows += rows,
                    Err(error) => {
                        stopped.store(true, Ordering::Relaxed);
                        return Err(error);
                    }
                }
            }
        }
    }
    loaded.stories = done.load(Ordering::Relaxed);
    Ok(loaded)
}

/// One job's part of the traffic: its share of the requests, beginning a moment later than the job before it.
fn share(options: &Options, job: usize, jobs: usize) -> Options {
    let (job, jobs) = (job as u64, jobs as u64);
    Options {
        start: options.start + job as Micros,
        arrivals: options.arrivals / jobs + u64::from(job < options.arrivals % jobs),
        rate: options.rate / jobs as f64,
        ..options.clone()
    }
}

fn generate(seed: u64, options: Options, target: &Target, sender: &mpsc::Sender<Chunk>, done: &AtomicU64, stopped: &AtomicBool) {
    if options.arrivals == 0 {
        return;
    }
    let until = options.until.unwrap_or(Micros::MAX);
    let mut simulation = Simulation::new(seed, options);
    let mut chunks: HashMap<Vec<&'static str>, Chunk> = HashMap::new();
    while let Some(mut writes) = simulation.next_story() {
        writes.retain(|write| write.at <= until);
        for (table, row) in fold(&writes) {
            add_line(target, &mut chunks, table, &row);
        }
        done.fetch_add(1, Ordering::Relaxed);
        let full: Vec<_> = chunks.iter().filter(|(_, chunk)| chunk.lines.len() >= CHUNK).map(|(key, _)| key.clone()).collect();
        for chunk in full.iter().filter_map(|key| chunks.remove(key)) {
            if stopped.load(Ordering::Relaxed) || sender.blocking_send(chunk).is_err() {
                return;
            }
        }
    }
    for chunk in chunks.into_values() {
        if sender.blocking_send(chunk).is_err() {
            return;
        }
    }
}

/// The final rows of a story. Changes to rows of other stories (a conversation that goes on) are left out, as are end users
/// that another job may have inserted, which go through their own statement.
fn fold(writes: &[Write]) -> Vec<(&'static str, Row)> {
    let mut rows: Vec<(&'static str, Uuid, Option<Row>)> = Vec::new();
    for statement in writes.iter().flat_map(|write| &write.statements) {
        let (table, id) = (statement.table(), statement.id());
        let known = rows.iter().position(|(name, key, _)| *name == table && *key == id);
        match (statement, known) {
            (Statement::Insert { row, .. } | Statement::Ensure { row, .. } | Statement::Merge { row, .. }, None) => {
                rows.push((table, id, Some(row.clone())));
            }
            (Statement::Insert { row, .. }, Some(position)) => rows[position].2 = Some(row.clone()),
            (Statement::Update { set, .. } | Statement::Merge { set, .. }, Some(position)) => {
                if let Some(row) = &mut rows[position].2 {
                    super::value::overlay(row, set);
                }
            }
            (Statement::Delete { .. }, Some(position)) => rows[position].2 = None,
            _ => {}
        }
    }
    rows.into_iter().filter_map(|(table, _, row)| row.map(|row| (table, row))).collect()
}

fn add_line(target: &Target, chunks: &mut HashMap<Vec<&'static str>, Chunk>, table: &'static str, row: &Row) {
    let mut fitting = target.fit(table, row);
    if fitting.is_empty() {
        return;
    }
    fitting.sort_by_key(|(name, ..)| *name);
    let mut key = vec![table];
    key.extend(fitting.iter().map(|(name, ..)| *name));
    let chunk = chunks.entry(key).or_insert_with(|| {
        let names: Vec<String> = fitting.iter().map(|(name, ..)| format!("\"{name}\"")).collect();
        // End users come from several jobs and from earlier loads: they are copied past a table of their own.
        let into = if table == "end_users" { "arriving_end_users" } else { table };
        Chunk { copy: format!("COPY {into} ({}) FROM STDIN", names.join(", ")), lines: String::new() }
    });
    for (position, (.., value)) in fitting.iter().enumerate() {
        if position > 0 {
            chunk.lines.push('\t');
        }
        write_field(&mut chunk.lines, value);
    }
    chunk.lines.push('\n');
}

fn write_field(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("\\N"),
        Value::Text(text) => {
            for character in text.chars() {
                match character {
                    '\\' => out.push_str("\\\\"),
                    '\n' => out.push_str("\\n"),
                    '\r' => out.push_str("\\r"),
                    '\t' => out.push_str("\\t"),
                    character => out.push(character),
                }
            }
        }
        Value::Int(value) => {
            let _ = write!(out, "{value}");
        }
        Value::Uuid(value) => {
            let _ = write!(out, "{value}");
        }
        other => out.push_str(&other.to_sql().unwrap_or_default()),
    }
}

async fn copy_all(url: String, mut chunks: mpsc::Receiver<Chunk>) -> Result<u64> {
    let mut connection = PgConnection::connect(&url).await?;
    sqlx::raw_sql("CREATE TEMP TABLE arriving_end_users (LIKE end_users INCLUDING DEFAULTS); SET synchronous_commit = off")
        .execute(&mut connection)
        .await?;
    let mut rows = 0;
    while let Some(chunk) = chunks.recv().await {
        let mut copy = connection.copy_in_raw(&chunk.copy).await.with_context(|| chunk.copy.clone())?;
        copy.send(chunk.lines.as_bytes()).await?;
        rows += copy.finish().await.with_context(|| chunk.copy.clone())?;
    }
    sqlx::raw_sql("INSERT INTO end_users SELECT DISTINCT ON (id) * FROM arriving_end_users ORDER BY id, created_at ON CONFLICT DO NOTHING")
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    Ok(rows)
}

/// Drops the secondary indexes of the tables that grow, and gives the statements that make them again.
async fn drop_indexes(connection: &mut PgConnection) -> Result<Vec<String>> {
    let rows = sqlx::query(
        "SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) FROM pg_index i \
         WHERE i.indrelid = ANY (ARRAY['workflow_runs', 'workflow_node_executions', 'messages']::regclass[]) AND NOT i.indisunique",
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut definitions = Vec::new();
    for row in rows {
        let (name, definition): (String, String) = (row.get(0), row.get(1));
        sqlx::query(AssertSqlSafe(format!("DROP INDEX {name}"))).execute(&mut *connection).await?;
        definitions.push(definition);
    }
    Ok(definitions)
}

/// Inserts every row that the reference ever saw, in its last state, deleted ones included.
pub async fn insert_all(connection: &mut PgConnection, reference: &Reference) -> Result<()> {
    let target = Target::probe(connection).await?;
    for write in reference.all_rows() {
        let mut chunks = HashMap::new();
        for statement in &write.statements {
            if let Statement::Ensure { table, row } = statement {
                debug_assert!(!id_of(row).is_nil(), "every row has an id");
                add_line(&target, &mut chunks, table, row);
            }
        }
        for chunk in chunks.into_values() {
            let statement = chunk.copy.replace("arriving_end_users", "end_users");
            let mut copy = connection.copy_in_raw(&statement).await?;
            copy.send(chunk.lines.as_bytes()).await?;
            copy.finish().await.context(statement)?;
        }
    }
    Ok(())
}
