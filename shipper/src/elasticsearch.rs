//! The sink for Elasticsearch and OpenSearch.
//!
//! Documents go into plain indices whose name is a function of the record (`partition`), under an `_id` that is one too, with the record's
//! revision as external version: sending anything again is harmless, whoever does it and whenever, and a later state replaces an earlier one.
//! Whatever passes by itself is waited for here; only what a person must mend before the next start is an error.

mod address;
mod answer;
mod backoff;
pub(crate) mod client;
mod delivery;
mod item;
mod observer;
pub(crate) mod partition;
pub(crate) mod partitions;
pub(crate) mod position;
mod pressure;
pub(crate) mod server;
pub(crate) mod setback;
mod verdict;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dify_observe_core::clock::Clock;
use dify_observe_core::exit::Exit;
use dify_observe_core::settings::{ShipperSettings, SinkSettings};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

pub use observer::{Observer, Silent};
pub use partition::alias;
pub use server::{Distribution, Server};

use crate::dead_letters::{DeadLetters, Letter};
use crate::document::{Document, Kind};
use crate::sink::{Checkpoint, Delivered, Sink, SinkError};
use backoff::Backoff;
use client::Client;
use delivery::Delivery;
use item::Item;
use partitions::{Home, Partitions};
use position::{Failure, Position};
use pressure::Pressure;
use server::NoServer;
use setback::{Setback, Troubles};

/// How often partitions are made ahead and expired ones are removed.
const LOOK_AFTER: Duration = Duration::from_secs(3600);

/// An engine as a sink.
#[derive(Debug)]
pub struct ElasticsearchSink {
    name: String,
    namespace: String,
    kinds: Vec<Kind>,
    settings: SinkSettings,
    delivery: Delivery,
    position: Mutex<Position>,
    looked_after: Mutex<Option<Instant>>,
}

/// Why a sink cannot be opened.
enum Closed {
    Now(Setback),
    Unfit(SinkError),
}

impl From<Setback> for Closed {
    fn from(setback: Setback) -> Self {
        Closed::Now(setback)
    }
}

impl ElasticsearchSink {
    /// Connects to nothing yet. `state` is the shipper's state folder.
    pub fn new(
        name: &str,
        settings: &SinkSettings,
        shipper: &ShipperSettings,
        state: &Path,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, SinkError> {
        Self::with_clock(name, settings, shipper, state, observer, Clock::system())
    }

    /// As `new`, with a clock by which records and indices expire.
    pub fn with_clock(
        name: &str,
        settings: &SinkSettings,
        shipper: &ShipperSettings,
        state: &Path,
        observer: Arc<dyn Observer>,
        clock: Clock,
    ) -> Result<Self, SinkError> {
        let wrong = |problem: String| error(Exit::Configuration, format!("the sink {name} {problem}"));
        let client = Arc::new(Client::new(settings).map_err(wrong)?);
        let dead_letters =
            DeadLetters::open(state, name, settings.dead_letter_bytes).map_err(|failure| error(Exit::Unavailable, failure.to_string()))?;
        let partitions = Partitions::new(client.clone(), &shipper.namespace, settings.delete_after, clock);
        let delivery = Delivery {
            sink: name.to_owned(),
            client: client.clone(),
            partitions,
            pressure: Pressure::new(settings.concurrency),
            dead_letters,
            observer,
            troubles: Troubles::default(),
            compression: settings.compression,
        };
        let kinds = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Log);
        let kinds = kinds.filter(|kind| settings.kinds.is_empty() || settings.kinds.iter().any(|name| name == kind.as_str()));
        Ok(ElasticsearchSink {
            name: name.to_owned(),
            namespace: shipper.namespace.clone(),
            kinds: kinds.collect(),
            settings: settings.clone(),
            position: Mutex::new(Position::new(client, &shipper.namespace, name, state.join("positions").join(format!("{name}.engine")))),
            delivery,
            looked_after: Mutex::new(None),
        })
    }

