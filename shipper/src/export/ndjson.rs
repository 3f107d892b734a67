//! One JSON object a line: documents as they are, with their ids; rows as objects.

use std::io::Write;

use serde_json::{Map, Value};

use super::Sheet;
use super::columns::{Cell, Column};

pub(super) struct Ndjson {
    out: Box<dyn Write + Send>,
    columns: Vec<Column>,
}

impl Ndjson {
    pub(super) fn new(out: Box<dyn Write + Send>, columns: &[Column]) -> Self {
        Ndjson { out, columns: columns.to_vec() }
    }
}

impl Sheet for Ndjson {
    fn row(&mut self, cells: Vec<Cell>) -> anyhow::Result<()> {
        let value = |cell| match cell {
            Cell::None => Value::Null,
            Cell::Text(text) => Value::from(text),
            Cell::Long(number) => Value::from(number),
            Cell::Double(number) => Value::from(number),
            Cell::Bool(value) => Value::from(value),
            Cell::Time(time) => Value::from(time.to_string()),
        };
        let row: Map<String, Value> = self.columns.iter().map(|column| column.name.clone()).zip(cells.into_iter().map(value)).collect();
        serde_json::to_writer(&mut self.out, &row)?;
        self.out.write_all(b"\n")?;
        Ok(())
    }

    fn document(&mut self, id: &str, source: &[u8]) -> anyhow::Result<bool> {
        self.out.write_all(b"{\"_id\":")?;
        serde_json::to_writer(&mut self.out, id)?;
        let members = source.strip_prefix(b"{").unwrap_or(source);
        if members != b"}" {
            self.out.write_all(b",")?;
        }
        self.out.write_all(members)?;
        self.out.write_all(b"\n")?;
        Ok(true)
    }

    fn finish(mut self: Box<Self>) -> anyhow::Result<()> {
        self.out.flush()?;
        Ok(())
    }
}
