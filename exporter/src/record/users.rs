//! Distinct end users of each app, in windows up to now.

use std::collections::BTreeMap;

use dify_observe_core::dify::catalog::Catalog;
use dify_observe_core::dify::time::Micros;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::sketch::Sketch;
use crate::catalogue;
use crate::store::{AppLabels, GaugeSet, Labels};

/// Label and length in minutes.
const WINDOWS: [(&str, u32); 4] = [("1h", 60), ("1d", 24 * 60), ("7d", 7 * 24 * 60), ("30d", 30 * 24 * 60)];
const LONGEST: u32 = WINDOWS[WINDOWS.len() - 1].1;
/// Most apps that are followed; a sketch takes up to 150 KiB.
const MOST_APPS: usize = 5_000;

/// Distinct end users of each app.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ActiveUsers {
    /// Since when every record is seen.
    since: Option<Micros>,
    apps: BTreeMap<Uuid, Sketch>,
}

impl ActiveUsers {
    pub(super) fn begin(&mut self, since: Micros) {
        self.since.get_or_insert(since);
    }

    /// An end user's record of this time.
    pub(super) fn seen(&mut self, app: Uuid, user: Uuid, at: Micros) {
        if self.apps.contains_key(&app) || self.apps.len() < MOST_APPS {
            self.apps.entry(app).or_default().insert(hash(user), minute(at));
        }
    }

    pub(super) fn expire(&mut self, now: Micros) {
        let oldest = minute(now).saturating_sub(LONGEST);
        self.apps.retain(|_, sketch| {
            sketch.forget_before(oldest);
            !sketch.is_empty()
        });
    }

    pub(super) fn gauges(&self, catalog: &Catalog, now: Micros, gauges: &mut GaugeSet) {
        for (app_id, sketch) in &self.apps {
            let app = AppLabels { id: *app_id, name: catalog.app(*app_id).name.clone() };
            for (window, minutes) in WINDOWS {
                // The minute that is running counts as well, so that the window is never shorter than it says.
                let users = sketch.count_since(minute(now).saturating_sub(minutes)).round();
                let complete = if self.covers(now, minutes) { "true" } else { "false" };
                gauges.set(&catalogue::ACTIVE_END_USERS, Labels::of_app(&app, [window, complete]), users);
            }
        }
    }

    fn covers(&self, now: Micros, minutes: u32) -> bool {
        self.since.is_some_and(|since| now.since(since).as_secs() >= u64::from(minutes) * 60)
    }
}

fn minute(at: Micros) -> u32 {
    u32::try_from(at.0.div_euclid(60_000_000).max(0)).unwrap_or(u32::MAX)
}

/// Ids are random in some versions and ordered by time in others.
fn hash(user: Uuid) -> u64 {
    let digest = Sha256::digest(user.as_bytes());
    u64::from_be_bytes([digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6], digest[7]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Scheme;

    const MINUTE: i64 = 60_000_000;

    fn shown(users: &ActiveUsers, now: Micros) -> Vec<(String, String, f64)> {
        let mut gauges = GaugeSet::new(Scheme::default());
        users.gauges(&Catalog::default(), now, &mut gauges);
        gauges.series(&catalogue::ACTIVE_END_USERS).map(|(labels, value)| (labels[2].to_string(), labels[3].to_string(), value)).collect()
    }

    #[test]
    fn windows_count_different_people_up_to_now() {
        let mut users = ActiveUsers::default();
        let app = Uuid::from_u128(9);
        let day = 24 * 60 * MINUTE;
        let now = Micros(100 * day);
        users.begin(Micros(99 * day));
        for (user, at) in
            [(1, now.0 - 5 * MINUTE), (1, now.0 - 30 * MINUTE), (2, now.0 - 3 * 60 * MINUTE), (3, now.0 - 6 * day), (4, now.0 - 40 * day)]
        {
            users.seen(app, Uuid::from_u128(user), Micros(at));
        }
        let word = |window: &str, complete: &str, users: f64| (window.to_owned(), complete.to_owned(), users);
        assert_eq!(
            shown(&users, now),
            [word("1d", "true", 2.0), word("1h", "true", 1.0), word("30d", "false", 3.0), word("7d", "false", 3.0)]
        );
        users.expire(Micros(now.0 + 31 * day));
        assert!(users.apps.is_empty());
    }
}
