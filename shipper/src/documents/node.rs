//! Node executions.

use dify_observe_core::dify::catalog::GraphNode;
use dify_observe_core::dify::error_type::ErrorType;
use dify_observe_core::dify::facts::{self, ModelUse, ToolCall};
use dify_observe_core::dify::outcome::{self, INTERRUPTED};
use dify_observe_core::dify::records::{Node, Value, Word};
use dify_observe_core::dify::{json, time::Micros};
use serde_json::Map;
use serde_json::Value as Json;

use super::parts::{ErrorPart, Http, HttpRequest, HttpResponse, NodePart, Source, Url};
use super::scene::{Base, Identity, Scene, event, outcome, span};
use super::{errors, model, retrieval, revision, tool};
use crate::document::{Document, Kind};

/// A node execution, settled.
pub(super) struct Step<'a> {
    pub(super) node: &'a Node,
    pub(super) status: &'a Word,
    pub(super) graph: Option<&'a GraphNode>,
    pub(super) repeats_child: bool,
}

impl Step<'_> {
    /// Whether the row is a failed attempt beside the row of the node itself.
    pub(super) fn is_attempt(&self) -> bool {
        &**self.status == "retry"
    }

    /// Whether its time is that of something that came to an end.
    pub(super) fn ran(&self) -> bool {
        &**self.status != INTERRUPTED
    }

    /// How many failed attempts its row tells of: itself, or those kept inside.
    pub(super) fn retries(&self) -> u64 {
        if self.is_attempt() { 1 } else { facts::retry_history(self.node).len() as u64 }
    }

    /// Why it failed by itself, handled or not.
    pub(super) fn failure(&self) -> Option<ErrorType> {
        let failed = matches!(&**self.status, "failed" | "exception") && !self.repeats_child;
        failed.then(|| outcome::node_error_type(self.node))
    }

    pub(super) fn model_use(&self) -> Option<ModelUse> {
        facts::model_use(self.node, self.status, self.graph)
    }

    pub(super) fn tool_call(&self) -> Option<ToolCall> {
        facts::tool_call(self.node, self.status, self.graph)
    }
}

/// The documents of a node: itself, and the tools and data sets that it asked.
pub(super) fn write(scene: Scene<'_>, base: &Base<'_>, step: &Step<'_>, out: &mut Vec<Document>) {
    let metadata = step.node.execution_metadata.as_deref();
    let metadata = metadata.map(|text| json::pick(text, METADATA)).unwrap_or_default();
    let part = part(scene, base, step, &metadata);
    if (scene.wanted)(Kind::NodeExecution) {
        let mut source = base.source.clone();
        fill(scene, base, step, &mut source);
        if let Some(dify) = source.dify.as_mut() {
            dify.node = Some(Box::new(NodePart { retries: Some(step.retries()), ..execution(step, &metadata, part.clone()) }));
        }
        base.write(source, identity(step.node, Kind::NodeExecution, None), out);
    }
    if (scene.wanted)(Kind::ToolCall) {
        tool::of_node(scene, base, step, &part, &metadata, out);
    }
    if (scene.wanted)(Kind::Retrieval) {
        retrieval::of_node(scene, base, step, &part, out);
    }
}

/// What is read of `execution_metadata` here.
const METADATA: &[&str] = &["iteration_id", "iteration_index", "loop_id", "loop_index", "error_strategy", "tool_info"];

/// The identity of the document of a node, or of the `part`-th document of what it asked.
pub(super) fn identity(node: &Node, kind: Kind, part: Option<usize>) -> Identity {
    let id = node.id.hyphenated();
    Identity {
        kind,
        id: part.map_or_else(|| id.to_string(), |part| format!("{id}-{part}")),
        revision: revision::of_node(node),
        time: node.created_at,
    }
}

/// Start and end of a node.
pub(super) fn times(node: &Node) -> (Option<Micros>, Option<Micros>) {
    (Some(node.created_at), node.finished_at)
}

