use uuid::Uuid;

use super::*;
use crate::dify::catalog::{GraphModel, GraphNode};
use crate::dify::facts::tests::node;
use crate::dify::records::Cuts;
use crate::dify::time::Micros;

fn succeeded() -> Word {
    "succeeded".into()
}

fn gpt() -> GraphNode {
    let model = GraphModel { provider: "langgenius/openai/openai".into(), name: "gpt-4o-mini".into() };
    GraphNode { model: Some(model), ..GraphNode::default() }
}

fn message() -> Message {
    Message {
        id: Uuid::nil(),
        app_id: Uuid::nil(),
        conversation_id: Uuid::nil(),
        parent_message_id: None,
        workflow_run_id: None,
        model_provider: Some("langgenius/tongyi/tongyi".into()),
        model_id: Some("qwen-max".into()),
        app_mode: Some("chat".into()),
        status: "normal".into(),
        error: None,
        invoke_from: Some("service-api".into()),
        from_source: "api".into(),
        from_end_user_id: None,
        from_account_id: None,
        message_tokens: 28,
        answer_tokens: 50,
        total_price: Some("0.0000342".parse().unwrap()),
        currency: "RMB".into(),
        response_seconds: 1.25,
        query: None,
        answer: None,
        has_answer: true,
        agent_based: false,
        metadata: Some(r#"{"annotation_reply":null,"retriever_resources":[],"usage":null}"#.into()),
        inputs: None,
        created_at: Micros(0),
        updated_at: Micros(0),
        starts_conversation: true,
        cuts: Cuts::default(),
        row_version: 0,
    }
}

fn thought(position: i32, prompt: i64, completion: i64) -> Thought {
    Thought {
        id: Uuid::nil(),
        message_id: Uuid::nil(),
        position,
        tool: None,
        tool_meta: None,
        message_tokens: prompt,
        answer_tokens: completion,
        total_price: Some("0.000113".parse().unwrap()),
        currency: Some("USD".into()),
        thought: None,
        observation: None,
        tool_input: None,
        created_at: Micros(0),
        cuts: Cuts::default(),
    }
}

#[test]
fn a_model_node_is_one_request_with_its_usage() {
    let mut llm = node("llm", "succeeded");
    llm.process_data = Some(
        r#"{"model_mode": "chat", "prompts": [], "usage": {"prompt_tokens": 98, "completion_tokens": 59, "total_tokens": 157, "total_price": "0.0000501",
        "currency": "USD", "latency": 0.38, "time_to_first_token": 0.158}, "model_provider": "langgenius/openai/openai", "model_name": "gpt-4o-mini"}"#
            .into(),
    );
    llm.execution_metadata = Some(r#"{"total_tokens": 157, "total_price": "0.0000501", "currency": "USD"}"#.into());
    let usage = model_use(&llm, &succeeded(), None).unwrap();
    assert_eq!((&*usage.provider, &*usage.model, &*usage.currency), ("langgenius/openai/openai", "gpt-4o-mini", "USD"));
    assert_eq!((usage.prompt_tokens, usage.completion_tokens, usage.unsplit_tokens, usage.total_tokens()), (98, 59, 0, 157));
    assert_eq!(usage.price, Some("0.0000501".parse().unwrap()));
    assert_eq!(usage.calls, [Call { status: succeeded(), seconds: Some(0.38), first_token_seconds: Some(0.158), tokens: Some((98, 59)) }]);
}

#[test]
fn a_failed_model_node_is_named_by_the_canvas() {
    let mut llm = node("llm", "failed");
    llm.process_data = Some("{}".into());
    let usage = model_use(&llm, &"failed".into(), Some(&gpt())).unwrap();
    assert_eq!((&*usage.model, &*usage.calls[0].status, usage.calls[0].seconds), ("gpt-4o-mini", "failed", Some(1.5)));
    assert_eq!((usage.total_tokens(), usage.price), (0, None));
    assert_eq!(&*model_use(&llm, &"failed".into(), None).unwrap().model, "unknown");
}

