//! Runs by age.

use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::drafts::{DRAFT, Drafts};
use super::{Candidate, Protection, Wanted, Young, is_own_root};
use crate::dify::records::run_has_ended;
use crate::dify::retention::blocks::{BlockRange, IN_RANGE};
use crate::dify::retention::bundle::{Bundle, Root, RunKey};
use crate::dify::retention::ownership::Ownership;
use crate::dify::retention::survey::{Portion, SAMPLED};
use crate::dify::session::{DatabaseError, ReadTx, built_query};
use crate::dify::time::Micros;

const COLUMNS: &str =
    "t.id, t.tenant_id, t.app_id, t.workflow_id, t.status, t.type, t.triggered_from, t.version, t.created_at, t.finished_at";

/// What decides about a run.
#[derive(Debug)]
pub(super) struct RunRow {
    pub(super) key: RunKey,
    pub(super) created_at: Micros,
    tenant_id: Uuid,
    app_id: Uuid,
    status: String,
    run_type: String,
    triggered_from: String,
    version: String,
    finished_at: Option<Micros>,
}

/// Runs in the order of time, after a place.
pub(super) fn by_time_text() -> String {
    format!(
        "-- janitor_runs_by_time: (created_at, id)\n\
         SELECT {COLUMNS} FROM workflow_runs t \
         WHERE t.created_at >= $1::timestamp AND (t.created_at, t.id) > ($1::timestamp, $2::uuid) AND t.created_at < $3::timestamp \
         ORDER BY t.created_at, t.id LIMIT $4::int8"
    )
}

/// Runs in a range of blocks.
pub(super) fn in_blocks_text() -> String {
    format!(
        "-- janitor_runs_in_blocks: a range of blocks\n\
         SELECT {COLUMNS} FROM workflow_runs t WHERE {IN_RANGE} AND COALESCE(t.finished_at, t.created_at) < $3::timestamp"
    )
}

/// Runs of a sample of blocks, whatever their age.
pub(super) fn sampled_text() -> String {
    format!("-- janitor_sampled_runs: a sample of blocks\nSELECT {COLUMNS} FROM workflow_runs t {SAMPLED}")
}

pub(super) async fn sampled(tx: &mut ReadTx, portion: Portion) -> Result<Vec<RunRow>, DatabaseError> {
    tx.fetch_all(portion.bind(built_query(sampled_text()))).await?.iter().map(read).collect()
}

/// What is known of a run without looking closer: its app, when it began, and whether it ended before a time.
pub(super) fn young(row: &RunRow, before: Micros) -> Option<Young> {
    let ended_at = row.finished_at.unwrap_or(row.created_at);
    let may_be_named = !is_own_root(&row.run_type);
    (ended_at >= before).then_some(Young { app_id: row.app_id, began: row.created_at, may_be_named })
}

pub(super) async fn by_time(tx: &mut ReadTx, after: (Micros, Uuid), before: Micros, limit: u32) -> Result<Vec<RunRow>, DatabaseError> {
    let query = built_query(by_time_text()).bind(after.0).bind(after.1).bind(before).bind(i64::from(limit));
    tx.fetch_all(query).await?.iter().map(read).collect()
}

pub(super) async fn in_blocks(tx: &mut ReadTx, range: &BlockRange, before: Micros) -> Result<Vec<RunRow>, DatabaseError> {
    let query = range.bind(built_query(in_blocks_text())).bind(before);
    tx.fetch_all(query).await?.iter().map(read).collect()
}

fn read(row: &PgRow) -> Result<RunRow, DatabaseError> {
    Ok(RunRow {
        key: RunKey { id: row.try_get("id")?, workflow_id: row.try_get("workflow_id")? },
        created_at: row.try_get("created_at")?,
        tenant_id: row.try_get("tenant_id")?,
        app_id: row.try_get("app_id")?,
        status: row.try_get("status")?,
        run_type: row.try_get("type")?,
        triggered_from: row.try_get("triggered_from")?,
        version: row.try_get("version")?,
        finished_at: row.try_get("finished_at")?,
    })
}

/// Those of the runs that ended long enough ago, with what protects them.
pub(super) async fn candidates(
    tx: &mut ReadTx,
    ownership: &Ownership,
    drafts: &Drafts,
    wanted: Wanted,
    rows: Vec<RunRow>,
) -> Result<Vec<Candidate>, DatabaseError> {
    let (mut candidates, mut of_drafts) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows {
        let is_draft = row.version == DRAFT;
        let candidate = candidate(row, wanted);
        if candidate.bundle.ended_at >= wanted.older_than {
            continue;
        }
        if is_draft {
            of_drafts.push(candidates.len());
        }
        candidates.push(candidate);
    }
    drafts.protect(tx, ownership, &mut candidates, &of_drafts).await?;
    Ok(candidates)
}

fn candidate(row: RunRow, wanted: Wanted) -> Candidate {
    let ended_at = row.finished_at.unwrap_or(row.created_at);
    let (protected, stale) = match state(&row.status, row.created_at, row.finished_at, wanted) {
        State::Ended => (None, false),
        State::Stale => (None, true),
        State::Protected(protection) => (Some(protection), false),
    };
    let bundle = Bundle {
        root: Root::Run,
        id: row.key.id,
        tenant_id: row.tenant_id,
        app_id: row.app_id,
        status: Some(row.status),
        ended_at,
        newest: row.created_at,
        runs: vec![row.key],
        messages: Vec::new(),
    };
    Candidate { bundle, run_type: row.run_type, triggered_from: row.triggered_from, stale, protected }
}

/// What a run's own row says of its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Ended,
    /// It never ended, and began so long ago that nobody waits for it any more.
    Stale,
    Protected(Protection),
}

pub(super) fn state(status: &str, created_at: Micros, finished_at: Option<Micros>, wanted: Wanted) -> State {
    match status {
        "paused" => State::Protected(Protection::Paused),
        _ if run_has_ended(status, finished_at) => State::Ended,
        "running" if created_at < wanted.stale_before => State::Stale,
        _ => State::Protected(Protection::Open),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_runs_can_be_stale() {
        let wanted = Wanted { older_than: Micros(100), stale_before: Micros(50) };
        let state = |status, created_at, finished_at| state(status, Micros(created_at), finished_at, wanted);
        assert_eq!(state("succeeded", 10, None), State::Ended);
        assert_eq!(state("running", 10, None), State::Stale);
        assert_eq!(state("running", 60, None), State::Protected(Protection::Open));
        assert_eq!(state("paused", 10, None), State::Protected(Protection::Paused));
        assert_eq!(state("scheduled", 10, None), State::Protected(Protection::Open));
        assert_eq!(state("of tomorrow", 10, None), State::Protected(Protection::Open));
        assert_eq!(state("of tomorrow", 10, Some(Micros(11))), State::Ended);
    }
}
