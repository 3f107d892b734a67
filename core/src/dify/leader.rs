//! Who of several instances may count: a lock in Dify's database that survives pgbouncer.
//!
//! Session-level advisory locks are shared and stranded by pgbouncer in transaction mode. A transaction-level one, in a
//! transaction that stays open, is not: it is held by exactly one client and goes with its connection. It takes no
//! transaction id and holds back neither vacuum nor index builds; it shows as "idle in transaction". It excludes clients of
//! the same server only.

use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::Row;

use super::session::{Database, DatabaseError, ReadTx, query};

/// A claim to be the only instance of its name on this database.
#[derive(Debug)]
pub struct Leadership {
    database: Database,
    key: i64,
    held: Option<ReadTx>,
}

impl Leadership {
    /// A claim under `name`, over a pool of its own: the lock keeps one connection.
    pub fn new(database: Database, name: &str) -> Self {
        let digest = Sha256::digest(format!("dify-observe/{name}"));
        let key = i64::from_be_bytes(digest[..8].try_into().expect("a SHA-256 digest has more than eight bytes"));
        Leadership { database, key, held: None }
    }

    /// Makes sure that the lock is held: keeps it alive, or tries to take it. `false` when another instance has it.
    pub async fn hold(&mut self) -> Result<bool, DatabaseError> {
        if let Some(tx) = &mut self.held {
            match tx.fetch_one(query("SELECT 1")).await {
                Ok(_) => return Ok(true),
                Err(_) => self.held = None,
            }
        }
        let mut tx = self.database.read(Duration::from_secs(5)).await?;
        tx.set_local("SET LOCAL idle_in_transaction_session_timeout = 0").await?;
        let row = tx.fetch_one(query("SELECT pg_try_advisory_xact_lock($1) AS locked").bind(self.key)).await?;
        let locked: bool = row.try_get("locked")?;
        if locked {
            self.held = Some(tx);
        } else {
            tx.end().await?;
        }
        Ok(locked)
    }

    /// Whether the lock was held when last looked at.
    pub fn is_held(&self) -> bool {
        self.held.is_some()
    }
}
