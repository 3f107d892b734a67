//! The follower: the one way to read what is new in Dify's tables.
//!
//! It promises final records, each once, in bounded memory, whatever Dify does: rows that commit late or out of order, rows
//! that change after they finished, runs that never finish, rows deleted in between, clocks that differ, a restart at any
//! instruction. Out of scope are rows that were deleted before any step saw them final, rows dated more than
//! `follow.horizon` before their commit, and single-step node rows (they belong to no run).
//!
//! A step reads, and changes nothing until everything is read; then [`FollowState`] absorbs it and the events come out.
//! Whoever keeps the state durable together with what was made of the events counts every record exactly once.
//! `docs/architecture.md` tells why it is built this way.

mod event;
mod feedback;
mod history;
mod lateness;
mod ledger;
#[cfg(test)]
mod model;
mod open;
mod postgres;
mod reader;
mod runs;
mod scan;
mod source;
mod state;
mod triggers;
mod weigh;

mod messages;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use event::{Closed, Detail, Event, FeedbackAction, Kind};
pub use feedback::KnownFeedbacks;
pub(crate) use postgres::{condition_of_nodes, messages_by_id};

pub use history::{History, Range as HistoryRange};
pub use state::{FollowState, FollowStatus, OpenCount, OpenState, Position, Start};

use self::open::OpenEntry;
use self::postgres::{PostgresReader, Statements};
use self::reader::{Reader, WalkPath};
use self::runs::Change;
use self::source::{Found, Moment, Source};
use crate::dify::schema::{NotDify, Schema};
use crate::dify::session::{Database, DatabaseError};
use crate::dify::time::Micros;
use crate::settings::follow::FollowSettings;
use uuid::Uuid;

/// Most open records read again in one step.
const MOST_DUE: usize = 500;
/// Most bytes of the texts and JSON values of one kind of record that one step reads for documents, one record at least.
const MOST_VALUE_BYTES: i64 = 16 * 1024 * 1024;
/// How often the schema is probed again: Dify is upgraded while we run.
const PROBE_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// Why a step did not happen.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// It is not one that can be read.
    #[error(transparent)]
    NotDify(#[from] NotDify),
}

impl FollowError {
    /// A fixed word for labels and counters.
    pub fn kind(&self) -> &'static str {
        match self {
            FollowError::Database(error) => error.kind(),
            FollowError::NotDify(_) => "not_dify",
        }
    }
}

/// What the consumer wants to have fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// How much of a row.
    pub detail: Detail,
    /// `workflow_runs.inputs` and `messages.inputs` too: label rules read them.
    pub inputs: bool,
}

/// What a step brought.
#[derive(Debug)]
pub enum Step {
    /// It was done.
    Done {
        /// What became final, in no particular order.
        events: Vec<Event>,
        /// How many of what was found only a trailing walk, a recount or a second pass found, by kind.
        late: [(Kind, u64); 3],
        /// It is another database than the one before: it is followed from now on.
        another_database: bool,
        /// Another step would bring more at once.
        more: bool,
        /// Whether the state changed in a way that must be durable.
        changed: bool,
    },
    /// The server is behind one that was read before (a lagging replica behind a load balancer): nothing was read.
    ServerBehind,
}

/// Reads what is new.
#[derive(Debug)]
pub struct Follower {
    database: Database,
    settings: FollowSettings,
    statement_timeout: Duration,
    fetch: Fetch,
    probed: Option<Probed>,
    /// How often the page was halved after a statement ran into its timeout.
    halvings: u32,
}

#[derive(Debug)]
struct Probed {
    schema: Arc<Schema>,
    statements: Arc<Statements>,
    at: Instant,
}

impl Follower {
    /// A follower of `database`. Reads nothing yet.
    pub fn new(database: Database, settings: FollowSettings, statement_timeout: Duration, fetch: Fetch) -> Self {
        Follower { database, settings, statement_timeout, fetch, probed: None, halvings: 0 }
    }

