//! One database of one test.

use std::path::Path;

use anyhow::Context;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};

use super::cluster::ROLE_PASSWORD;
use crate::schema::Schema;

/// A database that is dropped with this value.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    url: String,
    admin_url: String,
    schema: Schema,
}

impl TestDatabase {
    pub(crate) fn new(name: String, url: String, admin_url: String, schema: Schema) -> Self {
        Self { name, url, admin_url, schema }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its URL, as superuser.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its URL for a role that `Cluster::role` made.
    pub fn url_as(&self, role: &str) -> String {
        let Some((scheme, rest)) = self.url.split_once("://") else { return self.url.clone() };
        let host = rest.split_once('@').map_or(rest, |(_, host)| host);
        format!("{scheme}://{role}:{ROLE_PASSWORD}@{host}")
    }

    /// Applies `deploy/postgres/exporter-role.sql` for a role of this database alone, and returns the URL for that role. It goes
    /// with the database.
    pub fn exporter_role(&self) -> anyhow::Result<String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/postgres/exporter-role.sql");
        let role = self.exporter_role_name();
        self.psql(&script, &[("role", &role), ("password", ROLE_PASSWORD)]).context("failed to apply the exporter's role script")?;
        Ok(self.url_as(&role))
    }

    fn exporter_role_name(&self) -> String {
        format!("{}_exporter", self.name)
    }

    /// The schema that it was made from.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// A connection as superuser.
    pub async fn connect(&self) -> anyhow::Result<PgConnection> {
        PgConnection::connect(&self.url).await.with_context(|| format!("failed to connect to {}", self.name))
    }

    /// A pool of up to ten connections as superuser.
    pub async fn pool(&self) -> anyhow::Result<PgPool> {
        PgPoolOptions::new().max_connections(10).connect(&self.url).await.with_context(|| format!("failed to connect to {}", self.name))
    }

    /// Runs a script of statements without parameters.
    pub async fn execute(&self, script: &str) -> anyhow::Result<()> {
        let mut connection = self.connect().await?;
        sqlx::raw_sql(AssertSqlSafe(script.to_owned())).execute(&mut connection).await.context("failed to run a script")?;
        connection.close().await?;
        Ok(())
    }

    /// Runs a role script (such as those in `deploy/postgres/`) through psql, whose variables such scripts use.
    pub fn psql(&self, file: &Path, variables: &[(&str, &str)]) -> anyhow::Result<String> {
        let psql = crate::children::find_program("psql", "postgresql-client")?;
        let mut command = std::process::Command::new(psql);
        command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1"]).arg("-d").arg(&self.url).arg("-f").arg(file);
        for (name, value) in variables {
            command.arg("-v").arg(format!("{name}={value}"));
        }
        crate::children::run(&mut command)
    }

    /// One number out of the database.
    pub async fn count(&self, sql: &str) -> anyhow::Result<i64> {
        let mut connection = self.connect().await?;
        let count = sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut connection).await.with_context(|| sql.to_owned())?;
        connection.close().await?;
        Ok(count)
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let statements =
            [format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name), format!("DROP ROLE IF EXISTS {}", self.exporter_role_name())];
        let url = self.admin_url.clone();
        // Destructors cannot wait for a future, and a runtime may not be entered from inside another: a thread of its own can.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut connection = PgConnection::connect(&url).await?;
                for sql in statements {
                    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
                }
                connection.close().await?;
                anyhow::Ok(())
            })
        });
        // The server may be gone on purpose, and the database with it.
        let _ = dropped.join();
    }
}
