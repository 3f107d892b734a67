//! What to read in which portions.

use super::LoadLimits;
use crate::dify::retention::rows::Key;

/// A row counts as this much beside its measured values.
const ROW: u64 = 512;

/// Where rows are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// By some of the parents that a bundle names itself.
    Named { bundle: u32, from: usize, to: usize },
    /// By one row of a bundle: the parent, or the row itself.
    Row(u32, Key),
}

impl Item {
    pub(super) fn bundle(self) -> u32 {
        match self {
            Item::Named { bundle, .. } | Item::Row(bundle, _) => bundle,
        }
    }
}

/// How large a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measured {
    pub(super) bundle: u32,
    pub(super) key: Key,
    /// All of its values that may be large.
    pub(super) bytes: u64,
}

/// What one statement reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// All rows that are found by some items.
    Items(Vec<Item>),
    /// These rows.
    Rows(Vec<Item>),
    /// A row with values that are too large to hold.
    Large(Item),
    /// The next slice of a value.
    Slices(Slices),
}

/// How far a large value is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slices {
    pub(super) key: Key,
    pub(super) column: usize,
    pub(super) offset: i32,
    pub(super) sequence: u32,
}

/// Divides what was measured into portions of bounded size. Both lists are in the order of bundles.
pub(super) fn orders(items: &[Item], measured: &[Measured], limits: LoadLimits) -> Vec<Order> {
    let mut orders = Vec::new();
    let (mut portion, mut bytes) = (Vec::new(), 0);
    let mut rows = measured;
    for of_bundle in items.chunk_by(|one, other| one.bundle() == other.bundle()) {
        let bundle = of_bundle[0].bundle();
        let (own, rest) = rows.split_at(rows.iter().take_while(|row| row.bundle == bundle).count());
        rows = rest;
        let size: u64 = own.iter().map(|row| row.bytes + ROW).sum();
        let has_large = own.iter().any(|row| row.bytes > limits.large_row);
        if !portion.is_empty() && (has_large || bytes + size > limits.piece_bytes) {
            orders.push(Order::Items(std::mem::take(&mut portion)));
            bytes = 0;
        }
        if has_large || size > limits.piece_bytes {
            orders.extend(row_by_row(own, limits));
        } else if !own.is_empty() {
            portion.extend_from_slice(of_bundle);
            bytes += size;
        }
    }
    if !portion.is_empty() {
        orders.push(Order::Items(portion));
    }
    orders
}

/// Divides the rows of one bundle.
fn row_by_row(rows: &[Measured], limits: LoadLimits) -> Vec<Order> {
    let mut orders = Vec::new();
    let (mut portion, mut bytes) = (Vec::new(), 0);
    for row in rows {
        let item = Item::Row(row.bundle, row.key);
        let is_large = row.bytes > limits.large_row;
        let size = row.bytes + ROW;
        if !portion.is_empty() && (is_large || bytes + size > limits.piece_bytes) {
            orders.push(Order::Rows(std::mem::take(&mut portion)));
            bytes = 0;
        }
        if is_large {
            orders.push(Order::Large(item));
        } else {
            portion.push(item);
            bytes += size;
        }
    }
    if !portion.is_empty() {
        orders.push(Order::Rows(portion));
    }
    orders
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const LIMITS: LoadLimits =
        LoadLimits { piece_bytes: 10_000, large_row: 8_000, slice: 1_000, statement_timeout: std::time::Duration::from_secs(1) };

    fn row(bundle: u32, number: u128, bytes: u64) -> Measured {
        Measured { bundle, key: Key { id: Uuid::from_u128(number), second: None }, bytes }
    }

    fn named(bundle: u32) -> Item {
        Item::Named { bundle, from: 0, to: 1 }
    }

    fn item(row: Measured) -> Item {
        Item::Row(row.bundle, row.key)
    }

    #[test]
    fn small_bundles_share_a_portion() {
        let items: Vec<Item> = (0..4).map(named).collect();
        let rows = [row(0, 1, 4000), row(0, 2, 10), row(1, 3, 4000), row(3, 4, 4000)];
        assert_eq!(orders(&items, &rows, LIMITS), [Order::Items(vec![named(0), named(1)]), Order::Items(vec![named(3)])]);
    }

    #[test]
    fn a_bundle_that_is_too_large_is_divided() {
        let rows = [row(0, 1, 6000), row(0, 2, 2000), row(0, 3, 6000)];
        assert_eq!(orders(&[named(0)], &rows, LIMITS), [Order::Rows(vec![item(rows[0]), item(rows[1])]), Order::Rows(vec![item(rows[2])])]);
    }

    #[test]
    fn a_large_row_comes_alone() {
        let rows = [row(0, 1, 100), row(1, 2, 100), row(1, 3, 9000), row(1, 4, 100), row(2, 5, 100)];
        let items: Vec<Item> = (0..3).map(named).collect();
        assert_eq!(
            orders(&items, &rows, LIMITS),
            [
                Order::Items(vec![named(0)]),
                Order::Rows(vec![item(rows[1])]),
                Order::Large(item(rows[2])),
                Order::Rows(vec![item(rows[3])]),
                Order::Items(vec![named(2)]),
            ]
        );
    }
}