    /// The same sink with a position of its own, for a backfill beside the live one: `which` tells one backfill from another.
    pub fn for_backfill(mut self, which: &str, state: &Path) -> Self {
        let file = state.join("positions").join(format!("{}.backfill-{which}.engine", self.name));
        let id = format!("{}/backfill-{which}", self.name);
        self.position = Mutex::new(Position::new(self.delivery.client.clone(), &self.namespace, &id, file));
        self
    }

    /// What was rejected.
    pub fn dead_letters(&self) -> &DeadLetters {
        &self.delivery.dead_letters
    }

    /// Looks once whether everything is there that delivering needs; which server it is.
    pub async fn probe(&self) -> Result<Server, SinkError> {
        self.look().await.map_err(|closed| match closed {
            Closed::Now(setback) => error(Exit::Unavailable, format!("the sink {}: {}", self.name, setback.sentence)),
            Closed::Unfit(error) => error,
        })
    }

    async fn look(&self) -> Result<Server, Closed> {
        let client = &self.delivery.client;
        let server = match server::recognise(client).await {
            Ok(server) => server,
            Err(NoServer::Setback(setback)) => return Err(setback.into()),
            Err(NoServer::Unfit(problem)) => return Err(Closed::Unfit(error(Exit::Configuration, problem))),
        };
        for kind in &self.kinds {
            partitions::read_schedule(client, *kind, &self.namespace).await.map_err(|setback| self.unprepared(setback))?;
        }
        let answer = client.get(&format!("/{}/_mapping", position::INDEX)).await?;
        match answer.status {
            200 => Ok(server),
            404 => {
                Err(self
                    .unprepared(Setback::new("no_template", format!("there is no index {}: run `dify-shipper setup`", position::INDEX))))
            }
            _ => Err(Setback::of(&answer, &format!("read the mapping of {}", position::INDEX)).into()),
        }
    }

    /// What `setup` makes is missing: no waiting brings it.
    fn unprepared(&self, setback: Setback) -> Closed {
        if setback.reason == "no_template" {
            return Closed::Unfit(error(Exit::Configuration, format!("the sink {} is not prepared: {}", self.name, setback.sentence)));
        }
        Closed::Now(setback)
    }

    async fn open_once(&self) -> Result<Option<Checkpoint>, Closed> {
        let server = self.look().await?;
        let follow = match self.position.lock().await.read().await {
            Ok(follow) => follow,
            Err(Failure::Setback(setback)) => return Err(setback.into()),
            Err(Failure::Fenced) => return Err(Closed::Unfit(self.fenced())),
            Err(Failure::Unreadable(problem)) => return Err(Closed::Unfit(error(Exit::Failed, problem))),
        };
        tracing::info!(sink = self.name, %server, resumed = follow.is_some(), "connected to the search engine");
        Ok(follow.map(|follow| Checkpoint { follow }))
    }

    async fn open_at_last(&self) -> Result<Option<Checkpoint>, SinkError> {
        let trouble = self.delivery.troubles.one();
        let mut backoff = Backoff::new();
        loop {
            match self.open_once().await {
                Ok(checkpoint) => return Ok(checkpoint),
                Err(Closed::Unfit(error)) => return Err(error),
                Err(Closed::Now(setback)) => {
                    trouble.say(&self.name, &setback);
                    tokio::time::sleep(backoff.next()).await;
                }
            }
        }
    }

    /// Each document with its index; those that are too old are counted and left out.
    async fn housed(&self, batch: &[Document], delivered: &mut Delivered) -> Vec<Item> {
        let trouble = self.delivery.troubles.one();
        let mut items = Vec::with_capacity(batch.len());
        for document in batch {
            match self.home(document, &trouble).await {
                Home::Expired => {
                    delivered.expired += 1;
                    self.delivery.observer.expired(document.kind, 1);
                }
                Home::Index(index) => items.push(Item {
                    kind: document.kind,
                    index,
                    id: document.id.clone(),
                    revision: document.revision,
                    source: document.source.clone(),
                }),
            }
        }
        items
    }

