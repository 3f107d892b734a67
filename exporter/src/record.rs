//! From records to increments: what each event of the follower adds to which family.
//!
//! [`record`] is the only place where anything is counted by event. It is a function of the event, of names that were read
//! before ([`Context`]), and of what is kept between events ([`SideState`]); it asks no clock and no database, so that the
//! same events always make the same totals. docs/metrics-semantics.md has the definitions in prose.

mod llm;
mod message;
mod nodes;
mod run;
mod side;
mod sketch;
mod streaks;
mod subject;
mod users;

#[cfg(test)]
mod tests;

use dify_observe_core::dify::catalog::Catalog;
use dify_observe_core::dify::follow::{Closed, Event, FeedbackAction, Kind};
use dify_observe_core::dify::records::{Feedback, TriggerLog, Word};
use dify_observe_core::dify::time::Micros;
use dify_observe_core::labels::LabelRules;
use uuid::Uuid;

use crate::catalogue;
use crate::store::{AppLabels, GaugeSet, Labels, Totals};
use subject::Subject;

pub use side::SideState;

/// What is known beside the event itself.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Names, prepared with [`Catalog::prepare`].
    pub catalog: &'a Catalog,
    /// The operator's labels.
    pub labels: &'a LabelRules,
    /// `exporter.streak_length`
    pub streak_length: u32,
}

/// The gauges that are made of what is kept between events: consecutive failures and active end users, as of now.
pub fn gauges(side: &SideState, catalog: &Catalog, gauges: &mut GaugeSet) {
    side.gauges(catalog, Micros::now(), gauges);
}

/// The labels of an app.
pub fn app_labels(catalog: &Catalog, id: Uuid) -> AppLabels {
    AppLabels { id, name: catalog.app(id).name.clone() }
}

/// Counts an event.
pub fn record(event: &Event, context: &Context<'_>, totals: &mut Totals, side: &mut SideState) {
    match event {
        Event::RunStarted(run) => run::started(run, context, totals, side),
        Event::RunClosed { run, nodes, closed } => run::closed(run, nodes, *closed, context, totals, side),
        Event::NodesSettled { run, nodes } => run::nodes_settled(run, nodes, context, totals, side),
        Event::MessageClosed { message, thoughts, closed } => message::closed(message, thoughts, *closed, context, totals, side),
        Event::TriggerClosed { log, closed } => trigger(log, *closed, context, totals),
        Event::Feedback { feedback, action } => self::feedback(feedback, *action, context, totals),
        Event::Vanished(kind) => vanished(*kind, totals),
        // What is counted stays counted; who only counts is told of none.
        Event::RunCorrected { .. } | Event::MessageCorrected { .. } => {}
    }
}

fn trigger(log: &TriggerLog, closed: Closed, context: &Context<'_>, totals: &mut Totals) {
    let subject = Subject::plain(log.app_id, context);
    let abandoned = closed == Closed::Abandoned && !log.has_ended();
    let status: Word = if abandoned { "abandoned".into() } else { log.status.clone() };
    totals.add(&catalogue::TRIGGER_EVENTS, subject.labels([log.trigger_type.clone(), status]), 1);
    if let Some(run) = log.run_created_at {
        let waited = run.since(log.created_at).as_secs_f64();
        totals.observe(&catalogue::TRIGGER_QUEUE, subject.labels([log.trigger_type.clone()]), waited, None);
    }
}

fn feedback(feedback: &Feedback, action: FeedbackAction, context: &Context<'_>, totals: &mut Totals) {
    let subject = Subject::plain(feedback.app_id, context);
    let action: Word = match action {
        FeedbackAction::Created => "created".into(),
        FeedbackAction::Changed => "changed".into(),
        FeedbackAction::Withdrawn => "withdrawn".into(),
    };
    totals.add(&catalogue::MESSAGE_FEEDBACKS, subject.labels([feedback.rating.clone(), feedback.source.clone(), action]), 1);
}

fn vanished(kind: Kind, totals: &mut Totals) {
    totals.add(&catalogue::VANISHED_RECORDS, Labels::global([kind.as_str()]), 1);
}
