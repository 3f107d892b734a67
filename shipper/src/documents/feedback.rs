//! Feedback: one document for each, replaced when the person changes their mind, and marked when they withdraw it.

use dify_observe_core::dify::follow::FeedbackAction;
use dify_observe_core::dify::records::{Feedback, Message};

use super::parts::{EventPart, FeedbackPart, MessagePart, Source, finite};
use super::people::Person;
use super::scene::{Base, Identity, Scene, trace};
use super::{message, model, revision};
use crate::document::{Document, Kind};

/// A feedback was given, changed or withdrawn.
pub(super) fn told(scene: Scene<'_>, feedback: &Feedback, action: FeedbackAction, out: &mut Vec<Document>) {
    if !(scene.wanted)(Kind::Feedback) {
        return;
    }
    let rated = scene.lookups.rated(feedback.message_id);
    let mut base = match rated {
        Some(message) => scene.of_message(message),
        None => scene.base(feedback.app_id, Person::Unknown, feedback.created_at, None),
    };
    let dify = base.dify();
    dify.message_id = Some(feedback.message_id);
    let mut source = base.source.clone();
    source.trace.get_or_insert_with(|| trace(feedback.message_id));
    source.event = Some(EventPart { action: Some(event_action(action)), ..EventPart::default() });
    if let Some(message) = rated {
        of_rated(scene, &base, message, &mut source);
    }
    let comment = scene.text(&base, scene.lookups.comment(feedback.id), false);
    if let Some(dify) = source.dify.as_mut() {
        dify.feedback = Some(FeedbackPart {
            rating: Some(feedback.rating.clone()),
            action: Some(word(action)),
            source: Some(feedback.source.clone()),
            content: comment,
        });
    }
    let withdrawn = action == FeedbackAction::Withdrawn;
    let identity = Identity {
        kind: Kind::Feedback,
        id: feedback.id.hyphenated().to_string(),
        revision: if withdrawn { revision::of_withdrawn(feedback) } else { revision::of_feedback(feedback) },
        time: feedback.created_at,
    };
    base.write(source, identity, out);
}

/// What the rated message was like: the reason, often.
fn of_rated(scene: Scene<'_>, base: &Base<'_>, rated: &Message, source: &mut Source) {
    source.error = message::error(scene, base, rated);
    model::named(rated.model_provider.as_ref(), rated.model_id.as_ref(), source);
    let part = MessagePart {
        status: Some(rated.status.clone()),
        seconds: finite(rated.response_seconds).filter(|seconds| *seconds > 0.0),
        ..message::part(scene, base, rated)
    };
    if let Some(dify) = source.dify.as_mut() {
        dify.message = Some(Box::new(part));
    }
}

const fn word(action: FeedbackAction) -> &'static str {
    match action {
        FeedbackAction::Created => "created",
        FeedbackAction::Changed => "changed",
        FeedbackAction::Withdrawn => "withdrawn",
    }
}

const fn event_action(action: FeedbackAction) -> &'static str {
    match action {
        FeedbackAction::Created => "feedback-created",
        FeedbackAction::Changed => "feedback-changed",
        FeedbackAction::Withdrawn => "feedback-withdrawn",
    }
}
