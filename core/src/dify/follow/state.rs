//! Everything the follower remembers, as one value that is made durable as a unit.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::event::Kind;
use super::feedback::KnownFeedbacks;
use super::reader::ServerFacts;
use super::runs::Recounts;
use super::source::Source;
use crate::dify::time::Micros;
use crate::settings::follow::FollowSettings;

/// Where a follower begins that has no state yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    /// What is created from now on, and the runs and messages that are open now.
    Now,
    /// Everything there is.
    Beginning,
    /// What was created since a time, and what was open then.
    At(Micros),
}

/// What the follower remembers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FollowState {
    identity: String,
    timeline: i32,
    lsn: i64,
    started_at: Micros,
    anchored_at: Micros,
    pub(super) runs: Source,
    pub(super) recounts: Recounts,
    pub(super) messages: Source,
    pub(super) triggers: Source,
    /// Feedbacks as last seen.
    pub feedbacks: KnownFeedbacks,
    /// Server clock of the last step. Not worth writing the state for.
    #[serde(skip, default = "long_ago")]
    stepped_at: Micros,
}

fn long_ago() -> Micros {
    Micros::MIN
}

/// In which way a run is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OpenState {
    /// Young enough to be believed.
    Running,
    /// Older than the age that was asked with.
    Stale,
    /// Waits for a person.
    Paused,
}

/// Open runs of one app in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenCount {
    /// The app; nil for runs open at the start that were not read yet.
    pub app_id: Uuid,
    /// In which way they are open.
    pub state: OpenState,
    /// How many.
    pub count: u64,
    /// `created_at` of the oldest.
    pub oldest: Micros,
}

/// What is covered: every record created before `covered_until` and not among `open` was told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// UTC.
    pub covered_until: Micros,
    /// Since when records are followed; what is older was never told, except what was open then.
    pub start: Micros,
    /// Runs, messages and trigger logs that are older than `start` and are followed all the same, because they were open then.
    pub open_at_start: Vec<Uuid>,
    /// Ids of runs and messages that are not final.
    pub open: Vec<Uuid>,
}

/// Figures about the follower itself.
#[derive(Clone, Debug, PartialEq)]
pub struct FollowStatus {
    /// How far the position is behind the server's clock, by kind of record.
    pub lag: [(Kind, Duration); 3],
    /// How late a row may commit after its own time and still be found.
    pub horizon: Duration,
    /// Open records by kind.
    pub open: [(Kind, u64); 3],
    /// Blocks read of tables that have no index on their time.
    pub blocks_scanned: u64,
}

impl FollowState {
    /// A state that is equal to no other of these, for tests of what keeps states.
    #[doc(hidden)]
    pub fn for_tests(number: i64) -> Self {
        let facts = ServerFacts { now: Micros(0), in_recovery: false, replayed: None, lsn: number, timeline: 1, identity: String::new() };
        Self::begin(Start::Beginning, &facts, &FollowSettings::default())
    }

    pub(super) fn begin(start: Start, facts: &ServerFacts, settings: &FollowSettings) -> Self {
        let anchor = match start {
            Start::Now => facts.edge().unwrap_or(facts.now),
            Start::Beginning => Micros::MIN,
            Start::At(time) => time,
        };
        let source = || Source::new(anchor, facts.now, settings);
        FollowState {
            identity: facts.identity.clone(),
            timeline: facts.timeline,
            lsn: facts.lsn,
            started_at: anchor,
            anchored_at: anchor,
            runs: source(),
            recounts: Recounts::default(),
            messages: source(),
            triggers: source(),
            feedbacks: KnownFeedbacks::default(),
            stepped_at: Micros::MIN,
        }
    }

    /// The same totals, another database: its rows are followed from now on.
    pub(super) fn anchored_anew(&self, facts: &ServerFacts, settings: &FollowSettings) -> Self {
        let mut state = Self::begin(Start::Now, facts, settings);
        state.started_at = self.started_at;
        state
    }

