//! A small population of which everything is known: what two people did in a shop's three apps in one November.

use std::sync::Arc;

use dify_observe_core::dify::catalog::{App, Catalog, EndUser};
use dify_observe_core::dify::follow::{Closed, Event, FeedbackAction};
use dify_observe_core::dify::lookups::{Lookups, Turn};
use dify_observe_core::dify::records::{Cuts, Feedback, Message, Node, Run, RunKey};
use dify_observe_core::dify::time::Micros;
use dify_observe_core::labels::LabelRules;
use dify_observe_core::redaction::Redactor;
use dify_observe_core::settings::{LabelsSettings, RedactionSettings, ShipperSettings};
use dify_shipper::document::Document;
use dify_shipper::documents::Builder;
use serde_json::json;
use uuid::Uuid;

/// What a model's provider said, with what differs each time.
pub(crate) const RATE_LIMIT: &str = "[models] Rate Limit Error, Error code: 429, request 1";

const WORKFLOW: u128 = 1;
const CHATFLOW: u128 = 2;
const CHAT: u128 = 3;
const U42: u128 = 0x42;
const U7: u128 = 0x7;

/// The id of a number, as documents have it.
pub(crate) fn id(number: u128) -> String {
    Uuid::from_u128(number).hyphenated().to_string()
}

/// All documents.
pub(crate) fn documents() -> Vec<Document> {
    let settings: LabelsSettings =
        serde_json::from_value(json!({ "category": { "source": "input", "variable": "category" } })).expect("the rule is valid");
    let labels = LabelRules::from_settings(&settings).expect("the rule is valid");
    let redactor = Redactor::new(&RedactionSettings::default()).expect("the rules are valid");
    let builder = Builder::new(&ShipperSettings::default(), Arc::new(labels), Arc::new(redactor));
    let (catalog, lookups) = (catalog(), lookups());
    let mut out = Vec::new();
    for event in runs().into_iter().chain(messages()).chain(feedbacks()) {
        builder.build(&event, &catalog, &lookups, |_| true, &mut out);
    }
    out
}

/// Eight in the morning of a day in November 2026.
fn at(day: i64) -> Micros {
    // 2026-11-01T08:00:00Z
    Micros::from_secs(1_793_520_000 + (day - 1) * 86_400)
}

fn catalog() -> Catalog {
    let mut catalog = Catalog::default();
    for (id, name, mode) in [(WORKFLOW, "Orders", "workflow"), (CHATFLOW, "Helpdesk", "advanced-chat"), (CHAT, "Assistant", "chat")] {
        let app = App {
            id: Uuid::from_u128(id),
            tenant_id: Some(Uuid::from_u128(9)),
            name: name.into(),
            mode: mode.into(),
            status: "normal".into(),
            tags: Vec::new(),
        };
        catalog.insert_app(app, at(1));
    }
    for (id, session) in [(U42, "u-42"), (U7, "u-7")] {
        catalog.insert_end_user(Uuid::from_u128(id), EndUser { session_id: session.into(), first_seen: at(1) }, at(1));
    }
    let tool = |id: &str, name: &str| json!({ "id": id, "data": { "type": "tool", "tool_name": name, "provider_name": "shop" } });
    let tools = [tool("stock", "stock_lookup"), tool("weather", "weather"), tool("time", "time")];
    catalog.insert_graph(Uuid::from_u128(0x10), &json!({ "nodes": tools }).to_string(), at(1));
    catalog
}

/// The seventh run answered the seventh message, of the seventh conversation.
fn lookups() -> Lookups {
    let mut lookups = Lookups::default();
    for number in [7, 8] {
        lookups.insert_conversation(Uuid::from_u128(0x100 + number), (Uuid::from_u128(0x300 + number), Uuid::from_u128(0x200 + number)));
    }
    for (number, turn) in [(1, 1), (2, 2), (3, 3), (4, 1), (5, 2), (6, 1), (7, 1), (8, 1)] {
        lookups.insert_turn(Uuid::from_u128(0x200 + number), Turn { number: turn, previous: None });
    }
    for message in rows() {
        lookups.insert_rated(message);
    }
    lookups.insert_comment(Uuid::from_u128(0x403), "wrong price");
    lookups.insert_comment(Uuid::from_u128(0x407), "没有答案");
    lookups
}

