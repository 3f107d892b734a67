//! One backfill of one sink: what it is called, and the lock that keeps a second one away.

use std::path::Path;

use dify_observe_core::dify::time::Micros;
use dify_observe_core::state_dir::{StateDir, StateDirError};

/// A backfill's folder below the shipper's state, named by the sink and the range; locked while this lives.
#[derive(Debug)]
pub(super) struct Job {
    _folder: StateDir,
    stream: String,
}

impl Job {
    pub(super) fn open(state: &Path, sink: &str, from: Micros, to: Micros) -> Result<Self, StateDirError> {
        let stream = format!("backfill_{}_{}", from.0, to.0).replace('-', "m");
        let folder = StateDir::open(&state.join("backfill"), &format!("{sink}_{stream}"))?;
        Ok(Job { _folder: folder, stream })
    }

    /// What its position and its files are named by.
    pub(super) fn stream(&self) -> &str {
        &self.stream
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_of_a_range() {
        let state = tempfile::tempdir().unwrap();
        let open = |from| Job::open(state.path(), "es", Micros(from), Micros(100));
        let job = open(-5).unwrap();
        assert_eq!(job.stream(), "backfill_m5_100");
        assert!(open(-5).is_err());
        assert!(open(0).is_ok(), "another range");
        drop(job);
        assert!(open(-5).is_ok());
    }
}
