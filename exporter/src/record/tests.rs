use dify_observe_core::dify::catalog::{App, EndUser};
use dify_observe_core::dify::records::{Cuts, Message, Node, Run, RunKey, Thought};
use dify_observe_core::dify::time::Micros;
use dify_observe_core::settings::LabelsSettings;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::*;
use crate::cap::BusinessLabel;
use crate::store::{FamilyDef, Scheme};

const APP: Uuid = Uuid::from_u128(0xa);
const WORKFLOW: Uuid = Uuid::from_u128(0xf);
const RATE: &str = "[models] Rate Limit Error, Error code: 429 - {'error': {'code': 'rate_limit_exceeded'}}";
const GRAPH: &str = r#"{"nodes": [
    {"id": "llm", "data": {"type": "llm", "model": {"name": "gpt-4o-mini", "provider": "openai"}}},
    {"id": "tool", "data": {"type": "tool", "provider_name": "time", "provider_type": "builtin", "tool_name": "weekday"}},
    {"id": "kb", "data": {"type": "knowledge-retrieval", "dataset_ids": ["d1", "d2"]}}]}"#;
const USED: &str = r#"{"usage": {"prompt_tokens": 98, "completion_tokens": 59, "total_tokens": 157, "total_price": "0.0000501", "currency": "USD",
    "latency": 0.38, "time_to_first_token": 0.158}, "model_provider": "openai", "model_name": "gpt-4o-mini"}"#;

/// Everything that a recording needs, with one app called Shop.
struct Bench {
    catalog: Catalog,
    labels: LabelRules,
    totals: Totals,
    side: SideState,
}

impl Bench {
    fn new() -> Self {
        Bench::with_labels("")
    }

    fn with_labels(toml: &str) -> Self {
        let settings: LabelsSettings = toml::from_str(toml).unwrap();
        let labels = LabelRules::from_settings(&settings).unwrap();
        let mut catalog = Catalog::default();
        let app = App {
            id: APP,
            tenant_id: Some(Uuid::nil()),
            name: "Shop".into(),
            mode: "chat".into(),
            status: "normal".into(),
            tags: vec!["team:a".into()],
        };
        catalog.insert_app(app, Micros(0));
        catalog.insert_graph(WORKFLOW, GRAPH, Micros(0));
        let totals = Totals::new(Scheme { business: BusinessLabel::of_rules(&labels), ..Scheme::default() });
        Bench { catalog, labels, totals, side: SideState::default() }
    }

    fn record(&mut self, event: &Event) -> &mut Self {
        let context = Context { catalog: &self.catalog, labels: &self.labels, streak_length: 3 };
        record(event, &context, &mut self.totals, &mut self.side);
        self
    }

    fn labels(own: &[&str]) -> Labels {
        Labels::of_app(&AppLabels { id: APP, name: "Shop".into() }, own.iter().copied())
    }

    fn count(&self, family: &'static FamilyDef, own: &[&str]) -> u64 {
        self.totals.counter(family, Self::labels(own))
    }

    fn money(&self, family: &'static FamilyDef, own: &[&str]) -> Decimal {
        self.totals.decimal(family, Self::labels(own))
    }

    /// Count and sum.
    fn distribution(&self, family: &'static FamilyDef, own: &[&str]) -> (u64, f64) {
        self.totals.histogram(family, Self::labels(own)).map_or((0, 0.0), |histogram| (histogram.count(), histogram.sum()))
    }

    /// All values of a family that are not zero, by their own labels.
    fn all(&self, family: &'static FamilyDef) -> Vec<(String, u64)> {
        let value = |series: crate::store::ExposedSeries<'_>| {
            let own: Vec<&str> = series.label_values().skip(2).collect();
            (own.join(" "), self.count(family, &own))
        };
        self.totals.exposed(family).map(value).filter(|(_, count)| *count > 0).collect()
    }

    fn gauge(&self, family: &'static FamilyDef) -> Vec<(String, f64)> {
        let mut gauges = GaugeSet::new(Scheme::default());
        self.side.gauges(&self.catalog, Micros::from_secs(100), &mut gauges);
        gauges.series(family).map(|(labels, value)| (labels[2..].join(" "), value)).collect()
    }
}

