//! The Python environment of `scripts/setup-python.sh`: the DuckDB package and an S3 server.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

use crate::children::run;

/// The interpreter.
pub fn python() -> anyhow::Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/tmp".into())).join(".cache");
    let python = cache.filter(|folder| folder.is_absolute()).unwrap_or_else(home).join("dify-observe/python/bin/python");
    if !python.is_file() {
        bail!("{} is not there: run `make setup`", python.display());
    }
    Ok(python)
}

/// What DuckDB answers to `statements`, each row as JSON. A mistake in one is an error.
pub fn duckdb(statements: &str) -> anyhow::Result<Vec<serde_json::Value>> {
    const PROGRAM: &str = "
import duckdb, json, sys
connection = duckdb.connect()
connection.execute(sys.argv[1])
names = [column[0] for column in connection.description]
print(json.dumps([dict(zip(names, row)) for row in connection.fetchall()], default=str))
";
    let answer = run(Command::new(python()?).arg("-c").arg(PROGRAM).arg(statements))?;
    serde_json::from_str(&answer).context("DuckDB's answer is no JSON")
}
