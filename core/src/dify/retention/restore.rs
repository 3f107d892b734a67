//! Putting archived rows back, byte for byte, a bundle in a transaction, into whatever version of Dify is here now.
//!
//! A row that is there is never overwritten unasked. What was inserted is read back and compared before the transaction may be
//! committed, and so is what was there before.

mod destination;
mod slices;
mod statements;
mod values;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::rows::{Cell, Key, Piece, Row, Rows, Shape};
use crate::dify::session::{Database, DatabaseError, WriteLimits, WriteTx, built_query};
use slices::{Slices, Waiting};
use statements::Statements;

pub use destination::{CannotRestore, Destination};

/// What happens to a row that is there in another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and is reported.
    Keep,
    /// It is replaced by the archived one.
    Overwrite,
}

/// What became of the rows of one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// They were not there.
    pub inserted: u64,
    /// They were there as they were archived.
    pub same: u64,
    /// They were there in another version, which stayed.
    pub different: u64,
    /// They were there in another version, which was replaced.
    pub overwritten: u64,
    /// They cannot be put back: another row holds a key that is unique.
    pub obstructed: u64,
}

/// What a restoration did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Restored {
    /// By table.
    pub tables: BTreeMap<String, Counts>,
    /// Rows that were not put back: those that differ, and those that are obstructed.
    pub not_restored: Vec<(String, Key)>,
    /// Archived columns that this version of Dify does not have, with a value: `table.column`.
    pub left_out: BTreeSet<String>,
}

/// Why rows could not be put back. The transaction is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// This database has no place for them.
    #[error(transparent)]
    Cannot(#[from] CannotRestore),
    /// The database failed, or refused.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// What was put back does not read as it was archived.
    #[error("a row of {table} does not read back as it was archived ({}); nothing of its bundle was put back", key.id)]
    NotTheSame {
        /// The table.
        table: String,
        /// The row.
        key: Key,
    },
    /// Parts of a large value are missing.
    #[error("the archive ends before a large value of {table} is complete ({}); nothing of its bundle was put back", key.id)]
    Incomplete {
        /// The table.
        table: String,
        /// The row.
        key: Key,
    },
}

/// Rows of one bundle on their way back, in one transaction. Dropping it takes everything back.
#[derive(Debug)]
pub struct Restoration {
    tx: WriteTx,
    destination: Arc<Destination>,
    existing: Existing,
    statements: HashMap<String, Arc<Statements>>,
    slices: Slices,
    restored: Restored,
}

impl Restoration {
    /// Begins a transaction.
    pub async fn begin(
        db: &Database,
        destination: Arc<Destination>,
        existing: Existing,
        limits: WriteLimits,
    ) -> Result<Restoration, DatabaseError> {
        let tx = db.write(limits).await?;
        let (statements, slices, restored) = (HashMap::new(), Slices::default(), Restored::default());
        Ok(Restoration { tx, destination, existing, statements, slices, restored })
    }

