//! The sending half of a pipeline: batches concurrently, and the position once everything before it is acknowledged.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use dify_observe_core::dify::time::Micros;
use dify_observe_core::exit::Exit;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::batches::Batch;
use super::reader::Item;
use crate::document::Kind;
use crate::sink::{Checkpoint, Delivered, SinkError};
use crate::sinks::OpenSink;

/// Most checkpoints that wait; of more, the newest takes the place of the one before.
const MOST_MARKS: usize = 4;

/// Sends to one sink.
#[derive(Debug)]
pub(crate) struct Sender {
    name: String,
    open: Arc<OpenSink>,
    items: mpsc::Receiver<Item>,
    shared: Arc<Shared>,
    under_way: JoinSet<Done>,
    /// Numbers of the batches that are under way.
    numbers: BTreeSet<u64>,
    next: u64,
    marks: VecDeque<Mark>,
    committed_at: Option<Instant>,
    /// Nothing more will come.
    closing: bool,
}

/// A checkpoint that waits for the batches before it.
#[derive(Debug)]
struct Mark {
    /// The first number that does not belong to it.
    before: u64,
    checkpoint: Box<Checkpoint>,
    at: Micros,
    back: Option<oneshot::Sender<Box<Checkpoint>>>,
}

/// What became of a batch.
#[derive(Debug)]
struct Done {
    number: u64,
    kind: Kind,
    bytes: usize,
    result: Result<Delivered, SinkError>,
}

impl Sender {
    pub(crate) fn new(name: String, open: Arc<OpenSink>, items: mpsc::Receiver<Item>, shared: Arc<Shared>) -> Self {
        Sender {
            name,
            open,
            items,
            shared,
            under_way: JoinSet::new(),
            numbers: BTreeSet::new(),
            next: 0,
            marks: VecDeque::new(),
            committed_at: None,
            closing: false,
        }
    }

    /// Sends until nothing more comes and everything is acknowledged and committed.
    pub(crate) async fn send(mut self) -> Result<(), SinkError> {
        while !(self.closing && self.under_way.is_empty() && self.marks.is_empty()) {
            let due = self.commit_due();
            let takes = !self.closing && self.under_way.len() < self.open.sink.concurrency().max(1) && !self.must_be_alone();
            tokio::select! {
                biased;
                Some(done) = self.under_way.join_next(), if !self.under_way.is_empty() => self.finished(done)?,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.commit().await?,
                item = self.items.recv(), if takes => match item {
                    Some(item) => self.take(item),
                    None => self.closing = true,
                },
            }
        }
        self.open.sink.close().await
    }

    fn take(&mut self, item: Item) {
        match item {
            Item::Batch(batch) => self.deliver(batch),
            Item::Mark { checkpoint, at, back } => {
                if self.marks.len() >= MOST_MARKS {
                    self.marks.pop_back();
                }
                self.marks.push_back(Mark { before: self.next, checkpoint, at, back });
            }
            Item::Covered { position, status, at } => {
                if self.numbers.is_empty() && self.marks.is_empty() {
                    self.shared.board.covered(&self.name, position, &status, at);
                }
            }
        }
    }

    fn deliver(&mut self, batch: Batch) {
        if self.open.sink.commits_alone() {
            // A commit now would cover more than the mark says; the next mark covers it all.
            self.marks.clear();
        }
        let (number, sink) = (self.next, self.open.sink.clone());
        self.next += 1;
        self.numbers.insert(number);
        self.under_way.spawn(async move {
            let Batch { kind, documents, bytes, claim } = batch;
            let result = sink.deliver(documents).await;
            drop(claim);
            Done { number, kind, bytes, result }
        });
    }

    fn finished(&mut self, done: Result<Done, JoinError>) -> Result<(), SinkError> {
        let done = done.map_err(|_| SinkError {
            problem: "a bug in the sink stopped a batch, please report it".to_owned(),
            exit: Exit::Failed,
            fenced: false,
        })?;
        self.numbers.remove(&done.number);
        let delivered = done.result?;
        self.shared.metrics.delivered(&self.name, done.kind, delivered, done.bytes);
        self.shared.board.delivered(&self.name, delivered.written + delivered.known);
        Ok(())
    }

    /// How many of the waiting checkpoints have everything before them acknowledged.
    fn ready(&self) -> usize {
        let under_way = self.numbers.first().copied().unwrap_or(u64::MAX);
        self.marks.iter().take_while(|mark| mark.before <= under_way).count()
    }

    /// Whether the sink wants nothing under way and a commit is next.
    fn must_be_alone(&self) -> bool {
        let wanted = self.marks.back().is_some_and(|mark| mark.back.is_some() || self.interval_is_over());
        self.open.sink.commits_alone() && wanted
    }

    fn interval_is_over(&self) -> bool {
        self.committed_at.is_none_or(|at| at.elapsed() >= self.shared.settings.shipper.checkpoint_interval)
    }

    /// When the next commit is due, where there is something to commit.
    fn commit_due(&self) -> Option<Instant> {
        let ready = self.ready();
        if ready == 0 {
            return None;
        }
        let at_once = self.closing || self.marks.iter().take(ready).any(|mark| mark.back.is_some());
        match self.committed_at {
            Some(at) if !at_once => Some(at + self.shared.settings.shipper.checkpoint_interval),
            _ => Some(Instant::now()),
        }
    }

    /// Commits the newest checkpoint that is ready; those before it are covered by it.
    async fn commit(&mut self) -> Result<(), SinkError> {
        let ready = self.ready();
        let Some(mark) = self.marks.drain(..ready).next_back() else { return Ok(()) };
        let began = Instant::now();
        self.open.sink.commit(&mark.checkpoint).await?;
        self.committed_at = Some(Instant::now());
        self.shared.metrics.committed(&self.name, began.elapsed());
        let follow = &mark.checkpoint.follow;
        self.shared.board.covered(&self.name, follow.position(), &follow.status(&self.shared.settings.follow), mark.at);
        if let Some(back) = mark.back {
            // The reader may have ended meanwhile.
            let _reader_is_gone = back.send(mark.checkpoint);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
