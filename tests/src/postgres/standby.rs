//! A hot standby.

use std::time::Duration;

use anyhow::Context;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::Server;

/// A server that streams from another and answers reads; its replay can be held.
#[derive(Debug)]
pub struct Standby {
    server: Server,
    primary_url: String,
}

impl Standby {
    /// Copies the primary while it runs and starts streaming.
    pub(crate) async fn of(primary: &Server) -> anyhow::Result<Self> {
        let mut server = Server::prepare()?;
        let mut copy = server.command("pg_basebackup")?;
        copy.args(["-h", "127.0.0.1", "-U", "postgres", "-R", "-X", "stream", "--no-sync", "-c", "fast", "-p"])
            .arg(primary.port().to_string())
            .arg("-D")
            .arg(server.data());
        // In a thread of the blocking pool: the primary may be needed by tasks of this one meanwhile.
        tokio::task::spawn_blocking(move || crate::children::run(&mut copy)).await?.context("failed to copy the primary")?;
        server.append_settings("hot_standby_feedback = off\n")?;
        server.start_on_free_port()?;
        Ok(Self { server, primary_url: primary.url("postgres") })
    }

    /// The server process.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The URL of a database on the standby.
    pub fn url(&self, database: &str) -> String {
        self.server.url(database)
    }

    /// Holds replay: what is written on the primary from now on is not seen here until `resume`.
    pub async fn pause(&self) -> anyhow::Result<()> {
        self.execute("SELECT pg_wal_replay_pause()").await?;
        // The call only asks; records may still be replayed until the state says so.
        self.wait_for("SELECT pg_get_wal_replay_pause_state() = $1", "paused").await
    }

    /// Lets replay go on.
    pub async fn resume(&self) -> anyhow::Result<()> {
        self.execute("SELECT pg_wal_replay_resume()").await
    }

    /// Waits until everything written on the primary so far is seen here.
    pub async fn catch_up(&self) -> anyhow::Result<()> {
        let mut primary = PgConnection::connect(&self.primary_url).await?;
        // Whatever was committed asynchronously is flushed by the next synchronous record.
        sqlx::raw_sql("SELECT pg_logical_emit_message(true, '', '')").execute(&mut primary).await?;
        let position: String = sqlx::query_scalar("SELECT pg_current_wal_flush_lsn()::text").fetch_one(&mut primary).await?;
        primary.close().await?;
        self.wait_for("SELECT coalesce(pg_last_wal_replay_lsn() >= $1::text::pg_lsn, false)", &position).await
    }

    async fn wait_for(&self, condition: &'static str, value: &str) -> anyhow::Result<()> {
        let mut standby = PgConnection::connect(&self.url("postgres")).await?;
        // Give up after a minute; a loaded machine needs some milliseconds.
        for _ in 0..6_000 {
            if sqlx::query_scalar(condition).bind(value).fetch_one(&mut standby).await? {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::bail!("the standby did not come to {value}")
    }

    async fn execute(&self, sql: &str) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&self.url("postgres")).await?;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await?;
        connection.close().await?;
        Ok(())
    }
}
