//! What was put back, or would be.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use dify_observe_core::dify::retention::restore::Restored;
use dify_observe_core::dify::time::Micros;
use dify_observe_core::exit::Exit;
use serde::Serialize;
use uuid::Uuid;

/// Up to so many rows that stayed as they were are named.
const NAMED: usize = 20;

/// Rows of one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct TableOutcome {
    /// They were not there, and are now.
    inserted: u64,
    /// They were there as they were archived.
    same: u64,
    /// They were there in another version, and stayed so.
    different: u64,
    /// They were there in another version, and were replaced.
    overwritten: u64,
    /// Another row has a key that is unique.
    obstructed: u64,
}

/// A row that was not put back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct LeftRow {
    table: String,
    id: Uuid,
}

/// What became of a restoration.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Outcome {
    /// Whether anything was written.
    pub(super) executed: bool,
    /// Bundles that were put back, or would be.
    pub(super) bundles: u64,
    /// Bundles of which something is there already.
    pub(super) present: u64,
    /// Bundles that were not reached before the end was asked for.
    pub(super) not_reached: u64,
    /// Until when they are left alone.
    pub(super) held_until: Option<String>,
    /// Rows, by table.
    pub(super) tables: BTreeMap<String, TableOutcome>,
    /// Rows that were not put back, because they are there in another version or something is in their place.
    pub(super) rows_left: Vec<LeftRow>,
    /// Archived columns that this version of Dify does not have, with a value.
    pub(super) columns_left_out: BTreeSet<String>,
    /// Bundles that could not be put back, and why.
    pub(super) failures: BTreeMap<Uuid, String>,
}

impl Outcome {
    /// Adds a bundle that was put back.
    pub(super) fn add(&mut self, restored: Restored) {
        self.bundles += 1;
        for (table, counts) in restored.tables {
            let total = self.tables.entry(table).or_default();
            total.inserted += counts.inserted;
            total.same += counts.same;
            total.different += counts.different;
            total.overwritten += counts.overwritten;
            total.obstructed += counts.obstructed;
        }
        self.rows_left.extend(restored.not_restored.into_iter().map(|(table, key)| LeftRow { table, id: key.id }));
        self.columns_left_out.extend(restored.left_out);
    }

    /// That what was put back is left alone.
    pub(super) fn held(&mut self, until: Micros) {
        self.held_until = Some(until.to_string());
    }

    /// A row that is there in another version is no failure: not to overwrite is the promise.
    pub(super) fn exit(&self) -> Exit {
        let obstructed = self.tables.values().any(|table| table.obstructed > 0);
        match (self.failures.is_empty() && !obstructed, self.not_reached) {
            (false, _) => Exit::Failed,
            (true, 0) => Exit::Done,
            (true, _) => Exit::TryLater,
        }
    }

    /// For people.
    pub(super) fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        if self.executed {
            writeln!(out, "{} bundles put back", self.bundles)?;
        } else {
            writeln!(out, "{} bundles would be put back; of {} something is there already", self.bundles, self.present)?;
        }
        if !self.tables.is_empty() {
            self.write_tables(out)?;
        }
        for row in self.rows_left.iter().take(NAMED) {
            writeln!(out, "not put back, because it is there in another version: {} {}", row.table, row.id)?;
        }
        if self.rows_left.len() > NAMED {
            writeln!(out, "… and {} more rows", self.rows_left.len() - NAMED)?;
        }
        for column in &self.columns_left_out {
            writeln!(out, "left out, because this version of Dify does not have it: {column}")?;
        }
        for (bundle, reason) in &self.failures {
            writeln!(out, "{bundle} was not put back: {reason}")?;
        }
        if self.not_reached > 0 {
            writeln!(out, "{} bundles were not reached: run it again", self.not_reached)?;
        }
        match &self.held_until {
            Some(until) => writeln!(out, "they are left alone until {until}"),
            None if !self.executed => writeln!(out, "nothing was written: add --execute"),
            None => Ok(()),
        }
    }

    fn write_tables(&self, out: &mut impl Write) -> io::Result<()> {
        let width = self.tables.keys().map(String::len).max().unwrap_or(0).max(5);
        writeln!(
            out,
            "{:width$}  {:>9}  {:>9}  {:>9}  {:>11}  {:>10}",
            "table", "inserted", "same", "different", "overwritten", "obstructed"
        )?;
        for (name, table) in &self.tables {
            let TableOutcome { inserted, same, different, overwritten, obstructed } = table;
            writeln!(out, "{name:width$}  {inserted:>9}  {same:>9}  {different:>9}  {overwritten:>11}  {obstructed:>10}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use dify_observe_core::dify::retention::restore::Counts;

    use super::*;

    fn restored(counts: Counts) -> Restored {
        Restored { tables: [("messages".to_owned(), counts)].into(), ..Restored::default() }
    }

    #[test]
    fn not_to_overwrite_is_no_failure_and_an_obstacle_is() {
        let mut outcome = Outcome { executed: true, ..Outcome::default() };
        outcome.add(restored(Counts { inserted: 2, different: 1, ..Counts::default() }));
        assert_eq!(outcome.exit(), Exit::Done);
        outcome.not_reached = 1;
        assert_eq!(outcome.exit(), Exit::TryLater);
        outcome.add(restored(Counts { obstructed: 1, ..Counts::default() }));
        assert_eq!(outcome.exit(), Exit::Failed);
    }

    #[test]
    fn says_what_was_done_by_table() {
        let mut outcome = Outcome { executed: true, ..Outcome::default() };
        outcome.add(restored(Counts { inserted: 2, same: 1, ..Counts::default() }));
        let mut out = Vec::new();
        outcome.write_text(&mut out).unwrap();
        let expected = "\
1 bundles put back
table      inserted       same  different  overwritten  obstructed
messages          2          1          0            0           0
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
