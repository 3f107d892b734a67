//! Whose record it is: the labels that all of its increments share, and the trace behind them.

use std::sync::Arc;
use std::time::Duration;

use dify_observe_core::dify::catalog::App;
use dify_observe_core::dify::records::{Message, Run, Word};
use dify_observe_core::dify::time::Micros;
use dify_observe_core::labels::LabelFacts;
use uuid::Uuid;

use super::Context;
use crate::store::{AppLabels, Exemplar, Labels};

/// A person whose first contact with the app is younger than this is new, later they are returning. A web app knows its
/// visitors some minutes before their first question.
const NEW_USER: Duration = Duration::from_secs(3600);

/// The app, the business labels and the trace of one record.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) app: AppLabels,
    /// The app's mode, for messages that do not say it.
    pub(super) mode: Word,
    business: Vec<Arc<str>>,
    trace: Option<(Uuid, Micros)>,
    /// Made while somebody builds the app: such failures are not alarming.
    pub(super) debugging: bool,
}

impl Subject {
    /// A record that has an app and nothing else.
    pub(super) fn plain(app_id: Uuid, context: &Context<'_>) -> Self {
        let app = context.catalog.app(app_id);
        let labels = AppLabels { id: app_id, name: app.name.clone() };
        Subject { app: labels, mode: app.mode.clone(), business: Vec::new(), trace: None, debugging: false }
    }

    pub(super) fn of_run(run: &Run, context: &Context<'_>) -> Self {
        let mut subject = Subject::plain(run.key.app_id, context);
        let user = end_user_of_run(run);
        subject.business = business(context, &context.catalog.app(run.key.app_id), run.inputs.as_deref(), user, run.created_at);
        subject.trace = Some((run.key.id, run.finished_at.unwrap_or(run.created_at)));
        subject.debugging = matches!(&*run.triggered_from, "debugging" | "rag-pipeline-debugging");
        subject
    }

    pub(super) fn of_message(message: &Message, context: &Context<'_>) -> Self {
        let mut subject = Subject::plain(message.app_id, context);
        let app = context.catalog.app(message.app_id);
        subject.business = business(context, &app, message.inputs.as_deref(), message.from_end_user_id, message.created_at);
        subject.trace = Some((message.workflow_run_id.unwrap_or(message.id), message.updated_at));
        subject.debugging = message.invoke_from.as_deref() == Some("debugger");
        subject
    }

    /// Labels of a series of this record; families without business labels ignore those.
    pub(super) fn labels<const N: usize>(&self, own: [Word; N]) -> Labels {
        Labels { app: Some(self.app.clone()), own: Vec::from(own), business: self.business.clone() }
    }

    pub(super) fn exemplar(&self, value: f64) -> Option<Exemplar> {
        self.trace.map(|(trace_id, timestamp)| Exemplar { trace_id, value, timestamp })
    }
}

/// The end user behind a run, if it was one.
pub(super) fn end_user_of_run(run: &Run) -> Option<Uuid> {
    matches!(&*run.created_by_role, "end_user" | "end-user").then_some(run.created_by)
}

fn business(context: &Context<'_>, app: &App, inputs: Option<&str>, user: Option<Uuid>, at: Micros) -> Vec<Arc<str>> {
    if context.labels.is_empty() {
        return Vec::new();
    }
    let user = user.and_then(|id| context.catalog.end_user(id));
    context.labels.values(&LabelFacts {
        inputs,
        app_name: &app.name,
        app_tags: &app.tags,
        end_user: user.map(|user| &*user.session_id),
        new_user: user.map(|user| at.since(user.first_seen) < NEW_USER),
    })
}
