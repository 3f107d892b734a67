//! Node executions, and the tools and knowledge bases that they asked.

use dify_observe_core::dify::error_type::{ErrorContext, classify};
use dify_observe_core::dify::facts::{self, Retrieval, ToolCall};
use dify_observe_core::dify::follow::Kind;
use dify_observe_core::dify::outcome::{self, ABORTED, INTERRUPTED};
use dify_observe_core::dify::records::{Node, Run, Word};

use super::run::{attempts, is_attempt};
use super::streaks::{Scope, Verdict};
use super::subject::Subject;
use super::{Context, SideState, llm};
use crate::catalogue;
use crate::store::{Labels, Totals};

/// Longest part of a node's title in a label.
const TITLE_LENGTH: usize = 60;

/// Nodes with their settled statuses, in the order in which they finished: streaks are told by it.
pub(super) fn settled(
    subject: &Subject,
    run: &Run,
    nodes: &[Node],
    statuses: &[Word],
    context: &Context<'_>,
    totals: &mut Totals,
    side: &mut SideState,
) {
    let mut order: Vec<usize> = (0..nodes.len()).collect();
    order.sort_by_key(|at| (nodes[*at].finished_at.unwrap_or(nodes[*at].created_at), nodes[*at].index, nodes[*at].id));
    for at in order {
        let (node, status) = (&nodes[at], &statuses[at]);
        let repeats = outcome::repeats_child(nodes, statuses, at);
        executed(subject, node, status, repeats, totals);
        unreadable(Kind::Run, facts::unreadable_node_values(node), totals);
        let graph = context.catalog.graph_node(run, node);
        if let Some(usage) = facts::model_use(node, status, graph) {
            llm::used(subject, &usage, context, totals, side);
        }
        for call in facts::tool_call(node, status, graph).into_iter().chain(facts::agent_tool_calls(node)) {
            tool_called(subject, &call, context, totals, side);
        }
        for retrieval in facts::node_retrievals(node, graph) {
            retrieved(subject, &retrieval, totals);
        }
        if !is_attempt(status) && !repeats {
            let verdict = Verdict::of_status(status);
            side.streaks.tell(subject, Scope::Node, &name(node), verdict, context.streak_length, totals);
        }
    }
}

/// Values of a record of this kind whose details are lost.
pub(super) fn unreadable(kind: Kind, values: u64, totals: &mut Totals) {
    if values > 0 {
        totals.add(&catalogue::UNREADABLE_VALUES, Labels::global([kind.as_str()]), values);
    }
}

fn executed(subject: &Subject, node: &Node, status: &Word, repeats_child: bool, totals: &mut Totals) {
    let retries = attempts(node, status);
    if retries > 0 {
        totals.add(&catalogue::NODE_RETRIES, subject.labels([node.node_type.clone()]), retries);
    }
    if is_attempt(status) {
        return;
    }
    let labels = subject.labels([node.node_type.clone(), status.clone()]);
    totals.add_with_exemplar(&catalogue::NODE_EXECUTIONS, &labels, 1, subject.exemplar(1.0));
    if &**status != INTERRUPTED {
        totals.observe(&catalogue::NODE_DURATION, &labels, node.elapsed_seconds, subject.exemplar(node.elapsed_seconds));
    }
    if let Some(error_type) = facts::soft_failure(node) {
        let labels = subject.labels([node.node_type.clone(), error_type.as_str().into()]);
        totals.add_with_exemplar(&catalogue::NODE_SOFT_FAILURES, labels, 1, subject.exemplar(1.0));
    }
    if matches!(&**status, "failed" | "exception") && !repeats_child {
        let error_type = outcome::node_error_type(node);
        let labels = subject.labels(["node".into(), error_type.as_str().into()]);
        totals.add_with_exemplar(&catalogue::ERRORS, labels, 1, subject.exemplar(1.0));
    }
}

/// One call of a tool, by whomever.
pub(super) fn tool_called(subject: &Subject, call: &ToolCall, context: &Context<'_>, totals: &mut Totals, side: &mut SideState) {
    let labels = subject.labels([call.provider_type.clone(), call.provider.clone(), call.tool.clone(), call.status.clone()]);
    totals.add_with_exemplar(&catalogue::TOOL_CALLS, &labels, 1, subject.exemplar(1.0));
    if let Some(seconds) = call.seconds {
        totals.observe(&catalogue::TOOL_CALL_DURATION, &labels, seconds, subject.exemplar(seconds));
    }
    if matches!(&*call.status, "failed" | "exception") {
        let context = ErrorContext { node_type: Some("tool"), class: None };
        let error_type = classify(call.error.as_deref().unwrap_or_default(), context);
        let labels = subject.labels(["tool".into(), error_type.as_str().into()]);
        totals.add_with_exemplar(&catalogue::ERRORS, labels, 1, subject.exemplar(1.0));
    }
    let name: Word = format!("{}/{}", call.provider, call.tool).into();
    side.streaks.tell(subject, Scope::Tool, &name, Verdict::of_status(&call.status), context.streak_length, totals);
}

/// What one data set answered.
pub(super) fn retrieved(subject: &Subject, retrieval: &Retrieval, totals: &mut Totals) {
    let result = if retrieval.is_hit() { "hit" } else { "miss" };
    totals.add(&catalogue::RETRIEVALS, subject.labels([retrieval.dataset.clone(), result.into()]), 1);
    let labels = subject.labels([retrieval.dataset.clone()]);
    totals.observe(&catalogue::RETRIEVAL_DOCUMENTS, &labels, retrieval.documents as f64, None);
    for score in &retrieval.scores {
        totals.observe(&catalogue::RETRIEVAL_SCORE, &labels, *score, None);
    }
}

/// What people call the node, and the id that tells it from its namesakes.
fn name(node: &Node) -> Word {
    let title: String = node.title.trim().chars().take(TITLE_LENGTH).collect();
    match title.is_empty() || title == *node.node_id {
        true => node.node_id.clone(),
        false => format!("{title} ({})", node.node_id).into(),
    }
}

impl Verdict {
    /// What a settled status says about whoever has it. What was cut off or is not known says nothing.
    pub(super) fn of_status(status: &str) -> Verdict {
        match status {
            "succeeded" => Verdict::Success,
            "failed" | "exception" | "retry" => Verdict::Failure,
            ABORTED | INTERRUPTED => Verdict::Nothing,
            _ => Verdict::Nothing,
        }
    }
}
