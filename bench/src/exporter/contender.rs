//! The exporters that are measured: each as a process of its own with a database role of its own.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use dify_observe_tests::children::free_port;
use dify_observe_tests::postgres::TestDatabase;
use dify_observe_tests::process::{self, Process};

use super::queries;
use crate::machine;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Ours.
    Dify,
    /// Debian's prometheus-sql-exporter (justwatch): queries at an interval of its own, answers with the last results.
    Sql,
    /// Debian's prometheus-postgres-exporter with custom queries: queries at every scrape.
    Postgres,
}

impl Who {
    /// Its name in the results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Who::Dify => "dify-exporter",
            Who::Sql => "prometheus-sql-exporter",
            Who::Postgres => "prometheus-postgres-exporter",
        }
    }

    /// The role that it reads the database as.
    pub(crate) fn role(self) -> &'static str {
        match self {
            Who::Dify => "bench_dify_exporter",
            Who::Sql => "bench_sql_exporter",
            Who::Postgres => "bench_postgres_exporter",
        }
    }

    /// Its program and version, for the results.
    pub(crate) fn version(self) -> anyhow::Result<String> {
        Ok(match self {
            Who::Dify => format!("{}, built with the profile `fast`", machine::version_of(&process::binary("dify-exporter")?, "--version")),
            Who::Sql => machine::package_version(self.name()).unwrap_or_else(|| machine::version_of(Path::new(self.name()), "-version")),
            Who::Postgres => {
                machine::package_version(self.name()).unwrap_or_else(|| machine::version_of(Path::new(self.name()), "--version"))
            }
        })
    }

    /// Gives its role the rights it needs in this database.
    pub(crate) async fn grant(self, database: &TestDatabase) -> anyhow::Result<()> {
        let role = self.role();
        if self == Who::Dify {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/postgres/exporter-role.sql");
            database.psql(&script, &[("role", role)]).context("failed to run the role script")?;
            return Ok(());
        }
        database
            .execute(&format!(
                "DO $$ BEGIN CREATE ROLE {role} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
                 GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
            ))
            .await
    }

    /// Starts it. `extra` are further variables for dify-exporter.
    pub(crate) async fn start(self, database: &TestDatabase, interval: Duration, extra: &[(&str, &str)]) -> anyhow::Result<Running> {
        let port = free_port()?;
        let listen = format!("127.0.0.1:{port}");
        let url = database.url_as(self.role());
        let folder = tempfile::Builder::new().prefix("dify-observe-bench-").tempdir()?;
        let mut process = match self {
            Who::Dify => {
                let state = folder.path().join("state").display().to_string();
                let mut environment = vec![
                    ("DIFY_OBSERVE__POSTGRES__URL", url.as_str()),
                    ("DIFY_OBSERVE__STATE_DIR", state.as_str()),
                    ("DIFY_OBSERVE__EXPORTER__LISTEN", listen.as_str()),
                ];
                environment.extend_from_slice(extra);
                let mut command = process::command("dify-exporter", &["serve"], &environment)?;
                Process::start(&mut command, folder)?
            }
            Who::Sql => {
                let file = folder.path().join("sql-exporter.yml");
                std::fs::write(&file, queries::sql_exporter_configuration(&url, interval))?;
                let mut command = Command::new(self.name());
                command.arg(format!("-config.file={}", file.display())).arg(format!("-web.listen-address={listen}"));
                Process::start(command.stdin(Stdio::null()), folder)?
            }
            Who::Postgres => {
                let file = folder.path().join("queries.yml");
                std::fs::write(&file, queries::postgres_exporter_queries())?;
                let mut command = Command::new(self.name());
                command
                    .arg(format!("--extend.query-path={}", file.display()))
                    .arg(format!("--web.listen-address={listen}"))
                    // Only what is compared: without its own metrics about the server.
                    .args(["--disable-default-metrics", "--disable-settings-metrics", "--no-collector.database", "--no-collector.bgwriter"])
                    .env("DATA_SOURCE_NAME", format!("{url}?sslmode=disable"));
                Process::start(command.stdin(Stdio::null()), folder)?
            }
        };
        process.wait_for_http(&format!("http://{listen}/")).await.with_context(|| format!("{} did not start", self.name()))?;
        Ok(Running { who: self, process, base: format!("http://{listen}") })
    }
}

/// A contender that answers.
#[derive(Debug)]
pub(crate) struct Running {
    /// Who it is.
    pub(crate) who: Who,
    /// Its process.
    pub(crate) process: Process,
    /// Its base URL.
    pub(crate) base: String,
}
