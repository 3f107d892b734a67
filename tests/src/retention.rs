//! What tests of retention stand on: databases in which something hangs on everything, the state of a whole database as data, and
//! plain SQL that says which rows must go, which must stay and which hang in the air.
//!
//! Nothing here knows dify-janitor or shares its code: what belongs together is derived from the names of columns.

mod expected;
mod orphans;
mod population;
mod references;
mod rules;
mod snapshot;

pub use expected::{Expected, expected};
pub use orphans::orphans;
pub use population::{Population, populate, populate_more};
pub use references::{Reference, references};
pub use rules::{Rule, Rules};
pub use snapshot::{Keys, Snapshot};
