//! What policies and the plan ask: which apps there are, when the newest runs began, and what samples of the large tables say.
//!
//! Samples are of blocks (`TABLESAMPLE SYSTEM`), so that a table of any size costs the same. Small tables are read as a whole.

mod count;
mod names;
mod portion;
mod roots;
mod weigh;

pub use count::{Counts, count};
pub use names::{apps_named, known_app_names, known_tags, newest};
pub(super) use portion::SAMPLED;
pub use portion::{Portion, TableSize, clock, sizes};
pub use roots::roots;
pub use weigh::{Weight, bears_app, count_all, weigh, weigh_all};

/// What a sample says, and what one row of it stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<T> {
    /// The rows that were looked at.
    pub rows: Vec<T>,
    /// How much of the table that is, in the end: less than was asked for on a slow disk.
    pub portion: Portion,
}
