//! Deleting bundles: exactly the row versions that were archived, children first, many bundles in one transaction.
//!
//! Children are deleted through the index by which Dify itself would find them, not by the keys that were archived, so that a row that
//! was added since comes to light; what comes back is compared with what was archived, and any difference takes the transaction back
//! and leaves that bundle out. Nothing in Dify locks a parent before it adds a child, so a row added in the milliseconds between a
//! statement and the commit is found afterwards (see [`mod@super::revenants`]).

mod attempt;
mod comparison;
mod large;
mod statements;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::bundle::{Bundle, Root};
use super::candidates::Protection;
use super::ownership::Ownership;
use super::rows::Key;
use crate::dify::session::{Database, DatabaseError, WriteLimits};
use attempt::Attempt;

pub use large::{Large, Step};
pub use statements::statements;

/// A bundle as it was archived.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// The bundle.
    pub bundle: Bundle,
    /// Its rows, in the order in which they were read: table (as [`Ownership::table_index`] counts them), key and `xmin`.
    pub rows: Vec<(u16, Key, u32)>,
}

/// What became of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// All of it is deleted.
    Deleted,
    /// A row of it is locked by another session, or its statements took longer than their timeout. Nothing of it is deleted, unless
    /// it was begun before.
    Locked,
    /// It is not what was archived. Nothing of it is deleted.
    Changed,
    /// It may not go any more. Nothing of it is deleted.
    NotAnymore(Protection),
    /// Its root was deleted by somebody else. Nothing of it was deleted here.
    Gone,
    /// It has more rows than one transaction may delete, and was not touched: for [`Large`].
    TooLarge,
    /// A part of it was deleted before, and the rest is not what was archived: it has to be put back from the archive.
    Torn,
}

/// Bounds of one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeleteLimits {
    /// Most rows of a bundle.
    pub row_limit: usize,
    /// Each statement is cancelled after this.
    pub statement_timeout: Duration,
    /// Waiting for a lock ends after this.
    pub lock_timeout: Duration,
}

impl DeleteLimits {
    fn write(&self) -> WriteLimits {
        WriteLimits { statement_timeout: self.statement_timeout, lock_timeout: self.lock_timeout }
    }
}

/// What a call did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deleted {
    /// One fate a bundle, in the order of the batch.
    pub fates: Vec<Fate>,
    /// Deleted rows by table.
    pub rows: BTreeMap<String, u64>,
    /// Time spent in the statements that deleted them, by table.
    pub times: BTreeMap<String, Duration>,
    /// From the first to the last transaction.
    pub took: Duration,
    /// The longest time that one transaction took: what its size is to be judged by.
    pub longest: Duration,
    /// Statements that were sent, those that were taken back among them.
    pub statements: u32,
}

/// How far rows that are not there any more are forgiven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Every archived row must be there.
    Whole,
    /// The deletion may have begun, or been done, before.
    Unfinished,
}

/// Deletes bundles, in one transaction as long as nothing is locked or changed. On an error nobody knows what was deleted: the bundles
/// are for [`finish`].
pub async fn delete(db: &Database, ownership: &Ownership, batch: &[Expected], limits: &DeleteLimits) -> Result<Deleted, DatabaseError> {
    run(db, ownership, batch, limits, Mode::Whole).await
}

/// Deletes what is left of bundles after a deletion that was cut off. What is gone already is as good as deleted; a bundle of which
/// nothing is gone is checked again as [`delete`] does.
pub async fn finish(db: &Database, ownership: &Ownership, batch: &[Expected], limits: &DeleteLimits) -> Result<Deleted, DatabaseError> {
    run(db, ownership, batch, limits, Mode::Unfinished).await
}

async fn run(
    db: &Database,
    ownership: &Ownership,
    batch: &[Expected],
    limits: &DeleteLimits,
    mode: Mode,
) -> Result<Deleted, DatabaseError> {
    let begun = Instant::now();
    let mut deleted = Deleted { fates: vec![Fate::TooLarge; batch.len()], ..Deleted::default() };
    let mut groups = groups(batch, limits);
    while let Some(group) = groups.pop_front() {
        let started = Instant::now();
        let mut attempt = Attempt { db, ownership, batch, group: &group, mode, limits, statements: 0 };
        let outcome = attempt.run().await;
        deleted.statements += attempt.statements;
        deleted.longest = deleted.longest.max(started.elapsed());
        match outcome {
            Ok(done) => {
                for (table, rows) in done.rows {
                    *deleted.rows.entry(table).or_default() += rows;
                }
                for (table, time) in done.times {
                    *deleted.times.entry(table).or_default() += time;
                }
                let (again, settled): (Vec<_>, Vec<_>) = done.fates.into_iter().partition(|(_, fate)| fate.is_none());
                settled.into_iter().for_each(|(position, fate)| deleted.fates[position] = fate.unwrap_or(Fate::Changed));
                groups.extend((!again.is_empty()).then(|| again.into_iter().map(|(position, _)| position).collect()));
            }
            Err(DatabaseError::Timeout) => match group.as_slice() {
                [only] => deleted.fates[*only] = Fate::Locked,
                several => {
                    let (first, second) = several.split_at(several.len() / 2);
                    groups.push_front(second.to_vec());
                    groups.push_front(first.to_vec());
                }
            },
            Err(error) => return Err(error),
        }
    }
    deleted.took = begun.elapsed();
    Ok(deleted)
}

/// Bundles that fit into a transaction, by kind of root, in the order of time.
fn groups(batch: &[Expected], limits: &DeleteLimits) -> VecDeque<Vec<usize>> {
    let of = |root: Root| {
        let mut group: Vec<usize> = (0..batch.len())
            .filter(|position| batch[*position].bundle.root == root && batch[*position].rows.len() <= limits.row_limit)
            .collect();
        group.sort_by_key(|position| batch[*position].bundle.ended_at);
        group
    };
    [of(Root::Run), of(Root::Conversation)].into_iter().filter(|group| !group.is_empty()).collect()
}
