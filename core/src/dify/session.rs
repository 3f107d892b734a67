//! The only door to the database: bounded transactions that survive pgbouncer, read-only but for dify-janitor's.
//!
//! Behind pgbouncer in transaction mode a bound query outside a transaction silently returns another client's answer, named
//! statements collide, and `SET` leaks to other clients. So there is no way here to run a statement but inside
//! a transaction, with `SET LOCAL`, as an unnamed statement.

use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::{AssertSqlSafe, Postgres, Transaction};

/// A statement with its bound values.
pub type Query<'q> = sqlx::query::Query<'q, Postgres, PgArguments>;

/// A statement whose text is fixed.
pub fn query<'q>(text: &'static str) -> Query<'q> {
    sqlx::query(text)
}

/// A statement whose text was put together from fixed parts and names that the schema probe found. Never from values.
pub fn built_query<'q>(text: String) -> Query<'q> {
    sqlx::query(AssertSqlSafe(text))
}

/// What can go wrong with the database. No message holds a credential or a row's content.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The server cannot be reached, refused the login, or went away.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// The statement ran into its timeout, or was cancelled (57014), or a lock was not to be had (55P03, 40P01).
    #[error("a statement took longer than its timeout and was cancelled")]
    Timeout,
    /// A table or column is not there (42P01, 42703): Dify was upgraded while we run, or the probe is out of date.
    #[error("the schema is not what the last probe found: {0}")]
    SchemaChanged(String),
    /// A right is missing (42501).
    #[error("{0}")]
    Denied(String),
    /// Anything else that PostgreSQL said.
    #[error("PostgreSQL said: {0}")]
    Server(String),
    /// A value could not be read.
    #[error("a value could not be read: {0}")]
    Value(String),
}

impl DatabaseError {
    /// A fixed word for labels and counters.
    pub fn kind(&self) -> &'static str {
        match self {
            DatabaseError::Unreachable(_) => "unreachable",
            DatabaseError::Timeout => "timeout",
            DatabaseError::SchemaChanged(_) => "schema_changed",
            DatabaseError::Denied(_) => "denied",
            DatabaseError::Server(_) => "server",
            DatabaseError::Value(_) => "value",
        }
    }

    /// Whether trying again later may help without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, DatabaseError::Unreachable(_) | DatabaseError::Timeout | DatabaseError::SchemaChanged(_))
    }
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(database) => {
                let message = database.message().to_owned();
                match database.code().as_deref().unwrap_or("") {
                    // Two transactions that wait for each other are as good as one that waits too long.
                    "57014" | "55P03" | "40P01" => DatabaseError::Timeout,
                    "42P01" | "42703" => DatabaseError::SchemaChanged(message),
                    "42501" => DatabaseError::Denied(message),
                    // Recovery conflicts on a standby cancel the transaction; it may be tried again.
                    "40001" => DatabaseError::Timeout,
                    // These messages quote the value.
                    code if code.starts_with("22") => DatabaseError::Value(format!("PostgreSQL refused it (SQLSTATE {code})")),
                    code if code.starts_with("28") || code.starts_with("3D") || code.starts_with("08") || code.starts_with("53") => {
                        DatabaseError::Unreachable(message)
                    }
                    // admin_shutdown, crash_shutdown, cannot_connect_now; and pgbouncer's own errors.
                    "57P01" | "57P02" | "57P03" | "08P01" => DatabaseError::Unreachable(message),
                    _ => DatabaseError::Server(message),
                }
            }
            sqlx::Error::Io(io) => DatabaseError::Unreachable(io.to_string()),
            sqlx::Error::Tls(tls) => DatabaseError::Unreachable(format!("TLS: {tls}")),
            sqlx::Error::PoolTimedOut => DatabaseError::Unreachable(
                "no connection within the connect timeout: it does not answer, or allows no more connections".into(),
            ),
            sqlx::Error::Protocol(message) => DatabaseError::Unreachable(message),
            sqlx::Error::ColumnDecode { index, source } => DatabaseError::Value(format!("column {index}: {source}")),
            other => DatabaseError::Server(other.to_string()),
        }
    }
}

/// At most two connections to Dify's database, made when they are needed and remade when they break.
#[derive(Clone, Debug)]
pub struct Database {
    pool: PgPool,
}

