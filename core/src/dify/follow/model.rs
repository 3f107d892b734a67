//! The follower against a model of a database: random histories with late commits, wrong clocks, stale saves, deletions,
//! re-insertions, pauses and crashes, compared with a reference that sees everything. `DIFY_OBSERVE_SEED` repeats one
//! history, `DIFY_OBSERVE_HISTORIES` sets how many are run.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

use super::event::{Event, Kind};
use super::reader::{NodeBrief, Place, Reader, RunBrief, ServerFacts, WalkPath};
use super::state::{FollowState, Start};
use super::{Step, read_and_absorb};
use crate::dify::records::{Cuts, Message, Node, Run, RunKey, Thought, TriggerLog};
use crate::dify::session::DatabaseError;
use crate::dify::time::Micros;
use crate::settings::follow::FollowSettings;

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3600 * SECOND;
const BEGIN: i64 = 1_800_000_000 * SECOND;

/// A row's successive states: since when each is committed; `None` is a deletion.
#[derive(Clone, Debug)]
struct History<T> {
    versions: Vec<(i64, Option<T>)>,
}

impl<T> History<T> {
    fn at(&self, time: i64) -> Option<&T> {
        self.version_at(time).map(|(_, row)| row)
    }

    /// The row, and a number that is another for each time that it was written.
    fn version_at(&self, time: i64) -> Option<(u32, &T)> {
        let number = self.versions.iter().rposition(|(since, _)| *since <= time)?;
        self.versions[number].1.as_ref().map(|row| (number as u32 + 1, row))
    }
}

#[derive(Default)]
struct World {
    runs: BTreeMap<Uuid, History<Run>>,
    nodes: HashMap<Uuid, Vec<History<Node>>>,
    messages: BTreeMap<Uuid, History<Message>>,
    now: i64,
    /// How far this server is behind what is committed.
    behind: i64,
    scan: bool,
    /// Rows have versions, as whoever makes documents reads them.
    documents: bool,
    statements: usize,
}

impl World {
    fn run(&self, id: &Uuid, time: i64) -> Option<Run> {
        let (version, run) = self.runs.get(id)?.version_at(time)?;
        Some(Run { row_version: if self.documents { version } else { 0 }, ..run.clone() })
    }

    fn message(&self, id: &Uuid, time: i64) -> Option<Message> {
        let (version, message) = self.messages.get(id)?.version_at(time)?;
        Some(Message { row_version: if self.documents { version } else { 0 }, ..message.clone() })
    }

    fn nodes_at(&self, run: &Uuid, time: i64) -> Vec<Node> {
        let node = |history: &History<Node>| {
            let (version, node) = history.version_at(time)?;
            Some(Node { row_version: if self.documents { version } else { 0 }, ..node.clone() })
        };
        self.nodes.get(run).into_iter().flatten().filter_map(node).collect()
    }

    fn visible(&self) -> i64 {
        self.now - self.behind
    }

    fn places(&self, kind: Kind) -> Vec<Place> {
        let at = self.visible();
        let mut places: Vec<Place> = match kind {
            Kind::Run => self
                .runs
                .values()
                .filter_map(|history| history.at(at))
                .map(|run| Place { created_at: run.created_at, id: run.key.id })
                .collect(),
            Kind::Message => self
                .messages
                .values()
                .filter_map(|history| history.at(at))
                .map(|row| Place { created_at: row.created_at, id: row.id })
                .collect(),
            Kind::Trigger => Vec::new(),
        };
        places.sort_unstable();
        places
    }
}

impl Reader for World {
    async fn facts(&mut self) -> Result<ServerFacts, DatabaseError> {
        self.statements += 1;
        let replayed = (self.behind > 0).then_some(Micros(self.visible()));
        Ok(ServerFacts {
            now: Micros(self.now),
            in_recovery: self.behind > 0,
            replayed,
            lsn: self.visible(),
            timeline: 1,
            identity: "model".into(),
        })
    }

    fn path(&self, kind: Kind) -> WalkPath {
        match kind {
            Kind::Trigger => WalkPath::Off,
            _ if self.scan => WalkPath::Scan,
            _ => WalkPath::Index,
        }
    }

    async fn walk(&mut self, kind: Kind, after: Place, until: Micros, limit: u32) -> Result<Vec<Place>, DatabaseError> {
        self.statements += 1;
        Ok(self.places(kind).into_iter().filter(|place| *place > after && place.created_at < until).take(limit as usize).collect())
    }

