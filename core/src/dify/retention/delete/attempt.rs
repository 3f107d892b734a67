//! One transaction that deletes bundles, or finds out which of them it must leave.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use sqlx::Row;
use uuid::Uuid;

use super::comparison::{Comparison, Tally};
use super::{DeleteLimits, Expected, Fate, Mode, statements};
use crate::dify::retention::bundle::{Bundle, Root};
use crate::dify::retention::candidates::Protection;
use crate::dify::retention::ownership::{Member, Ownership, Parent, Path};
use crate::dify::retention::parents::{Find, Parents};
use crate::dify::retention::rows::{Key, Shape};
use crate::dify::session::{Database, DatabaseError, WriteTx, built_query};
use crate::dify::time::Micros;

/// One transaction over bundles of one kind.
pub(super) struct Attempt<'a> {
    pub(super) db: &'a Database,
    pub(super) ownership: &'a Ownership,
    pub(super) batch: &'a [Expected],
    pub(super) group: &'a [usize],
    pub(super) mode: Mode,
    pub(super) limits: &'a DeleteLimits,
    /// Statements sent so far.
    pub(super) statements: u32,
}

/// What a transaction came to.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Without a fate: to be tried again, because the transaction was taken back on account of others.
    pub(super) fates: BTreeMap<usize, Option<Fate>>,
    /// Deleted rows by table; none when the transaction was taken back.
    pub(super) rows: BTreeMap<String, u64>,
    /// Time spent deleting, by table; none when the transaction was taken back.
    pub(super) times: BTreeMap<String, Duration>,
}

/// The root row as it is now.
struct Now {
    version: u32,
    status: Option<String>,
    ended_at: Option<Micros>,
}

/// Whether a bundle may go, judged before any of its rows are looked at.
pub(super) enum Opening {
    Allowed,
    Refused(Fate),
}

/// What the roots look like at the beginning.
#[derive(Default)]
struct Roots {
    locked: HashMap<usize, Now>,
    busy: BTreeSet<usize>,
}

