//! Records that were seen but are not final yet, and when to look at each of them again.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::dify::time::Micros;

/// One record that is not final yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct OpenEntry {
    pub(crate) app_id: Uuid,
    pub(crate) created_at: Micros,
    /// Last time it was read.
    pub(crate) checked_at: Micros,
    /// When to read it again.
    pub(crate) next_check: Micros,
    /// Since when its row looks final; cleared when it changes its mind.
    pub(crate) final_since: Option<Micros>,
    /// Since when its row is not there, by a server that was not behind.
    pub(crate) missing_since: Option<Micros>,
    pub(crate) paused: bool,
    /// Short hashes of the node executions that were told while the run was paused.
    pub(crate) told_nodes: Vec<u32>,
}

impl OpenEntry {
    pub(crate) fn new(app_id: Uuid, created_at: Micros, now: Micros) -> Self {
        OpenEntry {
            app_id,
            created_at,
            checked_at: now,
            next_check: now,
            final_since: None,
            missing_since: None,
            paused: false,
            told_nodes: Vec::new(),
        }
    }

    /// How long to wait before a record of this age is read again: an eighth of its age, so that young ones are timely and a
    /// hundred thousand that never end cost next to nothing.
    pub(crate) fn check_after_age(&mut self, now: Micros) {
        let interval = (now.since(self.created_at) / 8).clamp(Duration::from_secs(1), Duration::from_secs(3600));
        self.checked_at = now;
        self.next_check = now.plus(interval);
    }

    pub(crate) fn check_at(&mut self, now: Micros, next: Micros) {
        self.checked_at = now;
        self.next_check = next;
    }
}

/// The open records of one source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct OpenSet {
    entries: HashMap<Uuid, OpenEntry>,
}

impl OpenSet {
    pub(crate) fn get(&self, id: &Uuid) -> Option<&OpenEntry> {
        self.entries.get(id)
    }

    pub(crate) fn contains(&self, id: &Uuid) -> bool {
        self.entries.contains_key(id)
    }

    pub(crate) fn insert(&mut self, id: Uuid, entry: OpenEntry) {
        self.entries.insert(id, entry);
    }

    pub(crate) fn remove(&mut self, id: &Uuid) -> Option<OpenEntry> {
        self.entries.remove(id)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Uuid, &OpenEntry)> {
        self.entries.iter()
    }

    /// At most `most` records that are due, the most overdue for their interval first: a young run that should have been
    /// read ten seconds ago goes before an old one that is late by the same ten seconds.
    pub(crate) fn due(&self, now: Micros, most: usize) -> Vec<Uuid> {
        let mut due: Vec<(u64, Uuid)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.next_check <= now)
            .map(|(id, entry)| {
                let interval = entry.next_check.since(entry.checked_at).as_micros().max(1);
                let overdue = now.since(entry.next_check).as_micros();
                (u64::try_from(overdue * 1000 / interval).unwrap_or(u64::MAX), *id)
            })
            .collect();
        if due.len() > most {
            due.select_nth_unstable_by(most, |a, b| b.cmp(a));
            due.truncate(most);
        }
        due.sort_unstable_by(|a, b| b.cmp(a));
        due.into_iter().map(|(_, id)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(created: i64, now: i64) -> OpenEntry {
        let mut entry = OpenEntry::new(Uuid::nil(), Micros::from_secs(created), Micros::from_secs(now));
        entry.check_after_age(Micros::from_secs(now));
        entry
    }

    #[test]
    fn intervals_grow_with_age_up_to_an_hour() {
        assert_eq!(entry(0, 80).next_check, Micros::from_secs(90));
        assert_eq!(entry(0, 1).next_check, Micros::from_secs(2), "never below a second");
        assert_eq!(entry(0, 1_000_000).next_check, Micros::from_secs(1_003_600));
        assert_eq!(entry(100, 0).next_check, Micros::from_secs(1), "dated in the future by another clock");
    }

    #[test]
    fn the_young_go_before_the_old_when_not_all_fit() {
        let mut open = OpenSet::default();
        let (young, old) = (Uuid::new_v4(), Uuid::new_v4());
        open.insert(young, entry(1_000_000 - 8, 1_000_000));
        open.insert(old, entry(0, 1_000_000 - 3600));
        let now = Micros::from_secs(1_000_010);
        assert_eq!(open.due(now, 1), vec![young]);
        assert_eq!(open.due(now, 9).len(), 2);
        assert!(open.due(Micros::from_secs(999_999), 9).is_empty());
    }
}
