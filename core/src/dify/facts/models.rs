//! Which models were called, how often, for how many tokens and how much money.

use rust_decimal::Decimal;
use serde_json::Value;

use super::{UNKNOWN, picked, retry_history, word};
use crate::dify::catalog::GraphNode;
use crate::dify::follow::Closed;
use crate::dify::json;
use crate::dify::records::{Message, Node, Thought, Word};

/// What a node or a message used of one model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelUse {
    /// For example `langgenius/openai/openai`; `unknown` where no row says it
    pub provider: Word,
    /// For example `gpt-4o-mini`; `unknown` where no row says it
    pub model: Word,
    /// One for each request that rows show.
    pub calls: Vec<Call>,
    /// Input tokens.
    pub prompt_tokens: u64,
    /// Output tokens.
    pub completion_tokens: u64,
    /// Tokens of which only the sum is stored.
    pub unsplit_tokens: u64,
    /// Money, in `currency`.
    pub price: Option<Decimal>,
    /// For example USD; `unknown` where no row says it
    pub currency: Word,
}

/// One request to a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// `succeeded`, `failed`, `retry` (an attempt that failed and was made again), or the settled status of its node.
    pub status: Word,
    /// How long the model took, where it is known.
    pub seconds: Option<f64>,
    /// Seconds until the first token, where Dify stores it (1.10 and newer, streamed).
    pub first_token_seconds: Option<f64>,
    /// Input and output tokens of this request, where they are known and not zero.
    pub tokens: Option<(u64, u64)>,
}

impl ModelUse {
    /// All tokens.
    pub fn total_tokens(&self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens).saturating_add(self.unsplit_tokens)
    }
}

#[derive(Default)]
struct Usage {
    prompt: u64,
    completion: u64,
    total: u64,
    price: Option<Decimal>,
    currency: Option<Word>,
    latency: Option<f64>,
    first_token: Option<f64>,
}

impl Usage {
    fn read(value: &Value) -> Usage {
        let count = |key: &str| json::count(&value[key]).unwrap_or(0);
        Usage {
            prompt: count("prompt_tokens"),
            completion: count("completion_tokens"),
            total: count("total_tokens"),
            price: json::decimal(&value["total_price"]),
            currency: word(value.get("currency")),
            latency: json::number(&value["latency"]).filter(|seconds| *seconds >= 0.0),
            first_token: json::number(&value["time_to_first_token"]).filter(|seconds| *seconds >= 0.0),
        }
    }
}

/// What a node used of a model; `None` for nodes that used none.
///
/// `status` is the settled one. Iterations and loops repeat their children, and a workflow used as a tool the run that it
/// started: both have no use of their own. A node of another type that cost tokens (a tool that called a model, the query
/// rewriting of a knowledge retrieval) has a use without calls.
pub fn model_use(node: &Node, status: &Word, graph: Option<&GraphNode>) -> Option<ModelUse> {
    if super::is_container(node) {
        return None;
    }
    let metadata = picked(node.execution_metadata.as_deref(), &["total_tokens", "total_price", "currency", "tool_info", "agent_log"]);
    if &*node.node_type == "tool" && metadata.get("tool_info").is_some_and(|info| info["provider_type"] == "workflow") {
        return None;
    }
    let is_model = matches!(&*node.node_type, "llm" | "question-classifier" | "parameter-extractor" | "agent");
    let data = picked(node.process_data.as_deref(), &["usage", "model_provider", "model_name"]);
    let usage = node_usage(node, &data);
    let total = metadata.get("total_tokens").and_then(json::count).unwrap_or(usage.total).max(usage.prompt + usage.completion);
    let price = metadata.get("total_price").and_then(json::decimal).or(usage.price);
    if !is_model && total == 0 && price.is_none_or(|price| price.is_zero()) {
        return None;
    }
    let (provider, model) = names(node, &data, graph);
    let calls = match &*node.node_type {
        "agent" => agent_calls(node, status, metadata.get("agent_log")),
        _ if is_model => node_calls(node, status, &usage),
        _ => Vec::new(),
    };
    Some(ModelUse {
        provider,
        model,
        calls,
        prompt_tokens: usage.prompt,
        completion_tokens: usage.completion,
        unsplit_tokens: total - usage.prompt - usage.completion,
        price,
        currency: word(metadata.get("currency")).or(usage.currency).unwrap_or_else(|| UNKNOWN.into()),
    })
}