impl Attempt<'_> {
    pub(super) async fn run(&mut self) -> Result<Done, DatabaseError> {
        // BEGIN and the end of the transaction are statements too.
        self.statements += 2;
        let mut tx = self.db.write(self.limits.write()).await?;
        let roots = self.lock(&mut tx).await?;
        let mut done = Done::default();
        let mut group = Vec::new();
        for position in self.group {
            match self.first_look(*position, &roots) {
                Some(fate) => {
                    done.fates.insert(*position, Some(fate));
                }
                None => group.push(*position),
            }
        }
        if group.is_empty() {
            tx.rollback().await?;
            return Ok(done);
        }
        let mut comparison = Comparison::new(self.batch, &group);
        let mut protected = BTreeMap::new();
        let root = self.batch[group[0]].bundle.root;
        let members = self.ownership.members(root);
        for member in members.iter().rev() {
            if member.parent == Parent::Root {
                // As late as can be: what was annotated or saved while the children were deleted still counts.
                protected = self.protected(&mut tx, root, &group).await?;
            }
            let parents = self.parents(member, root, &group);
            let started = Instant::now();
            let rows = self.delete(&mut tx, root, member, &parents, &mut comparison).await?;
            if rows > 0 {
                *done.rows.entry(member.shape.table.clone()).or_default() += rows;
                *done.times.entry(member.shape.table.clone()).or_default() += started.elapsed();
            }
        }
        for (position, tally) in comparison.tallies() {
            let refused = self.refused(position, &roots, &protected);
            done.fates.insert(position, Some(fate(self.mode, tally, refused)));
        }
        self.end(tx, &group, done).await
    }

    /// Locks the root of the only bundle of the group, and finds out whether the bundle may go.
    pub(super) async fn may_go(&mut self, tx: &mut WriteTx) -> Result<Opening, DatabaseError> {
        let roots = self.lock(tx).await?;
        let protected = self.protected(tx, self.batch[self.group[0]].bundle.root, self.group).await?;
        let refused = self.first_look(self.group[0], &roots).or_else(|| self.refused(self.group[0], &roots, &protected));
        Ok(refused.map_or(Opening::Allowed, Opening::Refused))
    }

    /// Commits, or takes everything back when a bundle has to be left: the others are then tried again.
    async fn end(&self, tx: WriteTx, group: &[usize], mut done: Done) -> Result<Done, DatabaseError> {
        if group.iter().all(|position| done.fates.get(position) == Some(&Some(Fate::Deleted))) {
            tx.commit().await?;
            return Ok(done);
        }
        tx.rollback().await?;
        done.rows.clear();
        done.times.clear();
        for position in group {
            if let Some(fate) = done.fates.get_mut(position) {
                *fate = fate.filter(|fate| *fate != Fate::Deleted);
            }
        }
        Ok(done)
    }

    async fn lock(&mut self, tx: &mut WriteTx) -> Result<Roots, DatabaseError> {
        let root = self.batch[self.group[0]].bundle.root;
        let mut parents = Parents::default();
        for position in self.group {
            parents.add_bundle(index(*position), &self.batch[*position].bundle, Parent::Root);
        }
        let mut roots = Roots::default();
        self.statements += 1;
        for row in tx.fetch_all(parents.bind(built_query(statements::lock(root)), &statements::BY_ID)).await? {
            let now = Now { version: version(row.try_get("version")?), status: row.try_get("status")?, ended_at: row.try_get("ended_at")? };
            roots.locked.insert(position(row.try_get("bundle")?), now);
        }
        if roots.locked.len() < self.group.len() {
            self.statements += 1;
            for row in tx.fetch_all(parents.bind(built_query(statements::present(root)), &statements::BY_ID)).await? {
                let position = position(row.try_get("bundle")?);
                if !roots.locked.contains_key(&position) {
                    roots.busy.insert(position);
                }
            }
        }
        Ok(roots)
    }

    /// What is plain from the root alone.
    fn first_look(&self, position: usize, roots: &Roots) -> Option<Fate> {
        if roots.busy.contains(&position) {
            return Some(Fate::Locked);
        }
        match self.mode {
            Mode::Whole if !roots.locked.contains_key(&position) => Some(Fate::Gone),
            Mode::Whole => self.refused(position, roots, &BTreeMap::new()),
            // Whether it had begun shows only when its rows are looked at; then it is finished, whatever its root is by now.
            Mode::Unfinished => None,
        }
    }

    /// Why a bundle of which nothing is gone yet may not go.
    fn refused(&self, position: usize, roots: &Roots, protected: &BTreeMap<usize, Protection>) -> Option<Fate> {
        let expected = &self.batch[position];
        if let Some(now) = roots.locked.get(&position) {
            let archived = expected.rows.iter().find(|(table, key, _)| *table == 0 && key.id == expected.bundle.id);
            if archived.is_none_or(|(_, _, xmin)| *xmin != now.version) || !is_as_judged(&expected.bundle, now) {
                return Some(Fate::Changed);
            }
        }
        protected.get(&position).map(|protection| Fate::NotAnymore(*protection))
    }

    /// Bundles with a message that was annotated or saved.
    async fn protected(&mut self, tx: &mut WriteTx, root: Root, group: &[usize]) -> Result<BTreeMap<usize, Protection>, DatabaseError> {
        let mut protected = BTreeMap::new();
        if root == Root::Run {
            return Ok(protected);
        }
        let checks = &self.ownership.checks;
        let annotations = checks.annotations.iter().map(|lookup| (lookup, Protection::Annotated));
        for (lookup, protection) in annotations.chain(checks.saved.iter().map(|lookup| (lookup, Protection::Saved))) {
            let mut parents = Parents::default();
            for position in group {
                parents.add_bundle(index(*position), &self.batch[*position].bundle, lookup.parent);
            }
            if parents.is_empty() {
                continue;
            }
            let find = Find::new(&lookup.path, None);
            self.statements += 1;
            let text = statements::protects(lookup.table, lookup.column, &find);
            for row in tx.fetch_all(parents.bind(built_query(text), &find)).await? {
                protected.insert(position(row.try_get("bundle")?), protection);
            }
        }
        Ok(protected)
    }

    /// The parents of a member's rows; where no index finds rows by them, the rows themselves.
    fn parents(&self, member: &Member, root: Root, group: &[usize]) -> Parents {
        let rows_of = match member.path {
            Path::Prefetch => Some(member.shape.table.as_str()),
            _ => member.parent.table(),
        };
        let rows_of = rows_of.map(|table| self.ownership.table_index(root, table));
        let mut parents = Parents::default();
        for position in group {
            let expected = &self.batch[*position];
            match rows_of {
                None => parents.add_bundle(index(*position), &expected.bundle, member.parent),
                Some(table) => {
                    for (_, key, _) in expected.rows.iter().filter(|(of, _, _)| Some(*of) == table) {
                        parents.add_key(index(*position), &expected.bundle, *key);
                    }
                }
            }
        }
        parents
    }

    async fn delete(
        &mut self,
        tx: &mut WriteTx,
        root: Root,
        member: &Member,
        parents: &Parents,
        comparison: &mut Comparison,
    ) -> Result<u64, DatabaseError> {
        let Some(table) = self.ownership.table_index(root, &member.shape.table).filter(|_| !parents.is_empty()) else { return Ok(0) };
        self.statements += 1;
        let find = statements::find(member);
        let gone = delete_rows(tx, &member.shape, &member.column, &find, parents).await?;
        for (bundle, key, xmin) in &gone {
            comparison.found(*bundle, table, *key, *xmin);
        }
        Ok(gone.len() as u64)
    }
}

