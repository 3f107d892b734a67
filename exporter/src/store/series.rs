//! The series of one family, sorted by their label values, so that every answer has the same order.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::symbols::{Symbol, Symbols};
use super::value::Value;
use crate::births::{Epoch, Life};

/// One label set with its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Series {
    pub(crate) labels: Box<[Symbol]>,
    pub(crate) life: Life,
    pub(crate) value: Value,
}

/// The series of one family.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct FamilySeries {
    /// A fingerprint of kind, label names and bounds. When it changes, the series of before end.
    pub(crate) shape: u32,
    sorted: Vec<Series>,
}

impl FamilySeries {
    pub(crate) fn new(shape: u32) -> Self {
        FamilySeries { shape, sorted: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.sorted.len()
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Series> {
        self.sorted.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Series> {
        self.sorted.iter_mut()
    }

    /// The place of these label values, or where they would be put in.
    pub(crate) fn find(&self, values: &[&str], symbols: &Symbols) -> Result<usize, usize> {
        self.sorted.binary_search_by(|series| compare(&series.labels, values, symbols))
    }

    pub(crate) fn get(&self, place: usize) -> Option<&Series> {
        self.sorted.get(place)
    }

    pub(crate) fn at(&mut self, place: usize) -> &mut Series {
        &mut self.sorted[place]
    }

    /// Puts a new label set in its place and returns the place.
    pub(crate) fn bear(&mut self, place: usize, values: &[&str], symbols: &mut Symbols, zero: Value, now: Epoch) -> usize {
        let labels = values.iter().map(|value| symbols.intern(value)).collect();
        self.sorted.insert(place, Series { labels, life: Life::born(now), value: zero });
        place
    }

    pub(crate) fn retain(&mut self, keep: impl FnMut(&mut Series) -> bool) {
        self.sorted.retain_mut(keep);
    }
}

fn compare(labels: &[Symbol], values: &[&str], symbols: &Symbols) -> Ordering {
    labels.iter().map(|symbol| symbols.text(*symbol)).cmp(values.iter().copied())
}
