//! Records to make documents of, and a look at what became of them.

use std::sync::Arc;

use dify_observe_core::dify::catalog::{App, Catalog, EndUser};
use dify_observe_core::dify::follow::{Closed, Event, FeedbackAction};
use dify_observe_core::dify::records::{Cuts, Feedback, Message, Node, Run, RunKey, Thought};
use dify_observe_core::dify::time::Micros;
use dify_observe_core::labels::LabelRules;
use dify_observe_core::redaction::Redactor;
use dify_observe_core::secret::Secret;
use dify_observe_core::settings::{ContentMode, RedactionSettings, ShipperSettings, UserIds};
use serde_json::Value;
use uuid::Uuid;

use dify_observe_core::dify::lookups::Lookups;

use super::super::Builder;
use crate::catalogue;
use crate::document::{Document, Kind};

pub(super) const USER: Uuid = Uuid::from_u128(5);
const APP: Uuid = Uuid::from_u128(1);
const WORKFLOW: Uuid = Uuid::from_u128(2);
const AT: Micros = Micros::from_secs(1_795_162_964);

/// What stands beside the records.
pub(super) struct Desk {
    pub(super) catalog: Catalog,
    pub(super) lookups: Lookups,
    settings: ShipperSettings,
}

impl Default for Desk {
    fn default() -> Self {
        let mut catalog = Catalog::default();
        let app = App {
            id: APP,
            tenant_id: Some(Uuid::from_u128(3)),
            name: "Shop".into(),
            mode: "workflow".into(),
            status: "normal".into(),
            tags: vec!["team:sales".into()],
        };
        catalog.insert_app(app, AT);
        catalog.insert_end_user(USER, EndUser { session_id: "caller-1".into(), first_seen: AT }, AT);
        Desk { catalog, lookups: Lookups::default(), settings: ShipperSettings::default() }
    }
}

impl Desk {
    pub(super) fn content(mut self, mode: ContentMode) -> Self {
        self.settings.content = mode;
        self
    }

    pub(super) fn user_ids(mut self, user_ids: UserIds) -> Self {
        self.settings.user_ids = user_ids;
        self.settings.user_ids_key = Some(Secret::new("a key of sixteen bytes or more"));
        self
    }

    /// Tools of the nodes `n1`, `n2` …
    pub(super) fn with_tools(mut self, names: &[&str]) -> Self {
        let node = |(at, name): (usize, &&str)| serde_json::json!({ "id": format!("n{}", at + 1), "data": { "type": "tool", "tool_name": name, "provider_name": "demo" } });
        let graph = serde_json::json!({ "nodes": names.iter().enumerate().map(node).collect::<Vec<_>>() });
        self.catalog.insert_graph(WORKFLOW, &graph.to_string(), AT);
        self
    }

    /// Data sets of the node `n1`.
    pub(super) fn with_data_sets(mut self, ids: &[&str]) -> Self {
        let graph = serde_json::json!({ "nodes": [{ "id": "n1", "data": { "type": "knowledge-retrieval", "dataset_ids": ids } }] });
        self.catalog.insert_graph(WORKFLOW, &graph.to_string(), AT);
        self
    }

    pub(super) fn builder(&self) -> Builder {
        let redactor = Redactor::new(&RedactionSettings::default()).unwrap();
        Builder::new(&self.settings, Arc::new(LabelRules::default()), Arc::new(redactor))
    }

    pub(super) fn closed(&self, run: Run, nodes: Vec<Node>) -> Documents {
        self.build(&Event::RunClosed { run, nodes, closed: Closed::Ended })
    }

    pub(super) fn message(&self, message: Message, thoughts: Vec<Thought>) -> Documents {
        self.build(&Event::MessageClosed { message, thoughts, closed: Closed::Ended })
    }

    pub(super) fn feedback(&self, feedback: Feedback, action: FeedbackAction) -> Documents {
        self.build(&Event::Feedback { feedback, action })
    }

    /// The documents of an event. None of them has a field that the catalogue does not give its kind.
    fn build(&self, event: &Event) -> Documents {
        let mut out = Vec::new();
        self.builder().build(event, &self.catalog, &self.lookups, |_| true, &mut out);
        let documents = Documents(out.into_iter().map(|document| (serde_json::from_slice(&document.source).unwrap(), document)).collect());
        for (source, document) in &documents.0 {
            check(source, "", document.kind);
        }
        documents
    }
}

fn check(value: &Value, path: &str, kind: Kind) {
    let known = catalogue::by_path(path);
    if let Some(field) = known {
        assert!(field.kinds.contains(&kind), "{path} of {}", kind.as_str());
        return;
    }
    let object = value.as_object().unwrap_or_else(|| panic!("{path} of {} is not in the catalogue", kind.as_str()));
    assert!(!object.is_empty(), "{path} of {} is empty", kind.as_str());
    for (key, value) in object {
        check(value, &if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, kind);
    }
}

/// What was built.
pub(super) struct Documents(Vec<(Value, Document)>);

impl Documents {
    pub(super) fn all(&self, kind: Kind) -> Vec<&Value> {
        self.0.iter().filter(|(_, document)| document.kind == kind).map(|(source, _)| source).collect()
    }

    pub(super) fn only(&self, kind: Kind) -> &Value {
        let all = self.all(kind);
        assert_eq!(all.len(), 1, "{}", kind.as_str());
        all[0]
    }

