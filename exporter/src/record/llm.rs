//! Model calls.

use dify_observe_core::dify::facts::{Call, ModelUse};
use dify_observe_core::dify::records::Word;

use super::streaks::{Scope, Verdict};
use super::subject::Subject;
use super::{Context, SideState};
use crate::catalogue;
use crate::store::Totals;

/// What a node or message used of a model.
pub(super) fn used(subject: &Subject, usage: &ModelUse, context: &Context<'_>, totals: &mut Totals, side: &mut SideState) {
    let (provider, model) = (&usage.provider, &usage.model);
    for (token_type, tokens) in
        [("prompt", usage.prompt_tokens), ("completion", usage.completion_tokens), ("unsplit", usage.unsplit_tokens)]
    {
        if tokens > 0 {
            let labels = subject.labels([provider.clone(), model.clone(), token_type.into()]);
            totals.add_with_exemplar(&catalogue::LLM_TOKENS, labels, tokens, subject.exemplar(tokens as f64));
        }
    }
    if let Some(price) = usage.price.filter(|_| usage.total_tokens() > 0 || usage.price.is_some_and(|price| !price.is_zero())) {
        totals.add_decimal(&catalogue::LLM_COST, subject.labels([provider.clone(), model.clone(), usage.currency.clone()]), price);
    }
    let name: Word = format!("{provider}/{model}").into();
    for call in &usage.calls {
        called(subject, usage, call, totals);
        side.streaks.tell(subject, Scope::Model, &name, Verdict::of_status(&call.status), context.streak_length, totals);
    }
}

fn called(subject: &Subject, usage: &ModelUse, call: &Call, totals: &mut Totals) {
    let labels = subject.labels([usage.provider.clone(), usage.model.clone(), call.status.clone()]);
    totals.add_with_exemplar(&catalogue::LLM_REQUESTS, &labels, 1, subject.exemplar(1.0));
    if let Some(seconds) = call.seconds {
        totals.observe(&catalogue::LLM_REQUEST_DURATION, &labels, seconds, subject.exemplar(seconds));
    }
    if let Some(seconds) = call.first_token_seconds {
        totals.observe(&catalogue::LLM_TIME_TO_FIRST_TOKEN, &labels, seconds, subject.exemplar(seconds));
    }
    if let Some((prompt, completion)) = call.tokens {
        let labels = subject.labels([usage.provider.clone(), usage.model.clone()]);
        totals.observe(&catalogue::LLM_PROMPT_TOKENS, &labels, prompt as f64, subject.exemplar(prompt as f64));
        totals.observe(&catalogue::LLM_COMPLETION_TOKENS, &labels, completion as f64, subject.exemplar(completion as f64));
    }
}
