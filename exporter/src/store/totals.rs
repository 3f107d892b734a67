//! The durable totals of all families.

use std::collections::BTreeMap;
use std::sync::Arc;

use dify_observe_core::labels::NONE;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::family::{FamilyDef, FamilyKind, Scope};
use super::labels::{AppLabels, Labels};
use super::series::FamilySeries;
use super::symbols::Symbols;
use super::value::{Exemplar, Value};
use crate::births::Epoch;
use crate::cap::{BusinessLabel, KeptValues};
use crate::{cap, catalogue};

/// What of the configuration decides which label sets there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheme {
    /// `exporter.app_name_label`
    pub app_name_label: bool,
    /// The operator's labels, in the order of their values in [`Labels::business`].
    pub business: Arc<[BusinessLabel]>,
    /// `exporter.max_series_per_family`
    pub max_series: usize,
}

impl Default for Scheme {
    fn default() -> Self {
        Scheme { app_name_label: true, business: Arc::new([]), max_series: cap::DEFAULT_MAX_SERIES }
    }
}

impl Scheme {
    /// The label names of a family, in the order in which they are exposed.
    pub fn label_names<'a>(&'a self, family: &'a FamilyDef) -> impl Iterator<Item = &'a str> {
        let app_id = (family.scope != Scope::Global).then_some("app_id");
        let app = self.has_app_name(family).then_some("app");
        let business: &[BusinessLabel] = if family.business_labels { &self.business } else { &[] };
        app_id.into_iter().chain(app).chain(family.labels.iter().copied()).chain(business.iter().map(|label| &*label.name))
    }

    pub(super) fn has_app_name(&self, family: &FamilyDef) -> bool {
        match family.scope {
            Scope::App => self.app_name_label,
            Scope::NamedApp => true,
            Scope::Global => false,
        }
    }

    /// Calls `with` with the label values of a series, in the order of [`Scheme::label_names`].
    pub(super) fn with_values<T>(&self, family: &FamilyDef, labels: &Labels, with: impl FnOnce(&[&str]) -> T) -> T {
        debug_assert_eq!(labels.own.len(), family.labels.len(), "labels of {}", family.name);
        let mut id = uuid::Uuid::encode_buffer();
        let (id, name): (&str, &str) = match &labels.app {
            Some(app) => (app.id.hyphenated().encode_lower(&mut id), &app.name),
            None => (cap::OTHER, cap::OTHER),
        };
        let mut values: Vec<&str> = Vec::with_capacity(12);
        if family.scope != Scope::Global {
            values.push(id);
        }
        if self.has_app_name(family) {
            values.push(name);
        }
        values.extend(labels.own.iter().map(|value| &**value));
        if family.business_labels {
            // A record whose rules could not be applied has the label all the same.
            values.extend((0..self.business.len()).map(|at| labels.business.get(at).map_or(NONE, |value| &**value)));
        }
        with(&values)
    }

    /// Changes when the series of before are not the ones of now: another label, another bound.
    fn shape(&self, family: &FamilyDef) -> u32 {
        let mut hash = crc32fast::Hasher::new();
        for name in self.label_names(family) {
            hash.update(name.as_bytes());
            hash.update(&[0]);
        }
        match family.kind {
            FamilyKind::Histogram(bounds) => bounds.iter().for_each(|bound| hash.update(&bound.to_bits().to_le_bytes())),
            FamilyKind::DecimalCounter => hash.update(b"decimal"),
            FamilyKind::Counter | FamilyKind::Gauge | FamilyKind::Info => {}
        }
        hash.finalize()
    }
}

/// The durable totals of all families. See [`births`](crate::births) for when a value is exposed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Totals {
    pub(super) symbols: Symbols,
    pub(super) families: BTreeMap<String, FamilySeries>,
    /// The name under which each app is counted now.
    apps: BTreeMap<uuid::Uuid, Arc<str>>,
    pub(super) kept: KeptValues,
    #[serde(skip)]
    pub(super) scheme: Scheme,
    #[serde(skip)]
    pub(super) epoch: Epoch,
    #[serde(skip)]
    pub(super) dirty: bool,
}

impl Totals {
    /// Nothing counted yet.
    pub fn new(scheme: Scheme) -> Self {
        Totals { scheme, ..Totals::default() }
    }

    /// Applies the configuration to totals that were read from a state file: families whose labels or buckets are others
    /// now begin anew, and are named.
    pub fn adopt(&mut self, scheme: Scheme) -> Vec<String> {
        self.scheme = scheme;
        let scheme = &self.scheme;
        let fits = |name: &String, series: &FamilySeries| {
            catalogue::by_name(name).is_some_and(|family| family.is_durable() && scheme.shape(family) == series.shape)
        };
        let ended: Vec<String> = self.families.extract_if(.., |name, series| !fits(name, series)).map(|(name, _)| name).collect();
        self.dirty |= !ended.is_empty();
        ended
    }

