//! Workflow runs.

use dify_observe_core::dify::follow::Closed;
use dify_observe_core::dify::outcome::{self, ABANDONED, RunOutcome};
use dify_observe_core::dify::records::{Node, Run, Value, Word};

use super::errors;
use super::node::{self, Step};
use super::parts::{CausePart, ErrorPart};
use super::scene::{Base, Identity, Scene, event, span};
use super::{revision, summary};
use crate::document::{Document, Kind};

/// A run is final, with all of its nodes.
pub(super) fn closed(scene: Scene<'_>, run: &Run, nodes: &[Node], closed: Closed, out: &mut Vec<Document>) {
    let base = scene.of_run(run);
    let outcome = outcome::settle(run, nodes, closed);
    let steps = steps(scene, run, nodes, &outcome.nodes);
    if (scene.wanted)(Kind::WorkflowRun) {
        write(scene, &base, run, nodes, &outcome, &steps, out);
    }
    for step in &steps {
        node::write(scene, &base, step, out);
    }
}

/// Some nodes are final although their run is not: it is paused. The run's own document waits for its end.
pub(super) fn nodes_settled(scene: Scene<'_>, run: &Run, nodes: &[Node], out: &mut Vec<Document>) {
    let base = scene.of_run(run);
    for step in &steps(scene, run, nodes, &outcome::settle_apart(run, nodes)) {
        node::write(scene, &base, step, out);
    }
}

fn steps<'a>(scene: Scene<'a>, run: &Run, nodes: &'a [Node], statuses: &'a [Word]) -> Vec<Step<'a>> {
    let step = |at: usize| Step {
        node: &nodes[at],
        status: &statuses[at],
        graph: scene.catalog.graph_node(run, &nodes[at]),
        repeats_child: outcome::repeats_child(nodes, statuses, at),
    };
    (0..nodes.len()).map(step).collect()
}

fn write(scene: Scene<'_>, base: &Base<'_>, run: &Run, nodes: &[Node], outcome: &RunOutcome, steps: &[Step<'_>], out: &mut Vec<Document>) {
    let mut source = base.source.clone();
    let ended = &*outcome.status != ABANDONED;
    source.span = Some(span(run.key.id));
    source.event = Some(event(success(run, outcome), ended.then_some(run.elapsed_seconds), Some(run.created_at), run.finished_at));
    source.error = error(scene, base, run, nodes, outcome);
    let mut part = summary::of(run, outcome, steps);
    part.first_cause = cause(scene, base, outcome, steps);
    if let Some(slowest) = summary::slowest(steps) {
        part.slowest_node = Some(summary::slowest_part(slowest, scene.title(base, &slowest.node.title)));
    }
    if let Some(dify) = source.dify.as_mut() {
        dify.status = Some(outcome.status.clone());
        dify.inputs = scene.json(base, run.inputs.as_deref(), run.cuts.has(Value::Inputs));
        dify.outputs = scene.json(base, run.outputs.as_deref(), run.cuts.has(Value::Outputs));
        dify.run = Some(Box::new(part));
    }
    let identity = Identity {
        kind: Kind::WorkflowRun,
        id: run.key.id.hyphenated().to_string(),
        revision: revision::of_run(run, nodes),
        time: run.created_at,
    };
    base.write(source, identity, out);
}

/// Success as the success rate counts it: stops by people, abandoned and unknown ones are neither.
fn success(run: &Run, outcome: &RunOutcome) -> &'static str {
    match &*outcome.status {
        "succeeded" | "partial-succeeded" => "success",
        "failed" => "failure",
        _ if outcome.limit_exceeded && run.has_ended() => "failure",
        _ => "unknown",
    }
}

/// The first cause and the run's own text. The cause's fingerprint is that of its node, so that both are found by it.
fn error(scene: Scene<'_>, base: &Base<'_>, run: &Run, nodes: &[Node], outcome: &RunOutcome) -> Option<ErrorPart> {
    let message = scene.error(base, run.error.as_deref(), run.cuts.has(Value::Error));
    let cause = outcome.first_cause.filter(|_| matches!(&*run.status, "failed" | "stopped"));
    let Some(cause) = cause else { return message.map(errors::mention) };
    let of_node = cause.node.and_then(|at| scene.error(base, nodes[at].error.as_deref(), nodes[at].cuts.has(Value::Error)));
    let mut part = errors::failure(cause.error_type, of_node.or_else(|| message.clone()));
    part.message = message.or(part.message);
    Some(part)
}

fn cause(scene: Scene<'_>, base: &Base<'_>, outcome: &RunOutcome, steps: &[Step<'_>]) -> Option<CausePart> {
    let cause = outcome.first_cause?;
    let step = cause.node.map(|at| &steps[at]);
    Some(CausePart {
        error_type: Some(cause.error_type.as_str().into()),
        node_id: step.map(|step| step.node.node_id.clone()),
        node_type: step.map(|step| step.node.node_type.clone()),
        node_title: step.and_then(|step| scene.title(base, &step.node.title)),
        tool: step.and_then(Step::tool_call).map(|call| call.tool),
    })
}
