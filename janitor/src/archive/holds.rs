//! Bundles that were restored and must not be deleted again for a while.

use std::collections::HashMap;

use bytes::Bytes;
use dify_observe_core::dify::time::Micros;
use uuid::Uuid;

use super::{Archive, ArchiveError, layout};

impl Archive {
    /// Holds these bundles until `until`. To be called before they are put back.
    pub async fn hold(&self, bundles: &[Uuid], until: Micros) -> Result<(), ArchiveError> {
        let bytes = serde_json::to_vec(bundles).map_err(|error| ArchiveError::Task(error.to_string()))?;
        Ok(self.store.put(&layout::hold(until, Uuid::new_v4()), Bytes::from(bytes)).await?)
    }

    /// The bundles that are held at `now`, and until when.
    pub async fn holds(&self, now: Micros) -> Result<HashMap<Uuid, Micros>, ArchiveError> {
        let mut held: HashMap<Uuid, Micros> = HashMap::new();
        for listed in self.store.list(layout::HOLDS).await? {
            let Some(until) = layout::held_until(&listed.path).filter(|until| *until > now) else { continue };
            let Some((bytes, _)) = self.store.get(&listed.path).await? else { continue };
            let bundles: Vec<Uuid> =
                serde_json::from_slice(&bytes).map_err(|_| ArchiveError::damaged(&listed.path, "it is no list of bundles"))?;
            for bundle in bundles {
                let longest = held.entry(bundle).or_insert(until);
                *longest = until.max(*longest);
            }
        }
        Ok(held)
    }

    /// Removes the lists that hold nothing any more.
    pub async fn remove_ended_holds(&self, now: Micros) -> Result<(), ArchiveError> {
        for listed in self.store.list(layout::HOLDS).await? {
            if layout::held_until(&listed.path).is_some_and(|until| until <= now) {
                self.store.delete(&listed.path).await?;
            }
        }
        Ok(())
    }
}
