//! What was found against what was archived.

use std::collections::{BTreeMap, HashMap};

use super::Expected;
use crate::dify::retention::rows::Key;

/// The archived rows of some bundles, ticked off one by one.
pub(super) struct Comparison {
    rows: HashMap<(u16, Key), Archived>,
    bundles: HashMap<usize, Tally>,
}

struct Archived {
    bundle: usize,
    xmin: u32,
}

/// How one bundle compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Rows that are still as they were archived.
    pub(super) same: usize,
    /// Rows that are there in another version, or were not archived.
    pub(super) different: usize,
    /// Archived rows that were not found, in any version.
    pub(super) missing: usize,
}

impl Comparison {
    /// Of the bundles at these positions.
    pub(super) fn new(batch: &[Expected], group: &[usize]) -> Comparison {
        let mut comparison = Comparison { rows: HashMap::new(), bundles: HashMap::new() };
        for position in group {
            let expected = &batch[*position];
            for (table, key, xmin) in &expected.rows {
                comparison.rows.insert((*table, *key), Archived { bundle: *position, xmin: *xmin });
            }
            comparison.bundles.insert(*position, Tally { missing: expected.rows.len(), ..Tally::default() });
        }
        comparison
    }

    /// Ticks off a row that was found by a parent of `bundle`.
    pub(super) fn found(&mut self, bundle: usize, table: u16, key: Key, xmin: u32) {
        match self.rows.remove(&(table, key)) {
            Some(archived) => {
                let tally = self.bundles.entry(archived.bundle).or_default();
                tally.missing -= 1;
                if archived.xmin == xmin && archived.bundle == bundle {
                    tally.same += 1;
                } else {
                    tally.different += 1;
                }
            }
            None => self.bundles.entry(bundle).or_default().different += 1,
        }
    }

    /// How each bundle compares.
    pub(super) fn tallies(&self) -> BTreeMap<usize, Tally> {
        self.bundles.iter().map(|(bundle, tally)| (*bundle, *tally)).collect()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::dify::retention::bundle::{Bundle, Root};
    use crate::dify::time::Micros;

    fn key(number: u128) -> Key {
        Key { id: Uuid::from_u128(number), second: None }
    }

    fn expected(rows: &[(u16, u128, u32)]) -> Expected {
        let bundle = Bundle {
            root: Root::Run,
            id: Uuid::nil(),
            tenant_id: Uuid::nil(),
            app_id: Uuid::nil(),
            status: None,
            ended_at: Micros(0),
            newest: Micros(0),
            runs: Vec::new(),
            messages: Vec::new(),
        };
        Expected { bundle, rows: rows.iter().map(|(table, id, xmin)| (*table, key(*id), *xmin)).collect() }
    }

    #[test]
    fn what_is_found_as_it_was_archived_is_the_same() {
        let batch = [expected(&[(0, 1, 10), (1, 1, 11)]), expected(&[(0, 2, 12)])];
        let mut comparison = Comparison::new(&batch, &[0, 1]);
        comparison.found(0, 0, key(1), 10);
        comparison.found(0, 1, key(1), 11);
        let tallies = comparison.tallies();
        assert_eq!(tallies[&0], Tally { same: 2, different: 0, missing: 0 });
        assert_eq!(tallies[&1], Tally { same: 0, different: 0, missing: 1 });
    }

    #[test]
    fn another_version_a_new_row_and_a_row_of_another_bundle_are_differences() {
        let batch = [expected(&[(0, 1, 10), (0, 2, 10)]), expected(&[])];
        let mut comparison = Comparison::new(&batch, &[0, 1]);
        comparison.found(0, 0, key(1), 99);
        comparison.found(0, 0, key(3), 10);
        comparison.found(1, 0, key(2), 10);
        assert_eq!(comparison.tallies()[&0], Tally { same: 0, different: 3, missing: 0 });
        assert_eq!(comparison.tallies()[&1], Tally::default());
    }
}
