//! Values that are too large to hold: their parts are collected in a temporary table, in which the server puts them together.

use std::collections::HashMap;
use std::sync::Arc;

use crate::dify::retention::rows::{Cell, Key, Row, Shape};
use crate::dify::session::{DatabaseError, WriteTx, query};

/// Rows whose large values are on their way.
#[derive(Debug, Default)]
pub(super) struct Slices {
    has_table: bool,
    /// Rows so far: each is known in the temporary table by a number.
    rows: i32,
    parts: i32,
    waiting: Vec<Waiting>,
}

/// A row and how much of its large values is still to come.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) shape: Arc<Shape>,
    pub(super) row: Row,
    number: i32,
    missing: HashMap<usize, u64>,
}

impl Waiting {
    /// The SQL that yields the bytes of a column, where it is one of the large ones.
    pub(super) fn part_of(&self, column: usize) -> Option<String> {
        self.missing.contains_key(&column).then(|| {
            format!(
                "(SELECT string_agg(s.bytes, ''::bytea ORDER BY s.part) FROM pg_temp.dify_observe_slices s \
                 WHERE s.row = {} AND s.place = {column})",
                self.number
            )
        })
    }
}

/// Whether a row has values that come in parts.
pub(super) fn is_incomplete(row: &Row) -> bool {
    row.cells.iter().any(|cell| matches!(cell, Cell::Large(_)))
}

impl Slices {
    /// Keeps a row until its parts have come.
    pub(super) fn wait(&mut self, shape: Arc<Shape>, row: Row) {
        self.rows += 1;
        let large = |(column, cell): (usize, &Cell)| match cell {
            Cell::Large(bytes) => Some((column, *bytes)),
            _ => None,
        };
        let missing = row.cells.iter().enumerate().filter_map(large).collect();
        self.waiting.push(Waiting { shape, row, number: self.rows, missing });
    }

    /// Takes one part; the row, once it was the last one. A part of a row that does not wait is none of ours.
    pub(super) async fn add(
        &mut self,
        tx: &mut WriteTx,
        table: &str,
        key: Key,
        column: usize,
        bytes: &[u8],
    ) -> Result<Option<Waiting>, DatabaseError> {
        let is_it = |waiting: &Waiting| waiting.shape.table == table && waiting.row.key == key;
        let Some(place) = self.waiting.iter().position(is_it) else { return Ok(None) };
        if !self.has_table {
            tx.execute(query("CREATE TEMPORARY TABLE dify_observe_slices (row int, place int, part int, bytes bytea) ON COMMIT DROP"))
                .await?;
            self.has_table = true;
        }
        self.parts += 1;
        let waiting = &mut self.waiting[place];
        let insert = query("INSERT INTO pg_temp.dify_observe_slices VALUES ($1, $2, $3, $4)");
        let column_number = i32::try_from(column).unwrap_or(i32::MAX);
        tx.execute(insert.bind(waiting.number).bind(column_number).bind(self.parts).bind(bytes)).await?;
        if let Some(missing) = waiting.missing.get_mut(&column) {
            *missing = missing.saturating_sub(bytes.len() as u64);
        }
        let complete = waiting.missing.values().all(|missing| *missing == 0);
        Ok(complete.then(|| self.waiting.swap_remove(place)))
    }

    /// Forgets the parts of a row that was put back.
    pub(super) async fn drop_parts(&self, tx: &mut WriteTx, waiting: &Waiting) -> Result<(), DatabaseError> {
        tx.execute(query("DELETE FROM pg_temp.dify_observe_slices WHERE row = $1").bind(waiting.number)).await?;
        Ok(())
    }

    /// A row that still waits.
    pub(super) fn incomplete(&self) -> Option<(String, Key)> {
        self.waiting.first().map(|waiting| (waiting.shape.table.clone(), waiting.row.key))
    }
}
