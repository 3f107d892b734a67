//! Bundles that are too large for one transaction: their children go in several, the root in the last.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sqlx::Row;

use super::attempt::{Attempt, Opening, delete_rows};
use super::comparison::{Comparison, Tally};
use super::{DeleteLimits, Expected, Fate, Mode, statements};
use crate::dify::retention::manners;
use crate::dify::retention::ownership::Ownership;
use crate::dify::retention::parents::Parents;
use crate::dify::retention::rows::Key;
use crate::dify::session::{Database, DatabaseError, WriteTx, built_query};

/// The deletion of one bundle, transaction by transaction, so that the caller can rest, or stop, in between.
///
/// Once a step has deleted rows the bundle is begun: left in the middle, or [`Fate::Locked`] at the end, it is for
/// [`Large::unfinished`].
#[derive(Debug)]
pub struct Large<'a> {
    expected: &'a Expected,
    /// Rows below the root, in the order of deletion, and how many of them are done with.
    rows: Vec<(u16, Key, u32)>,
    done: usize,
    progress: Progress,
    fate: Option<Fate>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Some of it may be gone already.
    Unknown,
    Whole,
    Begun,
}

/// What one transaction did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// Deleted rows by table.
    pub rows: BTreeMap<String, u64>,
    /// Time spent in the statements that deleted them, by table.
    pub times: BTreeMap<String, Duration>,
    /// How long it took.
    pub took: Duration,
    /// Statements that were sent.
    pub statements: u32,
}

