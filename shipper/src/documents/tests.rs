//! Literal records and the documents that they become.

mod rows;

use dify_observe_core::dify::follow::FeedbackAction;
use dify_observe_core::dify::lookups::{Previous, Turn};
use dify_observe_core::settings::{ContentMode, UserIds};
use serde_json::json;

use super::*;
use crate::catalogue;
use rows::{AGENT_THOUGHT, Desk, chat, feedback, node, run};

#[test]
fn a_run_says_which_tools_failed_and_how() {
    let mut nodes =
        vec![node(1, "tool", "failed"), node(2, "tool", "exception"), node(3, "tool", "succeeded"), node(4, "llm", "succeeded")];
    nodes[0].error = Some("Failed to invoke tool stock: upstream shop API answered 500".into());
    nodes[1].error = Some("tool invocation timed out: Read timed out".into());
    nodes[3].elapsed_seconds = 9.0;
    let mut run = run("failed");
    run.error = nodes[0].error.clone();
    let documents = Desk::default().with_tools(&["stock", "weather", "time"]).closed(run, nodes);
    let run = documents.only(Kind::WorkflowRun);
    assert_eq!(run["dify"]["run"]["failed_tools"], json!(["stock", "weather"]));
    assert_eq!(run["dify"]["run"]["timed_out_tools"], json!(["weather"]));
    assert_eq!(run["dify"]["run"]["failed_tool_count"], 2);
    assert_eq!(run["dify"]["run"]["tools"], json!(["stock", "time", "weather"]));
    assert_eq!(run["dify"]["run"]["first_cause"]["tool"], "stock");
    assert_eq!(run["dify"]["run"]["slowest_node"]["id"], "n4");
    assert_eq!(run["dify"]["run"]["nodes"], 4);
    assert_eq!(run["event"]["outcome"], "failure");
    assert_eq!(documents.all(Kind::NodeExecution).len(), 4);
    assert_eq!(documents.all(Kind::ToolCall).len(), 3);
}

#[test]
fn a_run_and_its_first_cause_have_one_fingerprint_and_a_container_has_none() {
    let mut nodes = vec![node(1, "iteration", "failed"), node(2, "llm", "failed")];
    for node in &mut nodes {
        node.error = Some("[models] Rate Limit Error, Error code: 429, request 8d1f".into());
    }
    let mut run = run("failed");
    run.error = nodes[1].error.clone();
    let documents = Desk::default().closed(run, nodes);
    let nodes = documents.all(Kind::NodeExecution);
    assert_eq!(nodes[1]["error"]["type"], "rate_limit");
    assert!(nodes[1]["error"]["fingerprint"].as_str().is_some_and(|text| text.len() == 16));
    assert_eq!(documents.only(Kind::WorkflowRun)["error"]["fingerprint"], nodes[1]["error"]["fingerprint"]);
    assert_eq!(nodes[0]["error"]["type"], serde_json::Value::Null, "it only repeats its child");
    assert_eq!(nodes[0]["dify"]["node"]["repeats_child"], true);
    assert_eq!(documents.only(Kind::WorkflowRun)["dify"]["run"]["failed_node_types"], json!(["llm"]));
}

