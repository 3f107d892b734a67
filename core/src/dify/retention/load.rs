//! Reading bundles as they are at one moment.
//!
//! Table by table, a few hundred bundles at a time: first how large their rows are, which costs no detoasting, then the rows in pieces of
//! bounded size. What is too large to hold comes in slices.

mod decode;
mod plan;
mod texts;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::bundle::{Bundle, Root};
use super::candidates::messages;
use super::manners;
use super::ownership::{Member, Ownership, Parent, Path};
use super::parents::{Find, Parents};
use super::prefetch::{Prefetched, prefetch_missing};
use super::rows::{Cell, Key, Piece, Row, Rows};
use crate::dify::session::{Database, DatabaseError, ReadTx, built_query};
use plan::{Item, Measured, Order, Slices};
use texts::Texts;

/// Parents of one statement.
const PARENTS: usize = 2_000;
/// Conversations of one statement that looks whether they are still what they were.
const CONVERSATIONS: usize = 500;

/// How much is held at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadLimits {
    /// Bytes of one piece, as far as single values allow.
    pub piece_bytes: u64,
    /// The values of a row longer than this come in slices, but for those that are shorter than a quarter of this.
    pub large_row: u64,
    /// Bytes of a slice.
    pub slice: u32,
    /// Longest time of one statement.
    pub statement_timeout: Duration,
}

impl Default for LoadLimits {
    fn default() -> Self {
        LoadLimits { piece_bytes: 8 << 20, large_row: 8 << 20, slice: 2 << 20, statement_timeout: Duration::from_secs(30) }
    }
}

/// Bundles of one kind in one transaction, REPEATABLE READ and read only, for the seconds that it takes to read them.
#[derive(Debug)]
pub struct Snapshot {
    tx: ReadTx,
    ownership: Arc<Ownership>,
    root: Root,
    bundles: Arc<[Bundle]>,
    limits: LoadLimits,
    prefetched: [Arc<Prefetched>; 2],
    changed: Vec<u32>,
    /// Position of the member that is read.
    member: usize,
    /// Its statements, once it is begun.
    texts: Option<Texts>,
    /// What is still to be measured of it.
    items: VecDeque<Item>,
    /// What is measured, and still to be read.
    orders: VecDeque<Order>,
    /// Rows on which others hang, by table.
    parents: HashMap<&'static str, Vec<(u32, Uuid)>>,
    /// Rows of this table that an earlier member has found.
    seen: HashSet<Key>,
}

impl Snapshot {
    /// Begins. All bundles must be of one kind. A conversation that has gained or lost a message or a run since [`super::complete`] is left
    /// out (see [`Snapshot::changed`]).
    pub async fn begin(
        db: &Database,
        ownership: Arc<Ownership>,
        bundles: Arc<[Bundle]>,
        prefetched: Arc<Prefetched>,
        limits: LoadLimits,
    ) -> Result<Snapshot, DatabaseError> {
        let root = bundles.first().map_or(Root::Run, |bundle| bundle.root);
        let mut tx = manners::read_one_moment(db, limits.statement_timeout).await?;
        let changed = if root == Root::Conversation { changed(&mut tx, &ownership, &bundles).await? } else { Vec::new() };
        let missing = prefetch_missing(&mut tx, &ownership, root, &bundles, &prefetched).await?;
        let tables = ownership.members(root).iter().filter_map(|member| member.parent.table());
        let parents = tables.map(|table| (table, Vec::new())).collect();
        let prefetched = [prefetched, Arc::new(missing)];
        let (texts, items, orders, seen) = (None, VecDeque::new(), VecDeque::new(), HashSet::new());
        Ok(Snapshot { tx, ownership, root, bundles, limits, prefetched, changed, member: 0, texts, items, orders, parents, seen })
    }

    /// Positions of the bundles that are left out.
    pub fn changed(&self) -> &[u32] {
        &self.changed
    }

    /// The next piece; `None` when all is read. After an error the snapshot is of no use.
    pub async fn next(&mut self) -> Result<Option<Piece>, DatabaseError> {
        let ownership = Arc::clone(&self.ownership);
        while let Some(member) = ownership.members(self.root).get(self.member) {
            let texts = match self.texts.take() {
                Some(texts) => texts,
                None => self.enter(member),
            };
            let piece = self.step(member, &texts).await?;
            self.texts = Some(texts);
            match piece {
                Step::Piece(piece) => return Ok(Some(piece)),
                Step::Nothing => {}
                Step::MemberDone => {
                    self.member += 1;
                    self.texts = None;
                }
            }
        }
        Ok(None)
    }

    /// Ends the transaction.
    pub async fn end(self) -> Result<(), DatabaseError> {
        self.tx.end().await
    }