    /// Whether this state belongs to the database that was reached.
    ///
    /// A new timeline of the same cluster (failover, point-in-time recovery) keeps the position: what was told is known by
    /// id, and rows that the old primary had and this one lost cannot come again.
    pub(super) fn is_of(&self, facts: &ServerFacts) -> bool {
        self.identity == facts.identity
    }

    /// Whether the server shows less than one that was read before.
    pub(super) fn is_ahead_of(&self, facts: &ServerFacts) -> bool {
        self.timeline == facts.timeline && facts.lsn < self.lsn
    }

    pub(super) fn note(&mut self, facts: &ServerFacts) {
        self.timeline = facts.timeline;
        self.lsn = facts.lsn;
        self.stepped_at = facts.now;
    }

    fn sources(&self) -> [(Kind, &Source); 3] {
        [(Kind::Run, &self.runs), (Kind::Message, &self.messages), (Kind::Trigger, &self.triggers)]
    }

    /// What a successor on another host needs, small enough to be kept with what was made of the events: positions, what is
    /// open or watched, and what is to be compared soon. Without the ids that are told and the feedbacks as last seen it
    /// tells the records of the horizon and the feedbacks since the start again, and no feedback as withdrawn that was
    /// withdrawn in between.
    pub fn without_ledger(&self) -> FollowState {
        let mut state = FollowState { feedbacks: KnownFeedbacks::default(), ..self.clone() };
        [&mut state.runs, &mut state.messages, &mut state.triggers].into_iter().for_each(|source| source.ledger.clear());
        state.recounts.keep_if_few();
        state
    }

    /// Since when records are followed.
    pub fn started_at(&self) -> Micros {
        self.started_at
    }

    /// Whether everything that was open at the start is known. Where no index serves the time, that takes a whole pass.
    pub fn knows_what_was_open(&self) -> bool {
        self.sources().iter().all(|(_, source)| source.anchored)
    }

    /// What is covered.
    pub fn position(&self) -> Position {
        let followed = [&self.runs, &self.messages];
        Position {
            covered_until: followed.iter().map(|source| source.through).min().unwrap_or(Micros::MIN),
            start: self.anchored_at,
            open_at_start: self.sources().iter().flat_map(|(_, source)| source.open_at_anchor.iter().copied()).collect(),
            open: followed.iter().flat_map(|source| source.open.iter().map(|(id, _)| *id)).collect(),
        }
    }

    /// Open runs by app and state; those older than `stale_after` are stale.
    pub fn open_runs(&self, now: Micros, stale_after: Duration) -> Vec<OpenCount> {
        let mut counts: std::collections::BTreeMap<(Uuid, OpenState), (u64, Micros)> = std::collections::BTreeMap::new();
        for (_, entry) in self.runs.open.iter().filter(|(_, entry)| entry.final_since.is_none() || entry.paused) {
            let state = match (entry.paused, now.since(entry.created_at) >= stale_after) {
                (true, _) => OpenState::Paused,
                (false, true) => OpenState::Stale,
                (false, false) => OpenState::Running,
            };
            let (count, oldest) = counts.entry((entry.app_id, state)).or_insert((0, entry.created_at));
            *count += 1;
            *oldest = entry.created_at.min(*oldest);
        }
        counts.into_iter().map(|((app_id, state), (count, oldest))| OpenCount { app_id, state, count, oldest }).collect()
    }

    /// Figures about the follower itself.
    pub fn status(&self, settings: &FollowSettings) -> FollowStatus {
        let reference = |source: &Source| if self.stepped_at == Micros::MIN { source.edge } else { self.stepped_at };
        FollowStatus {
            lag: self.sources().map(|(kind, source)| {
                (kind, if source.through == Micros::MIN { Duration::ZERO } else { reference(source).since(source.through) })
            }),
            horizon: self
                .sources()
                .iter()
                .take(2)
                .map(|(_, source)| source.edge.since(source.horizon_from(settings)))
                .min()
                .unwrap_or_default(),
            open: self.sources().map(|(kind, source)| (kind, source.open.iter().count() as u64)),
            blocks_scanned: self.sources().iter().map(|(_, source)| source.scan.blocks_read).sum(),
        }
    }
}
