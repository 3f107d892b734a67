//! What every document of one record has: whose record it is, where it belongs, what people filter by.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use dify_observe_core::dify::catalog::{App, Catalog};
use dify_observe_core::dify::records::{Message, Run, Word};
use dify_observe_core::dify::time::Micros;
use dify_observe_core::labels::LabelFacts;
use uuid::Uuid;

use super::parts::{AppPart, Dify, Ecs, EventPart, Id, Service, Source, Time, WorkflowPart};
use super::people::{self, Person};
use super::{Builder, errors};
use crate::catalogue::ECS_VERSION;
use crate::document::{Document, Kind, Scope};
use dify_observe_core::dify::lookups::Lookups;

/// One event, and what is known beside it.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) builder: &'a Builder,
    pub(super) catalog: &'a Catalog,
    pub(super) lookups: &'a Lookups,
    pub(super) wanted: &'a dyn Fn(Kind) -> bool,
}

/// What all documents of a record share.
pub(super) struct Base<'a> {
    pub(super) source: Source,
    pub(super) app: Arc<App>,
    pub(super) person: Person<'a>,
}

/// What a record's row is called by, and what it is.
pub(super) struct Identity {
    pub(super) kind: Kind,
    pub(super) id: String,
    pub(super) revision: u64,
    pub(super) time: Micros,
}

impl<'a> Scene<'a> {
    /// What documents of a run share.
    pub(super) fn of_run(&self, run: &Run) -> Base<'a> {
        let user = people::end_user_of_run(run);
        let person = match user {
            Some(id) => Person::EndUser(id, self.catalog.end_user(id)),
            None if run.created_by.is_nil() => Person::Unknown,
            None => Person::Account(run.created_by),
        };
        let mut base = self.base(run.key.app_id, person, run.created_at, run.inputs.as_deref());
        base.source.trace = Some(trace(run.key.id));
        let (conversation_id, message_id) = self.lookups.conversation_of(run.key.id).unzip();
        let dify = base.dify();
        dify.tenant_id = Some(run.key.tenant_id);
        dify.triggered_from = Some(run.triggered_from.clone());
        dify.debugging = Some(matches!(&*run.triggered_from, "debugging" | "rag-pipeline-debugging"));
        dify.workflow_run_id = Some(run.key.id);
        dify.workflow = Some(WorkflowPart { id: Some(run.key.workflow_id), version: Some(run.version.clone()) });
        dify.conversation_id = conversation_id;
        dify.message_id = message_id;
        base
    }

    /// What documents of a message share, those of a feedback to it included.
    pub(super) fn of_message(&self, message: &Message) -> Base<'a> {
        let person = match (message.from_end_user_id, message.from_account_id) {
            (Some(id), _) => Person::EndUser(id, self.catalog.end_user(id)),
            (None, Some(id)) => Person::Account(id),
            (None, None) => Person::Unknown,
        };
        let mut base = self.base(message.app_id, person, message.created_at, message.inputs.as_deref());
        base.source.trace = Some(trace(message.workflow_run_id.unwrap_or(message.id)));
        let dify = base.dify();
        dify.invoke_from = message.invoke_from.clone();
        dify.debugging = Some(message.invoke_from.as_deref() == Some("debugger"));
        dify.workflow_run_id = message.workflow_run_id;
        dify.conversation_id = Some(message.conversation_id);
        dify.message_id = Some(message.id);
        base
    }

    /// What documents of an app share.
    pub(super) fn base(&self, app_id: Uuid, person: Person<'a>, at: Micros, inputs: Option<&str>) -> Base<'a> {
        let app = self.catalog.app(app_id);
        let mut source = Source {
            ecs: Some(Ecs { version: Some(ECS_VERSION) }),
            service: Some(Service { name: Some("dify") }),
            labels: self.labels(&app, person, at, inputs),
            ..Source::default()
        };
        let user = people::name(&mut source, &self.builder.people, person, at);
        let always = |text: &Word| Word::from(self.builder.shaper.always(text));
        source.dify = Some(Box::new(Dify {
            tenant_id: app.tenant_id,
            app: Some(AppPart {
                id: Some(app_id),
                name: Some(always(&app.name)),
                mode: Some(app.mode.clone()),
                tags: super::parts::some(app.tags.iter().map(always).collect()),
            }),
            user,
            ..Dify::default()
        }));
        Base { source, app, person }
    }

    fn labels(&self, app: &App, person: Person<'_>, at: Micros, inputs: Option<&str>) -> Option<BTreeMap<Arc<str>, Arc<str>>> {
        let rules = &self.builder.labels;
        if rules.is_empty() {
            return None;
        }
        let facts =
            LabelFacts { inputs, app_name: &app.name, app_tags: &app.tags, end_user: person.session(), new_user: person.is_new(at) };
        Some(rules.names().iter().cloned().zip(rules.values(&facts)).collect())
    }

    /// Content that is JSON in its column.
    pub(super) fn json(&self, base: &Base<'_>, raw: Option<&str>, cut: bool) -> Option<String> {
        let text = self.builder.shaper.json(raw.filter(|raw| !raw.is_empty())?, cut)?;
        Some(people::hide(&self.builder.people, text, base.person.session()))
    }

    /// Content that is prose in its column.
    pub(super) fn text(&self, base: &Base<'_>, raw: Option<&str>, cut: bool) -> Option<String> {
        let text = self.builder.shaper.text(raw.filter(|raw| !raw.is_empty())?, cut)?;
        Some(people::hide(&self.builder.people, text, base.person.session()))
    }

    /// An error's text. Vendors repeat what they were sent.
    pub(super) fn error(&self, base: &Base<'_>, raw: Option<&str>, cut: bool) -> Option<String> {
        let text = errors::message(&self.builder.shaper, raw?, cut);
        Some(people::hide(&self.builder.people, text, base.person.session())).filter(|text| !text.is_empty())
    }

    /// A title or a name.
    pub(super) fn title(&self, base: &Base<'_>, raw: &str) -> Option<String> {
        let text = self.builder.shaper.always(raw);
        Some(people::hide(&self.builder.people, text, base.person.session())).filter(|text| !text.is_empty())
    }
}

