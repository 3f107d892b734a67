//! How many rows hang on bundles, by table: what deleting them would delete.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use sqlx::Row as _;
use uuid::Uuid;

use crate::dify::retention::parents::{Find, Parents};
use crate::dify::retention::{Bundle, Key, Member, Ownership, Parent, Path, Prefetched, Root, manners};
use crate::dify::session::{Database, DatabaseError, built_query};

/// Parents of one statement; a bundle is not divided.
const PARENTS: usize = 2_000;

/// Rows by table and app.
pub type Counts = BTreeMap<String, HashMap<Uuid, u64>>;

/// Counts the rows that hang on bundles of one kind, through the same indexes by which they are deleted.
pub async fn count(
    db: &Database,
    ownership: &Ownership,
    root: Root,
    bundles: &[Bundle],
    prefetched: &Prefetched,
    timeout: Duration,
) -> Result<Counts, DatabaseError> {
    let mut count = Count { db, bundles, timeout, rows_with_children: HashMap::new(), seen: HashSet::new(), counts: Counts::new() };
    let members = ownership.members(root);
    for (position, member) in members.iter().enumerate() {
        let is_new = position.checked_sub(1).is_none_or(|before| members[before].shape.table != member.shape.table);
        if is_new {
            count.seen.clear();
        }
        if member.path == Path::Prefetch {
            count.prefetched(position, member, prefetched);
        } else {
            count.member(member, needs_keys(members, member)).await?;
        }
    }
    Ok(count.counts)
}

/// Whether others hang on its rows, or its rows are found in several ways.
fn needs_keys(members: &[Member], member: &Member) -> bool {
    let table = member.shape.table.as_str();
    let ways = members.iter().filter(|other| other.shape.table == table).count();
    ways > 1 || members.iter().any(|other| other.parent.table() == Some(table))
}

struct Count<'a> {
    db: &'a Database,
    bundles: &'a [Bundle],
    timeout: Duration,
    /// Rows on which others hang, by table: position of the bundle, and key.
    rows_with_children: HashMap<String, Vec<(usize, Uuid)>>,
    /// Rows of the table in hand that were found already.
    seen: HashSet<Uuid>,
    counts: Counts,
}

impl Count<'_> {
    fn add(&mut self, member: &Member, bundle: usize, rows: u64) {
        let Some(bundle) = self.bundles.get(bundle) else { return };
        *self.counts.entry(member.shape.table.clone()).or_default().entry(bundle.app_id).or_default() += rows;
    }

    fn add_key(&mut self, member: &Member, bundle: usize, id: Uuid) {
        if self.seen.insert(id) {
            self.add(member, bundle, 1);
            self.rows_with_children.entry(member.shape.table.clone()).or_default().push((bundle, id));
        }
    }

    fn prefetched(&mut self, position: usize, member: &Member, prefetched: &Prefetched) {
        for (bundle, parents) in self.bundles.iter().enumerate() {
            for parent in own_parents(parents, member.parent) {
                for key in prefetched.keys(position, parent) {
                    self.add_key(member, bundle, key.id);
                }
            }
        }
    }

    async fn member(&mut self, member: &Member, keys: bool) -> Result<(), DatabaseError> {
        let find = Find::new(&member.path, None);
        let text = text(member, &find, keys);
        for parents in self.parents(member) {
            let mut tx = manners::read(self.db, self.timeout).await?;
            let rows = tx.fetch_all(parents.bind(built_query(text.clone()), &find)).await?;
            tx.end().await?;
            for row in &rows {
                let bundle = usize::try_from(row.try_get::<i32, _>("bundle")?).unwrap_or(usize::MAX);
                if keys {
                    self.add_key(member, bundle, row.try_get("id")?);
                } else {
                    self.add(member, bundle, u64::try_from(row.try_get::<i64, _>("rows")?).unwrap_or_default());
                }
            }
        }
        Ok(())
    }

    /// Parents, statement by statement.
    fn parents(&self, member: &Member) -> Vec<Parents> {
        let (mut statements, mut parents, mut held) = (Vec::new(), Parents::default(), 0);
        let mut close = |parents: &mut Parents, held: &mut usize, added: usize| {
            *held += added;
            if *held >= PARENTS {
                statements.push(std::mem::take(parents));
                *held = 0;
            }
        };
        if let Some(table) = member.parent.table() {
            for (bundle, id) in self.rows_with_children.get(table).map_or(&[][..], Vec::as_slice) {
                parents.add_key(number(*bundle), &self.bundles[*bundle], Key { id: *id, second: None });
                close(&mut parents, &mut held, 1);
            }
        } else {
            for (position, bundle) in self.bundles.iter().enumerate() {
                parents.add_bundle(number(position), bundle, member.parent);
                close(&mut parents, &mut held, own_parents(bundle, member.parent).len());
            }
        }
        if !parents.is_empty() {
            statements.push(parents);
        }
        statements
    }
}

fn number(position: usize) -> i32 {
    i32::try_from(position).unwrap_or(i32::MAX)
}

fn own_parents(bundle: &Bundle, parent: Parent) -> Vec<Uuid> {
    match parent {
        Parent::Root | Parent::Conversation => vec![bundle.id],
        Parent::Run => bundle.runs.iter().map(|run| run.id).collect(),
        Parent::Message => bundle.messages.clone(),
        Parent::Node | Parent::Pause | Parent::Form | Parent::Delivery => Vec::new(),
    }
}

fn text(member: &Member, find: &Find, keys: bool) -> String {
    let (table, relation, condition) = (&member.shape.table, find.relation(), find.condition(&member.column));
    if keys {
        format!(
            "-- janitor_count_keys: the index on {}\n\
             SELECT p.bundle, n.id FROM {relation} CROSS JOIN LATERAL (SELECT t.id FROM {table} t WHERE {condition} OFFSET 0) n",
            member.column
        )
    } else {
        format!(
            "-- janitor_count: the index on {}\n\
             SELECT p.bundle, count(*) AS rows FROM {relation} \
             CROSS JOIN LATERAL (SELECT 1 FROM {table} t WHERE {condition} OFFSET 0) n GROUP BY p.bundle",
            member.column
        )
    }
}
