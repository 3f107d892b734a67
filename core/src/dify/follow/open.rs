//! Records that were seen but are not final yet, and when to look at each of them again.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::dify::time::Micros;

/// How old a record may get that is watched after it was told.
const LONGEST_WATCH: Duration = Duration::from_secs(30 * 24 * 3600);
/// Most records of one kind that are watched after they were told; the oldest are given up first.
const MOST_WATCHED: usize = 50_000;
/// Stands in [`OpenEntry::final_since`] of a record that is told, and is watched because its row may still change.
const TOLD: Micros = Micros::MIN;

/// One record that is not final yet, or that was told without an end and may still find one.
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

    /// The same record after it was told: looked at until its row has an end, is gone, or is too old. `None` when it is.
    pub(crate) fn watched(&self, now: Micros) -> Option<Self> {
        if now.since(self.created_at) >= LONGEST_WATCH {
            return None;
        }
        let mut entry = OpenEntry { final_since: Some(TOLD), told_nodes: Vec::new(), ..self.clone() };
        let interval = (now.since(self.created_at) / 8).clamp(Duration::from_secs(1), Duration::from_secs(6 * 3600));
        entry.check_at(now, now.plus(interval));
        Some(entry)
    }

    /// Whether it was told, and is only watched.
    pub(crate) fn is_told(&self) -> bool {
        self.final_since == Some(TOLD)
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

    /// How many there are, the told ones too.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Those that are not told.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Uuid, &OpenEntry)> {
        self.entries.iter().filter(|(_, entry)| !entry.is_told())
    }

    /// Gives up watching the oldest where there are too many.
    pub(crate) fn limit_watched(&mut self) {
        let mut watched: Vec<(Micros, Uuid)> =
            self.entries.iter().filter(|(_, entry)| entry.is_told()).map(|(id, entry)| (entry.created_at, *id)).collect();
        if watched.len() > MOST_WATCHED {
            let surplus = watched.len() - MOST_WATCHED;
            watched.select_nth_unstable(surplus);
            watched.iter().take(surplus).for_each(|(_, id)| drop(self.entries.remove(id)));
        }
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
    fn what_was_told_is_watched_ever_more_rarely_and_for_a_month() {
        let day = 24 * 3600;
        let told = entry(0, day).watched(Micros::from_secs(day)).expect("it is a day old");
        assert!(told.is_told() && !entry(0, day).is_told());
        assert_eq!(told.next_check, Micros::from_secs(day + 3 * 3600));
        assert_eq!(told.watched(Micros::from_secs(9 * day)).expect("nine days").next_check, Micros::from_secs(9 * day + 6 * 3600));
        assert_eq!(told.watched(Micros::from_secs(30 * day)), None);
        let mut open = OpenSet::default();
        open.insert(Uuid::new_v4(), told);
        assert_eq!((open.iter().count(), open.due(Micros::from_secs(2 * day), 9).len()), (0, 1), "looked at, but not open");
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
