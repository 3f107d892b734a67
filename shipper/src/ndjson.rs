//! The sink that needs nothing else installed: compressed lines in files, on this host or in a bucket.
//!
//! One stream of all kinds. What belongs to one run, and what happened at one time, then stands in few files; one file is written, synced and
//! cut at a time; and all kinds are kept for the same time, so nothing is gained for retention by files of one kind. Which kinds a part of a
//! file holds is in its index.
//!
//! | file | what it does |
//! |---|---|
//! | `files` | appends, commits, recovers: the segment that is being written |
//! | `seal` | closes a segment: large frames, and an `index` |
//! | `keeper` | in the background: seals, uploads, removes what is past its age |
//! | `layout` | what files are called |
//!
//! **Exactly once.** The position file names the segment and how many bytes of it count, together with what the follower remembers; it is
//! replaced as a whole. Whatever was written and not committed is cut off when the sink is opened, and given again by the pipeline.

pub(crate) mod bloom;
mod disk;
mod files;
pub(crate) mod frame;
pub(crate) mod index;
mod keeper;
pub(crate) mod layout;
pub(crate) mod line;
pub(crate) mod place;
mod position;
pub(crate) mod seal;
pub(crate) mod terms;
#[cfg(test)]
pub(crate) mod tests;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dify_observe_core::clock::Clock;
use dify_observe_core::dify::follow::FollowState;
use dify_observe_core::dify::time::Micros;
use dify_observe_core::exit::Exit;
use dify_observe_core::settings::SinkSettings;
use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::Notify;

use self::disk::Disk;
use self::files::{Files, Limits};
use self::place::Place;
use crate::document::Document;
use crate::sink::{Checkpoint, Delivered, Sink, SinkError};

/// The stream of `run`.
const LIVE: &str = "live";

/// So many complete segments may wait to be sealed and uploaded; then the sink takes no more.
const MOST_WAITING: u64 = 16;

/// How long to wait before a full disk is tried again.
const PATIENCE: Duration = Duration::from_secs(2);

/// Files of lines.
#[derive(Debug)]
pub struct NdjsonSink {
    shared: Arc<Shared>,
    keeper: Mutex<Option<tokio::task::AbortHandle>>,
}

/// What the sink and its keeper share.
#[derive(Debug)]
struct Shared {
    place: Place,
    stream: String,
    limits: Limits,
    delete_after: Duration,
    disk: Disk,
    clock: Clock,
    opened: Arc<tokio::sync::Mutex<Option<Opened>>>,
    /// Complete segments that are not sealed, or sealed and not uploaded.
    waiting: AtomicU64,
    /// Told when a segment is complete.
    completed: Arc<Notify>,
    /// Told when there is room again.
    room: Notify,
    trouble: Mutex<Trouble>,
    /// One at a time looks after complete segments.
    keeping: tokio::sync::Mutex<()>,
    /// Held by the thread that seals, which goes on when nobody waits for it any more.
    sealing: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug)]
struct Opened {
    files: Files,
    _lock: File,
}

#[derive(Debug, Default)]
struct Trouble {
    writing: Option<String>,
    keeping: Option<String>,
}

impl NdjsonSink {
    /// The sink of `shipper.sinks.<name>`. `state` is the shipper's own folder: what is not elsewhere by the settings is below it. Nothing is
    /// looked at yet.
    pub fn new(name: &str, settings: &SinkSettings, state: &Path) -> Result<NdjsonSink, SinkError> {
        NdjsonSink::with(name, settings, state, LIVE, Clock::system(), Disk::default())
    }

    /// A sink that writes into the same place beside the other one, with a position of its own. `backfill` is made of letters, digits and `_`.
    pub fn backfill(name: &str, settings: &SinkSettings, state: &Path, backfill: &str) -> Result<NdjsonSink, SinkError> {
        if !layout::is_stream(backfill) || backfill == LIVE {
            return Err(failed(Exit::Failed, format!("`{backfill}` is no name of a backfill: letters, digits and _")));
        }
        NdjsonSink::with(name, settings, state, backfill, Clock::system(), Disk::default())
    }

