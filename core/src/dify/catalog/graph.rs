//! The few facts of a workflow's canvas that rows lack: which model, which tool, which data sets a node is set to.

use std::collections::HashMap;

use serde_json::Value;

use crate::dify::json;
use crate::dify::records::Word;

/// A node of the canvas, as far as measurements need it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GraphNode {
    /// `data.title`: the author's name for it
    pub title: Option<Word>,
    /// The model of an llm, question-classifier, parameter-extractor or agent node.
    pub model: Option<GraphModel>,
    /// The tool of a tool node.
    pub tool: Option<GraphTool>,
    /// `data.dataset_ids` of a knowledge-retrieval node
    pub dataset_ids: Vec<Word>,
    /// A model picks one of the data sets (`retrieval_mode` = single): the others are not asked.
    pub picks_one_dataset: bool,
}

/// A model as a node is set to it.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphModel {
    /// For example `langgenius/openai/openai`
    pub provider: Word,
    /// For example `gpt-4o-mini`
    pub name: Word,
}

/// A tool as a node is set to it.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphTool {
    /// `provider_type`: builtin, plugin, api, workflow, mcp
    pub provider_type: Option<Word>,
    /// `provider_name`, readable also where `provider_id` is a UUID
    pub provider: Option<Word>,
    /// `tool_name`
    pub name: Word,
}

/// The nodes of a `workflows.graph` that have something to tell, by node id.
pub fn parse_graph(text: &str) -> HashMap<Word, GraphNode> {
    let graph = json::pick(text, &["nodes"]);
    let nodes = graph.get("nodes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    nodes.iter().filter_map(|node| Some((Word::from(json::text(&node["id"])?), graph_node(&node["data"])?))).collect()
}

fn graph_node(data: &Value) -> Option<GraphNode> {
    let node_type = json::text(&data["type"])?;
    let mut node = GraphNode { title: word(&data["title"]), ..GraphNode::default() };
    match node_type {
        "llm" | "question-classifier" | "parameter-extractor" => node.model = model(&data["model"], "name"),
        "agent" => node.model = model(&data["agent_parameters"]["model"]["value"], "model"),
        "tool" => node.tool = tool(data),
        "knowledge-retrieval" => {
            node.dataset_ids = data["dataset_ids"].as_array().into_iter().flatten().filter_map(word).collect();
            node.picks_one_dataset = data["retrieval_mode"].as_str() == Some("single");
        }
        _ => {}
    }
    Some(node)
}

fn model(value: &Value, name: &str) -> Option<GraphModel> {
    Some(GraphModel { provider: word(&value["provider"])?, name: word(&value[name])? })
}

fn tool(data: &Value) -> Option<GraphTool> {
    let provider = word(&data["provider_name"]).or_else(|| word(&data["provider_id"]));
    Some(GraphTool { provider_type: word(&data["provider_type"]), provider, name: word(&data["tool_name"])? })
}

fn word(value: &Value) -> Option<Word> {
    json::text(value).map(Word::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_tools_and_data_sets_are_found() {
        let graph = parse_graph(
            r#"{"nodes": [
            {"id": "llm", "data": {"type": "llm", "title": "LLM", "model": {"name": "gpt-4o-mini", "provider": "langgenius/openai/openai"}}},
            {"id": "ag", "data": {"type": "agent", "agent_parameters": {"model": {"type": "constant", "value": {"model": "qwen-max", "provider": "langgenius/tongyi/tongyi"}}}}},
            {"id": "t2", "data": {"type": "tool", "provider_id": "c3953c93", "provider_name": "ask_shop", "provider_type": "workflow", "tool_name": "ask_shop"}},
            {"id": "kb", "data": {"type": "knowledge-retrieval", "dataset_ids": ["d1", "d2"], "retrieval_mode": "multiple"}},
            {"id": "note", "data": {}}, {"data": {"type": "llm"}}], "edges": [{"id": "e"#,
        );
        assert_eq!(graph.len(), 4);
        assert_eq!(graph["llm"].model.as_ref().map(|model| &*model.name), Some("gpt-4o-mini"));
        assert_eq!(graph["ag"].model.as_ref().map(|model| &*model.provider), Some("langgenius/tongyi/tongyi"));
        assert_eq!(graph["t2"].tool.as_ref().map(|tool| (&*tool.name, tool.provider.as_deref())), Some(("ask_shop", Some("ask_shop"))));
        assert_eq!(graph["kb"].dataset_ids.len(), 2);
    }

    #[test]
    fn no_graph_has_no_nodes() {
        assert!(parse_graph("").is_empty() && parse_graph("{\"nodes\": 3}").is_empty());
    }
}
