//! Runs and their node executions: when a run is final, and what is told then.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::event::{Closed, Event, Kind};
use super::open::OpenEntry;
use super::reader::{NodeBrief, Reader, RunBrief};
use super::source::{Found, Moment, Source};
use crate::dify::records::{Node, Run, RunKey};
use crate::dify::session::DatabaseError;
use crate::dify::time::Micros;
use crate::settings::follow::FollowSettings;

/// How long ago a row must have ended, by its own time, to be taken without being seen twice: catching up after an outage
/// must not hold every record for a second look.
pub(crate) const LONG_ENDED: Duration = Duration::from_secs(10 * 60);
/// A closed run's node executions are counted again at the first two delays of `follow.trail` after it was told.
const RECOUNTS: usize = 2;
/// Most runs recounted in one step.
const MOST_RECOUNTS: usize = 500;
/// Most node executions remembered for recounting; the oldest runs are given up first.
const MOST_REMEMBERED_NODES: usize = 1_000_000;
/// Most node executions remembered that a successor is told of: 5 bytes each.
const MOST_PASSED_ON: usize = 100_000;
/// Most bytes of node executions read in one step.
const MOST_BYTES: i64 = 8 * 1024 * 1024;

/// A run that was told, and the marks of what was told of it: of its node executions, and for documents of the run itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Told {
    run: Uuid,
    at: Micros,
    nodes: Vec<u32>,
}

/// Runs whose node executions will be counted again, in order of time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Recounts {
    queues: [VecDeque<Told>; RECOUNTS],
    remembered: usize,
}

impl Recounts {
    fn remember(&mut self, told: Told) {
        self.remembered += told.nodes.len();
        self.queues[0].push_back(told);
        while self.remembered > MOST_REMEMBERED_NODES {
            let Some(oldest) = self.queues.iter_mut().rev().find_map(VecDeque::pop_front) else { break };
            self.remembered -= oldest.nodes.len();
        }
    }

    /// Forgets all of them where they are too many to be passed on.
    pub(crate) fn keep_if_few(&mut self) {
        if self.remembered > MOST_PASSED_ON {
            *self = Recounts::default();
        }
    }

    /// How many of each queue's first are due.
    fn due(&self, now: Micros, settings: &FollowSettings) -> [usize; RECOUNTS] {
        let mut room = MOST_RECOUNTS;
        std::array::from_fn(|stage| {
            let delay = settings.trail.get(stage).copied().unwrap_or_default();
            let due = self.queues[stage].iter().take(room).take_while(|told| now.since(told.at) >= delay).count();
            room -= due;
            due
        })
    }

    fn pass_on(&mut self, due: [usize; RECOUNTS], found: &HashMap<Uuid, Vec<u32>>) {
        for stage in (0..RECOUNTS).rev() {
            for _ in 0..due[stage] {
                let Some(mut told) = self.queues[stage].pop_front() else { break };
                if let Some(more) = found.get(&told.run) {
                    told.nodes.extend_from_slice(more);
                    self.remembered += more.len();
                }
                match self.queues.get_mut(stage + 1) {
                    Some(next) => next.push_back(told),
                    None => self.remembered -= told.nodes.len(),
                }
            }
        }
    }
}

/// What one step found out about runs.
#[derive(Debug)]
pub(crate) struct RunsBatch {
    pub(crate) found: Found,
    changes: Vec<(Uuid, Change)>,
    events: Vec<Event>,
    recounted: [usize; RECOUNTS],
    recount_finds: HashMap<Uuid, Vec<u32>>,
    /// More could be done at once.
    pub(crate) more: bool,
}

/// What happens to one id of the open set.
#[derive(Debug)]
pub(crate) enum Change {
    /// It is (still) open.
    Open(OpenEntry),
    /// It was told, and is watched from now on where it has no end.
    Told { created_at: Micros, nodes: Vec<u32>, watch: Option<OpenEntry> },
    /// It was told before, and is watched no more.
    Unwatched,
    /// It is gone for good.
    Vanished { created_at: Micros },
}

/// What a run's row says, given what was known before.
#[derive(Debug, PartialEq)]
enum Verdict {
    Wait,
    Close(Closed),
    /// Paused for long enough: its final nodes may be told.
    Pause,
    /// It was told without an end, and has found one.
    Correct,
}

