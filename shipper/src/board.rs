//! How every sink fares: written by its pipeline, read by `/position`, `/readyz`, `/metrics` and the status page.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dify_observe_core::dify::follow::{FollowStatus, Kind, Position};
use dify_observe_core::dify::time::Micros;
use uuid::Uuid;

use crate::pipeline::Meter;
use crate::sinks::OpenSink;

/// What a pipeline is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Another instance ships.
    Standby,
    /// Connecting to the sink, and reading its position.
    Opening,
    /// Shipping.
    Shipping,
    /// It cannot go on by itself, and is tried again.
    Failed,
}

impl Phase {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Phase::Standby => "standby: another instance ships",
            Phase::Opening => "opening",
            Phase::Shipping => "shipping",
            Phase::Failed => "failed, tried again soon",
        }
    }
}

/// How one sink fares.
#[derive(Debug)]
pub(crate) struct SinkState {
    pub(crate) phase: Phase,
    /// Why the pipeline failed.
    pub(crate) problem: Option<String>,
    /// The last problem there was, and when.
    pub(crate) last_problem: Option<(Micros, String)>,
    /// What it covers, durably.
    pub(crate) position: Option<Position>,
    /// When that was last brought up to date with the database.
    pub(crate) covered_at: Option<Micros>,
    /// How far reading is behind, by kind of record; as of `covered_at`.
    pub(crate) lag: [(Kind, Duration); 3],
    /// Documents acknowledged since the start of the process.
    pub(crate) delivered: u64,
    /// The sink itself, while it is open.
    pub(crate) sink: Option<Arc<OpenSink>>,
    /// How much memory its documents take.
    pub(crate) memory: Option<Meter>,
}

impl SinkState {
    fn new() -> Self {
        SinkState {
            phase: Phase::Opening,
            problem: None,
            last_problem: None,
            position: None,
            covered_at: None,
            lag: [Kind::Run, Kind::Message, Kind::Trigger].map(|kind| (kind, Duration::ZERO)),
            delivered: 0,
            sink: None,
            memory: None,
        }
    }

    /// One sentence where something is not well: its pipeline failed, or the other end is away, full or busy.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.problem.clone().or_else(|| self.sink.as_ref().and_then(|sink| sink.sink.trouble()))
    }
}

/// What can be seen from outside.
#[derive(Debug)]
pub(crate) struct Board {
    sinks: Mutex<BTreeMap<String, SinkState>>,
    database: Mutex<Option<String>>,
}

impl Board {
    pub(crate) fn new<'a>(sinks: impl IntoIterator<Item = &'a String>) -> Self {
        let sinks = sinks.into_iter().map(|name| (name.clone(), SinkState::new())).collect();
        Board { sinks: Mutex::new(sinks), database: Mutex::new(Some("not reached yet".to_owned())) }
    }

    pub(crate) fn sinks(&self) -> MutexGuard<'_, BTreeMap<String, SinkState>> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut SinkState)) {
        if let Some(state) = self.sinks().get_mut(name) {
            change(state);
        }
    }

    pub(crate) fn phase(&self, name: &str, phase: Phase) {
        self.change(name, |state| {
            state.phase = phase;
            if phase != Phase::Failed {
                state.problem = None;
            }
            if matches!(phase, Phase::Standby | Phase::Failed) {
                // What it covered is not kept up to date here any more.
                (state.position, state.covered_at) = (None, None);
                (state.sink, state.memory) = (None, None);
            }
        });
    }

    pub(crate) fn failed(&self, name: &str, problem: &str) {
        self.phase(name, Phase::Failed);
        self.change(name, |state| {
            state.problem = Some(problem.to_owned());
            state.last_problem = Some((Micros::now(), problem.to_owned()));
        });
    }

    pub(crate) fn opened(&self, name: &str, sink: Arc<OpenSink>, memory: Meter) {
        self.change(name, |state| (state.sink, state.memory) = (Some(sink), Some(memory)));
        self.phase(name, Phase::Shipping);
    }

    pub(crate) fn delivered(&self, name: &str, documents: u64) {
        self.change(name, |state| state.delivered += documents);
    }

    /// Everything up to here is delivered, durably.
    pub(crate) fn covered(&self, name: &str, position: Position, status: &FollowStatus, at: Micros) {
        self.change(name, |state| {
            state.position = Some(position);
            state.covered_at = Some(at);
            state.lag = status.lag;
        });
    }

    /// `None` while the database answers.
    pub(crate) fn database(&self, problem: Option<String>) {
        *self.database.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    pub(crate) fn database_problem(&self) -> Option<String> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What all sinks together cover; `None` while one of them has no position.
    pub(crate) fn covered_by_all(&self) -> Option<Covered> {
        let sinks = self.sinks();
        let mut all = Covered { until: Micros(i64::MAX), written_at: Micros(i64::MAX), ..Covered::default() };
        for (name, state) in sinks.iter() {
            let (position, at) = (state.position.as_ref()?, state.covered_at?);
            all.until = all.until.min(position.covered_until);
            all.written_at = all.written_at.min(at);
            all.start = all.start.max(position.start);
            all.open.extend(&position.open);
            all.open_at_start.extend(&position.open_at_start);
            all.sinks.push((name.clone(), position.clone()));
        }
        (!all.sinks.is_empty()).then_some(all)
    }
}

