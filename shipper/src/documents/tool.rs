//! Calls of tools, by nodes, by agent nodes and by agent apps.

use dify_observe_core::dify::error_type::{ErrorContext, ErrorType, classify};
use dify_observe_core::dify::facts::{self, ToolCall};
use dify_observe_core::dify::json;
use dify_observe_core::dify::records::{Message, Node, Thought, Value, Word};
use serde_json::{Map, Value as Json};

use super::node::{self, Step};
use super::parts::{GenAi, Name, NodePart, Source, ToolPart};
use super::scene::{Base, Identity, Scene, event, outcome, span};
use super::{errors, revision};
use crate::document::{Document, Kind};

/// Why a call failed, if it did.
pub(super) fn failure(call: &ToolCall) -> Option<ErrorType> {
    let context = ErrorContext { node_type: Some("tool"), class: None };
    matches!(&*call.status, "failed" | "exception").then(|| classify(call.error.as_deref().unwrap_or_default(), context))
}

/// The call of a tool node, or those in the log of an agent node.
pub(super) fn of_node(
    scene: Scene<'_>,
    base: &Base<'_>,
    step: &Step<'_>,
    part: &NodePart,
    metadata: &Map<String, Json>,
    out: &mut Vec<Document>,
) {
    let node = step.node;
    if let Some(call) = step.tool_call() {
        let (start, end) = node::times(node);
        let mut source = begin(scene, base, &call, node.cuts.has(Value::Error));
        source.event = Some(event(outcome(&call.status), call.seconds, start, end));
        let tool = ToolPart {
            caller: Some("node"),
            plugin_version: plugin_version(metadata),
            input: scene.json(base, node.inputs.as_deref(), node.cuts.has(Value::Inputs)),
            output: scene.json(base, node.outputs.as_deref(), node.cuts.has(Value::Outputs)),
            ..named(&call)
        };
        write(base, source, node, part, tool, 0, out);
    }
    for (at, call) in facts::agent_tool_calls(node).iter().enumerate() {
        let mut source = begin(scene, base, call, node.cuts.has(Value::ExecutionMetadata));
        source.event = Some(event(outcome(&call.status), call.seconds, None, None));
        write(base, source, node, part, ToolPart { caller: Some("agent_node"), ..named(call) }, at, out);
    }
}

/// The calls of an agent app's rounds.
pub(super) fn of_message(scene: Scene<'_>, base: &Base<'_>, message: &Message, thoughts: &[Thought], out: &mut Vec<Document>) {
    for thought in thoughts {
        let names = thought.tool.as_deref().unwrap_or_default().split(';').filter(|name| !name.is_empty());
        let calls = facts::thought_tool_calls(thought);
        let last = |at: usize, name: &str| thought.tool.as_deref().unwrap_or_default().split(';').skip(at + 1).all(|other| other != name);
        for (at, (call, name)) in calls.iter().zip(names).enumerate() {
            let mut source = begin(scene, base, call, thought.cuts.has(Value::ToolMeta));
            source.span = Some(span(thought.id));
            source.event = Some(event(outcome(&call.status), call.seconds, None, None));
            // Of the same tool twice, only the last call's input and output were kept.
            let kept = last(at, name);
            let value =
                |raw: Option<&str>, value| raw.filter(|_| kept).and_then(|raw| of_call(scene, base, raw, name, thought.cuts.has(value)));
            let tool = ToolPart {
                caller: Some("agent_app"),
                round: Some(thought.position),
                input: value(thought.tool_input.as_deref(), Value::ToolInput),
                output: value(thought.observation.as_deref(), Value::Observation),
                ..named(call)
            };
            if let Some(dify) = source.dify.as_mut() {
                dify.tool = Some(Box::new(tool));
            }
            let id = format!("{}-{at}", thought.id.hyphenated());
            let identity = Identity { kind: Kind::ToolCall, id, revision: revision::of_message(message), time: message.created_at };
            base.write(source, identity, out);
        }
    }
}

fn begin(scene: Scene<'_>, base: &Base<'_>, call: &ToolCall, cut: bool) -> Source {
    let mut source = base.source.clone();
    let message = scene.error(base, call.error.as_deref(), cut);
    source.error = match failure(call) {
        Some(error_type) => Some(errors::failure(error_type, message)),
        None => message.map(errors::mention),
    };
    source.gen_ai = Some(GenAi {
        operation: Some(Name { name: Some("execute_tool".into()) }),
        tool: Some(Name { name: Some(call.tool.clone()) }),
        ..GenAi::default()
    });
    if let Some(dify) = source.dify.as_mut() {
        dify.status = Some(call.status.clone());
    }
    source
}

fn write(base: &Base<'_>, mut source: Source, node: &Node, part: &NodePart, tool: ToolPart, at: usize, out: &mut Vec<Document>) {
    source.span = Some(span(node.id));
    if let Some(dify) = source.dify.as_mut() {
        dify.node = Some(Box::new(part.clone()));
        dify.tool = Some(Box::new(tool));
    }
    base.write(source, node::identity(node, Kind::ToolCall, Some(at)), out);
}

fn named(call: &ToolCall) -> ToolPart {
    ToolPart {
        name: Some(call.tool.clone()),
        provider: Some(call.provider.clone()),
        provider_type: Some(call.provider_type.clone()),
        plugin_id: plugin_id(call),
        ..ToolPart::default()
    }
}

/// `demo/shop` of the provider `demo/shop/shop`.
fn plugin_id(call: &ToolCall) -> Option<Word> {
    let parts: Vec<&str> = call.provider.split('/').collect();
    (&*call.provider_type == "plugin" && parts.len() >= 2).then(|| parts[..2].join("/").into())
}

/// `0.0.7` of `langgenius/openai:0.0.7@<hash>`.
fn plugin_version(metadata: &Map<String, Json>) -> Option<Word> {
    let identifier = json::text(metadata.get("tool_info")?.get("plugin_unique_identifier")?)?;
    let version = identifier.split_once(':')?.1.split('@').next()?;
    (!version.is_empty()).then(|| version.into())
}

/// Input or output of one of a round's calls: the columns are JSON by the tools' names, older ones the bare text of the only call.
fn of_call(scene: Scene<'_>, base: &Base<'_>, raw: &str, name: &str, cut: bool) -> Option<String> {
    match json::pick(raw, &[name]).remove(name) {
        Some(Json::String(text)) => scene.text(base, Some(&text), cut),
        Some(value) => scene.json(base, Some(&value.to_string()), cut),
        None if raw.trim_start().starts_with('{') => None,
        None => scene.text(base, Some(raw), cut),
    }
}
