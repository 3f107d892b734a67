//! Which tools were called, by nodes, by agent nodes and by agent apps.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{UNKNOWN, picked, word};
use crate::dify::catalog::GraphNode;
use crate::dify::json;
use crate::dify::records::{Node, Thought, Word};

/// One call of a tool.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// builtin, plugin, api, workflow, mcp, dataset-retrieval, unknown
    pub provider_type: Word,
    /// For example `time` or `demo/shop/shop`; a data set's id for `dataset-retrieval`
    pub provider: Word,
    /// The tool's name; `unknown` where no row says it, or where a model invented it
    pub tool: Word,
    /// The node's settled status; in agents `succeeded`, `failed`, or `unknown` where the row kept nothing of this call
    pub status: Word,
    /// How long it took, where it is known.
    pub seconds: Option<f64>,
    /// What it failed with.
    pub error: Option<String>,
}

/// The call of a tool node. Its name stands only on the canvas.
pub fn tool_call(node: &Node, status: &Word, graph: Option<&GraphNode>) -> Option<ToolCall> {
    if &*node.node_type != "tool" {
        return None;
    }
    let metadata = picked(node.execution_metadata.as_deref(), &["tool_info"]);
    let info = metadata.get("tool_info").unwrap_or(&Value::Null);
    let on_canvas = graph.and_then(|graph| graph.tool.as_ref());
    let id = word(info.get("provider_id"));
    let named = on_canvas.and_then(|tool| tool.provider.clone());
    // A UUID says nothing to people: the canvas has the name of a custom, workflow or MCP provider.
    let provider = match id {
        Some(id) if Uuid::parse_str(&id).is_ok() => named.unwrap_or(id),
        Some(id) => id,
        None => named.unwrap_or_else(|| UNKNOWN.into()),
    };
    let provider_type = word(info.get("provider_type")).or_else(|| on_canvas.and_then(|tool| tool.provider_type.clone()));
    let finished = matches!(&**status, "succeeded" | "failed" | "exception" | "retry");
    Some(ToolCall {
        provider_type: provider_type_of(provider_type.as_deref(), &provider),
        provider,
        tool: on_canvas.map_or_else(|| UNKNOWN.into(), |tool| tool.name.clone()),
        status: status.clone(),
        seconds: finished.then_some(node.elapsed_seconds),
        error: node.error.clone().filter(|_| &**status != "succeeded"),
    })
}

/// Nodes call plugin tools "builtin", agents call them "plugin"; the provider's slashes tell them.
fn provider_type_of(stored: Option<&str>, provider: &str) -> Word {
    match stored {
        Some("builtin") | None if provider.contains('/') => "plugin".into(),
        Some(stored) => stored.into(),
        None => UNKNOWN.into(),
    }
}

/// The calls in the log of an agent node (`CALL <tool>` below a round). Only tools that the node was given have a name.
pub fn agent_tool_calls(node: &Node) -> Vec<ToolCall> {
    if &*node.node_type != "agent" {
        return Vec::new();
    }
    let metadata = picked(node.execution_metadata.as_deref(), &["agent_log"]);
    let inputs = picked(node.inputs.as_deref(), &["tools"]);
    let tools = inputs.get("tools").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let known: BTreeSet<&str> = tools.iter().filter_map(|tool| json::text(&tool["tool_name"])).collect();
    let log = metadata.get("agent_log").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    log.iter().filter_map(|entry| agent_call(entry, &known)).collect()
}

fn agent_call(entry: &Value, known: &BTreeSet<&str>) -> Option<ToolCall> {
    let name = json::text(&entry["label"])?.strip_prefix("CALL ")?.trim();
    json::text(&entry["parent_id"])?;
    let error = json::text(&entry["error"]);
    let provider: Word = word(entry["metadata"].get("provider")).unwrap_or_else(|| UNKNOWN.into());
    let builtin = (&*provider != UNKNOWN).then_some("builtin");
    Some(ToolCall {
        provider_type: provider_type_of(builtin, &provider),
        provider,
        tool: if known.contains(name) { name.into() } else { UNKNOWN.into() },
        status: if error.is_some() || entry["status"] == "error" { "failed".into() } else { "succeeded".into() },
        seconds: json::number(&entry["metadata"]["elapsed_time"]).filter(|seconds| *seconds >= 0.0),
        error: error.map(Into::into),
    })
}

