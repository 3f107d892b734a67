//! Exit codes, the same for every binary and command.

use std::fmt;
use std::process::ExitCode;

use crate::dify::session::DatabaseError;

/// How a process ends. Scripts, systemd and Kubernetes rely on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: what was asked for is done.
    Done,
    /// 1: it failed, for a reason that has no number of its own.
    Failed,
    /// 2: the command line was not understood.
    Usage,
    /// 64: the configuration is wrong. Starting again without changing it is of no use.
    Configuration,
    /// 69: something that is needed (database, port, store) cannot be had now.
    Unavailable,
    /// 75: nothing could be done now (locked, throttled, guarded), and work is left: try again later.
    TryLater,
    /// 78: the database is not a Dify that can be read.
    NotDify,
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Configuration => 64,
            Exit::Unavailable => 69,
            Exit::TryLater => 75,
            Exit::NotDify => 78,
        }
    }

    /// The exit that an error asks for: that of the outermost error in its chain that has an opinion, else [`Exit::Failed`].
    ///
    /// A reader of our output that went away (`dify-exporter describe | head`) is no failure.
    pub fn of(error: &anyhow::Error) -> Exit {
        error.chain().find_map(opinion).unwrap_or(Exit::Failed)
    }
}

/// The number.
impl serde::Serialize for Exit {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.code())
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

fn opinion(error: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if let Some(error) = error.downcast_ref::<WithExit>() {
        return Some(error.exit);
    }
    if let Some(error) = error.downcast_ref::<crate::settings::SettingsError>() {
        return Some(error.exit());
    }
    if let Some(error) = error.downcast_ref::<crate::state_dir::StateDirError>() {
        return Some(error.exit());
    }
    if let Some(error) = error.downcast_ref::<crate::admin::AdminError>() {
        return Some(error.exit());
    }
    if let Some(error) = error.downcast_ref::<DatabaseError>() {
        return of_database(error);
    }
    let io = error.downcast_ref::<std::io::Error>()?;
    (io.kind() == std::io::ErrorKind::BrokenPipe).then_some(Exit::Done)
}

fn of_database(error: &DatabaseError) -> Option<Exit> {
    match error {
        DatabaseError::Unreachable(_) | DatabaseError::Timeout => Some(Exit::Unavailable),
        DatabaseError::Denied(_) | DatabaseError::SchemaChanged(_) => Some(Exit::NotDify),
        DatabaseError::Server(_) | DatabaseError::Value(_) => None,
    }
}

/// An error together with the exit it asks for. Made by [`ResultExt::or_exit`].
#[derive(Debug)]
pub struct WithExit {
    exit: Exit,
    error: anyhow::Error,
}

impl WithExit {
    /// Says that `error` is to end the process with `exit`.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        WithExit { exit, error: error.into() }
    }
}

impl fmt::Display for WithExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl std::error::Error for WithExit {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

/// Adds an exit to an error where the caller knows better than the error itself.
pub trait ResultExt<T> {
    /// Ends the process with `exit` if this is an error that reaches `main`.
    fn or_exit(self, exit: Exit) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> ResultExt<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> anyhow::Result<T> {
        self.map_err(|error| WithExit::new(exit, error).into())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn codes_are_the_documented_ones() {
        let all = [
            (Exit::Done, 0),
            (Exit::Failed, 1),
            (Exit::Usage, 2),
            (Exit::Configuration, 64),
            (Exit::Unavailable, 69),
            (Exit::TryLater, 75),
            (Exit::NotDify, 78),
        ];
        for (exit, code) in all {
            assert_eq!(exit.code(), code);
        }
    }

    #[test]
    fn an_exit_survives_added_context() {
        let error = Err::<(), _>(anyhow::anyhow!("locked")).or_exit(Exit::TryLater).context("could not begin").unwrap_err();
        assert_eq!(Exit::of(&error), Exit::TryLater);
        assert_eq!(format!("{error:#}"), "could not begin: locked");
    }

    #[test]
    fn an_error_without_opinion_is_a_failure() {
        assert_eq!(Exit::of(&anyhow::anyhow!("odd")), Exit::Failed);
    }

    #[test]
    fn a_database_that_is_away_is_told_from_one_that_may_not_be_read() {
        let exit = |error: DatabaseError| Exit::of(&anyhow::Error::from(error).context("failed to probe"));
        assert_eq!(exit(DatabaseError::Unreachable("refused".to_owned())), Exit::Unavailable);
        assert_eq!(exit(DatabaseError::Denied("permission denied for table apps".to_owned())), Exit::NotDify);
        assert_eq!(exit(DatabaseError::Server("odd".to_owned())), Exit::Failed);
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let error = anyhow::Error::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe)).context("failed to print");
        assert_eq!(Exit::of(&error), Exit::Done);
    }
}
