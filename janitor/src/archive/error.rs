//! Why the archive cannot be used, in one sentence each.

use std::path::PathBuf;

use dify_observe_core::exit::Exit;
use dify_observe_core::store::StoreError;
use uuid::Uuid;

use super::format::FormatError;

/// Why the archive cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The address is not one that an archive can have.
    #[error("janitor.archive.url is no address of an archive: write \"file:///folder\", \"s3://bucket/prefix\" or \"none\"")]
    Address,
    /// The options of an S3 store do not go together.
    #[error("the archive's S3 options cannot be used: {0}")]
    Options(String),
    /// A local folder cannot be made or written by this user.
    #[error("the archive folder {} cannot be written ({reason}): make it writable for this user, or set another janitor.archive.url", path.display())]
    Unwritable {
        /// The folder or file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// No room is left.
    #[error("the archive {place} is full ({reason}): make room there; nothing was deleted that is not in it")]
    Full {
        /// Folder or bucket.
        place: String,
        /// What the system says.
        reason: String,
    },
    /// The store does not know the bucket.
    #[error("the archive's bucket `{bucket}` does not exist there: create it, or correct janitor.archive.url and endpoint")]
    NoBucket {
        /// Its name.
        bucket: String,
    },
    /// The store does not accept the credentials, or they do not allow this.
    #[error(
        "the archive's store refuses to {action} in bucket `{bucket}` ({code}): check janitor.archive.access_key_id and secret_access_key, and what they allow"
    )]
    Denied {
        /// Its name.
        bucket: String,
        /// What was tried.
        action: &'static str,
        /// The store's own word.
        code: String,
    },
    /// The store does not answer, or answers that it cannot now.
    #[error("the archive's store cannot be used now: {action} failed ({reason})")]
    Unavailable {
        /// What was tried.
        action: String,
        /// What went wrong.
        reason: String,
    },
    /// An object is not there.
    #[error("the archive lacks the object {path}: restore it from a copy of the archive")]
    Missing {
        /// Its path in the archive.
        path: String,
    },
    /// An object does not hold what was written.
    #[error("the archive's object {path} is damaged ({what}): restore it from a copy of the archive")]
    Damaged {
        /// Its path in the archive.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// A manifest that a newer version wrote.
    #[error(
        "the archive's manifest {path} has format {version}, which this version does not know: use the version that wrote it, or a newer one"
    )]
    Version {
        /// Its path in the archive.
        path: String,
        /// Its format.
        version: u32,
    },
    /// Rows came in an order, or with values, that cannot be archived. A mistake of this program.
    #[error("rows of {table} cannot be archived: {what}")]
    Rows {
        /// Their table.
        table: String,
        /// What is wrong with them.
        what: String,
    },
    /// The rows of a batch were not archived, because there is no archive.
    #[error("the rows of batch {batch} were deleted without an archive (janitor.archive.url was \"none\"): they cannot be read")]
    NoRows {
        /// The batch.
        batch: Uuid,
    },
    /// A task of this process broke.
    #[error("a background task of the archive failed: {0}")]
    Task(String),
}

impl ArchiveError {
    /// How a process that meets this error ends.
    pub fn exit(&self) -> Exit {
        match self {
            ArchiveError::Address
            | ArchiveError::Options(_)
            | ArchiveError::Unwritable { .. }
            | ArchiveError::NoBucket { .. }
            | ArchiveError::Denied { .. } => Exit::Configuration,
            ArchiveError::Full { .. } | ArchiveError::Unavailable { .. } => Exit::Unavailable,
            ArchiveError::Missing { .. }
            | ArchiveError::Damaged { .. }
            | ArchiveError::Version { .. }
            | ArchiveError::Rows { .. }
            | ArchiveError::NoRows { .. }
            | ArchiveError::Task(_) => Exit::Failed,
        }
    }

    /// Whether an object is not what it was when it was written.
    pub fn is_damage(&self) -> bool {
        matches!(self, ArchiveError::Missing { .. } | ArchiveError::Damaged { .. })
    }

    pub(crate) fn damaged(path: &str, what: impl Into<String>) -> ArchiveError {
        ArchiveError::Damaged { path: path.to_owned(), what: what.into() }
    }

    pub(crate) fn rows(table: &str, what: impl Into<String>) -> ArchiveError {
        ArchiveError::Rows { table: table.to_owned(), what: what.into() }
    }

    /// An object that cannot be decoded.
    pub(crate) fn undecodable(path: &str, error: &FormatError) -> ArchiveError {
        ArchiveError::damaged(path, error.to_string())
    }
}

/// The same, in the words of the archive and its settings.
impl From<StoreError> for ArchiveError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Address => ArchiveError::Address,
            StoreError::Options(problem) => ArchiveError::Options(problem),
            StoreError::Unwritable { path, reason } => ArchiveError::Unwritable { path, reason },
            StoreError::Full { place, reason } => ArchiveError::Full { place, reason },
            StoreError::NoBucket { bucket } => ArchiveError::NoBucket { bucket },
            StoreError::Denied { bucket, action, code } => ArchiveError::Denied { bucket, action, code },
            StoreError::Unavailable { action, reason } => ArchiveError::Unavailable { action, reason },
            StoreError::Missing { path } => ArchiveError::Missing { path },
            StoreError::Damaged { path, what } => ArchiveError::Damaged { path, what },
            StoreError::Task(problem) => ArchiveError::Task(problem),
        }
    }
}

impl From<tokio::task::JoinError> for ArchiveError {
    fn from(error: tokio::task::JoinError) -> Self {
        ArchiveError::Task(error.to_string())
    }
}
