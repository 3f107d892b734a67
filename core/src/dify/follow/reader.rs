//! What a step may ask of the database. The follower's own logic sees nothing else, so that it can be tested against a
//! model of a database that is late, wrong about the time, or crashes.

use std::ops::Range;

use uuid::Uuid;

use super::event::Kind;
use crate::dify::records::{Message, Node, Run, RunKey, Thought, TriggerLog};
use crate::dify::session::DatabaseError;
use crate::dify::time::Micros;

/// What the server says about itself at the start of a step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServerFacts {
    /// The server's clock.
    pub(crate) now: Micros,
    /// It is a standby.
    pub(crate) in_recovery: bool,
    /// Commit time of the last transaction that a standby replayed; `None` when it has replayed none yet.
    pub(crate) replayed: Option<Micros>,
    /// Position in the write-ahead log, as a number.
    pub(crate) lsn: i64,
    /// Timeline of that position.
    pub(crate) timeline: i32,
    /// `system_identifier`, the database's oid and name: another one is another database, even under the same name.
    pub(crate) identity: String,
}

impl ServerFacts {
    /// The time up to which this server shows commits; `None` when it cannot say.
    pub(crate) fn edge(&self) -> Option<Micros> {
        if self.in_recovery { self.replayed.map(|replayed| replayed.min(self.now)) } else { Some(self.now) }
    }
}

/// A row's place in a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) created_at: Micros,
    pub(crate) id: Uuid,
}

impl Place {
    /// Just before the first row created at `time` or later.
    pub(crate) fn before(time: Micros) -> Self {
        Place { created_at: time, id: Uuid::nil() }
    }
}

/// How a table can be walked by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WalkPath {
    /// Through an index that begins with `created_at`.
    Index,
    /// No such index: in ranges of blocks.
    Scan,
    /// The table is not there, or may not be read.
    Off,
}

/// A node execution without its JSON: enough to decide whether its run can be closed, and what reading it will cost.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NodeBrief {
    pub(crate) run_id: Uuid,
    pub(crate) id: Uuid,
    pub(crate) status: String,
    /// See [`Node::row_version`].
    pub(crate) row_version: u32,
    /// Bytes that reading it will bring, with every value cut at its limit.
    pub(crate) bytes: i64,
}

/// A run without its JSON: enough to see whether it has changed, and what reading it will cost.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RunBrief {
    pub(crate) key: RunKey,
    pub(crate) has_ended: bool,
    /// See [`Run::row_version`].
    pub(crate) row_version: u32,
    /// Bytes that reading it will bring.
    pub(crate) bytes: i64,
}

/// One consistent look at the database.
pub(crate) trait Reader {
    async fn facts(&mut self) -> Result<ServerFacts, DatabaseError>;
    fn path(&self, kind: Kind) -> WalkPath;
    /// At most `limit` rows after `after` and created before `until`, in order.
    async fn walk(&mut self, kind: Kind, after: Place, until: Micros, limit: u32) -> Result<Vec<Place>, DatabaseError>;
    /// Rows created in the range whose record is not final.
    async fn open_between(&mut self, kind: Kind, created: Range<Micros>) -> Result<Vec<Place>, DatabaseError>;
    /// Number of blocks of the table.
    async fn blocks(&mut self, kind: Kind) -> Result<u32, DatabaseError>;
    /// Rows in a range of blocks created at `since` or later, and those that are not final created at `open_since` or later.
    async fn scan(&mut self, kind: Kind, blocks: Range<u32>, since: Micros, open_since: Micros) -> Result<Vec<Place>, DatabaseError>;
    async fn runs(&mut self, ids: &[Uuid]) -> Result<Vec<Run>, DatabaseError>;
    async fn run_briefs(&mut self, ids: &[Uuid]) -> Result<Vec<RunBrief>, DatabaseError>;
    async fn node_briefs(&mut self, runs: &[RunKey]) -> Result<Vec<NodeBrief>, DatabaseError>;
    /// Nodes of the runs, by run and index, with the id of their run.
    async fn nodes(&mut self, runs: &[RunKey]) -> Result<Vec<(Uuid, Node)>, DatabaseError>;
    async fn messages(&mut self, ids: &[Uuid]) -> Result<Vec<Message>, DatabaseError>;
    /// Bytes that reading each of the messages, with its thoughts, will bring.
    async fn message_bytes(&mut self, ids: &[Uuid]) -> Result<Vec<(Uuid, i64)>, DatabaseError>;
    /// Those of the messages that no older message of their conversation precedes.
    async fn conversation_starters(&mut self, messages: &[Uuid]) -> Result<Vec<Uuid>, DatabaseError>;
    async fn thoughts(&mut self, messages: &[Uuid]) -> Result<Vec<Thought>, DatabaseError>;
    async fn triggers(&mut self, ids: &[Uuid]) -> Result<Vec<TriggerLog>, DatabaseError>;
}