fn run(status: &str) -> Run {
    Run {
        key: RunKey { id: Uuid::from_u128(0x1), tenant_id: Uuid::nil(), app_id: APP, workflow_id: WORKFLOW },
        run_type: "workflow".into(),
        triggered_from: "app-run".into(),
        version: "1".into(),
        status: status.into(),
        error: None,
        elapsed_seconds: 2.5,
        total_tokens: 157,
        total_steps: None,
        exceptions_count: None,
        created_by_role: "end_user".into(),
        created_by: Uuid::from_u128(0xe),
        created_at: Micros::from_secs(10),
        finished_at: Some(Micros::from_secs(20)),
        inputs: Some(r#"{"topic": "billing"}"#.into()),
        outputs: None,
        cuts: Cuts::default(),
        row_version: 0,
    }
}

fn failed(error: &str) -> Run {
    Run { error: Some(error.into()), ..run("failed") }
}

fn node(node_id: &str, node_type: &str, status: &str) -> Node {
    Node {
        id: Uuid::from_u128(0x2),
        index: 1,
        node_id: node_id.into(),
        node_type: node_type.into(),
        title: "Answer it".into(),
        predecessor_node_id: None,
        status: status.into(),
        error: (status != "succeeded").then(|| RATE.into()),
        elapsed_seconds: 0.5,
        created_at: Micros::from_secs(11),
        finished_at: Some(Micros::from_secs(12)),
        execution_metadata: None,
        process_data: None,
        outputs: None,
        inputs: None,
        cuts: Cuts::default(),
        row_version: 0,
    }
}

fn used(node: Node) -> Node {
    Node { process_data: Some(USED.into()), ..node }
}

fn closed(run: Run, nodes: Vec<Node>) -> Event {
    Event::RunClosed { run, nodes, closed: Closed::Ended }
}

fn message(status: &str) -> Message {
    Message {
        id: Uuid::from_u128(0x3),
        app_id: APP,
        conversation_id: Uuid::from_u128(0x4),
        parent_message_id: None,
        workflow_run_id: None,
        model_provider: Some("tongyi".into()),
        model_id: Some("qwen-max".into()),
        app_mode: None,
        status: status.into(),
        error: (status == "error").then(|| RATE.into()),
        invoke_from: Some("service-api".into()),
        from_source: "api".into(),
        from_end_user_id: Some(Uuid::from_u128(0xe)),
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
        metadata: Some(r#"{"retriever_resources":[{"dataset_id":"d1","score":0.5}]}"#.into()),
        inputs: None,
        created_at: Micros::from_secs(10),
        updated_at: Micros::from_secs(12),
        starts_conversation: true,
        cuts: Cuts::default(),
        row_version: 0,
    }
}

fn message_closed(message: Message, thoughts: Vec<Thought>) -> Event {
    Event::MessageClosed { message, thoughts, closed: Closed::Ended }
}

fn pair(text: &str, count: u64) -> (String, u64) {
    (text.to_owned(), count)
}

#[test]
fn a_run_that_starts_gives_birth_to_the_series_of_its_end() {
    let mut bench = Bench::new();
    bench.record(&Event::RunStarted(run("running")));
    assert_eq!(bench.count(&catalogue::WORKFLOW_RUNS_STARTED, &["workflow", "app-run"]), 1);
    let born: Vec<String> =
        bench.totals.exposed(&catalogue::WORKFLOW_RUNS).map(|series| series.label_values().last().unwrap().to_owned()).collect();
    assert_eq!(born, ["failed", "succeeded"]);
    assert!(bench.all(&catalogue::WORKFLOW_RUNS).is_empty());
}

#[test]
fn a_run_counts_with_its_duration_tokens_and_nodes() {
    let mut bench = Bench::new();
    bench.record(&closed(run("succeeded"), vec![node("start", "start", "succeeded"), used(node("llm", "llm", "succeeded"))]));
    let labels = ["workflow", "app-run", "succeeded"];
    assert_eq!(bench.count(&catalogue::WORKFLOW_RUNS, &labels), 1);
    assert_eq!(bench.distribution(&catalogue::WORKFLOW_RUN_DURATION, &labels), (1, 2.5));
    assert_eq!(bench.distribution(&catalogue::WORKFLOW_RUN_WALL, &labels), (0, 0.0));
    assert_eq!(bench.count(&catalogue::WORKFLOW_RUN_TOKENS, &[]), 157);
    assert_eq!(bench.all(&catalogue::NODE_EXECUTIONS), [pair("llm succeeded", 1), pair("start succeeded", 1)]);
    assert_eq!(bench.distribution(&catalogue::NODE_DURATION, &["llm", "succeeded"]), (1, 0.5));
    assert!(bench.all(&catalogue::ERRORS).is_empty());
}

#[test]
fn a_model_call_counts_requests_latency_tokens_and_money() {
    let mut bench = Bench::new();
    bench.record(&closed(run("succeeded"), vec![used(node("llm", "llm", "succeeded"))]));
    assert_eq!(bench.all(&catalogue::LLM_REQUESTS), [pair("openai gpt-4o-mini succeeded", 1)]);
    assert_eq!(bench.all(&catalogue::LLM_TOKENS), [pair("openai gpt-4o-mini completion", 59), pair("openai gpt-4o-mini prompt", 98)]);
    assert_eq!(bench.money(&catalogue::LLM_COST, &["openai", "gpt-4o-mini", "USD"]), "0.0000501".parse().unwrap());
    assert_eq!(bench.distribution(&catalogue::LLM_REQUEST_DURATION, &["openai", "gpt-4o-mini", "succeeded"]), (1, 0.38));
    assert_eq!(bench.distribution(&catalogue::LLM_TIME_TO_FIRST_TOKEN, &["openai", "gpt-4o-mini", "succeeded"]), (1, 0.158));
    assert_eq!(bench.distribution(&catalogue::LLM_PROMPT_TOKENS, &["openai", "gpt-4o-mini"]), (1, 98.0));
    assert_eq!(bench.distribution(&catalogue::LLM_COMPLETION_TOKENS, &["openai", "gpt-4o-mini"]), (1, 59.0));
}

#[test]
fn a_failed_call_counts_for_the_model_on_the_canvas() {
    let mut bench = Bench::new();
    bench.record(&closed(failed(RATE), vec![node("llm", "llm", "failed")]));
    assert_eq!(bench.all(&catalogue::LLM_REQUESTS), [pair("openai gpt-4o-mini failed", 1)]);
    assert_eq!(bench.all(&catalogue::ERRORS), [pair("node rate_limit", 1), pair("run rate_limit", 1)]);
}

#[test]
fn one_failure_is_one_error_however_many_rows_repeat_it() {
    let mut bench = Bench::new();
    let child = node("llm", "llm", "failed");
    let container = Node { finished_at: Some(Micros::from_secs(13)), ..node("it", "iteration", "failed") };
    let aborted = Node { finished_at: Some(Micros::from_secs(20)), ..node("b", "llm", "failed") };
    bench.record(&closed(failed(RATE), vec![container, child, aborted]));
    assert_eq!(bench.all(&catalogue::ERRORS), [pair("node rate_limit", 1), pair("run rate_limit", 1)]);
    assert_eq!(bench.all(&catalogue::NODE_EXECUTIONS), [pair("iteration failed", 1), pair("llm aborted", 1), pair("llm failed", 1)]);
}

#[test]
fn handled_failures_are_errors_of_nodes_and_not_of_runs() {
    let mut bench = Bench::new();
    let handled = Node {
        outputs: Some(r#"{"error_type": "InvokeRateLimitError"}"#.into()),
        error: Some("no".into()),
        ..node("llm", "llm", "exception")
    };
    bench.record(&closed(run("partial-succeeded"), vec![handled]));
    assert_eq!(bench.all(&catalogue::ERRORS), [pair("node rate_limit", 1)]);
    assert_eq!(bench.all(&catalogue::WORKFLOW_RUNS), [pair("workflow app-run partial-succeeded", 1)]);
}

#[test]
fn failed_attempts_are_counted_apart_in_both_ways_of_storing_them() {
    let mut bench = Bench::new();
    bench.record(&closed(run("succeeded"), vec![node("llm", "llm", "retry"), used(node("llm", "llm", "succeeded"))]));
    let inside = Node {
        process_data: Some(r#"{"__dify_retry_history": [{"error": "x"}, {"error": "y"}]}"#.into()),
        ..node("h", "http-request", "succeeded")
    };
    bench.record(&closed(run("succeeded"), vec![inside]));
    assert_eq!(bench.all(&catalogue::NODE_RETRIES), [pair("http-request", 2), pair("llm", 1)]);
    assert_eq!(bench.all(&catalogue::NODE_EXECUTIONS), [pair("http-request succeeded", 1), pair("llm succeeded", 1)]);
    assert_eq!(bench.all(&catalogue::LLM_REQUESTS), [pair("openai gpt-4o-mini retry", 1), pair("openai gpt-4o-mini succeeded", 1)]);
    assert!(bench.all(&catalogue::ERRORS).is_empty());
}

#[test]
fn soft_failures_are_successes_with_a_mark() {
    let mut bench = Bench::new();
    let http = Node { outputs: Some(r#"{"status_code": 503}"#.into()), ..node("h", "http-request", "succeeded") };
    bench.record(&closed(run("succeeded"), vec![http]));
    assert_eq!(bench.all(&catalogue::NODE_SOFT_FAILURES), [pair("http-request http_5xx", 1)]);
    assert_eq!(bench.all(&catalogue::NODE_EXECUTIONS), [pair("http-request succeeded", 1)]);
}

#[test]
fn stops_by_a_person_and_by_a_limit_are_told_apart() {
    let mut bench = Bench::new();
    let stopped = |error: &str| Run { error: Some(error.into()), ..run("stopped") };
    bench.record(&closed(stopped("User requested stop"), vec![]));
    bench.record(&closed(stopped("Maximum execution steps exceeded: 501 > 500"), vec![]));
    bench.record(&closed(failed("Max steps 500 reached."), vec![]));
    assert_eq!(bench.all(&catalogue::WORKFLOW_RUNS), [pair("workflow app-run failed", 1), pair("workflow app-run stopped", 2)]);
    assert_eq!(bench.all(&catalogue::WORKFLOW_RUNS_STOPPED_BY_LIMIT), [pair("workflow app-run", 1)]);
    assert_eq!(bench.all(&catalogue::ERRORS), [pair("run limit_exceeded", 2), pair("run stopped", 1)]);
}

#[test]
fn an_abandoned_run_has_no_duration_and_its_open_node_none_either() {
    let mut bench = Bench::new();
    let open = Run { finished_at: None, elapsed_seconds: 0.0, ..run("running") };
    let node = Node { error: None, finished_at: None, ..node("llm", "llm", "running") };
    bench.record(&Event::RunClosed { run: open, nodes: vec![node], closed: Closed::Abandoned });
    assert_eq!(bench.all(&catalogue::WORKFLOW_RUNS), [pair("workflow app-run abandoned", 1)]);
    assert_eq!(bench.all(&catalogue::NODE_EXECUTIONS), [pair("llm interrupted", 1)]);
    assert_eq!(bench.distribution(&catalogue::WORKFLOW_RUN_DURATION, &["workflow", "app-run", "abandoned"]).0, 0);
    assert_eq!(bench.distribution(&catalogue::NODE_DURATION, &["llm", "interrupted"]).0, 0);
    assert!(bench.all(&catalogue::ERRORS).is_empty());
}

#[test]
fn a_run_that_was_paused_has_a_wall_time() {
    let mut bench = Bench::new();
    let paused = Run { finished_at: None, ..run("paused") };
    bench.record(&Event::NodesSettled { run: paused, nodes: vec![node("start", "start", "succeeded")] });
    bench.record(&closed(run("succeeded"), vec![node("end", "end", "succeeded")]));
    assert_eq!(bench.distribution(&catalogue::WORKFLOW_RUN_WALL, &["workflow", "app-run", "succeeded"]), (1, 10.0));
    assert_eq!(bench.all(&catalogue::NODE_EXECUTIONS).len(), 2);
    assert!(!bench.side.take_paused(Uuid::from_u128(0x1)), "it is forgotten");
}

#[test]
fn tools_are_counted_by_name_with_their_errors() {
    let mut bench = Bench::new();
    let info = r#"{"tool_info": {"provider_type": "builtin", "provider_id": "time"}}"#;
    let broken = Node { execution_metadata: Some(info.into()), error: Some("Month is required".into()), ..node("tool", "tool", "failed") };
    bench.record(&closed(failed("Month is required"), vec![broken]));
    assert_eq!(bench.all(&catalogue::TOOL_CALLS), [pair("builtin time weekday failed", 1)]);
    assert_eq!(bench.distribution(&catalogue::TOOL_CALL_DURATION, &["builtin", "time", "weekday", "failed"]), (1, 0.5));
    assert_eq!(bench.all(&catalogue::ERRORS), [pair("node tool", 1), pair("run tool", 1), pair("tool tool", 1)]);
}

#[test]
fn retrievals_hit_or_miss_by_data_set() {
    let mut bench = Bench::new();
    let found = r#"{"result": [{"metadata": {"dataset_id": "d1", "score": 0.25}}, {"metadata": {"dataset_id": "d1", "score": 0.5}}]}"#;
    bench.record(&closed(run("succeeded"), vec![Node { outputs: Some(found.into()), ..node("kb", "knowledge-retrieval", "succeeded") }]));
    assert_eq!(bench.all(&catalogue::RETRIEVALS), [pair("d1 hit", 1), pair("d2 miss", 1)]);
    assert_eq!(bench.distribution(&catalogue::RETRIEVAL_DOCUMENTS, &["d1"]), (1, 2.0));
    assert_eq!(bench.distribution(&catalogue::RETRIEVAL_SCORE, &["d1"]), (2, 0.75));
}

#[test]
fn a_message_counts_as_stored_and_as_a_request() {
    let mut bench = Bench::new();
    bench.record(&message_closed(message("normal"), vec![]));
    assert_eq!(bench.all(&catalogue::MESSAGES), [pair("chat service-api normal", 1)]);
    assert_eq!(bench.distribution(&catalogue::MESSAGE_RESPONSE, &["chat", "service-api", "normal"]), (1, 1.25));
    assert_eq!(bench.all(&catalogue::MESSAGE_TOKENS), [pair("chat service-api completion", 50), pair("chat service-api prompt", 28)]);
    assert_eq!(bench.money(&catalogue::MESSAGE_COST, &["chat", "service-api", "RMB"]), "0.0000342".parse().unwrap());
    assert_eq!(bench.all(&catalogue::LLM_REQUESTS), [pair("tongyi qwen-max succeeded", 1)]);
    assert_eq!(bench.money(&catalogue::LLM_COST, &["tongyi", "qwen-max", "RMB"]), "0.0000342".parse().unwrap());
    assert_eq!(bench.count(&catalogue::CONVERSATIONS_STARTED, &[]), 1);
    assert_eq!(bench.all(&catalogue::RETRIEVALS), [pair("d1 hit", 1)]);
    assert_eq!(bench.gauge(&catalogue::ACTIVE_END_USERS)[0], ("1d false".to_owned(), 1.0));
}

#[test]
fn a_chatflow_message_is_no_second_request() {
    let mut bench = Bench::new();
    let chatflow = Message {
        workflow_run_id: Some(Uuid::from_u128(0x1)),
        model_provider: None,
        model_id: None,
        app_mode: Some("advanced-chat".into()),
        starts_conversation: false,
        ..message("normal")
    };
    bench.record(&message_closed(chatflow, vec![]));
    assert_eq!(bench.all(&catalogue::MESSAGES), [pair("advanced-chat service-api normal", 1)]);
    assert_eq!(bench.count(&catalogue::MESSAGE_TOKENS, &["advanced-chat", "service-api", "prompt"]), 28);
    for family in [&catalogue::LLM_REQUESTS, &catalogue::LLM_TOKENS, &catalogue::RETRIEVALS, &catalogue::CONVERSATIONS_STARTED] {
        assert!(bench.all(family).is_empty(), "{}", family.name);
    }
}

#[test]
fn failed_and_abandoned_messages_have_no_response_time() {
    let mut bench = Bench::new();
    bench.record(&message_closed(Message { response_seconds: 0.0, metadata: None, ..message("error") }, vec![]));
    let empty = Message { response_seconds: 0.0, metadata: None, has_answer: false, invoke_from: None, ..message("normal") };
    bench.record(&Event::MessageClosed { message: empty, thoughts: vec![], closed: Closed::Abandoned });
    assert_eq!(bench.all(&catalogue::MESSAGES), [pair("chat service-api error", 1), pair("chat unknown abandoned", 1)]);
    assert_eq!(bench.all(&catalogue::ERRORS), [pair("message rate_limit", 1)]);
    assert_eq!(bench.totals.exposed(&catalogue::MESSAGE_RESPONSE).count(), 0);
}

#[test]
fn an_agent_apps_tools_and_rounds_are_counted() {
    let mut bench = Bench::new();
    let meta = r#"{"lookup": {"time_cost": 0.25, "error": "it broke", "tool_config": {"tool_provider": "demo/shop/shop", "tool_provider_type": "plugin"}}}"#;
    let thought = |position, tool: &str| Thought {
        id: Uuid::from_u128(0x7),
        message_id: Uuid::from_u128(0x3),
        position,
        tool: Some(tool.into()),
        tool_meta: Some(meta.into()),
        message_tokens: 100,
        answer_tokens: 10,
        total_price: Some("0.001".parse().unwrap()),
        currency: Some("USD".into()),
        thought: None,
        observation: None,
        tool_input: None,
        created_at: Micros::from_secs(11),
        cuts: Cuts::default(),
    };
    bench.record(&message_closed(message("normal"), vec![thought(1, "lookup;lookup"), thought(2, "")]));
    assert_eq!(bench.all(&catalogue::LLM_REQUESTS), [pair("tongyi qwen-max succeeded", 2)]);
    assert_eq!(bench.count(&catalogue::LLM_TOKENS, &["tongyi", "qwen-max", "prompt"]), 200);
    assert_eq!(
        bench.all(&catalogue::TOOL_CALLS),
        [pair("plugin demo/shop/shop lookup failed", 1), pair("plugin demo/shop/shop lookup unknown", 1)]
    );
    assert_eq!(bench.all(&catalogue::ERRORS), [pair("tool tool", 1)]);
}

#[test]
fn a_streak_counts_once_when_it_is_long_enough_and_ends_with_a_success() {
    let mut bench = Bench::new();
    for _ in 0..4 {
        bench.record(&closed(failed(RATE), vec![node("llm", "llm", "failed")]));
    }
    assert_eq!(bench.all(&catalogue::FAILURE_STREAKS), [pair("model openai/gpt-4o-mini", 1), pair("node Answer it (llm)", 1)]);
    assert_eq!(
        bench.gauge(&catalogue::CONSECUTIVE_FAILURES),
        [("model openai/gpt-4o-mini".into(), 4.0), ("node Answer it (llm)".into(), 4.0)]
    );
    bench.record(&closed(run("succeeded"), vec![used(node("llm", "llm", "succeeded"))]));
    assert_eq!(
        bench.gauge(&catalogue::CONSECUTIVE_FAILURES),
        [("model openai/gpt-4o-mini".into(), 0.0), ("node Answer it (llm)".into(), 0.0)]
    );
    for _ in 0..3 {
        bench.record(&closed(failed(RATE), vec![node("llm", "llm", "failed")]));
    }
    assert_eq!(bench.all(&catalogue::FAILURE_STREAKS), [pair("model openai/gpt-4o-mini", 2), pair("node Answer it (llm)", 2)]);
}

#[test]
fn a_streak_follows_the_order_in_which_nodes_finished() {
    let mut bench = Bench::new();
    let at = |seconds, node: Node| Node { finished_at: Some(Micros::from_secs(seconds)), ..node };
    let nodes =
        vec![at(15, node("llm", "llm", "failed")), at(13, used(node("llm", "llm", "succeeded"))), at(12, node("llm", "llm", "failed"))];
    bench.record(&closed(run("succeeded"), nodes));
    assert_eq!(bench.gauge(&catalogue::CONSECUTIVE_FAILURES)[0].1, 1.0);
}

#[test]
fn trying_out_makes_no_streak_but_counts() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.record(&closed(Run { triggered_from: "debugging".into(), ..failed(RATE) }, vec![node("llm", "llm", "failed")]));
    }
    assert!(bench.all(&catalogue::FAILURE_STREAKS).is_empty());
    assert_eq!(bench.all(&catalogue::WORKFLOW_RUNS), [pair("workflow debugging failed", 3)]);
}

#[test]
fn business_labels_come_from_inputs_tags_and_people() {
    let mut bench =
        Bench::with_labels("[category]\nsource = \"input\"\nvariable = \"topic\"\nvalues = [\"billing\"]\n[who]\nsource = \"user_age\"\n");
    bench.catalog.insert_end_user(Uuid::from_u128(0xe), EndUser { session_id: "u-1".into(), first_seen: Micros::from_secs(9) }, Micros(0));
    bench.record(&closed(run("succeeded"), vec![node("start", "start", "succeeded")]));
    for family in [&catalogue::WORKFLOW_RUNS, &catalogue::NODE_EXECUTIONS] {
        let series = bench.totals.exposed(family).next().unwrap();
        let values: Vec<&str> = series.label_values().collect();
        assert!(values.ends_with(&["billing", "new"]), "{values:?}");
    }
}

#[test]
fn triggers_feedback_and_what_vanished() {
    let mut bench = Bench::new();
    let log = TriggerLog {
        id: Uuid::nil(),
        tenant_id: Uuid::nil(),
        app_id: APP,
        workflow_run_id: None,
        trigger_type: "trigger-webhook".into(),
        status: "succeeded".into(),
        created_at: Micros::from_secs(1),
        triggered_at: None,
        finished_at: None,
        run_created_at: Some(Micros::from_secs(3)),
    };
    bench.record(&Event::TriggerClosed { log: log.clone(), closed: Closed::Ended });
    let queued = TriggerLog { status: "queued".into(), run_created_at: None, ..log };
    bench.record(&Event::TriggerClosed { log: queued, closed: Closed::Abandoned });
    assert_eq!(bench.all(&catalogue::TRIGGER_EVENTS), [pair("trigger-webhook abandoned", 1), pair("trigger-webhook succeeded", 1)]);
    assert_eq!(bench.distribution(&catalogue::TRIGGER_QUEUE, &["trigger-webhook"]), (1, 2.0));

    let feedback = Feedback {
        id: Uuid::nil(),
        app_id: APP,
        message_id: Uuid::nil(),
        rating: "like".into(),
        source: "user".into(),
        created_at: Micros(0),
        updated_at: Micros(0),
        version: 1,
    };
    for action in [FeedbackAction::Created, FeedbackAction::Changed, FeedbackAction::Withdrawn] {
        bench.record(&Event::Feedback { feedback: feedback.clone(), action });
    }
    assert_eq!(
        bench.all(&catalogue::MESSAGE_FEEDBACKS),
        [pair("like user changed", 1), pair("like user created", 1), pair("like user withdrawn", 1)]
    );

    bench.record(&Event::Vanished(Kind::Run));
    assert_eq!(bench.totals.counter(&catalogue::VANISHED_RECORDS, Labels::global(["runs"])), 1);
}

#[test]
fn broken_values_are_counted_by_the_kind_of_their_record() {
    let mut bench = Bench::new();
    let broken = Node { execution_metadata: Some("{\"total_tokens\": 7, \"cut".into()), ..node("llm", "llm", "succeeded") };
    bench.record(&closed(run("succeeded"), vec![broken, node("end", "end", "succeeded")]));
    bench.record(&message_closed(Message { metadata: Some("nothing".into()), ..message("normal") }, vec![]));
    let unreadable = |kind| bench.totals.counter(&catalogue::UNREADABLE_VALUES, Labels::global([kind]));
    assert_eq!((unreadable("runs"), unreadable("messages")), (1, 1));
    assert_eq!(bench.all(&catalogue::NODE_EXECUTIONS).len(), 2, "the rows themselves count");
}

#[test]
fn a_deleted_app_keeps_its_id() {
    let mut bench = Bench::new();
    let gone = Uuid::from_u128(0xdead);
    let key = RunKey { app_id: gone, ..run("succeeded").key };
    bench.record(&closed(Run { key, ..run("succeeded") }, vec![]));
    let labels = Labels::of_app(&AppLabels { id: gone, name: "deleted".into() }, ["workflow", "app-run", "succeeded"]);
    assert_eq!(bench.totals.counter(&catalogue::WORKFLOW_RUNS, labels), 1);
}

#[test]
fn what_is_kept_between_events_survives_the_state_file() {
    let mut bench = Bench::new();
    bench.side.begin(Micros::from_secs(1));
    bench.record(&Event::RunStarted(run("paused"))).record(&closed(failed(RATE), vec![node("llm", "llm", "failed")]));
    let bytes = postcard::to_stdvec(&bench.side).unwrap();
    assert_eq!(postcard::from_bytes::<SideState>(&bytes).unwrap(), bench.side);
}
