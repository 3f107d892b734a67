//! Walking a table in the order of nothing: in ranges of blocks, resumable, each range one bounded statement.

use sqlx::Row;

use crate::dify::session::{DatabaseError, Query, ReadTx, query};

/// Most blocks of one statement: 64 MiB of a table.
const MOST: u32 = 8192;
/// Blocks of the first statement.
const FIRST: u32 = 64;
/// PostgreSQL reads only the blocks of a range since 14; before, every range would read the whole table.
const RANGES_SINCE: i32 = 140_000;

/// What a statement of a walk begins with, for rows `t`.
pub(super) const IN_RANGE: &str = "t.ctid >= $1::text::tid AND t.ctid < $2::text::tid";

/// Where a walk over a table stands. Rows that come while it lasts are seen or not: what is looked for here is old.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    table: String,
    blocks: Option<u32>,
    next: u32,
    size: u32,
    /// Rows that a range should yield.
    target: usize,
    ranges: bool,
}

impl Walk {
    /// A walk from the first block, in ranges that yield about `target` rows.
    pub(super) fn new(table: &str, server_version: i32, target: usize) -> Walk {
        let ranges = server_version >= RANGES_SINCE;
        Walk { table: table.to_owned(), blocks: None, next: 0, size: FIRST, target, ranges }
    }

    /// The next range; `None` when all blocks are read. The size of the table is asked for once.
    pub(super) async fn range(&mut self, tx: &mut ReadTx) -> Result<Option<BlockRange>, DatabaseError> {
        let blocks = match self.blocks {
            Some(blocks) => blocks,
            None => {
                let row = tx.fetch_one(query(include_str!("../queries/check_pages.sql")).bind(&self.table)).await?;
                let pages: Option<i64> = row.try_get("pages")?;
                *self.blocks.insert(u32::try_from(pages.unwrap_or(0)).unwrap_or(u32::MAX))
            }
        };
        let end = if self.ranges { self.next.saturating_add(self.size).min(blocks) } else { blocks };
        Ok((self.next < blocks).then(|| BlockRange::new(self.next, end)))
    }

    /// Notes that a range was read, and makes the next one smaller or larger.
    pub(super) fn advance(&mut self, range: &BlockRange, rows: usize) {
        self.next = range.end;
        if rows > self.target {
            self.size = (self.size / 2).max(1);
        } else if rows < self.target / 2 {
            self.size = self.size.saturating_mul(2).min(MOST);
        }
    }

    /// After a timeout: the same range in smaller parts. `false` when it cannot be smaller.
    pub(super) fn shrink(&mut self) -> bool {
        let can_shrink = self.ranges && self.size > 1;
        self.size = (self.size / 2).max(1);
        can_shrink
    }
}

/// Some blocks.
#[derive(Clone, Debug)]
pub(super) struct BlockRange {
    end: u32,
    from_tid: String,
    to_tid: String,
}

impl BlockRange {
    fn new(start: u32, end: u32) -> BlockRange {
        BlockRange { end, from_tid: format!("({start},0)"), to_tid: format!("({end},0)") }
    }

    /// Binds what [`IN_RANGE`] wants; to be the first two values.
    pub(super) fn bind<'q>(&'q self, query: Query<'q>) -> Query<'q> {
        query.bind(&self.from_tid).bind(&self.to_tid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_grow_and_shrink_with_what_they_yield() {
        let mut walk = Walk::new("t", 150_000, 1000);
        walk.advance(&BlockRange::new(0, FIRST), 10);
        assert_eq!((walk.next, walk.size), (FIRST, 2 * FIRST));
        walk.advance(&BlockRange::new(FIRST, 3 * FIRST), 5000);
        assert_eq!((walk.next, walk.size), (3 * FIRST, FIRST));
        assert!(walk.shrink());
        assert_eq!((walk.next, walk.size), (3 * FIRST, FIRST / 2));
    }

    #[test]
    fn a_single_block_cannot_be_halved() {
        let mut walk = Walk::new("t", 150_000, 1000);
        while walk.size > 1 {
            assert!(walk.shrink());
        }
        assert!(!walk.shrink());
        assert!(!Walk::new("t", 130_000, 1000).shrink());
    }
}
