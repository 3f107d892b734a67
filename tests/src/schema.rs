//! Dify's database schemas as data: one file a version in `tests/schemas/`, from which test databases are made.
//!
//! A new Dify version is one more file in that folder; nothing else names the versions. The format is compact and made to be
//! compared with `diff`: one line a column, one line an index.

mod ddl;
mod file;
mod mutate;
mod read;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, bail};

pub(crate) use ddl::quoted;

/// The schema of one Dify version, or a mutation of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    /// Dify's version, for example `1.12.1`.
    pub version: String,
    /// The head of Dify's migrations, as it stands in `alembic_version`.
    pub alembic: String,
    /// PostgreSQL extensions that Dify creates.
    pub extensions: Vec<String>,
    /// Signatures of the functions that Dify creates.
    pub functions: Vec<String>,
    /// Sequences that column defaults use.
    pub sequences: Vec<String>,
    /// Tables by name.
    pub tables: BTreeMap<String, Table>,
    /// What was changed from the version's own schema, one sentence each; empty for the real thing.
    pub mutations: Vec<String>,
}

/// One table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// Columns in physical order.
    pub columns: Vec<Column>,
    /// The primary key.
    pub primary_key: Option<Key>,
    /// Unique constraints.
    pub unique: Vec<Key>,
    /// Foreign keys: name and definition.
    pub foreign_keys: Vec<(String, String)>,
    /// Indexes that do not stand behind a constraint.
    pub indexes: Vec<Index>,
}

/// One column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Name.
    pub name: String,
    /// Full SQL type, for example `character varying(255)`.
    pub sql_type: String,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// Default as SQL, or the expression of a generated column.
    pub default: Option<String>,
    /// Whether the value is always computed from other columns.
    pub generated: bool,
}

/// A primary key or unique constraint.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// Constraint name.
    pub name: String,
    /// Columns in order.
    pub columns: Vec<String>,
}

/// An index without a constraint.
#[derive(Debug, Clone, PartialEq)]
pub struct Index {
    /// Index name.
    pub name: String,
    /// Whether it is unique.
    pub unique: bool,
    /// What follows `USING`, for example `btree (app_id, created_at DESC) WHERE (is_deleted IS FALSE)`.
    pub definition: String,
}

impl Schema {
    /// The folder with one file a version.
    pub fn folder() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schemas")
    }

    /// All versions in the folder, oldest first.
    pub fn versions() -> anyhow::Result<Vec<String>> {
        let folder = Self::folder();
        let mut versions = Vec::new();
        for entry in std::fs::read_dir(&folder).with_context(|| format!("failed to list {}", folder.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json")
                && let Some(version) = path.file_stem().and_then(|stem| stem.to_str())
            {
                versions.push(version.to_owned());
            }
        }
        if versions.is_empty() {
            bail!("no schema files in {}", folder.display());
        }
        versions.sort_by_key(|version| version_key(version));
        Ok(versions)
    }

    /// Reads the schema of one version.
    pub fn load(version: &str) -> anyhow::Result<Self> {
        let path = Self::folder().join(format!("{version}.json"));
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("no schema file {} (known: {})", path.display(), Self::versions().unwrap_or_default().join(", ")))?;
        Self::parse(&text).with_context(|| format!("failed to read {}", path.display()))
    }

    /// Reads the schemas of all versions, oldest first.
    pub fn all() -> anyhow::Result<Vec<Self>> {
        Self::versions()?.iter().map(|version| Self::load(version)).collect()
    }

    /// What a test should hold on: every version, and one of them mutated by `seed`.
    pub fn test_set(seed: u64) -> anyhow::Result<Vec<Self>> {
        let mut schemas = Self::all()?;
        let chosen = usize::try_from(seed % schemas.len() as u64)?;
        schemas.push(schemas[chosen].mutated(seed));
        Ok(schemas)
    }

    /// Whether the version has a table.
    pub fn has_table(&self, table: &str) -> bool {
        self.tables.contains_key(table)
    }

    /// The column of a table, where the version has both.
    pub fn column(&self, table: &str, column: &str) -> Option<&Column> {
        self.tables.get(table)?.columns.iter().find(|candidate| candidate.name == column)
    }

    /// Whether an index or a key of the table begins with these columns.
    pub fn has_index_on(&self, table: &str, columns: &[&str]) -> bool {
        let Some(table) = self.tables.get(table) else { return false };
        let keys = table.primary_key.iter().chain(&table.unique).map(|key| key.columns.join(", "));
        let wanted = columns.join(", ");
        let starts = |listed: &str| listed.strip_prefix(&wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with([',', ')', ' ']));
        keys.into_iter().any(|key| starts(&key))
            || table.indexes.iter().any(|index| index.definition.strip_prefix("btree (").is_some_and(starts))
    }

    /// A short line for test output: the version and what was mutated.
    pub fn describe(&self) -> String {
        if self.mutations.is_empty() {
            return format!("Dify {}", self.version);
        }
        format!("Dify {} with: {}", self.version, self.mutations.join("; "))
    }
}

/// Orders `1.8.1` before `1.11.4`; what is not a number sorts after numbers.
fn version_key(version: &str) -> Vec<(u8, u64, String)> {
    version
        .split(['.', '-'])
        .map(|part| match part.parse::<u64>() {
            Ok(number) => (0, number, String::new()),
            Err(_) => (1, 0, part.to_owned()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_numbers() {
        let versions = Schema::versions().unwrap();
        let old = versions.iter().position(|version| version == "1.8.1").unwrap();
        let new = versions.iter().position(|version| version == "1.11.4").unwrap();
        assert!(old < new, "{versions:?}");
    }

    #[test]
    fn an_index_is_found_by_its_leading_columns() {
        let schema = Schema::load("1.12.1").unwrap();
        assert!(schema.has_index_on("workflow_runs", &["created_at"]));
        assert!(schema.has_index_on("workflow_node_executions", &["workflow_run_id"]));
        assert!(schema.has_index_on("messages", &["id"]));
        assert!(!Schema::load("1.8.1").unwrap().has_index_on("workflow_runs", &["created_at"]));
    }
}