/// What all sinks together cover.
#[derive(Debug)]
pub(crate) struct Covered {
    pub(crate) until: Micros,
    pub(crate) written_at: Micros,
    /// The latest start: what is older, somebody may never be given.
    pub(crate) start: Micros,
    pub(crate) open: BTreeSet<Uuid>,
    pub(crate) open_at_start: BTreeSet<Uuid>,
    pub(crate) sinks: Vec<(String, Position)>,
}

impl Default for Covered {
    fn default() -> Self {
        let none = BTreeSet::new;
        Covered { until: Micros(0), written_at: Micros(0), start: Micros::MIN, open: none(), open_at_start: none(), sinks: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(until: i64, open: &[u128]) -> Position {
        let open = open.iter().map(|id| Uuid::from_u128(*id)).collect();
        Position { covered_until: Micros(until), start: Micros(until / 2), open_at_start: Vec::new(), open }
    }

    fn status() -> FollowStatus {
        let kinds = [Kind::Run, Kind::Message, Kind::Trigger];
        FollowStatus {
            lag: kinds.map(|kind| (kind, Duration::ZERO)),
            horizon: Duration::ZERO,
            open: kinds.map(|kind| (kind, 0)),
            blocks_scanned: 0,
        }
    }

    #[test]
    fn covered_is_what_every_sink_covers() {
        let board = Board::new(&["a".to_owned(), "b".to_owned()]);
        board.covered("a", position(100, &[1, 2]), &status(), Micros(7));
        assert!(board.covered_by_all().is_none(), "b has no position yet");
        board.covered("b", position(60, &[2, 3]), &status(), Micros(5));
        let covered = board.covered_by_all().unwrap();
        assert_eq!((covered.until, covered.written_at, covered.start), (Micros(60), Micros(5), Micros(50)));
        assert_eq!(covered.open, [1, 2, 3].map(Uuid::from_u128).into());
        board.phase("a", Phase::Standby);
        assert!(board.covered_by_all().is_none(), "a standby covers nothing that it would know of");
    }

    #[test]
    fn a_problem_is_gone_when_the_sink_ships_again_and_is_remembered() {
        let board = Board::new(&["a".to_owned()]);
        board.failed("a", "no template");
        assert_eq!(board.sinks()["a"].trouble().as_deref(), Some("no template"));
        board.phase("a", Phase::Shipping);
        assert_eq!(board.sinks()["a"].trouble(), None);
        assert_eq!(board.sinks()["a"].last_problem.as_ref().unwrap().1, "no template");
    }
}