    /// What decides which label sets there are.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// Adds `n` to a counter.
    pub fn add(&mut self, family: &'static FamilyDef, labels: impl AsRef<Labels>, n: u64) {
        self.add_with_exemplar(family, labels, n, None);
    }

    /// Adds `n` to a counter and keeps the record behind it.
    pub fn add_with_exemplar(&mut self, family: &'static FamilyDef, labels: impl AsRef<Labels>, n: u64, exemplar: Option<Exemplar>) {
        self.update(family, labels.as_ref(), |value| {
            if let Value::Counter(total, last) = value {
                *total = total.saturating_add(n);
                if let Some(exemplar) = exemplar {
                    *last = Some(Box::new(exemplar));
                }
            }
        });
    }

    /// Adds an amount of money to a decimal counter. Negative amounts, which no price should be, are left out: a counter
    /// that falls would be counted as a restart.
    pub fn add_decimal(&mut self, family: &'static FamilyDef, labels: impl AsRef<Labels>, amount: Decimal) {
        self.update(family, labels.as_ref(), |value| {
            if let Value::Decimal(total) = value {
                *total = total.saturating_add(amount.max(Decimal::ZERO));
            }
        });
    }

    /// Counts a value in a histogram. Values that are not finite are left out.
    pub fn observe(&mut self, family: &'static FamilyDef, labels: impl AsRef<Labels>, value: f64, exemplar: Option<Exemplar>) {
        let FamilyKind::Histogram(bounds) = family.kind else {
            debug_assert!(false, "{} is no histogram", family.name);
            return;
        };
        self.update(family, labels.as_ref(), |total| {
            if let Value::Histogram(histogram) = total {
                histogram.observe(bounds, value, exemplar);
            }
        });
    }

    /// Gives birth to a label set without counting anything: the earlier, the sooner its first value is shown.
    pub fn touch(&mut self, family: &'static FamilyDef, labels: impl AsRef<Labels>) {
        self.place(family, labels.as_ref(), false);
    }

    /// Gives the app a new name, if it is one: the label sets with the old name end, those with the new one are born.
    /// Every record does this by its labels; an app without records can be renamed here.
    pub fn name_app(&mut self, app: &AppLabels) {
        match self.apps.get_mut(&app.id) {
            Some(name) if **name == *app.name => return,
            Some(name) => *name = Arc::clone(&app.name),
            None => {
                self.apps.insert(app.id, Arc::clone(&app.name));
                return;
            }
        }
        self.dirty = true;
        if self.scheme.app_name_label {
            self.end_other_names(app);
        }
    }

    fn end_other_names(&mut self, app: &AppLabels) {
        let Some(id) = self.symbols.find(&app.id.to_string()) else { return };
        let name = self.symbols.find(&app.name);
        for (family, series) in &mut self.families {
            if catalogue::by_name(family).is_none_or(|family| family.scope == Scope::Global) {
                continue;
            }
            for series in series.iter_mut().filter(|series| series.labels.first() == Some(&id)) {
                if series.labels.get(1).copied() == name {
                    series.life.revive();
                } else {
                    series.life.end(self.epoch);
                }
            }
        }
    }

    fn update(&mut self, family: &'static FamilyDef, labels: &Labels, change: impl FnOnce(&mut Value)) {
        let Some((place, folded)) = self.place(family, labels, true) else { return };
        let epoch = self.epoch;
        if let Some(series) = self.families.get_mut(family.name).map(|series| series.at(place)) {
            change(&mut series.value);
            series.life.changed(epoch);
            self.dirty = true;
        }
        if folded {
            self.add(&catalogue::SERIES_FOLDED, Labels::global([family.name]), 1);
        }
    }

    /// Where the series of these labels is; it is born when it is new. Above the cap that is a folded one, and `true`;
    /// without `fold` it is none.
    fn place(&mut self, family: &'static FamilyDef, labels: &Labels, fold: bool) -> Option<(usize, bool)> {
        if let Some(app) = &labels.app {
            self.name_app(app);
        }
        let Totals { symbols, families, kept, scheme, epoch, dirty, .. } = self;
        if family.business_labels {
            *dirty |= kept.admit(&scheme.business, labels);
        }
        let labels = &*kept.limit(&scheme.business, labels);
        debug_assert!(family.is_durable(), "{} is not durable", family.name);
        let zero = Value::zero(family.kind)?;
        if !families.contains_key(family.name) {
            families.insert(family.name.to_owned(), FamilySeries::new(scheme.shape(family)));
        }
        let series = families.get_mut(family.name)?;
        let before = series.len();
        let place = scheme.with_values(family, labels, |values| match series.find(values, symbols) {
            Ok(place) => Some((place, false)),
            Err(place) if series.unfolded() < scheme.max_series => Some((series.bear(place, values, symbols, zero, *epoch), false)),
            Err(_) if fold => {
                let names: Vec<&str> = scheme.label_names(family).collect();
                Some((series.fold(&names, values, symbols, zero, *epoch), true))
            }
            Err(_) => None,
        });
        *dirty |= series.len() != before;
        place
    }
}
