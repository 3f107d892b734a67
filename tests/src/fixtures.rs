//! Rows that a real Dify wrote, what its own statistics said about them, and the log of how they came to be.
//!
//! The files are in `tests/fixtures/`; its README says what is in them.

mod changes;
mod script;

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::Context;
use serde::Deserialize;

pub use changes::{Change, LOGGED_TABLES, Operation, Transaction, transactions};

use crate::postgres::TestDatabase;

/// Versions of which there are real rows.
pub const REAL_VERSIONS: [&str; 2] = ["1.8.1", "1.12.1"];

/// The version whose change log and statistics are there.
pub const LOGGED_VERSION: &str = "1.8.1";

/// How many statements were run, and which tables of the rows the schema does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Rows inserted.
    pub rows: usize,
    /// Tables left out.
    pub skipped: std::collections::BTreeSet<String>,
}

/// Loads the real rows of `version` into a database with that version's schema, or a mutation of it.
pub async fn load_real_rows(database: &TestDatabase, version: &str) -> anyhow::Result<Loaded> {
    load_real_rows_except(database, version, &[]).await
}

/// The same without the rows of some tables: what was there before a replay of the change log.
pub async fn load_real_rows_except(database: &TestDatabase, version: &str, except: &[&str]) -> anyhow::Result<Loaded> {
    let text = read(&format!("rows-{version}.sql.gz"))?;
    let mut loaded = Loaded { rows: 0, skipped: Default::default() };
    let mut sql = String::with_capacity(text.len());
    for statement in script::statements(&text) {
        let Some(table) = script::inserted_table(statement) else { continue };
        if !database.schema().has_table(table) || except.contains(&table) {
            loaded.skipped.insert(table.to_owned());
            continue;
        }
        loaded.rows += 1;
        sql.push_str(statement);
        sql.push_str(";\n");
    }
    database.execute(&sql).await.with_context(|| format!("failed to load the rows of Dify {version}"))?;
    Ok(loaded)
}

/// What one of Dify's Monitoring endpoints answered.
#[derive(Debug, Clone, Deserialize)]
pub struct Statistic {
    /// The app asked about.
    pub app_id: uuid::Uuid,
    /// Its name.
    pub app_name: String,
    /// Its mode.
    pub app_mode: String,
    /// The endpoint, with `<app_id>` in place of the id.
    pub endpoint: String,
    /// The time zone of the account that asked.
    pub time_zone: String,
    /// `start` and `end` in that time zone, start inclusive, end exclusive; absent means no bound.
    pub params: serde_json::Map<String, serde_json::Value>,
    /// The JSON answer.
    pub answer: serde_json::Value,
}

/// The answers of Dify 1.8.1's own statistics about exactly the real rows of that version.
pub fn statistics() -> anyhow::Result<Vec<Statistic>> {
    #[derive(Deserialize)]
    struct File {
        answers: Vec<Statistic>,
    }
    let file: File = serde_json::from_str(&read("statistics-1.8.1.json.gz")?).context("failed to read the statistics")?;
    Ok(file.answers)
}

fn read(name: &str) -> anyhow::Result<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    let file = std::fs::File::open(&path).with_context(|| format!("failed to open {}", path.display()))?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).with_context(|| format!("failed to unpack {}", path.display()))?;
    Ok(text)
}