    fn with(name: &str, settings: &SinkSettings, state: &Path, stream: &str, clock: Clock, disk: Disk) -> Result<NdjsonSink, SinkError> {
        let place = Place::of(name, settings, state).map_err(|problem| failed(Exit::Configuration, problem))?;
        let shared = Shared {
            place,
            stream: stream.to_owned(),
            limits: Limits { bytes: settings.segment_bytes.into(), age: settings.segment_age },
            delete_after: settings.delete_after,
            disk,
            clock,
            opened: Arc::default(),
            waiting: AtomicU64::new(0),
            completed: Arc::default(),
            room: Notify::new(),
            trouble: Mutex::default(),
            keeping: tokio::sync::Mutex::default(),
            sealing: Arc::default(),
        };
        Ok(NdjsonSink { shared: Arc::new(shared), keeper: Mutex::default() })
    }

    fn start_keeper(&self) {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        if keeper.is_none() {
            *keeper = Some(tokio::spawn(keeper::run(Arc::downgrade(&self.shared), self.shared.completed.clone())).abort_handle());
        }
    }
}

impl Drop for NdjsonSink {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            keeper.abort();
        }
        // The keeper may hold the rest for a moment longer; the next one to open it need not wait for that.
        if let Ok(mut opened) = self.shared.opened.try_lock() {
            *opened = None;
        }
    }
}

impl Shared {
    fn now(&self) -> Micros {
        Micros(self.clock.unix_micros())
    }

