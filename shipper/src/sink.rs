//! Where documents go: what the pipeline may ask of a sink, whatever stands at its other end.

use std::fmt::Debug;
use std::sync::Arc;

use dify_observe_core::dify::follow::FollowState;
use dify_observe_core::exit::Exit;
use futures_util::future::BoxFuture;

use crate::document::Document;

/// Why a sink cannot go on. Whatever passes by itself (an engine that is down, full or busy) is waited for inside the sink and is not one
/// of these.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub struct SinkError {
    /// One sentence: what is wrong and how to mend it. No credential, no content.
    pub problem: String,
    /// How a process ends that meets it.
    pub exit: Exit,
    /// Another shipper has moved this sink's position: this one steps down and goes on from there when it leads again.
    pub fenced: bool,
}

/// What was made of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Written for the first time, or in place of an earlier state.
    pub written: u64,
    /// There already, in this or a later state.
    pub known: u64,
    /// Rejected for good, and in the dead letters, durably.
    pub rejected: u64,
    /// Older than the sink keeps: not sent.
    pub expired: u64,
}

/// How far a sink has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// What the follower remembers. From a sink that keeps it outside of this host it may lack the ledger: then some of what was sent is sent
    /// again, under the same ids.
    pub follow: FollowState,
}

/// Where documents go.
pub trait Sink: Debug + Send + Sync {
    /// How many batches it wants to be given at a time.
    fn concurrency(&self) -> usize {
        1
    }

    /// About how large a batch it wants: bytes of documents, and their number.
    fn batch_limits(&self) -> (usize, usize) {
        (5 * 1024 * 1024, 1000)
    }

    /// Makes ready: connects, undoes what was never committed. The position, if it has one.
    fn open(&self) -> BoxFuture<'_, Result<Option<Checkpoint>, SinkError>>;

    /// Delivers a batch. Comes back when every document of it is acknowledged or in the dead letters, however long that takes. May be dropped at
    /// any moment: then nothing is known of the batch, and it is given again.
    fn deliver(&self, batch: Arc<[Document]>) -> BoxFuture<'_, Result<Delivered, SinkError>>;

    /// Makes durable that everything up to here is delivered. Called with every earlier batch delivered, and none under way for a sink whose
    /// [`Sink::commits_alone`] says so.
    fn commit<'a>(&'a self, checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<(), SinkError>>;

    /// Whether nothing may be under way during a commit: it covers all that was delivered before, and nothing else.
    fn commits_alone(&self) -> bool {
        false
    }

    /// Nothing more will come, at least for a while: completes what can be completed. Called at the end of a process that ends in order, and of
    /// a backfill.
    fn close(&self) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// One sentence while the other end is away, full or busy; `None` while all is well.
    fn trouble(&self) -> Option<String> {
        None
    }
}
