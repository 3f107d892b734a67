//! What documents say of a record beyond its own row: a message's place in its conversation, the conversation of a run, the
//! message that a feedback is about.
//!
//! Read once for a batch of events, in one transaction, by primary key or through an index that the schema has; what cannot be
//! had that way is left out. Every statement is bounded: by 500 ids, and by how much of a conversation it looks at.

mod feedbacks;
mod runs;
mod turns;

use std::collections::{BTreeSet, HashMap};

use uuid::Uuid;

use super::catalog::Wanted;
use super::follow::Event;
use super::records::{Feedback, Message, Run, Word};
use super::schema::Schema;
use super::session::{DatabaseError, ReadTx};

/// How many ids one statement asks for.
const PAGE: usize = 500;

/// What documents say of records beyond their own rows.
#[derive(Clone, Debug, Default)]
pub struct Lookups {
    turns: HashMap<Uuid, Turn>,
    conversations: HashMap<Uuid, (Uuid, Uuid)>,
    rated: HashMap<Uuid, Message>,
    comments: HashMap<Uuid, String>,
}

/// A message's place in its conversation. One in a conversation of more than 1,000 messages has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// From 1, by the time of creation.
    pub number: u32,
    /// The message before it.
    pub previous: Option<Previous>,
}

/// The message before another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previous {
    /// Its id.
    pub message_id: Uuid,
    /// Its status as stored.
    pub status: Word,
    /// Whether its search in knowledge bases found nothing; `None` where it made none, or no row says it.
    pub retrieval_missed: Option<bool>,
    /// How it was rated last: like, dislike.
    pub feedback: Option<Word>,
}

/// The records of a batch that something is to be looked up for.
#[derive(Default)]
struct Batch<'a> {
    messages: Vec<&'a Message>,
    runs: Vec<&'a Run>,
    feedbacks: Vec<&'a Feedback>,
}

impl<'a> Batch<'a> {
    fn of(events: &'a [Event]) -> Self {
        let mut batch = Batch::default();
        for event in events {
            match event {
                Event::MessageClosed { message, .. } | Event::MessageCorrected { message, .. } => batch.messages.push(message),
                Event::RunClosed { run, .. } | Event::NodesSettled { run, .. } | Event::RunCorrected { run, .. } => batch.runs.push(run),
                Event::Feedback { feedback, .. } => batch.feedbacks.push(feedback),
                Event::RunStarted(_) | Event::TriggerClosed { .. } | Event::Vanished(_) => {}
            }
        }
        batch
    }
}

/// A set of ids in pages.
fn pages(ids: impl IntoIterator<Item = Uuid>) -> Vec<Vec<Uuid>> {
    let ids: Vec<Uuid> = ids.into_iter().collect::<BTreeSet<Uuid>>().into_iter().collect();
    ids.chunks(PAGE).map(<[Uuid]>::to_vec).collect()
}

impl Lookups {
    /// Reads what the documents of these events need. What is not there, or may not be read, is left out.
    pub async fn read(tx: &mut ReadTx, schema: &Schema, events: &[Event]) -> Result<Lookups, DatabaseError> {
        let batch = Batch::of(events);
        let mut lookups = Lookups::default();
        // A wrong estimate must not turn a look at an index into one at a whole table.
        tx.set_local("SET LOCAL enable_seqscan = off").await?;
        turns::read(tx, schema, &batch.messages, &mut lookups).await?;
        runs::read(tx, schema, &batch, &mut lookups).await?;
        feedbacks::read(tx, schema, &batch.feedbacks, &mut lookups).await?;
        Ok(lookups)
    }

    /// Adds what these records refer to.
    pub fn want(&self, wanted: &mut Wanted) {
        for message in self.rated.values() {
            wanted.apps.insert(message.app_id);
            wanted.end_users.extend(message.from_end_user_id);
        }
    }

    /// A message's place in its conversation.
    pub fn turn(&self, message: Uuid) -> Option<&Turn> {
        self.turns.get(&message)
    }

    /// The conversation and the message that a chatflow's run answered.
    pub fn conversation_of(&self, run: Uuid) -> Option<(Uuid, Uuid)> {
        self.conversations.get(&run).copied()
    }

    /// The message that a feedback is about.
    pub fn rated(&self, message: Uuid) -> Option<&Message> {
        self.rated.get(&message)
    }

    /// What a feedback says in words.
    pub fn comment(&self, feedback: Uuid) -> Option<&str> {
        self.comments.get(&feedback).map(String::as_str)
    }

    /// Puts a place in a conversation in by hand. For tests, and for callers that have the row already.
    pub fn insert_turn(&mut self, message: Uuid, turn: Turn) {
        self.turns.insert(message, turn);
    }

    /// Puts a run's conversation and message in by hand. For tests, and for callers that have the row already.
    pub fn insert_conversation(&mut self, run: Uuid, conversation: (Uuid, Uuid)) {
        self.conversations.insert(run, conversation);
    }

    /// Puts a rated message in by hand. For tests, and for callers that have the row already.
    pub fn insert_rated(&mut self, message: Message) {
        self.rated.insert(message.id, message);
    }

    /// Puts a comment in by hand. For tests, and for callers that have the row already.
    pub fn insert_comment(&mut self, feedback: Uuid, comment: &str) {
        self.comments.insert(feedback, comment.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_asked_for_once_and_in_bounded_pages() {
        let ids = (0..1_200).map(|id| Uuid::from_u128(id % 1_001));
        assert_eq!(pages(ids).iter().map(Vec::len).collect::<Vec<_>>(), [500, 500, 1]);
        assert!(pages([]).is_empty());
    }
}
