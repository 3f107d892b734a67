//! Workflow runs.

use dify_observe_core::dify::facts;
use dify_observe_core::dify::follow::Closed;
use dify_observe_core::dify::outcome::{self, ABANDONED};
use dify_observe_core::dify::records::{Node, Run};

use super::subject::{Subject, end_user_of_run};
use super::{Context, SideState, nodes};
use crate::catalogue;
use crate::store::Totals;

/// A run was seen for the first time. The series of how it may end are born now, so that they are old enough to be shown
/// when it does.
pub(super) fn started(run: &Run, context: &Context<'_>, totals: &mut Totals, side: &mut SideState) {
    let subject = Subject::of_run(run, context);
    let labels = subject.labels([run.run_type.clone(), run.triggered_from.clone()]);
    totals.add(&catalogue::WORKFLOW_RUNS_STARTED, labels, 1);
    for status in ["succeeded", "failed"] {
        let labels = subject.labels([run.run_type.clone(), run.triggered_from.clone(), status.into()]);
        totals.touch(&catalogue::WORKFLOW_RUNS, &labels);
        totals.touch(&catalogue::WORKFLOW_RUN_DURATION, &labels);
    }
    totals.touch(&catalogue::WORKFLOW_RUN_TOKENS, subject.labels([]));
    if let Some(user) = end_user_of_run(run) {
        side.users.seen(subject.app.id, user, run.created_at);
    }
    if run.is_paused() {
        side.paused(run.key.id);
    }
}

/// A run is final.
pub(super) fn closed(run: &Run, nodes: &[Node], closed: Closed, context: &Context<'_>, totals: &mut Totals, side: &mut SideState) {
    let subject = Subject::of_run(run, context);
    let outcome = outcome::settle(run, nodes, closed);
    let labels = subject.labels([run.run_type.clone(), run.triggered_from.clone(), outcome.status.clone()]);
    totals.add_with_exemplar(&catalogue::WORKFLOW_RUNS, &labels, 1, subject.exemplar(1.0));
    if &*outcome.status != ABANDONED {
        totals.observe(&catalogue::WORKFLOW_RUN_DURATION, &labels, run.elapsed_seconds, subject.exemplar(run.elapsed_seconds));
    }
    let was_paused = side.take_paused(run.key.id);
    if let (true, Some(finished)) = (was_paused, run.finished_at) {
        let wall = finished.since(run.created_at).as_secs_f64();
        totals.observe(&catalogue::WORKFLOW_RUN_WALL, &labels, wall, subject.exemplar(wall));
    }
    let tokens = u64::try_from(run.total_tokens).unwrap_or(0);
    totals.add(&catalogue::WORKFLOW_RUN_TOKENS, subject.labels([]), tokens);
    if let (Some(cause), "failed" | "stopped") = (outcome.first_cause, &*run.status) {
        let labels = subject.labels(["run".into(), cause.error_type.as_str().into()]);
        totals.add_with_exemplar(&catalogue::ERRORS, labels, 1, subject.exemplar(1.0));
    }
    if outcome.limit_exceeded && &*run.status == "stopped" {
        let labels = subject.labels([run.run_type.clone(), run.triggered_from.clone()]);
        totals.add_with_exemplar(&catalogue::WORKFLOW_RUNS_STOPPED_BY_LIMIT, labels, 1, subject.exemplar(1.0));
    }
    nodes::settled(&subject, run, nodes, &outcome.nodes, context, totals, side);
}

/// Some nodes are final although their run is not, or came to light after it.
pub(super) fn nodes_settled(run: &Run, nodes: &[Node], context: &Context<'_>, totals: &mut Totals, side: &mut SideState) {
    if run.is_paused() {
        side.paused(run.key.id);
    }
    let subject = Subject::of_run(run, context);
    nodes::settled(&subject, run, nodes, &outcome::settle_apart(run, nodes), context, totals, side);
}

/// Whether the node's row is a failed attempt beside the row of the node itself.
pub(super) fn is_attempt(status: &str) -> bool {
    status == "retry"
}

/// How many failed attempts a node's row tells of: itself, or those kept inside.
pub(super) fn attempts(node: &Node, status: &str) -> u64 {
    if is_attempt(status) { 1 } else { facts::retry_history(node).len() as u64 }
}