    async fn open_between(&mut self, kind: Kind, created: Range<Micros>) -> Result<Vec<Place>, DatabaseError> {
        let at = self.visible();
        let open = |id: &Uuid| match kind {
            Kind::Run => self.runs[id].at(at).is_some_and(|run| !run.has_ended()),
            _ => self.messages[id].at(at).is_some_and(|message| !message.is_filled()),
        };
        Ok(self.places(kind).into_iter().filter(|place| created.contains(&place.created_at) && open(&place.id)).collect())
    }

    async fn blocks(&mut self, kind: Kind) -> Result<u32, DatabaseError> {
        // Seven rows a block, in the order of their ids: any row may be in any block.
        let rows = if kind == Kind::Run { self.runs.len() } else { self.messages.len() };
        Ok(rows.div_ceil(7) as u32)
    }

    async fn scan(&mut self, kind: Kind, blocks: Range<u32>, since: Micros, open_since: Micros) -> Result<Vec<Place>, DatabaseError> {
        self.statements += 1;
        let at = self.visible();
        let rows = blocks.start as usize * 7..blocks.end as usize * 7;
        let place = |created_at: Micros, id: Uuid, open: bool| {
            (created_at >= since || (created_at >= open_since && open)).then_some(Place { created_at, id })
        };
        Ok(match kind {
            Kind::Run => self
                .runs
                .values()
                .enumerate()
                .filter(|(i, _)| rows.contains(i))
                .filter_map(|(_, h)| h.at(at))
                .filter_map(|r| place(r.created_at, r.key.id, !r.has_ended()))
                .collect(),
            _ => self
                .messages
                .values()
                .enumerate()
                .filter(|(i, _)| rows.contains(i))
                .filter_map(|(_, h)| h.at(at))
                .filter_map(|m| place(m.created_at, m.id, !m.is_filled()))
                .collect(),
        })
    }

    async fn runs(&mut self, ids: &[Uuid]) -> Result<Vec<Run>, DatabaseError> {
        self.statements += 1;
        Ok(ids.iter().filter_map(|id| self.run(id, self.visible())).collect())
    }

    async fn run_briefs(&mut self, ids: &[Uuid]) -> Result<Vec<RunBrief>, DatabaseError> {
        let brief = |run: Run| RunBrief { has_ended: run.has_ended(), row_version: run.row_version, key: run.key, bytes: 400_000 };
        Ok(self.runs(ids).await?.into_iter().map(brief).collect())
    }

    async fn node_briefs(&mut self, runs: &[RunKey]) -> Result<Vec<NodeBrief>, DatabaseError> {
        let brief = |(run_id, node): (Uuid, Node)| NodeBrief {
            run_id,
            id: node.id,
            status: node.status.to_string(),
            row_version: node.row_version,
            bytes: 700_000,
        };
        Ok(self.nodes(runs).await?.into_iter().map(brief).collect())
    }

    async fn nodes(&mut self, runs: &[RunKey]) -> Result<Vec<(Uuid, Node)>, DatabaseError> {
        self.statements += 1;
        let at = self.visible();
        let of = |key: &RunKey| self.nodes_at(&key.id, at).into_iter().map(|node| (key.id, node)).collect::<Vec<_>>();
        Ok(runs.iter().flat_map(of).collect())
    }

    async fn messages(&mut self, ids: &[Uuid]) -> Result<Vec<Message>, DatabaseError> {
        self.statements += 1;
        Ok(ids.iter().filter_map(|id| self.message(id, self.visible())).collect())
    }

    async fn message_bytes(&mut self, ids: &[Uuid]) -> Result<Vec<(Uuid, i64)>, DatabaseError> {
        Ok(ids.iter().map(|id| (*id, 900_000)).collect())
    }

    async fn conversation_starters(&mut self, _messages: &[Uuid]) -> Result<Vec<Uuid>, DatabaseError> {
        Ok(Vec::new())
    }

    async fn thoughts(&mut self, _messages: &[Uuid]) -> Result<Vec<Thought>, DatabaseError> {
        Ok(Vec::new())
    }

    async fn triggers(&mut self, _ids: &[Uuid]) -> Result<Vec<TriggerLog>, DatabaseError> {
        Ok(Vec::new())
    }
}

