//! Values read out of the JSON columns: model and usage of a node, retrieval results, tool calls.
//!
//! Everything here is a pure function of rows (and of the canvas, for what a failed row lacks). What cannot be read is
//! absent, never an error: one bad value costs its own detail. docs/metrics-semantics.md has the definitions.

mod models;
mod retrievals;
mod tools;

use serde_json::{Map, Value};

use super::error_type::{ErrorContext, ErrorType, classify};
use super::json;
use super::records::{Message, Node, Thought, Word};

pub use models::{Call, ModelUse, message_model_uses, model_use};
pub use retrievals::{Retrieval, message_retrievals, node_retrievals};
pub use tools::{ToolCall, agent_tool_calls, thought_tool_calls, tool_call};

/// The label of what a row does not say.
pub const UNKNOWN: &str = "unknown";

/// Iterations and loops repeat the tokens and the money of their children, whose rows stand for themselves.
pub fn is_container(node: &Node) -> bool {
    super::outcome::is_container(node)
}

/// A failure that Dify stores as success: an HTTP request answered with anything but 2xx, a parameter extraction that did
/// not work out.
pub fn soft_failure(node: &Node) -> Option<ErrorType> {
    if &*node.status != "succeeded" {
        return None;
    }
    let outputs = node.outputs.as_deref()?;
    match &*node.node_type {
        "http-request" => {
            let outputs = json::pick(outputs, &["status_code"]);
            ErrorType::of_http_status(json::count(outputs.get("status_code")?)?)
        }
        "parameter-extractor" => {
            let outputs = json::pick(outputs, &["__is_success", "__reason", "__error"]);
            let success = outputs.get("__is_success")?;
            let failed = json::number(success) == Some(0.0) || success.as_bool() == Some(false);
            let reason = ["__error", "__reason"].iter().find_map(|key| outputs.get(*key).and_then(json::text)).unwrap_or_default();
            failed.then(|| classify(reason, ErrorContext { node_type: Some("parameter-extractor"), class: None }))
        }
        _ => None,
    }
}

/// How many of the JSON values that were fetched with a node are damaged or cut: what stood before the break is counted, what
/// came after it is not. The outputs of an HTTP request are fetched as far as the status code only, which comes first.
pub fn unreadable_node_values(node: &Node) -> u64 {
    let outputs = node.outputs.as_deref().filter(|_| &*node.node_type != "http-request");
    unreadable([node.execution_metadata.as_deref(), node.process_data.as_deref(), outputs, node.inputs.as_deref()])
}

/// The same for a message with its agent thoughts.
pub fn unreadable_message_values(message: &Message, thoughts: &[Thought]) -> u64 {
    unreadable([message.metadata.as_deref()].into_iter().chain(thoughts.iter().map(|thought| thought.tool_meta.as_deref())))
}

fn unreadable<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> u64 {
    values.into_iter().flatten().filter(|text| !text.trim().is_empty() && !json::is_complete(text)).count() as u64
}

/// A failed attempt that Dify kept inside the row of the node (1.16 and newer).
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// What it failed with.
    pub error: Option<String>,
    /// How long it took.
    pub seconds: Option<f64>,
}

/// The failed attempts inside a node's row. Dify up to 1.8.1 writes a row of its own for each (status `retry`); from 1.9 to
/// 1.15 failed attempts leave no trace that could be counted.
pub fn retry_history(node: &Node) -> Vec<Attempt> {
    const KEY: &str = "__dify_retry_history";
    let Some(data) = node.process_data.as_deref().filter(|data| data.contains(KEY)) else { return Vec::new() };
    let picked = json::pick(data, &[KEY]);
    let history = picked.get(KEY).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let attempt =
        |entry: &Value| Attempt { error: json::text(&entry["error"]).map(Into::into), seconds: json::number(&entry["elapsed_time"]) };
    history.iter().map(attempt).collect()
}

fn picked(text: Option<&str>, keys: &[&str]) -> Map<String, Value> {
    text.map(|text| json::pick(text, keys)).unwrap_or_default()
}

fn word(value: Option<&Value>) -> Option<Word> {
    value.and_then(json::text).map(Word::from)
}

#[cfg(test)]
pub(super) mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::dify::records::Cuts;
    use crate::dify::time::Micros;

    pub(in crate::dify) fn node(node_type: &str, status: &str) -> Node {
        Node {
            id: Uuid::nil(),
            index: 1,
            node_id: "n".into(),
            node_type: node_type.into(),
            title: "N".into(),
            predecessor_node_id: None,
            status: status.into(),
            error: None,
            elapsed_seconds: 1.5,
            created_at: Micros(0),
            finished_at: Some(Micros(1_500_000)),
            execution_metadata: None,
            process_data: None,
            outputs: None,
            inputs: None,
            cuts: Cuts::default(),
            row_version: 0,
        }
    }

    #[test]
    fn http_answers_other_than_2xx_are_soft_failures() {
        let mut http = node("http-request", "succeeded");
        for (outputs, expected) in [
            (r#"{"status_code": 200, "body": ""}"#, None),
            (r#"{"status_code": 404, "body": "{\"cut"#, Some(ErrorType::Http4xx)),
            (r#"{"status_code": 503}"#, Some(ErrorType::Http5xx)),
            (r#"{"status_code": 302}"#, Some(ErrorType::Other)),
            ("{}", None),
        ] {
            http.outputs = Some(outputs.into());
            assert_eq!(soft_failure(&http), expected, "{outputs}");
        }
        http.status = "exception".into();
        http.outputs = Some(r#"{"status_code": 0}"#.into());
        assert_eq!(soft_failure(&http), None);
    }

    #[test]
    fn a_parameter_extraction_without_success_is_one() {
        let mut extractor = node("parameter-extractor", "succeeded");
        extractor.outputs = Some(r#"{"__is_success": 0, "__reason": "Failed to extract result from function call"}"#.into());
        assert_eq!(soft_failure(&extractor), Some(ErrorType::Other));
        extractor.outputs = Some(r#"{"__is_success": 1, "__reason": null}"#.into());
        assert_eq!(soft_failure(&extractor), None);
    }

    #[test]
    fn values_that_are_damaged_or_cut_are_told_from_odd_ones() {
        let mut llm = node("llm", "succeeded");
        llm.execution_metadata = Some(r#"{"total_tokens": NaN}"#.into());
        llm.process_data = Some(String::new());
        llm.outputs = Some("null".into());
        assert_eq!(unreadable_node_values(&llm), 0, "not strict, empty, null: all of it is read");
        llm.process_data = Some(r#"{"usage": {"prompt_tokens": 3}, "prompts": [{"text": "cut he"#.into());
        llm.outputs = Some("no JSON".into());
        assert_eq!(unreadable_node_values(&llm), 2);
        let mut http = node("http-request", "succeeded");
        http.outputs = Some(r#"{"status_code": 200, "body": "the first 512 char"#.into());
        assert_eq!(unreadable_node_values(&http), 0, "no more of it was fetched");
    }

    #[test]
    fn attempts_kept_in_the_row_are_found() {
        let mut http = node("http-request", "succeeded");
        assert!(retry_history(&http).is_empty());
        http.process_data =
            Some(r#"{"request": "GET /", "__dify_retry_history": [{"retry_index": 1, "error": "timed out", "elapsed_time": 0.5}, {"error": null}]}"#.into());
        let attempts = retry_history(&http);
        assert_eq!(attempts.len(), 2);
        assert_eq!(attempts[0], Attempt { error: Some("timed out".into()), seconds: Some(0.5) });
    }
}
