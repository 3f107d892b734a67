//! The ids that are already told, for as long as any walk may meet them again.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::dify::time::Micros;

/// Set in [`Ledger::entries`] for a record that was deleted while it was open. Should it come back (Dify inserts the row of
/// a run again that was deleted while running), it is taken, but not announced as started a second time.
const VANISHED: u32 = 1 << 31;

/// Ids of records that were told, with the minute of their `created_at`: 20 bytes each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ledger {
    entries: HashMap<Uuid, u32>,
    /// Everything created before this minute is forgotten.
    expired_before: u32,
}

impl Ledger {
    pub(crate) fn is_told(&self, id: &Uuid) -> bool {
        self.entries.get(id).is_some_and(|entry| entry & VANISHED == 0)
    }

    pub(crate) fn has_vanished(&self, id: &Uuid) -> bool {
        self.entries.get(id).is_some_and(|entry| entry & VANISHED != 0)
    }

    pub(crate) fn insert_told(&mut self, id: Uuid, created_at: Micros) {
        self.insert(id, minute(created_at));
    }

    pub(crate) fn insert_vanished(&mut self, id: Uuid, created_at: Micros) {
        self.insert(id, minute(created_at) | VANISHED);
    }

    /// Forgets every id; what is expired stays so.
    pub(crate) fn clear(&mut self) {
        self.entries = HashMap::new();
    }

    fn insert(&mut self, id: Uuid, entry: u32) {
        if entry & !VANISHED >= self.expired_before {
            self.entries.insert(id, entry);
        }
    }

    /// Forgets what was created before `time`: no walk will look there again.
    pub(crate) fn expire(&mut self, time: Micros) {
        let before = minute(time);
        if before > self.expired_before {
            self.expired_before = before;
            self.entries.retain(|_, entry| *entry & !VANISHED >= before);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The time before which ids have to be forgotten so that at most `most` remain; `None` when they already fit.
    pub(crate) fn time_to_keep(&self, most: usize) -> Option<Micros> {
        if self.entries.len() <= most {
            return None;
        }
        let mut minutes: Vec<u32> = self.entries.values().map(|entry| entry & !VANISHED).collect();
        let surplus = minutes.len() - most;
        let (_, oldest_kept, _) = minutes.select_nth_unstable(surplus);
        Some(Micros(i64::from(*oldest_kept + 1) * 60_000_000))
    }
}

fn minute(time: Micros) -> u32 {
    u32::try_from(time.0.div_euclid(60_000_000).clamp(0, i64::from(VANISHED - 1))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;

    #[test]
    fn forgets_only_what_is_older() {
        let mut ledger = Ledger::default();
        let (old, new) = (Uuid::new_v4(), Uuid::new_v4());
        ledger.insert_told(old, Micros(5 * MINUTE));
        ledger.insert_told(new, Micros(9 * MINUTE));
        ledger.expire(Micros(9 * MINUTE + 30_000_000));
        assert!(!ledger.is_told(&old));
        assert!(ledger.is_told(&new), "an id of the minute that is only half past stays");
    }

    #[test]
    fn what_vanished_is_not_told() {
        let mut ledger = Ledger::default();
        let id = Uuid::new_v4();
        ledger.insert_vanished(id, Micros(MINUTE));
        assert!(!ledger.is_told(&id) && ledger.has_vanished(&id));
        ledger.insert_told(id, Micros(MINUTE));
        assert!(ledger.is_told(&id) && !ledger.has_vanished(&id));
    }

    #[test]
    fn shrinks_to_a_bound() {
        let mut ledger = Ledger::default();
        (0..100).for_each(|i| ledger.insert_told(Uuid::new_v4(), Micros(i * MINUTE)));
        let keep = ledger.time_to_keep(40).expect("100 ids are more than 40");
        ledger.expire(keep);
        assert!(ledger.len() <= 40 && ledger.len() >= 38, "{}", ledger.len());
        assert_eq!(ledger.time_to_keep(40), None);
    }
}
