//! What a run's rows mean together: final statuses and the first cause of a failure.
//!
//! When a run fails or is stopped, Dify sets every node that is still running in that process to `failed`, with the *run's*
//! error: one failure shows as several. Such a node is `aborted` here. A node that Dify never closed in a run that ended is
//! `interrupted`. Everything else keeps its stored status, unknown ones included.

use std::collections::BTreeSet;

use super::error_type::{ErrorContext, ErrorType, classify};
use super::follow::Closed;
use super::json;
use super::records::{Node, Run, Word};

/// Status of a run that was closed because it had been running for longer than `follow.abandon_after`.
pub const ABANDONED: &str = "abandoned";
/// Status of a node that only repeats the run's error.
pub const ABORTED: &str = "aborted";
/// Status of a node that was never closed although its run was.
pub const INTERRUPTED: &str = "interrupted";

/// A run and its nodes, settled.
#[derive(Clone, Debug, PartialEq)]
pub struct RunOutcome {
    /// The stored status, or [`ABANDONED`].
    pub status: Word,
    /// One status for each node, in their order: the stored one, [`ABORTED`] or [`INTERRUPTED`]. `retry` is a failed
    /// attempt beside the row of the node itself (Dify up to 1.8.1).
    pub nodes: Vec<Word>,
    /// Why the run failed or was stopped; of a run that is partial-succeeded, its first handled failure.
    pub first_cause: Option<FirstCause>,
    /// One of Dify's own limits ended the run: a failure, although newer versions store `stopped` as for a person's stop.
    pub limit_exceeded: bool,
}

/// The first cause of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstCause {
    /// Which of the nodes; `None` when it was none of them, or one that is not known.
    pub node: Option<usize>,
    /// What kind of failure.
    pub error_type: ErrorType,
}

/// Settles a run with all of its nodes.
pub fn settle(run: &Run, nodes: &[Node], closed: Closed) -> RunOutcome {
    let abandoned = closed == Closed::Abandoned && !run.has_ended();
    let mut aborted = aborted_nodes(run, nodes);
    spare_origin(run, nodes, &mut aborted);
    let statuses = statuses(run, nodes, &aborted, abandoned);
    let first_cause = first_cause(run, nodes, &statuses);
    RunOutcome {
        status: if abandoned { ABANDONED.into() } else { run.status.clone() },
        limit_exceeded: matches!(&*run.status, "failed" | "stopped")
            && first_cause.is_some_and(|cause| cause.error_type == ErrorType::LimitExceeded),
        nodes: statuses,
        first_cause,
    }
}

/// Statuses of nodes that came to light without the rest of their run: before its end (it is paused) or long after.
pub fn settle_apart(run: &Run, nodes: &[Node]) -> Vec<Word> {
    statuses(run, nodes, &aborted_nodes(run, nodes), false)
}

/// The type of a node's error, from its text and, for a handled failure, from the class that Dify stored with it.
pub fn node_error_type(node: &Node) -> ErrorType {
    let outputs = node.outputs.as_deref().filter(|_| &*node.status == "exception").map(|text| json::pick(text, &["error_type"]));
    let class = outputs.as_ref().and_then(|outputs| outputs.get("error_type")).and_then(json::text);
    classify(node.error.as_deref().unwrap_or_default(), ErrorContext { node_type: Some(&node.node_type), class })
}

/// Iterations and loops: a child's failure is theirs as well.
pub fn is_container(node: &Node) -> bool {
    matches!(&*node.node_type, "iteration" | "loop")
}

/// Whether the node only hands on what a node inside of it, or the whole run, failed with.
pub fn repeats_child(nodes: &[Node], statuses: &[Word], container: usize) -> bool {
    let node = &nodes[container];
    is_container(node)
        && nodes.iter().zip(statuses).any(|(other, status)| {
            matches!(&**status, "failed" | ABORTED) && !is_container(other) && other.error.is_some() && other.error == node.error
        })
}

fn statuses(run: &Run, nodes: &[Node], aborted: &BTreeSet<usize>, abandoned: bool) -> Vec<Word> {
    let over = abandoned || run.has_ended();
    let status = |at: usize, node: &Node| match &*node.status {
        "failed" if aborted.contains(&at) => ABORTED.into(),
        "running" | "pending" | "paused" if over => INTERRUPTED.into(),
        // Since 1.9 a retry reuses the node's row: one that is still `retry` died with its run. Before, the row of the
        // node itself stands beside those of its failed attempts.
        "retry" if over && !nodes.iter().any(|other| other.node_id == node.node_id && &*other.status != "retry") => INTERRUPTED.into(),
        _ => node.status.clone(),
    };
    nodes.iter().enumerate().map(|(at, node)| status(at, node)).collect()
}

