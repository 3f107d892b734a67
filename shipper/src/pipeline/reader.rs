//! The reading half of a pipeline: steps, documents, batches, marks.

use std::sync::Arc;
use std::time::Duration;

use dify_observe_core::dify::follow::{Detail, Event, FollowError, FollowState, FollowStatus, Follower, Position, Start, Step};
use dify_observe_core::dify::session::DatabaseError;
use dify_observe_core::dify::statistics::{self, Subject};
use dify_observe_core::dify::time::Micros;
use dify_observe_core::settings;
use dify_observe_core::shutdown::Shutdown;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{info, warn};

use super::batches::Batch;
use super::{Feeder, Mode, Shared};
use crate::sink::{Checkpoint, SinkError};

/// Ids in a state that is copied for a commit; a larger one is lent, and reading waits until it is committed.
const COPIED: usize = 50_000;
/// How often the position is committed when nothing but the time has moved.
const IDLE_COMMIT: Duration = Duration::from_secs(60);
/// The first and the longest wait after the database could not be read.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// How often `--once` tries what may pass by itself.
const ONCE_TRIES: u32 = 14;

/// What the sender is given.
#[derive(Debug)]
pub(crate) enum Item {
    /// Documents.
    Batch(Batch),
    /// Everything before it belongs to this checkpoint.
    Mark {
        checkpoint: Box<Checkpoint>,
        at: Micros,
        /// The state is lent: it is wanted back, as soon as it is committed.
        back: Option<oneshot::Sender<Box<Checkpoint>>>,
    },
    /// Nothing was new up to here.
    Covered { position: Position, status: FollowStatus, at: Micros },
}

/// What a step brought.
enum Outcome {
    More,
    Idle,
}

