//! What the editor still shows: the last execution of each node of a draft, and the executions that draft variables come from. A run
//! of which one node is shown stays whole.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::Row;
use uuid::Uuid;

use super::{Candidate, Protection};
use crate::dify::retention::blocks::{IN_RANGE, Walk};
use crate::dify::retention::bundle::Root;
use crate::dify::retention::manners;
use crate::dify::retention::ownership::{Member, NODE_TRIGGERS, NewestNode, Ownership, Parent, Path, Prefix};
use crate::dify::retention::parents::{Find, Parents};
use crate::dify::session::{Database, DatabaseError, ReadTx, built_query, query};

/// Node executions that variables name, per statement.
const VARIABLES: usize = 5_000;

/// `workflows.version` and `workflow_runs.version` of what is not published.
pub(super) const DRAFT: &str = "draft";

/// Runs that draft variables come from. A variable that changes later names a newer run, so that reading them once is enough.
#[derive(Clone, Debug, Default)]
pub struct Drafts {
    named: HashSet<Uuid>,
}

impl Drafts {
    /// Reads which runs draft variables come from: one pass over a small table, in ranges of blocks.
    pub async fn read(db: &Database, ownership: &Ownership, timeout: Duration) -> Result<Drafts, DatabaseError> {
        let mut drafts = Drafts::default();
        if ownership.checks.draft_variables {
            let mut walk = Walk::new("workflow_draft_variables", ownership.checks.server_version, VARIABLES);
            loop {
                match drafts.read_range(db, &mut walk, timeout).await {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(DatabaseError::Timeout) if walk.shrink() => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(drafts)
    }

    async fn read_range(&mut self, db: &Database, walk: &mut Walk, timeout: Duration) -> Result<bool, DatabaseError> {
        let mut tx = manners::read(db, timeout).await?;
        let Some(range) = walk.range(&mut tx).await? else { return Ok(false) };
        let rows = tx.fetch_all(range.bind(built_query(variables_text()))).await?;
        let nodes: Vec<Uuid> = rows.iter().map(|row| row.try_get("node_execution_id")).collect::<Result<_, _>>()?;
        for row in tx.fetch_all(query(RUNS_OF_NODES).bind(&nodes)).await? {
            self.named.insert(row.try_get("workflow_run_id")?);
        }
        walk.advance(&range, rows.len());
        tx.end().await?;
        Ok(true)
    }

    /// Protects those of the candidates that the editor shows. `of_drafts` are the positions of those with a run of a draft.
    pub(super) async fn protect(
        &self,
        tx: &mut ReadTx,
        ownership: &Ownership,
        candidates: &mut [Candidate],
        of_drafts: &[usize],
    ) -> Result<(), DatabaseError> {
        for candidate in candidates.iter_mut() {
            if candidate.bundle.runs.iter().any(|run| self.named.contains(&run.id)) {
                candidate.protect(Protection::DraftView);
            }
        }
        let Some((text, find)) = shown_text(ownership) else {
            of_drafts.iter().for_each(|position| candidates[*position].protect(Protection::DraftView));
            return Ok(());
        };
        let mut parents = Parents::default();
        for &position in of_drafts.iter().filter(|position| candidates[**position].protected.is_none()) {
            parents.add_bundle(i32::try_from(position).unwrap_or(i32::MAX), &candidates[position].bundle, Parent::Run);
        }
        if parents.is_empty() {
            return Ok(());
        }
        for row in tx.fetch_all(parents.bind(built_query(text), &find)).await? {
            let position: i32 = row.try_get("bundle")?;
            if let Some(candidate) = usize::try_from(position).ok().and_then(|position| candidates.get_mut(position)) {
                candidate.protect(Protection::DraftView);
            }
        }
        Ok(())
    }
}

fn variables_text() -> String {
    format!(
        "-- janitor_draft_variables: a range of blocks\n\
         SELECT DISTINCT t.node_execution_id FROM workflow_draft_variables t WHERE {IN_RANGE} AND t.node_execution_id IS NOT NULL"
    )
}

const RUNS_OF_NODES: &str = "-- janitor_runs_of_nodes: workflow_node_execution_pkey\n\
     SELECT DISTINCT n.workflow_run_id FROM unnest($1::uuid[]) AS p(id) CROSS JOIN LATERAL \
     (SELECT t.workflow_run_id FROM workflow_node_executions t WHERE t.id = p.id OFFSET 0) n WHERE n.workflow_run_id IS NOT NULL";

/// Runs of drafts one of whose nodes was not executed again since. `None` where no index serves it: then every run of a draft stays.
fn shown_text(ownership: &Ownership) -> Option<(String, Find)> {
    let nodes = nodes(ownership)?;
    let find = Find::new(&nodes.path, None);
    let newest = match ownership.checks.newest_node? {
        NewestNode::ByTime => {
            "(SELECT o.created_at FROM workflow_node_executions o WHERE o.tenant_id = p.tenant_id AND o.workflow_id = p.workflow_id \
             AND o.node_id = n.node_id ORDER BY o.created_at DESC LIMIT 1)"
                .to_owned()
        }
        NewestNode::ByTrigger => format!(
            "(SELECT max(o.created_at) FROM workflow_node_executions o WHERE o.tenant_id = p.tenant_id AND o.app_id = p.app_id \
             AND o.workflow_id = p.workflow_id AND o.triggered_from IN ('single-step', '{}') AND o.node_id = n.node_id)",
            NODE_TRIGGERS.join("', '")
        ),
    };
    let text = format!(
        "-- janitor_shown_in_editor: workflow_pkey, the indexes of node executions by run and by node\n\
         SELECT DISTINCT p.bundle FROM {} \
         CROSS JOIN LATERAL (SELECT 1 FROM workflows t WHERE t.id = p.workflow_id AND t.version = '{DRAFT}' OFFSET 0) w \
         CROSS JOIN LATERAL (SELECT t.node_id, t.created_at FROM workflow_node_executions t WHERE {} OFFSET 0) n \
         WHERE n.created_at >= {newest}",
        Find::By(Prefix::Run).relation(),
        find.condition(&nodes.column),
    );
    Some((text, Find::By(Prefix::Run)))
}

/// The member of node executions, where an index finds them by their run.
fn nodes(ownership: &Ownership) -> Option<&Member> {
    let nodes = ownership.members(Root::Run).iter().find(|member| member.shape.table == "workflow_node_executions")?;
    (nodes.path != Path::Prefetch).then_some(nodes)
}

/// The statements of this module, by name.
pub(super) fn statements(ownership: &Ownership) -> Vec<(&'static str, String)> {
    let mut statements = Vec::new();
    if ownership.checks.draft_variables {
        statements.push(("draft_variables", variables_text()));
        statements.push(("runs_of_nodes", RUNS_OF_NODES.to_owned()));
    }
    statements.extend(shown_text(ownership).map(|(text, _)| ("shown_in_editor", text)));
    statements
}