/// Failed nodes with the run's error that were closed when, or after, the run was: Dify ends the run, then what is still
/// running in it. A node that failed by itself did so before its run.
fn aborted_nodes(run: &Run, nodes: &[Node]) -> BTreeSet<usize> {
    let stopped = &*run.status == "stopped";
    let closed_with_run = |node: &Node| match (node.finished_at, run.finished_at) {
        (Some(node), Some(run)) => node >= run,
        _ => true,
    };
    let is_aborted = |node: &Node| has_runs_error(run, node) && (stopped || closed_with_run(node));
    (0..nodes.len()).filter(|at| matches!(&*run.status, "failed" | "stopped") && is_aborted(&nodes[*at])).collect()
}

fn has_runs_error(run: &Run, node: &Node) -> bool {
    &*node.status == "failed" && node.error.is_some() && node.error == run.error
}

/// Somebody must have begun: when every node with the run's error was closed with the run, the first of them failed by
/// itself. A stop needs no such node.
fn spare_origin(run: &Run, nodes: &[Node], aborted: &mut BTreeSet<usize>) {
    let failed_alone = |at: usize| &*nodes[at].status == "failed" && !aborted.contains(&at);
    if &*run.status != "failed" || aborted.is_empty() || (0..nodes.len()).any(failed_alone) {
        return;
    }
    if let Some(origin) = aborted.iter().copied().min_by_key(|at| order_of_failure(&nodes[*at])) {
        aborted.remove(&origin);
    }
}

/// Children before their containers, then by time; a row whose metadata is still that of a running one was cut off.
fn order_of_failure(node: &Node) -> (bool, Option<i64>, bool, i32) {
    let metadata = node.execution_metadata.as_deref().unwrap_or_default();
    let as_started = metadata.contains("\"loop_id\": null") || metadata.contains("\"iteration_id\": null");
    (is_container(node), node.finished_at.map(|time| time.0), as_started, node.index)
}

fn first_cause(run: &Run, nodes: &[Node], statuses: &[Word]) -> Option<FirstCause> {
    match &*run.status {
        "failed" => Some(cause_of_failure(run, nodes, statuses)),
        "stopped" => Some(cause_of_stop(run)),
        "partial-succeeded" => earliest(nodes, |at| &*statuses[at] == "exception").map(|at| of_node(nodes, at)),
        _ => None,
    }
}

fn cause_of_stop(run: &Run) -> FirstCause {
    let limit = classify(run.error.as_deref().unwrap_or_default(), ErrorContext::default()) == ErrorType::LimitExceeded;
    FirstCause { node: None, error_type: if limit { ErrorType::LimitExceeded } else { ErrorType::Stopped } }
}

/// The node whose error the run repeats; else, as far as can be told, the first that failed; else the run's own text.
fn cause_of_failure(run: &Run, nodes: &[Node], statuses: &[Word]) -> FirstCause {
    let failed = |at: usize| &*statuses[at] == "failed";
    let repeated = |at: usize| match (&run.error, &nodes[at].error) {
        (Some(run), Some(node)) => !node.is_empty() && run.contains(node.as_str()),
        _ => false,
    };
    let origin = earliest(nodes, |at| failed(at) && repeated(at));
    if let Some(at) = origin {
        return of_node(nodes, at);
    }
    match &run.error {
        Some(text) => FirstCause { node: None, error_type: classify(text, ErrorContext::default()) },
        None => earliest(nodes, failed).map_or(FirstCause { node: None, error_type: ErrorType::Other }, |at| of_node(nodes, at)),
    }
}

fn earliest(nodes: &[Node], which: impl Fn(usize) -> bool) -> Option<usize> {
    (0..nodes.len()).filter(|at| which(*at)).min_by_key(|at| order_of_failure(&nodes[*at]))
}

fn of_node(nodes: &[Node], at: usize) -> FirstCause {
    FirstCause { node: Some(at), error_type: node_error_type(&nodes[at]) }
}

#[cfg(test)]
mod tests;