/// What must have been told in the end.
#[derive(Default)]
struct Truth {
    runs: HashSet<Uuid>,
    nodes: HashSet<Uuid>,
    messages: HashSet<Uuid>,
}

impl Truth {
    /// Leaves what is created from now on, and what is open now.
    fn keep_since(&mut self, world: &World) {
        let now = world.now;
        let live = |created_at: Option<Micros>, is_open: Option<bool>| match (created_at, is_open) {
            (Some(created_at), _) if created_at.0 >= now => true,
            (Some(_), open) => open == Some(true),
            // Not committed yet: what counts is the time that it will bear.
            (None, _) => false,
        };
        let created = |id: &Uuid| world.runs[id].versions.iter().rev().find_map(|(_, row)| row.as_ref()).map(|run| run.created_at);
        let visible_run = |id: &Uuid| world.runs[id].at(now);
        self.runs.retain(|id| match visible_run(id) {
            Some(run) => live(Some(run.created_at), Some(!run.has_ended())),
            None => live(created(id), None),
        });
        let nodes: HashSet<Uuid> = self
            .runs
            .iter()
            .filter_map(|id| world.nodes.get(id))
            .flatten()
            .filter_map(|history| history.versions.first()?.1.as_ref().map(|node| node.id))
            .collect();
        self.nodes.retain(|id| nodes.contains(id));
        self.messages.retain(|id| match world.messages[id].at(now) {
            Some(message) => live(Some(message.created_at), Some(!message.is_filled())),
            None => live(world.messages[id].versions.last().and_then(|(_, row)| row.as_ref()).map(|message| message.created_at), None),
        });
    }
}

struct Author {
    rng: ChaCha8Rng,
    world: World,
    truth: Truth,
}

