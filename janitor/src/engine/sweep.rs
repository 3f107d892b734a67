//! Looking for what is due, and working it off.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use dify_observe_core::dify::retention::{Bundle, Candidate, Pass, Prefetched, Root, Wanted, complete, prefetch, referenced_runs};
use dify_observe_core::dify::time::Micros;
use uuid::Uuid;

use super::group::{Due, Group, groups, portions};
use super::patience::Patience;
use super::{Engine, Halt};
use crate::policy::{Decision, Stay};
use crate::report::BundleResult;

/// Roots that are looked at together. Which of them a message names, and where no index finds their rows, is looked up once for all.
const WINDOW: usize = 50_000;
/// Roots that are completed together.
const COMPLETED: usize = 500;
/// Runs and messages that are held together, complete.
const AHEAD: usize = 100_000;

/// A pass over the roots of one kind.
struct Walk {
    root: Root,
    pass: Pass,
    over: bool,
}

impl Engine {
    /// Both passes in turns, so that a small time budget does not starve one of them.
    pub(super) async fn sweep(&mut self) -> Result<(), Halt> {
        let wanted = self.wanted();
        let walk = |root| Walk { root, pass: Pass::new(root, Arc::clone(&self.ownership), Arc::clone(&self.drafts), wanted), over: false };
        let mut walks = [Root::Run, Root::Conversation].map(walk);
        while walks.iter().any(|walk| !walk.over) {
            for walk in walks.iter_mut().filter(|walk| !walk.over) {
                let due = self.window(walk).await?;
                self.work_off(walk.root, due).await?;
            }
        }
        Ok(())
    }

    fn wanted(&self) -> Wanted {
        let older_than = self.policies.loosest_cutoff(self.now);
        Wanted { older_than, stale_before: self.now.minus(self.settings.stale_after) }
    }

    async fn window(&mut self, walk: &mut Walk) -> Result<Vec<Due>, Halt> {
        let mut due = Vec::new();
        while due.len() < WINDOW && !walk.over {
            self.brake.check(&mut self.report).await?;
            match self.page(&mut walk.pass).await? {
                None => walk.over = true,
                Some(page) => due.extend(self.judge(page).await?),
            }
        }
        self.leave_what_messages_name(&mut due).await?;
        Ok(due)
    }

