//! What was seen of a database, by a sample or by a pass over everything, in rows of the database (not of the sample).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use dify_observe_core::dify::catalog::App;
use dify_observe_core::dify::retention::survey::{TableSize, Weight};
use dify_observe_core::dify::retention::{Bundle, Root, Shape};
use dify_observe_core::dify::time::Micros;
use uuid::Uuid;

/// Everything that the plan is made of.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// By app.
    pub(super) apps: BTreeMap<Uuid, AppSeen>,
    /// Bundles that go, by the policy that lets them.
    pub(super) policies: BTreeMap<Arc<str>, f64>,
    /// The tables from which rows go.
    pub(super) tables: Vec<TableSeen>,
    /// Something was left out, so that the figures of bundles are estimates.
    pub(super) estimated: bool,
}

/// The bundles of one app.
#[derive(Debug, Default)]
pub(super) struct AppSeen {
    /// Its names; filled in at the end.
    pub(super) app: Option<Arc<App>>,
    /// Runs that are bundles of their own.
    pub(super) runs: f64,
    /// Conversations.
    pub(super) conversations: f64,
    /// Runs that go as bundles of their own.
    pub(super) runs_go: f64,
    /// Conversations that go.
    pub(super) conversations_go: f64,
    /// Messages of conversations that go.
    pub(super) messages_go: f64,
    /// Runs of conversations that go.
    pub(super) named_runs_go: f64,
    /// Bundles that stay, by the reason.
    pub(super) stay: BTreeMap<&'static str, f64>,
    /// When the oldest bundle began.
    pub(super) oldest: Option<Micros>,
}

impl AppSeen {
    /// Its bundles.
    pub(super) fn bundles(&self) -> f64 {
        self.runs + self.conversations
    }

    /// Those that go.
    pub(super) fn go(&self) -> f64 {
        self.runs_go + self.conversations_go
    }

    /// Its bundles of a kind.
    pub(super) fn of(&mut self, root: Root) -> &mut f64 {
        match root {
            Root::Run => &mut self.runs,
            Root::Conversation => &mut self.conversations,
        }
    }

    /// Notes a bundle that goes, and stands for `weight` of them.
    pub(super) fn goes(&mut self, bundle: &Bundle, weight: f64) {
        match bundle.root {
            Root::Run => self.runs_go += weight,
            Root::Conversation => {
                self.conversations_go += weight;
                self.messages_go += weight * bundle.messages.len() as f64;
                self.named_runs_go += weight * bundle.runs.len() as f64;
            }
        }
    }

    /// Notes when something began.
    pub(super) fn began(&mut self, at: Micros) {
        self.oldest = Some(self.oldest.map_or(at, |oldest| oldest.min(at)));
    }
}

/// What the rows of a table go with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HangsOn {
    /// Runs, whether these are bundles of their own or belong to a conversation.
    Runs,
    /// Messages.
    Messages,
    /// Conversations themselves.
    Conversations,
}

/// One table.
#[derive(Debug)]
pub(super) struct TableSeen {
    /// Its columns.
    pub(super) shape: Arc<Shape>,
    /// How large it is.
    pub(super) size: TableSize,
    /// What its rows go with.
    pub(super) hangs_on: HangsOn,
    /// How its rows are spread over apps; `None` where rows bear no app.
    pub(super) weights: Option<HashMap<Uuid, Share>>,
    /// Whether these are estimates.
    pub(super) estimated: bool,
    /// How many rows go, where they were counted.
    pub(super) counted: Option<HashMap<Uuid, u64>>,
}

/// What an app has in a table.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Share {
    /// Rows that can go.
    pub(super) rows: f64,
    /// Rows that stay, because they name no run.
    pub(super) loose: f64,
    /// Bytes as they are stored, without indexes and free space.
    pub(super) bytes: f64,
    /// The oldest row.
    pub(super) oldest: Option<Micros>,
}

impl Share {
    /// Adds what was weighed, of which each row stands for `weight` rows.
    pub(super) fn add(&mut self, seen: &Weight, weight: f64) {
        self.rows += seen.rows as f64 * weight;
        self.loose += seen.loose as f64 * weight;
        self.bytes += seen.bytes as f64 * weight;
        self.oldest = match (self.oldest, seen.oldest) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
}
