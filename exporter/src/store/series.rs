//! The series of one family, sorted by their label values, so that every answer has the same order.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::symbols::{Symbol, Symbols};
use super::value::Value;
use crate::births::{Epoch, Life};
use crate::cap;

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
    /// How many of the series are folded ones, see [`crate::cap`].
    folded: usize,
    sorted: Vec<Series>,
}

impl FamilySeries {
    pub(crate) fn new(shape: u32) -> Self {
        FamilySeries { shape, folded: 0, sorted: Vec::new() }
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

    /// How many series are not folded.
    pub(crate) fn unfolded(&self) -> usize {
        self.sorted.len().saturating_sub(self.folded)
    }

    /// The place of the series that these values are folded into; it is born when it is new.
    pub(crate) fn fold(&mut self, names: &[&str], values: &[&str], symbols: &mut Symbols, zero: Value, now: Epoch) -> usize {
        let mut folded = cap::folded(names.iter(), values, false);
        let mut place = self.find(&folded, symbols);
        if place.is_err() && self.folded >= cap::MOST_FOLDED {
            folded = cap::folded(names.iter(), values, true);
            place = self.find(&folded, symbols);
        }
        place.unwrap_or_else(|place| {
            self.folded += 1;
            self.bear(place, &folded, symbols, zero, now)
        })
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
