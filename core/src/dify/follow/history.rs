//! The past, read once: what is final among the records that were created before a time.
//!
//! Unlike the follower this keeps no state and takes no notice of what commits late: it is for records so old that all of
//! them have committed. Records come in the order of their creation, in pages bounded in rows and bytes. Where no index
//! serves the time, the server sorts: a few passes over the whole table, each for many pages.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::event::{Closed, Event, Kind};
use super::postgres::{PostgresReader, Statements};
use super::reader::{Place, Reader, WalkPath};
use super::{Fetch, FollowError};
use crate::dify::records::{Message, Node, Run, RunKey};
use crate::dify::schema::Schema;
use crate::dify::session::{Database, DatabaseError, ReadTx};
use crate::dify::time::Micros;
use crate::settings::follow::FollowSettings;

/// Places read ahead by one walk.
const AHEAD: u32 = 20_000;
/// Most records of one page.
const PAGE: usize = 200;
/// Most bytes of the node executions of one page, one run at least.
const MOST_BYTES: i64 = 8 * 1024 * 1024;

/// Which records of the past are wanted.
#[derive(Clone, Debug)]
pub struct Range {
    /// Created at this time or later.
    pub from: Micros,
    /// Created before this time.
    pub until: Micros,
    /// All but the ends of these: they were open, somebody else tells how they ended. That runs among them started is told here.
    pub except: HashSet<Uuid>,
}

/// A reader of the past.
#[derive(Debug)]
pub struct History {
    database: Database,
    statement_timeout: Duration,
    abandon_after: Duration,
    schema: Arc<Schema>,
    statements: Arc<Statements>,
    range: Range,
    runs: Cursor,
    messages: Cursor,
    triggers: Cursor,
}

/// How far one kind was read.
#[derive(Debug)]
struct Cursor {
    after: Place,
    ahead: VecDeque<Place>,
    done: bool,
}

impl History {
    /// Probes the schema, and stands before the first record.
    pub async fn open(
        database: Database,
        settings: &FollowSettings,
        statement_timeout: Duration,
        fetch: Fetch,
        range: Range,
    ) -> Result<Self, FollowError> {
        let mut tx = database.read(statement_timeout).await?;
        let schema = Arc::new(Schema::probe(&mut tx).await?);
        tx.end().await?;
        schema.require_dify()?;
        let statements = Arc::new(Statements::new(&schema, fetch, settings.value_bytes));
        let cursor =
            |kind| Cursor { after: Place::before(range.from), ahead: VecDeque::new(), done: statements.path(kind) == WalkPath::Off };
        let (runs, messages, triggers) = (cursor(Kind::Run), cursor(Kind::Message), cursor(Kind::Trigger));
        let abandon_after = settings.abandon_after;
        Ok(History { database, statement_timeout, abandon_after, schema, statements, range, runs, messages, triggers })
    }

    /// The schema as of the probe.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// When the next record that was not read yet was created; `None` at the end.
    pub async fn next_at(&mut self) -> Result<Option<Micros>, DatabaseError> {
        let mut next: Option<Micros> = None;
        for kind in [Kind::Run, Kind::Message, Kind::Trigger] {
            let at = self.peek(kind).await?;
            next = match (next, at) {
                (Some(next), Some(at)) => Some(next.min(at)),
                (next, at) => next.or(at),
            };
        }
        Ok(next)
    }

    /// What the next page of records created before `until` tells; `None` when there is none left.
    pub async fn page(&mut self, until: Micros) -> Result<Option<Vec<Event>>, DatabaseError> {
        for kind in [Kind::Run, Kind::Message, Kind::Trigger] {
            if self.peek(kind).await?.is_none_or(|at| at >= until) {
                continue;
            }
            let places: Vec<Place> =
                self.cursor(kind).ahead.iter().take(PAGE).take_while(|place| place.created_at < until).copied().collect();
            let mut reader = PostgresReader { tx: self.begin().await?, statements: self.statements.clone() };
            let (events, read) = match kind {
                Kind::Run => self.read_runs(&mut reader, &places).await?,
                Kind::Message => (self.read_messages(&mut reader, &places).await?, places.len()),
                Kind::Trigger => (self.read_triggers(&mut reader, &places).await?, places.len()),
            };
            reader.tx.end().await?;
            self.cursor(kind).ahead.drain(..read);
            return Ok(Some(events));
        }
        Ok(None)
    }

    fn cursor(&mut self, kind: Kind) -> &mut Cursor {
        match kind {
            Kind::Run => &mut self.runs,
            Kind::Message => &mut self.messages,
            Kind::Trigger => &mut self.triggers,
        }
    }

    async fn begin(&self) -> Result<ReadTx, DatabaseError> {
        self.database.read(self.statement_timeout).await
    }

    /// The time of the next record of a kind, walking on where the places read ahead are used up.
    async fn peek(&mut self, kind: Kind) -> Result<Option<Micros>, DatabaseError> {
        while self.cursor(kind).ahead.is_empty() && !self.cursor(kind).done {
            let (after, until) = (self.cursor(kind).after, self.range.until);
            let mut reader = PostgresReader { tx: self.begin().await?, statements: self.statements.clone() };
            let places = reader.walk(kind, after, until, AHEAD).await?;
            reader.tx.end().await?;
            let except = self.range.except.clone();
            let cursor = self.cursor(kind);
            cursor.done = places.len() < AHEAD as usize;
            cursor.after = places.last().copied().unwrap_or(after);
            // Of runs that somebody else tells the start is still told here: it was before the range ended.
            let wanted = |place: &Place| kind == Kind::Run || !except.contains(&place.id);
            cursor.ahead.extend(places.into_iter().filter(wanted));
        }
        Ok(self.cursor(kind).ahead.front().map(|place| place.created_at))
    }

