//! One janitor at a time: for each state folder, for each Dify database, for each archive.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use dify_observe_core::dify::leader::Leadership;
use dify_observe_core::dify::session::{Database, DatabaseError};
use dify_observe_core::dify::time::Micros;
use dify_observe_core::state_dir::StateDir;
use uuid::Uuid;

use crate::archive::{Archive, ArchiveError, Lease};

/// What the session that holds the database's lock calls itself; it must not be waited for as a long transaction.
pub const SESSION: &str = "dify-janitor lock";

/// Who is looked for in the database.
const NAME: &str = "dify-janitor";
/// How often the locks are looked at.
const LOOK: Duration = Duration::from_secs(10);
/// How long the archive is ours after a sign of life. A janitor that lost its state folder waits for so long after it was killed.
const LEASE: Duration = Duration::from_secs(120);

/// Why this janitor may not work.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else has the database.
    #[error("another dify-janitor is at work on this database: wait until it has ended, or end it")]
    DatabaseTaken,
    /// Somebody else has the archive.
    #[error(
        "another dify-janitor works with this archive ({owner}), or was killed elsewhere minutes ago: wait until it has ended, or give each \
         database a janitor.archive.url of its own"
    )]
    ArchiveTaken {
        /// What it says about itself.
        owner: String,
    },
    /// The database cannot be asked.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The archive cannot be asked.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The state folder cannot be written.
    #[error("{} cannot be written", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// By what a janitor knows the lease of its earlier life, which cannot go on beside it: both would have locked the same state folder.
fn token(state_dir: &StateDir) -> Result<Uuid, LockError> {
    let path = state_dir.file("lease-token");
    if let Some(token) = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok()) {
        return Ok(token);
    }
    let token = Uuid::new_v4();
    std::fs::write(&path, format!("{token}\n")).map_err(|source| LockError::State { path, source })?;
    Ok(token)
}

/// What this janitor has to itself.
#[derive(Debug)]
pub struct Lock {
    database: Leadership,
    lease: Lease,
    looked_at: Instant,
}

impl Lock {
    /// Takes the database and the archive, for the only process that may use this state folder. `database` is a pool of its own: the lock keeps a connection.
    pub async fn take(database: Database, archive: &Archive, state_dir: &StateDir) -> Result<Lock, LockError> {
        let mut database = Leadership::new(database, NAME);
        if !database.hold().await? {
            return Err(LockError::DatabaseTaken);
        }
        let owner = format!("process {} since {}", std::process::id(), Micros::now());
        match archive.lease(&owner, token(state_dir)?, LEASE).await? {
            Some(lease) => Ok(Lock { database, lease, looked_at: Instant::now() }),
            None => Err(taken(archive).await),
        }
    }

    /// Makes sure, now and then, that both are still ours. A database that went away and came back gives its lock to whoever is first.
    pub async fn keep(&mut self) -> Result<(), LockError> {
        if self.looked_at.elapsed() < LOOK {
            return Ok(());
        }
        if !self.database.hold().await? {
            return Err(LockError::DatabaseTaken);
        }
        if !self.lease.renew().await? {
            return Err(LockError::ArchiveTaken { owner: "it took over".to_owned() });
        }
        self.looked_at = Instant::now();
        Ok(())
    }

    /// Gives both away.
    pub async fn release(self) {
        // It ends by itself soon.
        if let Err(error) = self.lease.release().await {
            tracing::warn!(reason = %error, "the lease on the archive could not be given back; it ends by itself");
        }
    }
}

async fn taken(archive: &Archive) -> LockError {
    match archive.leased_to().await {
        Ok(Some((owner, until))) => LockError::ArchiveTaken { owner: format!("{owner}, until {until}") },
        Ok(None) => LockError::ArchiveTaken { owner: "it has just ended".to_owned() },
        Err(error) => error.into(),
    }
}