#[test]
fn truncated_process_data_falls_back_to_outputs_then_to_the_sum() {
    let mut llm = node("llm", "succeeded");
    llm.process_data = Some(r#"{"model_mode": "chat", "prompts": [{"text": "cut"#.into());
    llm.outputs =
        Some(r#"{"text": "x", "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7, "currency": "RMB"}}"#.into());
    let usage = model_use(&llm, &succeeded(), Some(&gpt())).unwrap();
    assert_eq!((usage.prompt_tokens, usage.completion_tokens, &*usage.currency), (3, 4, "RMB"));
    llm.outputs = None;
    llm.execution_metadata = Some(r#"{"total_tokens": 7, "total_price": "0.1", "currency": "RMB"}"#.into());
    let usage = model_use(&llm, &succeeded(), None).unwrap();
    assert_eq!((usage.unsplit_tokens, usage.total_tokens(), usage.price), (7, 7, Some("0.1".parse().unwrap())));
}

#[test]
fn parameter_extractors_keep_their_usage_under_another_name() {
    let mut extractor = node("parameter-extractor", "succeeded");
    extractor.outputs = Some(
        r#"{"__is_success": 1, "__usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7, "time_to_first_token": null}}"#
            .into(),
    );
    let usage = model_use(&extractor, &succeeded(), Some(&gpt())).unwrap();
    assert_eq!((usage.total_tokens(), usage.calls.len(), usage.calls[0].first_token_seconds), (7, 1, None));
}

#[test]
fn containers_and_workflow_tools_repeat_what_others_used() {
    let metadata = r#"{"total_tokens": 768, "total_price": "0.0001620", "currency": "USD"}"#;
    for container in ["iteration", "loop"] {
        let mut container = node(container, "succeeded");
        container.execution_metadata = Some(metadata.into());
        assert_eq!(model_use(&container, &succeeded(), None), None);
    }
    let mut tool = node("tool", "succeeded");
    tool.execution_metadata = Some(
        r#"{"tool_info": {"provider_type": "workflow", "provider_id": "x"}, "total_tokens": 40, "total_price": "0", "currency": "USD"}"#
            .into(),
    );
    assert_eq!(model_use(&tool, &succeeded(), None), None);
}

#[test]
fn a_tool_that_called_a_model_cost_tokens_without_a_request() {
    let mut tool = node("tool", "succeeded");
    tool.execution_metadata = Some(
        r#"{"tool_info": {"provider_type": "builtin", "provider_id": "x"}, "total_tokens": 40, "total_price": "0.01", "currency": "USD"}"#
            .into(),
    );
    let usage = model_use(&tool, &succeeded(), None).unwrap();
    assert_eq!((usage.unsplit_tokens, usage.calls.len(), &*usage.model), (40, 0, "unknown"));
    let mut retrieval = node("knowledge-retrieval", "succeeded");
    retrieval.execution_metadata = Some(r#"{"total_tokens": 0, "total_price": "0.0", "currency": "USD"}"#.into());
    assert_eq!(model_use(&retrieval, &succeeded(), None), None);
}

#[test]
fn an_agents_requests_are_its_rounds() {
    let mut agent = node("agent", "succeeded");
    agent.inputs = Some(r#"{"model": {"provider": "langgenius/openai/openai", "model": "gpt-4o-mini"}}"#.into());
    agent.outputs = Some(
        r#"{"usage": {"prompt_tokens": 544, "completion_tokens": 75, "total_tokens": 619, "total_price": "0.0001266", "currency": "USD"}}"#
            .into(),
    );
    agent.execution_metadata = Some(
        r#"{"total_tokens": 619, "total_price": 0.0001266, "currency": "USD", "agent_log": [
        {"message_id": "r1", "label": "ROUND 1", "parent_id": null, "error": null, "status": "success", "metadata": {"elapsed_time": 0.376}},
        {"message_id": "t1", "label": "gpt-4o-mini Thought", "parent_id": "r1", "status": "success", "metadata": {"elapsed_time": 0.25}},
        {"message_id": "c1", "label": "CALL current_time", "parent_id": "r1", "error": "boom", "status": "error", "metadata": {}},
        {"message_id": "r2", "label": "ROUND 2", "parent_id": null, "status": "error", "error": "slow down", "metadata": {}}]}"#
            .into(),
    );
    let usage = model_use(&agent, &succeeded(), None).unwrap();
    let calls: Vec<_> = usage.calls.iter().map(|call| (&*call.status, call.seconds)).collect();
    assert_eq!(calls, [("succeeded", Some(0.25)), ("failed", None)]);
    assert_eq!((usage.prompt_tokens, usage.completion_tokens, usage.unsplit_tokens), (544, 75, 0));
    assert_eq!(usage.price, Some("0.0001266".parse().unwrap()));
}

#[test]
fn an_agent_without_a_log_is_one_request() {
    let usage = model_use(&node("agent", "failed"), &"failed".into(), Some(&gpt())).unwrap();
    assert_eq!((usage.calls.len(), &*usage.calls[0].status, &*usage.model), (1, "failed", "gpt-4o-mini"));
}

#[test]
fn attempts_inside_the_row_are_requests_too() {
    let mut llm = node("llm", "succeeded");
    llm.process_data =
        Some(r#"{"__dify_retry_history": [{"error": "x", "elapsed_time": 0.2}, {"error": "y"}], "usage": {"latency": 0.4}}"#.into());
    let usage = model_use(&llm, &succeeded(), Some(&gpt())).unwrap();
    let calls: Vec<_> = usage.calls.iter().map(|call| (&*call.status, call.seconds)).collect();
    assert_eq!(calls, [("retry", Some(0.2)), ("retry", None), ("succeeded", Some(0.4))]);
}

#[test]
fn what_was_cut_off_has_no_duration() {
    for status in ["aborted", "interrupted"] {
        assert_eq!(model_use(&node("llm", "failed"), &status.into(), None).unwrap().calls[0].seconds, None);
    }
}

#[test]
fn a_chat_message_is_one_request() {
    let usage = message_model_uses(&message(), &[], Closed::Ended).unwrap();
    assert_eq!((&*usage.model, &*usage.currency, usage.prompt_tokens, usage.completion_tokens), ("qwen-max", "RMB", 28, 50));
    assert_eq!(usage.calls, [Call { status: succeeded(), seconds: Some(1.25), first_token_seconds: None, tokens: Some((28, 50)) }]);
}

#[test]
fn chatflows_and_annotation_replies_are_no_request() {
    let chatflow = Message { workflow_run_id: Some(Uuid::nil()), model_provider: None, ..message() };
    assert_eq!(message_model_uses(&chatflow, &[], Closed::Ended), None);
    let hung_up = Message { model_provider: None, app_mode: None, ..message() };
    assert_eq!(message_model_uses(&hung_up, &[], Closed::Abandoned), None);
    let annotation = Message { metadata: Some(r#"{"annotation_reply":{"id":"02f888f7"}}"#.into()), ..message() };
    assert_eq!(message_model_uses(&annotation, &[], Closed::Ended), None);
}

#[test]
fn a_failed_or_abandoned_message_is_a_request_without_duration() {
    let failed =
        Message { status: "error".into(), response_seconds: 0.0, message_tokens: 0, answer_tokens: 0, metadata: None, ..message() };
    let usage = message_model_uses(&failed, &[], Closed::Ended).unwrap();
    assert_eq!((&*usage.calls[0].status, usage.calls[0].seconds, usage.calls[0].tokens), ("failed", None, None));
    let empty = Message { has_answer: false, metadata: None, ..message() };
    assert_eq!(&*message_model_uses(&empty, &[], Closed::Abandoned).unwrap().calls[0].status, "abandoned");
}

#[test]
fn an_agent_app_makes_one_request_for_each_thought() {
    let usage = message_model_uses(&message(), &[thought(1, 609, 36), thought(2, 700, 40)], Closed::Ended).unwrap();
    assert_eq!((usage.calls.len(), usage.prompt_tokens, usage.completion_tokens), (2, 1309, 76));
    assert_eq!((usage.price, &*usage.currency), (Some("0.000226".parse().unwrap()), "USD"));
    assert!(usage.calls.iter().all(|call| &*call.status == "succeeded"));
}

#[test]
fn a_round_that_failed_keeps_what_the_rounds_before_it_cost() {
    let failed = Message { status: "error".into(), message_tokens: 0, answer_tokens: 0, total_price: Some(Decimal::ZERO), ..message() };
    let usage = message_model_uses(&failed, &[thought(1, 609, 36), thought(2, 0, 0)], Closed::Ended).unwrap();
    let calls: Vec<_> = usage.calls.iter().map(|call| &*call.status).collect();
    assert_eq!(calls, ["succeeded", "failed"]);
    assert_eq!(usage.prompt_tokens, 609);
}