    /// Begins with a member: which parents it may have.
    fn enter(&mut self, member: &Member) -> Texts {
        let before = self.member.checked_sub(1).map(|before| &self.ownership.members(self.root)[before]);
        if before.is_none_or(|before| before.shape.table != member.shape.table) {
            self.seen.clear();
        }
        self.items = self.items_of(member).into();
        Texts::new(member)
    }

    fn items_of(&self, member: &Member) -> Vec<Item> {
        if let Some(table) = member.parent.table() {
            let parents = self.parents.get(table).map_or(&[][..], Vec::as_slice);
            let mut items: Vec<Item> = parents.iter().map(|(bundle, id)| Item::Row(*bundle, Key { id: *id, second: None })).collect();
            // Rows that were found in two ways came in the order of bundles twice.
            items.sort_by_key(|item| item.bundle());
            return items;
        }
        let positions = (0..).zip(self.bundles.iter()).filter(|(position, _)| !self.changed.contains(position));
        if member.path != Path::Prefetch {
            return positions.flat_map(|(position, bundle)| named(position, own_parents(bundle, member.parent).len())).collect();
        }
        let mut items = Vec::new();
        for (position, bundle) in positions {
            for parent in own_parents(bundle, member.parent) {
                let keys = self.prefetched.iter().flat_map(|prefetched| prefetched.keys(self.member, parent));
                items.extend(keys.map(|key| Item::Row(position, *key)));
            }
        }
        items
    }

    /// One statement's worth.
    async fn step(&mut self, member: &Member, texts: &Texts) -> Result<Step, DatabaseError> {
        if let Some(order) = self.orders.pop_front() {
            return self.read(member, texts, order).await;
        }
        let items = self.next_items();
        if items.is_empty() {
            return Ok(Step::MemberDone);
        }
        let measured = self.measure(texts, &items).await?;
        self.orders = plan::orders(&items, &measured, self.limits).into();
        Ok(Step::Nothing)
    }

    /// Items for the next statement.
    fn next_items(&mut self) -> Vec<Item> {
        let (mut items, mut parents) = (Vec::new(), 0);
        while parents < PARENTS
            && let Some(item) = self.items.pop_front()
        {
            parents += match item {
                Item::Row(..) => 1,
                Item::Named { from, to, .. } => to - from,
            };
            items.push(item);
        }
        items
    }

    fn bind(&self, items: &[Item], parent: Parent) -> Parents {
        let mut parents = Parents::default();
        for item in items {
            let position = item.bundle();
            let bundle = &self.bundles[position as usize];
            let number = i32::try_from(position).unwrap_or(i32::MAX);
            match *item {
                Item::Named { from, to, .. } => parents.add_bundle(number, &part(bundle, parent, from, to), parent),
                Item::Row(_, key) => parents.add_key(number, bundle, key),
            }
        }
        parents
    }

    async fn measure(&mut self, texts: &Texts, items: &[Item]) -> Result<Vec<Measured>, DatabaseError> {
        let parents = self.bind(items, texts.parent);
        if parents.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.tx.fetch_all(parents.bind(built_query(texts.measure.clone()), &texts.find)).await?;
        let mut measured: Vec<Measured> = rows.iter().map(decode::measured).collect::<Result<_, _>>()?;
        // They come so; nothing but the shape of the plan says that they do.
        measured.sort_by_key(|row| row.bundle);
        Ok(measured)
    }

    async fn read(&mut self, member: &Member, texts: &Texts, order: Order) -> Result<Step, DatabaseError> {
        match order {
            Order::Items(items) => {
                let rows = self.rows(texts, &items, &texts.page, &texts.find).await?;
                Ok(self.rows_piece(member, rows))
            }
            Order::Rows(items) => {
                let rows = self.rows(texts, &items, &texts.by_key, &texts.key_find).await?;
                Ok(self.rows_piece(member, rows))
            }
            Order::Large(item) => self.large(member, texts, item).await,
            Order::Slices(slices) => self.slice(member, texts, slices).await,
        }
    }

    async fn rows(&mut self, texts: &Texts, items: &[Item], text: &str, find: &Find) -> Result<Vec<Row>, DatabaseError> {
        let parents = self.bind(items, texts.parent);
        let rows = self.tx.fetch_all(parents.bind(built_query(text.to_owned()), find)).await?;
        rows.iter().map(|row| decode::row(row, &texts.shape)).collect()
    }

    /// A row with values that are too large to hold, without them; they follow.
    async fn large(&mut self, member: &Member, texts: &Texts, item: Item) -> Result<Step, DatabaseError> {
        let parents = self.bind(&[item], texts.parent);
        let limit = i64::try_from(self.limits.large_row / 4).unwrap_or(i64::MAX);
        let query = parents.bind(built_query(texts.large.clone()), &texts.key_find).bind(limit);
        let rows = self.tx.fetch_all(query).await?;
        let rows: Vec<Row> = rows.iter().map(|row| decode::large_row(row, &texts.shape)).collect::<Result<_, _>>()?;
        let slices = rows.iter().flat_map(|row| {
            let large = row.cells.iter().enumerate().filter(|(_, cell)| matches!(cell, Cell::Large(_)));
            large.map(|(column, _)| Order::Slices(Slices { key: row.key, column, offset: 0, sequence: 0 }))
        });
        let slices: Vec<Order> = slices.collect();
        let piece = self.rows_piece(member, rows);
        if matches!(piece, Step::Piece(_)) {
            slices.into_iter().rev().for_each(|order| self.orders.push_front(order));
        }
        Ok(piece)
    }