fn judge(run: &Run, entry: &mut OpenEntry, now: Micros, settings: &FollowSettings) -> Verdict {
    entry.app_id = run.key.app_id;
    entry.created_at = run.created_at;
    entry.missing_since = None;
    entry.paused = run.is_paused();
    if entry.is_told() {
        return if run.has_ended() { Verdict::Correct } else { Verdict::Wait };
    }
    if !run.has_ended() && !entry.paused {
        entry.final_since = None;
        if now.since(run.created_at) >= settings.abandon_after {
            return Verdict::Close(Closed::Abandoned);
        }
        entry.check_after_age(now);
        return Verdict::Wait;
    }
    let since = *entry.final_since.get_or_insert(now);
    let long_ended = run.has_ended() && run.finished_at.is_some_and(|finished| now.since(finished) >= LONG_ENDED.max(settings.settle));
    if !long_ended && now.since(since) < settings.settle {
        entry.check_at(now, since.plus(settings.settle));
        return Verdict::Wait;
    }
    if entry.paused {
        entry.check_after_age(now);
        Verdict::Pause
    } else {
        Verdict::Close(Closed::Ended)
    }
}

/// Statuses that a node execution may leave again.
fn is_unfinished(status: &str) -> bool {
    matches!(status, "running" | "pending" | "paused")
}

/// A short hash of a row: of its id, and of its version where that was read.
fn mark(id: &Uuid, row_version: u32) -> u32 {
    let (high, low) = id.as_u64_pair();
    let mixed = high ^ low.rotate_left(29);
    (mixed ^ (mixed >> 32)) as u32 ^ row_version.wrapping_mul(0x9e37_79b1)
}

fn mark_of(node: &Node) -> u32 {
    mark(&node.id, node.row_version)
}

/// Marks of a run and of all its node executions.
fn marks(run: &Run, nodes: &[Node]) -> Vec<u32> {
    nodes.iter().map(mark_of).chain([mark(&run.key.id, run.row_version)]).collect()
}

/// Reads runs: the new ones, the open ones that are due, and the nodes of those that can be told.
pub(crate) async fn step<R: Reader>(
    source: &Source,
    recounts: &Recounts,
    reader: &mut R,
    moment: Moment,
    settings: &FollowSettings,
) -> Result<RunsBatch, DatabaseError> {
    let most_due = super::MOST_DUE.min(settings.page_rows as usize);
    let due = source.open.due(moment.now, most_due);
    let budget = (settings.page_rows as usize).saturating_sub(due.len()).max(1);
    let found = source.find(reader, Kind::Run, moment, budget, settings).await?;
    let mut batch = RunsBatch {
        more: found.more,
        found,
        changes: Vec::new(),
        events: Vec::new(),
        recounted: [0; RECOUNTS],
        recount_finds: HashMap::new(),
    };

    let mut ids: Vec<Uuid> = due.iter().copied().chain(batch.found.unknown.iter().map(|place| place.id)).collect();
    if moment.documents && !ids.is_empty() {
        let bytes: HashMap<Uuid, i64> = reader.run_briefs(&ids).await?.into_iter().map(|brief| (brief.key.id, brief.bytes)).collect();
        let (now, later) = super::affordable(ids, &bytes);
        ids = now;
        batch.more |= !later.is_empty();
        batch.changes.extend(super::defer(&later, &batch.found, source, moment.now));
    }
    let mut rows: HashMap<Uuid, Run> = HashMap::new();
    if !ids.is_empty() {
        rows.extend(reader.runs(&ids).await?.into_iter().map(|run| (run.key.id, run)));
    }
    let mut closing: Vec<(Run, OpenEntry, Verdict)> = Vec::new();
    let mut changed = 0;
    for id in ids {
        let known = source.open.get(&id);
        let Some(run) = rows.remove(&id) else {
            if let Some(entry) = known {
                batch.changes.push((id, super::missing(entry, moment, source, settings, &mut batch.events, Kind::Run)));
            }
            continue;
        };
        let is_new = known.is_none() && !source.ledger.has_vanished(&id);
        if is_new {
            batch.events.push(Event::RunStarted(run.clone()));
        }
        let mut entry = known.cloned().unwrap_or_else(|| OpenEntry::new(run.key.app_id, run.created_at, moment.now));
        match judge(&run, &mut entry, moment.now, settings) {
            Verdict::Wait if entry.is_told() => batch.changes.push((id, entry.watched(moment.now).map_or(Change::Unwatched, Change::Open))),
            Verdict::Wait => batch.changes.push((id, Change::Open(entry))),
            verdict => {
                changed += 1;
                closing.push((run, entry, verdict));
            }
        }
    }
    batch.more |= due.len() == most_due && changed * 4 >= due.len();
    tell(&mut batch, closing, reader, moment, settings).await?;
    recount(&mut batch, recounts, reader, moment, settings).await?;
    Ok(batch)
}

