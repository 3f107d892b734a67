//! Events in, batches out: what events refer to is read, documents are made of them, and what is worth a request is handed to the sender.

use std::sync::Arc;
use std::time::Duration;

use dify_observe_core::dify::follow::Event;
use dify_observe_core::dify::schema::Schema;
use dify_observe_core::dify::session::DatabaseError;
use tokio::sync::mpsc;
use tracing::warn;

use super::maker::LookedUp;
use super::reader::Item;
use super::{Batches, Maker, Shared};
use crate::document::Document;

/// Events whose references are read at a time.
const SLICE: usize = 200;
/// The first and the longest wait after the database could not be read.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// Makes documents of events, for one sender.
#[derive(Debug)]
pub(crate) struct Feeder {
    shared: Arc<Shared>,
    maker: Maker,
    batches: Batches,
    items: mpsc::Sender<Item>,
    slice: usize,
}

impl Feeder {
    pub(crate) fn new(shared: Arc<Shared>, maker: Maker, batches: Batches, items: mpsc::Sender<Item>) -> Self {
        Feeder { shared, maker, batches, items, slice: SLICE }
    }

    /// What knows how documents are made.
    pub(crate) fn maker(&mut self) -> &mut Maker {
        &mut self.maker
    }

    /// Makes documents and hands over what is worth a batch. Told events are not told again, so this does not end before it is done.
    pub(crate) async fn feed(&mut self, mut events: Vec<Event>, schema: &Arc<Schema>) {
        let mut documents = Vec::new();
        while !events.is_empty() {
            let rest = events.split_off(events.len().min(self.slice));
            let Some(found) = self.look_up(&events, schema).await else {
                events.extend(rest);
                continue;
            };
            for event in events {
                self.maker.make(&event, &found, &mut documents);
                drop(event);
                for document in documents.drain(..) {
                    self.put(document).await;
                }
                tokio::task::yield_now().await;
            }
            self.slice = (self.slice * 2).min(SLICE);
            events = rest;
        }
    }

    /// Hands over everything that is left.
    pub(crate) async fn flush(&mut self) {
        for batch in self.batches.take_all() {
            self.send(Item::Batch(batch)).await;
        }
    }

    /// Without a receiver there is nothing to go on for: whoever runs both halves ends this one.
    pub(crate) async fn send(&self, item: Item) {
        if self.items.send(item).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    async fn put(&mut self, document: Document) {
        for batch in self.batches.make_room(&document) {
            self.send(Item::Batch(batch)).await;
        }
        self.batches.put(document).await;
    }

    /// What the events refer to; waits for the database however long it is away. `None` when fewer must be tried. What cannot be had for
    /// another reason is left out: a record without its names is better than none.
    async fn look_up(&mut self, events: &[Event], schema: &Arc<Schema>) -> Option<LookedUp> {
        let timeout = self.shared.settings.postgres.statement_timeout;
        let mut wait = BACKOFF.0;
        loop {
            match self.maker.look_up(events, schema, timeout).await {
                Ok(found) => return Some(found),
                Err(DatabaseError::Timeout) if events.len() > 1 => {
                    self.slice = events.len() / 2;
                    return None;
                }
                Err(DatabaseError::Unreachable(reason)) => {
                    self.shared.board.database(Some(reason));
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(BACKOFF.1);
                }
                Err(error) => {
                    warn!(kind = error.kind(), reason = %error, events = events.len(), "what records refer to could not be read");
                    return Some(LookedUp::default());
                }
            }
        }
    }
}
