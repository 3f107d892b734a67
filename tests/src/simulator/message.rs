//! Conversations and messages: what every chat-like app writes before and after its answer.

use rust_decimal::{Decimal, RoundingStrategy};
use uuid::Uuid;

use super::{
    feedback,
    json::{Json, object},
    model::{Model, Usage},
    plan::AppKind,
    shapes,
    story::{Caller, Story},
    value::{MILLISECOND, Micros, Row, SECOND, Statement, Value, row},
    world::App,
};

pub(crate) const TABLE: &str = "messages";

/// A conversation that can go on.
#[derive(Debug, Clone)]
pub struct Thread {
    /// `conversations.id`.
    pub(crate) id: Uuid,
    pub(crate) caller: Caller,
    pub(crate) last_message: Uuid,
    /// Not before this moment does the user write again.
    pub(crate) free_at: Micros,
}

/// A message in the making.
pub(crate) struct Message {
    pub(crate) id: Uuid,
    pub(crate) conversation: Uuid,
    pub(crate) at: Micros,
    new_conversation: bool,
}

/// What the final update of a message says.
pub(crate) struct Filled {
    pub(crate) answer: String,
    pub(crate) message: Json,
    pub(crate) usage: Option<Usage>,
    pub(crate) tokens: (i64, i64),
    pub(crate) price: Decimal,
    pub(crate) currency: &'static str,
    pub(crate) metadata: String,
    pub(crate) latency: Micros,
}

/// What a call asks.
pub(crate) struct Ask<'a> {
    pub(crate) app: &'a App,
    pub(crate) at: Micros,
    pub(crate) caller: &'a Caller,
    pub(crate) category: &'a str,
    pub(crate) question: &'a str,
    pub(crate) thread: Option<&'a Thread>,
}

/// The model of a chat-like app; chatflows have none of their own.
pub(crate) fn model_of(app: &App) -> Option<Model> {
    match app.kind {
        AppKind::Chat { model, .. } => Some(model),
        AppKind::Completion | AppKind::AgentChat => Some(super::model::GPT_MINI),
        AppKind::Workflow(_) | AppKind::Chatflow(_) => None,
    }
}

/// Conversation and message are inserted in one transaction, before anything is computed.
pub(crate) fn begin(story: &mut Story<'_>, ask: &Ask<'_>) -> Message {
    let id = story.dice.uuid();
    let conversation = ask.thread.map_or_else(|| story.dice.uuid(), |thread| thread.id);
    let mut statements = Vec::new();
    if ask.thread.is_none() {
        statements.push(Statement::Insert { table: "conversations", row: conversation_row(story, ask, conversation) });
    }
    statements.push(Statement::Insert { table: TABLE, row: message_row(story, ask, id, conversation) });
    let at = ask.at + story.dice.between(3, 40) * MILLISECOND;
    story.commit(at, statements);
    Message { id, conversation, at: ask.at, new_conversation: ask.thread.is_none() }
}

fn inputs(ask: &Ask<'_>) -> Json {
    let inputs = object! { "category" => ask.category };
    if ask.app.kind == AppKind::Completion { inputs.with("query", ask.question) } else { inputs }
}

fn source(caller: &Caller) -> &'static str {
    if caller.is_account() { "console" } else { "api" }
}

fn conversation_row(story: &Story<'_>, ask: &Ask<'_>, id: Uuid) -> Row {
    let (app, caller, model) = (ask.app, ask.caller, model_of(ask.app));
    row! {
        "id" => id, "app_id" => app.id, "app_model_config_id" => model.map(|_| app.model_config),
        "model_provider" => model.map(|model| model.provider), "override_model_configs" => Value::Null,
        "model_id" => model.map(|model| model.name), "mode" => app.mode(), "name" => "New conversation",
        "inputs" => &inputs(ask), "introduction" => "", "system_instruction" => "", "system_instruction_tokens" => 0,
        "status" => "normal", "from_source" => source(caller), "from_end_user_id" => caller.end_user(),
        "from_account_id" => caller.account(), "created_at" => story.rounded(ask.at), "updated_at" => story.rounded(ask.at),
        "is_deleted" => false, "invoke_from" => caller.invoke_from, "dialogue_count" => 0,
    }
}