/// Usage stands in `process_data`, or, where that was truncated, in `outputs`.
fn node_usage(node: &Node, data: &serde_json::Map<String, Value>) -> Usage {
    if let Some(usage) = data.get("usage").filter(|usage| usage.as_object().is_some_and(|usage| !usage.is_empty())) {
        return Usage::read(usage);
    }
    let key = if &*node.node_type == "parameter-extractor" { "__usage" } else { "usage" };
    picked(node.outputs.as_deref(), &[key]).get(key).map(Usage::read).unwrap_or_default()
}

/// The row names the model only when it succeeded; an agent's inputs name it, unless they were lost with the failure.
fn names(node: &Node, data: &serde_json::Map<String, Value>, graph: Option<&GraphNode>) -> (Word, Word) {
    if let (Some(provider), Some(model)) = (word(data.get("model_provider")), word(data.get("model_name"))) {
        return (provider, model);
    }
    if &*node.node_type == "agent" {
        let inputs = picked(node.inputs.as_deref(), &["model"]);
        let model = inputs.get("model").unwrap_or(&Value::Null);
        if let (Some(provider), Some(model)) = (word(model.get("provider")), word(model.get("model"))) {
            return (provider, model);
        }
    }
    match graph.and_then(|graph| graph.model.as_ref()) {
        Some(model) => (model.provider.clone(), model.name.clone()),
        None => (UNKNOWN.into(), UNKNOWN.into()),
    }
}

fn node_calls(node: &Node, status: &Word, usage: &Usage) -> Vec<Call> {
    let history = retry_history(node);
    let ran_to_end = matches!(&**status, "succeeded" | "failed" | "exception" | "retry");
    // With attempts inside, the row's time is that of all of them and of the waits between.
    let elapsed = (ran_to_end && history.is_empty()).then_some(node.elapsed_seconds);
    let last = Call {
        status: status.clone(),
        seconds: usage.latency.filter(|_| &**status == "succeeded").or(elapsed),
        first_token_seconds: usage.first_token,
        tokens: (usage.prompt + usage.completion > 0).then_some((usage.prompt, usage.completion)),
    };
    let attempts = history.into_iter().map(|attempt| Call {
        status: "retry".into(),
        seconds: attempt.seconds,
        first_token_seconds: None,
        tokens: None,
    });
    attempts.chain([last]).collect()
}

/// The rounds of an agent's log; the model's own part of a round is the child that thinks. Without a log, one request.
fn agent_calls(node: &Node, status: &Word, log: Option<&Value>) -> Vec<Call> {
    let entries = log.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let rounds: Vec<&Value> = entries.iter().filter(|entry| json::text(&entry["parent_id"]).is_none()).collect();
    if rounds.is_empty() {
        let seconds = matches!(&**status, "succeeded" | "failed" | "exception" | "retry").then_some(node.elapsed_seconds);
        return vec![Call { status: status.clone(), seconds, first_token_seconds: None, tokens: None }];
    }
    let call = |round: &Value| {
        let id = entry_id(round);
        let thinks = |entry: &&Value| {
            json::text(&entry["parent_id"]) == id && entry["label"].as_str().is_some_and(|label| label.ends_with("Thought"))
        };
        let thought = entries.iter().find(thinks).filter(|_| id.is_some()).unwrap_or(round);
        let failed = thought["status"] == "error" || json::text(&thought["error"]).is_some();
        Call {
            status: if failed { "failed".into() } else { "succeeded".into() },
            seconds: json::number(&thought["metadata"]["elapsed_time"]).filter(|seconds| *seconds >= 0.0),
            first_token_seconds: None,
            tokens: None,
        }
    };
    rounds.into_iter().map(call).collect()
}