    async fn home(&self, document: &Document, trouble: &setback::Trouble<'_>) -> Home {
        let mut backoff = Backoff::new();
        loop {
            match self.delivery.partitions.home(document.kind, document.time).await {
                Ok(home) => return home,
                Err(setback) => {
                    trouble.say(&self.name, &setback);
                    tokio::time::sleep(backoff.next()).await;
                }
            }
        }
    }

    /// Sends letters again, each to the index that it was rejected by. Those that are rejected again are dead letters again.
    pub(crate) async fn redeliver(&self, letters: Vec<Letter>) -> Result<Delivered, Setback> {
        let mut delivered = Delivered::default();
        let mut items = Vec::with_capacity(letters.len());
        for Letter { kind, index, id, revision, source, .. } in letters {
            match self.delivery.partitions.home_of(kind, &index).await? {
                Home::Expired => delivered.expired += 1,
                Home::Index(index) => items.push(Item { kind, index, id, revision, source }),
            }
        }
        let sent = self.delivery.deliver(items).await;
        Ok(Delivered { expired: delivered.expired, ..sent })
    }

    async fn commit_at_last(&self, checkpoint: &Checkpoint) -> Result<(), SinkError> {
        let trouble = self.delivery.troubles.one();
        let mut backoff = Backoff::new();
        loop {
            // Held for one attempt: an engine that is away must not keep others from looking.
            let written = self.position.lock().await.write(&checkpoint.follow).await;
            match written {
                Ok(()) => break,
                Err(Failure::Fenced) => return Err(self.fenced()),
                Err(Failure::Unreadable(problem)) => return Err(error(Exit::Failed, problem)),
                Err(Failure::Setback(setback)) => {
                    trouble.say(&self.name, &setback);
                    tokio::time::sleep(backoff.next()).await;
                }
            }
        }
        self.look_after_partitions().await;
        Ok(())
    }

    /// Only who has just proved to lead does it, once an hour. What fails is done an hour later.
    async fn look_after_partitions(&self) {
        let mut last = self.looked_after.lock().await;
        if last.is_some_and(|last| last.elapsed() < LOOK_AFTER) {
            return;
        }
        *last = Some(Instant::now());
        if let Err(setback) = self.delivery.partitions.look_after().await {
            tracing::warn!(sink = self.name, reason = setback.reason, "partitions could not be looked after: {}", setback.sentence);
        }
    }

    fn fenced(&self) -> SinkError {
        let problem = format!("another shipper has moved the position of the sink {}: this one steps down", self.name);
        SinkError { problem, exit: Exit::TryLater, fenced: true }
    }
}

fn error(exit: Exit, problem: String) -> SinkError {
    SinkError { problem, exit, fenced: false }
}

impl Sink for ElasticsearchSink {
    fn concurrency(&self) -> usize {
        self.settings.concurrency.max(1) as usize
    }

    fn batch_limits(&self) -> (usize, usize) {
        (self.settings.bulk_bytes as usize, self.settings.bulk_documents.max(1) as usize)
    }

    fn open(&self) -> BoxFuture<'_, Result<Option<Checkpoint>, SinkError>> {
        self.open_at_last().boxed()
    }

    fn deliver(&self, batch: Arc<[Document]>) -> BoxFuture<'_, Result<Delivered, SinkError>> {
        async move {
            let mut delivered = Delivered::default();
            let items = self.housed(&batch, &mut delivered).await;
            // The items share its bytes; what else is in it is not needed any more.
            drop(batch);
            let sent = self.delivery.deliver(items).await;
            Ok(Delivered { expired: delivered.expired, ..sent })
        }
        .boxed()
    }

    fn commit<'a>(&'a self, checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<(), SinkError>> {
        self.commit_at_last(checkpoint).boxed()
    }

    fn trouble(&self) -> Option<String> {
        self.delivery.troubles.first()
    }
}
