//! What both ways of looking share: the database, the policies, and the judgement over a bundle.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dify_observe_core::dify::retention::{Candidate, Drafts, Ownership, Parent, Root, Wanted, complete, survey};
use dify_observe_core::dify::schema::Schema;
use dify_observe_core::dify::session::Database;
use dify_observe_core::dify::time::Micros;
use dify_observe_core::exit::{Exit, ResultExt as _};
use dify_observe_core::settings::Settings;
use uuid::Uuid;

use super::observed::{HangsOn, Observed, TableSeen};
use crate::policy::{Apps, Decision, Policies, Stay, check_names};

/// Longest time of a statement that is not a part of something larger.
const PATIENCE: Duration = Duration::from_secs(30);

/// A database that is being looked at.
pub(super) struct Look<'a> {
    pub(super) db: &'a Database,
    pub(super) ownership: Arc<Ownership>,
    pub(super) drafts: Arc<Drafts>,
    pub(super) wanted: Wanted,
    /// Longest time of a statement that can be made smaller.
    pub(super) timeout: Duration,
    schema: Schema,
    policies: Policies,
    apps: Apps,
    only: Option<BTreeSet<Uuid>>,
    now: Micros,
    database: String,
}

/// What is to be done with a candidate.
enum Verdict {
    Goes(Arc<str>),
    Stays(&'static str),
}

impl<'a> Look<'a> {
    /// Finds out what there is.
    pub(super) async fn begin(db: &'a Database, settings: &Settings, apps: &[String]) -> anyhow::Result<Look<'a>> {
        let patience = settings.janitor.statement_timeout.max(PATIENCE);
        let mut tx = db.read(patience).await.or_exit(Exit::Unavailable)?;
        let schema = Schema::probe(&mut tx).await?;
        schema.require_dify().or_exit(Exit::NotDify)?;
        let ownership = Arc::new(Ownership::resolve(&schema).or_exit(Exit::NotDify)?);
        let (now, database) = survey::clock(&mut tx).await?;
        tx.end().await?;
        let policies = Policies::new(&settings.janitor);
        check_names(db, &schema, &policies, patience).await?;
        let only = only(db, apps, patience).await?;
        let drafts = Arc::new(Drafts::read(db, &ownership, patience).await?);
        let wanted = Wanted { older_than: policies.loosest_cutoff(now), stale_before: now.minus(settings.janitor.stale_after) };
        let (timeout, apps) = (settings.janitor.statement_timeout, Apps::default());
        Ok(Look { db, ownership, drafts, wanted, timeout, schema, policies, apps, only, now, database })
    }

    /// The server's clock when it was begun.
    pub(super) fn now(&self) -> Micros {
        self.now
    }

    /// The database's name.
    pub(super) fn database(&self) -> &str {
        &self.database
    }

    /// The apps that were asked for; `None`: all.
    pub(super) fn only(&self) -> Option<&BTreeSet<Uuid>> {
        self.only.as_ref()
    }

    /// The tables from which rows go, with their sizes.
    pub(super) async fn tables(&self) -> anyhow::Result<Vec<TableSeen>> {
        let members = || [Root::Run, Root::Conversation].into_iter().flat_map(|root| self.ownership.members(root));
        let names: BTreeSet<String> = members().map(|member| member.shape.table.clone()).collect();
        let mut tx = self.db.read(self.timeout.max(PATIENCE)).await?;
        let sizes = survey::sizes(&mut tx, &names.into_iter().collect::<Vec<_>>()).await?;
        tx.end().await?;
        let seen = |size: survey::TableSize| {
            let shape = members().find(|member| member.shape.table == size.table).map(|member| Arc::clone(&member.shape));
            shape.map(|shape| TableSeen {
                hangs_on: self.hangs_on(&size.table),
                shape,
                size,
                weights: None,
                estimated: true,
                counted: None,
            })
        };
        Ok(sizes.into_iter().filter_map(seen).collect())
    }

    fn hangs_on(&self, table: &str) -> HangsOn {
        if self.ownership.run.iter().any(|member| member.shape.table == table) {
            return HangsOn::Runs;
        }
        let parent = self.ownership.conversation.iter().find(|member| member.shape.table == table).map(|member| member.parent);
        match parent {
            Some(Parent::Root | Parent::Conversation) if table != "messages" => HangsOn::Conversations,
            _ => HangsOn::Messages,
        }
    }

    /// Decides candidates of one kind, each of which stands for `weight` bundles. Yields those that go, completed; all are noted.
    /// Runs that a message may name have to be sorted out before.
    pub(super) async fn decide(
        &mut self,
        mut candidates: Vec<Candidate>,
        weight: f64,
        observed: &mut Observed,
    ) -> anyhow::Result<Vec<Candidate>> {
        let apps: BTreeSet<(Uuid, Uuid)> =
            candidates.iter().map(|candidate| (candidate.bundle.app_id, candidate.bundle.tenant_id)).collect();
        let patience = self.timeout.max(PATIENCE);
        self.apps.read(self.db, &self.schema, &self.policies, &apps, self.now, patience).await?;
        candidates.retain(|candidate| match self.verdict(candidate) {
            Verdict::Goes(_) => true,
            Verdict::Stays(reason) => {
                *observed.apps.entry(candidate.bundle.app_id).or_default().stay.entry(reason).or_default() += weight;
                false
            }
        });
        complete(self.db, &self.ownership, &self.drafts, self.wanted, &mut candidates, self.timeout).await?;
        candidates.retain(|candidate| {
            let verdict = self.verdict(candidate);
            let seen = observed.apps.entry(candidate.bundle.app_id).or_default();
            match verdict {
                Verdict::Stays(reason) => *seen.stay.entry(reason).or_default() += weight,
                Verdict::Goes(ref policy) => {
                    seen.goes(&candidate.bundle, weight);
                    *observed.policies.entry(Arc::clone(policy)).or_default() += weight;
                }
            }
            matches!(verdict, Verdict::Goes(_))
        });
        Ok(candidates)
    }

    fn verdict(&self, candidate: &Candidate) -> Verdict {
        if let Some(protection) = candidate.protected {
            return Verdict::Stays(protection.as_str());
        }
        match self.policies.decide(&candidate.bundle, &self.apps.facts(candidate.bundle.app_id), self.now) {
            Decision::Goes { policy } => Verdict::Goes(policy),
            Decision::Stays(stay) => Verdict::Stays(Stay::reason(&stay)),
        }
    }

    /// Puts names to the apps.
    pub(super) async fn name(&mut self, observed: &mut Observed) -> anyhow::Result<()> {
        // Apps whose runs and conversations are gone may have rows left over.
        let with_rows: Vec<Uuid> =
            observed.tables.iter().flat_map(|table| table.weights.iter().flatten()).map(|(app_id, _)| *app_id).collect();
        for app_id in with_rows {
            observed.apps.entry(app_id).or_default();
        }
        let ids: BTreeSet<Uuid> = observed.apps.keys().copied().collect();
        self.apps.read_names(self.db, &self.schema, &ids, self.now, self.timeout.max(PATIENCE)).await?;
        for (app_id, seen) in &mut observed.apps {
            seen.app = Some(self.apps.facts(*app_id).app);
        }
        Ok(())
    }

    /// What else is to be known.
    pub(super) fn notes(&self, observed: &Observed) -> Vec<String> {
        let mut notes = Vec::new();
        let loose: f64 = observed.tables.iter().flat_map(|table| table.weights.iter().flatten()).map(|(_, share)| share.loose).sum();
        if loose >= 1.0 {
            notes.push(format!(
                "{} rows belong to no run (single steps tried in the editor) and stay",
                super::text::count(loose.round() as u64, observed.estimated)
            ));
        }
        for app in self.apps.unanswered() {
            notes.push(format!("finding the newest runs of app {app} took too long: keep_last keeps everything of it"));
        }
        for reference in &self.ownership.unknown {
            notes.push(format!(
                "{reference} names what would be deleted and is not known: as long as that table has rows, run --execute refuses"
            ));
        }
        notes
    }
}

/// The apps that are named by id or name.
async fn only(db: &Database, named: &[String], timeout: Duration) -> anyhow::Result<Option<BTreeSet<Uuid>>> {
    if named.is_empty() {
        return Ok(None);
    }
    let mut only = BTreeSet::new();
    let mut tx = db.read(timeout).await?;
    for app in named {
        let ids = match Uuid::try_parse(app) {
            // The rows of an app that is gone can be asked for too.
            Ok(id) => vec![id],
            Err(_) => survey::apps_named(&mut tx, std::slice::from_ref(app)).await?,
        };
        if ids.is_empty() {
            anyhow::bail!("no app has the name {app:?}; `dify-janitor plan` without --app lists all of them");
        }
        only.extend(ids);
    }
    tx.end().await?;
    Ok(Some(only))
}
