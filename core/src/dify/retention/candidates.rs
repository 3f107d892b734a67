//! What may go: roots by age, with what protects them.

mod complete;
mod conversations;
mod drafts;
pub(super) mod messages;
mod runs;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::blocks::Walk;
use super::bundle::{Bundle, Root};
use super::manners;
use super::ownership::Ownership;
use super::survey::Portion;
use crate::dify::session::{Database, DatabaseError, ReadTx};
use crate::dify::time::Micros;

pub use complete::complete;
pub use drafts::Drafts;

/// Roots of a page.
const PAGE: u32 = 5_000;

/// What a pass looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Only what ended before: the loosest cutoff of all policies.
    pub older_than: Micros,
    /// A run that is still `running` may go when nothing was heard of it since.
    pub stale_before: Micros,
}

/// A root that is old enough for some policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The bundle. Messages and runs of a conversation are filled by [`complete`].
    pub bundle: Bundle,
    /// `workflow_runs.type`; empty for a conversation.
    pub run_type: String,
    /// `workflow_runs.triggered_from`; `conversations.invoke_from`, where it has one.
    pub triggered_from: String,
    /// A run of it has not ended, and is taken for dead.
    pub stale: bool,
    /// Why it stays, whatever the policies say.
    pub protected: Option<Protection>,
}

impl Candidate {
    /// Whether it is a run that a message may name: it is a root only if none does (see [`super::referenced_runs`]).
    pub fn may_be_named(&self) -> bool {
        self.bundle.root == Root::Run && !is_own_root(&self.run_type)
    }

    fn protect(&mut self, protection: Protection) {
        self.protected.get_or_insert(protection);
    }
}

/// Whether runs of this `workflow_runs.type` are named by no message.
fn is_own_root(run_type: &str) -> bool {
    matches!(run_type, "workflow" | "rag-pipeline")
}

/// A root that is too young for every policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Young {
    /// Its app.
    pub app_id: Uuid,
    /// When it began.
    pub began: Micros,
    /// As [`Candidate::may_be_named`].
    pub may_be_named: bool,
}

/// A root that a sample has found.
#[derive(Clone, Debug, PartialEq)]
pub enum Sampled {
    /// Too young for every policy.
    Young(Young),
    /// One that a pass would find too.
    Candidate(Box<Candidate>),
}

/// All roots of a sample of blocks.
pub(super) async fn sample(
    tx: &mut ReadTx,
    root: Root,
    ownership: &Ownership,
    drafts: &Drafts,
    wanted: Wanted,
    portion: Portion,
) -> Result<Vec<Sampled>, DatabaseError> {
    let (young, candidates): (Vec<Young>, Vec<Candidate>) = match root {
        Root::Run => {
            let rows = runs::sampled(tx, portion).await?;
            let young = rows.iter().filter_map(|row| runs::young(row, wanted.older_than)).collect();
            (young, runs::candidates(tx, ownership, drafts, wanted, rows).await?)
        }
        Root::Conversation => {
            let all = conversations::sampled(tx, portion).await?;
            let (old, young): (Vec<_>, Vec<_>) = all.into_iter().partition(|candidate| candidate.bundle.ended_at < wanted.older_than);
            let young = young.iter().map(|candidate| &candidate.bundle);
            (young.map(|bundle| Young { app_id: bundle.app_id, began: bundle.newest, may_be_named: false }).collect(), old)
        }
    };
    let candidates = candidates.into_iter().map(|candidate| Sampled::Candidate(Box::new(candidate)));
    Ok(young.into_iter().map(Sampled::Young).chain(candidates).collect())
}

/// Why a bundle stays, whatever the policies say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protection {
    /// A run of it has not ended.
    Open,
    /// A run of it waits for a person.
    Paused,
    /// A message of it is an annotation.
    Annotated,
    /// A message of it was saved by an end user.
    Saved,
    /// The editor shows it: the newest execution of a node of a draft, or the source of a draft variable.
    DraftView,
    /// A message names the run: it goes with that message's conversation.
    ReferencedByMessage,
    /// A message came after the cutoff.
    RecentMessage,
    /// A message of the conversation names a run of another app.
    ForeignRun,
}

impl Protection {
    /// A fixed word, for reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Protection::Open => "open",
            Protection::Paused => "paused",
            Protection::Annotated => "annotated",
            Protection::Saved => "saved",
            Protection::DraftView => "draft_view",
            Protection::ReferencedByMessage => "referenced_by_message",
            Protection::RecentMessage => "recent_message",
            Protection::ForeignRun => "foreign_run",
        }
    }
}