    pub(super) fn ids(&self, kind: Kind) -> Vec<&str> {
        self.0.iter().filter(|(_, document)| document.kind == kind).map(|(_, document)| document.id.as_str()).collect()
    }

    /// The revision of the first document.
    pub(super) fn revision(&self) -> u64 {
        self.0[0].1.revision
    }

    pub(super) fn sources(&self) -> impl Iterator<Item = &Value> {
        self.0.iter().map(|(source, _)| source)
    }

    pub(super) fn text(&self) -> String {
        self.sources().map(Value::to_string).collect()
    }
}

pub(super) fn run(status: &str) -> Run {
    Run {
        key: RunKey { id: Uuid::from_u128(4), tenant_id: Uuid::from_u128(3), app_id: APP, workflow_id: WORKFLOW },
        run_type: "workflow".into(),
        triggered_from: "app-run".into(),
        version: "2026-01-01".into(),
        status: status.into(),
        error: None,
        elapsed_seconds: 2.5,
        total_tokens: 157,
        total_steps: Some(3),
        exceptions_count: Some(0),
        created_by_role: "end_user".into(),
        created_by: USER,
        created_at: AT,
        finished_at: Some(Micros(AT.0 + 2_500_000)),
        inputs: Some(r#"{"q": "caller-1 asks", "sys.user_id": "caller-1"}"#.into()),
        outputs: Some(r#"{"text": "caller-1, not caller-12"}"#.into()),
        cuts: Cuts::default(),
        row_version: 7,
    }
}

pub(super) fn node(number: i32, node_type: &str, status: &str) -> Node {
    Node {
        id: Uuid::from_u128(0x100 + number.unsigned_abs() as u128),
        index: number,
        node_id: format!("n{number}").as_str().into(),
        node_type: node_type.into(),
        title: format!("Node {number}"),
        predecessor_node_id: None,
        status: status.into(),
        error: None,
        elapsed_seconds: 0.5,
        created_at: AT,
        finished_at: Some(Micros(AT.0 + 500_000 + i64::from(number))),
        execution_metadata: None,
        process_data: Some(r#"{"prompts": [{"role": "user", "text": "u-1 asks"}]}"#.into()),
        outputs: None,
        inputs: None,
        cuts: Cuts::default(),
        row_version: 6,
    }
}

pub(super) fn chat() -> Message {
    Message {
        id: Uuid::from_u128(0x200),
        app_id: APP,
        conversation_id: Uuid::from_u128(0x201),
        workflow_run_id: None,
        parent_message_id: None,
        model_provider: Some("langgenius/openai/openai".into()),
        model_id: Some("gpt-4o-mini".into()),
        app_mode: Some("chat".into()),
        status: "normal".into(),
        error: None,
        invoke_from: Some("service-api".into()),
        from_source: "api".into(),
        from_end_user_id: Some(USER),
        from_account_id: None,
        message_tokens: 28,
        answer_tokens: 50,
        total_price: Some("0.0000342".parse().unwrap()),
        currency: "USD".into(),
        response_seconds: 1.5,
        has_answer: true,
        agent_based: false,
        metadata: Some("{}".into()),
        inputs: Some("{}".into()),
        query: Some("Is the shirt blue? 衬衫".into()),
        answer: Some("The shirt is.".into()),
        created_at: AT,
        updated_at: Micros(AT.0 + 1_600_000),
        starts_conversation: true,
        cuts: Cuts::default(),
        row_version: 3,
    }
}

pub(super) fn feedback() -> Feedback {
    Feedback {
        id: Uuid::from_u128(0x300),
        app_id: APP,
        message_id: Uuid::from_u128(0x200),
        rating: "dislike".into(),
        source: "user".into(),
        created_at: AT,
        updated_at: AT,
        version: 1 << 32,
    }
}

/// A round that called one tool twice and another once.
pub(super) struct Round {
    tool: &'static str,
    tool_input: &'static str,
    observation: &'static str,
    tool_meta: &'static str,
}

pub(super) const AGENT_THOUGHT: Round = Round {
    tool: "stock;stock;weather",
    tool_input: r#"{"stock": {"sku": 7}, "weather": {}}"#,
    observation: r#"{"stock": "three left", "weather": "tool invoke error: shirt"}"#,
    tool_meta: r#"{"stock": {"time_cost": 0.2, "error": null, "tool_config": {"tool_provider": "demo/shop/shop", "tool_provider_type": "plugin"}},
        "weather": {"time_cost": 5.0, "error": "Request timed out", "tool_config": {"tool_provider": "demo/shop/shop", "tool_provider_type": "plugin"}}}"#,
};

impl Round {
    pub(super) fn thought(&self) -> Thought {
        Thought {
            id: Uuid::from_u128(0x400),
            message_id: Uuid::from_u128(0x200),
            position: 1,
            tool: Some(self.tool.into()),
            tool_meta: Some(self.tool_meta.into()),
            thought: None,
            observation: Some(self.observation.into()),
            tool_input: Some(self.tool_input.into()),
            message_tokens: 28,
            answer_tokens: 50,
            total_price: Some("0.0000342".parse().unwrap()),
            currency: Some("USD".into()),
            created_at: AT,
            cuts: Cuts::default(),
        }
    }
}
