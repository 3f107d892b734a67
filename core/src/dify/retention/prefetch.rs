//! Keys of rows that no index finds by their parent, collected for many bundles at once.
//!
//! Some versions lack an index (1.2.0: workflow_app_logs by run), and operators drop some. Reading the whole table for each batch would
//! cost more than the deletion; reading it once for a hundred thousand bundles costs next to nothing.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use sqlx::Row;
use uuid::Uuid;

use super::blocks::{BlockRange, IN_RANGE, Walk};
use super::bundle::{Bundle, Root};
use super::manners;
use super::ownership::{Member, Ownership, Parent, Path};
use super::rows::Key;
use crate::dify::ddl::quoted;
use crate::dify::session::{Database, DatabaseError, ReadTx, built_query};

/// Rows that a range of blocks should yield.
const PAGE: usize = 20_000;

/// Keys by member and parent. What was not looked for yet is looked for when a batch is read; the default holds nothing.
#[derive(Clone, Debug, Default)]
pub struct Prefetched {
    /// By position of the member.
    members: HashMap<usize, Found>,
}

#[derive(Clone, Debug, Default)]
struct Found {
    looked_for: HashSet<Uuid>,
    keys: HashMap<Uuid, Vec<Key>>,
}

impl Prefetched {
    /// Keys of the rows of a member that name a parent.
    pub(super) fn keys(&self, member: usize, parent: Uuid) -> &[Key] {
        self.members.get(&member).and_then(|found| found.keys.get(&parent)).map_or(&[], Vec::as_slice)
    }

    /// Whether rows of a member that name a parent were looked for.
    fn covers(&self, member: usize, parent: Uuid) -> bool {
        self.members.get(&member).is_some_and(|found| found.looked_for.contains(&parent))
    }
}

/// Collects keys for bundles of one kind: one pass over each table that needs it, in ranges of blocks. To be called once for as many
/// bundles as fit in memory. Does nothing where an index serves every member.
pub async fn prefetch(
    db: &Database,
    ownership: &Ownership,
    root: Root,
    bundles: &[Bundle],
    timeout: Duration,
) -> Result<Prefetched, DatabaseError> {
    let mut prefetched = Prefetched::default();
    for (position, member) in unindexed(ownership, root) {
        let parents = parents(bundles, member);
        let mut found = Found::default();
        if !parents.is_empty() {
            let mut walk = Walk::new(&member.shape.table, ownership.checks.server_version, PAGE);
            loop {
                let mut tx = manners::read(db, timeout).await?;
                match next_range(&mut tx, &mut walk, member, &parents, &mut found).await {
                    Ok(true) => tx.end().await?,
                    Ok(false) => break,
                    Err(DatabaseError::Timeout) if walk.shrink() => {}
                    Err(error) => return Err(error),
                }
            }
        }
        found.looked_for = parents.into_iter().collect();
        prefetched.members.insert(position, found);
    }
    Ok(prefetched)
}

/// What is still missing for a batch, collected in the batch's own transaction.
pub(super) async fn prefetch_missing(
    tx: &mut ReadTx,
    ownership: &Ownership,
    root: Root,
    bundles: &[Bundle],
    prefetched: &Prefetched,
) -> Result<Prefetched, DatabaseError> {
    let mut missing = Prefetched::default();
    for (position, member) in unindexed(ownership, root) {
        let mut parents = parents(bundles, member);
        parents.retain(|parent| !prefetched.covers(position, *parent));
        let mut found = Found::default();
        if !parents.is_empty() {
            let mut walk = Walk::new(&member.shape.table, ownership.checks.server_version, PAGE);
            while next_range(tx, &mut walk, member, &parents, &mut found).await? {}
        }
        missing.members.insert(position, found);
    }
    Ok(missing)
}

fn unindexed(ownership: &Ownership, root: Root) -> impl Iterator<Item = (usize, &Member)> {
    ownership.members(root).iter().enumerate().filter(|(_, member)| member.path == Path::Prefetch)
}

fn parents(bundles: &[Bundle], member: &Member) -> Vec<Uuid> {
    let mut parents: Vec<Uuid> = match member.parent {
        Parent::Run => bundles.iter().flat_map(|bundle| bundle.runs.iter().map(|run| run.id)).collect(),
        Parent::Message => bundles.iter().flat_map(|bundle| bundle.messages.iter().copied()).collect(),
        Parent::Root | Parent::Conversation => bundles.iter().map(|bundle| bundle.id).collect(),
        Parent::Node | Parent::Pause | Parent::Form | Parent::Delivery => Vec::new(),
    };
    parents.sort_unstable();
    parents.dedup();
    parents
}

/// Reads one range of blocks; `false` when none is left.
async fn next_range(tx: &mut ReadTx, walk: &mut Walk, member: &Member, parents: &[Uuid], found: &mut Found) -> Result<bool, DatabaseError> {
    let Some(range) = walk.range(tx).await? else { return Ok(false) };
    let rows = read_range(tx, member, parents, &range).await?;
    walk.advance(&range, rows.len());
    for (parent, key) in rows {
        found.keys.entry(parent).or_default().push(key);
    }
    Ok(true)
}

async fn read_range(tx: &mut ReadTx, member: &Member, parents: &[Uuid], range: &BlockRange) -> Result<Vec<(Uuid, Key)>, DatabaseError> {
    let rows = tx.fetch_all(range.bind(built_query(text(member))).bind(parents)).await?;
    let read = |row: &sqlx::postgres::PgRow| Ok((row.try_get("parent")?, Key { id: row.try_get("id")?, second: row.try_get("second")? }));
    rows.iter().map(read).collect()
}

fn text(member: &Member) -> String {
    let shape = &member.shape;
    let second = shape.key.get(1).map_or("NULL::uuid".to_owned(), |column| format!("t.{}", quoted(&shape.columns[*column].name)));
    format!(
        "-- janitor_prefetch_{table}: a range of blocks\n\
         SELECT t.{column} AS parent, t.id, {second} AS second FROM {table} t JOIN unnest($3::uuid[]) AS p(id) ON p.id = t.{column} WHERE {IN_RANGE}",
        table = shape.table,
        column = member.column,
    )
}

/// The statements of this module, by name.
pub(super) fn statements(ownership: &Ownership) -> Vec<(&'static str, String)> {
    let members = [Root::Run, Root::Conversation].into_iter().flat_map(|root| unindexed(ownership, root));
    members.map(|(_, member)| ("prefetch", text(member))).collect()
}
