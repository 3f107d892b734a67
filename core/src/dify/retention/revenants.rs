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
use super::ownership::{Member, Ownership, Parent, Path};
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
            look(db, ownership.members(root), bundles, page, statement_timeout, &mut found).await?;
        }
    }
    Ok(found.into_values().collect())
}

async fn look(
    db: &Database,
    members: &[Member],
    bundles: &[Bundle],
    page: &[usize],
    statement_timeout: Duration,
    found: &mut BTreeMap<usize, Revenant>,
) -> Result<(), DatabaseError> {
    let mut tx = manners::read(db, statement_timeout).await?;
    for member in members.iter().filter(|member| member.path != Path::Prefetch) {
        let mut parents = Parents::default();
        for position in page {
            parents.add_bundle(i32::try_from(*position).unwrap_or(i32::MAX), &bundles[*position], member.parent);
        }
        if parents.is_empty() {
            continue;
        }
        for row in tx.fetch_all(parents.bind(built_query(statement(member)), &find(member))).await? {
            let bundle = usize::try_from(row.try_get::<i32, _>("bundle")?).unwrap_or(usize::MAX);
            let revenant = found.entry(bundle).or_insert_with(|| Revenant { bundle, root: false, tables: BTreeSet::new() });
            revenant.root |= member.parent == Parent::Root;
            revenant.tables.insert(member.shape.table.clone());
        }
    }
    tx.end().await
}

fn find(member: &Member) -> Find {
    Find::new(&member.path, None)
}

fn statement(member: &Member) -> String {
    let (table, column, find) = (&member.shape.table, &member.column, find(member));
    format!("-- retention_revenants_{table}: {column}\nSELECT p.bundle FROM {} WHERE {}", find.relation(), find.exists(table, column))
}

/// Every statement that may be sent, with the name of its table: for looking at their plans.
pub fn statements(ownership: &Ownership) -> Vec<(String, String)> {
    let members = ownership.run.iter().chain(&ownership.conversation).filter(|member| member.path != Path::Prefetch);
    let members = members.filter(|member| member.parent.table().is_none());
    members.map(|member| (member.shape.table.clone(), statement(member))).collect()
}
