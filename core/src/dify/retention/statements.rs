//! Every statement by which the reader touches a Dify table, for a test that looks at their plans.

use super::ownership::Ownership;
use super::{candidates, load, prefetch, referenced};

/// Name and text of each statement that reads, as this database gets it. Every parameter's type stands in the text.
pub fn statements(ownership: &Ownership) -> Vec<(&'static str, String)> {
    let mut statements = candidates::statements(ownership);
    statements.extend(referenced::statements(ownership));
    statements.extend(prefetch::statements(ownership));
    statements.extend(load::statements(ownership));
    statements
}
