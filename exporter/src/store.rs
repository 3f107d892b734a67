//! Everything that is counted and outlives the process: counters, decimals and histograms by label set, with the births
//! and endings of their series.
//!
//! [`Totals`] is plain data without clock, lock or file. Whoever owns it steps, asks [`Totals::ripen`], writes the state
//! when [`Totals::is_dirty`], and only then encodes an answer from it: no value leaves the process that is not durable.
//! Gauges and facts are found anew for each scrape and live in a [`GaugeSet`].

mod exposition;
mod family;
mod gauges;
mod histogram;
mod labels;
mod series;
mod symbols;
mod totals;
mod value;

#[cfg(test)]
mod tests;

pub use exposition::{Exposed, ExposedSeries, Ticket};
pub use family::{FamilyDef, FamilyKind, Scope};
pub use gauges::GaugeSet;
pub use histogram::Histogram;
pub use labels::{AppLabels, Labels};
pub use totals::{Scheme, Totals};
pub use value::Exemplar;

pub(crate) use histogram::{Native, ZERO_THRESHOLD};
