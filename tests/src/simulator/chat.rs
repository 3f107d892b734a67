//! Chat, text generation and agent apps: messages without a workflow run.

use rust_decimal::Decimal;

use super::{
    errors,
    json::{Json, object},
    message::{self, Ask, Filled, Message, Thread},
    model::{GPT_MINI, Model, Usage},
    plan::{AppKind, BROKEN, PETSTORE, STOCK, TIME, Tool, WEEKDAY},
    story::Story,
    texts,
    value::{MILLISECOND, Micros, Row, SECOND, Value, row},
};

/// How an answer goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Course {
    Answered,
    Failed,
    Stopped,
    /// The client hung up or the worker died: the message stays empty for ever.
    Lost,
    Annotated,
}

/// The story of one message; gives the thread if the user can write again.
pub(crate) fn tell(story: &mut Story<'_>, ask: &Ask<'_>) -> Option<Thread> {
    let message = message::begin(story, ask);
    let model = message::model_of(ask.app).unwrap_or(GPT_MINI);
    let course = course(story, ask);
    let (filled, end) = match ask.app.kind {
        AppKind::AgentChat if course != Course::Annotated => agent(story, ask, &message, model, course),
        _ => plain(story, ask, model, course),
    };
    match course {
        Course::Lost => return None,
        Course::Failed => {
            let error = errors::of_message(&errors::model(&mut story.dice, model).text);
            message::fail(story, &message, &error, end);
        }
        Course::Answered | Course::Stopped | Course::Annotated => message::fill(story, &message, &filled, end),
    }
    let thread = message::after(story, ask, &message, end);
    (ask.app.kind != AppKind::Completion).then_some(thread)
}

fn course(story: &mut Story<'_>, ask: &Ask<'_>) -> Course {
    let faults = &story.options.faults;
    if story.dice.chance(faults.message_failure) {
        Course::Failed
    } else if story.dice.chance(faults.user_stop) {
        Course::Stopped
    } else if story.dice.chance(faults.hang_up + faults.killed) {
        Course::Lost
    } else if matches!(ask.app.kind, AppKind::Chat { .. }) && story.dice.chance(0.02) {
        Course::Annotated
    } else {
        Course::Answered
    }
}

fn think(story: &mut Story<'_>, median_ms: i64) -> Micros {
    (story.dice.duration(median_ms) as f64 * story.options.time_scale) as Micros + MILLISECOND
}

fn plain(story: &mut Story<'_>, ask: &Ask<'_>, model: Model, course: Course) -> (Filled, Micros) {
    let took = think(story, 1_500);
    let usage = Usage::sample(&mut story.dice, model, took);
    let knowledge = matches!(ask.app.kind, AppKind::Chat { knowledge: true, .. });
    let resources = if knowledge { message::citations(story, "api") } else { Vec::new() };
    let annotation = (course == Course::Annotated).then(|| {
        object! { "id" => story.dice.uuid(), "account" => object! { "id" => story.world.account, "name" => "Admin" } }
    });
    let prompt = object! { "role" => "user", "text" => ask.question, "files" => Vec::<Json>::new() };
    // A stopped answer is stored without tokens: local counting is off.
    let counted = course == Course::Answered;
    let filled = Filled {
        answer: texts::answer(&mut story.dice, usage.completion_tokens),
        message: Json::List(vec![prompt]),
        tokens: if counted { (usage.prompt_tokens, usage.completion_tokens) } else { (0, 0) },
        price: if counted { usage.cost() } else { Decimal::ZERO },
        currency: if course == Course::Annotated { "USD" } else { model.currency },
        metadata: message::metadata(resources, Json::Null, annotation).compact(),
        latency: took,
        usage: (course != Course::Annotated).then_some(usage),
    };
    (filled, ask.at + took + 30 * MILLISECOND)
}

/// What a round of an agent calls; the same tool twice in one turn happens, and so do tools that do not exist.
const TURNS: [&[Tool]; 7] = [&[], &[TIME, WEEKDAY], &[STOCK], &[STOCK, STOCK], &[PETSTORE], &[BROKEN], &[STOCK, TIME]];

fn agent(story: &mut Story<'_>, ask: &Ask<'_>, message: &Message, model: Model, course: Course) -> (Filled, Micros) {
    let rounds = story.dice.between(1, 4);
    let mut at = ask.at + 60 * MILLISECOND;
    let mut total = (0, 0, Decimal::ZERO);
    let mut text = String::new();
    let mut last = None;
    for position in 1..=rounds {
        let id = story.dice.uuid();
        let broken_off = course != Course::Answered && position == rounds;
        story.insert(at, "message_agent_thoughts", empty_thought(story, ask, message, id, position, at));
        if broken_off {
            at += think(story, 400);
            break;
        }
        let took = think(story, 900);
        let usage = Usage::sample(&mut story.dice, model, took);
        at += took;
        // The last round, whose turn is the empty one, answers.
        let turn = TURNS[if position == rounds { 0 } else { story.dice.between(1, TURNS.len() as i64 - 1) as usize }];
        text = texts::answer(&mut story.dice, usage.completion_tokens);
        story.update(at, "message_agent_thoughts", id, thought(&usage, &text, turn));
        if !turn.is_empty() {
            let (set, busy) = tools_done(story, turn);
            at += busy;
            story.update(at, "message_agent_thoughts", id, set);
        }
        total = (total.0 + usage.prompt_tokens, total.1 + usage.completion_tokens, total.2 + usage.cost());
        last = Some(usage);
        at += 20 * MILLISECOND;
    }
    let answered = course == Course::Answered;
    let filled = Filled {
        answer: text,
        message: Json::List(vec![object! { "role" => "user", "text" => ask.question, "files" => Vec::<Json>::new() }]),
        usage: last,
        tokens: if answered { (total.0, total.1) } else { (0, 0) },
        price: if answered { total.2 } else { Decimal::ZERO },
        currency: model.currency,
        metadata: message::metadata(Vec::new(), Json::Null, None).compact(),
        latency: at - ask.at,
    };
    (filled, at + 30 * MILLISECOND)
}

