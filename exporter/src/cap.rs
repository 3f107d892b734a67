//! Two caps: on label sets per family, and on values per business label.
//!
//! **Label sets.** What comes after the cap is folded: its app, names and business values become `other`, while labels out
//! of Dify's small closed sets (status, trigger, currency …) keep their values, so that rates over all apps stay right.
//! There is little room for such folded sets; beyond it all values are `other`. The label sets that are there stay, those
//! that come later are folded. As label sets are part of the durable state, so is the choice: a
//! restart moves nothing to or from `other`. A place that an ended label set leaves is given to the next new one, which is
//! then born at 0; what it had counted before stays with `other`. Nothing is counted twice or dropped.
//!
//! **Values.** A business label without an allow list keeps the first values it meets, and every other one becomes `other`.
//! These values are part of the state as well.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dify_observe_core::labels::{LabelRules, NONE};
use serde::{Deserialize, Serialize};

use crate::store::Labels;

pub use dify_observe_core::labels::OTHER;

/// Most label sets of a family when nothing else is configured.
pub const DEFAULT_MAX_SERIES: usize = 2000;

/// Most folded label sets of a family, but for the one where all values are `other`.
pub(crate) const MOST_FOLDED: usize = 200;

/// Labels whose values come out of a small set of Dify's or of ours.
const CLOSED_LABELS: &[&str] = &[
    "action",
    "collector",
    "currency",
    "error_type",
    "family",
    "invoke_from",
    "mode",
    "node_type",
    "provider_type",
    "rating",
    "result",
    "run_type",
    "scope",
    "source",
    "status",
    "token_type",
    "trigger_type",
    "triggered_from",
];

/// The label values that these ones are folded into: fully where there is no room for more folded label sets.
pub(crate) fn folded<'v>(names: impl Iterator<Item = impl AsRef<str>>, values: &[&'v str], fully: bool) -> Vec<&'v str> {
    let keeps = |name: &str| !fully && CLOSED_LABELS.contains(&name);
    names.zip(values).map(|(name, value)| if keeps(name.as_ref()) { value } else { OTHER }).collect()
}

/// A label of the operator's and how many values it may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusinessLabel {
    /// The label's name.
    pub name: Arc<str>,
    /// `None` where the rule itself says which values there are.
    pub max_values: Option<usize>,
}

impl BusinessLabel {
    /// The labels of these rules, in their order.
    pub fn of_rules(rules: &LabelRules) -> Arc<[BusinessLabel]> {
        let labels = rules.names().iter().cloned().zip(rules.caps());
        labels.map(|(name, max_values)| BusinessLabel { name, max_values }).collect()
    }
}

/// The values that each capped label keeps.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct KeptValues(BTreeMap<Arc<str>, BTreeSet<Arc<str>>>);

impl KeptValues {
    /// Keeps the values of a record as far as there is room. Says whether there is a new one.
    pub(crate) fn admit(&mut self, business: &[BusinessLabel], labels: &Labels) -> bool {
        let mut is_new = false;
        for (label, value) in business.iter().zip(&labels.business) {
            let Some(max_values) = label.max_values else { continue };
            if self.allows(label, value) {
                continue;
            }
            let kept = self.0.entry(Arc::clone(&label.name)).or_default();
            if kept.len() < max_values {
                is_new |= kept.insert(Arc::clone(value));
            }
        }
        is_new
    }

    /// The labels with `other` in place of the values that are not kept.
    pub(crate) fn limit<'l>(&self, business: &[BusinessLabel], labels: &'l Labels) -> Cow<'l, Labels> {
        let mut labels = Cow::Borrowed(labels);
        for (at, label) in business.iter().enumerate() {
            if labels.business.get(at).is_some_and(|value| !self.allows(label, value)) {
                labels.to_mut().business[at] = OTHER.into();
            }
        }
        labels
    }

    fn allows(&self, label: &BusinessLabel, value: &str) -> bool {
        label.max_values.is_none() || [NONE, OTHER, ""].contains(&value) || self.0.get(&label.name).is_some_and(|kept| kept.contains(value))
    }
}
