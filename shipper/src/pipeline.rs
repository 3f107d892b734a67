//! From Dify's rows to one sink: `Follower::step → lookups → documents → batches → deliver → commit`.
//!
//! Each sink has a pipeline of its own, with its own follower and position, so that one whose other end is away holds back no other. Reading
//! and sending overlap; memory is bounded by a share of `shipper.queue_bytes`. Whatever goes wrong, the pipeline is taken down and begun anew
//! from the position that the sink committed last: what was sent since is sent again, under the same ids.

mod batches;
mod feeder;
mod maker;
mod reader;
mod sender;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dify_observe_core::dify::follow::FollowError;
use dify_observe_core::dify::session::{Database, DatabaseError};
use dify_observe_core::exit::Exit;
use dify_observe_core::labels::LabelRules;
use dify_observe_core::redaction::Redactor;
use dify_observe_core::settings::{Settings, SinkSettings};
use dify_observe_core::shutdown::Shutdown;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, watch};
use tracing::{error, info, warn};

use crate::board::{Board, Phase};
use crate::filter::Filter;
use crate::metrics::Metrics;
use crate::sink::SinkError;
use crate::sinks;

pub(crate) use batches::{Batches, Meter};
pub(crate) use feeder::Feeder;
pub(crate) use maker::Maker;
pub(crate) use reader::Item;
use reader::Reader;
pub(crate) use sender::Sender;

/// How long reading may go on after the end was asked for, so that a step is not thrown away for nothing.
const READING_GRACE: Duration = Duration::from_secs(5);
/// How long sending and the last commit may go on. With what comes after it, below the 20 seconds of the process.
const SENDING_GRACE: Duration = Duration::from_secs(14);
/// The first and the longest wait before a failed pipeline is tried again.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));
/// How long one that was fenced stays away: longer than a leader takes from one commit to the next.
const FENCED: Duration = Duration::from_secs(30);

/// What all pipelines share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) labels: Arc<LabelRules>,
    pub(crate) redactor: Arc<Redactor>,
    pub(crate) reads: Reads,
    pub(crate) board: Arc<Board>,
    pub(crate) metrics: Arc<Metrics>,
    /// The shipper's folder below `state_dir`.
    pub(crate) state: PathBuf,
    /// How many sinks share `shipper.queue_bytes`.
    pub(crate) sinks: usize,
}

/// The database, and whose turn it is: pipelines wait for each other here and not at the pool, where waiting looks like an outage.
#[derive(Debug)]
pub(crate) struct Reads {
    pub(crate) database: Database,
    turns: Semaphore,
}

impl Reads {
    pub(crate) fn new(database: Database) -> Self {
        Reads { database, turns: Semaphore::new(2) }
    }

    pub(crate) async fn turn(&self) -> SemaphorePermit<'_> {
        self.turns.acquire().await.expect("the semaphore is never closed")
    }
}

/// Whether this instance ships.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Not known yet: the database was not reached.
    Unknown,
    /// It ships.
    Leader,
    /// Another one does.
    Standby,
}

/// When a pipeline ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// When it is told to.
    Service,
    /// When everything that is final now is shipped.
    Once,
}

/// One sink's pipeline.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) name: String,
    pub(crate) settings: SinkSettings,
    pub(crate) shared: Arc<Shared>,
}

impl Pipeline {
    /// Ships until the end is asked for; while another instance leads, waits.
    pub(crate) async fn run(self, mut role: watch::Receiver<Role>, shutdown: Shutdown) {
        let mut wait = RETRY.0;
        while self.lead(&mut role, &shutdown).await {
            let began = tokio::time::Instant::now();
            let ended = tokio::select! {
                ended = self.session(Mode::Service, &shutdown) => Some(ended),
                () = lost(&mut role) => None,
            };
            match ended {
                Some(Ok(())) => return,
                Some(Err(failure)) => {
                    self.tell(&failure);
                    wait = if began.elapsed() > RETRY.1 { RETRY.0 } else { (wait * 2).min(RETRY.1) };
                    if !shutdown.sleep(if failure.fenced { FENCED } else { wait }).await {
                        return;
                    }
                }
                None => info!(sink = self.name, "another instance ships now: standing by"),
            }
        }
    }

    /// Ships what is final now.
    pub(crate) async fn once(self, shutdown: Shutdown) -> Result<(), SinkError> {
        self.session(Mode::Once, &shutdown).await
    }

