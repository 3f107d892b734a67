//! What of the totals an answer shows, and what an answer does to them.

use dify_observe_core::dify::time::Micros;
use rust_decimal::Decimal;

use super::family::FamilyDef;
use super::histogram::Histogram;
use super::labels::Labels;
use super::series::Series;
use super::symbols::Symbols;
use super::totals::Totals;
use super::value::{Exemplar, Value};
use crate::births::{BirthRules, Epoch, Ripened};

/// An answer to a Prometheus that was begun, see [`Totals::begin_answer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(Epoch);

/// A series as an answer shows it.
#[derive(Clone, Copy, Debug)]
pub struct ExposedSeries<'a> {
    series: &'a Series,
    symbols: &'a Symbols,
}

/// A value as an answer shows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Exposed<'a> {
    /// A counter and the record that moved it last.
    Counter(u64, Option<&'a Exemplar>),
    /// A decimal counter.
    Decimal(Decimal),
    /// A histogram; `None` while all of it is to be 0.
    Histogram(Option<&'a Histogram>),
}

impl<'a> ExposedSeries<'a> {
    /// The label values, in the order of [`Scheme::label_names`](super::Scheme::label_names).
    pub fn label_values(self) -> impl Iterator<Item = &'a str> {
        self.series.labels.iter().map(move |symbol| self.symbols.text(*symbol))
    }

    /// The value: 0 as long as the label set is held.
    pub fn value(self) -> Exposed<'a> {
        let shown = self.series.life.is_shown();
        match &self.series.value {
            Value::Counter(total, exemplar) if shown => Exposed::Counter(*total, exemplar.as_deref()),
            Value::Counter(..) => Exposed::Counter(0, None),
            Value::Decimal(total) => Exposed::Decimal(if shown { *total } else { Decimal::ZERO }),
            Value::Histogram(histogram) => Exposed::Histogram(shown.then_some(histogram)),
        }
    }
}

impl Totals {
    /// Notes that something else in the same state changed, so that it must be written before the next answer.
    pub fn mark_dirty(&mut self) {
        self.dirty = true;
    }

    /// Whether something changed since the state was written.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// The totals as they are now have been written.
    pub fn saved(&mut self) {
        self.dirty = false;
    }

    /// Moves label sets on that have waited long enough, see [`births`](crate::births). To be called before the state is
    /// written and the answer encoded; what it changes makes the totals dirty.
    pub fn ripen(&mut self, rules: BirthRules, now: Micros) {
        let epoch = self.epoch;
        let mut changed = false;
        for series in self.families.values_mut() {
            series.retain(|series| {
                let ripened = series.life.ripen(rules, now, epoch);
                changed |= ripened != Ripened::No;
                ripened != Ripened::Ended
            });
        }
        self.dirty |= changed;
    }

    /// Begins an answer to a Prometheus. Only for requests that carry `X-Prometheus-Scrape-Timeout-Seconds`: a person's
    /// look at the page is no scrape.
    pub fn begin_answer(&mut self) -> Ticket {
        self.epoch += 1;
        Ticket(self.epoch)
    }

    /// The answer was given: what was held in it comes closer to being shown. By itself this is not worth writing the
    /// state; it goes with whatever is written next, and is only repeated when it is lost.
    pub fn answered(&mut self, ticket: Ticket, now: Micros) {
        for series in self.families.values_mut().flat_map(|series| series.iter_mut()) {
            series.life.answered(ticket.0, now);
        }
    }

    /// The series of a family as an answer shows them, sorted by their label values.
    pub fn exposed(&self, family: &FamilyDef) -> impl Iterator<Item = ExposedSeries<'_>> {
        let series = self.families.get(family.name).map(|series| series.iter());
        series.into_iter().flatten().map(|series| ExposedSeries { series, symbols: &self.symbols })
    }

    /// How many label sets there are, in all families.
    pub fn label_sets(&self) -> usize {
        self.families.values().map(|series| series.len()).sum()
    }

    /// What a counter really is, shown or not; 0 when there is no such label set.
    pub fn counter(&self, family: &FamilyDef, labels: impl AsRef<Labels>) -> u64 {
        match self.value(family, labels.as_ref()) {
            Some(Value::Counter(total, _)) => *total,
            _ => 0,
        }
    }

    /// What a decimal counter really is, shown or not; 0 when there is no such label set.
    pub fn decimal(&self, family: &FamilyDef, labels: impl AsRef<Labels>) -> Decimal {
        match self.value(family, labels.as_ref()) {
            Some(Value::Decimal(total)) => *total,
            _ => Decimal::ZERO,
        }
    }

    /// What a histogram really is, shown or not.
    pub fn histogram(&self, family: &FamilyDef, labels: impl AsRef<Labels>) -> Option<&Histogram> {
        match self.value(family, labels.as_ref()) {
            Some(Value::Histogram(histogram)) => Some(histogram),
            _ => None,
        }
    }

    fn value(&self, family: &FamilyDef, labels: &Labels) -> Option<&Value> {
        let series = self.families.get(family.name)?;
        let labels = self.kept.limit(&self.scheme.business, labels);
        let place = self.scheme.with_values(family, &labels, |values| series.find(values, &self.symbols)).ok()?;
        series.get(place).map(|series| &series.value)
    }
}