/// What documents of a node and of what it asked say about it.
fn part(scene: Scene<'_>, base: &Base<'_>, step: &Step<'_>, metadata: &Map<String, Json>) -> NodePart {
    let node = step.node;
    let word = |key: &str| metadata.get(key).and_then(json::text).map(Word::from);
    let count = |key: &str| metadata.get(key).and_then(json::count);
    NodePart {
        id: Some(node.node_id.clone()),
        execution_id: Some(node.id),
        node_type: Some(node.node_type.clone()),
        title: scene.title(base, &node.title),
        iteration_id: word("iteration_id"),
        iteration_index: count("iteration_index"),
        loop_id: word("loop_id"),
        loop_index: count("loop_index"),
        ..NodePart::default()
    }
}

/// What only its own document says.
fn execution(step: &Step<'_>, metadata: &Map<String, Json>, part: NodePart) -> NodePart {
    NodePart {
        index: Some(step.node.index),
        predecessor_id: step.node.predecessor_node_id.clone(),
        error_strategy: metadata.get("error_strategy").and_then(json::text).map(Word::from),
        soft_failure: facts::soft_failure(step.node).map(|error_type| error_type.as_str().into()),
        repeats_child: step.repeats_child.then_some(true),
        ..part
    }
}

fn fill(scene: Scene<'_>, base: &Base<'_>, step: &Step<'_>, source: &mut Source) {
    let node = step.node;
    let (start, end) = times(node);
    source.span = Some(span(node.id));
    source.event = Some(event(outcome(step.status), step.ran().then_some(node.elapsed_seconds), start, end));
    source.error = error(scene, base, step);
    if &*node.node_type == "http-request" {
        http(scene, base, node, source);
    }
    if let Some(usage) = step.model_use() {
        model::of_node(node, &usage, source);
    }
    if let Some(dify) = source.dify.as_mut() {
        dify.status = Some(step.status.clone());
        dify.inputs = scene.json(base, node.inputs.as_deref(), node.cuts.has(Value::Inputs));
        dify.process_data = scene.json(base, node.process_data.as_deref(), node.cuts.has(Value::ProcessData));
        dify.outputs = scene.json(base, node.outputs.as_deref(), node.cuts.has(Value::Outputs));
    }
}

/// A failure of its own has a type; what it only repeats, or went through before it succeeded, is text.
fn error(scene: Scene<'_>, base: &Base<'_>, step: &Step<'_>) -> Option<ErrorPart> {
    let node = step.node;
    let message = scene.error(base, node.error.as_deref(), node.cuts.has(Value::Error));
    let error_type = step.failure().or_else(|| step.is_attempt().then(|| outcome::node_error_type(node)));
    match error_type {
        Some(error_type) => Some(errors::failure(error_type, message)),
        None => message.map(errors::mention),
    }
}

/// The request line and the host of what was sent, and the answer's status. Queries hold keys and names of people.
fn http(scene: Scene<'_>, base: &Base<'_>, node: &Node, source: &mut Source) {
    let data = node.process_data.as_deref().map(|text| json::pick(text, &["request"])).unwrap_or_default();
    let request = data.get("request").and_then(json::text).unwrap_or_default();
    let mut words = request.lines().next().unwrap_or_default().split_whitespace();
    let method = words.next().filter(|word| word.len() < 20 && word.bytes().all(|byte| byte.is_ascii_uppercase())).map(Word::from);
    let path = words.next().map(|path| path.split(['?', '#']).next().unwrap_or_default());
    let host = request.lines().skip(1).take_while(|line| !line.trim().is_empty()).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("host").then(|| value.trim())
    });
    let domain = host.and_then(|host| host.split(':').next());
    let outputs = node.outputs.as_deref().map(|text| json::pick(text, &["status_code"])).unwrap_or_default();
    let status_code = outputs.get("status_code").and_then(json::count).filter(|code| *code > 0);
    source.http = (method.is_some() || status_code.is_some()).then(|| Http {
        request: method.clone().map(|method| HttpRequest { method: Some(method) }),
        response: status_code.map(|code| HttpResponse { status_code: Some(code) }),
    });
    if method.is_some() {
        let redacted = |text: Option<&str>| text.and_then(|text| scene.title(base, text));
        source.url = Some(Url { domain: redacted(domain), path: redacted(path) });
    }
}
