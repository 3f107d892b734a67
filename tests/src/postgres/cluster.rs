//! A PostgreSQL cluster and the test databases in it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{Server, Standby, TestDatabase};
use crate::schema::Schema;

/// Held while a template is made, so that two test processes on one server do not make the same one.
const TEMPLATE_LOCK: i64 = 0x6469_6679_6f62;

/// Of roles made for tests; an existing server may ask for one.
pub(super) const ROLE_PASSWORD: &str = "only-for-tests";

/// A cluster: a private one that ends with us, or an existing server.
#[derive(Debug)]
pub struct Cluster {
    server: Option<Server>,
    url: String,
}

impl Cluster {
    /// The cluster that all tests of this process share: `TEST_DATABASE_URL` (a superuser's, any database of the server), else a
    /// private one, started at the first use.
    pub fn shared() -> anyhow::Result<&'static Self> {
        static SHARED: OnceLock<Result<Cluster, String>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| {
            let cluster = match std::env::var("TEST_DATABASE_URL") {
                Ok(url) if !url.is_empty() => Ok(Self { server: None, url }),
                _ => Self::private(&[]),
            };
            cluster.map_err(|error| format!("{error:#}"))
        });
        shared.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
    }

    /// A cluster of one's own, for tests that stop, kill, copy or configure the server.
    pub fn private(settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let server = Server::create(settings)?;
        let url = server.url("postgres");
        Ok(Self { server: Some(server), url })
    }

    /// The server process, to stop, kill or start it; an error where an existing server is used.
    pub fn server(&self) -> anyhow::Result<&Server> {
        self.server.as_ref().context("this test needs a private PostgreSQL, and TEST_DATABASE_URL names an existing one")
    }

    /// The URL of one of the cluster's databases, as superuser.
    pub fn url(&self, database: &str) -> String {
        let (base, parameters) = match self.url.split_once('?') {
            Some((base, parameters)) => (base, format!("?{parameters}")),
            None => (self.url.as_str(), String::new()),
        };
        let authority_start = base.find("://").map_or(0, |place| place + 3);
        let end = base[authority_start..].find('/').map_or(base.len(), |place| authority_start + place);
        format!("{}/{database}{parameters}", &base[..end])
    }

    /// A connection as superuser to the database that the cluster's URL names.
    pub async fn admin(&self) -> anyhow::Result<PgConnection> {
        PgConnection::connect(&self.url).await.context("failed to connect to the test server")
    }

    /// A new database with this schema, gone when dropped.
    pub async fn database(&self, schema: &Schema) -> anyhow::Result<TestDatabase> {
        if schema.mutations.is_empty() {
            let template = self.template(schema).await?;
            return self.create(&format!(" TEMPLATE {template}"), schema.clone()).await;
        }
        // Used once or twice: a template would cost more than it saves.
        let database = self.create(" TEMPLATE template0", schema.clone()).await?;
        database.execute(&schema.ddl()).await.with_context(|| format!("failed to create the schema of {}", schema.describe()))?;
        Ok(database)
    }

    /// A new database without any table; its `schema()` says so.
    pub async fn empty_database(&self) -> anyhow::Result<TestDatabase> {
        let schema = Schema {
            version: "none".into(),
            alembic: String::new(),
            extensions: Vec::new(),
            functions: Vec::new(),
            sequences: Vec::new(),
            tables: Default::default(),
            mutations: Vec::new(),
        };
        self.create(" TEMPLATE template0", schema).await
    }

    /// A copy of a database with all its rows; nobody may be connected to the original.
    pub async fn copy_of(&self, original: &TestDatabase) -> anyhow::Result<TestDatabase> {
        self.create(&format!(" TEMPLATE {}", original.name()), original.schema().clone()).await
    }

    /// Makes sure that a role exists which may log in as `TestDatabase::url_as` does. Roles belong to the whole server, so tests
    /// share them by name.
    pub async fn role(&self, name: &str) -> anyhow::Result<()> {
        let mut admin = self.admin().await?;
        sqlx::query("SELECT pg_advisory_lock($1)").bind(TEMPLATE_LOCK).execute(&mut admin).await?;
        let exists: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)").bind(name).fetch_one(&mut admin).await?;
        let verb = if exists { "ALTER" } else { "CREATE" };
        execute(&mut admin, format!("{verb} ROLE {} LOGIN PASSWORD '{ROLE_PASSWORD}'", crate::schema::quoted(name))).await?;
        admin.close().await?;
        Ok(())
    }

    /// A hot standby of this cluster that streams from it.
    pub async fn standby(&self) -> anyhow::Result<Standby> {
        Standby::of(self.server()?).await
    }

    async fn create(&self, options: &str, schema: Schema) -> anyhow::Result<TestDatabase> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("dify_observe_{}_{number}", std::process::id());
        let mut admin = self.admin().await?;
        // Left by a process of the same id that was killed.
        execute(&mut admin, format!("DROP DATABASE IF EXISTS {name}")).await?;
        execute(&mut admin, format!("CREATE DATABASE {name}{options}")).await?;
        admin.close().await?;
        Ok(TestDatabase::new(name.clone(), self.url(&name), self.url.clone(), schema))
    }

    /// The template of a schema is made once for a server and found by its content.
    async fn template(&self, schema: &Schema) -> anyhow::Result<String> {
        let ddl = schema.ddl();
        let digest = Sha256::digest(ddl.as_bytes());
        let fingerprint: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let name = format!("dify_observe_template_{fingerprint}");
        let mut admin = self.admin().await?;
        sqlx::query("SELECT pg_advisory_lock($1)").bind(TEMPLATE_LOCK).execute(&mut admin).await?;
        let ready: Option<bool> =
            sqlx::query_scalar("SELECT datistemplate FROM pg_database WHERE datname = $1").bind(&name).fetch_optional(&mut admin).await?;
        if ready != Some(true) {
            self.make_template(&mut admin, &name, &ddl)
                .await
                .with_context(|| format!("failed to create the schema of {}", schema.describe()))?;
        }
        // The lock goes with the connection.
        admin.close().await?;
        Ok(name)
    }

    async fn make_template(&self, admin: &mut PgConnection, name: &str, ddl: &str) -> anyhow::Result<()> {
        // Half made by a process that was killed.
        execute(admin, format!("DROP DATABASE IF EXISTS {name}")).await?;
        execute(admin, format!("CREATE DATABASE {name} TEMPLATE template0")).await?;
        let mut connection = PgConnection::connect(&self.url(name)).await?;
        execute(&mut connection, ddl.to_owned()).await?;
        connection.close().await?;
        execute(admin, format!("ALTER DATABASE {name} IS_TEMPLATE true")).await
    }
}

async fn execute(connection: &mut PgConnection, sql: String) -> anyhow::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}