fn empty_thought(story: &Story<'_>, ask: &Ask<'_>, message: &Message, id: uuid::Uuid, position: i64, at: Micros) -> Row {
    row! {
        "id" => id, "message_id" => message.id, "position" => position, "thought" => "", "tool" => "", "tool_input" => "",
        "observation" => "", "tool_process_data" => Value::Null, "message" => "", "message_token" => 0,
        "message_unit_price" => Decimal::ZERO, "answer" => "", "answer_token" => 0, "answer_unit_price" => Decimal::ZERO, "tokens" => 0,
        "total_price" => Decimal::ZERO, "currency" => "USD", "latency" => 0.0, "created_by_role" => "account",
        "created_by" => ask.caller.id, "created_at" => story.host(at), "message_price_unit" => Decimal::new(1, 3),
        "answer_price_unit" => Decimal::new(1, 3), "message_files" => "[]", "tool_labels_str" => "{}", "tool_meta_str" => "{}",
    }
}

fn thought(usage: &Usage, text: &str, turn: &[Tool]) -> Row {
    let names: Vec<&str> = turn.iter().map(|tool| tool.name).collect();
    let inputs = keyed(turn, |tool| {
        if tool.provider == "time" {
            object! { "timezone" => "UTC" }
        } else {
            object! { "q" => "P40" }
        }
    });
    let labels = keyed(turn, |tool| object! { "en_US" => tool.name, "zh_Hans" => tool.name });
    row! {
        "thought" => text, "answer" => text, "tool" => names.join(";"),
        "tool_input" => if turn.is_empty() { String::new() } else { inputs.dumps() }, "tool_labels_str" => &labels,
        "message_token" => usage.prompt_tokens, "answer_token" => usage.completion_tokens, "tokens" => usage.tokens(),
        "message_unit_price" => usage.model.prompt_unit(), "answer_unit_price" => usage.model.completion_unit(),
        "total_price" => usage.cost(), "currency" => usage.model.currency,
    }
}

/// Objects keyed by tool name keep only the last call of a tool.
fn keyed(turn: &[Tool], mut value: impl FnMut(&Tool) -> Json) -> Json {
    let mut entries: Vec<(String, Json)> = Vec::new();
    for tool in turn {
        let value = value(tool);
        match entries.iter_mut().find(|(name, _)| name == tool.name) {
            Some(entry) => entry.1 = value,
            None => entries.push((tool.name.to_owned(), value)),
        }
    }
    Json::Object(entries)
}

/// The save after the tools: what they answered, how long they took and what went wrong.
fn tools_done(story: &mut Story<'_>, turn: &[Tool]) -> (Row, Micros) {
    let mut busy = 0;
    let mut observations = Vec::new();
    let mut meta = Vec::new();
    for tool in turn {
        let took = think(story, 120).min(30 * SECOND);
        busy += took;
        let chance = if tool.name == BROKEN.name { 0.7 } else { story.options.faults.tool_failure };
        let error = story.dice.chance(chance).then(|| match story.dice.weighted(&[2.0, 1.0, 1.0]) {
            0 => format!(
                "req_id: {} PluginInvokeError: {{\"args\":{{}},\"error_type\":\"Exception\",\"message\":\"boom\"}}",
                story.dice.hex(10)
            ),
            1 => "Month is required".to_owned(),
            _ => format!("there is not a tool named {}", tool.name),
        });
        let said = error.as_ref().map_or("stock of P40: 12 pieces".to_owned(), |error| format!("tool invoke error: {error}"));
        observations.push(Json::from(said));
        meta.push(object! {
            "time_cost" => took as f64 / 1e6, "error" => error,
            "tool_config" => object! {
                "tool_name" => tool.name, "tool_provider" => tool.provider, "tool_provider_type" => tool.thought_provider_type,
                "tool_parameters" => object! {}, "tool_icon" => Json::Null,
            },
        });
    }
    let mut observations = observations.into_iter();
    let mut meta = meta.into_iter();
    let set = row! {
        "observation" => &keyed(turn, |_| observations.next().unwrap_or(Json::Null)),
        "tool_meta_str" => &keyed(turn, |_| meta.next().unwrap_or(Json::Null)),
    };
    (set, busy)
}
