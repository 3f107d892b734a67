//! The cap on label sets per family: what comes after it is folded into one label set whose values are all `other`.
//!
//! The label sets that are there stay, those that come later are folded. As label sets are part of the durable state, so is
//! the choice: a restart moves nothing to or from `other`. A place that an ended label set leaves is given to the next new
//! one, which is then born at 0; what it had counted before stays with `other`. Nothing is counted twice or dropped.

/// The value of every label of what is folded, and of label values that are not allowed.
pub const OTHER: &str = "other";

/// Most label sets of a family when nothing else is configured.
pub const DEFAULT_MAX_SERIES: usize = 2000;

/// Whether a family with this many label sets takes no more, but for the folded one.
pub(crate) fn is_full(label_sets: usize, max_series: usize) -> bool {
    label_sets >= max_series
}
