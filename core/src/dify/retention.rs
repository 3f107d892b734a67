//! What dify-janitor reads, deletes and puts back: the rows that hang on a workflow run or on a conversation, found through an index in
//! every Dify version. Every statement of the janitor that touches a Dify table is below this module.

mod blocks;
pub mod bundle;
pub mod candidates;
pub mod delete;
pub mod health;
pub mod load;
mod manners;
pub mod ownership;
mod parents;
pub mod prefetch;
pub mod presence;
pub mod pressure;
pub mod referenced;
pub mod restore;
pub mod revenants;
pub mod rows;
mod shapes;
pub mod statements;
pub mod survey;

pub use bundle::{Bundle, Root, RunKey};
pub use candidates::{Candidate, Drafts, Pass, Protection, Sampled, Wanted, Young, complete};
pub use delete::{DeleteLimits, Deleted, Expected, Fate, Large, Step, delete, finish};
pub use load::{LoadLimits, Snapshot};
pub use ownership::{Member, Ownership, Parent, Path, Prefix, Reference, UnknownShape};
pub use prefetch::{Prefetched, prefetch};
pub use pressure::{Pressure, Replica, Rights};
pub use referenced::referenced_runs;
pub use restore::{Counts, Destination, Existing, Restoration, RestoreError, Restored};
pub use revenants::{Revenant, revenants};
pub use rows::{Cell, Column, Key, Piece, Row, Rows, Shape, Wire};
