//! Feedback has no final state: people change and withdraw it months later. Every version is an event.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::event::{Event, FeedbackAction};
use crate::dify::records::{Feedback, Word};
use crate::dify::time::Micros;

/// A feedback as last seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Known {
    app_id: Uuid,
    message_id: Uuid,
    rating: Word,
    source: Word,
    created_at: Micros,
    updated_at: Micros,
    version: u64,
}

/// All feedbacks as last seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KnownFeedbacks {
    known: HashMap<Uuid, Known>,
    /// Whether the table was read completely once.
    complete: bool,
}

impl KnownFeedbacks {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// Compares a complete read of the table with what was known, and returns what happened since.
    ///
    /// What was there before anybody looked is remembered without an event, unless it was created at `start` or later.
    pub fn compare(&mut self, rows: Vec<Feedback>, start: Micros) -> Vec<Event> {
        let mut events = Vec::new();
        let mut gone: HashSet<Uuid> = self.known.keys().copied().collect();
        for feedback in rows {
            gone.remove(&feedback.id);
            let action = match self.known.get(&feedback.id) {
                None if self.complete || feedback.created_at >= start => Some(FeedbackAction::Created),
                Some(known) if known.version != feedback.version => Some(FeedbackAction::Changed),
                _ => None,
            };
            if action.is_some() || !self.known.contains_key(&feedback.id) {
                self.known.insert(feedback.id, Known::from(&feedback));
            }
            events.extend(action.map(|action| Event::Feedback { feedback, action }));
        }
        for id in gone {
            if let Some(known) = self.known.remove(&id) {
                events.push(Event::Feedback { feedback: known.into_feedback(id), action: FeedbackAction::Withdrawn });
            }
        }
        self.complete = true;
        events
    }
}

impl From<&Feedback> for Known {
    fn from(feedback: &Feedback) -> Self {
        Known {
            app_id: feedback.app_id,
            message_id: feedback.message_id,
            rating: feedback.rating.clone(),
            source: feedback.source.clone(),
            created_at: feedback.created_at,
            updated_at: feedback.updated_at,
            version: feedback.version,
        }
    }
}

impl Known {
    fn into_feedback(self, id: Uuid) -> Feedback {
        Feedback {
            id,
            app_id: self.app_id,
            message_id: self.message_id,
            rating: self.rating,
            source: self.source,
            created_at: self.created_at,
            updated_at: self.updated_at,
            version: self.version,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feedback(id: u128, rating: &str, created: i64) -> Feedback {
        Feedback {
            id: Uuid::from_u128(id),
            app_id: Uuid::nil(),
            message_id: Uuid::nil(),
            rating: rating.into(),
            source: "user".into(),
            created_at: Micros::from_secs(created),
            updated_at: Micros::from_secs(created),
            version: rating.len() as u64,
        }
    }

    fn actions(events: &[Event]) -> Vec<(u128, FeedbackAction)> {
        let mut actions: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                Event::Feedback { feedback, action } => Some((feedback.id.as_u128(), *action)),
                _ => None,
            })
            .collect();
        actions.sort_unstable();
        actions
    }

    #[test]
    fn like_then_dislike_then_withdrawn_are_three_events() {
        let mut known = KnownFeedbacks::default();
        let start = Micros::from_secs(100);
        assert_eq!(actions(&known.compare(vec![feedback(1, "like", 50), feedback(2, "like", 150)], start)), [(2, FeedbackAction::Created)]);
        assert_eq!(
            actions(&known.compare(vec![feedback(1, "like", 50), feedback(2, "dislike", 150)], start)),
            [(2, FeedbackAction::Changed)]
        );
        assert_eq!(actions(&known.compare(vec![feedback(1, "like", 50)], start)), [(2, FeedbackAction::Withdrawn)]);
        assert_eq!(actions(&known.compare(vec![feedback(1, "like", 50), feedback(3, "like", 20)], start)), [(3, FeedbackAction::Created)]);
        assert!(known.compare(vec![feedback(1, "like", 50), feedback(3, "like", 20)], start).is_empty());
    }
}