/// The calls of an agent app's round: as many as `tool` has names. Of the same tool twice, the row keeps only the last
/// call's result: the others are known to have been made, and that is all.
pub fn thought_tool_calls(thought: &Thought) -> Vec<ToolCall> {
    let names: Vec<&str> = thought.tool.as_deref().unwrap_or_default().split(';').filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let meta = match thought.tool_meta.as_deref().map(json::parse) {
        Some(json::Parsed { value: Value::Object(meta), .. }) => meta,
        _ => Map::new(),
    };
    let is_last = |at: usize| !names[at + 1..].contains(&names[at]);
    names.iter().enumerate().map(|(at, name)| thought_call(name, meta.get(*name), is_last(at))).collect()
}

fn thought_call(name: &str, meta: Option<&Value>, is_last: bool) -> ToolCall {
    let meta = meta.unwrap_or(&Value::Null);
    let config = &meta["tool_config"];
    let error = json::text(&meta["error"]).filter(|_| is_last);
    let dataset = name.strip_prefix("dataset_").and_then(|id| Uuid::parse_str(&id.replace('_', "-")).ok());
    let (provider, tool): (Word, Word) = match dataset {
        Some(dataset) => (dataset.to_string().into(), "dataset".into()),
        // Without a configuration there is no such tool: the model made the name up.
        None => match word(config.get("tool_provider")) {
            Some(provider) => (provider, name.into()),
            None => (UNKNOWN.into(), if config.is_object() { name.into() } else { UNKNOWN.into() }),
        },
    };
    let stored = if dataset.is_some() { Some("dataset-retrieval") } else { json::text(&config["tool_provider_type"]) };
    let known = is_last && meta.is_object();
    ToolCall {
        provider_type: provider_type_of(stored, &provider),
        provider,
        tool,
        status: if !known {
            UNKNOWN.into()
        } else if error.is_some() {
            "failed".into()
        } else {
            "succeeded".into()
        },
        seconds: json::number(&meta["time_cost"]).filter(|seconds| is_last && *seconds >= 0.0),
        error: error.map(Into::into),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dify::catalog::GraphTool;
    use crate::dify::facts::tests::node;
    use crate::dify::records::Cuts;
    use crate::dify::time::Micros;

    fn thought(tool: &str, meta: &str) -> Thought {
        Thought {
            id: Uuid::nil(),
            message_id: Uuid::nil(),
            position: 1,
            tool: Some(tool.into()),
            tool_meta: Some(meta.into()),
            message_tokens: 1,
            answer_tokens: 1,
            total_price: None,
            currency: None,
            thought: None,
            observation: None,
            tool_input: None,
            created_at: Micros(0),
            cuts: Cuts::default(),
        }
    }

    fn graph_tool(provider_type: &str, provider: &str, name: &str) -> GraphNode {
        let tool = GraphTool { provider_type: Some(provider_type.into()), provider: Some(provider.into()), name: name.into() };
        GraphNode { tool: Some(tool), ..GraphNode::default() }
    }

    fn short(call: &ToolCall) -> (&str, &str, &str, &str) {
        (&call.provider_type, &call.provider, &call.tool, &call.status)
    }

    #[test]
    fn a_plugin_tool_is_known_by_its_slashes_and_named_by_the_canvas() {
        let mut tool = node("tool", "succeeded");
        tool.execution_metadata = Some(r#"{"tool_info": {"provider_type": "builtin", "provider_id": "demo/shop/shop"}}"#.into());
        let graph = graph_tool("builtin", "demo/shop/shop", "stock_lookup");
        let call = tool_call(&tool, &"succeeded".into(), Some(&graph)).unwrap();
        assert_eq!(short(&call), ("plugin", "demo/shop/shop", "stock_lookup", "succeeded"));
        assert_eq!(call.seconds, Some(1.5));
        assert_eq!(short(&tool_call(&tool, &"succeeded".into(), None).unwrap()).2, "unknown");
    }

    #[test]
    fn a_workflow_tool_has_the_name_of_its_provider_and_not_its_id() {
        let mut tool = node("tool", "failed");
        tool.execution_metadata =
            Some(r#"{"tool_info": {"provider_type": "workflow", "provider_id": "c3953c93-0dc5-4d94-9c49-76d2b69d7b4c"}}"#.into());
        let call = tool_call(&tool, &"failed".into(), Some(&graph_tool("workflow", "ask_shop", "ask_shop"))).unwrap();
        assert_eq!(short(&call), ("workflow", "ask_shop", "ask_shop", "failed"));
    }

    #[test]
    fn a_tool_without_metadata_is_known_by_the_canvas() {
        let call = tool_call(&node("tool", "failed"), &"failed".into(), Some(&graph_tool("builtin", "time", "current_time"))).unwrap();
        assert_eq!(short(&call), ("builtin", "time", "current_time", "failed"));
        assert_eq!(tool_call(&node("llm", "failed"), &"failed".into(), None), None);
    }

    #[test]
    fn calls_of_an_agents_round_have_their_results() {
        let meta = r#"{"current_time": {"time_cost": 0.000131, "error": null, "tool_config": {"tool_name": "current_time", "tool_provider": "time", "tool_provider_type": "builtin"}},
            "broken_lookup": {"time_cost": 0.2, "error": "it broke", "tool_config": {"tool_provider": "demo/shop/shop", "tool_provider_type": "plugin"}}}"#;
        let calls = thought_tool_calls(&thought("current_time;broken_lookup;nosuch", meta));
        assert_eq!(short(&calls[0]), ("builtin", "time", "current_time", "succeeded"));
        assert_eq!(short(&calls[1]), ("plugin", "demo/shop/shop", "broken_lookup", "failed"));
        assert_eq!(short(&calls[2]), ("unknown", "unknown", "unknown", "unknown"));
        assert_eq!(calls[0].seconds, Some(0.000131));
    }

    #[test]
    fn the_same_tool_twice_is_two_calls_with_one_result() {
        let meta = r#"{"stock_lookup": {"time_cost": 0.2, "error": null, "tool_config": {"tool_provider": "demo/shop/shop", "tool_provider_type": "plugin"}}}"#;
        let calls = thought_tool_calls(&thought("stock_lookup;stock_lookup", meta));
        assert_eq!(short(&calls[0]), ("plugin", "demo/shop/shop", "stock_lookup", "unknown"));
        assert_eq!(short(&calls[1]), ("plugin", "demo/shop/shop", "stock_lookup", "succeeded"));
        assert_eq!((calls[0].seconds, calls[1].seconds), (None, Some(0.2)));
    }

    #[test]
    fn a_data_set_as_a_tool_is_one_tool_of_many_providers() {
        let meta = r#"{"dataset_63d557f6_22b2_40de_8e27_05822f89caf2": {"time_cost": 0.05, "error": null, "tool_config": {"tool_provider": "", "tool_provider_type": "dataset-retrieval"}}}"#;
        let calls = thought_tool_calls(&thought("dataset_63d557f6_22b2_40de_8e27_05822f89caf2", meta));
        assert_eq!(short(&calls[0]), ("dataset-retrieval", "63d557f6-22b2-40de-8e27-05822f89caf2", "dataset", "succeeded"));
    }

    #[test]
    fn a_round_without_tools_has_no_calls() {
        assert!(thought_tool_calls(&thought("", "{}")).is_empty());
    }

    #[test]
    fn an_agent_nodes_log_has_calls() {
        let mut agent = node("agent", "succeeded");
        agent.inputs = Some(r#"{"tools": [{"tool_name": "current_time"}]}"#.into());
        agent.execution_metadata = Some(
            r#"{"agent_log": [{"id": "r", "label": "ROUND 1", "parent_id": null, "metadata": {}},
            {"id": "c", "label": "CALL current_time", "parent_id": "r", "error": "boom", "status": "error", "metadata": {"elapsed_time": 0.05, "provider": "time"}},
            {"id": "d", "label": "CALL who@example.com", "parent_id": "r", "error": null, "status": "success", "metadata": {}}]}"#
                .into(),
        );
        let calls = agent_tool_calls(&agent);
        assert_eq!(short(&calls[0]), ("builtin", "time", "current_time", "failed"));
        assert_eq!(short(&calls[1]), ("unknown", "unknown", "unknown", "succeeded"));
    }
}