impl Author {
    fn uuid(&mut self) -> Uuid {
        uuid::Builder::from_random_bytes(self.rng.random()).into_uuid()
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    /// When a write commits that is made at `time`: mostly at once, sometimes up to ten minutes late.
    fn commit(&mut self, time: i64) -> i64 {
        let late = if self.chance(5) { self.rng.random_range(0..600 * SECOND) } else { self.rng.random_range(0..SECOND / 3) };
        time + late
    }

    fn run(&mut self, at: i64) {
        let id = self.uuid();
        let skew = if self.chance(10) { self.rng.random_range(-600..600) * SECOND } else { 0 };
        let created = at + skew;
        let elapsed = if self.chance(10) { self.rng.random_range(0..2 * HOUR) } else { self.rng.random_range(0..60 * SECOND) };
        let status = ["succeeded", "failed", "stopped", "partial-succeeded", "novel"][self.rng.random_range(0..5)];
        let row = |status: &str, created: i64, finished: Option<i64>| Run {
            key: RunKey { id, tenant_id: Uuid::nil(), app_id: Uuid::nil(), workflow_id: Uuid::nil() },
            run_type: "workflow".into(),
            triggered_from: "app-run".into(),
            version: "draft".into(),
            status: status.into(),
            error: None,
            elapsed_seconds: 1.0,
            total_tokens: 1,
            total_steps: None,
            exceptions_count: None,
            created_by_role: "account".into(),
            created_by: Uuid::nil(),
            created_at: Micros(created),
            finished_at: finished.map(Micros),
            inputs: None,
            outputs: None,
            cuts: Cuts::default(),
            row_version: 0,
        };
        let begun = self.commit(at);
        let ended = self.commit(at + elapsed).max(begun);
        let finished = Some(created + elapsed);
        let mut versions = vec![(begun, Some(row("running", created, None)))];
        let mut last_change = ended;
        let mut told_in_the_end = true;
        match self.rng.random_range(0..100) {
            0..2 => {} // never ends: told as abandoned
            2..3 => {
                // Ends after it was given up.
                let late = self.rng.random_range(26..40) * HOUR;
                versions.push((begun + late, Some(row(status, created, Some(created + late)))));
            }
            3..6 => {
                // A stale save of "running" over the end, repaired by a later one.
                versions.push((ended, Some(row(status, created, finished))));
                versions.push((ended + 3 * SECOND, Some(row("running", created, None))));
                last_change = ended + 40 * SECOND;
                versions.push((last_change, Some(row(status, created, finished))));
            }
            6..9 => {
                // Deleted while running, inserted again at the end, five minutes to an hour later.
                let gone = begun + self.rng.random_range(1..30) * SECOND;
                versions.push((gone, None));
                last_change = gone + self.rng.random_range(300..3600) * SECOND;
                versions.push((last_change, Some(row(status, created, Some(last_change)))));
            }
            9..12 => {
                // Deleted before it ended, for good.
                versions.push((begun + SECOND, None));
                told_in_the_end = false;
            }
            12..15 => {
                // Deleted a good while after it ended: was told before.
                versions.push((ended, Some(row(status, created, finished))));
                versions.push((ended + HOUR, None));
            }
            15..20 => {
                // Paused, resumed days later with a new created_at (1.10 to 1.13.0).
                let resumed = ended + self.rng.random_range(1..20) * HOUR;
                versions.push((ended, Some(row("paused", created, None))));
                versions.push((resumed, Some(row("running", resumed, None))));
                last_change = resumed + 20 * SECOND;
                versions.push((last_change, Some(row(status, resumed, Some(last_change)))));
            }
            _ => versions.push((ended, Some(row(status, created, finished)))),
        }
        let finals = versions.iter().filter(|(_, row)| row.is_some()).count();
        if told_in_the_end && finals > 0 {
            self.truth.runs.insert(id);
            self.nodes_of(id, begun, last_change);
        }
        if self.chance(50) && told_in_the_end {
            self.message(Some(id), at, last_change);
        }
        self.world.runs.insert(id, History { versions });
    }

    fn nodes_of(&mut self, run: Uuid, begun: i64, ended: i64) {
        for index in 0..self.rng.random_range(1..4) {
            let id = self.uuid();
            let node = |status: &str| Node {
                id,
                index,
                node_id: "n".into(),
                node_type: "code".into(),
                title: String::new(),
                predecessor_node_id: None,
                status: status.into(),
                error: None,
                elapsed_seconds: 0.1,
                created_at: Micros(begun),
                finished_at: None,
                execution_metadata: None,
                process_data: None,
                outputs: None,
                inputs: None,
                cuts: Cuts::default(),
                row_version: 0,
            };
            // Some appear only after their run has ended, as with the Celery repository; some are never finished.
            let appears = if self.chance(10) { ended + self.rng.random_range(0..500) * SECOND } else { begun };
            let mut versions = vec![(appears, Some(node("running")))];
            if !self.chance(5) || appears > begun {
                let retried = appears + SECOND;
                versions.push((retried, Some(node("retry"))));
                versions.push((retried.max(ended - SECOND), Some(node("succeeded"))));
            }
            if versions.len() > 1 && self.chance(10) {
                // Written again, once its run may be told.
                versions.push((
                    appears.max(ended) + self.rng.random_range(1..500) * SECOND,
                    Some(Node { elapsed_seconds: 9.9, ..node("succeeded") }),
                ));
            }
            versions.sort_by_key(|(at, _)| *at);
            self.world.nodes.entry(run).or_default().push(History { versions });
            self.truth.nodes.insert(id);
        }
    }

    fn message(&mut self, run: Option<Uuid>, at: i64, ended: i64) {
        let id = self.uuid();
        let message = |filled: bool, status: &str| Message {
            id,
            app_id: Uuid::nil(),
            conversation_id: Uuid::nil(),
            parent_message_id: None,
            workflow_run_id: run,
            model_provider: None,
            model_id: None,
            app_mode: None,
            status: status.into(),
            error: None,
            invoke_from: None,
            from_source: "api".into(),
            from_end_user_id: None,
            from_account_id: None,
            message_tokens: 0,
            answer_tokens: 0,
            total_price: None,
            currency: "USD".into(),
            response_seconds: 1.0,
            query: None,
            answer: None,
            has_answer: filled,
            agent_based: false,
            metadata: None,
            inputs: None,
            // CURRENT_TIMESTAMP(0) rounds to the second, up or down.
            created_at: Micros((at + SECOND / 2) / SECOND * SECOND),
            updated_at: Micros(at),
            starts_conversation: true,
            cuts: Cuts::default(),
            row_version: 0,
        };
        let begun = self.commit(at);
        let mut versions = vec![(begun, Some(message(false, "normal")))];
        if !self.chance(10) {
            let filled = ended + if self.chance(10) { 90 * SECOND } else { SECOND };
            let status = if self.chance(20) { "error" } else { "normal" };
            versions.push((filled.max(begun), Some(message(true, status))));
        } else if self.chance(50) {
            let late = self.rng.random_range(1..40) * HOUR;
            versions.push((ended.max(begun) + late, Some(message(true, "normal"))));
        }
        self.truth.messages.insert(id);
        self.world.messages.insert(id, History { versions });
    }
}

#[derive(Clone, Default)]
struct Told {
    started: HashMap<Uuid, u32>,
    runs: HashMap<Uuid, u32>,
    nodes: HashMap<Uuid, u32>,
    messages: HashMap<Uuid, u32>,
    /// What was told last of each.
    last_runs: HashMap<Uuid, Run>,
    last_nodes: HashMap<Uuid, Node>,
    last_messages: HashMap<Uuid, (bool, u32)>,
}

impl Told {
    fn note(&mut self, events: Vec<Event>) {
        for event in events {
            self.note_state(&event);
            match event {
                Event::RunStarted(run) => *self.started.entry(run.key.id).or_default() += 1,
                Event::RunClosed { run, nodes, .. } => {
                    *self.runs.entry(run.key.id).or_default() += 1;
                    nodes.iter().for_each(|node| *self.nodes.entry(node.id).or_default() += 1);
                }
                Event::NodesSettled { nodes, .. } | Event::RunCorrected { nodes, .. } => {
                    nodes.iter().for_each(|node| *self.nodes.entry(node.id).or_default() += 1);
                }
                Event::MessageClosed { message, .. } => *self.messages.entry(message.id).or_default() += 1,
                _ => {}
            }
        }
    }