    async fn page(&mut self, pass: &mut Pass) -> Result<Option<Vec<Candidate>>, Halt> {
        let mut patience = Patience::default();
        loop {
            match pass.next(&self.database, self.read_timeout()).await {
                Ok(page) => return Ok(page),
                Err(error) if patience.again(&error, &self.brake.shutdown).await => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What the policies let go of these. What stays for another reason than its youth is counted.
    async fn judge(&mut self, candidates: Vec<Candidate>) -> Result<Vec<Due>, Halt> {
        let apps: BTreeSet<(Uuid, Uuid)> =
            candidates.iter().map(|candidate| (candidate.bundle.app_id, candidate.bundle.tenant_id)).collect();
        self.apps.read(&self.database, &self.schema, &self.policies, &apps, Micros::now(), self.read_timeout()).await?;
        let mut due = Vec::new();
        for candidate in candidates {
            match self.decide(&candidate) {
                Ok(policy) => due.push(Due { candidate, policy }),
                Err(Some(reason)) => self.report.stay(reason, 1),
                Err(None) => {}
            }
        }
        Ok(due)
    }

    /// The policy that lets it go, or why it stays; nothing where that is not worth counting.
    fn decide(&self, candidate: &Candidate) -> Result<Arc<str>, Option<&'static str>> {
        let bundle = &candidate.bundle;
        if !self.only.apps.is_empty() && !self.only.apps.contains(&bundle.app_id) {
            return Err(None);
        }
        let policy = match self.policies.decide(bundle, &self.apps.facts(bundle.app_id), self.now) {
            Decision::Goes { policy } => policy,
            Decision::Stays(Stay::Young { .. }) => return Err(None),
            Decision::Stays(stay) => return Err(Some(stay.reason())),
        };
        if !self.only.policies.is_empty() && !self.only.policies.contains(&*policy) {
            return Err(None);
        }
        if self.held.contains_key(&bundle.id) {
            return Err(Some("restored"));
        }
        match candidate.protected {
            Some(protection) => Err(Some(protection.as_str())),
            None => Ok(policy),
        }
    }

    /// A chatflow's run goes with its conversation, as long as a message names it.
    async fn leave_what_messages_name(&mut self, due: &mut Vec<Due>) -> Result<(), Halt> {
        let asked: HashSet<Uuid> = due.iter().filter(|due| due.candidate.may_be_named()).map(|due| due.candidate.bundle.id).collect();
        if asked.is_empty() {
            return Ok(());
        }
        let mut free = asked.clone();
        let pace = if self.settings.pace == 0 { 0.0 } else { 1.0 };
        referenced_runs(&self.database, &self.ownership, &mut free, pace, self.read_timeout()).await?;
        due.retain(|due| {
            let id = &due.candidate.bundle.id;
            !asked.contains(id) || free.contains(id)
        });
        Ok(())
    }

    /// Completes what is due, in order of time and as much as may be held, and works that off.
    async fn work_off(&mut self, root: Root, mut due: Vec<Due>) -> Result<(), Halt> {
        due.sort_by_key(|due| (due.candidate.bundle.ended_at, due.candidate.bundle.id));
        let mut rest = due.into_iter().map(|due| due.candidate).peekable();
        let mut ready = Vec::new();
        let mut records = 0;
        while rest.peek().is_some() {
            self.brake.check(&mut self.report).await?;
            let completed = self.complete(rest.by_ref().take(COMPLETED).collect()).await?;
            records += completed.iter().map(|due| due.candidate.bundle.runs.len() + due.candidate.bundle.messages.len()).sum::<usize>();
            ready.extend(completed);
            if records >= AHEAD || rest.peek().is_none() {
                self.archive_and_delete(root, groups(std::mem::take(&mut ready))).await?;
                records = 0;
            }
        }
        Ok(())
    }

    /// Fills what is still unknown, asks the policies again, and leaves what is not taken in everywhere.
    async fn complete(&mut self, mut candidates: Vec<Candidate>) -> Result<Vec<Due>, Halt> {
        let wanted = self.wanted();
        let mut patience = Patience::default();
        while let Err(error) = complete(&self.database, &self.ownership, &self.drafts, wanted, &mut candidates, self.read_timeout()).await {
            if !patience.again(&error, &self.brake.shutdown).await {
                return Err(error.into());
            }
        }
        let mut due = self.judge(candidates).await?;
        let covered = self.guard.covered(Micros::now()).await?;
        let before = due.len();
        due.retain(|due| covered.covers(&due.candidate.bundle));
        let guarded = (before - due.len()) as u64;
        if guarded > 0 {
            self.report.leave(BundleResult::Guarded, guarded);
        }
        Ok(due)
    }

    async fn archive_and_delete(&mut self, root: Root, groups: Vec<(Group, Vec<Bundle>)>) -> Result<(), Halt> {
        let prefetched = if self.ownership.needs_prefetch(root) {
            let all: Vec<Bundle> = groups.iter().flat_map(|(_, bundles)| bundles).cloned().collect();
            prefetch(&self.database, &self.ownership, root, &all, self.read_timeout()).await?
        } else {
            Prefetched::default()
        };
        let prefetched = Arc::new(prefetched);
        for (group, bundles) in groups {
            self.progress.say(format!("{} of {}", root.table(), group.date()));
            for portion in portions(bundles, &self.estimate, &self.settings) {
                self.batch(&group, portion, &prefetched).await?;
            }
        }
        Ok(())
    }
}
