//! What is kept between events beside the totals. Part of the state file.

use std::collections::BTreeSet;

use dify_observe_core::dify::catalog::Catalog;
use dify_observe_core::dify::time::Micros;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::streaks::Streaks;
use super::users::ActiveUsers;
use crate::store::GaugeSet;

/// Most paused runs that are remembered. Beyond, the wall time of some is not measured.
const MOST_PAUSED: usize = 50_000;

/// What is kept between events beside the totals. Part of the state file, durable together with them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SideState {
    pub(super) streaks: Streaks,
    pub(super) users: ActiveUsers,
    /// Runs that were seen paused and are not final.
    paused: BTreeSet<Uuid>,
}

impl SideState {
    /// Says since when every record is seen, at the very first start: windows that begin earlier are not complete. Later
    /// calls change nothing.
    pub fn begin(&mut self, since: Micros) {
        self.users.begin(since);
    }

    /// Forgets what belongs to the records of another database.
    pub fn reset(&mut self, since: Micros) {
        *self = SideState::default();
        self.begin(since);
    }

    /// The gauges that are made of this state: consecutive failures and active end users.
    pub fn gauges(&self, catalog: &Catalog, now: Micros, gauges: &mut GaugeSet) {
        self.streaks.gauges(catalog, gauges);
        self.users.gauges(catalog, now, gauges);
    }

    /// Forgets what no window reaches any more. Worth doing now and then, for example before the state is written.
    pub fn expire(&mut self, now: Micros) {
        self.users.expire(now);
    }

    pub(super) fn paused(&mut self, run: Uuid) {
        if self.paused.len() < MOST_PAUSED {
            self.paused.insert(run);
        }
    }

    pub(super) fn take_paused(&mut self, run: Uuid) -> bool {
        self.paused.remove(&run)
    }
}
