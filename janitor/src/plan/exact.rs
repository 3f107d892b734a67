//! Looking at every row, in the same passes as a run: minutes on large tables.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use dify_observe_core::dify::retention::survey::{self, bears_app};
use dify_observe_core::dify::retention::{Bundle, Candidate, Pass, Root, prefetch, referenced_runs};
use uuid::Uuid;

use super::look::Look;
use super::observed::{Observed, Share};
use crate::progress::Progress;

/// Runs and messages whose rows are counted at once.
const WINDOW: usize = 50_000;
/// Runs that a message may name, looked up in one pass over the messages.
const NAMED: usize = 200_000;
/// After each statement of that pass, it sleeps for as long as the statement took.
const PACE: f64 = 1.0;

/// Looks.
pub(super) async fn observe(look: &mut Look<'_>) -> anyhow::Result<Observed> {
    let progress = Progress::new(0, "bundles");
    let mut observed = Observed { tables: look.tables().await?, ..Observed::default() };
    weigh(look, &mut observed, &progress).await?;
    let all: f64 = observed.apps.values().map(|seen| seen.bundles()).sum();
    progress.expect(all as u64);
    for root in [Root::Run, Root::Conversation] {
        progress.say(format!("reading {}", root.table()));
        Walk { look: &mut *look, observed: &mut observed, progress: &progress, root, window: Vec::new() }.run().await?;
    }
    for seen in observed.apps.values_mut() {
        // What a pass does not find is too young for every policy.
        let known: f64 = seen.go() + seen.stay.values().sum::<f64>();
        let young = seen.bundles() - known;
        if young > 0.0 {
            *seen.stay.entry("young").or_default() += young;
        }
    }
    Ok(observed)
}

/// How all rows are spread over apps.
async fn weigh(look: &Look<'_>, observed: &mut Observed, progress: &Progress) -> anyhow::Result<()> {
    let Observed { tables, apps, .. } = observed;
    for table in tables.iter_mut() {
        table.counted = Some(HashMap::new());
        progress.say(format!("counting {}", table.size.table));
        if !bears_app(&table.shape) {
            table.size.rows = Some(survey::count_all(look.db, &look.ownership, &table.shape, look.timeout).await?);
            table.estimated = false;
            continue;
        }
        let mut weights: HashMap<Uuid, Share> = HashMap::new();
        let name = table.size.table.as_str();
        survey::weigh_all(look.db, &look.ownership, &table.shape, look.timeout, |weight| {
            weights.entry(weight.app_id).or_default().add(&weight, 1.0);
            let root = [Root::Run, Root::Conversation].into_iter().find(|root| root.table() == name);
            let bundles = match root {
                Some(Root::Run) => weight.roots,
                Some(Root::Conversation) => weight.rows,
                None => 0,
            };
            if let Some(root) = root.filter(|_| bundles > 0) {
                let seen = apps.entry(weight.app_id).or_default();
                *seen.of(root) += bundles as f64;
                weight.oldest.into_iter().for_each(|oldest| seen.began(oldest));
            }
        })
        .await?;
        table.weights = Some(weights);
        table.estimated = false;
    }
    Ok(())
}

/// A pass over the roots of one kind.
struct Walk<'a, 'db> {
    look: &'a mut Look<'db>,
    observed: &'a mut Observed,
    progress: &'a Progress,
    root: Root,
    /// Bundles that go and whose rows are not counted yet.
    window: Vec<Bundle>,
}

impl Walk<'_, '_> {
    async fn run(mut self) -> anyhow::Result<()> {
        let mut pass = Pass::new(self.root, Arc::clone(&self.look.ownership), Arc::clone(&self.look.drafts), self.look.wanted);
        let mut may_be_named = Vec::new();
        while let Some(page) = pass.next(self.look.db, self.look.timeout).await? {
            self.progress.add(page.len() as u64);
            let page = page.into_iter().filter(|candidate| self.look.only().is_none_or(|only| only.contains(&candidate.bundle.app_id)));
            let (named, own): (Vec<Candidate>, Vec<Candidate>) = page.partition(Candidate::may_be_named);
            may_be_named.extend(named);
            self.decide(own).await?;
            if may_be_named.len() >= NAMED {
                self.left_over(std::mem::take(&mut may_be_named)).await?;
            }
        }
        self.left_over(may_be_named).await?;
        self.count().await
    }

    /// Runs that no message names are bundles of their own.
    async fn left_over(&mut self, mut candidates: Vec<Candidate>) -> anyhow::Result<()> {
        let mut runs: HashSet<Uuid> = candidates.iter().map(|candidate| candidate.bundle.id).collect();
        referenced_runs(self.look.db, &self.look.ownership, &mut runs, PACE, self.look.timeout).await?;
        candidates.retain(|candidate| runs.contains(&candidate.bundle.id));
        for candidate in &candidates {
            let seen = self.observed.apps.entry(candidate.bundle.app_id).or_default();
            *seen.of(Root::Run) += 1.0;
            seen.began(candidate.bundle.newest);
        }
        self.decide(candidates).await
    }

    async fn decide(&mut self, candidates: Vec<Candidate>) -> anyhow::Result<()> {
        let going = self.look.decide(candidates, 1.0, self.observed).await?;
        self.window.extend(going.into_iter().map(|candidate| candidate.bundle));
        let keys: usize = self.window.iter().map(|bundle| bundle.runs.len() + bundle.messages.len()).sum();
        if keys >= WINDOW { self.count().await } else { Ok(()) }
    }

    /// Counts the rows of the bundles in hand.
    async fn count(&mut self) -> anyhow::Result<()> {
        let bundles = std::mem::take(&mut self.window);
        if bundles.is_empty() {
            return Ok(());
        }
        let look = &self.look;
        let prefetched = prefetch(look.db, &look.ownership, self.root, &bundles, look.timeout).await?;
        let counts = survey::count(look.db, &look.ownership, self.root, &bundles, &prefetched, look.timeout).await?;
        for table in &mut self.observed.tables {
            let Some(counted) = counts.get(&table.size.table) else { continue };
            let sums = table.counted.get_or_insert_default();
            counted.iter().for_each(|(app_id, rows)| *sums.entry(*app_id).or_default() += rows);
        }
        Ok(())
    }
}
