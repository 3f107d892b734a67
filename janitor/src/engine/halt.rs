//! Why the engine ends before it has looked at everything.

use dify_observe_core::dify::retention::restore::RestoreError;
use dify_observe_core::dify::session::DatabaseError;
use dify_observe_core::exit::{Exit, WithExit};

use crate::archive::ArchiveError;
use crate::guard::GuardError;
use crate::lock::LockError;
use crate::put_back::PutBackError;
use crate::report::Stop;

/// The end of a run, as an error so that every step can end it.
#[derive(Debug)]
pub struct Halt {
    /// The word for it.
    pub stop: Stop,
    /// What went wrong, where something did.
    pub error: Option<anyhow::Error>,
}

impl Halt {
    /// The run ends because of a limit that was set for it.
    pub fn limit(stop: Stop) -> Self {
        Halt { stop, error: None }
    }

    /// The run ends because something is wrong.
    pub fn failure(stop: Stop, error: impl Into<anyhow::Error>) -> Self {
        Halt { stop, error: Some(error.into()) }
    }

    /// As the error of a command that has no report to show.
    pub fn into_error(self) -> anyhow::Error {
        let exit = if self.stop == Stop::Locked { Some(Exit::TryLater) } else { None };
        let error = self.error.unwrap_or_else(|| anyhow::anyhow!("stopped: {}", self.stop.as_str()));
        match exit {
            Some(exit) => WithExit::new(exit, error).into(),
            None => error,
        }
    }
}

impl From<DatabaseError> for Halt {
    fn from(error: DatabaseError) -> Self {
        Halt::failure(Stop::Database, error)
    }
}

impl From<ArchiveError> for Halt {
    fn from(error: ArchiveError) -> Self {
        Halt::failure(Stop::Archive, WithExit::new(error.exit(), error))
    }
}

impl From<GuardError> for Halt {
    fn from(error: GuardError) -> Self {
        Halt::failure(Stop::Guarded, error)
    }
}

impl From<LockError> for Halt {
    fn from(error: LockError) -> Self {
        let stop = match error {
            LockError::DatabaseTaken | LockError::ArchiveTaken { .. } => Stop::Locked,
            LockError::Database(error) => return error.into(),
            LockError::Archive(error) => return error.into(),
            LockError::State { .. } => Stop::Failed,
        };
        Halt::failure(stop, error)
    }
}

impl From<PutBackError> for Halt {
    fn from(error: PutBackError) -> Self {
        match error {
            PutBackError::Archive(error) => error.into(),
            PutBackError::Restore(RestoreError::Database(error)) => error.into(),
            PutBackError::Restore(error) => Halt::failure(Stop::Failed, error),
        }
    }
}
