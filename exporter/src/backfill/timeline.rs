//! When things happened, and what is still to be counted because it ended later than it began.

use std::collections::BTreeMap;
use std::time::Duration;

use dify_observe_core::dify::follow::{Event, FeedbackAction};
use dify_observe_core::dify::records::{Feedback, Message, Run};
use dify_observe_core::dify::statistics::IndexedDocument;
use dify_observe_core::dify::time::Micros;

/// Something that is counted.
#[derive(Debug)]
pub(super) enum Item {
    /// Boxed, because it is large and few are kept.
    Event(Box<Event>),
    Document(IndexedDocument),
}

/// What was read and not counted yet, by time.
#[derive(Debug)]
pub(super) struct Timeline {
    from: Micros,
    until: Micros,
    waiting: BTreeMap<(Micros, u64), Item>,
    sequence: u64,
}

impl Timeline {
    /// Nothing yet. What happened at `until` or later (an end after the seam) is counted just before it.
    pub(super) fn new(from: Micros, until: Micros) -> Self {
        Timeline { from, until, waiting: BTreeMap::new(), sequence: 0 }
    }

    pub(super) fn add(&mut self, event: Event) {
        let at = time_of(&event);
        self.insert(at, Item::Event(Box::new(event)));
    }

    /// What `serve` saw at its start and took for known is ours.
    pub(super) fn add_feedback(&mut self, feedback: Feedback) {
        if (self.from..self.until).contains(&feedback.created_at) {
            let at = feedback.created_at;
            self.insert(at, Item::Event(Box::new(Event::Feedback { feedback, action: FeedbackAction::Created })));
        }
    }

    pub(super) fn add_document(&mut self, document: IndexedDocument) {
        if (self.from..self.until).contains(&document.completed_at) {
            self.insert(document.completed_at, Item::Document(document));
        }
    }

    fn insert(&mut self, at: Micros, item: Item) {
        self.sequence += 1;
        self.waiting.insert((at.min(Micros(self.until.0 - 1)), self.sequence), item);
    }

    pub(super) fn next_at(&self) -> Option<Micros> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes out what happened before `end`, in order.
    pub(super) fn take_before(&mut self, end: Micros) -> impl Iterator<Item = Item> + use<> {
        let later = self.waiting.split_off(&(end, 0));
        std::mem::replace(&mut self.waiting, later).into_values()
    }
}

/// When a record became final by its own account.
fn time_of(event: &Event) -> Micros {
    match event {
        Event::RunStarted(run) => run.created_at,
        Event::RunClosed { run, .. } | Event::NodesSettled { run, .. } | Event::RunCorrected { run, .. } => end_of_run(run),
        Event::MessageClosed { message, .. } | Event::MessageCorrected { message, .. } => end_of_message(message),
        Event::TriggerClosed { log, .. } => log.finished_at.or(log.triggered_at).unwrap_or(log.created_at).max(log.created_at),
        Event::Feedback { feedback, .. } => feedback.created_at,
        Event::Vanished(_) => Micros::MIN,
    }
}

fn end_of_run(run: &Run) -> Micros {
    run.finished_at.unwrap_or_else(|| run.created_at.plus(seconds(run.elapsed_seconds))).max(run.created_at)
}

fn end_of_message(message: &Message) -> Micros {
    message.created_at.plus(seconds(message.response_seconds))
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn document(at: i64) -> IndexedDocument {
        IndexedDocument { id: Uuid::nil(), dataset_id: Uuid::nil(), completed_at: Micros(at), seconds: 1.0 }
    }

    fn times(items: impl Iterator<Item = Item>) -> Vec<i64> {
        items.filter_map(|item| if let Item::Document(document) = item { Some(document.completed_at.0) } else { None }).collect()
    }

    #[test]
    fn items_come_in_order_and_only_once() {
        let mut timeline = Timeline::new(Micros::MIN, Micros(100));
        [30, 10, 20].into_iter().for_each(|at| timeline.add_document(document(at)));
        assert_eq!(timeline.next_at(), Some(Micros(10)));
        assert_eq!(times(timeline.take_before(Micros(20))), [10]);
        assert_eq!(times(timeline.take_before(Micros(99))), [20, 30]);
        assert_eq!(timeline.next_at(), None);
    }

    #[test]
    fn what_is_outside_of_the_range_is_not_ours() {
        let mut timeline = Timeline::new(Micros(10), Micros(100));
        [5, 100, 200].into_iter().for_each(|at| timeline.add_document(document(at)));
        assert_eq!(timeline.next_at(), None);
    }
}
