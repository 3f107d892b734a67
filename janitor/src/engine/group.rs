//! What is due, in the order and the portions in which it goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use dify_observe_core::dify::retention::{Bundle, Candidate, Root};
use dify_observe_core::settings::JanitorSettings;
use uuid::Uuid;

/// A bundle that a policy lets go.
#[derive(Clone, Debug)]
pub(super) struct Due {
    pub(super) candidate: Candidate,
    pub(super) policy: Arc<str>,
}

/// What all bundles of a batch share: it makes the path in the archive. Days come first: the oldest rows go first, and rows that are
/// neighbours on disk go together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    pub(super) day: i32,
    pub(super) tenant_id: Uuid,
    pub(super) app_id: Uuid,
    pub(super) root: Root,
    pub(super) policy: Arc<str>,
}

impl Group {
    /// Its day, as people write it.
    pub(super) fn date(&self) -> String {
        chrono::NaiveDate::from_epoch_days(self.day).map_or_else(|| self.day.to_string(), |date| date.to_string())
    }
}

/// Sorts what is due into groups, each in order of time.
pub(super) fn groups(due: Vec<Due>) -> Vec<(Group, Vec<Bundle>)> {
    let mut groups: BTreeMap<Group, Vec<Bundle>> = BTreeMap::new();
    for Due { candidate: Candidate { bundle, .. }, policy } in due {
        let Bundle { tenant_id, app_id, root, .. } = bundle;
        groups.entry(Group { day: bundle.day(), tenant_id, app_id, root, policy }).or_default().push(bundle);
    }
    for bundles in groups.values_mut() {
        bundles.sort_by_key(|bundle| (bundle.ended_at, bundle.id));
    }
    groups.into_iter().collect()
}

/// Cuts a group into batches. A bundle that is larger than a batch may be is one of its own.
pub(super) fn portions(bundles: Vec<Bundle>, estimate: &RowEstimate, settings: &JanitorSettings) -> Vec<Vec<Bundle>> {
    let mut portions: Vec<Vec<Bundle>> = Vec::new();
    let mut rows = 0;
    for bundle in bundles {
        let more = estimate.of(&bundle);
        match portions.last_mut() {
            Some(last) if last.len() < settings.batch_bundles as usize && rows + more <= u64::from(settings.batch_rows) => {
                last.push(bundle);
                rows += more;
            }
            _ => {
                portions.push(vec![bundle]);
                rows = more;
            }
        }
    }
    portions
}

/// How many rows hang on a bundle, learned from those that were read.
#[derive(Clone, Debug)]
pub(super) struct RowEstimate {
    rows_per_record: BTreeMap<Root, f64>,
}

impl Default for RowEstimate {
    /// Dify's own proportions, roughly: a run has some ten node executions, a message some files, feedbacks and thoughts.
    fn default() -> Self {
        RowEstimate { rows_per_record: BTreeMap::from([(Root::Run, 12.0), (Root::Conversation, 6.0)]) }
    }
}

impl RowEstimate {
    /// Rows of the bundle, itself included.
    pub(super) fn of(&self, bundle: &Bundle) -> u64 {
        (records(bundle) as f64 * self.rows_per_record.get(&bundle.root).copied().unwrap_or(1.0)).ceil() as u64
    }

    /// So many rows were read of these bundles, which are of one kind.
    pub(super) fn learn(&mut self, bundles: &[Bundle], rows: u64) {
        let Some(first) = bundles.first() else { return };
        let seen = rows as f64 / bundles.iter().map(records).sum::<u64>() as f64;
        let estimate = self.rows_per_record.entry(first.root).or_insert(seen);
        *estimate += (seen - *estimate) / 2.0;
    }
}

fn records(bundle: &Bundle) -> u64 {
    1 + (bundle.runs.len() + bundle.messages.len()) as u64
}

#[cfg(test)]
mod tests {
    use dify_observe_core::dify::time::Micros;

    use super::*;

    const DAY: i64 = 86_400;

    fn bundle(id: u128, app: u128, ended_at: i64, messages: usize) -> Bundle {
        Bundle {
            root: Root::Conversation,
            id: Uuid::from_u128(id),
            tenant_id: Uuid::nil(),
            app_id: Uuid::from_u128(app),
            status: None,
            ended_at: Micros::from_secs(ended_at),
            newest: Micros::from_secs(ended_at),
            runs: Vec::new(),
            messages: vec![Uuid::nil(); messages],
        }
    }

    fn due(bundle: Bundle, policy: &str) -> Due {
        let candidate = Candidate { bundle, run_type: String::new(), triggered_from: String::new(), stale: false, protected: None };
        Due { candidate, policy: policy.into() }
    }

    fn ids(bundles: &[Bundle]) -> Vec<u128> {
        bundles.iter().map(|bundle| bundle.id.as_u128()).collect()
    }

    #[test]
    fn the_oldest_day_goes_first_and_a_group_shares_app_and_policy() {
        let all = [
            due(bundle(1, 7, DAY + 5, 0), "default"),
            due(bundle(2, 7, DAY - 1, 0), "default"),
            due(bundle(3, 7, DAY, 0), "default"),
            due(bundle(4, 7, DAY, 0), "short"),
            due(bundle(5, 8, 0, 0), "default"),
        ];
        let groups = groups(all.to_vec());
        let found: Vec<(i32, Vec<u128>)> = groups.iter().map(|(group, bundles)| (group.day, ids(bundles))).collect();
        assert_eq!(found, [(0, vec![2]), (0, vec![5]), (1, vec![3, 1]), (1, vec![4])]);
    }

    #[test]
    fn batches_keep_to_bundles_and_rows() {
        let settings = JanitorSettings { batch_bundles: 3, batch_rows: 100, ..JanitorSettings::default() };
        let estimate = RowEstimate::default();
        let sizes = |messages: &[usize]| -> Vec<usize> {
            let bundles = messages.iter().enumerate().map(|(id, messages)| bundle(id as u128, 7, 0, *messages)).collect();
            portions(bundles, &estimate, &settings).iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(&[]), Vec::<usize>::new());
        assert_eq!(sizes(&[1, 1, 1, 1]), [3, 1]);
        assert_eq!(sizes(&[1, 1000, 1]), [1, 1, 1], "six rows a record: a large one is a batch of its own");
        assert_eq!(sizes(&[7, 7, 7]), [2, 1]);
    }

    #[test]
    fn the_estimate_follows_what_was_read() {
        let mut estimate = RowEstimate::default();
        let bundles = [bundle(1, 7, 0, 9)];
        assert_eq!(estimate.of(&bundles[0]), 60);
        (0..20).for_each(|_| estimate.learn(&bundles, 1000));
        assert!((999..=1001).contains(&estimate.of(&bundles[0])), "{}", estimate.of(&bundles[0]));
        estimate.learn(&[], 5);
    }
}