    /// The schema as of the last probe.
    pub fn schema(&self) -> Option<&Arc<Schema>> {
        self.probed.as_ref().map(|probed| &probed.schema)
    }

    /// The settings it follows by.
    pub fn settings(&self) -> &FollowSettings {
        &self.settings
    }

    /// Tables that are walked in block ranges for want of an index on their time.
    pub fn scanned_tables(&self) -> Vec<Kind> {
        let Some(probed) = &self.probed else { return Vec::new() };
        [Kind::Run, Kind::Message, Kind::Trigger].into_iter().filter(|kind| probed.statements.path(*kind) == WalkPath::Scan).collect()
    }

    /// Says that the last step was not waited for: the next one reads less at a time.
    pub fn cut_off(&mut self) {
        self.halvings = (self.halvings + 1).min(13);
    }

    /// Probes the schema where that is due.
    async fn probe(&mut self) -> Result<(Arc<Schema>, Arc<Statements>), FollowError> {
        if let Some(probed) = self.probed.as_ref().filter(|probed| probed.at.elapsed() < PROBE_INTERVAL) {
            return Ok((probed.schema.clone(), probed.statements.clone()));
        }
        let mut tx = self.database.read(self.statement_timeout).await?;
        let schema = Arc::new(Schema::probe(&mut tx).await?);
        tx.end().await?;
        schema.require_dify()?;
        let statements = Arc::new(Statements::new(&schema, self.fetch, self.settings.value_bytes));
        self.probed = Some(Probed { schema: schema.clone(), statements: statements.clone(), at: Instant::now() });
        Ok((schema, statements))
    }

    /// One step: reads what is new and what is due, bounded in rows and bytes, in one transaction. With no state yet, makes
    /// one that begins at `start`. Nothing changes when it fails.
    ///
    /// `continues` when this follows at once on a step that said that there is more: then the overlap is not read again.
    pub async fn step(&mut self, state: &mut Option<FollowState>, start: Start, continues: bool) -> Result<Step, FollowError> {
        let result = self.try_step(state, start, continues).await;
        match &result {
            Ok(_) => self.halvings = self.halvings.saturating_sub(1),
            Err(FollowError::Database(DatabaseError::Timeout)) => self.halvings = (self.halvings + 1).min(13),
            Err(FollowError::Database(DatabaseError::SchemaChanged(_)) | FollowError::NotDify(_)) => self.probed = None,
            Err(_) => {}
        }
        result
    }

    async fn try_step(&mut self, state: &mut Option<FollowState>, start: Start, continues: bool) -> Result<Step, FollowError> {
        let (_, statements) = self.probe().await?;
        let mut settings = self.settings.clone();
        settings.page_rows = (settings.page_rows >> self.halvings).max(1);
        let mut tx = self.database.read(self.statement_timeout).await?;
        tx.set_local("SET LOCAL enable_seqscan = off").await?;
        let mut reader = PostgresReader { tx, statements };
        let documents = self.fetch.detail == Detail::Documents;
        let step =
            read_and_absorb(&mut reader, state, start, &settings, (source::PAGE >> self.halvings).max(1), continues, documents).await?;
        reader.tx.end().await?;
        Ok(step)
    }
}

