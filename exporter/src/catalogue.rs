//! Every metric family there is: the one list that the store, the encoders, `describe` and docs/metrics.md share.
//!
//! To add a family, add a line to the group it belongs to and run `dify-exporter describe > docs/metrics.md`.

use crate::store::FamilyDef;

/// Declares the families of one group as statics and lists them in order.
macro_rules! families {
    ($($name:ident = $kind:ident($metric:literal, $help:literal $(, $bounds:expr)?) $(.$method:ident($($argument:expr)?))*;)*) => {
        $(
            #[doc = concat!("`", $metric, "`: ", $help, ".")]
            pub static $name: FamilyDef = FamilyDef::$kind($metric, $help $(, $bounds)?)$(.$method($($argument)?))*;
        )*

        /// The families of this group, in the order in which they are exposed.
        pub(super) static ALL: &[&FamilyDef] = &[$(&$name),*];
    };
}

mod buckets;
mod console;
mod conversations;
mod database;
mod executions;
mod exporter;
mod knowledge;
mod models;

pub use console::*;
pub use conversations::*;
pub use database::*;
pub use executions::*;
pub use exporter::*;
pub use knowledge::*;
pub use models::*;

/// Families that belong together in the documentation.
#[derive(Debug)]
pub struct Group {
    /// A heading.
    pub title: &'static str,
    /// The families, in the order in which they are exposed.
    pub families: &'static [&'static FamilyDef],
}

/// Every group, in the order in which they are exposed.
pub static GROUPS: &[Group] = &[
    Group { title: "Workflow runs, nodes, tools and triggers", families: executions::ALL },
    Group { title: "Model calls", families: models::ALL },
    Group { title: "Messages, conversations and people", families: conversations::ALL },
    Group { title: "Knowledge and files", families: knowledge::ALL },
    Group { title: "The database", families: database::ALL },
    Group { title: "Dify's own Monitoring page", families: console::ALL },
    Group { title: "The exporter itself", families: exporter::ALL },
];

/// Every family, in the order in which they are exposed.
pub fn all() -> impl Iterator<Item = &'static FamilyDef> {
    GROUPS.iter().flat_map(|group| group.families.iter().copied())
}

/// The family of this name (without `_total` and `_info`).
pub fn by_name(name: &str) -> Option<&'static FamilyDef> {
    all().find(|family| family.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::store::{FamilyKind, Scope};

    #[test]
    fn names_are_unique_and_spelled_as_prometheus_wants_them() {
        let mut names = BTreeSet::new();
        for family in all() {
            assert!(names.insert(family.name), "{} is there twice", family.name);
            assert!(family.name.starts_with("dify_"), "{}", family.name);
            assert!(family.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{}", family.name);
            for reserved in ["_total", "_info", "_created", "_bucket", "_count", "_sum"] {
                assert!(!family.name.ends_with(reserved), "{} ends in {reserved}", family.name);
            }
        }
    }

    #[test]
    fn a_unit_ends_the_name() {
        for family in all() {
            if let Some(unit) = family.unit {
                assert!(family.name.ends_with(&format!("_{unit}")), "{}", family.name);
            }
            for unit in ["seconds", "bytes"] {
                assert_eq!(family.name.ends_with(unit), family.unit == Some(unit), "{}", family.name);
            }
        }
    }

    #[test]
    fn help_is_one_line_without_a_final_dot() {
        for family in all() {
            assert!(!family.help.is_empty() && !family.help.contains(['\n', '\\', '"']) && !family.help.ends_with('.'), "{}", family.name);
            assert!(family.help.starts_with(|c: char| c.is_uppercase()), "{}", family.name);
        }
    }

    #[test]
    fn labels_are_distinct_and_not_reserved() {
        for family in all() {
            let labels: BTreeSet<_> = family.labels.iter().collect();
            assert_eq!(labels.len(), family.labels.len(), "{}", family.name);
            assert!(!family.labels.iter().any(|label| ["app", "app_id", "le", "quantile"].contains(label)), "{}", family.name);
            assert!(!family.business_labels || family.scope == Scope::App, "{}", family.name);
        }
    }

    /// A label of the operator's with the name of one of ours would make a line that no server takes.
    #[test]
    fn our_label_names_are_reserved() {
        for family in all().filter(|family| family.business_labels) {
            for label in family.labels {
                assert!(dify_observe_core::labels::RESERVED_NAMES.contains(label), "{label}");
            }
        }
    }

    #[test]
    fn bounds_ascend() {
        for family in all() {
            if let FamilyKind::Histogram(bounds) = family.kind {
                assert!(bounds.is_sorted_by(|a, b| a < b) && bounds.len() < 20, "{}", family.name);
                // Go writes floats beyond these with an exponent, Rust does not: `le` would differ between formats.
                assert!(bounds.iter().all(|bound| *bound == 0.0 || (1e-4..1e6).contains(bound)), "{}", family.name);
            }
        }
    }
}