/// A resumable walk over all roots of one kind that are old enough.
#[derive(Debug)]
pub struct Pass {
    ownership: Arc<Ownership>,
    drafts: Arc<Drafts>,
    wanted: Wanted,
    place: Place,
}

/// Where a pass stands.
#[derive(Debug)]
enum Place {
    RunsByTime { after: (Micros, Uuid), limit: u32, over: bool },
    RunsInBlocks { walk: Walk },
    Conversations { walk: Walk },
}

impl Pass {
    /// A pass from the beginning.
    pub fn new(root: Root, ownership: Arc<Ownership>, drafts: Arc<Drafts>, wanted: Wanted) -> Pass {
        let walk = |root: Root| Walk::new(root.table(), ownership.checks.server_version, PAGE as usize);
        let place = match root {
            Root::Run if ownership.checks.runs_by_time => Place::RunsByTime { after: (Micros::MIN, Uuid::nil()), limit: PAGE, over: false },
            Root::Run => Place::RunsInBlocks { walk: walk(root) },
            Root::Conversation => Place::Conversations { walk: walk(root) },
        };
        Pass { ownership, drafts, wanted, place }
    }

    /// The next page, at most about 5,000 roots; in the order of time where an index serves it, else in physical order. A page may be
    /// empty. `None`: the pass is over. A page that runs into `timeout` is tried again in smaller parts.
    pub async fn next(&mut self, db: &Database, timeout: Duration) -> Result<Option<Vec<Candidate>>, DatabaseError> {
        loop {
            match self.page(db, timeout).await {
                Err(DatabaseError::Timeout) if self.shrink() => {}
                page => return page,
            }
        }
    }

    async fn page(&mut self, db: &Database, timeout: Duration) -> Result<Option<Vec<Candidate>>, DatabaseError> {
        let mut tx = manners::read(db, timeout).await?;
        let page = match &mut self.place {
            Place::RunsByTime { over: true, .. } => None,
            Place::RunsByTime { after, limit, over } => {
                let rows = runs::by_time(&mut tx, *after, self.wanted.older_than, *limit).await?;
                let end = rows.last().map(|row| (row.created_at, row.key.id));
                let is_last = rows.len() < *limit as usize;
                let page = runs::candidates(&mut tx, &self.ownership, &self.drafts, self.wanted, rows).await?;
                (*after, *over) = (end.unwrap_or(*after), is_last);
                Some(page)
            }
            Place::RunsInBlocks { walk } => match walk.range(&mut tx).await? {
                None => None,
                Some(range) => {
                    let rows = runs::in_blocks(&mut tx, &range, self.wanted.older_than).await?;
                    let count = rows.len();
                    let page = runs::candidates(&mut tx, &self.ownership, &self.drafts, self.wanted, rows).await?;
                    walk.advance(&range, count);
                    Some(page)
                }
            },
            Place::Conversations { walk } => match walk.range(&mut tx).await? {
                None => None,
                Some(range) => {
                    let page = conversations::in_blocks(&mut tx, &range, self.wanted.older_than).await?;
                    walk.advance(&range, page.len());
                    Some(page)
                }
            },
        };
        tx.end().await?;
        Ok(page)
    }

    fn shrink(&mut self) -> bool {
        match &mut self.place {
            Place::RunsByTime { limit, .. } => {
                let can_shrink = *limit > 1;
                *limit = (*limit / 2).max(1);
                can_shrink
            }
            Place::RunsInBlocks { walk, .. } | Place::Conversations { walk } => walk.shrink(),
        }
    }
}

/// The statements of this module, by name.
pub(super) fn statements(ownership: &Ownership) -> Vec<(&'static str, String)> {
    let mut statements = vec![
        if ownership.checks.runs_by_time { ("runs_by_time", runs::by_time_text()) } else { ("runs_in_blocks", runs::in_blocks_text()) },
        ("conversations_in_blocks", conversations::in_blocks_text()),
        ("sampled_runs", runs::sampled_text()),
        ("sampled_conversations", conversations::sampled_text()),
        ("messages_of_conversations", messages::text(ownership)),
    ];
    statements.extend(drafts::statements(ownership));
    statements.extend(complete::statements(ownership));
    statements
}
