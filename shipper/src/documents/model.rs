//! What was used of a model, by the names of OpenTelemetry's semantic conventions and by Dify's own.

use dify_observe_core::dify::facts::{ModelUse, UNKNOWN};
use dify_observe_core::dify::json;
use dify_observe_core::dify::records::{Message, Node, Word};
use rust_decimal::prelude::ToPrimitive as _;

use super::parts::{GenAi, ModelPart, Name, Request, Response, Source, TokenUsage, UsagePart, finite};

/// The part of a node that used a model.
pub(super) fn of_node(node: &Node, usage: &ModelUse, source: &mut Source) {
    let data = node.process_data.as_deref().map(|text| json::pick(text, &["model_mode", "finish_reason"])).unwrap_or_default();
    let finish = data.get("finish_reason").and_then(json::text).map(|reason| vec![Word::from(reason)]);
    let operation = match &*node.node_type {
        "agent" => "invoke_agent",
        _ if data.get("model_mode").and_then(json::text) == Some("completion") => "text_completion",
        _ => "chat",
    };
    fill(operation, usage, source);
    if let Some(gen_ai) = source.gen_ai.as_mut() {
        gen_ai.response = finish.map(|reasons| Response { finish_reasons: Some(reasons) });
        if usage.calls.is_empty() {
            gen_ai.operation = None;
        }
    }
    if let (Some(call), Some(model)) = (usage.calls.last(), source.dify.as_mut().and_then(|dify| dify.model.as_mut())) {
        // An agent's last round says little about its model as a whole.
        if &*node.node_type != "agent" {
            model.seconds = call.seconds.and_then(finite);
            model.first_token_seconds = call.first_token_seconds.and_then(finite);
        }
    }
}

/// The part of a chat, completion or agent message.
pub(super) fn of_message(message: &Message, usage: &ModelUse, source: &mut Source) {
    let operation = match message.app_mode.as_deref() {
        Some("completion") => "text_completion",
        _ if message.agent_based => "invoke_agent",
        _ => "chat",
    };
    fill(operation, usage, source);
}

/// Which model a rated message came from.
pub(super) fn named(provider: Option<&Word>, model: Option<&Word>, source: &mut Source) {
    let (Some(provider), Some(model)) = (provider, model) else { return };
    source.gen_ai = Some(names(provider, model));
    if let Some(dify) = source.dify.as_mut() {
        dify.model = Some(ModelPart { provider: Some(provider.clone()), ..ModelPart::default() });
    }
}

fn fill(operation: &'static str, usage: &ModelUse, source: &mut Source) {
    let mut gen_ai = names(&usage.provider, &usage.model);
    gen_ai.operation = Some(Name { name: Some(operation.into()) });
    // Where only the sum is stored, a zero for each half would be wrong.
    let split = usage.unsplit_tokens == 0 || usage.prompt_tokens + usage.completion_tokens > 0;
    gen_ai.usage = split.then_some(TokenUsage { input_tokens: Some(usage.prompt_tokens), output_tokens: Some(usage.completion_tokens) });
    if let Some(dify) = source.dify.as_mut() {
        gen_ai.conversation = dify.conversation_id.map(|id| super::parts::Id { id: Some(id.hyphenated().to_string()) });
        dify.model = Some(ModelPart { provider: Some(usage.provider.clone()), ..ModelPart::default() });
        dify.usage = Some(UsagePart {
            total_tokens: Some(usage.total_tokens()),
            cost: usage.price.and_then(|price| price.to_f64()),
            currency: usage.price.is_some().then(|| usage.currency.clone()),
            requests: Some(usage.calls.len() as u64),
        });
    }
    source.gen_ai = Some(gen_ai);
}

fn names(provider: &Word, model: &Word) -> GenAi {
    GenAi {
        provider: well_known(provider).map(|name| Name { name: Some(name.into()) }),
        request: Some(Request { model: Some(model.clone()) }),
        ..GenAi::default()
    }
}

/// The provider by its name in the semantic conventions: Dify's own is a plugin's path. One that has no name there keeps the last part of it.
fn well_known(provider: &str) -> Option<&str> {
    let name = provider.rsplit('/').next().filter(|name| *name != UNKNOWN && !name.is_empty())?;
    Some(match name {
        "azure_openai" => "azure.ai.openai",
        "bedrock" => "aws.bedrock",
        "gemini" | "google" => "gcp.gemini",
        "vertex_ai" => "gcp.vertex_ai",
        "mistralai" => "mistral_ai",
        "x" => "x_ai",
        "watsonx" => "ibm.watsonx.ai",
        other => other,
    })
}