    /// Returns when this instance leads; `false` when the end is asked for before.
    async fn lead(&self, role: &mut watch::Receiver<Role>, shutdown: &Shutdown) -> bool {
        loop {
            let now = *role.borrow_and_update();
            match now {
                Role::Leader => return true,
                Role::Standby => self.shared.board.phase(&self.name, Phase::Standby),
                Role::Unknown => {}
            }
            tokio::select! {
                () = shutdown.finishing() => return false,
                changed = role.changed() => if changed.is_err() {
                    return false;
                },
            }
        }
    }

    fn tell(&self, failure: &SinkError) {
        self.shared.board.failed(&self.name, &failure.problem);
        if failure.fenced {
            warn!(sink = self.name, reason = %failure.problem, "another shipper has moved this sink's position: standing back");
        } else {
            error!(sink = self.name, reason = %failure.problem, "the sink cannot go on; it is tried again");
        }
    }

    /// From opening the sink to its end, or to the first failure.
    async fn session(&self, mode: Mode, shutdown: &Shutdown) -> Result<(), SinkError> {
        let Shared { settings, board, sinks: count, .. } = &*self.shared;
        board.phase(&self.name, Phase::Opening);
        let open = Arc::new(sinks::make(&self.name, &self.settings, &self.shared)?);
        let checkpoint = tokio::select! {
            checkpoint = open.sink.open() => checkpoint?,
            () = shutdown.finishing() => return Ok(()),
        };
        info!(sink = self.name, resumed = checkpoint.is_some(), "shipping");
        let (items, given) = mpsc::channel(open.sink.concurrency().max(2));
        let share = settings.shipper.queue_bytes as usize / (*count).max(1);
        let batches = Batches::new(open.sink.batch_limits(), share);
        board.opened(&self.name, open.clone(), batches.meter());
        let maker = Maker::new(&self.shared, Filter::new(&self.settings));
        let feeder = Feeder::new(self.shared.clone(), maker, batches, items);
        let reader = Reader::new(self.shared.clone(), feeder, checkpoint.map(|checkpoint| checkpoint.follow), mode);
        let sender = Sender::new(self.name.clone(), open, given, self.shared.clone());
        let reading = async {
            tokio::select! {
                read = reader.read(shutdown) => read,
                () = long_after(shutdown, READING_GRACE) => Ok(()),
            }
        };
        let sending = async {
            tokio::select! {
                sent = sender.send() => sent,
                () = long_after(shutdown, SENDING_GRACE) => {
                    warn!(sink = self.name, "the sink did not take everything in time: the rest is sent again after the next start");
                    Ok(())
                }
            }
        };
        tokio::try_join!(reading, sending).map(|_| ())
    }
}

/// Returns when this instance leads no more.
async fn lost(role: &mut watch::Receiver<Role>) {
    if role.wait_for(|role| *role == Role::Standby).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn long_after(shutdown: &Shutdown, grace: Duration) {
    shutdown.finishing().await;
    tokio::time::sleep(grace).await;
}

/// How a process ends that meets an error of the follower.
pub(crate) fn exit_of(error: &FollowError) -> Exit {
    match error {
        FollowError::NotDify(_) | FollowError::Database(DatabaseError::Denied(_)) => Exit::NotDify,
        FollowError::Database(error) if error.is_transient() => Exit::Unavailable,
        FollowError::Database(_) => Exit::Failed,
    }
}

impl From<FollowError> for SinkError {
    fn from(error: FollowError) -> Self {
        SinkError { problem: error.to_string(), exit: exit_of(&error), fenced: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What pipelines share, without a database that would answer.
    pub(super) fn shared(mut settings: Settings) -> Shared {
        settings.postgres.url = Some(dify_observe_core::secret::Secret::new("postgres://u@localhost:1/d"));
        let options = settings.postgres.connect_options().unwrap();
        Shared {
            labels: Arc::new(LabelRules::from_settings(&settings.labels).unwrap()),
            redactor: Arc::new(Redactor::new(&settings.redaction).unwrap()),
            reads: Reads::new(Database::new(options, settings.postgres.connect_timeout)),
            board: Arc::new(Board::new(&["s".to_owned()])),
            metrics: Arc::new(Metrics::new()),
            state: PathBuf::from("/nowhere"),
            sinks: 1,
            settings,
        }
    }

    #[test]
    fn what_may_pass_is_told_from_what_will_not() {
        let exit = |error: DatabaseError| exit_of(&FollowError::Database(error));
        assert_eq!(exit(DatabaseError::Unreachable(String::new())), Exit::Unavailable);
        assert_eq!(exit(DatabaseError::Denied(String::new())), Exit::NotDify);
        assert_eq!(exit(DatabaseError::Value(String::new())), Exit::Failed);
    }
}
