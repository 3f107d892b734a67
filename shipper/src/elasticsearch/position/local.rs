//! The whole state in a file of this host. Losing it costs nothing but documents that are sent again.
//!
//! It may be a little older than the position in the engine: going on from an earlier state only sends some documents again.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use dify_observe_core::dify::follow::FollowState;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A state larger than this is written less often.
const LARGE: usize = 1024 * 1024;
const SELDOM: Duration = Duration::from_secs(60);
/// How much older than the position in the engine a state may be, in milliseconds. Beyond it something kept it from being written.
const OLDEST: i64 = 5 * 60 * 1000;

/// Which write of a position a state belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) writer: Uuid,
    pub(super) generation: u64,
    /// Milliseconds since 1970.
    pub(super) time: i64,
}

impl Mark {
    /// Whether a state with this mark is that of `stored`, or one of the same process from shortly before.
    fn leads_to(self, stored: Mark) -> bool {
        self.writer == stored.writer && self.generation <= stored.generation && stored.time - self.time <= OLDEST
    }
}

#[derive(Debug)]
pub(super) struct Local {
    file: PathBuf,
    large_since: Option<Instant>,
}

impl Local {
    pub(super) fn new(file: PathBuf) -> Self {
        Local { file, large_since: None }
    }

    /// The state, if it fits what the engine holds.
    pub(super) fn read(&self, stored: Mark) -> Option<FollowState> {
        let bytes = fs::read(&self.file).ok()?;
        let (mark, rest): (Mark, _) = postcard::take_from_bytes(&bytes).ok()?;
        mark.leads_to(stored).then(|| postcard::from_bytes(rest).ok())?
    }

    pub(super) fn write(&mut self, mark: Mark, state: &FollowState) {
        if self.large_since.is_some_and(|since| since.elapsed() < SELDOM) {
            return;
        }
        match self.replace(mark, state) {
            Ok(size) => self.large_since = (size > LARGE).then(Instant::now),
            Err(error) => tracing::debug!(file = %self.file.display(), %error, "the local copy of a position was not written"),
        }
    }

    fn replace(&self, mark: Mark, state: &FollowState) -> io::Result<usize> {
        let mut bytes = postcard::to_stdvec(&mark).map_err(io::Error::other)?;
        bytes.extend(postcard::to_stdvec(state).map_err(io::Error::other)?);
        if let Some(folder) = self.file.parent() {
            fs::create_dir_all(folder)?;
        }
        let beside = self.file.with_extension("tmp");
        let mut file = File::create(&beside)?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        fs::rename(&beside, &self.file)?;
        Ok(bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_used_if_it_is_that_of_the_engine_or_from_shortly_before() {
        let folder = tempfile::tempdir().unwrap();
        let mut local = Local::new(folder.path().join("positions/es.engine"));
        let mark = Mark { writer: Uuid::new_v4(), generation: 7, time: 1_000_000 };
        let state = FollowState::for_tests(1);
        assert_eq!(local.read(mark), None);
        local.write(mark, &state);
        assert_eq!(local.read(mark), Some(state.clone()));
        assert_eq!(local.read(Mark { generation: 9, time: mark.time + 60_000, ..mark }), Some(state));
        assert_eq!(local.read(Mark { generation: 6, ..mark }), None, "it is ahead of the engine");
        assert_eq!(local.read(Mark { generation: 9, time: mark.time + OLDEST + 1, ..mark }), None, "it is too old");
        assert_eq!(local.read(Mark { writer: Uuid::new_v4(), ..mark }), None, "another has led since");
    }
}
