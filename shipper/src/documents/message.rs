//! Messages: a question, its answer, and what went before.

use dify_observe_core::dify::error_type::{ErrorContext, classify};
use dify_observe_core::dify::facts;
use dify_observe_core::dify::follow::Closed;
use dify_observe_core::dify::json;
use dify_observe_core::dify::outcome::ABANDONED;
use dify_observe_core::dify::records::{Message, Thought, Value, Word};
use rust_decimal::prelude::ToPrimitive as _;
use serde_json::Value as Json;

use super::parts::{ErrorPart, MessagePart, PreviousPart, finite};
use super::scene::{Base, Identity, Scene, event, span};
use super::{errors, model, retrieval, revision, tool};
use crate::document::{Document, Kind};
use dify_observe_core::dify::lookups::Turn;

/// A message is final.
pub(super) fn closed(scene: Scene<'_>, message: &Message, thoughts: &[Thought], closed: Closed, out: &mut Vec<Document>) {
    let base = scene.of_message(message);
    let abandoned = closed == Closed::Abandoned && !message.is_filled();
    let status: Word = if abandoned { ABANDONED.into() } else { message.status.clone() };
    if (scene.wanted)(Kind::Message) {
        write(scene, &base, message, thoughts, closed, &status, out);
    }
    if (scene.wanted)(Kind::ToolCall) {
        tool::of_message(scene, &base, message, thoughts, out);
    }
    if (scene.wanted)(Kind::Retrieval) {
        retrieval::of_message(scene, &base, message, &status, out);
    }
}

/// What documents of a message and of a feedback to it say about it.
pub(super) fn part(scene: Scene<'_>, base: &Base<'_>, message: &Message) -> MessagePart {
    let citations = retrieval::resources(message).len() as u64;
    MessagePart {
        query: scene.text(base, message.query.as_deref(), message.cuts.has(Value::Query)),
        answer: scene.text(base, message.answer.as_deref(), message.cuts.has(Value::Answer)),
        turn: scene.lookups.turn(message.id).map(|turn| turn.number),
        input_tokens: Some(message.message_tokens),
        output_tokens: Some(message.answer_tokens),
        cost: message.total_price.and_then(|price| price.to_f64()),
        currency: message.total_price.is_some().then(|| message.currency.clone()),
        from_source: Some(message.from_source.clone()),
        retrieval: (citations > 0).then_some("hit"),
        citations: (citations > 0).then_some(citations),
        ..MessagePart::default()
    }
}

/// A failed message's error.
pub(super) fn error(scene: Scene<'_>, base: &Base<'_>, message: &Message) -> Option<ErrorPart> {
    let text = scene.error(base, message.error.as_deref(), message.cuts.has(Value::Error));
    if &*message.status != "error" {
        return text.map(errors::mention);
    }
    let error_type = classify(message.error.as_deref().unwrap_or_default(), ErrorContext::default());
    Some(errors::failure(error_type, text))
}

fn write(
    scene: Scene<'_>,
    base: &Base<'_>,
    message: &Message,
    thoughts: &[Thought],
    closed: Closed,
    status: &Word,
    out: &mut Vec<Document>,
) {
    let mut source = base.source.clone();
    // A message without an answer has a latency of 0, which nobody measured.
    let seconds = (message.response_seconds > 0.0).then_some(message.response_seconds);
    source.span = Some(span(message.id));
    source.event = Some(event(outcome(status), seconds, Some(message.created_at), None));
    source.error = error(scene, base, message);
    if let Some(usage) = facts::message_model_uses(message, thoughts, closed) {
        model::of_message(message, &usage, &mut source);
    }
    let mut part = part(scene, base, message);
    own(scene, message, &mut part);
    if let Some(dify) = source.dify.as_mut() {
        dify.status = Some(status.clone());
        dify.inputs = scene.json(base, message.inputs.as_deref(), message.cuts.has(Value::Inputs));
        dify.message = Some(Box::new(part));
    }
    let identity = Identity {
        kind: Kind::Message,
        id: message.id.hyphenated().to_string(),
        revision: revision::of_message(message),
        time: message.created_at,
    };
    base.write(source, identity, out);
}

/// What only the message's own document says.
fn own(scene: Scene<'_>, message: &Message, part: &mut MessagePart) {
    let metadata = message.metadata.as_deref().map(|text| json::pick(text, &["annotation_reply", "usage"])).unwrap_or_default();
    let annotated = metadata.get("annotation_reply").is_some_and(Json::is_object);
    part.parent_id = message.parent_message_id;
    part.agent_based = Some(message.agent_based);
    part.annotation_reply = annotated.then_some(true);
    part.first_token_seconds = metadata.get("usage").and_then(|usage| json::number(&usage["time_to_first_token"])).and_then(finite);
    part.previous = scene.lookups.turn(message.id).and_then(previous);
}

fn previous(turn: &Turn) -> Option<PreviousPart> {
    let previous = turn.previous.as_ref()?;
    Some(PreviousPart {
        message_id: Some(previous.message_id),
        status: Some(previous.status.clone()),
        retrieval: previous.retrieval_missed.map(|missed| if missed { "miss" } else { "hit" }),
        feedback: previous.feedback.clone(),
    })
}

fn outcome(status: &str) -> &'static str {
    match status {
        "normal" => "success",
        "error" => "failure",
        _ => "unknown",
    }
}
