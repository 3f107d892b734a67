//! What an archive holds, read with a Parquet reader alone.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use dify_observe_tests::retention::Keys;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field;
use serde_json::Value;

/// How often each row is in the archive, by table and key.
pub(crate) type Archived = BTreeMap<String, BTreeMap<String, usize>>;

/// The rows of batches that are done.
pub(crate) fn done(archive: &Path) -> anyhow::Result<Archived> {
    rows_of(archive, &["manifests/done"])
}

/// The rows of all batches that count: those on their way too.
pub(crate) fn all(archive: &Path) -> anyhow::Result<Archived> {
    rows_of(archive, &["manifests/done", "manifests/open"])
}

/// How many batches are neither done nor given up.
pub(crate) fn unfinished(archive: &Path) -> anyhow::Result<usize> {
    Ok(files(&archive.join("manifests/open"), "json")?.len())
}

fn rows_of(archive: &Path, folders: &[&str]) -> anyhow::Result<Archived> {
    let mut archived = Archived::new();
    for folder in folders {
        for manifest in files(&archive.join(folder), "json")? {
            let text = std::fs::read(&manifest)?;
            // Its first line is about the second one: format and checksum.
            let text = text.split(|byte| *byte == b'\n').nth(1).context("a manifest of one line")?;
            let manifest: Value = serde_json::from_slice(text).with_context(|| format!("{}", manifest.display()))?;
            for entry in manifest["tables"].as_array().context("a manifest without tables")? {
                let table = entry["shape"]["table"].as_str().context("a table without a name")?;
                let path = entry["rows"]["path"].as_str().context("a table without an object")?;
                let rows = archived.entry(table.to_owned()).or_default();
                for key in keys(&archive.join(path), table)? {
                    *rows.entry(key).or_default() += 1;
                }
            }
        }
    }
    Ok(archived)
}

/// The primary keys in a Parquet file.
fn keys(path: &Path, table: &str) -> anyhow::Result<Vec<String>> {
    let reader = SerializedFileReader::new(File::open(path).with_context(|| format!("{}", path.display()))?)?;
    let mut keys = Vec::new();
    for row in reader.get_row_iter(None)? {
        let row = row?;
        let column = |wanted: &str| {
            row.get_column_iter().find(|(name, _)| *name == wanted).and_then(|(_, field)| match field {
                Field::Str(text) => Some(text.clone()),
                _ => None,
            })
        };
        let id = column("id").with_context(|| format!("a row without id in {}", path.display()))?;
        let second = (table == "workflow_conversation_variables").then(|| column("conversation_id")).flatten();
        keys.push(second.map_or(id.clone(), |second| format!("{id}/{second}")));
    }
    Ok(keys)
}

/// Files below a folder; none when it is not there.
pub(crate) fn files(folder: &Path, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(found) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path, extension)?);
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Rows that are gone and in no batch, one line each.
pub(crate) fn lost(gone: &Keys, archived: &Archived) -> Vec<String> {
    let none = BTreeMap::new();
    let lines = gone.iter().flat_map(|(table, keys)| {
        let there = archived.get(table).unwrap_or(&none);
        keys.iter().filter(|key| !there.contains_key(*key)).map(move |key| format!("{table} {key} is lost"))
    });
    lines.collect()
}

/// Rows that are in the archive and not gone, or more than once, one line each.
pub(crate) fn superfluous(gone: &Keys, archived: &Archived) -> Vec<String> {
    let none = Default::default();
    let lines = archived.iter().flat_map(|(table, rows)| {
        let gone = gone.get(table).unwrap_or(&none);
        let wrong = rows.iter().filter(|(key, times)| **times != 1 || !gone.contains(*key));
        wrong.map(move |(key, times)| format!("{table} {key} is archived {times} times and gone: {}", gone.contains(key)))
    });
    lines.collect()
}