fn entry_id(entry: &Value) -> Option<&str> {
    json::text(&entry["message_id"]).or_else(|| json::text(&entry["id"]))
}

/// What a chat, completion or agent message used of its model. A chatflow's message used none: its nodes did, and what the
/// message repeats of them is doubled or missing in some versions. Neither did an answer out of the annotations.
pub fn message_model_uses(message: &Message, thoughts: &[Thought], closed: Closed) -> Option<ModelUse> {
    let chatflow = message.workflow_run_id.is_some() || message.app_mode.as_deref().is_some_and(|mode| mode == "advanced-chat");
    if chatflow || (message.model_provider.is_none() && thoughts.is_empty()) || (thoughts.is_empty() && is_annotation_reply(message)) {
        return None;
    }
    let status: Word = match (&*message.status, closed) {
        ("error", _) => "failed".into(),
        (_, Closed::Abandoned) if !message.is_filled() => "abandoned".into(),
        _ => "succeeded".into(),
    };
    let sum = |tokens: fn(&Thought) -> i64| thoughts.iter().map(|thought| natural(tokens(thought))).sum::<u64>();
    let (prompt, completion) = (sum(|thought| thought.message_tokens), sum(|thought| thought.answer_tokens));
    // A message that failed or was stopped half way stores no tokens, while the rounds before it do.
    let by_thoughts = prompt + completion > 0;
    let (prompt, completion) =
        if by_thoughts { (prompt, completion) } else { (natural(message.message_tokens), natural(message.answer_tokens)) };
    let price = match by_thoughts {
        true => Some(thoughts.iter().filter_map(|thought| thought.total_price).sum()),
        false => message.total_price,
    };
    let currency = thoughts.iter().filter(|_| by_thoughts).find_map(|thought| thought.currency.clone());
    Some(ModelUse {
        provider: message.model_provider.clone().unwrap_or_else(|| UNKNOWN.into()),
        model: message.model_id.clone().unwrap_or_else(|| UNKNOWN.into()),
        calls: if thoughts.is_empty() { vec![message_call(message, status, prompt, completion)] } else { thought_calls(thoughts, &status) },
        prompt_tokens: prompt,
        completion_tokens: completion,
        unsplit_tokens: 0,
        price,
        currency: currency.unwrap_or_else(|| message.currency.clone()),
    })
}

/// Dify stores no latency of the model; for a chat or completion it is nearly all of the answer's.
fn message_call(message: &Message, status: Word, prompt: u64, completion: u64) -> Call {
    let seconds = (&*status == "succeeded" && message.response_seconds > 0.0).then_some(message.response_seconds);
    Call { status, seconds, first_token_seconds: None, tokens: (prompt + completion > 0).then_some((prompt, completion)) }
}

/// One request for each thought; all but the last were answered, or there would be no next one.
fn thought_calls(thoughts: &[Thought], status: &Word) -> Vec<Call> {
    let call = |(at, thought): (usize, &Thought)| {
        let (prompt, completion) = (natural(thought.message_tokens), natural(thought.answer_tokens));
        let status = if at + 1 == thoughts.len() && prompt + completion == 0 { status.clone() } else { "succeeded".into() };
        Call { status, seconds: None, first_token_seconds: None, tokens: (prompt + completion > 0).then_some((prompt, completion)) }
    };
    thoughts.iter().enumerate().map(call).collect()
}

fn is_annotation_reply(message: &Message) -> bool {
    let metadata = picked(message.metadata.as_deref(), &["annotation_reply"]);
    metadata.get("annotation_reply").is_some_and(|reply| reply.is_object())
}

fn natural(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests;