    /// Puts back what was read from the archive, in the order in which it was archived.
    pub async fn put(&mut self, piece: &Piece) -> Result<(), RestoreError> {
        match piece {
            Piece::Rows(Rows { shape, rows }) => {
                let (waiting, complete): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| slices::is_incomplete(row));
                waiting.into_iter().for_each(|row| self.slices.wait(Arc::clone(shape), row.clone()));
                self.put_rows(shape, &complete, None).await
            }
            Piece::Slice { shape, key, column, bytes, .. } => {
                match self.slices.add(&mut self.tx, &shape.table, *key, *column, bytes).await? {
                    Some(complete) => self.put_large(&complete).await,
                    None => Ok(()),
                }
            }
        }
    }

    /// Makes it so.
    pub async fn commit(self) -> Result<Restored, RestoreError> {
        if let Some((table, key)) = self.slices.incomplete() {
            return Err(RestoreError::Incomplete { table, key });
        }
        self.tx.commit().await?;
        Ok(self.restored)
    }

    /// Takes everything back, and says what would have been done.
    pub async fn cancel(self) -> Result<Restored, RestoreError> {
        self.tx.rollback().await?;
        Ok(self.restored)
    }

    async fn put_large(&mut self, waiting: &Waiting) -> Result<(), RestoreError> {
        self.put_rows(&Arc::clone(&waiting.shape), &[&waiting.row], Some(waiting)).await?;
        self.slices.drop_parts(&mut self.tx, waiting).await?;
        Ok(())
    }

    async fn put_rows(&mut self, shape: &Arc<Shape>, rows: &[&Row], large: Option<&Waiting>) -> Result<(), RestoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let statements = self.statements(shape, large)?;
        self.note_left_out(&statements, rows);
        let inserted = self.insert(&statements, rows).await?;
        let there = self.compare(&statements, rows).await?;
        require_same(shape, &inserted, &there)?;
        let replaced = match self.existing {
            Existing::Keep => HashSet::new(),
            Existing::Overwrite => self.replace(&statements, rows, &there).await?,
        };
        let counts = self.restored.tables.entry(shape.table.clone()).or_default();
        for row in rows {
            let count = match there.get(&row.key) {
                _ if inserted.contains(&row.key) => &mut counts.inserted,
                _ if replaced.contains(&row.key) => &mut counts.overwritten,
                Some(true) => &mut counts.same,
                Some(false) => &mut counts.different,
                None => &mut counts.obstructed,
            };
            *count += 1;
        }
        let stayed = rows.iter().filter(|row| !there.get(&row.key).is_some_and(|same| *same) && !replaced.contains(&row.key));
        self.restored.not_restored.extend(stayed.map(|row| (shape.table.clone(), row.key)));
        Ok(())
    }

    /// Replaces the rows that differ by the archived ones.
    async fn replace(&mut self, statements: &Statements, rows: &[&Row], there: &HashMap<Key, bool>) -> Result<HashSet<Key>, RestoreError> {
        let differ: Vec<&Row> = rows.iter().copied().filter(|row| there.get(&row.key) == Some(&false)).collect();
        if differ.is_empty() {
            return Ok(HashSet::new());
        }
        let query = values::bind(built_query(statements.delete.clone()), &statements.shape, &differ)?;
        self.tx.execute(query).await?;
        let replaced = self.insert(statements, &differ).await?;
        require_same(&statements.shape, &replaced, &self.compare(statements, &differ).await?)?;
        Ok(replaced)
    }

    async fn insert(&mut self, statements: &Statements, rows: &[&Row]) -> Result<HashSet<Key>, RestoreError> {
        let query = values::bind(built_query(statements.insert.clone()), &statements.shape, rows)?;
        self.tx.fetch_all(query).await?.iter().map(|row| Ok(key(row)?)).collect()
    }

    /// The rows that are there, and whether they are as archived.
    async fn compare(&mut self, statements: &Statements, rows: &[&Row]) -> Result<HashMap<Key, bool>, RestoreError> {
        let query = values::bind(built_query(statements.compare.clone()), &statements.shape, rows)?;
        let rows = self.tx.fetch_all(query).await?;
        rows.iter().map(|row| Ok((key(row)?, row.try_get("same").map_err(DatabaseError::from)?))).collect()
    }

    /// Statements are made once for a table; batches of other versions of Dify may bring the same table in another shape.
    fn statements(&mut self, shape: &Arc<Shape>, large: Option<&Waiting>) -> Result<Arc<Statements>, CannotRestore> {
        if let Some(waiting) = large {
            return Ok(Arc::new(Statements::new(shape, &self.destination, |column| waiting.part_of(column))?));
        }
        if let Some(made) = self.statements.get(&shape.table).filter(|made| made.shape == *shape) {
            return Ok(Arc::clone(made));
        }
        let made = Arc::new(Statements::new(shape, &self.destination, |_| None)?);
        self.statements.insert(shape.table.clone(), Arc::clone(&made));
        Ok(made)
    }

    fn note_left_out(&mut self, statements: &Statements, rows: &[&Row]) {
        for column in &statements.left_out {
            if rows.iter().any(|row| row.cells.get(*column).is_some_and(|cell| *cell != Cell::Null)) {
                let name = &statements.shape.columns[*column].name;
                self.restored.left_out.insert(format!("{}.{name}", statements.shape.table));
            }
        }
    }
}

fn require_same(shape: &Shape, inserted: &HashSet<Key>, there: &HashMap<Key, bool>) -> Result<(), RestoreError> {
    match inserted.iter().find(|key| there.get(key) != Some(&true)) {
        Some(key) => Err(RestoreError::NotTheSame { table: shape.table.clone(), key: *key }),
        None => Ok(()),
    }
}

fn key(row: &PgRow) -> Result<Key, DatabaseError> {
    Ok(Key { id: row.try_get("id")?, second: row.try_get("second")? })
}