/// Reads the nodes of runs that may be told, as many as the byte budget allows, and tells them.
async fn tell<R: Reader>(
    batch: &mut RunsBatch,
    closing: Vec<(Run, OpenEntry, Verdict)>,
    reader: &mut R,
    moment: Moment,
    settings: &FollowSettings,
) -> Result<(), DatabaseError> {
    if closing.is_empty() {
        return Ok(());
    }
    let keys: Vec<RunKey> = closing.iter().map(|(run, ..)| run.key.clone()).collect();
    let mut briefs: HashMap<Uuid, Vec<NodeBrief>> = HashMap::new();
    for brief in reader.node_briefs(&keys).await? {
        briefs.entry(brief.run_id).or_default().push(brief);
    }
    let mut chosen: Vec<(Run, OpenEntry, Verdict)> = Vec::new();
    let mut bytes = 0;
    for (run, mut entry, verdict) in closing {
        let nodes = briefs.get(&run.key.id).map_or(&[][..], Vec::as_slice);
        let unfinished = nodes.iter().any(|node| is_unfinished(&node.status));
        let cost: i64 = nodes.iter().map(|node| node.bytes).sum::<i64>() + 1024;
        let waited = entry.final_since.map_or(Duration::MAX, |since| moment.now.since(since));
        let long_ended = run.finished_at.is_some_and(|finished| moment.now.since(finished) >= LONG_ENDED.max(settings.interrupt_after));
        if verdict == Verdict::Close(Closed::Ended) && unfinished && waited < settings.interrupt_after && !long_ended {
            entry.check_at(moment.now, moment.now.plus(settings.settle.max(Duration::from_secs(1))));
            batch.changes.push((run.key.id, Change::Open(entry)));
        } else if bytes + cost > MOST_BYTES && !chosen.is_empty() {
            batch.more = true;
            entry.check_at(moment.now, moment.now);
            batch.changes.push((run.key.id, Change::Open(entry)));
        } else {
            bytes += cost;
            chosen.push((run, entry, verdict));
        }
    }
    let keys: Vec<RunKey> = chosen.iter().map(|(run, ..)| run.key.clone()).collect();
    let mut nodes: HashMap<Uuid, Vec<Node>> = HashMap::new();
    for (run, node) in reader.nodes(&keys).await? {
        nodes.entry(run).or_default().push(node);
    }
    for (run, mut entry, verdict) in chosen {
        let nodes = nodes.remove(&run.key.id).unwrap_or_default();
        let told: HashSet<u32> = entry.told_nodes.iter().copied().collect();
        // The documents of a run need all of its nodes, those told while it was paused too.
        let all = moment.documents && verdict != Verdict::Pause;
        let mut nodes: Vec<Node> = nodes.into_iter().filter(|node| all || !told.contains(&mark_of(node))).collect();
        match verdict {
            Verdict::Wait => {}
            Verdict::Pause => {
                nodes.retain(|node| !is_unfinished(&node.status) && &*node.status != "retry");
                entry.told_nodes.extend(nodes.iter().map(mark_of));
                batch.changes.push((run.key.id, Change::Open(entry)));
                if !nodes.is_empty() {
                    batch.events.push(Event::NodesSettled { run, nodes });
                }
            }
            Verdict::Close(closed) => {
                let watch = (moment.documents && !run.has_ended()).then(|| entry.watched(moment.now)).flatten();
                let told = match moment.documents {
                    true => marks(&run, &nodes),
                    false => entry.told_nodes.into_iter().chain(nodes.iter().map(mark_of)).collect(),
                };
                batch.changes.push((run.key.id, Change::Told { created_at: run.created_at, nodes: told, watch }));
                batch.events.push(Event::RunClosed { run, nodes, closed });
            }
            Verdict::Correct => {
                let told = marks(&run, &nodes);
                batch.changes.push((run.key.id, Change::Told { created_at: run.created_at, nodes: told, watch: None }));
                batch.events.push(Event::RunCorrected { run, nodes });
            }
        }
    }
    Ok(())
}