/// Deletes rows and says which: position of the bundle, key, version.
pub(super) async fn delete_rows(
    tx: &mut WriteTx,
    shape: &Shape,
    column: &str,
    find: &Find,
    parents: &Parents,
) -> Result<Vec<(usize, Key, u32)>, DatabaseError> {
    let row = tx.fetch_one(parents.bind(built_query(statements::delete(shape, column, find)), find)).await?;
    let bundles: Vec<i32> = row.try_get::<Option<_>, _>("bundles")?.unwrap_or_default();
    let ids: Vec<Uuid> = row.try_get::<Option<_>, _>("ids")?.unwrap_or_default();
    let seconds: Vec<Uuid> = row.try_get::<Option<_>, _>("seconds")?.unwrap_or_default();
    let versions: Vec<i64> = row.try_get::<Option<_>, _>("versions")?.unwrap_or_default();
    let key = |place: usize| Key { id: ids[place], second: seconds.get(place).copied() };
    Ok((0..ids.len()).map(|place| (position(bundles[place]), key(place), version(versions[place]))).collect())
}

/// The verdict on a bundle whose rows were deleted, provisionally.
fn fate(mode: Mode, tally: Tally, refused: Option<Fate>) -> Fate {
    match (mode, tally) {
        (_, Tally { different: 0, missing: 0, .. }) => refused.unwrap_or(Fate::Deleted),
        (Mode::Unfinished, Tally { different: 0, .. }) => Fate::Deleted,
        (Mode::Unfinished, Tally { missing: 1.., .. }) => Fate::Torn,
        _ => Fate::Changed,
    }
}

/// Whether the root is still what the policy judged, which looked at it before it was archived.
fn is_as_judged(bundle: &Bundle, now: &Now) -> bool {
    match bundle.root {
        Root::Run => now.status == bundle.status && now.ended_at == Some(bundle.ended_at),
        Root::Conversation => now.ended_at.is_none_or(|ended_at| ended_at <= bundle.ended_at),
    }
}

/// The number by which a statement knows a bundle; a batch is far smaller than the type.
fn index(position: usize) -> i32 {
    i32::try_from(position).unwrap_or(i32::MAX)
}

fn position(bundle: i32) -> usize {
    usize::try_from(bundle).unwrap_or(usize::MAX)
}

/// `xmin` has 32 bits, and travels as a larger number because PostgreSQL has no cast to a smaller one.
fn version(xmin: i64) -> u32 {
    u32::try_from(xmin).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_that_is_whole_and_as_archived_goes_unless_refused() {
        let tally = Tally { same: 3, different: 0, missing: 0 };
        for mode in [Mode::Whole, Mode::Unfinished] {
            assert_eq!(fate(mode, tally, None), Fate::Deleted);
            assert_eq!(fate(mode, tally, Some(Fate::Changed)), Fate::Changed);
        }
    }

    #[test]
    fn missing_rows_are_forgiven_only_where_the_deletion_may_have_begun() {
        let tally = Tally { same: 3, different: 0, missing: 2 };
        assert_eq!(fate(Mode::Whole, tally, None), Fate::Changed);
        assert_eq!(fate(Mode::Unfinished, tally, Some(Fate::NotAnymore(Protection::Saved))), Fate::Deleted);
    }

    #[test]
    fn a_begun_bundle_that_changed_is_torn() {
        assert_eq!(fate(Mode::Unfinished, Tally { same: 1, different: 1, missing: 1 }, None), Fate::Torn);
        assert_eq!(fate(Mode::Unfinished, Tally { same: 1, different: 1, missing: 0 }, None), Fate::Changed);
        assert_eq!(fate(Mode::Whole, Tally { same: 1, different: 1, missing: 1 }, None), Fate::Changed);
    }
}
