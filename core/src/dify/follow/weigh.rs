//! What a consumer may ask of a state beside its position: how large it is, and whether something is about to be told.

use super::postgres::PostgresReader;
use super::reader::Reader as _;
use super::{FollowError, FollowState, Follower, Start};

impl FollowState {
    /// About how many ids it holds. Each takes some 40 bytes, and so long to copy that a large state is not copied for nothing.
    pub fn remembered(&self) -> usize {
        let of_sources = [&self.runs, &self.messages, &self.triggers].map(|source| source.ledger.len() + source.open.len());
        of_sources.into_iter().sum::<usize>() + self.feedbacks.len()
    }

    /// Whether a run or message has ended, and only waits out `follow.settle` or `follow.interrupt_after` before it is told.
    pub fn is_settling(&self) -> bool {
        let mut open = self.runs.open.iter().chain(self.messages.open.iter());
        open.any(|(_, entry)| entry.final_since.is_some() && !entry.paused)
    }
}

impl Follower {
    /// A state that begins at `start`. Nothing is told.
    pub async fn begin(&mut self, start: Start) -> Result<FollowState, FollowError> {
        let (_, statements) = self.probe().await?;
        let mut reader = PostgresReader { tx: self.database.read(self.statement_timeout).await?, statements };
        let facts = reader.facts().await?;
        reader.tx.end().await?;
        Ok(FollowState::begin(start, &facts, &self.settings))
    }
}
