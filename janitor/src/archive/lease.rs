//! One janitor at a time in one archive, whichever database lock it holds.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dify_observe_core::dify::time::Micros;
use dify_observe_core::store::{Condition, Store, Version};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Archive, ArchiveError, layout};

/// How long after its end a lease is still respected: the clocks of two hosts differ.
const TOLERANCE: Duration = Duration::from_secs(60);

/// What the lease object says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// Who holds it, for people.
    owner: String,
    /// Which holder it is, exactly.
    token: Uuid,
    /// Until when, by the holder's clock.
    until: Micros,
}

/// The right to write to the archive until it ends.
#[derive(Debug)]
pub struct Lease {
    store: Arc<dyn Store>,
    note: Note,
    ttl: Duration,
}

impl Archive {
    /// Takes the lease; `None` while another has it. One that has ended for a minute is taken over, and at once one that bears the same
    /// `token`: the caller knows that its earlier life is over.
    pub async fn lease(&self, owner: &str, token: Uuid, ttl: Duration) -> Result<Option<Lease>, ArchiveError> {
        self.lease_at(owner, token, ttl, Micros::now()).await
    }

    pub(crate) async fn lease_at(&self, owner: &str, token: Uuid, ttl: Duration, now: Micros) -> Result<Option<Lease>, ArchiveError> {
        let condition = match self.store.get(layout::LEASE).await? {
            None => Condition::Absent,
            Some((bytes, version)) => match serde_json::from_slice::<Note>(&bytes) {
                Ok(note) if note.token != token && note.until.plus(TOLERANCE) > now => return Ok(None),
                // Ended, or nothing that can be read: then nobody could have renewed it.
                _ => Condition::Version(version),
            },
        };
        let note = Note { owner: owner.to_owned(), token, until: now.plus(ttl) };
        let lease = Lease { store: self.store.clone(), note, ttl };
        Ok(lease.write(condition).await?.then_some(lease))
    }

    /// Who has the lease, if anybody: for the sentence that says why a run does not begin.
    pub async fn leased_to(&self) -> Result<Option<(String, Micros)>, ArchiveError> {
        let found = self.store.get(layout::LEASE).await?;
        let note = found.and_then(|(bytes, _)| serde_json::from_slice::<Note>(&bytes).ok());
        Ok(note.map(|note| (note.owner, note.until)))
    }
}

impl Lease {
    /// Prolongs the lease; `false` if another has taken it over, and this holder must stop.
    pub async fn renew(&mut self) -> Result<bool, ArchiveError> {
        let Some(version) = self.own_version().await? else { return Ok(false) };
        self.note.until = Micros::now().plus(self.ttl);
        self.write(Condition::Version(version)).await
    }

    /// Gives the lease back.
    pub async fn release(self) -> Result<(), ArchiveError> {
        match self.own_version().await? {
            Some(_) => Ok(self.store.delete(layout::LEASE).await?),
            None => Ok(()),
        }
    }

    /// The version of the object, if it is still ours.
    async fn own_version(&self) -> Result<Option<Version>, ArchiveError> {
        let Some((bytes, version)) = self.store.get(layout::LEASE).await? else { return Ok(None) };
        let ours = serde_json::from_slice::<Note>(&bytes).is_ok_and(|note| note.token == self.note.token);
        Ok(ours.then_some(version))
    }

    /// Whether it is ours afterwards. Looked up, because the answer to a write may have been lost and the write repeated, and because
    /// not every store knows conditions.
    async fn write(&self, condition: Condition) -> Result<bool, ArchiveError> {
        let bytes = serde_json::to_vec(&self.note).map_err(|error| ArchiveError::Task(error.to_string()))?;
        self.store.put_if(layout::LEASE, Bytes::from(bytes), condition).await?;
        let found = self.store.get(layout::LEASE).await?;
        Ok(found.is_some_and(|(bytes, _)| serde_json::from_slice(&bytes).is_ok_and(|note: Note| note == self.note)))
    }
}
