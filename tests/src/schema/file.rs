//! Reading and writing a schema file.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, anyhow, bail};
use serde::{Deserialize, Serialize};

use super::{Column, Index, Key, Schema, Table};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SchemaFile {
    version: String,
    alembic: String,
    extensions: Vec<String>,
    functions: Vec<String>,
    sequences: Vec<String>,
    tables: BTreeMap<String, TableFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TableFile {
    columns: Vec<Vec<String>>,
    primary_key: Option<(String, Vec<String>)>,
    #[serde(default)]
    unique: Vec<(String, Vec<String>)>,
    #[serde(default)]
    foreign_keys: Vec<(String, String)>,
    #[serde(default)]
    indexes: Vec<(String, String, String)>,
}

impl Schema {
    /// Reads a schema from the text of its file.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let file: SchemaFile = serde_json::from_str(text)?;
        let tables = file
            .tables
            .into_iter()
            .map(|(name, table)| {
                let table = table.try_into().with_context(|| format!("table {name}"))?;
                Ok((name, table))
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Self {
            version: file.version,
            alembic: file.alembic,
            extensions: file.extensions,
            functions: file.functions,
            sequences: file.sequences,
            tables,
            mutations: Vec::new(),
        })
    }

    /// The text of the schema's file; mutations are kept in the tables but not described.
    pub fn to_file_text(&self) -> String {
        let tables: Vec<String> =
            self.tables.iter().map(|(name, table)| format!("{}: {{\n{}\n}}", json(name), table_text(table))).collect();
        format!(
            "{{\n\"version\": {},\n\"alembic\": {},\n\"extensions\": {},\n\"functions\": {},\n\"sequences\": {},\n\"tables\": {{\n{}\n}}\n}}\n",
            json(&self.version),
            json(&self.alembic),
            json_list(&self.extensions),
            json_list(&self.functions),
            json_list(&self.sequences),
            tables.join(",\n"),
        )
    }
}

impl TryFrom<TableFile> for Table {
    type Error = anyhow::Error;

    fn try_from(file: TableFile) -> anyhow::Result<Self> {
        let key = |(name, columns)| Key { name, columns };
        Ok(Self {
            columns: file.columns.into_iter().map(column).collect::<anyhow::Result<_>>()?,
            primary_key: file.primary_key.map(key),
            unique: file.unique.into_iter().map(key).collect(),
            foreign_keys: file.foreign_keys,
            indexes: file
                .indexes
                .into_iter()
                .map(|(name, unique, definition)| Index { name, unique: unique == "unique", definition })
                .collect(),
        })
    }
}

/// `[name, type, "null" | "not null", default?, "generated"?]`
fn column(parts: Vec<String>) -> anyhow::Result<Column> {
    let line = parts.join(" ");
    let mut parts = parts.into_iter();
    let mut next = |what: &str| parts.next().ok_or_else(|| anyhow!("column `{line}` has no {what}"));
    let (name, sql_type, null) = (next("name")?, next("type")?, next("null")?);
    let not_null = match null.as_str() {
        "null" => false,
        "not null" => true,
        other => bail!("column `{line}`: `{other}` is neither `null` nor `not null`"),
    };
    let default = parts.next();
    let generated = parts.next().is_some_and(|word| word == "generated");
    Ok(Column { name, sql_type, not_null, default, generated })
}

fn table_text(table: &Table) -> String {
    let mut parts = vec![section("columns", table.columns.iter().map(column_text))];
    if let Some(key) = &table.primary_key {
        parts.push(format!(" \"primary_key\": {}", key_text(key)));
    }
    let mut optional = |name: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            parts.push(section(name, lines.into_iter()));
        }
    };
    optional("unique", table.unique.iter().map(key_text).collect());
    optional("foreign_keys", table.foreign_keys.iter().map(|(name, definition)| json_list(&[name, definition])).collect());
    optional("indexes", table.indexes.iter().map(index_text).collect());
    parts.join(",\n")
}

fn section(name: &str, lines: impl Iterator<Item = String>) -> String {
    let mut text = format!(" \"{name}\": [\n");
    for (place, line) in lines.enumerate() {
        let comma = if place == 0 { "" } else { ",\n" };
        write!(text, "{comma}  {line}").expect("writing to a string does not fail");
    }
    text.push_str("\n ]");
    text
}

fn column_text(column: &Column) -> String {
    let mut parts = vec![column.name.as_str(), &column.sql_type, if column.not_null { "not null" } else { "null" }];
    parts.extend(column.default.as_deref());
    if column.generated {
        parts.push("generated");
    }
    json_list(&parts)
}

fn key_text(key: &Key) -> String {
    format!("[{}, {}]", json(&key.name), json_list(&key.columns))
}

fn index_text(index: &Index) -> String {
    let kind = if index.unique { "unique" } else { "plain" };
    json_list(&[index.name.as_str(), kind, &index.definition])
}

fn json(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("strings become JSON")
}

fn json_list(values: &[impl Serialize]) -> String {
    let values: Vec<String> = values.iter().map(json).collect();
    format!("[{}]", values.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_written_as_it_was_read() {
        for version in Schema::versions().unwrap() {
            let text = std::fs::read_to_string(Schema::folder().join(format!("{version}.json"))).unwrap();
            let schema = Schema::parse(&text).unwrap();
            assert_eq!(schema.version, version);
            assert_eq!(schema.to_file_text(), text, "{version}");
        }
    }
}