    async fn slice(&mut self, member: &Member, texts: &Texts, mut slices: Slices) -> Result<Step, DatabaseError> {
        let text = texts::slice(&member.shape, slices.column);
        let query =
            built_query(text).bind(slices.offset + 1).bind(i32::try_from(self.limits.slice).unwrap_or(i32::MAX)).bind(slices.key.id);
        let query = match slices.key.second {
            Some(second) => query.bind(second),
            None => query,
        };
        let rows = self.tx.fetch_all(query).await?;
        let bytes = rows.first().map(decode::bytes).transpose()?.unwrap_or_default();
        if bytes.is_empty() {
            return Ok(Step::Nothing);
        }
        let (key, column, sequence) = (slices.key, slices.column, slices.sequence);
        slices.offset = slices.offset.saturating_add(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
        slices.sequence += 1;
        if bytes.len() >= self.limits.slice as usize {
            self.orders.push_front(Order::Slices(slices));
        }
        Ok(Step::Piece(Piece::Slice { shape: Arc::clone(&texts.shape), key, column, sequence, bytes }))
    }

    /// What is new among some rows, as a piece. Remembers those on which others hang.
    fn rows_piece(&mut self, member: &Member, mut rows: Vec<Row>) -> Step {
        if self.has_several_ways(member) {
            rows.retain(|row| self.seen.insert(row.key));
        }
        if let Some(parents) = self.parents.get_mut(member.shape.table.as_str()) {
            parents.extend(rows.iter().map(|row| (row.bundle, row.key.id)));
        }
        if rows.is_empty() { Step::Nothing } else { Step::Piece(Piece::Rows(Rows { shape: Arc::clone(&member.shape), rows })) }
    }

    fn has_several_ways(&self, member: &Member) -> bool {
        self.ownership.members(self.root).iter().filter(|other| other.shape.table == member.shape.table).count() > 1
    }
}

/// What one statement brought.
#[derive(Debug)]
enum Step {
    Piece(Piece),
    Nothing,
    MemberDone,
}

/// The parents that a bundle names itself.
fn own_parents(bundle: &Bundle, parent: Parent) -> Vec<Uuid> {
    match parent {
        Parent::Root | Parent::Conversation => vec![bundle.id],
        Parent::Run => bundle.runs.iter().map(|run| run.id).collect(),
        Parent::Message => bundle.messages.clone(),
        Parent::Node | Parent::Pause | Parent::Form | Parent::Delivery => Vec::new(),
    }
}

/// The parents that a bundle names itself, divided.
fn named(bundle: u32, parents: usize) -> impl Iterator<Item = Item> {
    (0..parents).step_by(PARENTS).map(move |from| Item::Named { bundle, from, to: parents.min(from + PARENTS) })
}

/// A bundle with some of its parents.
fn part(bundle: &Bundle, parent: Parent, from: usize, to: usize) -> Bundle {
    let (runs, messages) = match parent {
        Parent::Run => (bundle.runs[from..to].to_vec(), Vec::new()),
        Parent::Message => (Vec::new(), bundle.messages[from..to].to_vec()),
        _ => (Vec::new(), Vec::new()),
    };
    Bundle { runs, messages, status: None, ..*bundle }
}

/// Conversations whose messages or runs are not those that they had.
async fn changed(tx: &mut ReadTx, ownership: &Ownership, bundles: &[Bundle]) -> Result<Vec<u32>, DatabaseError> {
    let mut changed = Vec::new();
    let mut position = 0;
    for chunk in bundles.chunks(CONVERSATIONS) {
        let bundles: Vec<&Bundle> = chunk.iter().collect();
        for (bundle, now) in chunk.iter().zip(messages::of_conversations(tx, ownership, &bundles).await?) {
            let same_messages = now.ids.iter().map(|(_, id)| *id).eq(bundle.messages.iter().copied());
            let same_runs = bundle.runs.len() == now.runs.len() && bundle.runs.iter().all(|run| now.runs.contains(&run.id));
            if !(same_messages && same_runs) {
                changed.push(position);
            }
            position += 1;
        }
    }
    Ok(changed)
}

/// The statements of this module, by name.
pub(super) fn statements(ownership: &Ownership) -> Vec<(&'static str, String)> {
    let members = [Root::Run, Root::Conversation].into_iter().flat_map(|root| ownership.members(root));
    members.flat_map(|member| Texts::new(member).named()).collect()
}