fn message_row(story: &Story<'_>, ask: &Ask<'_>, id: Uuid, conversation: Uuid) -> Row {
    let (app, caller, model) = (ask.app, ask.caller, model_of(ask.app));
    let completion = app.kind == AppKind::Completion;
    let parent = ask.thread.map_or(Uuid::nil(), |thread| thread.last_message);
    row! {
        "id" => id, "app_id" => app.id, "model_provider" => model.map(|model| model.provider), "model_id" => model.map(|model| model.name),
        "conversation_id" => conversation, "inputs" => &inputs(ask), "query" => if completion { "" } else { ask.question },
        "message" => "\"\"", "message_tokens" => 0, "message_unit_price" => Decimal::ZERO, "answer" => "", "answer_tokens" => 0,
        "answer_unit_price" => Decimal::ZERO, "provider_response_latency" => 0.0, "total_price" => Decimal::ZERO, "currency" => "USD",
        "from_source" => source(caller), "from_end_user_id" => caller.end_user(), "from_account_id" => caller.account(),
        "created_at" => story.rounded(ask.at), "updated_at" => story.rounded(ask.at), "agent_based" => app.kind == AppKind::AgentChat,
        "message_price_unit" => Decimal::ZERO, "answer_price_unit" => Decimal::ZERO, "workflow_run_id" => Value::Null, "status" => "normal",
        "error" => Value::Null, "message_metadata" => Value::Null, "invoke_from" => caller.invoke_from,
        "parent_message_id" => (!completion).then_some(parent), "app_mode" => app.mode(),
    }
}

/// `numeric(10, 4)`: a unit price of 0.00015 is stored as 0.0002.
fn stored_unit(price: Decimal) -> Decimal {
    let mut stored = price.round_dp_with_strategy(4, RoundingStrategy::MidpointAwayFromZero);
    stored.rescale(4);
    stored
}

/// The final update of a message that was answered.
pub(crate) fn fill(story: &mut Story<'_>, message: &Message, filled: &Filled, at: Micros) {
    let mut set = row! {
        "answer" => filled.answer.as_str(), "message_tokens" => filled.tokens.0, "answer_tokens" => filled.tokens.1,
        "total_price" => filled.price, "currency" => filled.currency, "message_metadata" => filled.metadata.as_str(),
        "provider_response_latency" => filled.latency as f64 / 1e6, "status" => "normal",
    };
    if filled.message != Json::Null {
        set.push(("message", Value::from(&filled.message)));
    }
    if let Some(usage) = &filled.usage {
        set.push(("message_unit_price", stored_unit(usage.model.prompt_unit()).into()));
        set.push(("answer_unit_price", stored_unit(usage.model.completion_unit()).into()));
        set.push(("message_price_unit", Decimal::new(10_000, 7).into()));
        set.push(("answer_price_unit", Decimal::new(10_000, 7).into()));
    }
    if story.profile.message_updated_at {
        set.push(("updated_at", story.host(at).into()));
    }
    story.update(at, TABLE, message.id, set);
}

/// The update of a message that failed; tokens, price and latency stay 0.
pub(crate) fn fail(story: &mut Story<'_>, message: &Message, error: &str, at: Micros) {
    story.update(at, TABLE, message.id, row! { "status" => "error", "error" => error });
}

/// What follows an answer: the conversation gets a name, perhaps the user rates the answer; and the thread may go on.
pub(crate) fn after(story: &mut Story<'_>, ask: &Ask<'_>, message: &Message, at: Micros) -> Thread {
    if message.new_conversation {
        let title = if story.dice.chance(0.3) { ask.question.to_owned() } else { format!("Shop question {}", story.dice.between(1, 99)) };
        story.update(at + 400 * MILLISECOND, "conversations", message.conversation, row! { "name" => title });
    } else {
        let set = row! { "updated_at" => story.host(at) };
        story.update(at + 10 * MILLISECOND, "conversations", message.conversation, set);
    }
    if story.dice.chance(story.options.faults.feedback) {
        feedback::tell(story, ask, message, at);
    }
    Thread {
        id: message.conversation,
        caller: ask.caller.clone(),
        last_message: message.id,
        free_at: at + story.dice.between(1, 60) * SECOND,
    }
}

/// Message metadata as pydantic writes it.
pub(crate) fn metadata(resources: Vec<Json>, usage: Json, annotation: Option<Json>) -> Json {
    object! { "annotation_reply" => annotation, "retriever_resources" => resources, "usage" => usage }
}

/// Citations of a chat with knowledge; none is a miss, or no retrieval at all.
pub(crate) fn citations(story: &mut Story<'_>, from: &str) -> Vec<Json> {
    if story.dice.chance(story.options.faults.retrieval_miss) {
        return Vec::new();
    }
    let dataset = &story.world.datasets[story.dice.between(0, story.world.datasets.len() as i64 - 1) as usize];
    let hits = story.dice.between(1, 4);
    (0..hits).map(|position| shapes::citation(&mut story.dice, dataset, position + 1, from)).collect()
}
