//! What came back after it was deleted.
//!
//! Nothing in Dify locks a parent before it adds a child, or asks whether the parent is still there: a user may answer in a
//! conversation in the moment in which it is deleted, and a run may be written once more by a worker that was thought dead. That
//! cannot be prevented from here. It can be found, and healed from the archive.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sqlx::Row;

use super::bundle::{Bundle, Root};
use super::manners;
use super::ownership::{Ownership, Parent, Path};
use super::parents::{Find, Parents};
use crate::dify::session::{Database, DatabaseError, built_query};

/// Most bundles of one statement.
const PAGE: usize = 1000;

/// A deleted bundle of which something is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revenant {
    /// Position of the bundle among those that were asked for.
    pub bundle: usize,
    /// The root itself is there; else only rows that hang on it are.
    pub root: bool,
    /// Tables in which something is there.
    pub tables: BTreeSet<String>,
}

/// Looks for rows of deleted bundles: for the root, and for what names the root, a run or a message of it, wherever an index finds it.
/// Annotations and bookmarks too, which are not deleted with a conversation but keep it: one that came while it was being deleted.
pub async fn revenants(
    db: &Database,
    ownership: &Ownership,
    bundles: &[Bundle],
    statement_timeout: Duration,
) -> Result<Vec<Revenant>, DatabaseError> {
    let mut found: BTreeMap<usize, Revenant> = BTreeMap::new();
    for root in [Root::Run, Root::Conversation] {
        let positions: Vec<usize> = (0..bundles.len()).filter(|position| bundles[*position].root == root).collect();
        for page in positions.chunks(PAGE) {
            look(db, &places(ownership, root), bundles, page, statement_timeout, &mut found).await?;
        }
    }
    Ok(found.into_values().collect())
}

/// Where something of a deleted bundle may be.
struct Place<'a> {
    table: &'a str,
    column: &'a str,
    parent: Parent,
    path: &'a Path,
}

fn places(ownership: &Ownership, root: Root) -> Vec<Place<'_>> {
    let members = ownership.members(root).iter().filter(|member| member.path != Path::Prefetch);
    let members =
        members.map(|member| Place { table: &member.shape.table, column: &member.column, parent: member.parent, path: &member.path });
    let checks = ownership.checks.annotations.iter().chain(&ownership.checks.saved).filter(|_| root == Root::Conversation);
    let checks = checks.map(|lookup| Place { table: lookup.table, column: lookup.column, parent: lookup.parent, path: &lookup.path });
    members.chain(checks).collect()
}

async fn look(
    db: &Database,
    places: &[Place<'_>],
    bundles: &[Bundle],
    page: &[usize],
    statement_timeout: Duration,
    found: &mut BTreeMap<usize, Revenant>,
) -> Result<(), DatabaseError> {
    let mut tx = manners::read(db, statement_timeout).await?;
    for place in places {
        let mut parents = Parents::default();
        for position in page {
            parents.add_bundle(i32::try_from(*position).unwrap_or(i32::MAX), &bundles[*position], place.parent);
        }
        if parents.is_empty() {
            continue;
        }
        let find = Find::new(place.path, None);
        for row in tx.fetch_all(parents.bind(built_query(place.statement(&find)), &find)).await? {
            let bundle = usize::try_from(row.try_get::<i32, _>("bundle")?).unwrap_or(usize::MAX);
            let revenant = found.entry(bundle).or_insert_with(|| Revenant { bundle, root: false, tables: BTreeSet::new() });
            revenant.root |= place.parent == Parent::Root;
            revenant.tables.insert(place.table.to_owned());
        }
    }
    tx.end().await
}

impl Place<'_> {
    fn statement(&self, find: &Find) -> String {
        let (table, column) = (self.table, self.column);
        format!("-- retention_revenants_{table}: {column}\nSELECT p.bundle FROM {} WHERE {}", find.relation(), find.exists(table, column))
    }
}

/// Every statement that may be sent, with the name of its table: for looking at their plans.
pub fn statements(ownership: &Ownership) -> Vec<(String, String)> {
    let places = [Root::Run, Root::Conversation].into_iter().flat_map(|root| places(ownership, root));
    let places = places.filter(|place| place.parent.table().is_none());
    places.map(|place| (place.table.to_owned(), place.statement(&Find::new(place.path, None)))).collect()
}