/// Runs 1 to 9.
fn runs() -> Vec<Event> {
    let limited = |number: u128, text: &str| Node { error: Some(text.to_owned()), ..node(number, "llm", "failed", "llm") };
    let failed = |run: Run, text: &str| Run { status: "failed".into(), error: Some(text.to_owned()), ..run };
    let second = "[models] Rate Limit Error, Error code: 429, request 2";
    let stock = "Failed to invoke tool stock_lookup: upstream shop API answered 500";
    let mut waited = node(0x1021, "weather", "exception", "tool");
    (waited.error, waited.elapsed_seconds) = (Some("weather: Request timed out".to_owned()), 5.0);
    let refused = Node { error: Some(stock.to_owned()), ..node(0x1020, "stock", "failed", "tool") };
    let slow = Node { elapsed_seconds: 2.5, ..node(0x1030, "time", "succeeded", "tool") };
    let debugging = Run { triggered_from: "debugging".into(), ..failed(run(9, U42, 17, "billing"), RATE_LIMIT) };
    vec![
        closed(failed(run(1, U42, 16, "billing"), RATE_LIMIT), vec![limited(0x1010, RATE_LIMIT)]),
        closed(failed(run(2, U42, 18, "billing"), stock), vec![refused, waited]),
        closed(run(3, U7, 19, "billing"), vec![slow, model(0x1031, 100, 50, "2.0", "USD")]),
        closed(run(4, U42, 19, "orders"), vec![model(0x1040, 10, 5, "0.25", "USD")]),
        closed(failed(run(5, U42, 2, "orders"), second), vec![limited(0x1050, second)]),
        closed(Run { status: "stopped".into(), error: Some("User requested stop".into()), ..run(6, U7, 20, "orders") }, Vec::new()),
        closed(chatflow(7), vec![search(0x1070, "[]"), model(0x1071, 30, 10, "0.125", "RMB")]),
        closed(chatflow(8), vec![search(0x1080, r#"[{"metadata": {"dataset_id": "d", "score": 0.5}}]"#)]),
        closed(debugging, vec![limited(0x1090, RATE_LIMIT)]),
    ]
}

fn closed(run: Run, nodes: Vec<Node>) -> Event {
    // Nodes of the run begin and end with it.
    let of_run = |(at, node): (usize, Node)| Node {
        created_at: Micros(run.created_at.0 + 1_000_000 * (at as i64 + 1)),
        finished_at: run.finished_at,
        ..node
    };
    let nodes = nodes.into_iter().enumerate().map(of_run).collect();
    Event::RunClosed { run, nodes, closed: Closed::Ended }
}

fn run(number: u128, user: u128, day: i64, category: &str) -> Run {
    Run {
        key: RunKey {
            id: Uuid::from_u128(0x100 + number),
            tenant_id: Uuid::from_u128(9),
            app_id: Uuid::from_u128(WORKFLOW),
            workflow_id: Uuid::from_u128(0x10),
        },
        run_type: "workflow".into(),
        triggered_from: "app-run".into(),
        version: "2026-10-01".into(),
        status: "succeeded".into(),
        error: None,
        elapsed_seconds: 30.0,
        total_tokens: 0,
        total_steps: Some(2),
        exceptions_count: Some(0),
        created_by_role: "end_user".into(),
        created_by: Uuid::from_u128(user),
        created_at: at(day),
        finished_at: Some(Micros(at(day).0 + 30_000_000)),
        inputs: Some(json!({ "category": category }).to_string()),
        outputs: Some("{}".into()),
        cuts: Cuts::default(),
        row_version: 1,
    }
}

fn chatflow(number: u128) -> Run {
    let mut run = run(number, U7, 21, "");
    run.key.app_id = Uuid::from_u128(CHATFLOW);
    run.run_type = "chat".into();
    run.inputs = Some("{}".into());
    run
}

fn node(number: u128, node_id: &str, status: &str, node_type: &str) -> Node {
    Node {
        id: Uuid::from_u128(number),
        index: 1,
        node_id: node_id.into(),
        node_type: node_type.into(),
        title: node_id.to_owned(),
        predecessor_node_id: None,
        status: status.into(),
        error: None,
        elapsed_seconds: 0.5,
        created_at: at(1),
        finished_at: None,
        execution_metadata: None,
        process_data: None,
        outputs: None,
        inputs: None,
        cuts: Cuts::default(),
        row_version: 1,
    }
}

fn model(number: u128, prompt: u64, completion: u64, price: &str, currency: &str) -> Node {
    let usage = json!({ "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
        "total_price": price, "currency": currency });
    let data = json!({ "model_mode": "chat", "usage": usage, "model_provider": "langgenius/openai/openai", "model_name": "gpt-4o-mini" });
    let metadata = json!({ "total_tokens": prompt + completion, "total_price": price, "currency": currency });
    Node { process_data: Some(data.to_string()), execution_metadata: Some(metadata.to_string()), ..node(number, "llm", "succeeded", "llm") }
}

fn search(number: u128, result: &str) -> Node {
    Node {
        inputs: Some(r#"{"query": "Is there a P60?"}"#.into()),
        outputs: Some(format!("{{\"result\": {result}}}")),
        ..node(number, "kb", "succeeded", "knowledge-retrieval")
    }
}

fn messages() -> Vec<Event> {
    rows().into_iter().map(|message| Event::MessageClosed { message, thoughts: Vec::new(), closed: Closed::Ended }).collect()
}

/// Messages 1 to 8 of the conversations 3 (three turns), 4 (two) and 6, 7, 8; the last two are the chatflow's.
fn rows() -> Vec<Message> {
    vec![
        message(1, 3, U42, "Does the P40 support 5G?", "Yes, the P40 supports 5G."),
        message(2, 3, U42, "手机保修多久?", "手机保修一年。"),
        message(3, 3, U42, "Where is my invoice?", "We sent it yesterday."),
        message(4, 4, U7, "退货政策是什么?", "七天之内都行。"),
        message(5, 4, U7, "How do I return an item?", "Use the form."),
        message(6, 6, U7, "Is there a warranty?", "One year."),
        of_chatflow(7, "Is there a P60?", "I do not know."),
        of_chatflow(8, "Is there a P40?", "There is."),
    ]
}

fn of_chatflow(number: u128, query: &str, answer: &str) -> Message {
    Message {
        app_id: Uuid::from_u128(CHATFLOW),
        workflow_run_id: Some(Uuid::from_u128(0x100 + number)),
        model_provider: None,
        model_id: None,
        app_mode: Some("advanced-chat".into()),
        created_at: Micros(at(21).0 + 10_000_000),
        ..message(number, number, U7, query, answer)
    }
}

fn message(number: u128, conversation: u128, user: u128, query: &str, answer: &str) -> Message {
    Message {
        id: Uuid::from_u128(0x200 + number),
        app_id: Uuid::from_u128(CHAT),
        conversation_id: Uuid::from_u128(0x300 + conversation),
        workflow_run_id: None,
        parent_message_id: None,
        model_provider: Some("langgenius/openai/openai".into()),
        model_id: Some("gpt-4o-mini".into()),
        app_mode: Some("chat".into()),
        status: "normal".into(),
        error: None,
        invoke_from: Some("service-api".into()),
        from_source: "api".into(),
        from_end_user_id: Some(Uuid::from_u128(user)),
        from_account_id: None,
        message_tokens: 28,
        answer_tokens: 50,
        total_price: Some("0.5".parse().expect("a price")),
        currency: "USD".into(),
        response_seconds: 1.5,
        has_answer: true,
        agent_based: false,
        metadata: Some("{}".into()),
        inputs: Some("{}".into()),
        query: Some(query.to_owned()),
        answer: Some(answer.to_owned()),
        created_at: at(18),
        updated_at: Micros(at(18).0 + 2_000_000),
        starts_conversation: false,
        cuts: Cuts::default(),
        row_version: 1,
    }
}

/// A like, two dislikes, and a dislike that was withdrawn.
fn feedbacks() -> Vec<Event> {
    let told = |number: u128, rating: &str, day: i64, action| Event::Feedback {
        feedback: Feedback {
            id: Uuid::from_u128(0x400 + number),
            app_id: Uuid::from_u128(if number == 7 { CHATFLOW } else { CHAT }),
            message_id: Uuid::from_u128(0x200 + number),
            rating: rating.into(),
            source: "user".into(),
            created_at: at(day),
            updated_at: at(day),
            version: 1 << 32,
        },
        action,
    };
    vec![
        told(1, "like", 18, FeedbackAction::Created),
        told(3, "dislike", 18, FeedbackAction::Created),
        told(4, "dislike", 18, FeedbackAction::Created),
        told(7, "dislike", 22, FeedbackAction::Created),
        told(4, "dislike", 18, FeedbackAction::Withdrawn),
    ]
}