    /// Whether something unfinished of this age was given up by the end of the range.
    fn is_abandoned(&self, created_at: Micros) -> bool {
        self.range.until.since(created_at) >= self.abandon_after
    }

    /// The runs at the places, as many as their nodes' bytes allow, and how many that were.
    async fn read_runs(&self, reader: &mut PostgresReader, places: &[Place]) -> Result<(Vec<Event>, usize), DatabaseError> {
        let ids: Vec<Uuid> = places.iter().map(|place| place.id).collect();
        let mut runs: HashMap<Uuid, Run> = reader.runs(&ids).await?.into_iter().map(|run| (run.key.id, run)).collect();
        let keys: Vec<RunKey> = runs.values().map(|run| run.key.clone()).collect();
        let mut bytes: HashMap<Uuid, i64> = HashMap::new();
        for brief in reader.node_briefs(&keys).await? {
            *bytes.entry(brief.run_id).or_default() += brief.bytes;
        }
        let mut sum = 0;
        let affordable = ids.iter().take_while(|id| {
            sum += bytes.get(*id).copied().unwrap_or(0);
            sum <= MOST_BYTES
        });
        let read = affordable.count().max(1).min(ids.len());
        let chosen: Vec<Run> = ids[..read].iter().filter_map(|id| runs.remove(id)).collect();
        let keys: Vec<RunKey> = chosen.iter().map(|run| run.key.clone()).collect();
        let mut nodes: HashMap<Uuid, Vec<Node>> = HashMap::new();
        for (run, node) in reader.nodes(&keys).await? {
            nodes.entry(run).or_default().push(node);
        }
        let mut events = Vec::new();
        for run in chosen {
            events.push(Event::RunStarted(run.clone()));
            let nodes = nodes.remove(&run.key.id).unwrap_or_default();
            if self.range.except.contains(&run.key.id) {
                continue;
            }
            if run.has_ended() {
                events.push(Event::RunClosed { run, nodes, closed: Closed::Ended });
            } else if !run.is_paused() && self.is_abandoned(run.created_at) {
                events.push(Event::RunClosed { run, nodes, closed: Closed::Abandoned });
            }
        }
        Ok((events, read))
    }

    async fn read_messages(&self, reader: &mut PostgresReader, places: &[Place]) -> Result<Vec<Event>, DatabaseError> {
        let ids: Vec<Uuid> = places.iter().map(|place| place.id).collect();
        let messages = reader.messages(&ids).await?;
        let asked: Vec<Uuid> = messages.iter().filter(|message| message.workflow_run_id.is_none()).map(|message| message.id).collect();
        let mut thoughts: HashMap<Uuid, Vec<_>> = HashMap::new();
        if !asked.is_empty() {
            for thought in reader.thoughts(&asked).await? {
                thoughts.entry(thought.message_id).or_default().push(thought);
            }
        }
        let closed_runs = self.closed_runs_of_empty(reader, &messages).await?;
        let mut events = Vec::new();
        for message in messages {
            if let Some(closed) = self.message_end(&message, &closed_runs) {
                let thoughts = thoughts.remove(&message.id).unwrap_or_default();
                events.push(Event::MessageClosed { message, thoughts, closed });
            }
        }
        Ok(events)
    }

    /// The closed ones among the runs of messages that are empty: an empty message is final when its run is.
    async fn closed_runs_of_empty(&self, reader: &mut PostgresReader, messages: &[Message]) -> Result<HashSet<Uuid>, DatabaseError> {
        let runs: Vec<Uuid> =
            messages.iter().filter(|message| !message.is_filled()).filter_map(|message| message.workflow_run_id).collect();
        if runs.is_empty() {
            return Ok(HashSet::new());
        }
        let is_closed = |run: &Run| run.has_ended() || (!run.is_paused() && self.is_abandoned(run.created_at));
        Ok(reader.runs(&runs).await?.into_iter().filter(is_closed).map(|run| run.key.id).collect())
    }

    fn message_end(&self, message: &Message, closed_runs: &HashSet<Uuid>) -> Option<Closed> {
        match &*message.status {
            "paused" => None,
            _ if message.is_filled() || message.workflow_run_id.is_some_and(|run| closed_runs.contains(&run)) => Some(Closed::Ended),
            _ => self.is_abandoned(message.created_at).then_some(Closed::Abandoned),
        }
    }

    async fn read_triggers(&self, reader: &mut PostgresReader, places: &[Place]) -> Result<Vec<Event>, DatabaseError> {
        let ids: Vec<Uuid> = places.iter().map(|place| place.id).collect();
        let mut events = Vec::new();
        for log in reader.triggers(&ids).await? {
            let closed = if log.has_ended() { Some(Closed::Ended) } else { self.is_abandoned(log.created_at).then_some(Closed::Abandoned) };
            events.extend(closed.map(|closed| Event::TriggerClosed { log, closed }));
        }
        Ok(events)
    }
}