/// Looks again at runs that were told some time ago: node executions that appeared since are told late.
async fn recount<R: Reader>(
    batch: &mut RunsBatch,
    recounts: &Recounts,
    reader: &mut R,
    moment: Moment,
    settings: &FollowSettings,
) -> Result<(), DatabaseError> {
    batch.recounted = recounts.due(moment.now, settings);
    if moment.documents {
        return compare(batch, recounts, reader).await;
    }
    let due: HashMap<Uuid, &Told> =
        recounts.queues.iter().zip(batch.recounted).flat_map(|(queue, due)| queue.iter().take(due)).map(|told| (told.run, told)).collect();
    if due.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = due.keys().copied().collect();
    // The rows are read for their keys: before Dify 1.12 no index leads from a run's id alone to its nodes.
    let runs: HashMap<Uuid, Run> = reader.runs(&ids).await?.into_iter().map(|run| (run.key.id, run)).collect();
    let keys: Vec<RunKey> = runs.values().map(|run| run.key.clone()).collect();
    let mut late: HashSet<Uuid> = HashSet::new();
    if !keys.is_empty() {
        for brief in reader.node_briefs(&keys).await? {
            let told = due.get(&brief.run_id).is_some_and(|told| told.nodes.contains(&mark(&brief.id, brief.row_version)));
            if !told && !is_unfinished(&brief.status) {
                late.insert(brief.run_id);
            }
        }
    }
    if late.is_empty() {
        return Ok(());
    }
    let keys: Vec<RunKey> = late.iter().filter_map(|id| runs.get(id)).map(|run| run.key.clone()).collect();
    let mut nodes: HashMap<Uuid, Vec<Node>> = HashMap::new();
    for (run, node) in reader.nodes(&keys).await? {
        let told = due.get(&run).is_some_and(|told| told.nodes.contains(&mark_of(&node)));
        if !told && !is_unfinished(&node.status) {
            nodes.entry(run).or_default().push(node);
        }
    }
    for (id, nodes) in nodes {
        batch.recount_finds.insert(id, nodes.iter().map(mark_of).collect());
        batch.found.late += nodes.len() as u64;
        if let Some(run) = runs.get(&id) {
            batch.events.push(Event::NodesSettled { run: run.clone(), nodes });
        }
    }
    Ok(())
}

/// For documents: looks again at runs that were told some time ago, and tells those again that are another now, as many as
/// the byte budget allows.
async fn compare<R: Reader>(batch: &mut RunsBatch, recounts: &Recounts, reader: &mut R) -> Result<(), DatabaseError> {
    let due: Vec<&Told> = recounts.queues.iter().zip(batch.recounted).flat_map(|(queue, due)| queue.iter().take(due)).collect();
    if due.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = due.iter().map(|told| told.run).collect();
    let briefs: HashMap<Uuid, RunBrief> = reader.run_briefs(&ids).await?.into_iter().map(|brief| (brief.key.id, brief)).collect();
    let keys: Vec<RunKey> = briefs.values().map(|brief| brief.key.clone()).collect();
    let mut nodes: HashMap<Uuid, Vec<NodeBrief>> = HashMap::new();
    if !keys.is_empty() {
        for brief in reader.node_briefs(&keys).await? {
            nodes.entry(brief.run_id).or_default().push(brief);
        }
    }
    let mut changed: Vec<Uuid> = Vec::new();
    let (mut bytes, mut compared) = (0, 0);
    for told in &due {
        if let Some(run) = briefs.get(&told.run) {
            let nodes = nodes.get(&told.run).map_or(&[][..], Vec::as_slice);
            if is_another(told, run, nodes) {
                let cost = run.bytes + nodes.iter().map(|node| node.bytes).sum::<i64>();
                if bytes + cost > MOST_BYTES && !changed.is_empty() {
                    batch.more = true;
                    break;
                }
                bytes += cost;
                changed.push(told.run);
            }
        }
        compared += 1;
    }
    // What did not fit stays at the head of its queue.
    for due in &mut batch.recounted {
        *due = compared.min(*due);
        compared -= *due;
    }
    correct(batch, &changed, reader).await
}

/// Whether something of a run was written again since it was told, and is final. What is not will be looked at another time.
fn is_another(told: &Told, run: &RunBrief, nodes: &[NodeBrief]) -> bool {
    let is_told = |mark: u32| told.nodes.contains(&mark);
    let run_is = run.has_ended && !is_told(mark(&run.key.id, run.row_version));
    run_is || nodes.iter().any(|node| !is_unfinished(&node.status) && !is_told(mark(&node.id, node.row_version)))
}