#[test]
fn a_model_call_has_the_names_of_the_semantic_conventions() {
    let mut llm = node(1, "llm", "succeeded");
    llm.process_data = Some(
        r#"{"model_mode": "chat", "usage": {"prompt_tokens": 98, "completion_tokens": 59, "total_tokens": 157, "total_price": "0.0000501", "currency": "USD",
            "latency": 0.38, "time_to_first_token": 0.158}, "finish_reason": "stop", "model_provider": "langgenius/azure_openai/azure_openai", "model_name": "gpt-4o-mini"}"#
            .into(),
    );
    llm.execution_metadata =
        Some(r#"{"total_tokens": 157, "total_price": "0.0000501", "currency": "USD", "iteration_id": "it", "iteration_index": 2}"#.into());
    let documents = Desk::default().closed(run("succeeded"), vec![llm]);
    let node = documents.only(Kind::NodeExecution);
    assert_eq!(
        node["gen_ai"],
        json!({ "operation": { "name": "chat" }, "provider": { "name": "azure.ai.openai" }, "request": { "model": "gpt-4o-mini" },
            "response": { "finish_reasons": ["stop"] }, "usage": { "input_tokens": 98, "output_tokens": 59 } })
    );
    assert_eq!(node["dify"]["usage"], json!({ "total_tokens": 157, "cost": 0.0000501, "currency": "USD", "requests": 1 }));
    assert_eq!(node["dify"]["model"]["first_token_seconds"], 0.158);
    assert_eq!((&node["dify"]["node"]["iteration_id"], &node["dify"]["node"]["iteration_index"]), (&json!("it"), &json!(2)));
    let run = documents.only(Kind::WorkflowRun);
    assert_eq!((&run["dify"]["run"]["cost"], &run["dify"]["run"]["currency"]), (&json!([0.0000501]), &json!(["USD"])));
    assert_eq!(run["dify"]["run"]["models"], json!(["gpt-4o-mini"]));
}