impl<'a> Large<'a> {
    /// Of a bundle that is whole.
    pub fn new(expected: &'a Expected) -> Large<'a> {
        Large::with(expected, Progress::Whole)
    }

    /// Of a bundle whose deletion may have begun.
    pub fn unfinished(expected: &'a Expected) -> Large<'a> {
        Large::with(expected, Progress::Unknown)
    }

    fn with(expected: &'a Expected, progress: Progress) -> Large<'a> {
        // The last table is the one that nothing hangs on. Within a table the order of reading is the order of the index.
        let mut rows: Vec<_> = expected.rows.iter().filter(|(table, _, _)| *table > 0).copied().collect();
        rows.sort_by_key(|(table, _, _)| std::cmp::Reverse(*table));
        Large { expected, rows, done: 0, progress, fate: None }
    }

    /// What became of it; `None` while there is more to do.
    pub fn fate(&self) -> Option<Fate> {
        self.fate
    }

    /// The next transaction; `None` when there is nothing more to do. After an error the same step may be tried again, with a lower
    /// row limit if it took too long.
    pub async fn step(&mut self, db: &Database, ownership: &Ownership, limits: &DeleteLimits) -> Result<Option<Step>, DatabaseError> {
        if self.fate.is_some() {
            return Ok(None);
        }
        let started = Instant::now();
        let mut step = match self.progress {
            Progress::Unknown => self.look(db, ownership, limits).await?,
            _ if self.done < self.rows.len() => self.delete_some(db, ownership, limits).await?,
            _ => self.end(db, ownership, limits).await?,
        };
        step.took = started.elapsed();
        Ok(Some(step))
    }

    /// Finds out whether the deletion had begun: by counting, because the order of deletion may have been another one.
    async fn look(&mut self, db: &Database, ownership: &Ownership, limits: &DeleteLimits) -> Result<Step, DatabaseError> {
        let mut tx = manners::read(db, limits.statement_timeout).await?;
        let mut step = Step { statements: 3, ..Step::default() };
        let mut present = 0;
        for chunk in self.rows.chunks(limits.row_limit.max(1)) {
            for (table, parents) in self.by_table(chunk) {
                let shape = &ownership.members(self.expected.bundle.root)[usize::from(table)].shape;
                let query = parents.bind(built_query(statements::count(shape)), &statements::by_key(shape));
                present += tx.fetch_one(query).await?.try_get::<i64, _>("rows")?;
                step.statements += 1;
            }
        }
        tx.end().await?;
        let whole = usize::try_from(present).is_ok_and(|present| present == self.rows.len());
        self.progress = if whole { Progress::Whole } else { Progress::Begun };
        Ok(step)
    }

    /// Deletes the next rows by their keys. The first time, the bundle must be allowed to go, and the rows must all be there.
    async fn delete_some(&mut self, db: &Database, ownership: &Ownership, limits: &DeleteLimits) -> Result<Step, DatabaseError> {
        let mut step = Step { statements: 2, ..Step::default() };
        let mut tx = db.write(limits.write()).await?;
        if self.progress == Progress::Whole {
            let batch = std::slice::from_ref(self.expected);
            let mut opening = Attempt { db, ownership, batch, group: &[0], mode: Mode::Whole, limits, statements: 0 };
            let refused = opening.may_go(&mut tx).await?;
            step.statements += opening.statements;
            if let Opening::Refused(fate) = refused {
                self.fate = Some(fate);
                tx.rollback().await?;
                return Ok(step);
            }
        }
        let until = self.rows.len().min(self.done + limits.row_limit.max(1));
        let tally = self.delete_range(&mut tx, ownership, until, &mut step).await?;
        self.fate = match (self.progress, tally) {
            (Progress::Whole, Tally { different: 0, missing: 0, .. }) | (Progress::Begun, Tally { different: 0, .. }) => None,
            (Progress::Begun, _) => Some(Fate::Torn),
            _ => Some(Fate::Changed),
        };
        if self.fate.is_some() {
            step.rows.clear();
            step.times.clear();
            tx.rollback().await?;
            return Ok(step);
        }
        // Should the answer be lost, the next look takes what is missing for begun.
        let before = std::mem::replace(&mut self.progress, Progress::Unknown);
        tx.commit().await?;
        self.progress = if step.rows.is_empty() { before } else { Progress::Begun };
        self.done = until;
        Ok(step)
    }

    async fn delete_range(&self, tx: &mut WriteTx, ownership: &Ownership, until: usize, step: &mut Step) -> Result<Tally, DatabaseError> {
        let chunk = &self.rows[self.done..until];
        let part = Expected { bundle: self.expected.bundle.clone(), rows: chunk.to_vec() };
        let mut comparison = Comparison::new(&[part], &[0]);
        for (table, parents) in self.by_table(chunk) {
            let shape = &ownership.members(self.expected.bundle.root)[usize::from(table)].shape;
            step.statements += 1;
            let started = Instant::now();
            let gone = delete_rows(tx, shape, "id", &statements::by_key(shape), &parents).await?;
            for (bundle, key, xmin) in &gone {
                comparison.found(*bundle, table, *key, *xmin);
            }
            if !gone.is_empty() {
                *step.rows.entry(shape.table.clone()).or_default() += gone.len() as u64;
                *step.times.entry(shape.table.clone()).or_default() += started.elapsed();
            }
        }
        Ok(comparison.tallies().remove(&0).unwrap_or_default())
    }

    /// Deletes the root, and looks through every index for what was added meanwhile.
    async fn end(&mut self, db: &Database, ownership: &Ownership, limits: &DeleteLimits) -> Result<Step, DatabaseError> {
        let batch = std::slice::from_ref(self.expected);
        let mut attempt = Attempt { db, ownership, batch, group: &[0], mode: Mode::Unfinished, limits, statements: 0 };
        let mut done = attempt.run().await?;
        self.fate = done.fates.remove(&0).flatten();
        Ok(Step { rows: done.rows, times: done.times, statements: attempt.statements, ..Step::default() })
    }

    fn by_table(&self, rows: &[(u16, Key, u32)]) -> Vec<(u16, Parents)> {
        rows.chunk_by(|one, next| one.0 == next.0)
            .map(|rows| {
                let mut parents = Parents::default();
                rows.iter().for_each(|(_, key, _)| parents.add_key(0, &self.expected.bundle, *key));
                (rows[0].0, parents)
            })
            .collect()
    }
}