async fn correct<R: Reader>(batch: &mut RunsBatch, changed: &[Uuid], reader: &mut R) -> Result<(), DatabaseError> {
    if changed.is_empty() {
        return Ok(());
    }
    let runs = reader.runs(changed).await?;
    let keys: Vec<RunKey> = runs.iter().map(|run| run.key.clone()).collect();
    let mut nodes: HashMap<Uuid, Vec<Node>> = HashMap::new();
    for (run, node) in reader.nodes(&keys).await? {
        nodes.entry(run).or_default().push(node);
    }
    for run in runs {
        let mut nodes = nodes.remove(&run.key.id).unwrap_or_default();
        batch.recount_finds.insert(run.key.id, marks(&run, &nodes));
        if run.has_ended() {
            batch.events.push(Event::RunCorrected { run, nodes });
        } else {
            // Given up, but alive: it goes on being watched, and until it ends only its nodes are news.
            nodes.retain(|node| !is_unfinished(&node.status));
            batch.events.push(Event::NodesSettled { run, nodes });
        }
    }
    Ok(())
}

/// Takes over what a step found out, and returns what it tells.
pub(crate) fn absorb(
    source: &mut Source,
    recounts: &mut Recounts,
    batch: RunsBatch,
    moment: Moment,
    settings: &FollowSettings,
) -> Vec<Event> {
    recounts.pass_on(batch.recounted, &batch.recount_finds);
    for (id, change) in batch.changes {
        if let Change::Told { nodes, .. } = &change {
            recounts.remember(Told { run: id, at: moment.now, nodes: nodes.clone() });
        }
        super::apply(source, id, change);
    }
    if moment.documents {
        source.open.limit_watched();
    }
    source.absorb(&batch.found, moment, settings);
    batch.events
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dify::records::Cuts;

    const APP: Uuid = Uuid::from_u128(7);

    fn run(status: &str, finished_at: Option<i64>) -> Run {
        Run {
            key: RunKey { id: Uuid::from_u128(1), tenant_id: APP, app_id: APP, workflow_id: APP },
            run_type: "workflow".into(),
            triggered_from: "app-run".into(),
            version: "draft".into(),
            status: status.into(),
            error: None,
            elapsed_seconds: 0.0,
            total_tokens: 0,
            total_steps: None,
            exceptions_count: None,
            created_by_role: "end_user".into(),
            created_by: APP,
            created_at: Micros::from_secs(1_000),
            finished_at: finished_at.map(Micros::from_secs),
            inputs: None,
            outputs: None,
            cuts: Cuts::default(),
            row_version: 0,
        }
    }

    fn judge_at(run: &Run, entry: &mut OpenEntry, now: i64) -> Verdict {
        judge(run, entry, Micros::from_secs(now), &FollowSettings::default())
    }

    fn fresh() -> OpenEntry {
        OpenEntry::new(APP, Micros::from_secs(1_000), Micros::from_secs(1_000))
    }

    #[test]
    fn a_run_is_final_five_seconds_after_it_was_first_seen_so() {
        let mut entry = fresh();
        let ended = run("succeeded", Some(1_002));
        assert_eq!(judge_at(&ended, &mut entry, 1_003), Verdict::Wait);
        assert_eq!(entry.next_check, Micros::from_secs(1_008));
        assert_eq!(judge_at(&ended, &mut entry, 1_008), Verdict::Close(Closed::Ended));
    }

    #[test]
    fn a_stale_running_save_over_the_end_takes_it_back() {
        let mut entry = fresh();
        judge_at(&run("succeeded", Some(1_002)), &mut entry, 1_003);
        assert_eq!(judge_at(&run("running", None), &mut entry, 1_009), Verdict::Wait);
        assert_eq!(entry.final_since, None);
        assert_eq!(judge_at(&run("succeeded", Some(1_002)), &mut entry, 1_010), Verdict::Wait);
    }

    #[test]
    fn what_ended_long_ago_is_taken_at_once() {
        assert_eq!(judge_at(&run("failed", Some(1_002)), &mut fresh(), 9_000), Verdict::Close(Closed::Ended));
    }

    #[test]
    fn an_unknown_status_is_final_only_with_an_end() {
        assert_eq!(judge_at(&run("teleported", None), &mut fresh(), 9_000), Verdict::Wait);
        assert_eq!(judge_at(&run("teleported", Some(1_002)), &mut fresh(), 9_000), Verdict::Close(Closed::Ended));
    }

    #[test]
    fn running_is_abandoned_after_a_day_and_paused_never() {
        let day_later = 1_000 + 24 * 3600;
        assert_eq!(judge_at(&run("running", None), &mut fresh(), day_later), Verdict::Close(Closed::Abandoned));
        let mut entry = fresh();
        judge_at(&run("paused", None), &mut entry, 1_500);
        assert_eq!(judge_at(&run("paused", None), &mut entry, day_later * 9), Verdict::Pause);
    }
}