    fn note_state(&mut self, event: &Event) {
        match event {
            Event::RunClosed { run, nodes, .. } | Event::RunCorrected { run, nodes } => {
                self.last_runs.insert(run.key.id, run.clone());
                nodes.iter().for_each(|node| drop(self.last_nodes.insert(node.id, node.clone())));
            }
            Event::NodesSettled { nodes, .. } => nodes.iter().for_each(|node| drop(self.last_nodes.insert(node.id, node.clone()))),
            Event::MessageClosed { message, .. } | Event::MessageCorrected { message, .. } => {
                self.last_messages.insert(message.id, (message.has_answer, message.row_version));
            }
            _ => {}
        }
    }

    /// Documents must show in the end what the rows show.
    fn check_states(&self, world: &World, seed: u64) {
        for id in self.runs.keys() {
            let Some(run) = world.run(id, world.now) else { continue };
            assert_eq!(self.last_runs.get(id), Some(&run), "seed {seed}: a run was told otherwise than it is");
            for node in world.nodes_at(id, world.now) {
                assert_eq!(self.last_nodes.get(&node.id), Some(&node), "seed {seed}: a node was told otherwise than it is");
            }
        }
        for id in self.messages.keys() {
            let row = world.message(id, world.now).map(|message| (message.has_answer, message.row_version));
            assert_eq!(self.last_messages.get(id), row.as_ref(), "seed {seed}: a message was told otherwise than it is");
        }
    }

