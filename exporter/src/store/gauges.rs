//! What is found anew for each scrape: gauges, facts, and counters that others keep.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::family::FamilyDef;
use super::labels::Labels;
use super::totals::Scheme;

/// The values of one family by their label values.
type Values = BTreeMap<Box<[Arc<str>]>, f64>;

/// The values of gauges, info families, and counters that the database keeps. Setting a label set again replaces its value.
#[derive(Clone, Debug)]
pub struct GaugeSet {
    scheme: Scheme,
    families: BTreeMap<&'static str, Values>,
}

impl GaugeSet {
    /// No values yet. The scheme is that of the totals beside which they are exposed.
    pub fn new(scheme: Scheme) -> Self {
        GaugeSet { scheme, families: BTreeMap::new() }
    }

    /// Sets a value. Above `exporter.max_series_per_family` label sets the rest is left out.
    pub fn set(&mut self, family: &'static FamilyDef, labels: impl AsRef<Labels>, value: f64) {
        let series = self.families.entry(family.name).or_default();
        let room = series.len() < self.scheme.max_series;
        self.scheme.with_values(family, labels.as_ref(), |values| {
            let values: Box<[Arc<str>]> = values.iter().map(|value| Arc::from(*value)).collect();
            if room || series.contains_key(&values) {
                series.insert(values, value);
            }
        });
    }

    /// Sets a value of a family that has no labels.
    pub fn set_global(&mut self, family: &'static FamilyDef, value: f64) {
        self.set(family, Labels::default(), value);
    }

    /// States a fact.
    pub fn info(&mut self, family: &'static FamilyDef, labels: impl AsRef<Labels>) {
        self.set(family, labels, 1.0);
    }

    /// Takes over the values of another set, family by family: what this set had of such a family is gone.
    pub fn replace_families(&mut self, other: GaugeSet) {
        self.families.extend(other.families);
    }

    /// The series of a family, sorted by their label values.
    pub fn series(&self, family: &FamilyDef) -> impl Iterator<Item = (&[Arc<str>], f64)> {
        self.families.get(family.name).into_iter().flatten().map(|(labels, value)| (&**labels, *value))
    }
}
