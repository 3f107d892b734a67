//! What is looked for in the archive.

use std::collections::HashSet;

use dify_observe_core::dify::retention::Bundle;
use dify_observe_core::dify::time::Micros;
use uuid::Uuid;

use super::DoneBatch;
use super::layout::{FIRST_DAY, LAST_DAY};

/// Which batches, and which of their bundles, are looked for. What is not set does not matter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only these bundles.
    pub bundles: Option<HashSet<Uuid>>,
    /// Only bundles of these apps.
    pub apps: Option<HashSet<Uuid>>,
    /// Only bundles of this tenant.
    pub tenant: Option<Uuid>,
    /// Only bundles that ended at this time or later.
    pub from: Option<Micros>,
    /// Only bundles that ended before this time.
    pub to: Option<Micros>,
}

impl Filter {
    /// Positions of the bundles that are looked for.
    pub(crate) fn positions(&self, bundles: &[Bundle]) -> Vec<usize> {
        bundles.iter().enumerate().filter(|(_, bundle)| self.accepts(bundle)).map(|(position, _)| position).collect()
    }

    /// Whether any of these bundles is looked for.
    pub(crate) fn accepts_any(&self, bundles: &[Bundle]) -> bool {
        bundles.iter().any(|bundle| self.accepts(bundle))
    }

    fn accepts(&self, bundle: &Bundle) -> bool {
        self.accepts_app(bundle.tenant_id, bundle.app_id)
            && self.bundles.as_ref().is_none_or(|bundles| bundles.contains(&bundle.id))
            && self.from.is_none_or(|from| bundle.ended_at >= from)
            && self.to.is_none_or(|to| bundle.ended_at < to)
    }

    fn accepts_app(&self, tenant_id: Uuid, app_id: Uuid) -> bool {
        self.tenant.is_none_or(|tenant| tenant == tenant_id) && self.apps.as_ref().is_none_or(|apps| apps.contains(&app_id))
    }

    /// Whether a batch may have a bundle that is accepted, as far as its name says.
    pub(crate) fn accepts_batch(&self, batch: &DoneBatch) -> bool {
        let midnight = |day: i32| i64::from(day) * 86_400_000_000;
        // Beyond the days that a date can say lie the infinite ones.
        let begins = if batch.day <= FIRST_DAY { i64::MIN } else { midnight(batch.day) };
        let ends = if batch.day >= LAST_DAY { i64::MAX } else { midnight(batch.day + 1) - 1 };
        self.accepts_app(batch.tenant_id, batch.app_id)
            && self.from.is_none_or(|from| ends >= from.0)
            && self.to.is_none_or(|to| begins < to.0)
    }
}
