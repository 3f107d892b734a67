//! Why a store cannot be used.

use std::path::PathBuf;

use crate::exit::Exit;

/// Why a store cannot be used. Whoever opened it knows which setting names it, and says so in place of these sentences where that helps.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The address is not one that a bucket can have.
    #[error("the address names no bucket: write \"s3://bucket/prefix\"")]
    Address,
    /// The options of an S3 store do not go together.
    #[error("the S3 options cannot be used: {0}")]
    Options(String),
    /// A local folder cannot be made or written by this user.
    #[error("the folder {} cannot be written ({reason}): make it writable for this user, or set another", path.display())]
    Unwritable {
        /// The folder or file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// No room is left.
    #[error("the {place} is full ({reason}): make room there")]
    Full {
        /// Folder or bucket.
        place: String,
        /// What the system says.
        reason: String,
    },
    /// The store does not know the bucket.
    #[error("the bucket `{bucket}` does not exist there: create it, or correct its address and endpoint")]
    NoBucket {
        /// Its name.
        bucket: String,
    },
    /// The store does not accept the credentials, or they do not allow this.
    #[error("the store refuses to {action} in bucket `{bucket}` ({code}): check access_key_id and secret_access_key, and what they allow")]
    Denied {
        /// Its name.
        bucket: String,
        /// What was tried.
        action: &'static str,
        /// The store's own word.
        code: String,
    },
    /// The store does not answer, or answers that it cannot now.
    #[error("the store cannot be used now: {action} failed ({reason})")]
    Unavailable {
        /// What was tried.
        action: String,
        /// What went wrong.
        reason: String,
    },
    /// An object is not there.
    #[error("the object {path} is not there")]
    Missing {
        /// Its path in the store.
        path: String,
    },
    /// An object does not hold what was written.
    #[error("the object {path} is damaged ({what})")]
    Damaged {
        /// Its path in the store.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// A task of this process broke.
    #[error("a background task failed: {0}")]
    Task(String),
}

impl StoreError {
    /// How a process that meets this error ends.
    pub fn exit(&self) -> Exit {
        match self {
            StoreError::Address
            | StoreError::Options(_)
            | StoreError::Unwritable { .. }
            | StoreError::NoBucket { .. }
            | StoreError::Denied { .. } => Exit::Configuration,
            StoreError::Full { .. } | StoreError::Unavailable { .. } => Exit::Unavailable,
            StoreError::Missing { .. } | StoreError::Damaged { .. } | StoreError::Task(_) => Exit::Failed,
        }
    }

    /// Whether it may pass by itself.
    pub fn is_transient(&self) -> bool {
        matches!(self, StoreError::Full { .. } | StoreError::Unavailable { .. })
    }

    pub(super) fn damaged(path: &str, what: impl Into<String>) -> StoreError {
        StoreError::Damaged { path: path.to_owned(), what: what.into() }
    }
}

impl From<tokio::task::JoinError> for StoreError {
    fn from(error: tokio::task::JoinError) -> Self {
        StoreError::Task(error.to_string())
    }
}
