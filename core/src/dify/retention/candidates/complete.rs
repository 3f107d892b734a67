//! What only a closer look shows: the messages and runs of a conversation, and what protects it.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::Row;
use uuid::Uuid;

use super::drafts::{DRAFT, Drafts};
use super::messages::{self, Messages};
use super::runs::{State, state};
use super::{Candidate, Protection, Wanted};
use crate::dify::retention::bundle::{Bundle, Root, RunKey};
use crate::dify::retention::manners;
use crate::dify::retention::ownership::{Lookup, Ownership, Parent, Path};
use crate::dify::retention::parents::{Find, Parents};
use crate::dify::retention::rows::Key;
use crate::dify::session::{Database, DatabaseError, ReadTx, built_query, query};
use crate::dify::time::Micros;

/// Candidates of one transaction.
const AT_ONCE: usize = 500;

/// Fills messages, runs, age and protection of candidates that a policy lets go. Ages grow: the policy is to be asked again.
pub async fn complete(
    db: &Database,
    ownership: &Ownership,
    drafts: &Drafts,
    wanted: Wanted,
    candidates: &mut [Candidate],
    timeout: Duration,
) -> Result<(), DatabaseError> {
    let (mut done, mut size) = (0, AT_ONCE);
    while done < candidates.len() {
        let end = (done + size).min(candidates.len());
        match complete_some(db, ownership, drafts, wanted, &mut candidates[done..end], timeout).await {
            Ok(()) => done = end,
            Err(DatabaseError::Timeout) if size > 1 => size /= 2,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn complete_some(
    db: &Database,
    ownership: &Ownership,
    drafts: &Drafts,
    wanted: Wanted,
    candidates: &mut [Candidate],
    timeout: Duration,
) -> Result<(), DatabaseError> {
    let mut tx = manners::read(db, timeout).await?;
    let conversations = positions(candidates, |candidate| candidate.bundle.root == Root::Conversation);
    if !conversations.is_empty() {
        let bundles: Vec<&Bundle> = conversations.iter().map(|position| &candidates[*position].bundle).collect();
        let messages = messages::of_conversations(&mut tx, ownership, &bundles).await?;
        let runs = runs_of(&mut tx, &bundles, &messages).await?;
        for (position, of_one) in conversations.iter().zip(messages) {
            fill(&mut candidates[*position], of_one, &runs, wanted);
        }
        let is_draft = |run: &RunKey| runs.get(&run.id).is_some_and(|run| run.version == DRAFT);
        let of_drafts = positions(candidates, |candidate| candidate.bundle.runs.iter().any(is_draft));
        drafts.protect(&mut tx, ownership, candidates, &of_drafts).await?;
        for (lookup, protection) in protections(ownership) {
            for position in found(&mut tx, lookup, candidates, &conversations).await? {
                candidates[position].protect(protection);
            }
        }
    }
    let stale = positions(candidates, |candidate| candidate.stale && candidate.protected.is_none());
    for position in touched(&mut tx, ownership, candidates, &stale, wanted.stale_before).await? {
        candidates[position].protect(Protection::Open);
    }
    tx.end().await
}

fn positions(candidates: &[Candidate], wanted: impl Fn(&Candidate) -> bool) -> Vec<usize> {
    (0..candidates.len()).filter(|position| wanted(&candidates[*position])).collect()
}

/// What decides about a run that a message names.
#[derive(Debug)]
struct NamedRun {
    key: RunKey,
    tenant_id: Uuid,
    app_id: Uuid,
    status: String,
    version: String,
    created_at: Micros,
    finished_at: Option<Micros>,
}

const NAMED_RUNS: &str = "-- janitor_named_runs: workflow_run_pkey\n\
     SELECT n.* FROM unnest($1::int4[], $2::uuid[]) AS p(bundle, id) CROSS JOIN LATERAL \
     (SELECT t.id, t.tenant_id, t.app_id, t.workflow_id, t.status, t.version, t.created_at, t.finished_at FROM workflow_runs t WHERE t.id = p.id OFFSET 0) n";

async fn runs_of(tx: &mut ReadTx, bundles: &[&Bundle], messages: &[Messages]) -> Result<HashMap<Uuid, NamedRun>, DatabaseError> {
    let mut parents = Parents::default();
    for (bundle, of_one) in bundles.iter().zip(messages) {
        of_one.runs.iter().for_each(|run| parents.add_key(0, bundle, Key { id: *run, second: None }));
    }
    let mut runs = HashMap::new();
    if parents.is_empty() {
        return Ok(runs);
    }
    for row in tx.fetch_all(parents.bind(query(NAMED_RUNS), &Find::Key { second: None })).await? {
        let key = RunKey { id: row.try_get("id")?, workflow_id: row.try_get("workflow_id")? };
        let run = NamedRun {
            key,
            tenant_id: row.try_get("tenant_id")?,
            app_id: row.try_get("app_id")?,
            status: row.try_get("status")?,
            version: row.try_get("version")?,
            created_at: row.try_get("created_at")?,
            finished_at: row.try_get("finished_at")?,
        };
        runs.insert(run.key.id, run);
    }
    Ok(runs)
}

/// Fills a conversation.
fn fill(candidate: &mut Candidate, messages: Messages, runs: &HashMap<Uuid, NamedRun>, wanted: Wanted) {
    let bundle = &mut candidate.bundle;
    if let Some((newest, _)) = messages.ids.last() {
        bundle.newest = bundle.newest.max(*newest);
        bundle.ended_at = bundle.ended_at.max(*newest);
    }
    bundle.messages = messages.ids.into_iter().map(|(_, id)| id).collect();
    bundle.runs.clear();
    let (mut protection, mut stale) = (None, false);
    let mut in_time = Vec::with_capacity(messages.runs.len());
    for id in messages.runs {
        // What is left of a run without a row is found by its id alone, where an index allows that.
        let Some(run) = runs.get(&id) else {
            in_time.push((Micros::MIN, RunKey { id, workflow_id: Uuid::nil() }));
            continue;
        };
        in_time.push((run.created_at, run.key.clone()));
        bundle.newest = bundle.newest.max(run.created_at);
        if bundle.tenant_id.is_nil() {
            bundle.tenant_id = run.tenant_id;
        }
        match state(&run.status, run.created_at, run.finished_at, wanted) {
            State::Protected(found) => protection = Some(found),
            State::Stale => stale = true,
            State::Ended => {}
        }
        if (run.tenant_id, run.app_id) != (bundle.tenant_id, bundle.app_id) {
            protection = protection.or(Some(Protection::ForeignRun));
        }
    }
    in_time.sort();
    bundle.runs = in_time.into_iter().map(|(_, key)| key).collect();
    candidate.protected = candidate.protected.or(protection);
    candidate.stale = stale;
}

fn protections(ownership: &Ownership) -> impl Iterator<Item = (&Lookup, Protection)> {
    let annotations = ownership.checks.annotations.iter().map(|lookup| (lookup, Protection::Annotated));
    annotations.chain(ownership.checks.saved.iter().map(|lookup| (lookup, Protection::Saved)))
}

fn lookup_text(lookup: &Lookup) -> String {
    let find = Find::new(&lookup.path, None);
    format!(
        "-- janitor_{}: the index on {}\n\
         SELECT DISTINCT p.bundle FROM {} CROSS JOIN LATERAL (SELECT 1 FROM {} t WHERE {} LIMIT 1) n",
        lookup.table,
        lookup.column,
        find.relation(),
        lookup.table,
        find.condition(lookup.column)
    )
}

/// Those of the conversations at `positions` of which a lookup finds something.
async fn found(tx: &mut ReadTx, lookup: &Lookup, candidates: &[Candidate], positions: &[usize]) -> Result<Vec<usize>, DatabaseError> {
    let parents = parents(candidates, positions, lookup.parent);
    if parents.is_empty() {
        return Ok(Vec::new());
    }
    let rows = tx.fetch_all(parents.bind(built_query(lookup_text(lookup)), &Find::new(&lookup.path, None))).await?;
    rows.iter().map(|row| Ok(usize::try_from(row.try_get::<i32, _>("bundle")?).unwrap_or_default())).collect()
}

fn parents(candidates: &[Candidate], positions: &[usize], parent: Parent) -> Parents {
    let mut parents = Parents::default();
    for &position in positions {
        parents.add_bundle(i32::try_from(position).unwrap_or(i32::MAX), &candidates[position].bundle, parent);
    }
    parents
}

/// When anything was last heard of the runs of a bundle: a node began or ended, or a pause ended. A run's own row does not change while it
/// runs.
fn touched_text(ownership: &Ownership) -> Option<(String, Find)> {
    let nodes = ownership.members(Root::Run).iter().find(|member| member.shape.table == "workflow_node_executions")?;
    if nodes.path == Path::Prefetch {
        return None;
    }
    let find = Find::new(&nodes.path, None);
    let pauses = "(SELECT max(t.resumed_at) FROM workflow_pauses t WHERE t.workflow_run_id = p.id)";
    let text = format!(
        "-- janitor_touched: the indexes on workflow_run_id\n\
         SELECT p.bundle, GREATEST((SELECT max(GREATEST(t.created_at, t.finished_at)) FROM workflow_node_executions t WHERE {}), {}) AS touched_at \
         FROM {}",
        find.condition(&nodes.column),
        if ownership.checks.pauses { pauses } else { "NULL" },
        find.relation()
    );
    Some((text, find))
}

/// Those of the bundles at `positions` of whose runs something was heard lately, or of which that cannot be known.
async fn touched(
    tx: &mut ReadTx,
    ownership: &Ownership,
    candidates: &[Candidate],
    positions: &[usize],
    since: Micros,
) -> Result<Vec<usize>, DatabaseError> {
    if positions.is_empty() {
        return Ok(Vec::new());
    }
    let Some((text, find)) = touched_text(ownership) else { return Ok(positions.to_vec()) };
    let parents = parents(candidates, positions, Parent::Run);
    let mut touched = Vec::new();
    for row in tx.fetch_all(parents.bind(built_query(text), &find)).await? {
        let touched_at: Option<Micros> = row.try_get("touched_at")?;
        if touched_at.is_some_and(|touched_at| touched_at >= since) {
            touched.push(usize::try_from(row.try_get::<i32, _>("bundle")?).unwrap_or_default());
        }
    }
    Ok(touched)
}

/// The statements of this module, by name.
pub(super) fn statements(ownership: &Ownership) -> Vec<(&'static str, String)> {
    let mut statements = vec![("named_runs", NAMED_RUNS.to_owned())];
    statements.extend(protections(ownership).map(|(lookup, _)| ("lookup", lookup_text(lookup))));
    statements.extend(touched_text(ownership).map(|(text, _)| ("touched", text)));
    statements
}
