//! Chatflows: a message around a workflow run, filled in after the run has ended.

use rust_decimal::Decimal;

use super::{
    json::Json,
    message::{self, Ask, Filled, Message, Thread},
    run::{self, Order, Outcome},
    story::Story,
    value::{MILLISECOND, Micros, SECOND, row},
};

/// The story of one message of a chatflow; gives the thread if the user can write again.
pub(crate) fn tell(story: &mut Story<'_>, ask: &Ask<'_>) -> Option<Thread> {
    let message = message::begin(story, ask);
    let debugging = ask.caller.is_account();
    let order = Order {
        app: ask.app,
        start: ask.at + 50 * MILLISECOND,
        caller: ask.caller.clone(),
        triggered_from: if debugging { "debugging" } else { "app-run" },
        category: ask.category.to_owned(),
        question: ask.question.to_owned(),
        conversation: Some(message.conversation),
        child: false,
    };
    let outcome = run::tell(story, &order);
    link(story, &message, &order, &outcome);
    if let Some(paused) = outcome.paused_at {
        story.update(paused + 5 * MILLISECOND, message::TABLE, message.id, row! { "status" => "paused" });
    }
    if outcome.hung_up {
        return None;
    }
    let at = filled_at(story, &outcome);
    match &outcome.error {
        Some(error) if outcome.status == Some("failed") => {
            message::fail(story, &message, &format!("Run failed: {error}"), at);
        }
        _ => {
            let filled = filled(story, &message, &outcome);
            message::fill(story, &message, &filled, at);
        }
    }
    Some(message::after(story, ask, &message, at))
}

/// The small update that names the run: at its start, or shortly before its end.
fn link(story: &mut Story<'_>, message: &Message, order: &Order<'_>, outcome: &Outcome) {
    let early = story.profile.old_engine || outcome.status.is_none() || story.dice.chance(0.5);
    let at = if early { order.start + 70 * MILLISECOND } else { outcome.end.max(order.start + 70 * MILLISECOND) };
    story.update(at, message::TABLE, message.id, row! { "workflow_run_id" => outcome.id });
}

/// Usually within a second of the run's end; sometimes much later.
fn filled_at(story: &mut Story<'_>, outcome: &Outcome) -> Micros {
    let late = if story.dice.chance(story.options.faults.late_message) {
        story.dice.between(SECOND, story.options.faults.late_message_by.max(SECOND))
    } else {
        story.dice.between(50, 1_000) * MILLISECOND
    };
    outcome.saved.max(outcome.end) + 100 * MILLISECOND + late
}

fn filled(story: &mut Story<'_>, message: &Message, outcome: &Outcome) -> Filled {
    // Some releases count containers twice or not at all; a lost stop leaves nothing to count.
    let repeat = story.profile.container_token_factor - 1;
    let (all, inner) = (&outcome.usage, &outcome.contained);
    let counted = i64::from(outcome.status.is_some());
    let tokens = (
        counted * (all.prompt_tokens + repeat * inner.prompt_tokens),
        counted * (all.completion_tokens + repeat * inner.completion_tokens),
    );
    let price = Decimal::from(counted) * (all.cost + Decimal::from(repeat) * inner.cost);
    let mut usage = all.last.clone();
    let shown = usage.as_mut().filter(|_| story.profile.message_usage).map(|usage| {
        usage.prompt_tokens = tokens.0;
        usage.completion_tokens = tokens.1;
        usage.latency = all.latency;
        usage.first_token = outcome.first_token;
        usage.json(story.profile)
    });
    let metadata = message::metadata(Vec::new(), shown.unwrap_or(Json::Null), None);
    Filled {
        answer: outcome.text.clone(),
        message: Json::Null,
        usage: all.last.clone(),
        tokens,
        price,
        currency: all.currency(),
        metadata: if story.profile.old_engine { metadata.compact() } else { metadata.dumps() },
        latency: outcome.end - message.at,
    }
}