impl Base<'_> {
    /// The part below `dify`.
    pub(super) fn dify(&mut self) -> &mut Dify {
        self.source.dify.get_or_insert_default()
    }

    /// Writes a document: `source` began as a clone of the base's.
    pub(super) fn write(&self, mut source: Source, identity: Identity, out: &mut Vec<Document>) {
        let Identity { kind, id, revision, time } = identity;
        source.timestamp = Some(Time::nearest(time));
        let event = source.event.get_or_insert_default();
        event.kind = Some("event");
        event.dataset = Some(dataset(kind));
        event.category.get_or_insert(category(kind));
        event.action.get_or_insert(kind.as_str());
        let status = source.dify.as_ref().and_then(|dify| dify.status.clone());
        // Structs of texts and numbers: there is nothing in them that JSON cannot say.
        let bytes = serde_json::to_vec(&source).unwrap_or_default();
        let scope = Scope { app: self.app.clone(), status };
        out.push(Document { kind, id, revision, time, source: Bytes::from(bytes), scope });
    }
}

/// How something went: what ECS knows, how long, from when to when.
pub(super) fn event(outcome: &'static str, seconds: Option<f64>, start: Option<Micros>, end: Option<Micros>) -> EventPart {
    let nanoseconds = seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0).map(|seconds| (seconds * 1e9).round() as i64);
    EventPart {
        outcome: Some(outcome),
        duration: nanoseconds,
        start: start.and_then(Time::of),
        end: end.and_then(Time::of),
        ..EventPart::default()
    }
}

/// The id of a trace: 32 hex digits.
pub(super) fn trace(id: Uuid) -> Id {
    Id { id: Some(id.simple().to_string()) }
}

/// The id of a span: the lower half of the record's.
pub(super) fn span(id: Uuid) -> Id {
    Id { id: Some(id.simple().to_string().split_off(16)) }
}

/// The outcome of a settled status of a node or of a call.
pub(super) fn outcome(status: &str) -> &'static str {
    match status {
        "succeeded" => "success",
        "failed" | "exception" | "retry" => "failure",
        _ => "unknown",
    }
}

const fn dataset(kind: Kind) -> &'static str {
    match kind {
        Kind::WorkflowRun => "dify.workflow_run",
        Kind::NodeExecution => "dify.node_execution",
        Kind::Message => "dify.message",
        Kind::ToolCall => "dify.tool_call",
        Kind::Retrieval => "dify.retrieval",
        Kind::Feedback => "dify.feedback",
        Kind::Log => "dify.log",
    }
}

const fn category(kind: Kind) -> &'static str {
    match kind {
        Kind::WorkflowRun | Kind::NodeExecution => "process",
        Kind::Retrieval => "database",
        Kind::Message | Kind::ToolCall | Kind::Feedback | Kind::Log => "api",
    }
}