    fn check(&self, what: &str, told: &HashMap<Uuid, u32>, truth: &HashSet<Uuid>, seed: u64) {
        let missing: Vec<_> = truth.iter().filter(|id| !told.contains_key(id)).collect();
        let twice: Vec<_> = told.iter().filter(|(_, times)| **times > 1).collect();
        let extra: Vec<_> = told.keys().filter(|id| !truth.contains(id)).collect();
        assert!(
            missing.is_empty() && twice.is_empty() && extra.is_empty(),
            "seed {seed}, {what} of {}: missing {missing:?}, twice {twice:?}, extra {extra:?}",
            truth.len()
        );
    }
}

/// One step. `Some(more)` when it was done.
async fn step(
    world: &mut World,
    unit: &mut (Option<FollowState>, Told),
    start: Start,
    settings: &FollowSettings,
    continues: bool,
) -> Option<bool> {
    let documents = world.documents;
    match read_and_absorb(world, &mut unit.0, start, settings, 100, continues, documents).await.expect("the model never fails") {
        Step::Done { events, more, .. } => {
            unit.1.note(events);
            Some(more)
        }
        Step::ServerBehind => None,
    }
}

async fn history(seed: u64, documents: bool) {
    let mut author = Author { rng: ChaCha8Rng::seed_from_u64(seed), world: World::default(), truth: Truth::default() };
    author.world.scan = author.chance(25);
    author.world.documents = documents;
    let traffic = 2 * HOUR;
    for _ in 0..250 {
        let at = BEGIN + author.rng.random_range(0..traffic);
        author.run(at);
        if author.chance(30) {
            author.message(None, at, at + 5 * SECOND);
        }
    }
    let Author { mut rng, mut world, mut truth } = author;
    let start = if rng.random_range(0..3) == 0 { Start::Now } else { Start::Beginning };
    let settings = FollowSettings { page_rows: [1000, 40, 7][rng.random_range(0..3)], ..FollowSettings::default() };
    let mut durable: (Option<FollowState>, Told) = Default::default();
    let mut live = durable.clone();
    world.now = BEGIN - 60 * SECOND;
    if start == Start::Now {
        world.now = BEGIN + HOUR / 2;
        truth.keep_since(&world);
        step(&mut world, &mut live, start, &settings, false).await;
        durable = live.clone();
    }
    let end = BEGIN + traffic + 52 * HOUR;
    while world.now < end {
        let busy = world.now < BEGIN + traffic + HOUR;
        world.now += if busy { rng.random_range(1..45) * SECOND } else { rng.random_range(60..900) * SECOND };
        if busy && rng.random_range(0..200) == 0 {
            world.now += rng.random_range(60..1800) * SECOND; // an outage
        }
        world.behind = if rng.random_range(0..10) == 0 { rng.random_range(0..300) * SECOND } else { 0 };
        for nth in 0..20 {
            match step(&mut world, &mut live, start, &settings, nth > 0).await {
                Some(more) => {
                    if rng.random_range(0..10) == 0 {
                        live = durable.clone(); // killed before it was durable
                    } else if rng.random_range(0..3) > 0 {
                        durable = live.clone();
                    }
                    if !more {
                        break;
                    }
                }
                None => break,
            }
        }
    }
    let mut told = live.1;
    if documents {
        told.check_states(&world, seed);
        // A run's nodes are told together whenever one of them is news.
        told.nodes.values_mut().for_each(|times| *times = 1);
    }
    told.check("runs", &told.runs, &truth.runs, seed);
    told.check("nodes", &told.nodes, &truth.nodes, seed);
    told.check("messages", &told.messages, &truth.messages, seed);
    assert!(told.started.values().all(|times| *times == 1), "seed {seed}: a run started twice");
}

#[tokio::test]
async fn random_histories_are_told_exactly_once() {
    many_histories(false).await;
}

#[tokio::test]
async fn random_histories_are_told_again_until_documents_show_what_the_rows_show() {
    many_histories(true).await;
}

#[expect(clippy::print_stderr, reason = "a failed history is repeated by its seed")]
async fn many_histories(documents: bool) {
    let setting = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let histories = setting("DIFY_OBSERVE_HISTORIES").unwrap_or(12);
    let first = setting("DIFY_OBSERVE_SEED").unwrap_or_else(|| Micros::now().0.unsigned_abs());
    eprintln!("follower model: seeds {first} to {}", first + histories - 1);
    for seed in first..first + histories {
        history(seed, documents).await;
    }
}

async fn read(world: &mut World, state: &mut Option<FollowState>) {
    let settings = FollowSettings::default();
    read_and_absorb(world, state, Start::Beginning, &settings, 5_000, false, false).await.expect("the model never fails");
}

#[tokio::test]
async fn a_step_with_nothing_new_costs_the_same_with_any_number_of_open_runs() {
    let mut author = Author { rng: ChaCha8Rng::seed_from_u64(1), world: World::default(), truth: Truth::default() };
    let mut cost = Vec::new();
    for zombies in [10, 3_000] {
        for _ in 0..zombies {
            author.run(BEGIN);
        }
        author.world.runs.values_mut().for_each(|history| history.versions.truncate(1));
        author.world.now = BEGIN + HOUR;
        let mut state = None;
        for _ in 0..40 {
            author.world.now += 15 * SECOND;
            read(&mut author.world, &mut state).await;
        }
        author.world.statements = 0;
        author.world.now += 15 * SECOND;
        read(&mut author.world, &mut state).await;
        cost.push(author.world.statements);
    }
    assert!(cost.iter().all(|statements| *statements <= 8), "{cost:?}");
    assert_eq!(Duration::from_secs(3600), Micros(BEGIN + HOUR).since(Micros(BEGIN)));
}