    /// Runs `work`, which blocks on the disk, where it keeps nobody waiting. It is carried to its end even if nobody waits for it any more.
    async fn with_files<T, F>(&self, work: F) -> io::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Files) -> io::Result<T> + Send + 'static,
    {
        let mut opened = self.opened.clone().lock_owned().await;
        tokio::task::spawn_blocking(move || match &mut *opened {
            Some(opened) => work(&mut opened.files),
            None => Err(io::Error::other("it is not open")),
        })
        .await?
    }

    /// Runs `work` until the disk has room for it.
    async fn patiently<T, F>(&self, work: F) -> Result<T, SinkError>
    where
        T: Send + 'static,
        F: Fn(&mut Files) -> io::Result<T> + Clone + Send + 'static,
    {
        loop {
            match self.with_files(work.clone()).await {
                Ok(done) => {
                    self.trouble(|trouble| trouble.writing = None);
                    return Ok(done);
                }
                Err(error) if is_full(&error) => {
                    let problem =
                        format!("the folder {} is full ({error}): make room there; shipping goes on by itself", self.place.root.display());
                    self.trouble(|trouble| trouble.writing = Some(problem));
                    tokio::time::sleep(PATIENCE).await;
                }
                Err(error) => return Err(self.failed(&error)),
            }
        }
    }

    fn trouble<T>(&self, change: impl FnOnce(&mut Trouble) -> T) -> T {
        change(&mut self.trouble.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn failed(&self, error: &io::Error) -> SinkError {
        let root = self.place.root.display();
        match error.kind() {
            io::ErrorKind::InvalidData => failed(
                Exit::Failed,
                format!(
                    "the position {} cannot be read ({error}): restore it from a copy; or remove it, and what was created since shipper.start is sent",
                    files::position_path(&self.place.root, &self.stream).display()
                ),
            ),
            io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::AlreadyExists => failed(
                Exit::Configuration,
                format!("the folder {root} cannot be written ({error}): make it writable for this user, or set another url"),
            ),
            _ => failed(Exit::Unavailable, format!("the folder {root} cannot be written now ({error}): look at its disk, and start again")),
        }
    }

    async fn open(&self) -> Result<Option<Checkpoint>, SinkError> {
        self.place.reach().await.map_err(|error| failed(error.exit(), error.to_string()))?;
        let mut opened = self.opened.clone().lock_owned().await;
        let lock = match opened.take() {
            Some(opened) => opened._lock,
            None => files::lock(&self.place.root, &self.stream).map_err(|error| self.failed(&error))?.ok_or_else(|| {
                let problem = format!("another process writes into {}: end it, or set another url", self.place.root.display());
                failed(Exit::TryLater, problem)
            })?,
        };
        let (root, stream, limits, disk, now) = (self.place.root.clone(), self.stream.clone(), self.limits, self.disk.clone(), self.now());
        let recovered = tokio::task::spawn_blocking(move || Files::open::<FollowState>(&root, &stream, limits, disk, now)).await;
        let (files, follow) = recovered.map_err(io::Error::from).flatten().map_err(|error| self.failed(&error))?;
        *opened = Some(Opened { files, _lock: lock });
        Ok(follow.map(|follow| Checkpoint { follow }))
    }

    async fn deliver(&self, batch: &[Document]) -> Result<Delivered, SinkError> {
        let oldest = self.now().minus(self.delete_after);
        let mut lines = Vec::new();
        let mut delivered = Delivered::default();
        for document in batch {
            if document.time < oldest {
                delivered.expired += 1;
            } else {
                line::write(document, &mut lines);
                delivered.written += 1;
            }
        }
        self.wait_for_room().await;
        // Whoever drops this future gives the batch again: from the moment it is in the buffer, nothing is waited for.
        while !self.append(&lines).await? {
            self.patiently(Files::flush).await?;
        }
        Ok(delivered)
    }

    /// Whether the lines were added: not while a frame waits to be written.
    async fn append(&self, lines: &[u8]) -> Result<bool, SinkError> {
        let mut opened = self.opened.lock().await;
        let Some(Opened { files, .. }) = &mut *opened else { return Err(self.failed(&io::Error::other("it is not open"))) };
        let has_room = !files.is_full();
        if has_room && !lines.is_empty() {
            files.append(lines, self.now());
        }
        Ok(has_room)
    }

    async fn wait_for_room(&self) {
        while self.waiting.load(Ordering::SeqCst) > MOST_WAITING {
            // The keeper says so where the trouble is.
            let _ = tokio::time::timeout(PATIENCE, self.room.notified()).await;
        }
    }

    async fn commit(&self, checkpoint: &Checkpoint) -> Result<(), SinkError> {
        self.patiently(Files::flush).await?;
        self.with_files(Files::sync).await.map_err(|error| self.failed(&error))?;
        let (follow, now) = (Arc::new(checkpoint.follow.clone()), self.now());
        if self.patiently(move |files| files.commit(&*follow, now)).await? {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            self.completed.notify_one();
        }
        Ok(())
    }
}

fn failed(exit: Exit, problem: String) -> SinkError {
    SinkError { problem, exit, fenced: false }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Sink for NdjsonSink {
    fn batch_limits(&self) -> (usize, usize) {
        (frame::FRAME_BYTES, 1000)
    }

    fn open(&self) -> BoxFuture<'_, Result<Option<Checkpoint>, SinkError>> {
        async {
            let checkpoint = self.shared.open().await?;
            self.start_keeper();
            Ok(checkpoint)
        }
        .boxed()
    }

    fn deliver(&self, batch: Arc<[Document]>) -> BoxFuture<'_, Result<Delivered, SinkError>> {
        async move { self.shared.deliver(&batch).await }.boxed()
    }

    fn commit<'a>(&'a self, checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<(), SinkError>> {
        self.shared.commit(checkpoint).boxed()
    }

    fn commits_alone(&self) -> bool {
        true
    }

    fn trouble(&self) -> Option<String> {
        self.shared.trouble(|trouble| trouble.writing.clone().or_else(|| trouble.keeping.clone()))
    }

    fn close(&self) -> BoxFuture<'_, Result<(), SinkError>> {
        async {
            // What comes after a live stream's end continues its segment; a backfill does not come again.
            keeper::keep(&self.shared, self.shared.stream != LIVE).await.map_err(|error| failed(Exit::Unavailable, error.to_string()))
        }
        .boxed()
    }
}