#[test]
fn an_http_request_says_what_it_asked_without_its_query() {
    let mut http = node(1, "http-request", "succeeded");
    http.process_data = Some(
        r#"{"request": "POST /v1/orders?key=geheim HTTP/1.1\r\nAccept: */*\r\nHost: shop.example:8443\r\n\r\nHost: other\r\n"}"#.into(),
    );
    http.outputs = Some(r#"{"status_code": 503, "body": "down"}"#.into());
    let documents = Desk::default().content(ContentMode::Off).closed(run("succeeded"), vec![http]);
    let node = documents.only(Kind::NodeExecution);
    assert_eq!(node["url"], json!({ "domain": "shop.example", "path": "/v1/orders" }));
    assert_eq!(node["http"], json!({ "request": { "method": "POST" }, "response": { "status_code": 503 } }));
    assert_eq!(node["dify"]["node"]["soft_failure"], "http_5xx");
    assert_eq!(node["event"]["outcome"], "success", "as Dify has it");
    assert!(!documents.text().contains("geheim"));
}

#[test]
fn a_search_is_one_document_with_the_data_sets_that_had_nothing() {
    let mut search = node(1, "knowledge-retrieval", "succeeded");
    search.inputs = Some(r#"{"query": "P40 \u624b\u673a"}"#.into());
    search.outputs = Some(
        r#"{"result": [{"metadata": {"dataset_id": "a", "dataset_name": "phones", "document_id": "d", "document_name": "p40.txt", "score": 0.4}},
            {"metadata": {"dataset_id": "a", "dataset_name": "phones", "document_id": "d", "document_name": "p40.txt", "score": 0.6}}]}"#
            .into(),
    );
    let mut miss = node(2, "knowledge-retrieval", "succeeded");
    miss.outputs = Some(r#"{"result": []}"#.into());
    let documents = Desk::default().with_data_sets(&["a", "b"]).closed(run("succeeded"), vec![search, miss]);
    let found = documents.all(Kind::Retrieval);
    assert_eq!(
        found[0]["dify"]["retrieval"],
        json!({ "query": "P40 手机", "result": "hit", "count": 2, "dataset_ids": ["a", "b"], "datasets": ["phones"], "missed_dataset_ids": ["b"],
            "document_ids": ["d"], "documents": ["p40.txt"], "scores": [0.4, 0.6], "top_score": 0.6 })
    );
    assert_eq!(found[1]["dify"]["retrieval"]["result"], "miss");
    let run = documents.only(Kind::WorkflowRun);
    assert_eq!((&run["dify"]["run"]["retrievals"], &run["dify"]["run"]["retrieval_misses"]), (&json!(2), &json!(1)));
}

#[test]
fn a_chat_has_its_use_and_a_chatflow_leaves_it_to_its_nodes() {
    let documents = Desk::default().message(chat(), Vec::new());
    let message = documents.only(Kind::Message);
    assert_eq!(message["dify"]["usage"], json!({ "total_tokens": 78, "cost": 0.0000342, "currency": "USD", "requests": 1 }));
    assert_eq!(message["event"]["duration"], 1_500_000_000_i64);
    assert_eq!(message["dify"]["message"]["query"], "Is the shirt blue? 衬衫");
    let mut chatflow = chat();
    (chatflow.workflow_run_id, chatflow.model_provider, chatflow.model_id) = (Some(uuid::Uuid::from_u128(7)), None, None);
    let documents = Desk::default().message(chatflow, Vec::new());
    let message = documents.only(Kind::Message);
    assert_eq!(message["dify"]["usage"], serde_json::Value::Null);
    assert_eq!(message["dify"]["message"]["input_tokens"], 28, "as stored");
    assert_eq!(message["trace"]["id"], uuid::Uuid::from_u128(7).simple().to_string());
}

#[test]
fn calls_of_an_agent_have_their_own_input_and_output() {
    let documents = Desk::default().message(chat(), vec![AGENT_THOUGHT.thought()]);
    let calls = documents.all(Kind::ToolCall);
    let tool = |at: usize| &calls[at]["dify"]["tool"];
    assert_eq!(
        (&tool(0)["name"], &tool(0)["input"], &tool(0)["output"]),
        (&json!("stock"), &serde_json::Value::Null, &serde_json::Value::Null)
    );
    assert_eq!((&tool(1)["name"], &tool(1)["input"], &tool(1)["output"]), (&json!("stock"), &json!("{\"sku\":7}"), &json!("three left")));
    assert_eq!((&tool(2)["plugin_id"], &calls[2]["error"]["type"]), (&json!("demo/shop"), &json!("timeout")));
    let ids: Vec<&str> = documents.ids(Kind::ToolCall);
    assert!(ids[0].ends_with("-0") && ids[2].ends_with("-2"), "{ids:?}");
}

#[test]
fn a_feedback_keeps_its_id_and_is_newer_when_it_is_withdrawn() {
    let desk = Desk::default();
    let (created, withdrawn) = (desk.feedback(feedback(), FeedbackAction::Created), desk.feedback(feedback(), FeedbackAction::Withdrawn));
    assert_eq!(created.ids(Kind::Feedback), withdrawn.ids(Kind::Feedback));
    assert!(withdrawn.revision() > created.revision());
    let mut changed = feedback();
    changed.version = 9 << 32;
    assert!(desk.feedback(changed, FeedbackAction::Changed).revision() > withdrawn.revision());
    assert_eq!(withdrawn.only(Kind::Feedback)["event"]["action"], "feedback-withdrawn");
}

#[test]
fn a_run_is_newer_when_any_of_its_nodes_is() {
    let before = Desk::default().closed(run("succeeded"), vec![node(1, "llm", "succeeded")]).revision();
    let mut changed = node(1, "llm", "succeeded");
    changed.row_version = 99;
    assert!(Desk::default().closed(run("succeeded"), vec![changed]).revision() > before);
}

#[test]
fn without_content_no_document_has_any() {
    let documents = Desk::default().content(ContentMode::Off).closed(run("failed"), vec![node(1, "llm", "failed")]);
    let message = Desk::default().content(ContentMode::Off).message(chat(), vec![AGENT_THOUGHT.thought()]);
    for field in catalogue::FIELDS.iter().filter(|field| field.content) {
        for document in documents.sources().chain(message.sources()) {
            assert!(document.pointer(&format!("/{}", field.path.replace('.', "/"))).is_none(), "{}", field.path);
        }
    }
    assert!(!message.text().contains("shirt") && !documents.text().contains("u-1 asks"));
}

#[test]
fn where_people_are_hashes_nothing_names_them() {
    let desk = Desk::default().user_ids(UserIds::Hashed);
    let documents = desk.closed(run("succeeded"), vec![node(1, "llm", "succeeded")]);
    let text = documents.text();
    assert!(text.contains("caller-12"), "another word");
    let text = text.replace("caller-12", "");
    assert!(!text.contains("caller-1") && !text.contains(&rows::USER.hyphenated().to_string()), "{text}");
    let run = documents.only(Kind::WorkflowRun);
    let session = run["session"]["id"].as_str().unwrap();
    assert!(session.starts_with("h:"));
    assert!(run["dify"]["inputs"].as_str().unwrap().contains(&format!("\"sys.user_id\":\"{session}\"")), "one can still search by it");
    let plain = Desk::default().closed(rows::run("succeeded"), Vec::new());
    assert_eq!(plain.only(Kind::WorkflowRun)["session"]["id"], "caller-1");
}

#[test]
fn an_end_user_without_a_row_is_hidden_in_inputs_too() {
    let mut stranger = run("succeeded");
    stranger.created_by = uuid::Uuid::from_u128(99);
    let text = Desk::default().user_ids(UserIds::Hashed).closed(stranger, Vec::new()).text();
    assert!(!text.contains("\"sys.user_id\\\":\\\"caller-1"), "{text}");
}

#[test]
fn only_what_is_wanted_is_made() {
    let mut out = Vec::new();
    let desk = Desk::default();
    let event = Event::RunClosed { run: run("failed"), nodes: vec![node(1, "tool", "failed")], closed: Closed::Ended };
    desk.builder().build(&event, &desk.catalog, &desk.lookups, |kind| kind == Kind::ToolCall, &mut out);
    assert_eq!(out.iter().map(|document| document.kind).collect::<Vec<_>>(), [Kind::ToolCall]);
}

#[test]
fn a_time_without_end_is_the_last_that_engines_know() {
    let mut endless = run("succeeded");
    endless.created_at.0 = i64::MAX;
    let documents = Desk::default().closed(endless, Vec::new());
    assert_eq!(documents.only(Kind::WorkflowRun)["@timestamp"], "9999-12-31T23:59:59.999999Z");
}

#[test]
fn a_message_says_what_went_before_and_a_feedback_what_it_is_about() {
    let mut desk = Desk::default();
    let before = uuid::Uuid::from_u128(0x1ff);
    let previous = Previous { message_id: before, status: "normal".into(), retrieval_missed: Some(true), feedback: Some("dislike".into()) };
    desk.lookups.insert_turn(chat().id, Turn { number: 4, previous: Some(previous) });
    desk.lookups.insert_rated(chat());
    desk.lookups.insert_comment(feedback().id, "wrong: ask ada@example.com");
    let message = desk.message(chat(), Vec::new());
    let part = &message.only(Kind::Message)["dify"]["message"];
    assert_eq!(part["turn"], 4);
    assert_eq!(part["previous"], json!({ "message_id": before, "status": "normal", "retrieval": "miss", "feedback": "dislike" }));
    let feedback = desk.feedback(feedback(), FeedbackAction::Created);
    let feedback = feedback.only(Kind::Feedback);
    assert_eq!((&feedback["gen_ai"]["request"]["model"], &feedback["session"]["id"]), (&json!("gpt-4o-mini"), &json!("caller-1")));
    assert_eq!((&feedback["dify"]["message"]["turn"], &feedback["dify"]["message"]["seconds"]), (&json!(4), &json!(1.5)));
    assert_eq!(feedback["dify"]["message"]["query"], "Is the shirt blue? 衬衫");
    let comment = feedback["dify"]["feedback"]["content"].as_str().unwrap();
    assert!(comment.starts_with("wrong: ask ") && !comment.contains("ada@"), "{comment}");
}

#[test]
fn a_chatflows_run_knows_its_conversation() {
    let mut desk = Desk::default();
    let (conversation, message) = (uuid::Uuid::from_u128(0x500), uuid::Uuid::from_u128(0x501));
    desk.lookups.insert_conversation(run("succeeded").key.id, (conversation, message));
    let documents = desk.closed(run("succeeded"), vec![node(1, "code", "succeeded")]);
    for document in documents.sources() {
        assert_eq!((&document["dify"]["conversation_id"], &document["dify"]["message_id"]), (&json!(conversation), &json!(message)));
    }
}