impl Database {
    /// A pool for `options`. Does not connect yet: an unreachable server shows at the first [`Database::read`].
    pub fn new(options: PgConnectOptions, connect_timeout: Duration) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(2)
            .min_connections(0)
            .acquire_timeout(connect_timeout)
            .idle_timeout(Some(Duration::from_secs(10 * 60)))
            .connect_lazy_with(options.statement_cache_capacity(0).extra_float_digits(None));
        Database { pool }
    }

    /// Begins a read-only transaction in which every statement ends after `statement_timeout`.
    pub async fn read(&self, statement_timeout: Duration) -> Result<ReadTx, DatabaseError> {
        let begin = format!(
            "BEGIN READ ONLY; SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = 2000; SET LOCAL jit = off; \
             SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL TimeZone = 'UTC'",
            statement_timeout.as_millis().max(1)
        );
        Ok(ReadTx { transaction: self.pool.begin_with(AssertSqlSafe(begin)).await? })
    }

    /// Begins a transaction that may delete and insert. For dify-janitor alone.
    pub async fn write(&self, limits: WriteLimits) -> Result<WriteTx, DatabaseError> {
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {}; \
             SET LOCAL idle_in_transaction_session_timeout = 60000; {WRITE_MANNERS}",
            limits.statement_timeout.as_millis().max(1),
            limits.lock_timeout.as_millis().max(1)
        );
        Ok(WriteTx { session: ReadTx { transaction: self.pool.begin_with(AssertSqlSafe(begin)).await? } })
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// How long a writing transaction may take or wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteLimits {
    /// Each statement is cancelled after this.
    pub statement_timeout: Duration,
    /// Waiting for a lock ends after this. Below PostgreSQL's `deadlock_timeout` (1 s) it is always we who give way.
    pub lock_timeout: Duration,
}

/// Rows are found through an index or not at all: a wrong estimate must not turn a batch into a scan of a large table, and a
/// generic plan searches an array from end to end. Values come and go as text in one form, whatever the role's defaults are.
const WRITE_MANNERS: &str = "SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_seqscan = off; \
     SET LOCAL enable_bitmapscan = off; SET LOCAL enable_material = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; \
     SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL jit = off; SET LOCAL TimeZone = 'UTC'; \
     SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres'; SET LOCAL extra_float_digits = 1; \
     SET LOCAL bytea_output = 'hex'";

/// A transaction that may change rows. Dropping it rolls back.
#[derive(Debug)]
pub struct WriteTx {
    session: ReadTx,
}

impl WriteTx {
    /// The same transaction, for statements that only read.
    pub fn reader(&mut self) -> &mut ReadTx {
        &mut self.session
    }

    /// All rows that a statement returns.
    pub async fn fetch_all(&mut self, query: Query<'_>) -> Result<Vec<PgRow>, DatabaseError> {
        self.session.fetch_all(query).await
    }

    /// The only row of a statement that always has one.
    pub async fn fetch_one(&mut self, query: Query<'_>) -> Result<PgRow, DatabaseError> {
        self.session.fetch_one(query).await
    }

    /// Runs a statement and says how many rows it touched.
    pub async fn execute(&mut self, query: Query<'_>) -> Result<u64, DatabaseError> {
        Ok(query.persistent(false).execute(&mut *self.session.transaction).await?.rows_affected())
    }

    /// Makes it so. After an error here nobody knows whether it is.
    pub async fn commit(self) -> Result<(), DatabaseError> {
        Ok(self.session.transaction.commit().await?)
    }

    /// Takes everything back.
    pub async fn rollback(self) -> Result<(), DatabaseError> {
        self.session.end().await
    }
}

/// A read-only transaction: the only way to run a statement. Dropping it rolls back, which for reading is all the same.
#[derive(Debug)]
pub struct ReadTx {
    transaction: Transaction<'static, Postgres>,
}

impl ReadTx {
    /// All rows of a bounded statement.
    pub async fn fetch_all(&mut self, query: Query<'_>) -> Result<Vec<PgRow>, DatabaseError> {
        Ok(query.persistent(false).fetch_all(&mut *self.transaction).await?)
    }

    /// The only row of a statement that always has one.
    pub async fn fetch_one(&mut self, query: Query<'_>) -> Result<PgRow, DatabaseError> {
        Ok(query.persistent(false).fetch_one(&mut *self.transaction).await?)
    }

    /// The first row, if there is one.
    pub async fn fetch_optional(&mut self, query: Query<'_>) -> Result<Option<PgRow>, DatabaseError> {
        Ok(query.persistent(false).fetch_optional(&mut *self.transaction).await?)
    }

    /// Sets a planner or session parameter for the rest of this transaction. For fixed text only.
    pub async fn set_local(&mut self, statement: &'static str) -> Result<(), DatabaseError> {
        use sqlx::Executor;
        (&mut *self.transaction).execute(sqlx::raw_sql(statement)).await?;
        Ok(())
    }

    /// Ends the transaction.
    pub async fn end(self) -> Result<(), DatabaseError> {
        Ok(self.transaction.rollback().await?)
    }
}
