//! Messages, with what agent apps did for them.

use dify_observe_core::dify::error_type::{ErrorContext, classify};
use dify_observe_core::dify::facts::{self, UNKNOWN};
use dify_observe_core::dify::follow::{Closed, Kind};
use dify_observe_core::dify::outcome::ABANDONED;
use dify_observe_core::dify::records::{Message, Thought, Word};

use super::subject::Subject;
use super::{Context, SideState, llm, nodes};
use crate::catalogue;
use crate::store::Totals;

/// A message is final.
pub(super) fn closed(
    message: &Message,
    thoughts: &[Thought],
    closed: Closed,
    context: &Context<'_>,
    totals: &mut Totals,
    side: &mut SideState,
) {
    let subject = Subject::of_message(message, context);
    stored(&subject, message, closed, totals);
    nodes::unreadable(Kind::Message, facts::unreadable_message_values(message, thoughts), totals);
    if let Some(user) = message.from_end_user_id {
        side.users.seen(subject.app.id, user, message.created_at);
    }
    if message.starts_conversation {
        totals.add(&catalogue::CONVERSATIONS_STARTED, subject.labels([]), 1);
    }
    if let Some(usage) = facts::message_model_uses(message, thoughts, closed) {
        llm::used(&subject, &usage, context, totals, side);
    }
    for call in thoughts.iter().flat_map(facts::thought_tool_calls) {
        nodes::tool_called(&subject, &call, context, totals, side);
    }
    for retrieval in facts::message_retrievals(message) {
        nodes::retrieved(&subject, &retrieval, totals);
    }
}

/// The message's own columns, as stored. For a chatflow its tokens and money are those of its run's nodes, doubled or
/// missing in some versions: the `dify_llm_*` families have the right ones.
fn stored(subject: &Subject, message: &Message, closed: Closed, totals: &mut Totals) {
    let abandoned = closed == Closed::Abandoned && !message.is_filled();
    let status: Word = if abandoned { ABANDONED.into() } else { message.status.clone() };
    let mode = message.app_mode.clone().unwrap_or_else(|| subject.mode.clone());
    let invoke_from = message.invoke_from.clone().unwrap_or_else(|| UNKNOWN.into());
    let labels = |last: Word| subject.labels([mode.clone(), invoke_from.clone(), last]);

    totals.add_with_exemplar(&catalogue::MESSAGES, labels(status.clone()), 1, subject.exemplar(1.0));
    // A message without an answer has a latency of 0, which nobody measured.
    if message.response_seconds > 0.0 {
        let seconds = message.response_seconds;
        totals.observe(&catalogue::MESSAGE_RESPONSE, labels(status.clone()), seconds, subject.exemplar(seconds));
    }
    for (token_type, tokens) in [("prompt", message.message_tokens), ("completion", message.answer_tokens)] {
        totals.add(&catalogue::MESSAGE_TOKENS, labels(token_type.into()), u64::try_from(tokens).unwrap_or(0));
    }
    if let Some(price) = message.total_price {
        totals.add_decimal(&catalogue::MESSAGE_COST, labels(message.currency.clone()), price);
    }
    if &*message.status == "error" {
        let error_type = classify(message.error.as_deref().unwrap_or_default(), ErrorContext::default());
        let labels = subject.labels(["message".into(), error_type.as_str().into()]);
        totals.add_with_exemplar(&catalogue::ERRORS, labels, 1, subject.exemplar(1.0));
    }
}