/// A step against any reader.
async fn read_and_absorb<R: Reader>(
    reader: &mut R,
    state: &mut Option<FollowState>,
    start: Start,
    settings: &FollowSettings,
    page: u32,
    continues: bool,
    documents: bool,
) -> Result<Step, DatabaseError> {
    let facts = reader.facts().await?;
    let mut fresh = None;
    let current = match state.as_ref() {
        Some(current) if current.is_of(&facts) => current,
        Some(current) => fresh.insert(current.anchored_anew(&facts, settings)),
        None => fresh.insert(FollowState::begin(start, &facts, settings)),
    };
    if current.is_ahead_of(&facts) {
        return Ok(Step::ServerBehind);
    }
    let moment = Moment { now: facts.now, edge: facts.edge(), page, continues, documents };
    let runs = runs::step(&current.runs, &current.recounts, reader, moment, settings).await?;
    let messages = messages::step(&current.messages, &current.runs, reader, moment, settings).await?;
    let triggers = triggers::step(&current.triggers, reader, moment, settings).await?;
    // Everything is read. From here nothing can fail.
    let more = runs.more || messages.more || triggers.more;
    let begun = fresh.is_some();
    let another_database = begun && state.is_some();
    let state = match fresh {
        Some(fresh) => state.insert(fresh),
        None => state.as_mut().expect("there is a state when no fresh one was made"),
    };
    let late = [(Kind::Run, runs.found.late), (Kind::Message, messages.found.late), (Kind::Trigger, triggers.found.late)];
    let mut events = runs::absorb(&mut state.runs, &mut state.recounts, runs, moment, settings);
    events.extend(messages::absorb(&mut state.messages, messages, moment, settings));
    events.extend(triggers::absorb(&mut state.triggers, triggers, moment, settings));
    state.note(&facts);
    let changed = begun || !events.is_empty();
    Ok(Step::Done { events, late, another_database, more, changed })
}

/// Splits records into those whose values may be read now, one at least, and those that have to wait.
fn affordable(ids: Vec<Uuid>, bytes: &HashMap<Uuid, i64>) -> (Vec<Uuid>, Vec<Uuid>) {
    let mut sum = 0;
    let fits = |id: &&Uuid| {
        sum += bytes.get(*id).copied().unwrap_or(0);
        sum <= MOST_VALUE_BYTES
    };
    let count = ids.iter().take_while(fits).count().max(1).min(ids.len());
    let mut ids = ids;
    let waiting = ids.split_off(count);
    (ids, waiting)
}

/// Keeps records for the next step that did not fit into this one. Those that were open stay so by themselves.
fn defer(waiting: &[Uuid], found: &Found, source: &Source, now: Micros) -> Vec<(Uuid, Change)> {
    let waiting: HashSet<&Uuid> = waiting.iter().collect();
    let new = found.unknown.iter().filter(|place| waiting.contains(&place.id) && !source.open.contains(&place.id));
    new.map(|place| (place.id, Change::Open(OpenEntry::new(Uuid::nil(), place.created_at, now)))).collect()
}

/// What becomes of an open record whose row is not there: it may only be hidden by another server, or about to come back.
fn missing(entry: &OpenEntry, moment: Moment, source: &Source, settings: &FollowSettings, events: &mut Vec<Event>, kind: Kind) -> Change {
    // No walk goes back before the anchor: what was open then and comes back can only be seen by asking for it.
    let patience = match entry.created_at < source.anchor {
        true => settings.abandon_after,
        false => source.lateness.overlap(moment.now, settings.overlap),
    };
    if entry.is_told() {
        return Change::Unwatched;
    }
    let since = entry.missing_since.unwrap_or(moment.now);
    if moment.now.since(since) >= patience {
        events.push(Event::Vanished(kind));
        return Change::Vanished { created_at: entry.created_at };
    }
    let mut entry = entry.clone();
    entry.missing_since = Some(since);
    entry.check_after_age(moment.now);
    entry.next_check = entry.next_check.min(since.plus(patience));
    Change::Open(entry)
}

fn apply(source: &mut Source, id: Uuid, change: Change) {
    match change {
        Change::Open(entry) => source.open.insert(id, entry),
        Change::Told { created_at, watch, .. } => {
            source.open.remove(&id);
            source.ledger.insert_told(id, created_at);
            if let Some(entry) = watch {
                source.open.insert(id, entry);
            }
        }
        Change::Unwatched => drop(source.open.remove(&id)),
        Change::Vanished { created_at } => {
            source.open.remove(&id);
            source.ledger.insert_vanished(id, created_at);
        }
    }
}