/// Reads for one sink.
#[derive(Debug)]
pub(crate) struct Reader {
    shared: Arc<Shared>,
    follower: Follower,
    feeder: Feeder,
    state: Option<FollowState>,
    mode: Mode,
    continues: bool,
    /// Something was told since the last mark.
    dirty: bool,
    marked_at: Instant,
    feedbacks_at: Option<Instant>,
    /// What the log was last told about why feedback is not followed.
    feedbacks_off: Option<String>,
    failures: u32,
    /// When nothing more came for the first time, for `--once`.
    idle_since: Option<Instant>,
    began: Micros,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, mut feeder: Feeder, state: Option<FollowState>, mode: Mode) -> Self {
        let Shared { settings, reads, .. } = &*shared;
        let fetch = feeder.maker().fetch();
        let follower = Follower::new(reads.database.clone(), settings.follow.clone(), settings.postgres.statement_timeout, fetch);
        Reader {
            follower,
            feeder,
            state,
            mode,
            continues: false,
            dirty: false,
            marked_at: Instant::now(),
            feedbacks_at: None,
            feedbacks_off: None,
            failures: 0,
            idle_since: None,
            began: Micros::now(),
            shared,
        }
    }

    /// Reads until the end is asked for, or, with [`Mode::Once`], until nothing more comes.
    pub(crate) async fn read(mut self, shutdown: &Shutdown) -> Result<(), SinkError> {
        while !shutdown.is_finishing() {
            match self.round().await {
                Ok(Outcome::More) => {
                    if self.marked_at.elapsed() >= self.shared.settings.shipper.checkpoint_interval {
                        self.mark().await;
                    }
                }
                Ok(Outcome::Idle) => {
                    self.rest().await;
                    if self.mode == Mode::Once && self.is_through() {
                        break;
                    }
                    shutdown.sleep(self.shared.settings.shipper.poll_interval).await;
                }
                Err(error) => {
                    let wait = self.failed(error)?;
                    shutdown.sleep(wait).await;
                }
            }
        }
        if self.dirty || self.mode == Mode::Once {
            self.mark().await;
        }
        Ok(())
    }

    /// A step, and feedback where that is due.
    async fn round(&mut self) -> Result<Outcome, FollowError> {
        let step = {
            let start = self.start();
            let _turn = self.shared.reads.turn().await;
            self.follower.step(&mut self.state, start, self.continues).await?
        };
        self.succeeded();
        let Step::Done { events, late, another_database, more, changed } = step else {
            self.continues = false;
            return Ok(Outcome::Idle);
        };
        self.continues = more;
        self.dirty |= changed;
        if another_database {
            warn!("another database is behind the URL: its records are shipped from now on");
            self.shared.metrics.database_changed();
            self.feeder.maker().forget();
        }
        self.shared.metrics.late(&late);
        self.feed(events).await;
        if !more {
            self.follow_feedback().await?;
        }
        Ok(if more { Outcome::More } else { Outcome::Idle })
    }

    fn start(&self) -> Start {
        match self.shared.settings.shipper.start {
            settings::Start::Now => Start::Now,
            settings::Start::Beginning => Start::Beginning,
            settings::Start::At(time) => Start::At(time),
        }
    }

    async fn feed(&mut self, events: Vec<Event>) {
        if let Some(schema) = self.follower.schema().cloned() {
            self.feeder.feed(events, &schema).await;
        }
    }

    /// Feedback has no final state: the whole table is compared with what was shipped, now and then.
    async fn follow_feedback(&mut self) -> Result<(), FollowError> {
        let (max_rows, interval) = (self.shared.settings.shipper.slow_max_rows, self.shared.settings.shipper.slow_interval);
        let (Some(schema), Some(_)) = (self.follower.schema().cloned(), self.state.as_ref()) else { return Ok(()) };
        if self.feedbacks_at.is_some_and(|at| at.elapsed() < interval) {
            return Ok(());
        }
        self.feedbacks_at = Some(Instant::now());
        if let Err(off) = Subject::Feedbacks.gate(&schema, max_rows) {
            let off = off.to_string();
            if self.feedbacks_off.as_ref() != Some(&off) {
                info!(reason = off, "feedback is not followed");
                self.feedbacks_off = Some(off);
            }
            return Ok(());
        }
        let rows = {
            let _turn = self.shared.reads.turn().await;
            let mut tx = self.shared.reads.database.read(self.shared.settings.postgres.statement_timeout).await?;
            let limit = u32::try_from(max_rows).unwrap_or(u32::MAX - 1);
            let rows = statistics::feedbacks(&mut tx, Detail::Documents, limit).await?;
            tx.end().await?;
            rows
        };
        let events = match (rows, self.state.as_mut()) {
            (Some(rows), Some(state)) => {
                let start = state.started_at();
                state.feedbacks.compare(rows, start)
            }
            _ => Vec::new(),
        };
        self.dirty |= !events.is_empty();
        self.feed(events).await;
        Ok(())
    }

    /// Nothing more comes for now: what there is goes, and is committed.
    async fn rest(&mut self) {
        self.idle_since.get_or_insert_with(Instant::now);
        if self.dirty || self.marked_at.elapsed() >= IDLE_COMMIT {
            self.mark().await;
        } else if let Some(state) = &self.state {
            let (position, status) = (state.position(), state.status(self.follower.settings()));
            self.feeder.send(Item::Covered { position, status, at: Micros::now() }).await;
        }
    }

    /// Sends everything, and the position that belongs to it.
    async fn mark(&mut self) {
        self.feeder.flush().await;
        self.dirty = false;
        if let Some(state) = self.state.take() {
            if state.remembered() <= COPIED {
                let checkpoint = Box::new(Checkpoint { follow: state.clone() });
                self.state = Some(state);
                self.feeder.send(Item::Mark { checkpoint, at: Micros::now(), back: None }).await;
            } else {
                let (back, committed) = oneshot::channel();
                self.feeder
                    .send(Item::Mark { checkpoint: Box::new(Checkpoint { follow: state }), at: Micros::now(), back: Some(back) })
                    .await;
                match committed.await {
                    Ok(checkpoint) => self.state = Some(checkpoint.follow),
                    // The sender has ended, and this half with it.
                    Err(_) => std::future::pending().await,
                }
            }
        }
        self.marked_at = Instant::now();
    }

    /// Whether `--once` is done: what has ended was given the time to settle, and a table without an index was read to its end.
    fn is_through(&self) -> bool {
        let Some(state) = &self.state else { return false };
        let follow = self.follower.settings();
        let long_enough = follow.settle + follow.interrupt_after + Duration::from_secs(2);
        let settled = !state.is_settling() || self.idle_since.is_some_and(|since| since.elapsed() > long_enough);
        // Where the time has an index, everything was walked when no more comes.
        let passed = self.follower.scanned_tables().is_empty()
            || (state.knows_what_was_open() && state.position().covered_until >= self.began.minus(Duration::from_secs(30 * 60)));
        settled && passed
    }

    fn succeeded(&mut self) {
        if std::mem::take(&mut self.failures) > 0 || self.shared.board.database_problem().is_some() {
            info!("reading the database");
        }
        self.shared.board.database(None);
    }

    /// How long to wait after a failure; for `--once` it may be the end.
    fn failed(&mut self, error: FollowError) -> Result<Duration, SinkError> {
        self.continues = false;
        self.failures += 1;
        if self.failures == 1 {
            warn!(kind = error.kind(), reason = %error, "the database could not be read; it is tried again");
        }
        let passes = matches!(&error, FollowError::Database(DatabaseError::Timeout | DatabaseError::SchemaChanged(_)));
        if self.mode == Mode::Once && (!passes || self.failures > ONCE_TRIES) {
            return Err(error.into());
        }
        self.shared.board.database(Some(error.to_string()));
        Ok((BACKOFF.0 * 2u32.saturating_pow(self.failures.min(8) - 1)).min(BACKOFF.1))
    }
}
